//! A worker's choice of the endpoint for the next attempt: whom the client was brought to before, else the balancer's; whom
//! its breaker lets through, and who has room.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use shared::config;
use shared::decide::balance::{Balancer, Candidate, Method};
use shared::decide::breaker::Pass;
use shared::decide::eligible::{Checked, Circuit, Eligible, Facts, Rules, Tier, eligible};
use tokio::time::Instant;

use super::gate::Waiting;
use super::outcome::{breaker_rules, micros};
use super::{AttemptError, LocalUpstream, Member, Members, Pool, Seat, Trial, Upstream};

/// What the choice may depend on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ask<'a> {
    /// What hashing goes by.
    pub key: Option<u64>,
    /// The cookie that says where the client was before.
    pub cookie: Option<&'a [u8]>,
}

/// An endpoint that was chosen.
pub struct Picked {
    pub pool: Rc<Pool>,
    /// Where its breaker lets it through to see how it does.
    pub trial: Option<Box<Trial>>,
    /// Its place among those under way, where there is a limit.
    pub seat: Option<Seat>,
    /// All are used, since too few are well.
    pub in_panic: bool,
    /// What the client is to bring back, where it does not already.
    pub cookie: Option<Box<str>>,
}

/// Why nobody was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turned {
    /// Those that could be have as many requests as they may.
    Full,
    /// A first result is to come.
    Awaits,
    /// When the first breaker lets a trial through, if that is what is in the way.
    Nobody { opens_us: Option<u64> },
}

/// What a worker knows of an upstream's endpoints, until something changes.
pub(super) struct View {
    pub(super) members: Arc<Members>,
    pub(super) pools: Box<[Rc<Pool>]>,
    tokens: Box<[Box<str>]>,
    version: u64,
    eligible: Eligible,
    balancer: Balancer,
}

/// What is known of a member, for the decision whether it may be chosen. What the config does not ask for does not count: a
/// request of an earlier one may still have noted it.
pub(super) fn facts(config: &config::Upstream, member: &Member, now_us: u64) -> Facts {
    let health = &member.endpoint.health;
    Facts {
        backup: member.backup,
        weight: member.weight,
        admin: member.admin,
        checked: config.probe.as_ref().map_or(Checked::NotProbed, |_| health.checked()),
        ejected_until_us: config.eject.as_ref().and_then(|_| health.ejected_until_us()),
        circuit: config.breaker.as_ref().map_or(Circuit::Closed, |_| health.circuit(now_us)),
        resolved: member.resolved,
        ready_since_us: health.ready_since_us(),
    }
}

impl Upstream {
    /// Which members may be chosen now.
    pub fn eligible(&self, members: &Members, now_us: u64) -> Eligible {
        let facts: Vec<Facts> = members.list.iter().map(|member| facts(&self.config, member, now_us)).collect();
        let rules = Rules { panic_below: self.config.panic_below, slow_start_us: self.config.slow_start.map(micros) };
        let mut eligible = eligible(&facts, &rules, now_us);
        eligible.awaits |= eligible.chosen.is_empty() && members.is_resolving;
        eligible
    }

    fn method(&self) -> Method {
        use shared::config::Balance;
        match self.config.balance {
            Balance::RoundRobin => Method::RoundRobin,
            Balance::LeastBusy => Method::LeastBusy,
            Balance::TwoChoices => Method::TwoChoices,
            Balance::Random => Method::Random,
            Balance::Hash(_) => Method::Hash,
        }
    }

    fn tokens(&self, members: &Members) -> Box<[Box<str>]> {
        let Some(key) = &self.sticky_key else { return Box::default() };
        members.list.iter().map(|member| key.token(&self.config.name, &member.endpoint.address)).collect()
    }
}

impl View {
    /// As things stand. `random` lets workers begin at different endpoints, so that together they spread as one would.
    pub(super) fn new(
        upstream: &Upstream,
        pools: impl FnOnce(&Members) -> Box<[Rc<Pool>]>,
        now_us: u64,
        random: u64,
    ) -> Self {
        let version = upstream.live.signal.version();
        let members = upstream.members();
        let eligible = upstream.eligible(&members, now_us);
        let balancer = Balancer::new(upstream.method(), candidates(&members, &eligible), random);
        tell_panic(upstream, &eligible);
        Self { pools: pools(&members), tokens: upstream.tokens(&members), members, version, eligible, balancer }
    }

    /// Whether it has to be looked at anew.
    fn is_stale(&self, upstream: &Upstream, now_us: u64) -> bool {
        self.version != upstream.live.signal.version()
            || self.eligible.recheck_us.is_some_and(|recheck| now_us >= recheck)
    }

