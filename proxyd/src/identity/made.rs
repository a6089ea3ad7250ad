//! A principal beside what it was made of: made once, and shared by all requests that come with the same.

use std::any::Any;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::exchange::Principal;

/// A principal, once there is one, and what it was made amid.
#[derive(Debug, Default)]
pub struct Made(ArcSwapOption<(Arc<dyn Any + Send + Sync>, Arc<Principal>)>);

impl Made {
    /// The principal that was made amid this very value; else `make` makes it, once.
    pub fn principal<A: Send + Sync + 'static>(
        &self,
        amid: &Arc<A>,
        make: impl FnOnce() -> Option<Principal>,
    ) -> Option<Arc<Principal>> {
        if let Some(made) = self.0.load().as_deref()
            && std::ptr::addr_eq(Arc::as_ptr(&made.0), Arc::as_ptr(amid))
        {
            return Some(Arc::clone(&made.1));
        }
        let principal = Arc::new(make()?);
        // The value is held, so that no other can have its place in memory.
        let amid: Arc<dyn Any + Send + Sync> = Arc::<A>::clone(amid);
        self.0.store(Some(Arc::new((amid, Arc::clone(&principal)))));
        Some(principal)
    }
}
