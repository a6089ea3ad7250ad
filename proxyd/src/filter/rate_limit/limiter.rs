//! A rule with its counters, and how a reload hands them on.

use std::collections::HashMap;
use std::hash::Hasher;
use std::sync::{Arc, PoisonError, RwLock};

use shared::audit::Mask;
use shared::config::Scope;
use shared::config::policy::{Key, Rule};
use shared::decide::limit::{Meter, Verdict};

use super::KeyHash;
use super::counts::{Asked, Counts};
use super::moved::{Moved, own_clock};
use super::remote::Remote;
use super::who::Who;
use crate::exchange::{Quota, Value};
use crate::fleet::{Engine, Place};

/// Limits of keys' own are remembered up to so many different ones.
const MAX_OWN: usize = 1024;
/// The most lines of a list.
const MAX_TOP: usize = 1000;

/// One rule at the place it is written. Shared by all workers.
#[derive(Debug)]
pub struct Limiter {
    pub rule: Rule,
    pub scope: Scope,
    pub(super) quota: Arc<Quota>,
    scope_name: Arc<str>,
    /// Of a rule that is counted elsewhere: what that said last, and what is counted here while it says nothing.
    pub(super) counts: Arc<Counts>,
    /// What was counted in another store until a reload, as long as it may count.
    pub(super) moved: Option<Arc<Moved>>,
    /// Where requests hold places that began before the rule moved.
    pub(super) earlier: Vec<Arc<Counts>>,
    /// In place of the rule's, for API keys that have one.
    own: RwLock<HashMap<(u32, u64), Arc<Quota>>>,
    /// Which of the headers it counts by are not shown.
    secret: Vec<bool>,
    /// Where it is counted, if not here.
    pub(super) remote: Option<Remote>,
}

/// A key that has used much of its limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopLine {
    /// Who it is.
    pub label: String,
    pub used: u32,
    /// What its next request would meet.
    pub verdict: Verdict,
}

impl Limiter {
    /// The limiter of a rule; with the counts of its namesake where they still mean the same. None where its name cannot be told.
    pub(super) fn new(
        rule: &Rule,
        scope: &Scope,
        mask: &Mask,
        engine: Option<&Arc<Engine>>,
        before: Option<&Arc<Self>>,
        now_us: u64,
    ) -> Option<Self> {
        let meter = Meter::new(rule);
        let remote = Remote::of(rule, scope, &meter, engine, before.and_then(|before| before.remote.as_ref()));
        let secret: Vec<bool> =
            rule.by.iter().map(|by| matches!(by, Key::Header(name) if mask.hides_header(name))).collect();
        let kept = before.filter(|before| before.quota.meter.continues(&meter));
        let (moved, counts) = match kept {
            Some(before) => {
                let (moved, counts) = Moved::of(before, remote.is_some(), rule.max_keys, engine, now_us);
                counts.resize(rule.max_keys, &meter);
                if before.rule.by != rule.by || before.secret != secret {
                    before.counts.forget_labels();
                    counts.forget_labels();
                }
                (moved, counts)
            }
            None => (None, Arc::new(Counts::new(rule.max_keys))),
        };
        let earlier = kept.map(|before| Self::earlier(before, &counts)).unwrap_or_default();
        let scope_name = match scope {
            Scope::Default => "default".into(),
            Scope::TopLevel => "top level".into(),
            Scope::Route(name) => format!("route {name}").into(),
        };
        Some(Self {
            rule: rule.clone(),
            scope: scope.clone(),
            quota: quota(meter)?,
            scope_name,
            counts,
            moved,
            earlier,
            own: RwLock::default(),
            secret,
            remote,
        })
    }

    /// The key of whoever is counted.
    pub(super) fn key(&self, who: &Who<'_>) -> KeyHash {
        let own = self.counts.hash(|hasher| who.write(|bytes| hasher.write(bytes)));
        let is_shared = self.remote.is_some() || self.engine_before().is_some();
        KeyHash { own, shared: if is_shared { Remote::hash(who) } else { 0 } }
    }

    /// What a key with a limit of its own is counted by.
    pub(super) fn own_quota(&self, limit: (u32, u64)) -> Option<Arc<Quota>> {
        if self.quota.meter.is_concurrency() {
            return None;
        }
        if let Some(quota) = self.own.read().unwrap_or_else(PoisonError::into_inner).get(&limit) {
            return Some(Arc::clone(quota));
        }
        let quota = quota(Meter::with_limit(&self.rule, limit))?;
        let mut own = self.own.write().unwrap_or_else(PoisonError::into_inner);
        if own.len() >= MAX_OWN {
            own.clear();
        }
        Some(Arc::clone(own.entry(limit).or_insert(quota)))
    }