    fn look(&mut self, local: &LocalUpstream, now_us: u64) {
        let upstream = &*local.upstream;
        // Before what it counts: a change while looking is seen the next time.
        self.version = upstream.live.signal.version();
        let members = upstream.members();
        if !Arc::ptr_eq(&members, &self.members) {
            self.pools = local.pools(&members, &self.pools);
            self.tokens = upstream.tokens(&members);
            self.members = members;
        }
        self.eligible = upstream.eligible(&self.members, now_us);
        self.balancer.update(upstream.method(), candidates(&self.members, &self.eligible));
        tell_panic(upstream, &self.eligible);
    }

    /// When time alone may change who may be chosen.
    fn recheck_us(&self) -> Option<u64> {
        self.eligible.recheck_us
    }

    /// The member at this place among those that may be chosen.
    fn at(&self, place: usize) -> Option<(&Member, &Rc<Pool>)> {
        let (index, _) = *self.eligible.chosen.get(place)?;
        Some((self.members.list.get(index)?, self.pools.get(index)?))
    }

    /// Whether one that was not tried may be chosen, and is well.
    pub(super) fn has_other(&self, tried: &[u64], now_us: u64) -> bool {
        let mut members = self.eligible.chosen.iter().filter_map(|(index, _)| self.members.list.get(*index));
        let is_well = |member: &Member| member.endpoint.health.circuit(now_us) == Circuit::Closed;
        members.any(|member| !tried.contains(&member.endpoint.id) && is_well(member))
    }

    fn place_of(&self, token: &[u8]) -> Option<usize> {
        let index = self.tokens.iter().position(|known| known.as_bytes() == token)?;
        self.eligible.chosen.iter().position(|(chosen, _)| *chosen == index)
    }
}

/// Says when panic begins and ends: whichever worker sees it first, also in its first look.
fn tell_panic(upstream: &Upstream, eligible: &Eligible) {
    let panics = !eligible.chosen.is_empty() && eligible.tier == Tier::Panic;
    if !upstream.live.set_panicking(panics) {
        return;
    }
    let upstream = &upstream.config.name;
    if panics {
        tracing::error!(%upstream, "too few endpoints are well: all of them are used");
    } else {
        tracing::info!(%upstream, "no more are all endpoints used, whether they are well or not");
    }
}

fn candidates(members: &Members, eligible: &Eligible) -> Vec<Candidate> {
    let candidate = |&(index, weight): &(usize, u32)| {
        let key = members.list.get(index).map_or(0, |member| member.endpoint.key);
        Candidate { key, weight }
    };
    eligible.chosen.iter().map(candidate).collect()
}

impl LocalUpstream {
    /// The endpoint for the next attempt; those that were tried, by their ids, come into question last. Waits in the queue
    /// where all have as many requests as they may; and for a first result, at most `patience`. Never beyond `until`.
    pub async fn admit(
        &self,
        ask: &Ask<'_>,
        tried: &[u64],
        patience: Duration,
        until: Option<Instant>,
    ) -> Result<Picked, AttemptError> {
        match self.choose(ask, tried, false) {
            Ok(picked) => Ok(picked),
            // Apart on the heap: nearly all requests find somebody at once.
            Err(turned) => Box::pin(self.wait(turned, ask, tried, patience, until)).await,
        }
    }

    async fn wait(
        &self,
        mut turned: Turned,
        ask: &Ask<'_>,
        tried: &[u64],
        patience: Duration,
        until: Option<Instant>,
    ) -> Result<Picked, AttemptError> {
        let live = &self.upstream.live;
        let began = Instant::now();
        let mut place: Option<Waiting<'_>> = None;
        loop {
            let (end, error) = match turned {
                Turned::Nobody { opens_us: None } => return Err(AttemptError::Unavailable),
                Turned::Nobody { opens_us: Some(opens_us) } => {
                    let left_us = opens_us.saturating_sub(self.now_us());
                    let seconds = u32::try_from(left_us.div_ceil(1_000_000)).unwrap_or(u32::MAX).max(1);
                    return Err(AttemptError::CircuitOpen { seconds });
                }
                Turned::Full => {
                    let limit = self.upstream.config.in_flight.as_ref();
                    let (queue, wait) = limit.map_or((0, Duration::ZERO), |limit| (limit.queue, limit.wait));
                    if place.is_none() {
                        place = Some(live.gate.queue(queue).ok_or(AttemptError::QueueFull)?);
                    }
                    (began + wait, AttemptError::QueueTimeout)
                }
                Turned::Awaits => (began + patience, AttemptError::Unavailable),
            };
            let (end, error) = match until {
                Some(until) if until < end => (until, AttemptError::OutOfTime),
                Some(_) | None => (end, error),
            };
            // Of those that wait for a place, only the first is to look before it is called.
            let (mut freed, mut changed) = (pin!(live.gate.next()), pin!(live.signal.next()));
            let mut looks = true;
            if let (Turned::Full, Some(place)) = (turned, &place) {
                freed.as_mut().enable();
                looks = place.is_first();
            }
            changed.as_mut().enable();
            if looks {
                // What changed before this was missed.
                match self.choose(ask, tried, place.is_some()) {
                    Ok(picked) => return Ok(self.admitted(picked, place)),
                    Err(now) if now != turned => {
                        turned = now;
                        continue;
                    }
                    Err(_) => {}
                }
            }
            // Time alone may bring somebody back.
            let recheck_us = self.view.borrow().recheck_us().map(|at_us| at_us.saturating_sub(self.now_us()) + 1);
            let recheck = recheck_us.map(|left_us| Instant::now() + Duration::from_micros(left_us));
            let wake = recheck.map_or(end, |recheck| recheck.min(end));
            let woken = async {
                if turned == Turned::Full {
                    tokio::select! {
                        () = freed => {}
                        () = changed => {}
                    }
                } else {
                    changed.await;
                }
            };
            if tokio::time::timeout_at(wake, woken).await.is_err() && wake == end {
                return Err(error);
            }
            // So that what is timed from here on is not timed from before.
            let _ = self.ledger.clock.now();
            match self.choose(ask, tried, place.is_some()) {
                Ok(picked) => return Ok(self.admitted(picked, place)),
                Err(now) => turned = now,
            }
        }
    }

