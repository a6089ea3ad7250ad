//! Cells by name: found once, when a worker makes its half of a snapshot, and kept there as a handle.

use std::hash::{Hash, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::{Equivalent, HashMap};

use super::Pair;

/// A [`Pair`] to look up, without making one.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct PairText<'a>(pub(super) &'a str, pub(super) &'a str);

impl Equivalent<Pair> for PairText<'_> {
    fn equivalent(&self, key: &Pair) -> bool {
        *self.0 == *key.0 && *self.1 == *key.1
    }
}

/// One worker's cells by name. The lock is almost always free: others take it to write a page, for as long as it takes to
/// copy the list, and cells are counted in without it.
#[derive(Debug)]
pub(super) struct Named<K, C>(Mutex<HashMap<K, Arc<C>, RandomState>>);

impl<K, C> Default for Named<K, C> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::with_hasher(RandomState::new())))
    }
}

impl<K: Clone + Eq + Hash, C: Default> Named<K, C> {
    /// Does something with the cells of a name; makes them on first use.
    pub(super) fn with<Q, T>(&self, name: &Q, key: impl FnOnce() -> K, act: impl FnOnce(&Arc<C>) -> T) -> T
    where
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let mut map = self.lock();
        if let Some(cells) = map.get(name) {
            return act(cells);
        }
        act(map.entry(key()).or_default())
    }

    pub(super) fn find<Q: Hash + Equivalent<K> + ?Sized>(&self, name: &Q) -> Option<Arc<C>> {
        self.lock().get(name).cloned()
    }

    pub(super) fn retain(&self, keep: impl Fn(&K) -> bool) {
        self.lock().retain(|key, _| keep(key));
    }

    /// All of them, so that a page is written without the lock.
    pub(super) fn list(&self) -> Vec<(K, Arc<C>)> {
        self.lock().iter().map(|(key, cells)| (key.clone(), Arc::clone(cells))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Arc<C>, RandomState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
