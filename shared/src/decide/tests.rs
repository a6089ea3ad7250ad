//! All decisions about endpoints together, as a proxy would ask them: five endpoints that fail, stall, are drained and come
//! back, under load, for 200 seeds. What each part promises must hold while all are at work, and once everything is well again
//! every endpoint must serve again in time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use crate::config::{Cause, Causes, Eject, Initial, Percent, Retry, Statuses};
use crate::decide::balance::{Balancer, Candidate, Method, key_of};
use crate::decide::breaker::{Breaker, BreakerRules, Counts, Pass};
use crate::decide::budget::{Budget, FLOOR_PER_SECOND};
use crate::decide::eject::{EjectRules, Ejections, should_eject};
use crate::decide::eligible::{Admin, Circuit, Eligible, Facts, Rules, Tier, eligible};
use crate::decide::probe::{Streak, pause};
use crate::decide::retry::{Safety, Tried, backoff, may_retry};
use crate::decide::seeded::Seeded;

const MS: u64 = 1_000;
const SECOND: u64 = 1_000 * MS;
const ENDPOINTS: usize = 5;
/// Until then endpoints fail, …
const CHAOS_ENDS: u64 = 30 * SECOND;
/// … within this they must all be back: the longest ejection, a probe or two, a round of trials and a slow start …
const RECOVERY: u64 = 20 * SECOND;
/// … and for this long it is watched that they serve.
const WATCHED: u64 = 5 * SECOND;
const WINDOW: u64 = 5 * SECOND;
/// Of retries among requests.
const SHARE: Percent = Percent::of(2_000);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrives,
    Attempts { request: usize },
    Ends { request: usize, endpoint: usize, is_trial: bool, ok: bool },
    Probes { endpoint: usize },
    Changes { endpoint: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Well,
    Refuses,
    Stalls,
}

struct Endpoint {
    key: u64,
    health: Health,
    admin: Admin,
    streak: Streak,
    breaker: Breaker,
    consecutive: u32,
    ready_since_us: Option<u64>,
    load: u32,
    trials: u32,
    /// When attempts ended, and whether badly.
    ended: VecDeque<(u64, bool)>,
    served_last: u64,
}

struct Request {
    safety: Safety,
    tried: Vec<usize>,
    attempts: u32,
}

struct World {
    at: String,
    now: u64,
    seeded: Seeded,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    number: u64,
    endpoints: Vec<Endpoint>,
    requests: Vec<Request>,
    rules: Rules,
    breaker: BreakerRules,
    eject: Eject,
    retry: Retry,
    ejections: Ejections,
    budget: Budget,
    method: Method,
    balancer: Balancer,
    eligible: Eligible,
    is_stale: bool,
    asked: Vec<u64>,
    retried: Vec<u64>,
    failed: u64,
    seen: Seen,
}

