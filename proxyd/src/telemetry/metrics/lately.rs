//! What endpoints did of late: the counters that were taken down some seconds ago, to be compared with those of now.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;

use super::histogram::Durations;
use super::{EndpointCells, Metrics, Pair};

/// How often the counters are taken down. What is told of late covers one to two times that.
pub const EVERY: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Samples(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    /// The newest, and the one before.
    newest: Sample,
    before: Sample,
}

#[derive(Debug, Default)]
struct Sample {
    at_us: u64,
    of: HashMap<Pair, Arc<Counts>>,
}

/// The counters of an endpoint at one moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) requests: u64,
    /// Attempts that failed, or were answered with 500 or above.
    pub(super) failed: u64,
    pub(super) response: Durations,
}

impl Counts {
    /// The sum over these cells.
    pub(super) fn of(cells: &[Arc<EndpointCells>]) -> Self {
        let mut counts = Self { requests: requests(cells), failed: failed(cells), ..Self::default() };
        for cells in cells {
            counts.response.add(&cells.response);
        }
        counts
    }
}

fn requests(cells: &[Arc<EndpointCells>]) -> u64 {
    cells.iter().map(|cells| cells.requests.get()).sum()
}

fn failed(cells: &[Arc<EndpointCells>]) -> u64 {
    let failures = |cells: &EndpointCells| cells.failures.entries().map(|entry| entry.count.get()).sum::<u64>();
    cells.iter().map(|cells| cells.errors.get() + failures(cells)).sum()
}

/// What an endpoint did of late.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lately {
    /// Attempts a second.
    pub rate: f64,
    /// How many of 100 failed.
    pub errors: f64,
    /// Median, 90th and 99th percentile of the time to the answer's head, in microseconds; none without answers.
    pub latency_us: Option<(u64, u64, u64)>,
}

impl Metrics {
    /// Takes the counters down, if it is time. `now_us` is any clock that goes on.
    pub fn take_sample(&self, now_us: u64) {
        let mut taken = self.samples.0.lock().unwrap_or_else(PoisonError::into_inner);
        let every_us = EVERY.as_micros() as u64;
        if now_us.saturating_sub(taken.newest.at_us) < every_us {
            return;
        }
        let mut of = HashMap::new();
        for (pair, cells) in self.endpoints() {
            // Most of many endpoints did nothing since.
            let (requests, failed) = (requests(&cells), failed(&cells));
            let is_same = |before: &&Arc<Counts>| before.requests == requests && before.failed == failed;
            let same = taken.newest.of.get(&pair).filter(is_same);
            let counts = same.map_or_else(|| Arc::new(Counts::of(&cells)), Arc::clone);
            of.insert(pair, counts);
        }
        taken.before = std::mem::replace(&mut taken.newest, Sample { at_us: now_us, of });
    }

    /// What an endpoint did since the last sample but one; since the start, where the clock begins, before there is any.
    pub fn lately(&self, pair: &Pair, now_us: u64) -> Option<Lately> {
        let taken = self.samples.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sample = if taken.before.at_us > 0 { &taken.before } else { &taken.newest };
        let seconds = now_us.checked_sub(sample.at_us)? as f64 / 1e6;
        let nothing = Counts::default();
        let before = sample.of.get(pair).map_or(&nothing, |counts| counts);
        let now = self.counts_of(pair);
        let requests = now.requests.saturating_sub(before.requests);
        let failed = now.failed.saturating_sub(before.failed);
        let response = now.response.since(&before.response);
        let quantile = |q| response.quantile(q);
        Some(Lately {
            rate: requests as f64 / seconds.max(0.1),
            errors: if requests == 0 { 0.0 } else { (failed as f64 * 100.0 / requests as f64).min(100.0) },
            latency_us: quantile(0.5).and_then(|p50| Some((p50, quantile(0.9)?, quantile(0.99)?))),
        })
    }
}
