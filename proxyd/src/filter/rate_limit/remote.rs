//! A rule that is counted in a store that several proxies share: what is asked there, and what it means that nobody answers.
//!
//! What the store says of a key is kept here too: it is shown to operators, and where the store falls silent each proxy counts on
//! from there.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use aws_lc_rs::digest::{Context, SHA256};
use shared::config::Scope;
use shared::config::identity::StateStore;
use shared::config::policy::{OnStoreError, Rule};
use shared::decide::limit::{Meter, Verdict};

use super::counts::Asked;
use super::limiter::Held;
use super::moved::AHEAD_US;
use super::who::Who;
use super::{KeyHash, Limiter};
use crate::exchange::Quota;
use crate::fleet::{Aim, Engine, Fleet, Leases, Link, Place, StoreError};

/// So far the store's clock may run from what we took it for before that is corrected, in microseconds.
const DRIFT_US: u64 = 10_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) engine: Arc<Engine>,
    /// What the store's keys begin with, its prefix first.
    key: String,
    /// How far the store's clock is ahead of ours. Handed on by reloads.
    ahead_us: Arc<AtomicI64>,
}

impl Remote {
    /// Where a rule is counted; none: here.
    pub(super) fn of(
        rule: &Rule,
        scope: &Scope,
        meter: &Meter,
        engine: Option<&Arc<Engine>>,
        before: Option<&Self>,
    ) -> Option<Self> {
        if rule.store != StateStore::Redis {
            return None;
        }
        let kind = if meter.is_concurrency() { "places" } else { "limit" };
        let place = match scope {
            Scope::Default | Scope::TopLevel => "top".to_owned(),
            Scope::Route(name) => format!("route.{name}"),
        };
        let engine = engine?;
        Some(Self {
            engine: Arc::clone(engine),
            key: format!("{}{kind}:{{{place}/{}/", engine.prefix(), rule.name),
            // Until the store has said its time, ours counts.
            ahead_us: before.map_or_else(
                || Arc::new(AtomicI64::new(AHEAD_US.cast_signed())),
                |before| Arc::clone(&before.ahead_us),
            ),
        })
    }

    /// A key as every proxy hashes it. What a client sent does not stand in the store.
    pub(super) fn hash(who: &Who<'_>) -> u128 {
        let mut digest = Context::new(&SHA256);
        digest.update(b"proxyd limit\0");
        who.write(|bytes| digest.update(bytes));
        let digest = digest.finish();
        digest.as_ref().first_chunk().map_or(0, |bytes| u128::from_be_bytes(*bytes))
    }

    /// The store's clock, as far as we know it.
    pub(super) fn time(&self, now_us: u64) -> u64 {
        now_us.saturating_add_signed(self.ahead_us.load(Ordering::Relaxed))
    }

    fn heard_time(&self, told_us: u64, now_us: u64) {
        if told_us.abs_diff(self.time(now_us)) > DRIFT_US {
            self.ahead_us.store(told_us.cast_signed().wrapping_sub(now_us.cast_signed()), Ordering::Relaxed);
        }
    }

    /// The braces say to a cluster what decides where the key lives: all of it.
    pub(super) fn full_key(&self, key: KeyHash) -> String {
        format!("{}{:032x}}}", self.key, key.shared)
    }
}

/// A question to be asked: it owns what it needs.
pub(super) struct Question {
    /// The rule's place among those of its policy and stage.
    pub(super) rule: usize,
    pub(super) limiter: Arc<Limiter>,
    pub(super) key: KeyHash,
    pub(super) quota: Option<Arc<Quota>>,
    /// None: it was known when this was asked.
    pub(super) label: Option<Box<str>>,
}

/// What came of it.
pub(super) enum Answer {
    /// With the place that it has from now on, where requests at the same time are counted.
    Counted(Verdict, Option<Held>),
    /// Not counted: it passes.
    Uncounted,
    /// Nobody answers, and the rule says `deny`.
    Denied,
}

