//! Whether the engine is asked at all. Shared by all workers: what one finds out, the others need not.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// After so many failures one after the other nothing is asked for a while, then one question at a time until one is answered.
/// While all is well it is only read.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: AtomicU32,
    /// 0: closed.
    open_until_us: AtomicU64,
    /// Whether a trial is under way.
    trial: AtomicBool,
    /// Whether it was said that the engine does not answer.
    told: AtomicBool,
}

/// Whether a question may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    Free,
    /// As a trial, which must end.
    Trial,
    No,
}

/// How the breaker stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    #[default]
    Closed,
    Open,
    /// Its time is over; a trial decides.
    HalfOpen,
}

impl State {
    /// One word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

impl Breaker {
    pub(super) fn state(&self, now_us: u64) -> State {
        match self.open_until_us.load(Ordering::Relaxed) {
            0 => State::Closed,
            until_us if now_us < until_us => State::Open,
            _ => State::HalfOpen,
        }
    }

    pub(super) fn try_pass(&self, now_us: u64) -> Pass {
        match self.state(now_us) {
            State::Closed => Pass::Free,
            State::Open => Pass::No,
            State::HalfOpen if self.trial.swap(true, Ordering::AcqRel) => Pass::No,
            State::HalfOpen => Pass::Trial,
        }
    }

    /// A trial ends, whatever it found.
    pub(super) fn trial_over(&self) {
        self.trial.store(false, Ordering::Release);
    }

    /// A question was answered. Whether that is news.
    pub(super) fn succeeded(&self) -> bool {
        if self.failures.load(Ordering::Relaxed) == 0 && self.open_until_us.load(Ordering::Relaxed) == 0 {
            return false;
        }
        self.failures.store(0, Ordering::Relaxed);
        self.open_until_us.store(0, Ordering::Relaxed);
        self.told.swap(false, Ordering::Relaxed)
    }

    /// A question was not answered. Whether the breaker opened by that, and nobody was told of it yet.
    pub(super) fn failed(&self, most: u32, open_for: Duration, now_us: u64) -> bool {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if failures < most.max(1) {
            return false;
        }
        // Not past the largest number, after which it would begin anew.
        self.failures.store(most.max(1), Ordering::Relaxed);
        let open_for_us = u64::try_from(open_for.as_micros()).unwrap_or(u64::MAX);
        self.open_until_us.store(now_us.saturating_add(open_for_us).max(1), Ordering::Relaxed);
        !self.told.swap(true, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_opens_after_so_many_failures_one_after_the_other() {
        let breaker = Breaker::default();
        assert!(!breaker.failed(3, SECOND, 0) && !breaker.failed(3, SECOND, 0));
        assert!(!breaker.succeeded(), "nobody was told that anything was wrong");
        assert!(!breaker.failed(3, SECOND, 0) && !breaker.failed(3, SECOND, 0));
        assert_eq!((breaker.state(0), breaker.try_pass(0)), (State::Closed, Pass::Free));
        assert!(breaker.failed(3, SECOND, 5), "the third in a row");
        assert_eq!((breaker.state(6), breaker.try_pass(1_000_004)), (State::Open, Pass::No));
    }

    #[test]
    fn one_trial_decides() {
        let breaker = Breaker::default();
        assert!(breaker.failed(1, SECOND, 0));
        assert_eq!((breaker.try_pass(1_000_000), breaker.try_pass(1_000_000)), (Pass::Trial, Pass::No));
        assert!(!breaker.failed(1, SECOND, 1_000_000), "it was told before");
        breaker.trial_over();
        assert_eq!((breaker.try_pass(1_500_000), breaker.try_pass(2_000_000)), (Pass::No, Pass::Trial));
        breaker.trial_over();
        assert_eq!(breaker.try_pass(2_000_000), Pass::Trial, "one that was called off says nothing");
        assert!(breaker.succeeded());
        breaker.trial_over();
        assert_eq!(breaker.try_pass(2_000_001), Pass::Free);
        assert!(!breaker.succeeded(), "told once");
    }
}
