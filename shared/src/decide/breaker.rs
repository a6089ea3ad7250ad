//! The circuit breaker of one endpoint: closed, open, half open. Counts and time are handed in.
//!
//! Closed, every request passes. It opens when too large a share of the requests of its window failed or was slow, and then
//! none passes. Once its time is over it is half open: a few trials pass, one after the other or at once, but never more than
//! `trials` under way, nor more in all until they decide. All of them well: closed. One failed: open again.

use super::eligible::Circuit;
use crate::config::Percent;

/// What became of the requests of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub total: u64,
    pub failed: u64,
    pub slow: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerRules {
    pub error_rate: Option<Percent>,
    pub slow_rate: Option<Percent>,
    /// With fewer in the window nothing is judged.
    pub min_requests: u32,
    pub open_for_us: u64,
    /// 0 counts as 1: else nothing would ever close it.
    pub trials: u32,
}

/// Whether a request may go to the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    Free,
    /// As a trial: [`Breaker::trial_ended`] must be told how it went.
    Trial,
    No,
}

/// Why it opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trip {
    ErrorRate,
    SlowRate,
    Trial,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    state: State,
    /// Trials that have not ended, of earlier rounds too: an endpoint that stalls keeps them, and gets no more.
    under_way: u32,
    changed_us: u64,
    opened: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Closed,
    Open {
        until_us: u64,
    },
    HalfOpen {
        succeeded: u32,
    },
}

impl Breaker {
    #[must_use]
    pub fn circuit(&self, now_us: u64) -> Circuit {
        match self.state {
            State::Closed => Circuit::Closed,
            State::Open { until_us } if now_us < until_us => Circuit::Open { until_us },
            State::Open { .. } | State::HalfOpen { .. } => Circuit::HalfOpen,
        }
    }

    /// Asks for one request.
    pub fn try_pass(&mut self, rules: &BreakerRules, now_us: u64) -> Pass {
        let succeeded = match self.settle(now_us) {
            State::Closed => return Pass::Free,
            State::Open { .. } => return Pass::No,
            State::HalfOpen { succeeded } => succeeded,
        };
        if self.under_way.saturating_add(succeeded) >= rules.trials.max(1) {
            return Pass::No;
        }
        self.under_way = self.under_way.saturating_add(1);
        Pass::Trial
    }

    /// Tells how a trial went; none: it was called off, and says nothing. A trial that outlived the round that it began in counts
    /// for the one in which it ends. Says whether the breaker opened.
    pub fn trial_ended(&mut self, rules: &BreakerRules, ok: Option<bool>, now_us: u64) -> Option<Trip> {
        self.under_way = self.under_way.saturating_sub(1);
        let State::HalfOpen { succeeded } = self.settle(now_us) else { return None };
        match ok {
            None => None,
            Some(false) => {
                self.open(rules, now_us);
                Some(Trip::Trial)
            }
            Some(true) => {
                let succeeded = succeeded.saturating_add(1);
                if succeeded >= rules.trials.max(1) {
                    self.state = State::Closed;
                    self.changed_us = now_us;
                } else {
                    self.state = State::HalfOpen { succeeded };
                }
                None
            }
        }
    }

    /// Opens a closed breaker where the counts say so. They are those of what ended since [`Breaker::changed_us`], within the
    /// window: what opened the breaker once must not open it again as soon as it has closed.
    pub fn judge(&mut self, rules: &BreakerRules, counts: Counts, now_us: u64) -> Option<Trip> {
        if self.state != State::Closed || counts.total < u64::from(rules.min_requests) {
            return None;
        }
        let trip = if rules.error_rate.is_some_and(|rate| reaches(counts.failed, counts.total, rate)) {
            Trip::ErrorRate
        } else if rules.slow_rate.is_some_and(|rate| reaches(counts.slow, counts.total, rate)) {
            Trip::SlowRate
        } else {
            return None;
        };
        self.open(rules, now_us);
        Some(trip)
    }

    /// When it opened or closed last; 0: never.
    #[must_use]
    pub fn changed_us(&self) -> u64 {
        self.changed_us
    }

    /// How often it opened.
    #[must_use]
    pub fn opened_count(&self) -> u64 {
        self.opened
    }

    fn open(&mut self, rules: &BreakerRules, now_us: u64) {
        self.state = State::Open { until_us: now_us.saturating_add(rules.open_for_us) };
        self.changed_us = now_us;
        self.opened = self.opened.saturating_add(1);
    }

    fn settle(&mut self, now_us: u64) -> State {
        if let State::Open { until_us } = self.state
            && now_us >= until_us
        {
            self.state = State::HalfOpen { succeeded: 0 };
        }
        self.state
    }
}

/// Whether `part` is at least this share of `total`, and anything at all.
pub(super) fn reaches(part: u64, total: u64, share: Percent) -> bool {
    part > 0 && u128::from(part) * 10_000 >= u128::from(total) * u128::from(share.basis_points())
}

#[cfg(test)]
mod tests;
