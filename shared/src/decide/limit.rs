//! Rate limits: the arithmetic of windows and buckets. State and time are handed in; nothing here stores or waits.
//!
//! Times are microseconds on any clock that does not go back (a time before the last one counts as the last one).
//!
//! What each algorithm promises for a limit of `n` requests in `w`:
//! - sliding window: never more than `n` in any window that begins at a multiple of `w`. The window before counts as if its
//!   requests had come evenly, so that in any other stretch of `w` up to `n × e/w` more may pass, where `e/w` is how much of the
//!   current window is gone: always fewer than `2n`, and no more than `n` where traffic is even.
//! - fixed window: never more than `n` in a window, which begins with its first request; in any other stretch of `w` up to `2n`.
//! - token bucket: never more than `b + n × t/w` in any stretch of length `t`, where `b` is the bucket's size.
//! - concurrency: never more than `n` at the same time.
//!
//! A request may cost more than one: it takes that many from every limit, or none from any.

mod elsewhere;
mod moved;
mod window;

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::config::policy::{Algorithm, Rule, Window};

pub use self::elsewhere::Told;
use self::window::{Kind, Limit, Slot, Standing};

/// The address that an address counts as: IPv4 (also where it is mapped into IPv6) itself, IPv6 the first of its network of
/// this many leading bits.
#[must_use]
pub fn counted_address(client: IpAddr, ipv6_prefix: u8) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let host_bits = 128_u32.saturating_sub(ipv6_prefix.into());
            let mask = u128::MAX.checked_shl(host_bits).unwrap_or_default();
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

/// The most limits one rule may have.
pub const MAX_LIMITS: usize = 8;

/// The counters of one key under one rule. Small, fixed size, all zero at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// The newest time seen.
    last_us: u64,
    slots: [Slot; MAX_LIMITS],
}

/// A rule in the form that counting needs.
#[derive(Clone, Debug)]
pub struct Meter {
    limits: Vec<Limit>,
    /// What one request takes.
    cost: u32,
    policy: String,
}

/// What counting said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub allowed: bool,
    /// Of the limit with the least left: its number of requests …
    pub limit: u32,
    /// … how many are left after this one (a bucket may be larger than the number of requests; then at most that is told) …
    pub remaining: u32,
    /// … its length in whole seconds; 0 where it is a number at the same time …
    pub per_s: u64,
    /// … whole seconds, rounded up, until more of it is available: until its window ends, or its bucket has room for one more;
    /// never sooner than a request would pass.
    pub reset_s: u64,
    /// When refused: whole seconds, rounded up, at least 1, until one request would pass. When allowed: 0.
    pub retry_after_s: u64,
}

impl Meter {
    /// Limits beyond [`MAX_LIMITS`] are not counted; a checked config has none.
    #[must_use]
    pub fn new(rule: &Rule) -> Self {
        Self::of(rule, &rule.limits)
    }

    /// The same rule with another limit in place of its own: so many requests in so many seconds. A number at the same time
    /// is no limit of that kind, and stays; a bucket is as large as the number of requests.
    #[must_use]
    pub fn with_limit(rule: &Rule, (requests, per_s): (u32, u64)) -> Self {
        let window = Window { requests: requests.max(1), per: Duration::from_secs(per_s.max(1)) };
        let algorithm = match rule.algorithm {
            Algorithm::TokenBucket { .. } => Algorithm::TokenBucket { burst: None },
            other @ (Algorithm::SlidingWindow | Algorithm::FixedWindow | Algorithm::Concurrency { .. }) => other,
        };
        Self::of(&Rule { algorithm, ..rule.clone() }, &[window])
    }

    fn of(rule: &Rule, windows: &[Window]) -> Self {
        let name = quotable(&rule.name);
        if let Algorithm::Concurrency { at_most } = rule.algorithm {
            let policy = format!("\"{name}\";q={at_most};qu=\"concurrent-requests\"");
            let limits = vec![Limit { name, requests: at_most, per_us: 1, kind: Kind::Concurrent }];
            return Self { limits, cost: rule.cost.max(1), policy };
        }
        let is_only = windows.len() == 1;
        let limit = |window: &Window| {
            let per_us = u64::try_from(window.per.as_micros()).unwrap_or(u64::MAX).max(1);
            let name = if is_only { name.clone() } else { format!("{name}-{}s", seconds(per_us)) };
            let kind = match rule.algorithm {
                Algorithm::SlidingWindow => Kind::Sliding,
                Algorithm::FixedWindow => Kind::Fixed,
                Algorithm::TokenBucket { burst } => Kind::Bucket { size: burst.unwrap_or(window.requests) },
                Algorithm::Concurrency { .. } => Kind::Concurrent,
            };
            Limit { name, requests: window.requests, per_us, kind }
        };
        let limits: Vec<Limit> = windows.iter().take(MAX_LIMITS).map(limit).collect();
        let policy: Vec<String> = limits
            .iter()
            .map(|limit| format!("\"{}\";q={};w={}", limit.name, limit.requests, seconds(limit.per_us)))
            .collect();
        Self { limits, cost: rule.cost.max(1), policy: policy.join(", ") }
    }

    /// Takes one request from every limit, or from none.
    pub fn take(&self, counters: &mut Counters, now_us: u64) -> Verdict {
        self.settle(counters, now_us);
        let allowed = self.has_room(counters);
        if allowed {
            for (limit, slot) in self.limits.iter().zip(&mut counters.slots) {
                *slot = limit.taken(*slot, self.cost, counters.last_us);
            }
        }
        self.verdict(counters, allowed)
    }

