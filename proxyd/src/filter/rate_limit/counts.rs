//! The counters of one rule, by key: bounded in number, in shards, so that two workers rarely want the same lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;
use shared::decide::limit::{Counters, Meter, Verdict};
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::exchange::Quota;

/// A power of two. With 64, two of 16 workers meet at most every fourth time, and then for some nanoseconds.
const SHARDS: usize = 64;
/// So many keys of a shard are looked at by whoever looks at all of them: nobody waits long for its lock.
const MOST_SEEN: usize = 4096;
/// So many keys are asked whether they would make room where none has to.
const TRIES: usize = 64;

/// A key's keyed hash: what is kept instead of the key. 128 bits: two keys never share counters by chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHash {
    /// Of this process.
    pub(super) own: u128,
    /// The same in every process; 0 where nothing is shared.
    pub(super) shared: u128,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Counts {
    /// Random for each: nobody can choose keys that collide.
    secret: (u64, u64),
    shards: Box<[Apart]>,
    evicted: AtomicU64,
}

/// On cache lines of its own: whoever takes one shard's lock does not disturb its neighbours.
#[derive(Debug)]
#[repr(align(128))]
struct Apart(Mutex<Shard>);

#[derive(Debug)]
struct Shard {
    /// Indices into `entries`, by the low half of the key.
    slots: HashTable<u32>,
    entries: Vec<Entry>,
    capacity: usize,
    /// Where the search for room goes on (second chance).
    hand: usize,
}

#[derive(Debug)]
struct Entry {
    key: KeyHash,
    counters: Counters,
    /// What of it was copied from a shared store when the rule moved here: there it is known.
    copied: Option<Box<Counters>>,
    /// What it is limited to in place of what the rule says.
    quota: Option<Arc<Quota>>,
    /// Who it is, for operators; none: whoever comes next says it.
    label: Option<Box<str>>,
    used: bool,
}

/// Whom and how a request is counted.
pub(super) struct Asked<'a, L> {
    pub(super) key: KeyHash,
    /// The rule's.
    pub(super) meter: &'a Meter,
    /// The key's own, in its place.
    pub(super) quota: Option<&'a Arc<Quota>>,
    /// Asked for where it is not known yet; it may know none itself.
    pub(super) label: L,
    pub(super) now_us: u64,
}

impl Counts {
    /// Room for so many keys.
    pub(super) fn new(max_keys: usize) -> Self {
        let mut secret = [0; 16];
        // Without randomness collisions could be constructed, and counts be shared: no reason to refuse to serve.
        let _ = getrandom::fill(&mut secret);
        let whole = u128::from_le_bytes(secret);
        Self::with_secret(max_keys, ((whole >> 64) as u64, whole as u64))
    }

    /// Room for so many keys, which are hashed as these are.
    pub(super) fn beside(&self, max_keys: usize) -> Self {
        Self::with_secret(max_keys, self.secret)
    }

    fn with_secret(max_keys: usize, secret: (u64, u64)) -> Self {
        let capacity = share(max_keys);
        let shard = || Apart(Mutex::new(Shard { slots: HashTable::new(), entries: Vec::new(), capacity, hand: 0 }));
        Self { secret, shards: (0..SHARDS).map(|_| shard()).collect(), evicted: AtomicU64::new(0) }
    }

    /// The hash of what `write` describes.
    pub(super) fn hash(&self, write: impl FnOnce(&mut SipHasher13)) -> u128 {
        let mut hasher = SipHasher13::new_with_keys(self.secret.0, self.secret.1);
        write(&mut hasher);
        hasher.finish128().as_u128()
    }

    fn shard(&self, key: KeyHash) -> Option<MutexGuard<'_, Shard>> {
        let Apart(shard) = self.shards.get((key.own >> 64) as usize % SHARDS)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes one request. None: nobody could make room for the key, and it is not counted.
    pub(super) fn take<L: FnOnce() -> Option<Box<str>>>(&self, asked: Asked<'_, L>) -> Option<Verdict> {
        self.with(asked, |entry, meter, now_us| meter.take(&mut entry.counters, now_us))
    }

    /// The same, where so many more of its requests run that are not known here.
    pub(super) fn take_beside<L: FnOnce() -> Option<Box<str>>>(
        &self,
        asked: Asked<'_, L>,
        running: u32,
    ) -> Option<Verdict> {
        self.with(asked, |entry, meter, _| meter.take_beside(&mut entry.counters, running))
    }

    /// Keeps what somebody else counted.
    pub(super) fn keep<L: FnOnce() -> Option<Box<str>>>(&self, asked: Asked<'_, L>, counters: Counters) {
        self.with(asked, |entry, _, _| entry.counters = counters);
    }

