//! The daemon's side of the audit: every worker has a [`Recorder`], one thread owns the store, and the control side
//! speaks to both through the [`Writer`].
//!
//! Nothing here blocks a worker: rows are handed over in chunks through bounded channels, and there is always room for
//! a row whose place was reserved. Nothing here knows routing, filters or HTTP.

mod appender;
mod ledger;
mod pending;
mod recorder;
mod searches;
mod succession;
mod writer;

use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::sync::mpsc::sync_channel;

use records::{Limits, Store, StoreError};
use shared::config::{Audit, WhenFull};
use thiserror::Error;

pub use ledger::{COMMIT_BOUNDS_US, Numbers};
pub use recorder::{NoRoom, Place, Recorder};
pub use searches::SearchError;
pub use writer::{NotAudited, Writer};

use ledger::{Ledger, Totals};

/// Why the audit cannot begin.
#[derive(Debug, Error)]
pub enum AuditError {
    #[error("the audit store cannot be opened: {0}")]
    Store(#[from] StoreError),
    #[error("the audit's thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// Chunks that wait for the writer, of all workers together.
const CHUNKS: usize = 1024;

/// Emptied chunks that wait to be filled again, of each worker.
const SPARE_CHUNKS: usize = 64;

/// Opens the store, starts its threads, and makes a recorder for each worker.
pub fn start(config: &Audit, workers: usize) -> Result<(Arc<Writer>, Vec<Recorder>), AuditError> {
    start_with(config, workers, Limits::of(&config.keep), recorder::ROWS)
}

/// As [`start`], with limits that a test can reach.
fn start_with(
    config: &Audit,
    workers: usize,
    limits: Limits,
    rows: u64,
) -> Result<(Arc<Writer>, Vec<Recorder>), AuditError> {
    let store = Store::open(&config.path, limits, now_us())?;
    let (to_writer, from_workers) = sync_channel(CHUNKS);
    let policy = Arc::new(AtomicU8::new(when_full_number(config.when_full)));
    let totals = Arc::new(Totals::default());
    let mut ledgers = Vec::with_capacity(workers);
    let mut recorders = Vec::with_capacity(workers);
    let mut spares = Vec::with_capacity(workers);
    for worker in 0..workers {
        let ledger = Ledger::new();
        let (spare, emptied) = sync_channel(SPARE_CHUNKS);
        ledgers.push(ledger);
        spares.push(spare);
        recorders.push(Recorder::new(worker, rows, ledger, to_writer.clone(), emptied, Arc::clone(&policy)));
    }
    let writer = writer::start(config, store, from_workers, to_writer, ledgers, spares, totals, policy, limits)?;
    Ok((Arc::new(writer), recorders))
}

fn when_full_number(when_full: WhenFull) -> u8 {
    match when_full {
        WhenFull::Wait => 0,
        WhenFull::Shed => 1,
    }
}

/// Microseconds since the epoch.
fn now_us() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
