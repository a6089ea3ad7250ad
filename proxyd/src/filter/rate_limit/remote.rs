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
use super::who::Who;
use super::{KeyHash, Limiter};
use crate::exchange::Quota;
use crate::fleet::{Aim, Engine, Link, StoreError};

/// So far the store's clock may run from what we took it for before that is corrected, in microseconds.
const DRIFT_US: u64 = 10_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) engine: Arc<Engine>,
    /// What the store's keys begin with.
    key: String,
    /// How far the store's clock is ahead of ours. Handed on by reloads.
    ahead_us: Arc<AtomicI64>,
}

impl Remote {
    /// Where a rule is counted; none: here. How many requests run at the same time is always counted here: whoever died would
    /// hold its places for ever.
    pub(super) fn of(
        rule: &Rule,
        scope: &Scope,
        meter: &Meter,
        engine: Option<&Arc<Engine>>,
        before: Option<&Self>,
    ) -> Option<Self> {
        if rule.store != StateStore::Redis || meter.is_concurrency() {
            return None;
        }
        let place = match scope {
            Scope::Default | Scope::TopLevel => "top".to_owned(),
            Scope::Route(name) => format!("route.{name}"),
        };
        Some(Self {
            engine: Arc::clone(engine?),
            key: format!("limit:{{{place}/{}/", rule.name),
            ahead_us: before.map(|before| Arc::clone(&before.ahead_us)).unwrap_or_default(),
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
    fn full_key(&self, key: KeyHash) -> String {
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
    pub(super) label: Box<str>,
}

/// What came of it.
pub(super) enum Answer {
    Counted(Verdict),
    /// Not counted: it passes.
    Uncounted,
    /// Nobody answers, and the rule says `deny`.
    Denied,
}

impl Question {
    /// Asks; and where nobody answers, does what the rule says.
    pub(super) async fn ask(&self, link: &Rc<Link>, now_us: u64) -> Answer {
        let limiter = &self.limiter;
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
                Answer::Counted(told.verdict)
            }
            Err(_) => match limiter.rule.on_store_error {
                OnStoreError::Allow => Answer::Uncounted,
                OnStoreError::Deny => Answer::Denied,
                OnStoreError::Local => {
                    let taken = limiter.take(self.key, self.quota.as_ref(), now_us, || self.label.clone());
                    taken.map_or(Answer::Uncounted, Answer::Counted)
                }
            },
        }
    }
}

impl Limiter {
    /// Where it is counted, if not here.
    pub fn engine(&self) -> Option<&Arc<Engine>> {
        self.remote.as_ref().map(|remote| &remote.engine)
    }

    /// For operators: what a request of the first of these keys that anything is counted for would meet, whichever proxy it comes
    /// to. Of a rule that is counted here, the same as [`Limiter::peek`].
    ///
    /// # Errors
    ///
    /// Where the store does not answer.
    pub async fn peek_shared(self: &Arc<Self>, keys: &[KeyHash], now_us: u64) -> Result<Option<Verdict>, StoreError> {
        let Some(engine) = self.engine() else { return Ok(keys.iter().find_map(|key| self.peek(key, now_us))) };
        let link = Link::lone(engine);
        for key in keys {
            let quota = self.counts().quota(*key);
            let told = self.told(*key, quota.as_ref(), Aim::Look, &link, now_us).await?;
            let meter = quota.as_ref().map_or(&self.quota.meter, |quota| &quota.meter);
            if !meter.is_spent(&told.counters, told.now_us) {
                return Ok(Some(told.verdict));
            }
        }
        Ok(None)
    }

    /// For operators: forgets these keys' counts, here and then for all proxies. How many keys had any; and why those of the
    /// store may still be there. A store that was found silent before is not asked.
    pub async fn reset_shared(&self, keys: &[KeyHash], silent: Option<StoreError>) -> (u64, Option<StoreError>) {
        let here: Vec<bool> = keys.iter().map(|key| self.reset(key)).collect();
        let counted = || here.iter().filter(|here| **here).count() as u64;
        let Some(remote) = &self.remote else { return (counted(), None) };
        if silent.is_some() {
            return (counted(), silent);
        }
        let link = Link::lone(&remote.engine);
        let mut elsewhere = 0;
        for (key, here) in keys.iter().zip(&here) {
            match link.remove(&remote.full_key(*key)).await {
                Ok(there) => elsewhere += u64::from(there && !here),
                Err(error) => return (counted() + elsewhere, Some(error)),
            }
        }
        (counted() + elsewhere, None)
    }

    async fn told(
        &self,
        key: KeyHash,
        quota: Option<&Arc<Quota>>,
        aim: Aim,
        link: &Link,
        now_us: u64,
    ) -> Result<shared::decide::limit::Told, StoreError> {
        let remote = self.remote.as_ref().ok_or(StoreError::Settings)?;
        let meter = quota.map_or(&self.quota.meter, |quota| &quota.meter);
        let text = link.count(&remote.full_key(key), &meter.form(), aim, &meter.arguments()).await?;
        let told = meter.told(&text).ok_or(StoreError::Answer)?;
        remote.heard_time(told.now_us, now_us);
        Ok(told)
    }
}