impl Question {
    /// Asks; and where nobody answers, does what the rule says.
    pub(super) async fn ask(&self, fleet: &Fleet, now_us: u64) -> Answer {
        let limiter = &self.limiter;
        let Some(remote) = &limiter.remote else {
            if let Some(before) = limiter.asks_before(self.key, now_us) {
                limiter.copy(before, self, fleet, now_us).await;
            }
            let taken = limiter.take(self.key, self.quota.as_ref(), now_us, || self.label.clone());
            return taken.map_or(Answer::Uncounted, |verdict| Answer::Counted(verdict, None));
        };
        let link = &fleet.link(&remote.engine);
        if limiter.quota.meter.is_concurrency() {
            return self.ask_for_place(remote, fleet.leases(), link, now_us).await;
        }
        match limiter.told(self.key, self.quota.as_ref(), Aim::Take, link, now_us).await {
            Ok(told) => {
                let label = || self.label.clone();
                let asked = Asked {
                    key: self.key,
                    meter: &limiter.quota.meter,
                    quota: self.quota.as_ref(),
                    label,
                    now_us: told.now_us,
                };
                limiter.counts().keep(asked, told.counters);
                limiter.has_brought(self.key, now_us);
                Answer::Counted(told.verdict, None)
            }
            Err(_) => match limiter.rule.on_store_error {
                OnStoreError::Allow => Answer::Uncounted,
                OnStoreError::Deny => Answer::Denied,
                OnStoreError::Local => {
                    let taken = limiter.take(self.key, self.quota.as_ref(), now_us, || self.label.clone());
                    taken.map_or(Answer::Uncounted, |verdict| Answer::Counted(verdict, None))
                }
            },
        }
    }

    /// The same where requests at the same time are counted: one that passes holds its place there and, for what holds while
    /// nobody answers, here.
    async fn ask_for_place(&self, remote: &Remote, leases: &Rc<Leases>, link: &Rc<Link>, now_us: u64) -> Answer {
        let (limiter, label) = (&self.limiter, || self.label.clone());
        let running = limiter.running_before(self.key);
        let most = limiter.quota.meter.most_at_once().saturating_sub(running);
        let key: Arc<str> = remote.full_key(self.key).into();
        let Some(place) = leases.open(link, Arc::clone(&key)) else { return self.silent(None, now_us) };
        let told = match link.take_place(&key, most, &place.who()).await {
            Ok(text) => limiter.quota.meter.told(&text).map(|told| limiter.quota.meter.beside(told, running)),
            Err(error) => {
                if !error.may_be_heard() {
                    place.unasked();
                }
                None
            }
        };
        let Some(told) = told else { return self.silent(Some(place), now_us) };
        remote.heard_time(told.now_us, now_us);
        if !told.verdict.allowed {
            place.refused();
            return Answer::Counted(told.verdict, None);
        }
        place.taken();
        let here = limiter.occupy(self.key, told.now_us, label);
        Answer::Counted(told.verdict, Some(Held::with_place(limiter, here.then_some(self.key), place)))
    }

    /// What the rule says where nobody answers, for a place. One that is held here only is asked for once somebody does.
    fn silent(&self, place: Option<Place>, now_us: u64) -> Answer {
        let limiter = &self.limiter;
        match limiter.rule.on_store_error {
            OnStoreError::Allow => Answer::Uncounted,
            OnStoreError::Deny => Answer::Denied,
            OnStoreError::Local => match limiter.take(self.key, None, now_us, || self.label.clone()) {
                None => Answer::Uncounted,
                Some(verdict) if !verdict.allowed => Answer::Counted(verdict, None),
                Some(verdict) => {
                    let held = match place {
                        Some(place) => {
                            place.owed();
                            Held::with_place(limiter, Some(self.key), place)
                        }
                        None => Held::new(limiter, self.key),
                    };
                    Answer::Counted(verdict, Some(held))
                }
            },
        }
    }
}