    /// Counts a request that runs, whatever the limit. Whether there was room for its key.
    pub(super) fn occupy<L: FnOnce() -> Option<Box<str>>>(&self, asked: Asked<'_, L>) -> bool {
        self.with(asked, |entry, meter, _| meter.occupy(&mut entry.counters)).is_some()
    }

    fn with<T, L>(&self, asked: Asked<'_, L>, act: impl FnOnce(&mut Entry, &Meter, u64) -> T) -> Option<T>
    where
        L: FnOnce() -> Option<Box<str>>,
    {
        let Asked { key, meter, quota, label, now_us } = asked;
        let mut shard = self.shard(key)?;
        let (index, evicted) = match shard.find(key) {
            Some(index) => (Some(index), false),
            None => shard.make_room(key, meter, now_us),
        };
        let done = index.and_then(|index| shard.entries.get_mut(index)).map(|entry| {
            entry.used = true;
            if entry.label.is_none() {
                entry.label = label();
            }
            entry.count_by(meter, quota);
            act(entry, quota.map_or(meter, |quota| &quota.meter), now_us)
        });
        drop(shard);
        if evicted {
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
        done
    }

    /// A request that was taken has ended.
    pub(super) fn give_back(&self, key: KeyHash, meter: &Meter) {
        let Some(mut shard) = self.shard(key) else { return };
        let Some(index) = shard.find(key) else { return };
        let Some(entry) = shard.entries.get_mut(index) else { return };
        meter.give_back(&mut entry.counters);
        if !entry.runs(meter) && shard.entries.len() > shard.capacity {
            shard.remove(index);
        }
    }

    /// What a request of this key would meet; none where nothing counts for it.
    pub(super) fn peek(&self, key: KeyHash, meter: &Meter, now_us: u64) -> Option<Verdict> {
        let shard = self.shard(key)?;
        let entry = shard.entries.get(shard.find(key)?)?;
        let meter = entry.meter(meter);
        (!meter.is_spent(&entry.counters, now_us)).then(|| meter.peek(&entry.counters, now_us))
    }

    /// Whether it is known here what operators call a key.
    pub(super) fn is_labelled(&self, key: KeyHash) -> bool {
        let Some(shard) = self.shard(key) else { return false };
        let entry = shard.find(key).and_then(|index| shard.entries.get(index));
        entry.is_some_and(|entry| entry.label.is_some())
    }

    /// What a key is limited to in place of what the rule says.
    pub(super) fn quota(&self, key: KeyHash) -> Option<Arc<Quota>> {
        let shard = self.shard(key)?;
        shard.entries.get(shard.find(key)?)?.quota.clone()
    }

    /// Forgets a key's counts. Whether there were any.
    pub(super) fn reset(&self, key: KeyHash) -> bool {
        let Some(mut shard) = self.shard(key) else { return false };
        let Some(index) = shard.find(key) else { return false };
        let Some(entry) = shard.entries.get_mut(index) else { return false };
        entry.counters = Counters::default();
        true
    }

    /// Whether anything is known of a key.
    pub(super) fn has(&self, key: KeyHash) -> bool {
        self.shard(key).is_some_and(|shard| shard.find(key).is_some())
    }

    /// What of a key is known here and not in the shared store that it moves to, as a script is told it. None where that is
    /// nothing, or was counted by another limit.
    pub(super) fn brought(&self, key: KeyHash, rule: &Meter, meter: &Meter, now_us: u64) -> Option<Vec<u64>> {
        let shard = self.shard(key)?;
        let entry = shard.entries.get(shard.find(key)?)?;
        if !meter.continues(entry.meter(rule)) {
            return None;
        }
        meter.brought(&entry.counters, entry.copied.as_deref(), now_us)
    }

    /// Has what a shared store said of a key that is not known here.
    pub(super) fn copy<L: FnOnce() -> Option<Box<str>>>(&self, asked: Asked<'_, L>, counters: Counters) {
        // Whoever asked for the same key at the same time copied it, and more was counted since.
        if !self.has(asked.key) {
            self.with(asked, |entry, _, _| {
                if entry.counters == Counters::default() && entry.copied.is_none() {
                    (entry.counters, entry.copied) = (counters, Some(Box::new(counters)));
                }
            });
        }
    }

    /// What is counted for a key, where that means the same under `meter`.
    pub(super) fn counters(&self, key: KeyHash, rule: &Meter, meter: &Meter) -> Option<Counters> {
        let shard = self.shard(key)?;
        let entry = shard.entries.get(shard.find(key)?)?;
        meter.continues(entry.meter(rule)).then_some(entry.counters)
    }

    /// The longest that anything counts here, in microseconds.
    pub(super) fn longest_us(&self, meter: &Meter) -> u64 {
        let longest = |Apart(shard): &Apart| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.entries.iter().map(|entry| entry.meter(meter).longest_us()).max().unwrap_or(0)
        };
        self.shards.iter().map(longest).fold(meter.longest_us(), u64::max)
    }

    /// Whether requests of any key run.
    pub(super) fn is_any_running(&self, meter: &Meter) -> bool {
        let runs = |Apart(shard): &Apart| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.entries.iter().any(|entry| entry.runs(meter))
        };
        self.shards.iter().any(runs)
    }

