//! Tells workers that something about an upstream's endpoints has changed: they look again at the next request, and not
//! before.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// See the module. Read by every request of every worker, and written only when something changes.
#[derive(Debug, Default)]
pub struct Signal {
    version: AtomicU64,
    changed: Notify,
}

impl Signal {
    /// Something has changed.
    pub fn raise(&self) {
        self.version.fetch_add(1, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// A number that is another one after each change.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The next change. Enabled before looking, it misses none.
    pub fn next(&self) -> Notified<'_> {
        self.changed.notified()
    }
}
