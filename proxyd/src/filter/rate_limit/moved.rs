//! A rule that was counted in another store until a reload: what its keys had used there, as long as that may count.
//!
//! What was counted here goes to the shared store key by key, with the first question about each. What was counted there is asked
//! once for each key. Requests under way hold their places where they got them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use shared::decide::limit::{Meter, Verdict};

use super::counts::{Asked, Counts};
use super::remote::Question;
use super::{KeyHash, Limiter};
use crate::fleet::{Aim, Brings, Engine, Fleet, Link, StoreError};

/// So many tables of requests that run on from before moves: a rule that moves to and fro while tunnels stay open.
const MOST_EARLIER: usize = 8;

/// See the module.
#[derive(Debug)]
pub(super) struct Moved {
    from: From,
    /// Nothing that was counted before counts any more, by our clock.
    until_us: u64,
    /// How many parts of the table of before were forgotten since.
    forgotten: AtomicUsize,
}

/// All parts are forgotten. Workers that count on from there at the same time do not come round.
const FORGOTTEN: usize = usize::MAX / 2;

#[derive(Debug)]
enum From {
    /// Counted here.
    Here {
        counts: Arc<Counts>,
        /// Random: whatever is brought with it is added once.
        name: u128,
    },
    /// Counted in a shared store.
    There {
        before: Arc<Limiter>,
        /// Where that store can be asked. None: by a link that is another store's now.
        engine: Option<Arc<Engine>>,
        /// Whether it was said that it does not answer.
        is_told: AtomicBool,
    },
}

impl Moved {
    /// What a limiter that replaces another has of it, and the table that it counts in. `engine` is the one in force.
    pub(super) fn of(
        before: &Arc<Limiter>,
        is_remote: bool,
        max_keys: usize,
        engine: Option<&Arc<Engine>>,
        now_us: u64,
    ) -> (Option<Arc<Self>>, Arc<Counts>) {
        let under_way = before.moved.as_ref().filter(|moved| now_us < moved.until_us);
        let meter = &before.quota.meter;
        let stays = before.remote.is_some() == is_remote;
        if stays || (meter.is_concurrency() && !is_remote) {
            // Places need no clock: those here are known of those there.
            return (under_way.filter(|_| stays).map(Arc::clone), Arc::clone(&before.counts));
        }
        let beside = || Arc::new(before.counts.beside(max_keys));
        if meter.is_concurrency() {
            return (None, beside());
        }
        let (from, counts) = match &before.remote {
            None => {
                let mut name = [0; 16];
                if getrandom::fill(&mut name).is_err() {
                    return (None, beside());
                }
                (From::Here { counts: Arc::clone(&before.counts), name: u128::from_le_bytes(name) }, beside())
            }
            Some(remote) => {
                // What has not been brought there yet is counted on here.
                let counts = match under_way.map(|moved| &moved.from) {
                    Some(From::Here { counts, .. }) => Arc::clone(counts),
                    Some(From::There { .. }) | None => beside(),
                };
                let engine = match engine {
                    None => Some(&remote.engine),
                    Some(engine) => Some(engine).filter(|engine| engine.is_same_store(&remote.engine)),
                };
                let (before, engine) = (Arc::clone(before), engine.cloned());
                (From::There { before, engine, is_told: AtomicBool::new(false) }, counts)
            }
        };
        let until_us = now_us.saturating_add(before.counts.longest_us(meter));
        (Some(Arc::new(Self { from, until_us, forgotten: AtomicUsize::new(0) })), counts)
    }

    /// Whether it is over; then a part of what was counted before is forgotten, so that no request forgets much.
    fn is_over(&self, now_us: u64) -> bool {
        if now_us < self.until_us {
            return false;
        }
        if !self.is_forgotten() {
            let part = self.forgotten.fetch_add(1, Ordering::Relaxed);
            let is_more = match &self.from {
                From::Here { counts, .. } => counts.forget_part(part),
                From::There { .. } => false,
            };
            if !is_more {
                self.forgotten.store(FORGOTTEN, Ordering::Relaxed);
            }
        }
        true
    }

    fn is_forgotten(&self) -> bool {
        self.forgotten.load(Ordering::Relaxed) >= FORGOTTEN
    }
}

impl Limiter {
    /// The tables that requests hold places in which began before this rule moved.
    pub(super) fn earlier(before: &Arc<Self>, counts: &Arc<Counts>) -> Vec<Arc<Counts>> {
        let meter = &before.quota.meter;
        if !meter.is_concurrency() {
            return Vec::new();
        }
        let mut earlier = before.earlier.clone();
        earlier.retain(|earlier| earlier.is_any_running(meter));
        if !Arc::ptr_eq(counts, &before.counts) {
            earlier.push(Arc::clone(&before.counts));
        }
        let many = earlier.len().saturating_sub(MOST_EARLIER);
        earlier.split_off(many)
    }

    /// How many requests of a key run that began before this rule moved.
    pub(super) fn running_before(&self, key: KeyHash) -> u32 {
        let meter = &self.quota.meter;
        let running =
            |counts: &Arc<Counts>| counts.counters(key, meter, meter).map_or(0, |counters| meter.running(&counters));
        self.earlier.iter().map(running).fold(0, u32::saturating_add)
    }

    /// What a request would meet under a rule that counts those that run, with those from before it moved.
    pub(super) fn peek_running(&self, key: KeyHash) -> Option<Verdict> {
        let meter = &self.quota.meter;
        meter.peek_beside(self.counts.counters(key, meter, meter).as_ref(), self.running_before(key))
    }

