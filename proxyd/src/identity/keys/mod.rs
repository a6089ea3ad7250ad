//! The API keys in force, in memory: found in well under two microseconds, changed at once for every worker. `state` keeps them
//! on disk.

mod known;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use directory::KeyRow;
use hashbrown::HashMap;
use subtle::ConstantTimeEq;

pub use self::known::{Found, Known};
use crate::exchange::Denial;

/// A change copies one of them, not all the keys there may be.
const SHARDS: usize = 256;

/// Between two writings of a key's last use, in seconds.
const WRITTEN_EVERY_S: i64 = 60;

/// See the module.
#[derive(Debug)]
pub struct KeyRing {
    shards: Box<[ArcSwap<Shard>]>,
    /// By id; whoever changes something holds it.
    all: Mutex<HashMap<Box<str>, Arc<Known>>>,
    /// Keys whose last use was not written yet.
    used: Mutex<Vec<Arc<Known>>>,
    changes: AtomicU64,
}

/// By prefix. Several keys may have one: it is no secret, and says nothing.
type Shard = HashMap<Box<str>, Vec<Text>>;

/// One text that opens.
#[derive(Clone, Debug)]
struct Text {
    hash: [u8; 32],
    /// Of a text before a rotation: how long it still opens.
    until_s: i64,
    key: Arc<Known>,
}

impl Default for KeyRing {
    fn default() -> Self {
        let shards = (0..SHARDS).map(|_| ArcSwap::default()).collect();
        Self { shards, all: Mutex::default(), used: Mutex::default(), changes: AtomicU64::new(0) }
    }
}

impl KeyRing {
    /// Those that are kept.
    pub fn of(rows: &[KeyRow]) -> Self {
        let ring = Self::default();
        ring.reload(rows);
        ring
    }

    /// Whether this is one of our keys by its form: nothing else looks like it.
    pub fn looks_like_key(presented: &[u8]) -> bool {
        directory::prefix_of(presented).is_some()
    }

    /// The key that was presented, if it is good. Takes as long for a prefix that nobody has.
    pub fn find(&self, presented: &[u8], now_s: i64) -> Result<Found, Denial> {
        let prefix = directory::prefix_of(presented).ok_or(Denial::KeyUnknown)?;
        let hash = directory::digest(presented);
        let shard = self.shard(prefix).ok_or(Denial::KeyUnknown)?.load();
        let mut found = None;
        match shard.get(prefix) {
            Some(texts) => {
                for text in texts {
                    if bool::from(text.hash.ct_eq(&hash)) {
                        found = Some(text);
                    }
                }
            }
            // As if there were one.
            None => drop(std::hint::black_box(hash.ct_eq(&[0; 32]))),
        }
        let text = found.ok_or(Denial::KeyUnknown)?;
        let key = &text.key;
        if key.is_revoked {
            return Err(Denial::KeyRevoked);
        }
        if text.until_s <= now_s || key.expires_s.is_some_and(|expires_s| expires_s <= now_s) {
            return Err(Denial::KeyExpired);
        }
        self.note(key, now_s);
        Ok(Found { key: Arc::clone(key), hash, is_earlier: text.until_s != i64::MAX })
    }

    /// Until when a text that opened once still does: until it is no more the key's, and until the key expires. None: the key is
    /// gone or revoked, or has other texts.
    pub fn until(&self, prefix: &str, hash: &[u8; 32]) -> Option<(i64, i64)> {
        let shard = self.shard(prefix)?.load();
        let text = shard.get(prefix)?.iter().find(|text| text.hash == *hash)?;
        (!text.key.is_revoked).then(|| (text.until_s, text.key.expires_s.unwrap_or(i64::MAX)))
    }

