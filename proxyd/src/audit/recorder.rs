//! A worker's end of the audit: room before work, and rows handed over in chunks.
//!
//! A recorder belongs to one thread and never blocks it. Memory is bounded twice: by rows, and by the bytes of their texts.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError};
use std::time::Duration;

use shared::audit::{Chunk, RequestFacts};
use shared::config::WhenFull;
use thiserror::Error;

use super::appender::Message;
use super::ledger::Ledger;
use super::{now_us, when_full_number};

/// Rows that a worker may have reserved and not yet written.
pub(super) const ROWS: u64 = 65_536;

/// Bytes of texts that a worker may have recorded and not yet written.
const TEXT_BYTES: u64 = 64 << 20;

/// Rows after which a chunk is handed over.
const CHUNK_ROWS: usize = 256;

/// A chunk that has grown larger is not kept for another use.
const SPARE_BYTES: usize = 1 << 20;

/// How long a request waits for room.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// There is no room for the request's row, and it may not be served without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("there is no room for an audit row")]
pub struct NoRoom;

/// A place for one row, to be given to [`Recorder::record`] or [`Recorder::release`]. Dropped otherwise, it gives its
/// room back by itself.
#[derive(Debug)]
#[must_use]
pub struct Place {
    ledger: &'static Ledger,
    is_shed: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_shed {
            self.ledger.released.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// One worker's recorder.
#[derive(Debug)]
pub struct Recorder {
    worker: usize,
    rows: u64,
    ledger: &'static Ledger,
    to_writer: SyncSender<Message>,
    emptied: Receiver<Chunk>,
    when_full: Arc<AtomicU8>,
    /// Places ever given.
    reserved: Cell<u64>,
    /// Bytes of texts ever recorded.
    recorded_bytes: Cell<u64>,
    /// What of both was given back, as last looked up.
    free_rows: Cell<u64>,
    free_bytes: Cell<u64>,
    chunk: RefCell<Chunk>,
    /// Full chunks that the channel had no room for.
    backlog: RefCell<VecDeque<Chunk>>,
}

impl Recorder {
    pub(super) fn new(
        worker: usize,
        rows: u64,
        ledger: &'static Ledger,
        to_writer: SyncSender<Message>,
        emptied: Receiver<Chunk>,
        when_full: Arc<AtomicU8>,
    ) -> Self {
        Self {
            worker,
            rows,
            ledger,
            to_writer,
            emptied,
            when_full,
            reserved: Cell::new(0),
            recorded_bytes: Cell::new(0),
            free_rows: Cell::new(0),
            free_bytes: Cell::new(0),
            chunk: RefCell::new(Chunk::with_capacity(CHUNK_ROWS)),
            backlog: RefCell::default(),
        }
    }

    /// A place for a row, if there is room right now.
    #[must_use]
    pub fn try_reserve(&self) -> Option<Place> {
        if !self.has_room() {
            let settled = &self.ledger.settled;
            let released = self.ledger.released.load(Ordering::SeqCst);
            self.free_rows.set(settled.rows.load(Ordering::SeqCst) + released);
            self.free_bytes.set(settled.text_bytes.load(Ordering::SeqCst));
            if !self.has_room() {
                return None;
            }
        }
        self.reserved.set(self.reserved.get() + 1);
        Some(Place { ledger: self.ledger, is_shed: false })
    }

    fn has_room(&self) -> bool {
        self.reserved.get() - self.free_rows.get() < self.rows
            && self.recorded_bytes.get() - self.free_bytes.get() < TEXT_BYTES
    }

    /// A place for a row. Where there is no room, `audit.when_full` decides: the place is one whose row is only counted,
    /// or the request waits, a second at most.
    pub async fn reserve(&self) -> Result<Place, NoRoom> {
        if let Some(place) = self.try_reserve() {
            return Ok(place);
        }
        self.flush();
        if self.when_full.load(Ordering::Relaxed) == when_full_number(WhenFull::Shed) {
            return Ok(Place { ledger: self.ledger, is_shed: true });
        }
        let waited = tokio::time::timeout(LONGEST_WAIT, self.room()).await;
        waited.map_err(|_| {
            self.ledger.lose(|lost| lost.refused.add(now_us()));
            NoRoom
        })
    }

    async fn room(&self) -> Place {
        loop {
            let notified = self.ledger.room.notified();
            let mut notified = std::pin::pin!(notified);
            // Listening begins before the last look, so that room made in between is not missed.
            notified.as_mut().enable();
            self.ledger.is_awaited.store(true, Ordering::SeqCst);
            if let Some(place) = self.try_reserve() {
                return place;
            }
            notified.await;
        }
    }

    /// Records a finished request in the place that it reserved.
    pub fn record(&self, place: Place, facts: &RequestFacts<'_>) {
        if place.is_shed {
            self.ledger.lose(|lost| lost.shed.add(facts.time_us));
            return;
        }
        std::mem::forget(place);
        let mut chunk = self.chunk.borrow_mut();
        let before = chunk.text_bytes();
        chunk.push(facts);
        self.recorded_bytes.set(self.recorded_bytes.get() + (chunk.text_bytes() - before) as u64);
        if chunk.len() >= CHUNK_ROWS {
            drop(chunk);
            self.flush();
        }
    }

    /// Gives back a place that is not needed.
    pub fn release(&self, place: Place) {
        drop(place);
    }

    /// Hands over what is recorded, as far as the channel takes it. To be called at least every half `audit.flush`.
    pub fn flush(&self) {
        let mut backlog = self.backlog.borrow_mut();
        while let Some(chunk) = backlog.pop_front() {
            if let Err(chunk) = self.send(chunk) {
                backlog.push_front(chunk);
                break;
            }
        }
        let mut chunk = self.chunk.borrow_mut();
        if chunk.is_empty() || (!backlog.is_empty() && chunk.len() < CHUNK_ROWS) {
            return;
        }
        let next = self.emptied.try_recv().ok().filter(|chunk| chunk.room_bytes() <= SPARE_BYTES);
        let full = std::mem::replace(&mut *chunk, next.unwrap_or_else(|| Chunk::with_capacity(CHUNK_ROWS)));
        if backlog.is_empty() {
            if let Err(full) = self.send(full) {
                backlog.push_back(full);
            }
        } else {
            backlog.push_back(full);
        }
    }

    fn send(&self, chunk: Chunk) -> Result<(), Chunk> {
        let rows = chunk.len() as u64;
        match self.to_writer.try_send(Message::Chunk { worker: self.worker, chunk }) {
            Ok(()) => {
                self.ledger.handed_over.fetch_add(rows, Ordering::Relaxed);
                Ok(())
            }
            Err(
                TrySendError::Full(Message::Chunk { chunk, .. })
                | TrySendError::Disconnected(Message::Chunk { chunk, .. }),
            ) => Err(chunk),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Ok(()),
        }
    }
}

impl Drop for Recorder {
    /// A worker that ends hands over what it has.
    fn drop(&mut self) {
        self.flush();
    }
}
