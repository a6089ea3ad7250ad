//! Counters that move to another store: told by another clock, and added to what is counted there.

use super::elsewhere::LEVEL_UNIT;
use super::window::{Kind, Limit, Slot};
use super::{Counters, Meter, Told, Verdict};

/// What one limit has counted, whatever the clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Used {
    /// Fixed window: how long ago it began.
    age_us: u64,
    /// A bucket's level; a window's count times its length, as it weighs now.
    amount: u128,
}

impl Meter {
    /// The longest that anything counts, in microseconds.
    #[must_use]
    pub fn longest_us(&self) -> u64 {
        self.limits.iter().map(Limit::longest_us).max().unwrap_or(0)
    }

    /// The same counters by another clock, which says `there_us` when theirs says `now_us`. A sliding window's grid is another
    /// there: what weighs now counts as of the window that is.
    #[must_use]
    pub fn on_clock(&self, counters: &Counters, now_us: u64, there_us: u64) -> Counters {
        let mut settled = *counters;
        self.settle(&mut settled, now_us);
        let mut moved = Counters { last_us: there_us, ..Counters::default() };
        for ((limit, slot), moved) in self.limits.iter().zip(&settled.slots).zip(&mut moved.slots) {
            *moved = limit.slot_of(limit.used_now(*slot, settled.last_us), there_us);
        }
        moved
    }

    /// What a script is told to add to the counters it has: three numbers for each limit. Without what was copied from there
    /// before. None where that is nothing.
    #[must_use]
    pub fn brought(&self, counters: &Counters, copied: Option<&Counters>, now_us: u64) -> Option<Vec<u64>> {
        let (mut settled, mut copied) = (*counters, copied.copied().unwrap_or_default());
        self.settle(&mut settled, now_us);
        self.settle(&mut copied, now_us);
        let mut numbers = Vec::with_capacity(self.limits.len() * 3);
        let mut is_any = false;
        for ((limit, slot), copied) in self.limits.iter().zip(&settled.slots).zip(&copied.slots) {
            let (used, known) = (limit.used_now(*slot, settled.last_us), limit.used_now(*copied, settled.last_us));
            // Another window has begun since: of what was copied nothing counts any more.
            let known = if limit.kind == Kind::Fixed && slot.high != copied.high { 0 } else { known.amount };
            let amount = used.amount.saturating_sub(known);
            is_any |= amount > 0;
            numbers.extend(limit.numbers(Used { amount, ..used }));
        }
        is_any.then_some(numbers)
    }

    /// What the script said, with so many requests more that run and that it does not know of.
    #[must_use]
    pub fn beside(&self, told: Told, running: u32) -> Told {
        let counters = self.with_running(&told.counters, running);
        Told { verdict: self.verdict(&counters, told.verdict.allowed), counters, ..told }
    }

    /// Takes one request, where so many more run that these counters do not know of.
    pub fn take_beside(&self, counters: &mut Counters, running: u32) -> Verdict {
        let mut all = self.with_running(counters, running);
        let verdict = self.take(&mut all, counters.last_us);
        if verdict.allowed {
            self.occupy(counters);
        }
        verdict
    }

    /// What a request would meet, where so many more run that these counters do not know of. None where none runs.
    #[must_use]
    pub fn peek_beside(&self, counters: Option<&Counters>, running: u32) -> Option<Verdict> {
        let all = self.with_running(&counters.copied().unwrap_or_default(), running);
        (!self.is_spent(&all, 0)).then(|| self.peek(&all, 0))
    }

    fn with_running(&self, counters: &Counters, running: u32) -> Counters {
        let mut all = *counters;
        for (limit, slot) in self.limits.iter().zip(&mut all.slots) {
            if limit.kind == Kind::Concurrent {
                slot.low = slot.low.saturating_add(running.into());
            }
        }
        all
    }

    /// How many requests run.
    #[must_use]
    pub fn running(&self, counters: &Counters) -> u32 {
        let limits = self.limits.iter().zip(&counters.slots);
        let running = limits.filter(|(limit, _)| limit.kind == Kind::Concurrent).map(|(_, slot)| slot.low).max();
        running.map_or(0, |running| u32::try_from(running).unwrap_or(u32::MAX))
    }
}

impl Limit {
    fn longest_us(&self) -> u64 {
        match self.kind {
            Kind::Sliding => self.per_us.saturating_mul(2),
            Kind::Fixed => self.per_us,
            Kind::Bucket { size } => {
                let drained = u128::from(size) * u128::from(self.per_us) / u128::from(self.requests.max(1));
                u64::try_from(drained).unwrap_or(u64::MAX)
            }
            Kind::Concurrent => 0,
        }
    }

    fn used_now(&self, slot: Slot, now_us: u64) -> Used {
        let age_us = match self.kind {
            Kind::Fixed if slot.low > 0 => now_us.saturating_sub(slot.high),
            Kind::Fixed | Kind::Sliding | Kind::Bucket { .. } | Kind::Concurrent => 0,
        };
        Used { age_us, amount: self.used(slot, now_us) }
    }

