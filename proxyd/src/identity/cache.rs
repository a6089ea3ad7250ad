//! What was found of credentials, such as tokens, cookies and passwords: bounded in number, in shards, so that two workers rarely
//! want the same lock. Good ones and bad ones are never kept in one: bad ones would push out the good ones. Knows nothing of what
//! it keeps.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;

/// A power of two, as with the counters of rate limits.
const SHARDS: usize = 64;

/// Credentials that one of them remembers.
pub(super) const CAPACITY: usize = 8192;

/// A credential's keyed hash: what is kept instead of it. 128 bits: nobody finds another one with the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct TokenHash(pub(super) u128);

/// See the module.
#[derive(Debug)]
pub(super) struct Cache<V> {
    secret: (u64, u64),
    /// Of a shard, at the most.
    share: usize,
    shards: Box<[Apart<V>]>,
}

/// On cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
struct Apart<V>(Mutex<Shard<V>>);

#[derive(Debug)]
struct Shard<V> {
    /// Indices into `entries`, by the low half of the hash.
    slots: HashTable<u32>,
    entries: Vec<Entry<V>>,
    /// Where the search for room goes on (second chance).
    hand: usize,
    hits: u64,
    misses: u64,
}

impl<V> Default for Shard<V> {
    fn default() -> Self {
        Self { slots: HashTable::new(), entries: Vec::new(), hand: 0, hits: 0, misses: 0 }
    }
}

#[derive(Debug)]
struct Entry<V> {
    token: TokenHash,
    verdict: V,
    used: bool,
}

impl<V: Clone> Cache<V> {
    /// Fails where there is no randomness: with a hash that others can compute, they could make a token look like another.
    pub(super) fn new() -> Result<Self, getrandom::Error> {
        Self::of(CAPACITY)
    }

    /// One for so many.
    pub(super) fn of(capacity: usize) -> Result<Self, getrandom::Error> {
        let mut secret = [0; 16];
        getrandom::fill(&mut secret)?;
        let whole = u128::from_le_bytes(secret);
        let shards = (0..SHARDS).map(|_| Apart(Mutex::default())).collect();
        Ok(Self { secret: ((whole >> 64) as u64, whole as u64), share: capacity / SHARDS, shards })
    }

    pub(super) fn hash(&self, token: &[u8]) -> TokenHash {
        let mut hasher = SipHasher13::new_with_keys(self.secret.0, self.secret.1);
        hasher.write(token);
        TokenHash(hasher.finish128().as_u128())
    }

    /// Of a credential in several parts: where one ends and the next begins is a part of it.
    pub(super) fn hash_of(&self, parts: [&[u8]; 3]) -> TokenHash {
        let mut hasher = SipHasher13::new_with_keys(self.secret.0, self.secret.1);
        for part in parts {
            hasher.write_usize(part.len());
            hasher.write(part);
        }
        TokenHash(hasher.finish128().as_u128())
    }

    fn shard(&self, token: TokenHash) -> Option<MutexGuard<'_, Shard<V>>> {
        let Apart(shard) = self.shards.get((token.0 >> 64) as usize % SHARDS)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The verdict on a token, if it still holds.
    pub(super) fn find(&self, token: TokenHash, holds: impl FnOnce(&V) -> bool) -> Option<V> {
        let mut shard = self.shard(token)?;
        let index = shard.find(token);
        match index.and_then(|index| shard.entries.get_mut(index)) {
            Some(entry) if holds(&entry.verdict) => {
                entry.used = true;
                let verdict = entry.verdict.clone();
                shard.hits += 1;
                Some(verdict)
            }
            Some(_) | None => {
                shard.misses += 1;
                None
            }
        }
    }

    /// Remembers a verdict, in place of an earlier one on the same token.
    pub(super) fn keep(&self, token: TokenHash, verdict: V) {
        if let Some(mut shard) = self.shard(token) {
            let gone = shard.keep(Entry { token, verdict, used: false }, self.share);
            drop(shard);
            // Freed outside the lock.
            drop(gone);
        }
    }