impl Limiter {
    /// Where it is counted, if not here; or was, and some keys still are.
    pub fn engine(&self) -> Option<&Arc<Engine>> {
        self.remote.as_ref().map_or_else(|| self.engine_before(), |remote| Some(&remote.engine))
    }

    /// Whether forgetting a key's counts is for the store to do, too.
    pub fn is_reset_elsewhere(&self) -> bool {
        self.remote.is_some() && !self.quota.meter.is_concurrency()
    }

    /// For operators: what a request of this key would meet, whichever proxy it comes to; none where nothing counts for it. Of a rule
    /// that is counted here, and without a link, the same as [`Limiter::peek`].
    ///
    /// # Errors
    ///
    /// Where the store does not answer.
    pub async fn peek_shared(
        &self,
        key: KeyHash,
        link: Option<&Link>,
        now_us: u64,
    ) -> Result<Option<Verdict>, StoreError> {
        let Some(link) = link else { return Ok(self.peek(&key, now_us)) };
        if let Some(before) = self.asks_before(key, now_us) {
            return self.peek_before(before, key, link, now_us).await;
        }
        if self.remote.is_none() {
            return Ok(self.peek(&key, now_us));
        }
        let quota = self.counts().quota(key);
        let told = self.told(key, quota.as_ref(), Aim::Look, link, now_us).await?;
        let meter = quota.as_ref().map_or(&self.quota.meter, |quota| &quota.meter);
        Ok((!meter.is_spent(&told.counters, told.now_us)).then_some(told.verdict))
    }

    /// For operators: whether requests of a key are under way, at any proxy where there is a link and the store answers.
    pub async fn runs_shared(&self, key: KeyHash, link: Option<&Link>, now_us: u64) -> bool {
        if !self.quota.meter.is_concurrency() {
            return false;
        }
        let there = self.peek_shared(key, link, now_us).await;
        there.is_ok_and(|verdict| verdict.is_some()) || self.runs(&key)
    }

    /// For operators: forgets these keys' counts, here and then, where there is a link, for all proxies. How many keys had any; and
    /// why those of the store may still be there.
    pub async fn reset_shared(&self, keys: &[KeyHash], link: Option<&Link>, now_us: u64) -> (u64, Option<StoreError>) {
        let here: Vec<bool> = keys.iter().map(|key| self.reset(key, now_us)).collect();
        let counted = here.iter().filter(|here| **here).count() as u64;
        let there = self.remote.as_ref().filter(|_| self.is_reset_elsewhere()).zip(link);
        let Some((remote, link)) = there else { return (counted, None) };
        let mut elsewhere = 0;
        for (key, here) in keys.iter().zip(&here) {
            match link.forget(&remote.full_key(*key)).await {
                Ok(there) => elsewhere += u64::from(there && !here),
                Err(error) => return (counted + elsewhere, Some(error)),
            }
        }
        (counted + elsewhere, None)
    }

    pub(super) async fn told(
        &self,
        key: KeyHash,
        quota: Option<&Arc<Quota>>,
        aim: Aim,
        link: &Link,
        now_us: u64,
    ) -> Result<shared::decide::limit::Told, StoreError> {
        let remote = self.remote.as_ref().ok_or(StoreError::Settings)?;
        let Quota { meter, form, arguments, .. } = &**quota.unwrap_or(&self.quota);
        let full_key = remote.full_key(key);
        let text = if meter.is_concurrency() {
            link.places_held(&full_key, meter.most_at_once()).await?
        } else {
            let brings = self.brings(&full_key, key, meter, now_us);
            link.count(&full_key, form, aim, arguments, brings.as_ref()).await?
        };
        let told = meter.told(&text).ok_or(StoreError::Answer)?;
        let told = if meter.is_concurrency() { meter.beside(told, self.running_before(key)) } else { told };
        remote.heard_time(told.now_us, now_us);
        Ok(told)
    }
}
