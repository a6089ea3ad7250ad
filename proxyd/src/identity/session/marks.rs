//! Which sessions were here: so that whoever is in takes no turn behind cookies that are made up. A mark says nothing of whether a
//! session is good still, and outlives both what was read of it and configs.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashSet;

/// Apart from each other, so that two workers rarely want the same lock.
const SHARDS: usize = 64;

/// Marks of one generation in one of them; there are two generations.
const MOST: usize = 1024;

/// See the module.
pub(super) struct Marks(Box<[Mutex<Shard>]>);

/// By eight bytes of the id's hash: nobody finds an id that has another's. Once the younger generation is full the older one is let
/// go: whoever came since stays.
#[derive(Default)]
struct Shard {
    young: HashSet<u64>,
    old: HashSet<u64>,
}

impl Default for Marks {
    fn default() -> Self {
        Self(std::iter::repeat_with(Mutex::default).take(SHARDS).collect())
    }
}

impl Marks {
    /// Notes that a session with this hash is in.
    pub(super) fn set(&self, hash: &[u8; 32]) {
        let mark = mark(hash);
        let Some(mut shard) = self.shard(mark) else { return };
        if shard.young.contains(&mark) {
            return;
        }
        if shard.young.len() >= MOST {
            shard.old = std::mem::take(&mut shard.young);
        }
        shard.young.insert(mark);
    }

    /// Whether one was.
    pub(super) fn is_set(&self, hash: &[u8; 32]) -> bool {
        let mark = mark(hash);
        self.shard(mark).is_some_and(|shard| shard.young.contains(&mark) || shard.old.contains(&mark))
    }

    /// It is in no more.
    pub(super) fn take_away(&self, hash: &[u8; 32]) {
        let mark = mark(hash);
        if let Some(mut shard) = self.shard(mark) {
            shard.young.remove(&mark);
            shard.old.remove(&mark);
        }
    }

    fn shard(&self, mark: u64) -> Option<MutexGuard<'_, Shard>> {
        let index = usize::try_from(mark % SHARDS as u64).ok()?;
        Some(self.0.get(index)?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn mark(hash: &[u8; 32]) -> u64 {
    hash.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of one shard.
    fn hash(number: usize) -> [u8; 32] {
        let mut hash = [0; 32];
        hash[1..9].copy_from_slice(&number.to_le_bytes());
        hash
    }

    #[test]
    fn whoever_comes_stays_and_the_others_make_room() {
        let marks = Marks::default();
        assert!(!marks.is_set(&hash(0)));
        for number in 0..MOST {
            marks.set(&hash(number));
        }
        assert!((0..MOST).all(|number| marks.is_set(&hash(number))));
        // Of many more, those who come again and again are not forgotten.
        for number in MOST..10 * MOST {
            marks.set(&hash(number));
            if number % 100 == 0 {
                marks.set(&hash(0));
            }
        }
        assert!(marks.is_set(&hash(0)) && !marks.is_set(&hash(1)));
        let shard = marks.shard(0).unwrap();
        assert!(shard.young.len() <= MOST && shard.old.len() <= MOST);
    }

    #[test]
    fn whoever_is_out_has_no_mark() {
        let marks = Marks::default();
        for number in 0..2 * MOST {
            marks.set(&hash(number));
        }
        for number in [0, 2 * MOST - 1] {
            assert!(marks.is_set(&hash(number)));
            marks.take_away(&hash(number));
            assert!(!marks.is_set(&hash(number)));
        }
    }
}
