//! Rate limits: the arithmetic of windows and buckets. State and time are handed in; nothing here stores or waits.
//!
//! Times are microseconds on any clock that does not go back (a time before the last one counts as the last one).

use crate::config::policy::Rule;

/// The most limits one rule may have.
pub const MAX_LIMITS: usize = 8;

/// The counters of one key under one rule. Small, fixed size, all zero at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    // filled in: for each limit either (window number, count in it, count in the one before) or a theoretical arrival time
}

/// A rule in the form that counting needs.
#[derive(Clone, Debug)]
pub struct Meter {
    // compiled from the rule
}

/// What counting said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub allowed: bool,
    /// Of the limit with the least left: its number of requests …
    pub limit: u32,
    /// … how many are left after this one …
    pub remaining: u32,
    /// … its length in whole seconds …
    pub per_s: u64,
    /// … whole seconds, rounded up, until it is all available again (at least 1 where something is used).
    pub reset_s: u64,
    /// When refused: whole seconds, rounded up, at least 1, until one request would pass.
    pub retry_after_s: u64,
}

impl Meter {
    #[must_use]
    pub fn new(rule: &Rule) -> Self {
        let _ = rule;
        todo!()
    }

    /// Takes one request from every limit, or from none.
    pub fn take(&self, counters: &mut Counters, now_us: u64) -> Verdict {
        let _ = (counters, now_us);
        todo!()
    }

    /// What a request would meet now, without taking.
    #[must_use]
    pub fn peek(&self, counters: &Counters, now_us: u64) -> Verdict {
        let _ = (counters, now_us);
        todo!()
    }

    /// Whether the counters say the same as fresh ones: the key may be forgotten.
    #[must_use]
    pub fn is_spent(&self, counters: &Counters, now_us: u64) -> bool {
        let _ = (counters, now_us);
        todo!()
    }

    /// `"default";q=60;w=60, …`: the value of `RateLimit-Policy`.
    #[must_use]
    pub fn policy_header(&self) -> &str {
        todo!()
    }

    /// Whether counters made under `other` go on under this rule (same algorithm and limits).
    #[must_use]
    pub fn continues(&self, other: &Self) -> bool {
        let _ = other;
        todo!()
    }
}
