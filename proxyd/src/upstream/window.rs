//! What one worker saw of an endpoint over the last seconds: one thread writes, whoever judges the endpoint sums them.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use shared::decide::breaker::Counts;

/// A window slides by a tenth of itself.
const BUCKETS: usize = 10;

/// See the module.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Window {
    buckets: [Bucket; BUCKETS],
}

/// A tenth of a window. Its number says which: an old one is begun anew.
#[derive(Debug, Default)]
struct Bucket {
    number: AtomicU64,
    total: AtomicU32,
    failed: AtomicU32,
    slow: AtomicU32,
    took_us: AtomicU64,
}

/// What became of one attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) failed: bool,
    pub(super) slow: bool,
    pub(super) took_us: u64,
}

/// The sums over a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) counts: Counts,
    /// The time that all of them took.
    pub(super) took_us: u64,
}

impl Sums {
    /// The mean time that one took.
    pub(super) fn mean_us(&self) -> u64 {
        self.took_us.checked_div(self.counts.total).unwrap_or(0)
    }
}

/// The number of the bucket for this time: never 0, which no bucket that was used has.
fn number(now_us: u64, length: Duration) -> u64 {
    let width = (length.as_micros() as u64 / BUCKETS as u64).max(1);
    now_us / width + 1
}

impl Window {
    /// Counts one, in a window of this length.
    pub(super) fn count(&self, seen: Seen, now_us: u64, length: Duration) {
        let number = number(now_us, length);
        let Some(bucket) = self.buckets.get((number % BUCKETS as u64) as usize) else { return };
        if bucket.number.load(Relaxed) != number {
            // For a moment a reader may see a part of it as gone: it judges by a little less.
            bucket.total.store(0, Relaxed);
            bucket.failed.store(0, Relaxed);
            bucket.slow.store(0, Relaxed);
            bucket.took_us.store(0, Relaxed);
            bucket.number.store(number, Relaxed);
        }
        let add = |cell: &AtomicU32, one: bool| cell.store(cell.load(Relaxed).saturating_add(u32::from(one)), Relaxed);
        add(&bucket.total, true);
        add(&bucket.failed, seen.failed);
        add(&bucket.slow, seen.slow);
        bucket.took_us.store(bucket.took_us.load(Relaxed).saturating_add(seen.took_us), Relaxed);
    }

    /// Adds what it has of the last `length`.
    pub(super) fn add_to(&self, sums: &mut Sums, now_us: u64, length: Duration) {
        let newest = number(now_us, length);
        for bucket in &self.buckets {
            let number = bucket.number.load(Relaxed);
            if number == 0 || number > newest || newest - number >= BUCKETS as u64 {
                continue;
            }
            sums.counts.total += u64::from(bucket.total.load(Relaxed));
            sums.counts.failed += u64::from(bucket.failed.load(Relaxed));
            sums.counts.slow += u64::from(bucket.slow.load(Relaxed));
            sums.took_us += bucket.took_us.load(Relaxed);
        }
    }

    /// Forgets.
    pub(super) fn clear(&self) {
        for bucket in &self.buckets {
            bucket.number.store(0, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_the_window_does_not_count() {
        let (window, second) = (Window::default(), Duration::from_secs(1));
        let sum = |now_us| {
            let mut sums = Sums::default();
            window.add_to(&mut sums, now_us, second);
            (sums.counts.total, sums.counts.failed, sums.counts.slow, sums.mean_us())
        };
        assert_eq!(sum(0), (0, 0, 0, 0));
        window.count(Seen { failed: true, slow: false, took_us: 10 }, 0, second);
        window.count(Seen { failed: false, slow: true, took_us: 30 }, 500_000, second);
        assert_eq!(sum(900_000), (2, 1, 1, 20));
        assert_eq!(sum(1_000_000), (1, 0, 1, 30));
        window.count(Seen { failed: false, slow: false, took_us: 50 }, 1_050_000, second);
        assert_eq!(sum(1_050_000), (2, 0, 1, 40));
        assert_eq!(sum(9_000_000), (0, 0, 0, 0));
        window.count(Seen { failed: false, slow: false, took_us: 50 }, 9_000_000, second);
        window.clear();
        assert_eq!(sum(9_000_000), (0, 0, 0, 0));
    }
}