    /// Another number after each change, raised once the change can be seen.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Takes up one key as it is now.
    pub fn put(&self, row: &KeyRow) {
        let mut all = lock(&self.all);
        let before = all.get(row.id.as_str()).map(Arc::clone);
        let known = Arc::new(Known::of(row, before.as_deref()));
        all.insert(known.id.clone(), Arc::clone(&known));
        let texts = texts(row, &known);
        // What it is called by now comes first: a text that stays good is never unknown.
        self.edit(&known, &texts, &[]);
        if let Some(before) = before {
            let new: Vec<&str> = texts.iter().map(|(prefix, _)| &**prefix).collect();
            self.edit(&before, &[], &new);
        }
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Takes up all keys as they are now; others are gone.
    pub fn reload(&self, rows: &[KeyRow]) {
        let mut all = lock(&self.all);
        let before = std::mem::take(&mut *all);
        let mut shards: Vec<Shard> = (0..SHARDS).map(|_| Shard::new()).collect();
        for row in rows {
            let known = Arc::new(Known::of(row, before.get(row.id.as_str()).map(|known| &**known)));
            all.insert(known.id.clone(), Arc::clone(&known));
            for (prefix, text) in texts(row, &known) {
                if let Some(shard) = shards.get_mut(shard_of(&prefix)) {
                    shard.entry(prefix).or_default().push(text);
                }
            }
        }
        for (shard, filled) in self.shards.iter().zip(shards) {
            shard.store(Arc::new(filled));
        }
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        lock(&self.all).len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When a key was last used, as far as this process knows.
    pub fn used_s(&self, id: &str) -> Option<i64> {
        lock(&self.all).get(id).and_then(|known| known.used_s())
    }

    /// Last uses that are to be written now: id and time. With `all`, also those that were written less than a minute ago.
    pub fn take_used(&self, all: bool, now_s: i64) -> Vec<(String, i64)> {
        let mut used = lock(&self.used);
        let mut due = Vec::new();
        used.retain(|known| {
            let written_s = known.written_s.load(Ordering::Relaxed);
            if !all && now_s.saturating_sub(written_s) < WRITTEN_EVERY_S {
                return true;
            }
            // First, so that a use that comes in between is noted again.
            known.is_noted.store(false, Ordering::SeqCst);
            due.push((known.id.to_string(), known.used_s.load(Ordering::SeqCst)));
            known.written_s.store(now_s, Ordering::Relaxed);
            false
        });
        due
    }

    /// Takes last uses back that could not be written: they are due at once.
    pub fn give_back(&self, uses: &[(String, i64)]) {
        let all = lock(&self.all);
        for (id, _) in uses {
            let Some(key) = all.get(id.as_str()) else { continue };
            key.written_s.store(i64::MIN, Ordering::Relaxed);
            self.to_write(key);
        }
    }

    /// Notes a use: once a second at most, so that workers seldom want the same cache line.
    fn note(&self, key: &Arc<Known>, now_s: i64) {
        if key.used_s.load(Ordering::Relaxed) >= now_s {
            return;
        }
        key.used_s.fetch_max(now_s, Ordering::SeqCst);
        self.to_write(key);
    }

    fn to_write(&self, key: &Arc<Known>) {
        if !key.is_noted.load(Ordering::SeqCst) && !key.is_noted.swap(true, Ordering::SeqCst) {
            lock(&self.used).push(Arc::clone(key));
        }
    }

    fn shard(&self, prefix: &str) -> Option<&ArcSwap<Shard>> {
        self.shards.get(shard_of(prefix))
    }

    /// Under each of the prefixes of `key` that is not one of `but`, `texts` stand in place of whatever was there of it.
    fn edit(&self, key: &Known, texts: &[(Box<str>, Text)], but: &[&str]) {
        for prefix in key.prefixes().filter(|prefix| !but.contains(prefix)) {
            let Some(shard) = self.shard(prefix) else { continue };
            let mut edited = Shard::clone(&shard.load());
            let under = edited.entry(prefix.into()).or_default();
            under.retain(|text| text.key.id != key.id);
            under.extend(texts.iter().filter(|(of, _)| **of == *prefix).map(|(_, text)| text.clone()));
            if under.is_empty() {
                edited.remove(prefix);
            }
            shard.store(Arc::new(edited));
        }
    }
}

fn shard_of(prefix: &str) -> usize {
    // Prefixes are drawn evenly; whoever sends others finds nothing in any shard.
    prefix.bytes().fold(0, |sum: usize, byte| sum.wrapping_mul(31).wrapping_add(byte as usize)) % SHARDS
}

/// What opens, and the prefix that it begins with.
fn texts(row: &KeyRow, known: &Arc<Known>) -> Vec<(Box<str>, Text)> {
    let text = |hash, until_s| Text { hash, until_s, key: Arc::clone(known) };
    let now = (row.prefix.as_str().into(), text(row.hash, i64::MAX));
    let earlier = row.earlier.as_ref();
    let earlier = earlier.map(|earlier| (earlier.prefix.as_str().into(), text(earlier.hash, earlier.until_s)));
    std::iter::once(now).chain(earlier).collect()
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
