//! Ejections: endpoints that failed too often are left out for a while. What was seen of them and time are handed in.

use std::collections::BTreeMap;

use super::breaker::{Counts, reaches};
use crate::config::{Eject, Percent};

/// Why an endpoint is to be ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    ConsecutiveErrors,
    ErrorRate,
    Latency,
}

/// Whether what was seen of an endpoint is bad enough: errors in a row, and the counts and the mean latency of its window.
#[must_use]
pub fn should_eject(rules: &Eject, consecutive: u32, counts: Counts, mean_latency_us: u64) -> Option<Why> {
    let is_enough = counts.total > 0 && counts.total >= u64::from(rules.min_requests);
    if rules.consecutive_errors.is_some_and(|most| consecutive >= most.max(1)) {
        Some(Why::ConsecutiveErrors)
    } else if is_enough && rules.error_rate.is_some_and(|most| reaches(counts.failed, counts.total, most)) {
        Some(Why::ErrorRate)
    } else if is_enough && rules.latency.is_some_and(|most| u128::from(mean_latency_us) > most.as_micros()) {
        Some(Why::Latency)
    } else {
        None
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EjectRules {
    pub lasts_us: u64,
    pub max_for_us: u64,
    /// At most this share of a group is out at once, rounded down.
    pub max_percent: Percent,
}

impl From<&Eject> for EjectRules {
    fn from(rules: &Eject) -> Self {
        let us = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Self { lasts_us: us(rules.lasts), max_for_us: us(rules.max_for), max_percent: rules.max_percent }
    }
}

/// The ejections of one group of endpoints, by their keys.
#[derive(Clone, Debug, Default)]
pub struct Ejections {
    records: BTreeMap<u64, Record>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    until_us: u64,
    /// How many times the first one's length the last one had.
    times: u64,
    count: u64,
}

impl Ejections {
    /// Ejects one of so many endpoints; until when. None: it is out already, or no more may be.
    ///
    /// The first one lasts `lasts_us`, each one after it as much longer, up to `max_for_us`; for each `lasts_us` spent outside,
    /// the next is as much shorter again.
    pub fn eject(&mut self, rules: &EjectRules, key: u64, endpoints: usize, now_us: u64) -> Option<u64> {
        let most = endpoints as u128 * u128::from(rules.max_percent.basis_points()) / 10_000;
        if self.until_us(key, now_us).is_some() || self.ejected(now_us) as u128 >= most {
            return None;
        }
        let lasts_us = rules.lasts_us.max(1);
        let before = self.records.get(&key);
        let times = before.map_or(0, |record| {
            let served = now_us.saturating_sub(record.until_us) / lasts_us;
            record.times.saturating_sub(served)
        });
        // Past the longest one nothing is counted on: it would have to be served off for nothing.
        let times = times.saturating_add(1).min(rules.max_for_us.div_ceil(lasts_us).max(1));
        let lasts_us = lasts_us.saturating_mul(times).min(rules.max_for_us.max(1));
        let count = before.map_or(0, |record| record.count).saturating_add(1);
        let until_us = now_us.saturating_add(lasts_us);
        self.records.insert(key, Record { until_us, times, count });
        Some(until_us)
    }

    /// Until when an endpoint is out; none: it is not.
    #[must_use]
    pub fn until_us(&self, key: u64, now_us: u64) -> Option<u64> {
        self.records.get(&key).map(|record| record.until_us).filter(|until_us| now_us < *until_us)
    }

    /// How many are out.
    #[must_use]
    pub fn ejected(&self, now_us: u64) -> usize {
        self.records.values().filter(|record| now_us < record.until_us).count()
    }

    /// Forgets all others.
    pub fn retain(&mut self, keys: &[u64]) {
        self.records.retain(|key, _| keys.contains(key));
    }

    /// How often an endpoint was ejected.
    #[must_use]
    pub fn count(&self, key: u64) -> u64 {
        self.records.get(&key).map_or(0, |record| record.count)
    }
}

#[cfg(test)]
mod tests;
