//! Which endpoints of an upstream may be chosen now, and with what weight. Facts and time are handed in; nothing is kept.
//!
//! Three things are never overridden: what an operator said, an open breaker, and a name that has no address. What probes and
//! ejections say is overridden in a panic, when too few would be left to carry the traffic.

use crate::config::Percent;

/// What an operator said of an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Admin {
    #[default]
    Ready,
    /// What is under way may end; nothing new.
    Drain,
    Down,
}

/// What probes say of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// There is no probe.
    NotProbed,
    /// The first result is to come, and traffic is to wait for it.
    Unknown,
    Healthy,
    Unhealthy,
}

/// How an endpoint's breaker stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Circuit {
    #[default]
    Closed,
    /// From `until_us` on it counts as half open.
    Open { until_us: u64 },
    /// May be chosen; trials are asked for one by one.
    HalfOpen,
}

/// What is known of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    pub backup: bool,
    pub weight: u32,
    pub admin: Admin,
    pub checked: Checked,
    pub ejected_until_us: Option<u64>,
    pub circuit: Circuit,
    /// Whether there is an address to connect to.
    pub resolved: bool,
    /// Where its slow start begins; none: it has none.
    pub ready_since_us: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// None: no panic.
    pub panic_below: Option<Percent>,
    pub slow_start_us: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tier {
    #[default]
    Primary,
    Backup,
    /// Too few are usable: all are used.
    Panic,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Eligible {
    /// Where nothing is chosen it says nothing.
    pub tier: Tier,
    /// Their indices, rising, and their weights in thousandths, at least 1.
    pub chosen: Vec<(usize, u32)>,
    /// Until then time alone changes nothing; none: it never will.
    pub recheck_us: Option<u64>,
    /// Nothing is chosen, but a first probe result is to come.
    pub awaits: bool,
    /// Nothing is chosen: the earliest time that a breaker lets a trial through.
    pub opens_us: Option<u64>,
}

/// A slow start has this many steps, …
const STEPS: u64 = 20;
/// … and begins at this one: at a tenth of the weight.
const FIRST_STEP: u64 = 2;

#[must_use]
pub fn eligible(facts: &[Facts], rules: &Rules, now_us: u64) -> Eligible {
    let of_tier = |backup: bool| facts.iter().enumerate().filter(move |(_, facts)| facts.backup == backup);
    let is_enough = |backup: bool| {
        let known = of_tier(backup).filter(|(_, facts)| facts.counts()).count() as u64;
        let usable = of_tier(backup).filter(|(_, facts)| facts.is_usable(now_us)).count() as u64;
        usable > 0 && rules.panic_below.is_none_or(|least| super::breaker::reaches(usable, known, least))
    };
    let has_firm =
        |backup: bool| of_tier(backup).any(|(_, facts)| facts.is_usable(now_us) && facts.circuit == Circuit::Closed);
    // Those that are half open take a few trials only: backups that are well serve beside them.
    if is_enough(false) && !has_firm(false) && is_enough(true) && has_firm(true) {
        return found(facts, rules, now_us, Tier::Backup, |facts| facts.is_usable(now_us));
    }
    for (tier, backup) in [(Tier::Primary, false), (Tier::Backup, true)] {
        if is_enough(backup) {
            return found(facts, rules, now_us, tier, |facts| facts.backup == backup && facts.is_usable(now_us));
        }
    }
    if rules.panic_below.is_some() {
        let could = |facts: &Facts| facts.is_present() && !facts.is_open(now_us);
        let group = [false, true].into_iter().find(|backup| of_tier(*backup).any(|(_, facts)| could(facts)));
        if let Some(backup) = group {
            let mut all = of_tier(backup).filter(|(_, facts)| could(facts));
            if !all.all(|(_, facts)| facts.checked == Checked::Unknown) {
                return found(facts, rules, now_us, Tier::Panic, |facts| facts.backup == backup && could(facts));
            }
        }
    }
    Eligible {
        awaits: facts.iter().any(|facts| facts.awaits(now_us)),
        opens_us: facts.iter().filter_map(|facts| facts.opens_us(rules, now_us)).min(),
        ..found(facts, rules, now_us, Tier::default(), |_| false)
    }
}

fn found(facts: &[Facts], rules: &Rules, now_us: u64, tier: Tier, is_chosen: impl Fn(&Facts) -> bool) -> Eligible {
    let mut chosen = Vec::new();
    let mut recheck_us: Option<u64> = None;
    let mut recheck = |at_us: Option<u64>| {
        let later = at_us.filter(|at_us| *at_us > now_us);
        recheck_us = [recheck_us, later].into_iter().flatten().min();
    };
    for (index, facts) in facts.iter().enumerate().filter(|(_, facts)| facts.is_present()) {
        recheck(facts.ejected_until_us);
        if let Circuit::Open { until_us } = facts.circuit {
            recheck(Some(until_us));
        }
        if is_chosen(facts) {
            let ramp = Ramp::of(facts, rules, now_us);
            recheck(ramp.ends_us);
            chosen.push((index, ramp.weight));
        }
    }
    Eligible { tier, chosen, recheck_us, awaits: false, opens_us: None }
}

impl Facts {
    /// Whether it is there to be used, well or not.
    fn is_present(&self) -> bool {
        self.admin == Admin::Ready && self.resolved && self.weight > 0
    }

    /// Whether it counts among those of which enough must be usable. One whose first probe result is to come does not: that
    /// several are added at once is no reason to panic, least of all into sending them traffic.
    fn counts(&self) -> bool {
        self.is_present() && self.checked != Checked::Unknown
    }

    fn is_usable(&self, now_us: u64) -> bool {
        self.is_present() && self.is_well() && !self.is_ejected(now_us) && !self.is_open(now_us)
    }

    fn is_well(&self) -> bool {
        match self.checked {
            Checked::NotProbed | Checked::Healthy => true,
            Checked::Unknown | Checked::Unhealthy => false,
        }
    }

    fn is_ejected(&self, now_us: u64) -> bool {
        self.ejected_until_us.is_some_and(|until_us| now_us < until_us)
    }

    fn is_open(&self, now_us: u64) -> bool {
        matches!(self.circuit, Circuit::Open { until_us } if now_us < until_us)
    }

    fn awaits(&self, now_us: u64) -> bool {
        self.is_present() && self.checked == Checked::Unknown && !self.is_open(now_us)
    }

    /// When its breaker is the last thing that keeps it from being chosen: when that is over.
    fn opens_us(&self, rules: &Rules, now_us: u64) -> Option<u64> {
        let Circuit::Open { until_us } = self.circuit else { return None };
        if now_us >= until_us || !self.is_present() {
            return None;
        }
        if rules.panic_below.is_some() {
            return Some(until_us);
        }
        self.is_well().then(|| until_us.max(self.ejected_until_us.unwrap_or_default()))
    }
}

/// A step of a slow start. Weights move in steps, so that who asks once in each step misses nothing.
struct Ramp {
    weight: u32,
    /// When the weight changes; none: it is whole.
    ends_us: Option<u64>,
}

impl Ramp {
    fn of(facts: &Facts, rules: &Rules, now_us: u64) -> Self {
        let whole = facts.weight.saturating_mul(1000);
        let done = Self { weight: whole.max(1), ends_us: None };
        let (Some(since_us), Some(length_us)) = (facts.ready_since_us, rules.slow_start_us) else { return done };
        let elapsed_us = now_us.saturating_sub(since_us);
        if elapsed_us >= length_us {
            return done;
        }
        let step = u128::from(elapsed_us) * u128::from(STEPS) / u128::from(length_us.max(1));
        let step = u64::try_from(step).unwrap_or(STEPS).max(FIRST_STEP);
        let next = u128::from(step + 1) * u128::from(length_us);
        let next_us = u64::try_from(next.div_ceil(u128::from(STEPS))).unwrap_or(u64::MAX);
        let weight = u64::from(whole) * step / STEPS;
        Self {
            weight: u32::try_from(weight).unwrap_or(u32::MAX).max(1),
            ends_us: Some(since_us.saturating_add(next_us)),
        }
    }
}

#[cfg(test)]
mod tests;
