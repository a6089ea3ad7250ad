//! Durations in buckets: exact at the bounds that the metrics page shows, close enough in between for quantiles.
//!
//! Four buckets an octave, and each bucket that a shown bound falls into is cut in two there. The index is computed with
//! a bit count and one comparison; nothing is searched.

use std::array;

use super::cells::Counter;

/// The upper bounds that the metrics page shows (`le`), in microseconds, each inclusive.
pub const BOUNDS_US: [u64; 18] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 75_000, 100_000, 250_000, 500_000, 750_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// Buckets an octave, as a power of two.
const STEP_BITS: u32 = 2;
const STEPS: u64 = 1 << STEP_BITS;
/// Durations of 2²⁷ µs (134 s) and more share the last bucket.
const TOP_BITS: u32 = 27;
const RAW: usize = ((TOP_BITS - STEP_BITS + 1) as u64 * STEPS + 1) as usize;
const BUCKETS: usize = RAW + BOUNDS_US.len();

/// Where a raw bucket's counts go.
#[derive(Clone, Copy)]
struct Cut {
    /// The first final bucket of this raw bucket.
    index: usize,
    /// The shown bound that falls into it: longer durations go to the next final bucket. `u64::MAX`: none does.
    bound_us: u64,
}

const CUTS: [Cut; RAW] = cuts();

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, where a wrong index is a build error")]
const fn cuts() -> [Cut; RAW] {
    let mut cuts = [Cut { index: 0, bound_us: u64::MAX }; RAW];
    let (mut raw, mut bound) = (0, 0);
    while raw < RAW {
        cuts[raw].index = raw + bound;
        if bound < BOUNDS_US.len() && raw_index(BOUNDS_US[bound]) == raw {
            cuts[raw].bound_us = BOUNDS_US[bound];
            bound += 1;
        }
        raw += 1;
    }
    assert!(bound == BOUNDS_US.len(), "every shown bound needs a bucket of its own");
    cuts
}

/// The bucket without cuts: itself below [`STEPS`], then four for each power of two.
const fn raw_index(us: u64) -> usize {
    if us < STEPS {
        return us as usize;
    }
    let top = us.ilog2();
    if top >= TOP_BITS {
        return RAW - 1;
    }
    let step = (us >> (top - STEP_BITS)) & (STEPS - 1);
    ((top - STEP_BITS + 1) as u64 * STEPS + step) as usize
}

/// The smallest duration of a raw bucket.
const fn raw_floor(raw: usize) -> u64 {
    let raw = raw as u64;
    if raw < STEPS {
        return raw;
    }
    (STEPS + raw % STEPS) << (raw / STEPS - 1)
}

fn bucket(us: u64) -> usize {
    let Some(cut) = CUTS.get(raw_index(us)) else { return BUCKETS - 1 };
    cut.index + usize::from(us > cut.bound_us)
}

/// A worker's histogram.
#[derive(Debug)]
pub struct Histogram {
    buckets: [Counter; BUCKETS],
    sum_us: Counter,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: array::from_fn(|_| Counter::default()), sum_us: Counter::default() }
    }
}

impl Histogram {
    pub fn record(&self, us: u64) {
        if let Some(bucket) = self.buckets.get(bucket(us)) {
            bucket.add(1);
        }
        self.sum_us.add(us);
    }
}

/// The sum of many workers' histograms at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durations {
    buckets: Vec<u64>,
    pub sum_us: u64,
}

impl Default for Durations {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS], sum_us: 0 }
    }
}

