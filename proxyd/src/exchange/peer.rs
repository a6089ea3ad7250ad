//! Facts of the accepted connection, and the stopwatch that tells how long it may stay in its present phase.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

use shared::config::ServerTimeouts;
use tokio::sync::Notify;

use super::Value;
use crate::telemetry::metrics::WorkerMetrics;

/// Who is at the other end, and through which listener.
pub struct Peer {
    pub address: SocketAddr,
    /// The address with IPv4-mapped IPv6 told as IPv4.
    pub ip: IpAddr,
    /// The same as text, and as the value of X-Forwarded-For: written once for all the requests of a connection.
    pub ip_text: Box<str>,
    pub forwarded_for: Option<Value>,
    /// The listener's address.
    pub listener: Arc<str>,
    pub stopwatch: Arc<Stopwatch>,
    /// Counts the connection until its last exchange or tunnel lets go of it.
    pub presence: Presence,
}

/// How busy a worker is. On a cache line of its own, written by its worker alone, read by all.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Load {
    connections: AtomicUsize,
}

impl Load {
    /// Open client connections.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// An open client connection, counted.
pub struct Presence {
    load: Arc<Load>,
    metrics: Rc<WorkerMetrics>,
    emptied: Rc<Notify>,
}

impl Presence {
    /// Counts a connection; by the worker whose load it is. `emptied` is told when the last one has gone.
    pub fn enter(load: &Arc<Load>, metrics: &Rc<WorkerMetrics>, emptied: &Rc<Notify>) -> Self {
        load.connections.store(load.connections() + 1, Ordering::Relaxed);
        metrics.connection_opened();
        Self { load: Arc::clone(load), metrics: Rc::clone(metrics), emptied: Rc::clone(emptied) }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let left = self.load.connections().saturating_sub(1);
        self.load.connections.store(left, Ordering::Relaxed);
        self.metrics.connection_closed();
        if left == 0 {
            self.emptied.notify_one();
        }
    }
}

/// What a connection is doing, for its timeouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Connected, and nothing came yet; or the first bytes of a head came and its end is awaited.
    Head,
    /// A request is being served; its own timeouts hold.
    Busy,
    /// Between two requests.
    Idle,
}

/// Shared between a connection's socket, its task and its exchanges, all on one worker: the atomics are never contended,
/// they only satisfy the engine, which wants the socket to be sendable.
#[derive(Debug)]
pub struct Stopwatch {
    phase: AtomicU8,
    /// When the phase is over, in microseconds of the worker's clock.
    deadline_us: AtomicU64,
    /// Whether any byte of the awaited head came.
    started: AtomicU8,
    request_headers_us: u64,
    keep_alive_us: u64,
}

impl Stopwatch {
    /// A connection accepted just now.
    pub fn start(now_us: u64, timeouts: &ServerTimeouts) -> Self {
        let request_headers_us = timeouts.request_headers.as_micros() as u64;
        Self {
            phase: AtomicU8::new(Phase::Head as u8),
            deadline_us: AtomicU64::new(now_us + request_headers_us),
            started: AtomicU8::new(0),
            request_headers_us,
            keep_alive_us: timeouts.keep_alive.as_micros() as u64,
        }
    }

    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Head,
            1 => Phase::Busy,
            _ => Phase::Idle,
        }
    }

    /// When the phase is over; none while a request is served.
    pub fn deadline_us(&self) -> Option<u64> {
        (self.phase() != Phase::Busy).then(|| self.deadline_us.load(Ordering::Relaxed))
    }

    /// Whether some bytes of the awaited head came.
    pub fn head_started(&self) -> bool {
        self.started.load(Ordering::Relaxed) != 0
    }

    /// Whether nothing came yet on a new connection.
    pub fn is_untouched(&self) -> bool {
        self.phase() == Phase::Head && !self.head_started()
    }

    /// Brings the end of the present phase forward.
    pub fn shorten(&self, deadline_us: u64) {
        let sooner = deadline_us.min(self.deadline_us.load(Ordering::Relaxed));
        self.deadline_us.store(sooner, Ordering::Relaxed);
    }

    /// Whether the arrival of bytes would change the phase: asked before a clock is read.
    pub fn awaits_bytes(&self) -> bool {
        self.phase() != Phase::Busy && !self.head_started()
    }

    /// Bytes came from the client.
    pub fn bytes_came(&self, now_us: u64) {
        if self.phase() == Phase::Idle {
            self.deadline_us.store(now_us + self.request_headers_us, Ordering::Relaxed);
            self.phase.store(Phase::Head as u8, Ordering::Relaxed);
        }
        self.started.store(1, Ordering::Relaxed);
    }

    /// A request's head is complete.
    pub fn busy(&self) {
        self.phase.store(Phase::Busy as u8, Ordering::Relaxed);
        self.started.store(0, Ordering::Relaxed);
    }

    /// A request has ended.
    pub fn idle(&self, now_us: u64) {
        self.deadline_us.store(now_us + self.keep_alive_us, Ordering::Relaxed);
        self.phase.store(Phase::Idle as u8, Ordering::Relaxed);
    }
}
