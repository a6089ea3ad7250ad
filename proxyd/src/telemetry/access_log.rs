//! The access log: a line for each finished request.
//!
//! Workers write lines into buffers of their own and hand them over in chunks; one thread writes them out. A target that
//! does not keep up costs lines, which are counted and told, and never holds up a worker.

mod format;
mod target;
mod writer;

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shared::audit::RequestFacts;
use shared::config::{self, Log, LogFormat};

use super::clock::TimeText;
use target::Target;

/// The target of `tracing` events that tell of slow requests.
pub const SLOW_REQUEST: &str = "slow_request";

/// A buffer's size, in bytes. Lines longer than what is left make it grow; it is then not kept for reuse.
const BUFFER: usize = 64 * 1024;
/// From this many bytes on, a buffer is handed over without waiting for the tick.
const HAND_OVER: usize = 60 * 1024;
/// Chunks that may wait for the writer: 4 MiB.
const QUEUE: usize = 64;
/// Slow requests that a worker tells of in a second.
const SLOW_PER_SECOND: u32 = 100;

/// Why the log cannot be written where it should.
#[derive(Debug, thiserror::Error)]
pub enum AccessLogError {
    #[error("cannot open the access log {path}: {source}")]
    Open { path: PathBuf, source: io::Error },
    #[error("cannot write the access log to stdout: {0}")]
    Stdout(io::Error),
    #[error("cannot start the access log's thread: {0}")]
    Thread(io::Error),
}

/// The log, as the control side holds it.
#[derive(Debug)]
pub struct AccessLog {
    shared: Arc<Shared>,
    sender: SyncSender<Message>,
    /// Closed by the writer when all is written.
    written: Mutex<Receiver<()>>,
}

/// A target that is open and waits to be put in place.
#[derive(Debug)]
pub struct Prepared {
    access: config::AccessLog,
    format: LogFormat,
    target: Option<Target>,
}

/// What workers, writer and control side share. Workers read it and write it only when lines are lost.
#[derive(Debug)]
struct Shared {
    /// Nothing is to be written: lines need not be made.
    off: AtomicBool,
    stopping: AtomicBool,
    dropped: AtomicU64,
    /// A change that the writer has not taken up yet.
    change: Mutex<Option<Prepared>>,
    /// Emptied buffers, at most as many as the queue holds.
    spare: Mutex<Vec<Vec<u8>>>,
    /// What is in force, for [`AccessLog::reopen`].
    now: Mutex<(config::AccessLog, LogFormat)>,
}

#[derive(Debug)]
enum Message {
    /// Whole lines, and how many they are.
    Chunk(Vec<u8>, u64),
    /// Look at what has changed.
    Nudge,
}

impl AccessLog {
    /// Opens the target and starts the writer's thread.
    pub fn start(log: &Log) -> Result<Arc<Self>, AccessLogError> {
        Self::start_with(Self::prepare(log)?)
    }

    fn start_with(prepared: Prepared) -> Result<Arc<Self>, AccessLogError> {
        let shared = Arc::new(Shared {
            off: AtomicBool::new(prepared.target.is_none()),
            stopping: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            now: Mutex::new((prepared.access.clone(), prepared.format)),
            change: Mutex::new(None),
            spare: Mutex::default(),
        });
        let (sender, receiver) = sync_channel(QUEUE);
        let written = writer::start(Arc::clone(&shared), receiver, prepared).map_err(AccessLogError::Thread)?;
        Ok(Arc::new(Self { shared, sender, written: Mutex::new(written) }))
    }

    /// A worker's half.
    #[must_use]
    pub fn worker(&self) -> WorkerLog {
        WorkerLog {
            shared: Arc::clone(&self.shared),
            sender: self.sender.clone(),
            buffer: Cell::new(Vec::new()),
            lines: Cell::new(0),
            time: TimeText::default(),
            slow: Cell::new(SlowSecond::default()),
        }
    }

    /// Opens what a new config asks for; changes nothing yet.
    pub fn prepare(log: &Log) -> Result<Prepared, AccessLogError> {
        let target = Target::open(&log.access)?;
        Ok(Prepared { access: log.access.clone(), format: log.format, target })
    }

    /// Puts a prepared target in place. Lines handed over from now on go there; it cannot fail.
    pub fn apply(&self, prepared: Prepared) {
        let now = (prepared.access.clone(), prepared.format);
        *self.shared.now.lock().unwrap_or_else(PoisonError::into_inner) = now;
        self.shared.off.store(prepared.target.is_none(), Ordering::Relaxed);
        *self.shared.change.lock().unwrap_or_else(PoisonError::into_inner) = Some(prepared);
        self.nudge();
    }

