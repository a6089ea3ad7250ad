//! Whose password is computed next: a few at a time in the whole process, so that a flood of logins takes neither the cores nor
//! the memory of those who are in.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

/// At a time.
const AT_ONCE: usize = 2;

/// Beyond so many that wait, the next is told to come later.
const WAITING: usize = 64;

/// See the module.
#[derive(Debug)]
pub struct Turns {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Default for Turns {
    fn default() -> Self {
        Self { permits: Arc::new(Semaphore::new(AT_ONCE)), waiting: AtomicUsize::new(0) }
    }
}

/// One that waits; no more when it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Turns {
    /// Does `work` on a thread of its own when its turn comes. None: too many wait already. Who stops waiting loses the turn; what
    /// has begun goes on to its end, and holds its place so long.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let permit = if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            permit
        } else {
            let before = self.waiting.fetch_add(1, Ordering::SeqCst);
            let _waiting = Waiting(&self.waiting);
            if before >= WAITING {
                return None;
            }
            Arc::clone(&self.permits).acquire_owned().await.ok()?
        };
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        done.await.ok()
    }
}