impl Durations {
    /// Adds what a worker counted.
    pub fn add(&mut self, histogram: &Histogram) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&histogram.buckets) {
            *sum += bucket.get();
        }
        self.sum_us = self.sum_us.wrapping_add(histogram.sum_us.get());
    }

    /// What came after an earlier sum of the same.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let buckets = self.buckets.iter().zip(&earlier.buckets).map(|(now, before)| now.saturating_sub(*before));
        Self { buckets: buckets.collect(), sum_us: self.sum_us.saturating_sub(earlier.sum_us) }
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// For each of [`BOUNDS_US`]: how many durations were that long or shorter. Exact.
    #[must_use]
    pub fn cumulative(&self) -> [u64; BOUNDS_US.len()] {
        let (mut sum, mut done) = (0, 0);
        BOUNDS_US.map(|bound| {
            let end = bucket(bound) + 1;
            sum += self.buckets.iter().take(end).skip(done).sum::<u64>();
            done = end;
            sum
        })
    }

    /// The duration in microseconds that the share `q` (0 to 1) of all did not exceed, spread evenly inside its bucket:
    /// at most a quarter off. None when nothing was counted; past 134 s the last bucket's floor.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<u64> {
        let count = self.count();
        let rank = ((count as f64 * q.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut before = 0;
        for ((floor, ceiling), &here) in ranges().zip(&self.buckets) {
            if before + here >= rank {
                let share = (rank - before) as f64 / here as f64;
                return Some(floor + ((ceiling - floor) as f64 * share) as u64);
            }
            before += here;
        }
        None
    }
}

/// The smallest and largest duration of each final bucket, in order; the last one's are both its floor.
fn ranges() -> impl Iterator<Item = (u64, u64)> {
    CUTS.iter().enumerate().flat_map(|(raw, cut)| {
        let floor = raw_floor(raw);
        let ceiling = if raw + 1 == RAW { floor } else { raw_floor(raw + 1) - 1 };
        if cut.bound_us == u64::MAX {
            [Some((floor, ceiling)), None]
        } else {
            [Some((floor, cut.bound_us)), Some(((cut.bound_us + 1).min(ceiling), ceiling))]
        }
        .into_iter()
        .flatten()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn summed(durations: &[u64]) -> Durations {
        let (one, two, mut sum) = (Histogram::default(), Histogram::default(), Durations::default());
        for (at, &us) in durations.iter().enumerate() {
            if at % 2 == 0 { one.record(us) } else { two.record(us) }
        }
        sum.add(&one);
        sum.add(&two);
        sum
    }

    #[test]
    fn buckets_follow_each_other_without_holes() {
        assert_eq!(ranges().count(), BUCKETS);
        let ranges: Vec<_> = ranges().collect();
        assert_eq!(ranges[0].0, 0);
        for (index, pair) in ranges.windows(2).enumerate() {
            assert_eq!(pair[0].1 + 1, pair[1].0, "after bucket {index}");
        }
        for (index, &(floor, ceiling)) in ranges.iter().enumerate() {
            assert_eq!((bucket(floor), bucket(ceiling)), (index, index), "{floor} to {ceiling}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn nothing_has_no_quantile() {
        assert_eq!(Durations::default().quantile(0.5), None);
        assert_eq!(Durations::default().count(), 0);
    }

    fn duration() -> impl Strategy<Value = u64> {
        prop_oneof![0_u64..2_000, 0_u64..2_000_000, 0_u64..200_000_000, prop::sample::select(BOUNDS_US.to_vec())]
    }

    proptest! {
        #[test]
        fn shown_bounds_are_exact(durations in prop::collection::vec(duration(), 0..200)) {
            let sum = summed(&durations);
            let naive = BOUNDS_US.map(|bound| durations.iter().filter(|&&us| us <= bound).count() as u64);
            prop_assert_eq!(sum.cumulative(), naive);
            prop_assert_eq!(sum.count(), durations.len() as u64);
            prop_assert_eq!(sum.sum_us, durations.iter().sum::<u64>());
        }

        #[test]
        fn quantiles_are_near(mut durations in prop::collection::vec(0_u64..134_000_000, 1..200), q in 0.0..=1.0) {
            let told = summed(&durations).quantile(q).unwrap();
            durations.sort_unstable();
            let rank = ((durations.len() as f64 * q).ceil() as usize).max(1);
            let exact = durations[rank - 1];
            prop_assert!(told.abs_diff(exact) <= exact / 4 + 1, "told {} of {}", told, exact);
        }
    }
}