    /// Forgets a key.
    pub(super) fn forget(&self, key: KeyHash) {
        let Some(mut shard) = self.shard(key) else { return };
        if let Some(index) = shard.find(key) {
            shard.remove(index);
        }
    }

    /// Forgets the keys of one of its parts, by its number. Whether there is such a part.
    pub(super) fn forget_part(&self, number: usize) -> bool {
        let Some(Apart(shard)) = self.shards.get(number) else { return false };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        (shard.slots, shard.entries, shard.hand) = (HashTable::new(), Vec::new(), 0);
        true
    }

    /// The keys whose label is wanted; of a shard only so many are looked at.
    pub(super) fn labelled(&self, wanted: impl Fn(&str) -> bool) -> Vec<KeyHash> {
        let mut found = Vec::new();
        self.each(|entry| {
            if entry.label.as_deref().is_some_and(&wanted) {
                found.push(entry.key);
            }
        });
        found
    }

    /// The keys that have used most, and how much that is; of a shard only so many are looked at.
    pub(super) fn top(&self, most: usize, meter: &Meter, now_us: u64) -> Vec<(Box<str>, u32, Verdict)> {
        let mut top: Vec<(Box<str>, u32, Verdict)> = Vec::new();
        let mut least = 0;
        self.each(|entry| {
            let verdict = entry.meter(meter).peek(&entry.counters, now_us);
            let used = verdict.limit.saturating_sub(verdict.remaining);
            // Those that have as much as the last come in too: which of them are told must not hang on where they lie.
            if used == 0 || used < least {
                return;
            }
            top.push((entry.label.clone().unwrap_or_else(|| "[not shown]".into()), used, verdict));
            // Sorted once in a while, not for each.
            if top.len() >= most.saturating_mul(2).max(64) {
                least = keep_most(&mut top, most);
            }
        });
        keep_most(&mut top, most);
        top
    }

    /// Labels are made anew by whoever comes next: what may be shown has changed.
    pub(super) fn forget_labels(&self) {
        for Apart(shard) in &self.shards {
            for entry in &mut shard.lock().unwrap_or_else(PoisonError::into_inner).entries {
                entry.label = None;
            }
        }
    }

    fn each(&self, mut look: impl FnMut(&Entry)) {
        for Apart(shard) in &self.shards {
            shard.lock().unwrap_or_else(PoisonError::into_inner).entries.iter().take(MOST_SEEN).for_each(&mut look);
        }
    }

    /// Keys held now.
    pub(super) fn keys(&self) -> u64 {
        let held = |Apart(shard): &Apart| shard.lock().unwrap_or_else(PoisonError::into_inner).entries.len() as u64;
        self.shards.iter().map(held).sum()
    }

    /// Keys that had to make room while they still counted.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Takes over another bound; keys beyond it go, but for those whose requests are under way: these stay until they end.
    pub(super) fn resize(&self, max_keys: usize, meter: &Meter) {
        for Apart(shard) in &self.shards {
            shard.lock().unwrap_or_else(PoisonError::into_inner).resize(share(max_keys), meter);
        }
    }
}

fn share(max_keys: usize) -> usize {
    max_keys.div_ceil(SHARDS).max(1)
}

/// Keeps those that have used most, most first; how much the last of them has, where no more are wanted.
fn keep_most(top: &mut Vec<(Box<str>, u32, Verdict)>, most: usize) -> u32 {
    top.sort_by(|(label, used, _), (other_label, other_used, _)| other_used.cmp(used).then(label.cmp(other_label)));
    top.truncate(most);
    if top.len() < most { 0 } else { top.last().map_or(0, |(_, used, _)| *used) }
}

impl Entry {
    fn meter<'a>(&'a self, meter: &'a Meter) -> &'a Meter {
        self.quota.as_ref().map_or(meter, |quota| &quota.meter)
    }

    /// Whether requests of it are under way.
    fn runs(&self, meter: &Meter) -> bool {
        meter.is_concurrency() && !meter.is_spent(&self.counters, 0)
    }