/// That a simulation came upon what it is about.
#[derive(Debug, Default)]
struct Seen {
    retries: u64,
    ejections: u64,
    openings: u64,
    trials: u64,
    panics: u64,
    unavailable: u64,
    over_budget: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut seeded = Seeded::new(seed);
        let methods = [Method::RoundRobin, Method::LeastBusy, Method::TwoChoices, Method::Random, Method::Hash];
        let method = methods[(seed % 5) as usize];
        let endpoint = |number: usize| Endpoint {
            key: key_of(&[number as u8]),
            health: Health::Well,
            admin: Admin::Ready,
            streak: Streak::new(Initial::Unknown),
            breaker: Breaker::default(),
            consecutive: 0,
            ready_since_us: None,
            load: 0,
            trials: 0,
            ended: VecDeque::new(),
            served_last: 0,
        };
        Self {
            at: format!("seed {seed}, {method:?}"),
            now: 0,
            events: BinaryHeap::new(),
            number: 0,
            endpoints: (0..ENDPOINTS).map(endpoint).collect(),
            requests: Vec::new(),
            rules: Rules {
                panic_below: seeded.one_in(2).then(|| Percent::of(seeded.between(1, 5_000) as u32)),
                slow_start_us: seeded.one_in(2).then_some(2 * SECOND),
            },
            breaker: BreakerRules {
                error_rate: Some(Percent::of(5_000)),
                slow_rate: None,
                min_requests: 10,
                open_for_us: SECOND,
                trials: seeded.between(1, 4) as u32,
            },
            eject: Eject {
                consecutive_errors: Some(seeded.between(3, 40) as u32),
                error_rate: None,
                latency: None,
                min_requests: 10,
                window: Duration::from_micros(WINDOW),
                statuses: Statuses::none(),
                lasts: Duration::from_secs(2),
                max_for: Duration::from_secs(8),
                max_percent: Percent::of(seeded.between(0, 10_000) as u32),
            },
            retry: Retry {
                attempts: 3,
                on: Causes { connect: true, timeout: true, ..Causes::none() },
                backoff: Duration::from_millis(5),
                max_backoff: Duration::from_secs(1),
                budget: None,
                body: None,
            },
            ejections: Ejections::default(),
            budget: Budget::new(0),
            method,
            balancer: Balancer::new(method, Vec::new(), seeded.next()),
            eligible: Eligible::default(),
            is_stale: true,
            asked: Vec::new(),
            retried: Vec::new(),
            failed: 0,
            seen: Seen::default(),
            seeded,
        }
    }

    fn plan(&mut self, after_us: u64, event: Event) {
        self.number += 1;
        self.events.push(Reverse((self.now + after_us, self.number, event)));
    }

    fn run(mut self) -> Seen {
        self.plan(SECOND / 2, Event::Arrives);
        for endpoint in 0..ENDPOINTS {
            self.plan(endpoint as u64 * MS, Event::Probes { endpoint });
            self.plan(SECOND, Event::Changes { endpoint });
        }
        let end = CHAOS_ENDS + RECOVERY + WATCHED;
        while let Some(Reverse((now, _, event))) = self.events.pop() {
            if now > end {
                break;
            }
            self.now = now;
            match event {
                Event::Arrives => self.arrives(),
                Event::Attempts { request } => self.attempts(request),
                Event::Ends { request, endpoint, is_trial, ok } => self.ends(request, endpoint, is_trial, ok),
                Event::Probes { endpoint } => self.probes(endpoint),
                Event::Changes { endpoint } => self.changes(endpoint),
            }
        }
        self.has_recovered();
        self.seen
    }

    fn arrives(&mut self) {
        let idempotent = !self.seeded.one_in(5);
        self.requests.push(Request { safety: Safety { idempotent, has_key: false }, tried: Vec::new(), attempts: 0 });
        self.budget.request(self.now);
        self.asked.push(self.now);
        self.attempts(self.requests.len() - 1);
        let gap = self.seeded.between(MS, 10 * MS);
        self.plan(gap, Event::Arrives);
    }

    fn facts(&self) -> Vec<Facts> {
        let facts = |endpoint: &Endpoint| Facts {
            backup: false,
            weight: 1,
            admin: endpoint.admin,
            checked: endpoint.streak.checked(),
            ejected_until_us: self.ejections.until_us(endpoint.key, self.now),
            circuit: endpoint.breaker.circuit(self.now),
            resolved: true,
            ready_since_us: endpoint.ready_since_us,
        };
        self.endpoints.iter().map(facts).collect()
    }

    /// Asks anew only where something changed or time says so, and makes sure that this is enough.
    fn choose(&mut self) {
        let fresh = eligible(&self.facts(), &self.rules, self.now);
        if self.is_stale || self.eligible.recheck_us.is_some_and(|at| self.now >= at) {
            let of = |(index, weight): &(usize, u32)| Candidate { key: self.endpoints[*index].key, weight: *weight };
            let candidates = fresh.chosen.iter().map(of).collect();
            self.balancer.update(self.method, candidates);
            self.eligible = fresh;
            self.is_stale = false;
        } else {
            assert_eq!(self.eligible, fresh, "{}: changed without a word at {}", self.at, self.now);
        }
    }

    fn attempts(&mut self, request: usize) {
        self.choose();
        self.seen.panics += u64::from(self.eligible.tier == Tier::Panic);
        let place = |endpoint: &usize| self.eligible.chosen.iter().position(|(index, _)| index == endpoint);
        let tried: Vec<usize> = self.requests[request].tried.iter().filter_map(place).collect();
        let mut refused: Vec<usize> = Vec::new();
        // Another endpoint first; where there is none left, one that was tried.
        let mut excluded = tried.clone();
        let chosen = loop {
            let (endpoints, eligible) = (&self.endpoints, &self.eligible);
            let load = |index: usize| endpoints[eligible.chosen[index].0].load;
            let key = Some(self.requests.len() as u64);
            let picked = self.balancer.pick(key, load, &excluded, || self.seeded.next());
            let Some(index) = picked else {
                if excluded.len() > refused.len() {
                    excluded.clone_from(&refused);
                    continue;
                }
                break None;
            };
            assert!(!excluded.contains(&index), "{}", self.at);
            let chosen = self.eligible.chosen[index].0;
            let pass = self.try_pass(chosen);
            if pass != Pass::No {
                break Some((chosen, pass == Pass::Trial));
            }
            refused.push(index);
            excluded.push(index);
        };
        let Some((chosen, is_trial)) = chosen else { return self.is_unavailable() };
        let endpoint = &mut self.endpoints[chosen];
        assert_eq!(endpoint.admin, Admin::Ready, "{}: drained, and sent traffic", self.at);
        endpoint.load += 1;
        endpoint.served_last += u64::from(self.now >= CHAOS_ENDS + RECOVERY);
        let (takes, ok) = match endpoint.health {
            Health::Well => (self.seeded.between(MS, 20 * MS), true),
            Health::Refuses => (MS, false),
            Health::Stalls => (SECOND, false),
        };
        self.requests[request].tried.push(chosen);
        self.requests[request].attempts += 1;
        self.plan(takes, Event::Ends { request, endpoint: chosen, is_trial, ok });
    }

    fn try_pass(&mut self, chosen: usize) -> Pass {
        let (now, at) = (self.now, &self.at);
        let endpoint = &mut self.endpoints[chosen];
        let before = endpoint.breaker.circuit(now);
        let pass = endpoint.breaker.try_pass(&self.breaker, now);
        match pass {
            Pass::Free => assert_eq!(before, Circuit::Closed, "{at}"),
            Pass::Trial => {
                assert_eq!(before, Circuit::HalfOpen, "{at}");
                endpoint.trials += 1;
                self.seen.trials += 1;
            }
            Pass::No => assert_ne!(before, Circuit::Closed, "{at}"),
        }
        assert!(endpoint.trials <= self.breaker.trials, "{at}: {} trials", endpoint.trials);
        pass
    }

    fn is_unavailable(&mut self) {
        self.seen.unavailable += 1;
        self.failed += 1;
        if self.rules.panic_below.is_some() && !self.eligible.awaits {
            let is_shut = |endpoint: &Endpoint| {
                endpoint.admin != Admin::Ready || endpoint.breaker.circuit(self.now) != Circuit::Closed
            };
            assert!(
                self.eligible.tier != Tier::Panic && !self.eligible.chosen.is_empty()
                    || self.endpoints.iter().all(is_shut),
                "{}: one could have been asked",
                self.at
            );
        }
    }

    fn ends(&mut self, request: usize, chosen: usize, is_trial: bool, ok: bool) {
        let now = self.now;
        let endpoint = &mut self.endpoints[chosen];
        let before = endpoint.breaker.circuit(now);
        endpoint.load -= 1;
        endpoint.ended.push_back((now, !ok));
        while endpoint.ended.front().is_some_and(|(at, _)| at + WINDOW < now) {
            endpoint.ended.pop_front();
        }
        let since = endpoint.breaker.changed_us();
        let counted = endpoint.ended.iter().filter(|(at, _)| *at >= since);
        let failed = counted.clone().filter(|(_, failed)| *failed).count() as u64;
        let counts = Counts { total: counted.count() as u64, failed, slow: 0 };
        endpoint.consecutive = if ok { 0 } else { endpoint.consecutive + 1 };
        let trip = if is_trial {
            endpoint.trials -= 1;
            endpoint.breaker.trial_ended(&self.breaker, Some(ok), now)
        } else if ok {
            None
        } else {
            endpoint.breaker.judge(&self.breaker, counts, now)
        };
        self.seen.openings += u64::from(trip.is_some());
        let after = endpoint.breaker.circuit(now);
        if after != before {
            self.is_stale = true;
            if after == Circuit::Closed {
                endpoint.ready_since_us = Some(now);
            }
        }
        if !ok {
            self.judge(chosen, counts);
            self.try_again(request, chosen);
        }
    }

    fn judge(&mut self, chosen: usize, counts: Counts) {
        let endpoint = &mut self.endpoints[chosen];
        if should_eject(&self.eject, endpoint.consecutive, counts, 0).is_none() {
            return;
        }
        let rules = EjectRules::from(&self.eject);
        if let Some(until) = self.ejections.eject(&rules, endpoint.key, ENDPOINTS, self.now) {
            assert!(until - self.now <= rules.max_for_us, "{}", self.at);
            endpoint.consecutive = 0;
            endpoint.ready_since_us = Some(until);
            self.is_stale = true;
            self.seen.ejections += 1;
        }
        let most = ENDPOINTS * rules.max_percent.basis_points() as usize / 10_000;
        assert!(self.ejections.ejected(self.now) <= most, "{}: more than {most} are out", self.at);
    }

    fn try_again(&mut self, request: usize, chosen: usize) {
        let Request { safety, attempts, .. } = self.requests[request];
        let is_refused = self.endpoints[chosen].health == Health::Refuses;
        let cause = if is_refused { Cause::Connect } else { Cause::Timeout };
        let tried = Tried { cause, untouched: is_refused, repeatable: true, attempts };
        if may_retry(&self.retry, safety, tried).is_err() {
            self.failed += 1;
            return;
        }
        assert!(safety.idempotent || is_refused, "{}: done twice", self.at);
        assert!(attempts < self.retry.attempts, "{}: {attempts} attempts", self.at);
        if !self.budget.try_retry(SHARE, self.now) {
            self.seen.over_budget += 1;
            self.failed += 1;
            return;
        }
        self.retried.push(self.now);
        self.seen.retries += 1;
        let within = |times: &[u64]| times.iter().rev().take_while(|at| *at + 10 * SECOND > self.now).count() as u64;
        let allowed = within(&self.asked) * u64::from(SHARE.basis_points()) / 10_000 + 10 * FLOOR_PER_SECOND;
        assert!(within(&self.retried) <= allowed, "{}: more than {allowed} retries", self.at);
        let pause = backoff(&self.retry, attempts, self.seeded.next());
        assert!(pause <= self.retry.max_backoff, "{}", self.at);
        self.plan(pause.as_micros() as u64, Event::Attempts { request });
    }

    fn probes(&mut self, chosen: usize) {
        let endpoint = &mut self.endpoints[chosen];
        if let Some(changed) = endpoint.streak.result(endpoint.health == Health::Well, 2, 3) {
            assert_eq!(changed, endpoint.streak.checked());
            endpoint.ready_since_us = Some(self.now);
            self.is_stale = true;
        }
        let after = pause(SECOND / 2, Percent::of(2_000), self.seeded.next());
        self.plan(after, Event::Probes { endpoint: chosen });
    }

    fn changes(&mut self, chosen: usize) {
        let endpoint = &mut self.endpoints[chosen];
        if self.now >= CHAOS_ENDS {
            (endpoint.health, endpoint.admin) = (Health::Well, Admin::Ready);
        } else {
            endpoint.health = match self.seeded.below(4) {
                0 => Health::Refuses,
                1 => Health::Stalls,
                _ => Health::Well,
            };
            endpoint.admin = if self.seeded.one_in(8) { Admin::Drain } else { Admin::Ready };
            let after = self.seeded.between(100 * MS, 8 * SECOND).min(CHAOS_ENDS - self.now);
            self.plan(after, Event::Changes { endpoint: chosen });
        }
        self.is_stale = true;
    }

    fn has_recovered(&mut self) {
        self.choose();
        assert_eq!((self.eligible.tier, self.eligible.chosen.len()), (Tier::Primary, ENDPOINTS), "{}", self.at);
        let served: Vec<u64> = self.endpoints.iter().map(|endpoint| endpoint.served_last).collect();
        let all: u64 = served.iter().sum();
        // By chance about 900 requests are shared by five: 180 each, give or take 12.
        let off = if self.method == Method::RoundRobin { all / 100 } else { all / 10 };
        assert!(served.iter().all(|one| one.abs_diff(all / 5) <= off), "{}: {served:?}", self.at);
        for endpoint in &self.endpoints {
            assert_eq!(endpoint.breaker.circuit(self.now), Circuit::Closed, "{}", self.at);
        }
    }
}

#[test]
fn everything_holds_together_and_recovers() {
    let mut all = Seen::default();
    for seed in 0..200 {
        let seen = World::new(seed).run();
        assert!(seen.retries > 0, "seed {seed}: {seen:?}");
        all.retries += seen.retries;
        all.ejections += seen.ejections;
        all.openings += seen.openings;
        all.trials += seen.trials;
        all.panics += seen.panics;
        all.unavailable += seen.unavailable;
        all.over_budget += seen.over_budget;
    }
    let Seen { retries, ejections, openings, trials, panics, unavailable, over_budget } = all;
    let least = [retries, ejections, openings, trials, panics, unavailable, over_budget].into_iter().min();
    assert!(least.is_some_and(|times| times >= 100), "{all:?}");
}
