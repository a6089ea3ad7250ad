//! What worker and writer count for each other: places given, rows written, rows lost.
//!
//! Each worker's ledger has its own cache lines, and the writer touches them once per batch: counting costs the data path
//! nothing that another worker could slow down.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

/// One worker's counts. It lives as long as the process, as the workers do.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Ledger {
    /// Written by the worker, once per chunk: rows handed over.
    pub(super) handed_over: AtomicU64,
    /// Written by the worker, seldom: places that were dropped unused.
    pub(super) released: AtomicU64,
    /// Whether somebody waits for room.
    pub(super) is_awaited: AtomicBool,
    pub(super) room: Notify,
    lost: Mutex<Lost>,
    pub(super) settled: Settled,
}

/// Written by the writer, once per batch.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Settled {
    pub(super) rows: AtomicU64,
    /// Bytes of the texts of those rows.
    pub(super) text_bytes: AtomicU64,
}

/// Rows that will never be written, since the last gap row.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lost {
    /// Served without a row.
    pub(super) shed: Stretch,
    /// Refused because there was no room for a row.
    pub(super) refused: Stretch,
}

/// How many, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) rows: u64,
    pub(super) from_us: i64,
    pub(super) until_us: i64,
}

impl Stretch {
    pub(super) fn add(&mut self, time_us: i64) {
        self.join(Self { rows: 1, from_us: time_us, until_us: time_us });
    }

    pub(super) fn join(&mut self, other: Self) {
        *self = match (self.rows, other.rows) {
            (_, 0) => *self,
            (0, _) => other,
            _ => Self {
                rows: self.rows + other.rows,
                from_us: self.from_us.min(other.from_us),
                until_us: self.until_us.max(other.until_us),
            },
        };
    }
}

impl Ledger {
    /// A ledger for a worker: one each, made once when the daemon starts, and never given back.
    pub(super) fn new() -> &'static Self {
        Box::leak(Box::new(Self {
            handed_over: AtomicU64::new(0),
            released: AtomicU64::new(0),
            is_awaited: AtomicBool::new(false),
            room: Notify::new(),
            lost: Mutex::new(Lost::default()),
            settled: Settled::default(),
        }))
    }

    /// Counts what is lost. Only its worker and, once per batch, the writer come here.
    pub(super) fn lose(&self, count: impl FnOnce(&mut Lost)) {
        count(&mut self.lost.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    /// Takes what was lost so far, to be written down.
    pub(super) fn take_lost(&self) -> Lost {
        std::mem::take(&mut self.lost.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Rows handed over and not written yet.
    pub(super) fn queued(&self) -> u64 {
        self.handed_over.load(Ordering::Relaxed).saturating_sub(self.settled.rows.load(Ordering::Relaxed))
    }

    /// Gives written rows' room back.
    pub(super) fn settle(&self, rows: u64, text_bytes: u64) {
        self.settled.rows.fetch_add(rows, Ordering::SeqCst);
        self.settled.text_bytes.fetch_add(text_bytes, Ordering::SeqCst);
        if self.is_awaited.swap(false, Ordering::SeqCst) {
            self.room.notify_waiters();
        }
    }
}

/// Upper bounds of the commit times that are counted, in microseconds.
pub const COMMIT_BOUNDS_US: [u64; 8] = [500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000];

/// The writer's counts since the start, for `/metrics`.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) rows: AtomicU64,
    pub(super) actions: AtomicU64,
    pub(super) gaps: AtomicU64,
    pub(super) shed: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) commits: AtomicU64,
    pub(super) commit_us: AtomicU64,
    pub(super) commit_buckets: [AtomicU64; 9],
    pub(super) segments: AtomicU64,
    pub(super) size_bytes: AtomicU64,
}

impl Totals {
    pub(super) fn committed(&self, took_us: u64) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.commit_us.fetch_add(took_us, Ordering::Relaxed);
        let bucket = COMMIT_BOUNDS_US.iter().position(|bound| took_us <= *bound).unwrap_or(COMMIT_BOUNDS_US.len());
        if let Some(bucket) = self.commit_buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The audit in numbers; counts are since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Request rows written.
    pub rows: u64,
    pub actions: u64,
    pub gaps: u64,
    /// Request rows handed over and not written yet.
    pub queued: u64,
    /// Requests served without a row, and refused for want of one.
    pub shed: u64,
    pub refused: u64,
    /// Commits that failed.
    pub failures: u64,
    pub commits: u64,
    /// The time that commits took, altogether and counted by [`COMMIT_BOUNDS_US`]; not cumulative, the last is "longer".
    pub commit_us: u64,
    pub commit_buckets: [u64; 9],
    pub segments: u64,
    pub size_bytes: u64,
    pub is_writable: bool,
}