    /// From now on by this. Counts that mean something else then are forgotten.
    fn count_by(&mut self, meter: &Meter, quota: Option<&Arc<Quota>>) {
        match (&self.quota, quota) {
            (None, None) => return,
            (Some(one), Some(other)) if Arc::ptr_eq(one, other) => return,
            _ => {}
        }
        let next = quota.map_or(meter, |quota| &quota.meter);
        if !next.continues(self.meter(meter)) {
            (self.counters, self.copied) = (Counters::default(), None);
        }
        self.quota = quota.map(Arc::clone);
    }
}

impl Shard {
    fn find(&self, key: KeyHash) -> Option<usize> {
        let same = |slot: &u32| self.entries.get(*slot as usize).is_some_and(|entry| entry.key.own == key.own);
        self.slots.find(key.own as u64, same).map(|slot| *slot as usize)
    }

    /// An entry for a key that has none, where somebody makes room for it; and whether one that still counted had to go, or this
    /// one is not counted.
    fn make_room(&mut self, key: KeyHash, meter: &Meter, now_us: u64) -> (Option<usize>, bool) {
        let full = self.entries.len() >= self.capacity;
        let victim = if full { self.victim(meter, now_us) } else { None };
        if full && victim.is_none() {
            return (None, true);
        }
        let fresh = Entry { key, counters: Counters::default(), copied: None, quota: None, label: None, used: true };
        let (index, evicted) = if let Some(index) = victim {
            (index, self.replace(index, fresh, meter, now_us))
        } else {
            self.entries.push(fresh);
            (self.entries.len() - 1, false)
        };
        let entries = &self.entries;
        let hash = |slot: &u32| entries.get(*slot as usize).map_or(0, |entry| entry.key.own as u64);
        self.slots.insert_unique(key.own as u64, index as u32, hash);
        (Some(index), evicted)
    }

    /// Puts an entry in another's place. Whether that one still counted.
    fn replace(&mut self, index: usize, fresh: Entry, meter: &Meter, now_us: u64) -> bool {
        let Some(entry) = self.entries.get_mut(index) else { return false };
        let old = std::mem::replace(entry, fresh);
        if let Ok(occupied) = self.slots.find_entry(old.key.own as u64, |slot| *slot as usize == index) {
            occupied.remove();
        }
        !old.meter(meter).is_spent(&old.counters, now_us)
    }

    fn resize(&mut self, capacity: usize, meter: &Meter) {
        self.capacity = capacity;
        if self.entries.len() <= capacity {
            return;
        }
        let running = self.entries.iter().filter(|entry| entry.runs(meter)).count();
        let mut room = capacity.saturating_sub(running);
        self.entries.retain(|entry| {
            let stays = entry.runs(meter) || room > 0;
            if stays && !entry.runs(meter) {
                room -= 1;
            }
            stays
        });
        self.hand = 0;
        let Self { slots, entries, .. } = self;
        slots.clear();
        let hash = |slot: &u32| entries.get(*slot as usize).map_or(0, |entry| entry.key.own as u64);
        for (index, entry) in entries.iter().enumerate() {
            slots.insert_unique(entry.key.own as u64, index as u32, hash);
        }
    }

    /// Takes one out; the last takes its place.
    fn remove(&mut self, index: usize) {
        let last = self.entries.len().saturating_sub(1);
        let (Some(entry), Some(moved)) = (self.entries.get(index), self.entries.last()) else { return };
        let (hash, moved_hash) = (entry.key.own as u64, moved.key.own as u64);
        if let Ok(occupied) = self.slots.find_entry(hash, |slot| *slot as usize == index) {
            occupied.remove();
        }
        if let Some(slot) = self.slots.find_mut(moved_hash, |slot| *slot as usize == last) {
            *slot = index as u32;
        }
        self.entries.swap_remove(index);
    }

    /// Who makes room: going round, the first whose counts are spent or who was not used since the last round. Where requests at
    /// the same time are counted, only who has none: what was not counted would be given back.
    fn victim(&mut self, meter: &Meter, now_us: u64) -> Option<usize> {
        let keeps = meter.is_concurrency();
        let tries = if keeps { TRIES } else { self.entries.len() * 2 };
        for _ in 0..tries {
            let index = self.hand;
            self.hand = (self.hand + 1) % self.entries.len().max(1);
            if let Some(entry) = self.entries.get_mut(index) {
                if !(entry.used || keeps) || entry.meter(meter).is_spent(&entry.counters, now_us) {
                    return Some(index);
                }
                entry.used = false;
            }
        }
        (!keeps).then_some(self.hand)
    }
}
