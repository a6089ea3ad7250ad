//! A principal beside what it was made of: made once, and shared by all requests that come with the same.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::Principal;

/// A principal, once there is one, and what it was made for: `K`, the config's generation for most.
pub struct Made<K = u64>(ArcSwapOption<(K, Arc<Principal>)>);

impl<K: PartialEq> Made<K> {
    /// The principal that was made for this; else `make` makes it, once, and sees the one before.
    pub fn principal(
        &self,
        made_for: K,
        make: impl FnOnce(Option<&Principal>) -> Option<Principal>,
    ) -> Option<Arc<Principal>> {
        let before = self.0.load();
        if let Some((earlier, principal)) = before.as_deref()
            && *earlier == made_for
        {
            return Some(Arc::clone(principal));
        }
        let principal = Arc::new(make(before.as_deref().map(|(_, principal)| &**principal))?);
        self.keep(made_for, &principal);
        Some(principal)
    }
}

impl<K> Made<K> {
    /// The principal, if what it was made for is what is meant.
    pub fn of(&self, is_meant: impl FnOnce(&K) -> bool) -> Option<Arc<Principal>> {
        let made = self.0.load();
        made.as_deref().filter(|(made_for, _)| is_meant(made_for)).map(|(_, principal)| Arc::clone(principal))
    }

    /// From now on it is this one.
    pub fn keep(&self, made_for: K, principal: &Arc<Principal>) {
        self.0.store(Some(Arc::new((made_for, Arc::clone(principal)))));
    }

    /// Takes over what another has made.
    pub fn take_over(&self, other: &Self) {
        self.0.store(other.0.load_full());
    }
}

impl<K> Default for Made<K> {
    fn default() -> Self {
        Self(ArcSwapOption::empty())
    }
}

/// A copy begins without: it may be of somebody else by the time that it is asked.
impl<K> Clone for Made<K> {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// What was made of something is no part of it.
impl<K> PartialEq for Made<K> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<K> Eq for Made<K> {}

impl<K> fmt::Debug for Made<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Made")
    }
}
