//! What became of an attempt, and what follows from it for its endpoint: its breaker, its ejection. Judged when something went
//! badly or slowly; what went well is counted in this worker's own cells at most.

use std::sync::Arc;
use std::time::Duration;

use shared::config;
use shared::decide::breaker::BreakerRules;
use shared::decide::eject::{EjectRules, Why, should_eject};

use super::health::{Judge, Note};
use super::window::{Seen, Sums};
use super::{AttemptError, Endpoint, Upstream};

/// How an attempt went.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// The status of the answer, or why there is none.
    pub with: Result<u16, AttemptError>,
    /// From the attempt's start to the answer's head, or to its failure.
    pub took_us: u64,
}

/// When that was, on both clocks, and on which worker.
#[derive(Clone, Copy, Debug)]
pub struct When {
    pub now_us: u64,
    pub unix_us: i64,
    pub worker: usize,
}

/// A request that an open breaker let through, to see whether the endpoint does well again. Dropped without a verdict it says
/// nothing.
#[derive(Debug)]
pub struct Trial {
    endpoint: Arc<Endpoint>,
    rules: BreakerRules,
    now_us: u64,
    has_ended: bool,
}

impl Trial {
    pub(super) fn new(endpoint: &Arc<Endpoint>, rules: BreakerRules, now_us: u64) -> Self {
        Self { endpoint: Arc::clone(endpoint), rules, now_us, has_ended: false }
    }

    fn ended(mut self, ok: Option<bool>, when: When) {
        self.has_ended = true;
        if self.endpoint.health.trial_ended(&self.rules, ok, when.now_us, when.unix_us) {
            let (upstream, address) = (&self.endpoint.upstream, &self.endpoint.address);
            match ok {
                Some(true) => tracing::info!(%upstream, endpoint = %address, "an endpoint's breaker has closed"),
                Some(false) | None => {
                    tracing::warn!(%upstream, endpoint = %address, "an endpoint's breaker stays open: a trial failed");
                }
            }
            self.endpoint.signal.raise();
        }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if !self.has_ended && self.endpoint.health.trial_ended(&self.rules, None, self.now_us, 0) {
            self.endpoint.signal.raise();
        }
    }
}

/// A breaker's rules, as its state machine takes them.
pub(super) fn breaker_rules(config: &config::Breaker) -> BreakerRules {
    BreakerRules {
        error_rate: config.error_rate,
        slow_rate: config.slow.is_some().then_some(config.slow_rate),
        min_requests: config.min_requests,
        open_for_us: micros(config.open_for),
        trials: config.trials,
    }
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn is_longer(took_us: u64, than: Option<Duration>) -> bool {
    than.is_some_and(|than| took_us > micros(than))
}

impl Upstream {
    /// Notes how an attempt went.
    pub fn note(&self, endpoint: &Arc<Endpoint>, trial: Option<Box<Trial>>, answered: Answered, when: When) {
        let blameless = answered.with.is_err_and(|error| !error.blames_endpoint());
        if let Some(breaker) = &self.config.breaker {
            let failed = answered.with.map_or_else(|_| true, |status| breaker.statuses.contains(status));
            let slow = is_longer(answered.took_us, breaker.slow);
            if let Some(trial) = trial {
                let verdict = (!blameless).then_some(!failed && !slow);
                trial.ended(verdict, when);
            } else if !blameless {
                let seen = Seen { failed, slow, took_us: answered.took_us };
                note_for_breaker(breaker, endpoint, seen, when);
            }
        }
        if let Some(eject) = &self.config.eject
            && !blameless
        {
            let failed = answered.with.map_or_else(|_| true, |status| eject.statuses.contains(status));
            let seen = Seen { failed, slow: is_longer(answered.took_us, eject.latency), took_us: answered.took_us };
            self.note_for_ejection(eject, endpoint, seen, when);
        }
    }

    fn note_for_ejection(&self, config: &config::Eject, endpoint: &Arc<Endpoint>, seen: Seen, when: When) {
        let health = &endpoint.health;
        let consecutive = if seen.failed {
            health.failed()
        } else {
            health.succeeded();
            0
        };
        let by_window = config.error_rate.is_some() || config.latency.is_some();
        if by_window {
            health.count(Judge::Ejection, when.worker, seen, when.now_us, config.window);
        }
        if (!seen.failed && !seen.slow) || health.is_ejected(when.now_us) {
            return;
        }
        let sums = if by_window { health.sums(Judge::Ejection, when.now_us, config.window) } else { Sums::default() };
        let Some(why) = should_eject(config, consecutive, sums.counts, sums.mean_us()) else { return };
        let rules = EjectRules::from(config);
        let keys: Vec<u64> = self.members().list.iter().map(|member| member.endpoint.key).collect();
        let until = {
            let mut ejections = self.live.ejections();
            ejections.retain(&keys);
            ejections.eject(&rules, endpoint.key, keys.len(), when.now_us)
        };
        let (upstream, address) = (&endpoint.upstream, &endpoint.address);
        let why = why_word(why);
        let Some(until_us) = until else {
            health.count_anew();
            if !health.is_ejected(when.now_us) && health.may_tell(when.now_us) {
                tracing::warn!(%upstream, endpoint = %address, why, "an endpoint fails, and as many are ejected as may be");
            }
            return;
        };
        health.eject(until_us, Note { at_us: when.unix_us, why });
        let seconds = until_us.saturating_sub(when.now_us) / 1_000_000;
        tracing::warn!(%upstream, endpoint = %address, why, seconds, "an endpoint was ejected");
        endpoint.signal.raise();
    }
}

fn note_for_breaker(config: &config::Breaker, endpoint: &Arc<Endpoint>, seen: Seen, when: When) {
    let health = &endpoint.health;
    health.count(Judge::Breaker, when.worker, seen, when.now_us, config.window);
    if !seen.failed && !seen.slow {
        return;
    }
    let sums = health.sums(Judge::Breaker, when.now_us, config.window);
    if let Some(why) = health.judge(&breaker_rules(config), &sums, when.now_us, when.unix_us) {
        let (upstream, address) = (&endpoint.upstream, &endpoint.address);
        let counts = sums.counts;
        tracing::warn!(
            %upstream, endpoint = %address, why,
            requests = counts.total, failed = counts.failed, slow = counts.slow,
            "an endpoint's breaker has opened"
        );
        endpoint.signal.raise();
    }
}

fn why_word(why: Why) -> &'static str {
    match why {
        Why::ConsecutiveErrors => "consecutive errors",
        Why::ErrorRate => "too many errors",
        Why::Latency => "too slow",
    }
}