    /// Opens the log file anew by its path, after it was renamed. If that fails, lines go on to the old file.
    pub fn reopen(&self) -> Result<(), AccessLogError> {
        let (access, format) = self.shared.now.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let target = Target::open(&access)?;
        self.apply(Prepared { access, format, target });
        Ok(())
    }

    /// Lines lost since the start: not taken by the queue in time, or not by the target.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Writes what was handed over and ends the thread. To be called when all workers are gone; what they hand over
    /// later is lost. Answers whether all was written in time: a target that blocks is given up after `patience`.
    pub fn stop(&self, patience: Duration) -> bool {
        self.shared.stopping.store(true, Ordering::Release);
        self.nudge();
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(written.recv_timeout(patience), Err(std::sync::mpsc::RecvTimeoutError::Disconnected))
    }

    /// A full queue needs no nudge: the writer looks for changes with every chunk.
    fn nudge(&self) {
        let _ = self.sender.try_send(Message::Nudge);
    }
}

/// A worker's half of the log. Lines wait here until 60 KiB are full or the worker's tick calls [`WorkerLog::flush`].
pub struct WorkerLog {
    shared: Arc<Shared>,
    sender: SyncSender<Message>,
    buffer: Cell<Vec<u8>>,
    lines: Cell<u64>,
    time: TimeText,
    slow: Cell<SlowSecond>,
}

/// How many slow requests were told in one second, and how many were not since one was.
#[derive(Clone, Copy, Debug, Default)]
struct SlowSecond {
    second: i64,
    told: u32,
    suppressed: u64,
}

impl WorkerLog {
    /// Logs a finished request. Never waits.
    pub fn line(&self, facts: &RequestFacts<'_>, format: LogFormat) {
        if self.shared.off.load(Ordering::Relaxed) {
            return;
        }
        let mut buffer = self.buffer.take();
        if buffer.capacity() == 0 {
            buffer = self.shared.spare_buffer();
        }
        match format {
            LogFormat::Json => format::json(facts, &self.time, &mut buffer),
            LogFormat::Text => format::combined(facts, &self.time, &mut buffer),
        }
        self.lines.set(self.lines.get() + 1);
        let full = buffer.len() >= HAND_OVER;
        self.buffer.set(buffer);
        if full {
            self.flush();
        }
    }

    /// Hands over the lines so far. For the worker's tick, and before it ends.
    pub fn flush(&self) {
        let lines = self.lines.take();
        if lines == 0 {
            return;
        }
        if let Err(back) = self.sender.try_send(Message::Chunk(self.buffer.take(), lines)) {
            self.shared.dropped.fetch_add(lines, Ordering::Relaxed);
            let (std::sync::mpsc::TrySendError::Full(message) | std::sync::mpsc::TrySendError::Disconnected(message)) =
                back;
            if let Message::Chunk(mut buffer, _) = message {
                buffer.clear();
                self.buffer.set(buffer);
            }
        }
    }

    /// Tells of a request that took longer than `threshold` as a warning among the diagnostics; 100 a second at most, and
    /// how many were left out. Answers whether it was slow.
    pub fn slow(&self, facts: &RequestFacts<'_>, threshold: Duration) -> bool {
        if Duration::from_micros(facts.duration_us) <= threshold {
            return false;
        }
        let mut now = self.slow.get();
        let second = facts.time_us.saturating_add_unsigned(facts.duration_us).div_euclid(1_000_000);
        if now.second != second {
            now = SlowSecond { second, told: 0, ..now };
        }
        if now.told == SLOW_PER_SECOND {
            self.slow.set(SlowSecond { suppressed: now.suppressed + 1, ..now });
            return true;
        }
        tracing::warn!(
            target: SLOW_REQUEST,
            request_id = facts.request_id,
            method = facts.method,
            host = facts.host,
            path = facts.path,
            route = facts.route,
            upstream = facts.upstream,
            endpoint = facts.endpoint,
            status = facts.status,
            outcome = facts.outcome,
            duration_ms = facts.duration_us as f64 / 1_000.0,
            upstream_ms = facts.upstream_us as f64 / 1_000.0,
            attempts = facts.attempts,
            suppressed = now.suppressed,
            "slow request"
        );
        self.slow.set(SlowSecond { second, told: now.told + 1, suppressed: 0 });
        true
    }
}

impl Drop for WorkerLog {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Shared {
    fn spare_buffer(&self) -> Vec<u8> {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| Vec::with_capacity(BUFFER))
    }

    fn give_back(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < QUEUE && buffer.capacity() <= 2 * BUFFER {
            spare.push(buffer);
        }
    }
}
