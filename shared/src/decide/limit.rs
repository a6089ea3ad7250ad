//! Rate limits: the arithmetic of windows and buckets. State and time are handed in; nothing here stores or waits.
//!
//! Times are microseconds on any clock that does not go back (a time before the last one counts as the last one).
//!
//! What each algorithm promises for a limit of `n` requests in `w`:
//! - sliding window: never more than `n` in any window that begins at a multiple of `w`. The window before counts as if its
//!   requests had come evenly, so that in any other stretch of `w` up to `n × e/w` more may pass, where `e/w` is how much of the
//!   current window is gone: always fewer than `2n`, and no more than `n` where traffic is even.
//! - token bucket: never more than `b + n × t/w` in any stretch of length `t`, where `b` is the bucket's size.

use std::net::{IpAddr, Ipv6Addr};

use crate::config::policy::{Algorithm, Rule};

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

/// The state of one limit; which one it is, its rule knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Slot {
    /// Sliding window: its number. Token bucket: the upper half of its level.
    high: u64,
    /// Sliding window: the count before in the upper half, the count now in the lower. Token bucket: the lower half of its
    /// level.
    low: u64,
}

/// A rule in the form that counting needs.
#[derive(Clone, Debug)]
pub struct Meter {
    limits: Vec<Limit>,
    policy: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Limit {
    /// Distinct within the rule's header.
    name: String,
    requests: u32,
    per_us: u64,
    /// None: sliding window.
    bucket: Option<u32>,
}

/// What counting said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub allowed: bool,
    /// Of the limit with the least left: its number of requests …
    pub limit: u32,
    /// … how many are left after this one (a bucket may be larger than the number of requests; then at most that is told) …
    pub remaining: u32,
    /// … its length in whole seconds …
    pub per_s: u64,
    /// … whole seconds, rounded up, until more of it is available: until its window ends, or its bucket is empty again; never
    /// sooner than a request would pass.
    pub reset_s: u64,
    /// When refused: whole seconds, rounded up, at least 1, until one request would pass. When allowed: 0.
    pub retry_after_s: u64,
}

impl Meter {
    /// Limits beyond [`MAX_LIMITS`] are not counted; a checked config has none.
    #[must_use]
    pub fn new(rule: &Rule) -> Self {
        let rule_name = quotable(&rule.name);
        let is_only = rule.limits.len() == 1;
        let limits: Vec<Limit> = rule
            .limits
            .iter()
            .take(MAX_LIMITS)
            .map(|window| {
                let per_us = u64::try_from(window.per.as_micros()).unwrap_or(u64::MAX).max(1);
                let name = if is_only { rule_name.clone() } else { format!("{rule_name}-{}s", seconds(per_us)) };
                let bucket = match rule.algorithm {
                    Algorithm::SlidingWindow | Algorithm::FixedWindow | Algorithm::Concurrency { .. } => None,
                    Algorithm::TokenBucket { burst } => Some(burst.unwrap_or(window.requests)),
                };
                Limit { name, requests: window.requests, per_us, bucket }
            })
            .collect();
        let policy: Vec<String> = limits
            .iter()
            .map(|limit| format!("\"{}\";q={};w={}", limit.name, limit.requests, seconds(limit.per_us)))
            .collect();
        Self { limits, policy: policy.join(", ") }
    }

    /// Takes one request from every limit, or from none.
    pub fn take(&self, counters: &mut Counters, now_us: u64) -> Verdict {
        self.settle(counters, now_us);
        let allowed = self.has_room(counters);
        if allowed {
            for (limit, slot) in self.limits.iter().zip(&mut counters.slots) {
                *slot = limit.taken(*slot);
            }
        }
        self.verdict(counters, allowed)
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

    /// Appends `"default";r=12;t=30`: the value of `RateLimit` after this rule's verdict, for the limit with the least left.
    pub fn rate_limit_header(&self, verdict: &Verdict, out: &mut Vec<u8>) {
        let mut digits = itoa::Buffer::new();
        out.push(b'"');
        out.extend_from_slice(self.limit_name(verdict).as_bytes());
        out.extend_from_slice(b"\";r=");
        out.extend_from_slice(digits.format(verdict.remaining).as_bytes());
        out.extend_from_slice(b";t=");
        out.extend_from_slice(digits.format(verdict.reset_s).as_bytes());
    }

    /// The name, as in [`Self::policy_header`], of the limit that a verdict of this rule speaks of.
    #[must_use]
    pub fn limit_name(&self, verdict: &Verdict) -> &str {
        let is_it = |limit: &&Limit| limit.requests == verdict.limit && seconds(limit.per_us) == verdict.per_s;
        self.limits.iter().find(is_it).map_or("", |limit| &limit.name)
    }

    /// Whether counters made under `other` go on under this rule (same algorithm and limits).
    #[must_use]
    pub fn continues(&self, other: &Self) -> bool {
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
        self.limits.iter().zip(&counters.slots).all(|(limit, slot)| limit.has_room(*slot, counters.last_us))
    }

    fn verdict(&self, counters: &Counters, allowed: bool) -> Verdict {
        let mut least: Option<(&Limit, Standing)> = None;
        let mut wait_us = 0;
        for (limit, slot) in self.limits.iter().zip(&counters.slots) {
            let standing = limit.standing(*slot, counters.last_us);
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
            per_s: seconds(limit.per_us),
            reset_s: seconds(standing.reset_us),
            retry_after_s,
        }
    }
}

/// How a limit stands.
struct Standing {
    remaining: u32,
    /// Until more is available: the end of the window, or the bucket is empty again.
    reset_us: u64,
    /// Until one request would pass.
    wait_us: u64,
}

/// All products of a count (32 bits) and a time (42 bits for 30 days in microseconds) are taken in 128 bits: exact.
impl Limit {
    fn arithmetic(&self) -> (u32, u64, Option<u32>) {
        (self.requests, self.per_us, self.bucket)
    }

