//! The counters of one rule, by key: bounded in number, in shards, so that two workers rarely want the same lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;
use shared::decide::limit::{Counters, Meter, Verdict};
use siphasher::sip128::{Hasher128, SipHasher13};

/// A power of two. With 64, two of 16 workers meet at most every fourth time, and then for some nanoseconds.
const SHARDS: usize = 64;

/// A key's keyed hash: what is kept instead of the key. 128 bits: two keys never share counters by chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHash(u128);

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

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: KeyHash,
    counters: Counters,
    used: bool,
}

impl Counts {
    /// Room for so many keys.
    pub(super) fn new(max_keys: usize) -> Self {
        let mut secret = [0; 16];
        // Without randomness collisions could be constructed, and counts be shared: no reason to refuse to serve.
        let _ = getrandom::fill(&mut secret);
        let whole = u128::from_le_bytes(secret);
        let capacity = share(max_keys);
        let shard = || Apart(Mutex::new(Shard { slots: HashTable::new(), entries: Vec::new(), capacity, hand: 0 }));
        Self {
            secret: ((whole >> 64) as u64, whole as u64),
            shards: (0..SHARDS).map(|_| shard()).collect(),
            evicted: AtomicU64::new(0),
        }
    }

    /// The key that `write` describes.
    pub(super) fn key(&self, write: impl FnOnce(&mut SipHasher13)) -> KeyHash {
        let mut hasher = SipHasher13::new_with_keys(self.secret.0, self.secret.1);
        write(&mut hasher);
        KeyHash(hasher.finish128().as_u128())
    }

    fn shard(&self, key: KeyHash) -> Option<MutexGuard<'_, Shard>> {
        let Apart(shard) = self.shards.get((key.0 >> 64) as usize % SHARDS)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes one request.
    pub(super) fn take(&self, key: KeyHash, meter: &Meter, now_us: u64) -> Verdict {
        let Some(mut shard) = self.shard(key) else { return meter.take(&mut Counters::default(), now_us) };
        let (index, evicted) = shard.entry(key, meter, now_us);
        let verdict = match shard.entries.get_mut(index) {
            Some(entry) => {
                entry.used = true;
                meter.take(&mut entry.counters, now_us)
            }
            None => meter.take(&mut Counters::default(), now_us),
        };
        drop(shard);
        if evicted {
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
        verdict
    }

    /// What a request of this key would meet; none where nothing is counted for it.
    pub(super) fn peek(&self, key: KeyHash, meter: &Meter, now_us: u64) -> Option<Verdict> {
        let shard = self.shard(key)?;
        let entry = shard.entries.get(shard.find(key)?)?;
        Some(meter.peek(&entry.counters, now_us))
    }

    /// Forgets a key's counts. Whether there were any.
    pub(super) fn reset(&self, key: KeyHash) -> bool {
        let Some(mut shard) = self.shard(key) else { return false };
        let Some(index) = shard.find(key) else { return false };
        let Some(entry) = shard.entries.get_mut(index) else { return false };
        entry.counters = Counters::default();
        true
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

    /// Takes over another bound; keys beyond it go.
    pub(super) fn resize(&self, max_keys: usize) {
        for Apart(shard) in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.capacity = share(max_keys);
            if shard.entries.len() > shard.capacity {
                let capacity = shard.capacity;
                shard.entries.truncate(capacity);
                shard.hand = 0;
                shard.slots.retain(|slot| (*slot as usize) < capacity);
            }
        }
    }
}

fn share(max_keys: usize) -> usize {
    max_keys.div_ceil(SHARDS).max(1)
}

impl Shard {
    fn find(&self, key: KeyHash) -> Option<usize> {
        let same = |slot: &u32| self.entries.get(*slot as usize).is_some_and(|entry| entry.key == key);
        self.slots.find(key.0 as u64, same).map(|slot| *slot as usize)
    }

    /// The key's entry, made where there is none; and whether a key that still counted had to go for it.
    fn entry(&mut self, key: KeyHash, meter: &Meter, now_us: u64) -> (usize, bool) {
        if let Some(index) = self.find(key) {
            return (index, false);
        }
        let fresh = Entry { key, counters: Counters::default(), used: true };
        let (index, evicted) = if self.entries.len() < self.capacity {
            self.entries.push(fresh);
            (self.entries.len() - 1, false)
        } else {
            let index = self.victim(meter, now_us);
            (index, self.replace(index, fresh, meter, now_us))
        };
        let entries = &self.entries;
        let hash = |slot: &u32| entries.get(*slot as usize).map_or(0, |entry| entry.key.0 as u64);
        self.slots.insert_unique(key.0 as u64, index as u32, hash);
        (index, evicted)
    }

    /// Puts an entry in another's place. Whether that one still counted.
    fn replace(&mut self, index: usize, fresh: Entry, meter: &Meter, now_us: u64) -> bool {
        let Some(entry) = self.entries.get_mut(index) else { return false };
        let old = std::mem::replace(entry, fresh);
        if let Ok(occupied) = self.slots.find_entry(old.key.0 as u64, |slot| *slot as usize == index) {
            occupied.remove();
        }
        !meter.is_spent(&old.counters, now_us)
    }

    /// Who makes room: going round, the first whose counts are spent or who was not used since the last round.
    fn victim(&mut self, meter: &Meter, now_us: u64) -> usize {
        for _ in 0..self.entries.len() * 2 {
            let index = self.hand;
            self.hand = (self.hand + 1) % self.entries.len().max(1);
            if let Some(entry) = self.entries.get_mut(index) {
                if !entry.used || meter.is_spent(&entry.counters, now_us) {
                    return index;
                }
                entry.used = false;
            }
        }
        self.hand
    }
}
