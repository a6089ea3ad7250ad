//! How many requests may be under way at once, over all workers, and how many may wait for one of them to end. Nothing of
//! it is touched where no such limit is configured.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
// A place that is freed and somebody who begins to wait must not miss each other.
use std::sync::atomic::Ordering::SeqCst;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::Endpoint;

/// An upstream's requests under way and waiting.
#[derive(Debug, Default)]
pub struct Gate {
    under_way: AtomicU32,
    waiting: AtomicU32,
    freed: Notify,
}

/// A request's place among those under way.
#[derive(Debug)]
pub struct Seat {
    gate: Arc<Gate>,
    endpoint: Arc<Endpoint>,
}

/// A place in the queue.
#[derive(Debug)]
pub struct Waiting<'a> {
    gate: &'a Gate,
    is_first: bool,
}

impl Waiting<'_> {
    /// Whether nobody waited when it was taken.
    pub fn is_first(&self) -> bool {
        self.is_first
    }
}

/// Adds one, unless that is more than `most`.
fn raise(cell: &AtomicU32, most: u32) -> bool {
    cell.try_update(SeqCst, SeqCst, |now| (now < most).then_some(now + 1)).is_ok()
}

impl Gate {
    /// Whether as many are under way as may.
    pub fn is_full(&self, most: Option<u32>) -> bool {
        most.is_some_and(|most| self.under_way.load(SeqCst) >= most)
    }

    /// How many wait.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(SeqCst)
    }

    /// A place with this endpoint; none where either has as many as it may.
    pub fn enter(self: &Arc<Self>, total: Option<u32>, endpoint: &Arc<Endpoint>, each: Option<u32>) -> Option<Seat> {
        if !raise(&self.under_way, total.unwrap_or(u32::MAX)) {
            return None;
        }
        if !raise(&endpoint.seats, each.unwrap_or(u32::MAX)) {
            self.under_way.fetch_sub(1, SeqCst);
            return None;
        }
        Some(Seat { gate: Arc::clone(self), endpoint: Arc::clone(endpoint) })
    }

    /// A place in the queue of at most so many; none where it is full.
    pub fn queue(&self, most: u32) -> Option<Waiting<'_>> {
        let before = self.waiting.try_update(SeqCst, SeqCst, |now| (now < most).then_some(now + 1)).ok()?;
        Some(Waiting { gate: self, is_first: before == 0 })
    }

    /// Calls whoever waits longest.
    pub fn call_next(&self) {
        if self.waiting() > 0 {
            self.freed.notify_one();
        }
    }

    /// The next place to become free. Enabled before looking, it misses none.
    pub fn next(&self) -> Notified<'_> {
        self.freed.notified()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.endpoint.seats.fetch_sub(1, SeqCst);
        self.gate.under_way.fetch_sub(1, SeqCst);
        self.gate.call_next();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.gate.waiting.fetch_sub(1, SeqCst);
    }
}
