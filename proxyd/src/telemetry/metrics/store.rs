//! What is counted of the shared store: by whoever has a link to it.

use super::cells::Tally;
use super::histogram::Histogram;

/// A link's counters.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct StoreCells {
    pub(super) outcomes: Tally,
    pub(super) duration: Histogram,
}

impl StoreCells {
    /// It was asked, and it took so long: `ok`, or what kept it from answering.
    pub fn asked(&self, outcome: &'static str, duration_us: u64) {
        self.outcomes.count(outcome);
        self.duration.record(duration_us);
    }

    /// It was not asked.
    pub fn unasked(&self, outcome: &'static str) {
        self.outcomes.count(outcome);
    }
}