    /// Somebody who waited has a place; where more are free, the next one is called.
    fn admitted(&self, picked: Picked, place: Option<Waiting<'_>>) -> Picked {
        if place.is_some() {
            drop(place);
            self.upstream.live.gate.call_next();
        }
        picked
    }

    fn choose(&self, ask: &Ask<'_>, tried: &[u64], is_queued: bool) -> Result<Picked, Turned> {
        let now_us = self.now_us();
        let mut view = self.view.borrow_mut();
        if view.is_stale(&self.upstream, now_us) {
            view.look(self, now_us);
        }
        let (config, live) = (&self.upstream.config, &self.upstream.live);
        let Eligible { awaits, opens_us, .. } = view.eligible;
        if view.eligible.chosen.is_empty() {
            return Err(if awaits { Turned::Awaits } else { Turned::Nobody { opens_us } });
        }
        let limits = config.in_flight.as_ref();
        if let Some(limits) = limits
            && (live.gate.is_full(limits.total) || (!is_queued && live.gate.waiting() > 0))
        {
            return Err(Turned::Full);
        }
        let mut avoided = Vec::new();
        if !tried.is_empty() {
            let was_tried =
                |place: &usize| view.at(*place).is_some_and(|(member, _)| tried.contains(&member.endpoint.id));
            avoided.extend((0..view.eligible.chosen.len()).filter(was_tried));
            if avoided.len() == view.eligible.chosen.len() {
                // There is no other: the same again.
                avoided.clear();
            }
        }
        let mut excluded = avoided.clone();
        let mut brought_back =
            ask.cookie.and_then(|cookie| view.place_of(cookie)).filter(|place| !excluded.contains(place));
        let rules = config.breaker.as_deref().map(breaker_rules);
        let in_panic = view.eligible.tier == Tier::Panic;
        let (mut is_full, mut is_open) = (false, false);
        loop {
            let known = brought_back.take();
            let picked = known.or_else(|| {
                let View { balancer, eligible, members, .. } = &mut *view;
                let load = |place: usize| {
                    let member = eligible.chosen.get(place).and_then(|(index, _)| members.list.get(*index));
                    member.map_or(0, |member| member.endpoint.in_flight())
                };
                balancer.pick(ask.key, load, &excluded, || self.ledger.random.next_u64())
            });
            let Some((place, (member, pool))) = picked.and_then(|place| Some((place, view.at(place)?))) else {
                if avoided.is_empty() {
                    break;
                }
                // The others let nobody through: the same again.
                excluded.retain(|place| !avoided.contains(place));
                avoided.clear();
                continue;
            };
            let endpoint = &member.endpoint;
            let pass = rules.as_ref().map_or(Pass::Free, |rules| endpoint.health.try_pass(rules, now_us));
            let trial = match (pass, &rules) {
                (Pass::No, _) => {
                    is_open = true;
                    excluded.push(place);
                    continue;
                }
                (Pass::Trial, Some(rules)) => Some(Box::new(Trial::new(endpoint, *rules, now_us))),
                (Pass::Trial | Pass::Free, _) => None,
            };
            let seat = limits.map(|limits| live.gate.enter(limits.total, endpoint, limits.endpoint));
            let Some(seat) = seat.map_or(Some(None), |entered| entered.map(Some)) else {
                is_full = true;
                excluded.push(place);
                continue;
            };
            let token = || view.tokens.get(view.eligible.chosen.get(place)?.0).cloned();
            let cookie = if known.is_some() { None } else { token() };
            return Ok(Picked { pool: Rc::clone(pool), trial, seat, in_panic, cookie });
        }
        if is_full {
            return Err(Turned::Full);
        }
        // Trials are under way: before they have ended nobody knows more.
        let opens_us = opens_us.or(is_open.then_some(now_us));
        Err(Turned::Nobody { opens_us })
    }
}