    /// Changes the verdict on a token, if one is remembered.
    pub(super) fn change(&self, token: TokenHash, change: impl FnOnce(&mut V)) {
        if let Some(mut shard) = self.shard(token)
            && let Some(index) = shard.find(token)
            && let Some(entry) = shard.entries.get_mut(index)
        {
            change(&mut entry.verdict);
        }
    }

    /// Hits and misses.
    pub(super) fn counts(&self) -> (u64, u64) {
        let count = |Apart(shard): &Apart<V>| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            (shard.hits, shard.misses)
        };
        self.shards.iter().map(count).fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|Apart(shard)| shard.lock().unwrap().entries.len()).sum()
    }
}

impl<V> Shard<V> {
    fn find(&self, token: TokenHash) -> Option<usize> {
        let same = |slot: &u32| self.entries.get(*slot as usize).is_some_and(|entry| entry.token == token);
        self.slots.find(token.0 as u64, same).map(|slot| *slot as usize)
    }

    /// Puts an entry in, among so many. Who had to go for it.
    fn keep(&mut self, entry: Entry<V>, share: usize) -> Option<Entry<V>> {
        let token = entry.token;
        if let Some(before) = self.find(token).and_then(|index| self.entries.get_mut(index)) {
            return Some(std::mem::replace(before, entry));
        }
        let (index, gone) = if self.entries.len() < share {
            self.entries.push(entry);
            (self.entries.len() - 1, None)
        } else {
            let index = self.victim();
            (index, self.replace(index, entry))
        };
        let entries = &self.entries;
        let hash = |slot: &u32| entries.get(*slot as usize).map_or(0, |entry| entry.token.0 as u64);
        self.slots.insert_unique(token.0 as u64, index as u32, hash);
        gone
    }

    fn replace(&mut self, index: usize, fresh: Entry<V>) -> Option<Entry<V>> {
        let old = std::mem::replace(self.entries.get_mut(index)?, fresh);
        if let Ok(occupied) = self.slots.find_entry(old.token.0 as u64, |slot| *slot as usize == index) {
            occupied.remove();
        }
        Some(old)
    }

    /// Who makes room: going round, the first who was not used since the last round.
    fn victim(&mut self) -> usize {
        for _ in 0..self.entries.len() * 2 {
            let index = self.hand;
            self.hand = (self.hand + 1) % self.entries.len().max(1);
            if let Some(entry) = self.entries.get_mut(index) {
                if !entry.used {
                    return index;
                }
                entry.used = false;
            }
        }
        self.hand
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_and_keeps_what_is_used() {
        let cache = Cache::new().unwrap();
        let with = |keys: u64| move |verdict: &(&str, u64)| verdict.1 == keys;
        let kept = cache.hash(b"kept");
        cache.keep(kept, ("ada", 1));
        for number in 0..CAPACITY * 4 {
            let token = cache.hash(&number.to_le_bytes());
            assert!(cache.find(token, with(1)).is_none());
            cache.keep(token, ("bob", 1));
            assert_eq!(cache.find(kept, with(1)).unwrap().0, "ada");
        }
        assert!(cache.len() <= CAPACITY);
        let newest = cache.hash(&(CAPACITY * 4 - 1).to_le_bytes());
        assert_eq!(cache.find(newest, with(1)).unwrap().0, "bob");
        assert!(cache.find(kept, with(2)).is_none(), "other keys know nothing of it");
        cache.keep(kept, ("eve", 2));
        assert_eq!(cache.find(kept, with(2)).unwrap().0, "eve");
        assert_eq!(cache.counts().1, CAPACITY as u64 * 4 + 1);
        assert_ne!(Cache::<()>::new().unwrap().hash(b"kept"), kept, "each has a hash of its own");
    }
}