    /// Whether requests must be given back when they end.
    #[must_use]
    pub fn is_concurrency(&self) -> bool {
        self.limits.iter().any(|limit| limit.kind == Kind::Concurrent)
    }

    /// How many may run at the same time; 0 where that is not what is counted.
    #[must_use]
    pub fn most_at_once(&self) -> u32 {
        let limit = self.limits.iter().find(|limit| limit.kind == Kind::Concurrent);
        limit.map_or(0, |limit| limit.requests)
    }

    /// Counts a request that runs, whether or not there is room: somebody else let it.
    pub fn occupy(&self, counters: &mut Counters) {
        for (limit, slot) in self.limits.iter().zip(&mut counters.slots) {
            *slot = limit.taken(*slot, self.cost, counters.last_us);
        }
    }

    /// A request that was taken has ended: what it took of a number at the same time is free again.
    pub fn give_back(&self, counters: &mut Counters) {
        for (limit, slot) in self.limits.iter().zip(&mut counters.slots) {
            *slot = limit.given_back(*slot, self.cost);
        }
    }

    /// What a request would meet now, without taking: `remaining` is what is left before it.
    #[must_use]
    pub fn peek(&self, counters: &Counters, now_us: u64) -> Verdict {
        let mut counters = *counters;
        self.settle(&mut counters, now_us);
        let allowed = self.has_room(&counters);
        self.verdict(&counters, allowed)
    }

    /// Whether the counters say the same as fresh ones: the key may be forgotten.
    #[must_use]
    pub fn is_spent(&self, counters: &Counters, now_us: u64) -> bool {
        let mut counters = *counters;
        self.settle(&mut counters, now_us);
        self.limits.iter().zip(&counters.slots).all(|(limit, slot)| limit.is_unused(*slot))
    }

    /// `"default";q=60;w=60`: the value of `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10). A rule with several
    /// limits names each by its length, since names must differ: `"default-60s";q=60;w=60, "default-3600s";q=1000;w=3600`.
    #[must_use]
    pub fn policy_header(&self) -> &str {
        &self.policy
    }

    /// Appends `"default";r=12;t=30`: the value of `RateLimit` after this rule's verdict, for the limit with the least left. When
    /// requests at the same time end, nobody knows: there is no `t` then.
    pub fn rate_limit_header(&self, verdict: &Verdict, out: &mut Vec<u8>) {
        let mut digits = itoa::Buffer::new();
        out.push(b'"');
        out.extend_from_slice(self.limit_name(verdict).as_bytes());
        out.extend_from_slice(b"\";r=");
        out.extend_from_slice(digits.format(verdict.remaining).as_bytes());
        if verdict.per_s == 0 {
            return;
        }
        out.extend_from_slice(b";t=");
        out.extend_from_slice(digits.format(verdict.reset_s).as_bytes());
    }

    /// The name, as in [`Self::policy_header`], of the limit that a verdict of this rule speaks of.
    #[must_use]
    pub fn limit_name(&self, verdict: &Verdict) -> &str {
        let is_it = |limit: &&Limit| limit.requests == verdict.limit && limit.per_s() == verdict.per_s;
        self.limits.iter().find(is_it).map_or("", |limit| &limit.name)
    }

    /// Whether counters made under `other` go on under this rule (same algorithm and limits; how many run now, they say
    /// whatever the limit).
    #[must_use]
    pub fn continues(&self, other: &Self) -> bool {
        if self.is_concurrency() && other.is_concurrency() {
            return true;
        }
        self.limits.iter().map(Limit::arithmetic).eq(other.limits.iter().map(Limit::arithmetic))
    }

    /// Brings the counters to a time.
    fn settle(&self, counters: &mut Counters, now_us: u64) {
        let now_us = now_us.max(counters.last_us);
        let elapsed_us = now_us - counters.last_us;
        for (limit, slot) in self.limits.iter().zip(&mut counters.slots) {
            *slot = limit.settled(*slot, now_us, elapsed_us);
        }
        counters.last_us = now_us;
    }

    fn has_room(&self, counters: &Counters) -> bool {
        self.limits.iter().zip(&counters.slots).all(|(limit, slot)| limit.has_room(*slot, self.cost, counters.last_us))
    }

    fn verdict(&self, counters: &Counters, allowed: bool) -> Verdict {
        let mut least: Option<(&Limit, Standing)> = None;
        let mut wait_us = 0;
        for (limit, slot) in self.limits.iter().zip(&counters.slots) {
            let standing = limit.standing(*slot, self.cost, counters.last_us);
            if !allowed {
                wait_us = wait_us.max(standing.wait_us);
            }
            let is_less = |(_, other): &(&Limit, Standing)| {
                standing.remaining < other.remaining
                    || (standing.remaining == other.remaining && standing.reset_us > other.reset_us)
            };
            if least.as_ref().is_none_or(is_less) {
                least = Some((limit, standing));
            }
        }
        let retry_after_s = if allowed { 0 } else { seconds(wait_us).max(1) };
        let Some((limit, standing)) = least else {
            return Verdict { allowed, limit: 0, remaining: 0, per_s: 0, reset_s: 0, retry_after_s };
        };
        Verdict {
            allowed,
            limit: limit.requests,
            remaining: standing.remaining,
            per_s: limit.per_s(),
            reset_s: seconds(standing.reset_us),
            retry_after_s,
        }
    }
}

/// Rounded up.
fn seconds(us: u64) -> u64 {
    us.div_ceil(1_000_000)
}

/// A name as it may stand in a quoted string of structured fields (RFC 9651 section 3.3.3).
fn quotable(name: &str) -> String {
    let is_plain = |c: &char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
    name.chars().filter(is_plain).collect()
}

#[cfg(test)]
mod tests;