    /// The table of before, where a key is counted in it still: the store has not heard of it yet.
    pub(super) fn not_yet_brought(&self, key: KeyHash, now_us: u64) -> Option<&Counts> {
        let moved = self.moved.as_ref()?;
        let From::Here { counts, .. } = &moved.from else { return None };
        (!moved.is_over(now_us) && counts.has(key)).then_some(&**counts)
    }

    /// The table of before, for operators.
    pub(super) fn counted_before(&self, now_us: u64) -> Option<&Counts> {
        let moved = self.moved.as_ref().filter(|moved| now_us < moved.until_us)?;
        match &moved.from {
            From::Here { counts, .. } => Some(counts),
            From::There { .. } => None,
        }
    }

    /// The keys whose label is wanted, of those seen lately, before a move too.
    pub(super) fn labelled(&self, wanted: impl Fn(&str) -> bool) -> Vec<KeyHash> {
        let mut found = self.counts.labelled(&wanted);
        match self.moved.as_ref().map(|moved| &moved.from) {
            Some(From::Here { counts, .. }) => found.extend(counts.labelled(&wanted)),
            Some(From::There { before, .. }) => found.extend(before.counts.labelled(&wanted)),
            None => {}
        }
        found
    }

    /// What the store is told of a key beside the question.
    pub(super) fn brings(&self, full_key: &str, key: KeyHash, meter: &Meter, now_us: u64) -> Option<Brings> {
        let counts = self.not_yet_brought(key, now_us)?;
        let From::Here { name, .. } = &self.moved.as_ref()?.from else { return None };
        let numbers = counts.brought(key, &self.quota.meter, meter, own_clock(now_us))?;
        Some(Brings { noted_at: format!("{full_key}:moved:{name:032x}"), numbers })
    }

    /// The store has it.
    pub(super) fn has_brought(&self, key: KeyHash, now_us: u64) {
        if let Some(counts) = self.not_yet_brought(key, now_us) {
            counts.forget(key);
        }
    }

    /// The limiter of before, where a shared store knows what a key had used, and nothing of the key is known here yet.
    pub(super) fn asks_before(&self, key: KeyHash, now_us: u64) -> Option<&Arc<Self>> {
        let moved = self.moved.as_ref()?;
        let From::There { before, .. } = &moved.from else { return None };
        (!moved.is_over(now_us) && !self.counts.has(key)).then_some(before)
    }

    /// Where the limiter of before is asked.
    pub(super) fn engine_before(&self) -> Option<&Arc<Engine>> {
        match &self.moved.as_ref().filter(|moved| !moved.is_forgotten())?.from {
            From::There { engine, .. } => engine.as_ref(),
            From::Here { .. } => None,
        }
    }

    /// Asks the store of before, once for each key; where that does not answer, what it said last is taken over.
    pub(super) async fn copy(&self, before: &Arc<Self>, question: &Question, fleet: &Fleet, now_us: u64) {
        let Question { key, quota, label, .. } = question;
        let (key, quota) = (*key, quota.as_ref());
        let meter = quota.map_or(&self.quota.meter, |quota| &quota.meter);
        let link = self.engine_before().map(|engine| fleet.link(engine));
        let told = match &link {
            Some(link) => before.told(key, quota, Aim::Look, link, now_us).await,
            None => Err(StoreError::Settings),
        };
        let (counters, then_us) = match told {
            Ok(told) => (told.counters, told.now_us),
            Err(error) => {
                self.tell_silence(error);
                let here = before.counts.counters(key, &before.quota.meter, meter);
                (here.unwrap_or_default(), before.time(now_us))
            }
        };
        let counters = meter.on_clock(&counters, then_us, self.time(now_us));
        let label = || label.clone();
        let asked = Asked { key, meter: &self.quota.meter, quota, label, now_us: self.time(now_us) };
        self.counts.copy(asked, counters);
    }

    fn tell_silence(&self, error: StoreError) {
        let Some(From::There { is_told, .. }) = self.moved.as_ref().map(|moved| &moved.from) else { return };
        if !is_told.swap(true, Ordering::Relaxed) {
            let (rule, scope, kind) = (&*self.rule.name, &**self.scope_name(), error.kind());
            tracing::warn!(
                rule,
                scope,
                kind,
                "the store that this rule was counted in does not answer: what it said last counts"
            );
        }
    }

    /// For operators: what a request of a key would meet that is counted elsewhere until its first request here.
    pub(super) async fn peek_before(
        &self,
        before: &Arc<Self>,
        key: KeyHash,
        link: &Link,
        now_us: u64,
    ) -> Result<Option<Verdict>, StoreError> {
        let quota = before.counts.quota(key);
        let told = before.told(key, quota.as_ref(), Aim::Look, link, now_us).await?;
        let meter = quota.as_ref().map_or(&self.quota.meter, |quota| &quota.meter);
        Ok((!meter.is_spent(&told.counters, told.now_us)).then_some(told.verdict))
    }
}

/// The clock of what is counted here. Ahead of the process's own, so that what began before the process did has its time, by a number
/// of days that whole days, weeks and months of thirty days divide.
pub(super) const AHEAD_US: u64 = 420 * 86_400 * 1_000_000;

pub(super) const fn own_clock(now_us: u64) -> u64 {
    now_us.saturating_add(AHEAD_US)
}