    /// Takes one request here. Without room for its key it passes.
    pub(super) fn take(
        &self,
        key: KeyHash,
        quota: Option<&Arc<Quota>>,
        now_us: u64,
        label: impl FnOnce() -> Option<Box<str>>,
    ) -> Option<Verdict> {
        let asked = Asked { key, meter: &self.quota.meter, quota, label, now_us: self.time(now_us) };
        if !self.earlier.is_empty() {
            return self.counts.take_beside(asked, self.running_before(key));
        }
        match self.not_yet_brought(key, now_us) {
            Some(before) => before.take(Asked { now_us: own_clock(now_us), ..asked }),
            None => self.counts.take(asked),
        }
    }

    /// Notes that a request has a place which somebody else gave it. Whether there was room to note it.
    pub(super) fn occupy(&self, key: KeyHash, now_us: u64, label: impl FnOnce() -> Option<Box<str>>) -> bool {
        self.counts.occupy(Asked { key, meter: &self.quota.meter, quota: None, label, now_us })
    }

    /// What a request of this key would meet; none where nothing counts for it here.
    pub fn peek(&self, key: &KeyHash, now_us: u64) -> Option<Verdict> {
        if !self.earlier.is_empty() {
            return self.peek_running(*key);
        }
        let here = self.counts.peek(*key, &self.quota.meter, self.time(now_us));
        here.or_else(|| self.counted_before(now_us)?.peek(*key, &self.quota.meter, own_clock(now_us)))
    }

    /// Forgets a key's counts here. Whether there were any. What runs goes on: its places are not forgotten.
    pub fn reset(&self, key: &KeyHash, now_us: u64) -> bool {
        if self.quota.meter.is_concurrency() {
            return false;
        }
        let before = self.counted_before(now_us).is_some_and(|counts| counts.reset(*key));
        self.counts.reset(*key) || before
    }

    /// Whether requests of this key are under way here, as far as this rule counts them.
    pub fn runs(&self, key: &KeyHash) -> bool {
        let meter = &self.quota.meter;
        meter.is_concurrency() && self.peek(key, 0).is_some_and(|verdict| verdict.remaining < verdict.limit)
    }

    /// The keys that have used most of their limits, most first, as far as this process knows. Takes bounded time: of very many
    /// keys it looks at some.
    pub fn top(&self, most: usize, now_us: u64) -> Vec<TopLine> {
        let (most, meter) = (most.min(MAX_TOP), &self.quota.meter);
        let mut top = self.counts.top(most, meter, self.time(now_us));
        if let Some(before) = self.counted_before(now_us) {
            top.extend(before.top(most, meter, own_clock(now_us)));
            top.sort_by_key(|(_, used, _)| std::cmp::Reverse(*used));
            top.truncate(most);
        }
        top.into_iter().map(|(label, used, verdict)| TopLine { label: label.into(), used, verdict }).collect()
    }

    /// Keys held now.
    pub fn keys(&self) -> u64 {
        self.counts.keys()
    }

    /// Keys that had to make room while they still counted, or found none.
    pub fn evicted(&self) -> u64 {
        self.counts.evicted()
    }

    /// `top level`, `route NAME`.
    pub fn scope_name(&self) -> &Arc<str> {
        &self.scope_name
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The time that its counters are told in.
    pub(super) fn time(&self, now_us: u64) -> u64 {
        self.remote.as_ref().map_or_else(|| own_clock(now_us), |remote| remote.time(now_us))
    }
}

fn quota(meter: Meter) -> Option<Arc<Quota>> {
    let policy = Value::parse(meter.policy_header())?;
    let (form, arguments) = (meter.form().into(), meter.arguments().into());
    Some(Arc::new(Quota { meter, policy, form, arguments }))
}

/// A request's place among those that run at the same time, until it is dropped. A reload hands the counts on: it is given back
/// where it is missed.
pub(super) struct Held {
    limiter: Arc<Limiter>,
    /// None: there was no room to count it here.
    key: Option<KeyHash>,
    /// Where it is counted elsewhere too: given back with this.
    _place: Option<Place>,
}

impl Held {
    pub(super) fn new(limiter: &Arc<Limiter>, key: KeyHash) -> Self {
        Self { limiter: Arc::clone(limiter), key: Some(key), _place: None }
    }

    pub(super) fn with_place(limiter: &Arc<Limiter>, key: Option<KeyHash>, place: Place) -> Self {
        Self { limiter: Arc::clone(limiter), key, _place: Some(place) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.limiter.counts.give_back(key, &self.limiter.quota.meter);
        }
    }
}

#[cfg(test)]
mod tests;