    fn settled(&self, slot: Slot, now_us: u64, elapsed_us: u64) -> Slot {
        if self.bucket.is_some() {
            return Slot::of_level(slot.level().saturating_sub(u128::from(elapsed_us) * u128::from(self.requests)));
        }
        let number = now_us / self.per_us;
        match number.saturating_sub(slot.high) {
            0 => slot,
            1 => Slot::of_window(number, slot.count(), 0),
            _ => Slot::of_window(number, 0, 0),
        }
    }

    fn has_room(&self, slot: Slot, now_us: u64) -> bool {
        self.used(slot, now_us) + u128::from(self.per_us) <= self.capacity()
    }

    fn taken(&self, slot: Slot) -> Slot {
        if self.bucket.is_some() {
            Slot::of_level(slot.level() + u128::from(self.per_us))
        } else {
            Slot::of_window(slot.high, slot.count_before(), slot.count().saturating_add(1))
        }
    }

    fn is_unused(&self, slot: Slot) -> bool {
        if self.bucket.is_some() { slot.level() == 0 } else { slot.low == 0 }
    }

    /// What is used of the capacity; one request is `per_us`.
    fn used(&self, slot: Slot, now_us: u64) -> u128 {
        if self.bucket.is_some() {
            return slot.level();
        }
        let left_us = self.per_us - now_us % self.per_us;
        u128::from(slot.count_before()) * u128::from(left_us) + u128::from(slot.count()) * u128::from(self.per_us)
    }

    fn capacity(&self) -> u128 {
        u128::from(self.bucket.unwrap_or(self.requests)) * u128::from(self.per_us)
    }

    fn standing(&self, slot: Slot, now_us: u64) -> Standing {
        let per_us = u128::from(self.per_us);
        let used = self.used(slot, now_us);
        let left = self.capacity().saturating_sub(used) / per_us;
        let remaining = u32::try_from(left).unwrap_or(u32::MAX).min(self.requests);
        let lacking = (used + per_us).saturating_sub(self.capacity());
        if self.bucket.is_some() {
            let drained_in = |level: u128| narrowed(level.div_ceil(u128::from(self.requests.max(1))));
            return Standing { remaining, reset_us: drained_in(used), wait_us: drained_in(lacking) };
        }
        let left_us = self.per_us - now_us % self.per_us;
        let wait_us = if lacking == 0 { 0 } else { self.window_wait_us(slot, left_us) };
        let reset_us = if self.is_unused(slot) { 0 } else { left_us.max(wait_us) };
        Standing { remaining, reset_us, wait_us }
    }

    /// Until the window before weighs little enough; where this window is full, until it is the one before and does.
    fn window_wait_us(&self, slot: Slot, left_us: u64) -> u64 {
        let (full_windows_us, weighing, free) = match self.requests.saturating_sub(slot.count()) {
            0 => (self.per_us, slot.count(), self.requests.saturating_sub(1)),
            free => (0, slot.count_before(), free - 1),
        };
        let harmless_us = u128::from(free) * u128::from(self.per_us) / u128::from(weighing.max(1));
        (left_us + full_windows_us).saturating_sub(narrowed(harmless_us))
    }
}

impl Slot {
    fn of_level(level: u128) -> Self {
        Self { high: (level >> 64) as u64, low: level as u64 }
    }

    fn level(self) -> u128 {
        u128::from(self.high) << 64 | u128::from(self.low)
    }

    fn of_window(number: u64, before: u32, now: u32) -> Self {
        Self { high: number, low: u64::from(before) << 32 | u64::from(now) }
    }

    fn count(self) -> u32 {
        self.low as u32
    }

    fn count_before(self) -> u32 {
        (self.low >> 32) as u32
    }
}

fn narrowed(wide: u128) -> u64 {
    u64::try_from(wide).unwrap_or(u64::MAX)
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