    fn slot_of(&self, used: Used, there_us: u64) -> Slot {
        let count = self.count_of(used.amount);
        match self.kind {
            Kind::Bucket { .. } => Slot::of_level(used.amount),
            Kind::Sliding => Slot::of_window(there_us / self.per_us, 0, count),
            Kind::Fixed if count == 0 => Slot::default(),
            Kind::Fixed => Slot { high: there_us.saturating_sub(used.age_us), low: count.into() },
            Kind::Concurrent => Slot { high: 0, low: count.into() },
        }
    }

    fn numbers(&self, used: Used) -> [u64; 3] {
        let count = u64::from(self.count_of(used.amount));
        match self.kind {
            Kind::Bucket { .. } => {
                let high = u64::try_from(used.amount / LEVEL_UNIT).unwrap_or(u64::MAX);
                [high, (used.amount % LEVEL_UNIT) as u64, 0]
            }
            Kind::Sliding | Kind::Concurrent => [0, count, 0],
            Kind::Fixed => [used.age_us, count, 0],
        }
    }

    /// Rounded up: nobody gains by a move.
    fn count_of(&self, amount: u128) -> u32 {
        u32::try_from(amount.div_ceil(u128::from(self.per_us))).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::policy::{Algorithm, Rule, Window};

    const SECOND: u64 = 1_000_000;

    /// Ten in 100 seconds.
    fn meter(algorithm: Algorithm) -> Meter {
        let limits = vec![Window { requests: 10, per: Duration::from_secs(100) }];
        Meter::new(&Rule { name: "default".into(), limits, algorithm, ..Rule::default() })
    }

    fn taken(meter: &Meter, counters: Counters, times: u32, now_us: u64) -> Counters {
        let mut counters = counters;
        for _ in 0..times {
            assert!(meter.take(&mut counters, now_us).allowed);
        }
        counters
    }

    #[test]
    fn what_was_used_is_told_by_another_clock() {
        let check = |algorithm, later: &[(u64, u32)]| {
            let meter = meter(algorithm);
            let counters = taken(&meter, Counters::default(), 4, 1000 * SECOND);
            for there in [0, 5_050 * SECOND, 1 << 50] {
                let (now, there_us) = (1010 * SECOND, there + 300 * SECOND);
                let moved = meter.on_clock(&counters, now, there_us);
                for (after_s, left) in later {
                    let verdict = meter.peek(&moved, there_us + after_s * SECOND);
                    assert_eq!(verdict.remaining, *left, "{algorithm:?} {there} {after_s}");
                }
            }
        };
        check(Algorithm::FixedWindow, &[(0, 6), (89, 6), (90, 10)]);
        check(Algorithm::TokenBucket { burst: None }, &[(0, 7), (29, 9), (30, 10)]);
        check(Algorithm::SlidingWindow, &[(0, 6), (200, 10)]);
    }

    #[test]
    fn what_was_copied_is_not_brought_again() {
        let check = |algorithm, copied_used, more, after_s: u64, expected: Option<&[u64]>| {
            let meter = meter(algorithm);
            let copied = taken(&meter, Counters::default(), copied_used, 1000 * SECOND);
            let counters = taken(&meter, copied, more, 1000 * SECOND);
            let brought = meter.brought(&counters, Some(&copied), (1000 + after_s) * SECOND);
            assert_eq!(brought.as_deref(), expected, "{algorithm:?} {copied_used} {more} {after_s}");
        };
        let (sliding, fixed, bucket) =
            (Algorithm::SlidingWindow, Algorithm::FixedWindow, Algorithm::TokenBucket { burst: None });
        check(sliding, 4, 2, 0, Some(&[0, 2, 0]));
        check(sliding, 4, 2, 150, Some(&[0, 1, 0]));
        check(sliding, 4, 0, 0, None);
        check(fixed, 4, 2, 7, Some(&[7 * SECOND, 2, 0]));
        check(fixed, 0, 2, 7, Some(&[7 * SECOND, 2, 0]));
        check(fixed, 4, 2, 100, None);
        check(bucket, 4, 2, 0, Some(&[200_000_000 / (1 << 21), 200_000_000 % (1 << 21), 0]));
        check(bucket, 4, 2, 60, None);
    }

    #[test]
    fn those_that_run_elsewhere_take_room() {
        let meter = meter(Algorithm::Concurrency { at_most: 3 });
        let mut counters = Counters::default();
        assert!(meter.take_beside(&mut counters, 2).allowed);
        assert!(!meter.take_beside(&mut counters, 2).allowed);
        assert_eq!(meter.running(&counters), 1, "those are not counted here");
        assert_eq!(meter.peek_beside(Some(&counters), 1).map(|verdict| verdict.remaining), Some(1));
        assert_eq!(meter.peek_beside(None, 0), None);
    }
}
