//! One address of an upstream: what all workers know of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use shared::decide::balance::key_of;

use super::health::Health;
use super::{AttemptError, Signal};
use crate::telemetry::metrics::EndpointCells;

/// An endpoint's identity and how it does. Its counters are the metrics' cells.
#[derive(Debug)]
pub struct Endpoint {
    /// Unique in this process: by it, workers find what they hold for this endpoint.
    pub id: u64,
    pub upstream: Arc<str>,
    /// The name that it is called by in TLS, and that is resolved where there is no literal.
    pub host: Arc<str>,
    pub port: u16,
    pub address: Arc<str>,
    /// Where the address is known: no name needs resolving.
    pub literal: Option<SocketAddr>,
    /// By what hashing knows it: the same in every process.
    pub key: u64,
    pub health: Health,
    /// Raised when it does otherwise than before.
    pub signal: Arc<Signal>,
    /// Requests under way, over all workers; counted where there is a limit.
    pub(super) seats: AtomicU32,
    /// Each worker's counters, from when it has any.
    cells: Box<[OnceLock<Arc<EndpointCells>>]>,
    last_failure: Mutex<Option<(i64, AttemptError)>>,
}

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whereabouts {
    pub host: Arc<str>,
    pub port: u16,
    pub address: Arc<str>,
    pub literal: Option<SocketAddr>,
}

impl Whereabouts {
    /// As it is written: a literal, or a name to be resolved.
    pub fn written(host: &Arc<str>, port: u16, address: &Arc<str>) -> Self {
        let literal = host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, port));
        Self { host: Arc::clone(host), port, address: Arc::clone(address), literal }
    }

    /// One of the addresses of a name.
    pub fn resolved(host: &Arc<str>, at: SocketAddr) -> Self {
        Self { host: Arc::clone(host), port: at.port(), address: at.to_string().into(), literal: Some(at) }
    }
}

impl Endpoint {
    /// A new endpoint of the upstream of this name.
    pub fn new(upstream: &Arc<str>, at: Whereabouts, signal: &Arc<Signal>, workers: usize) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            upstream: Arc::clone(upstream),
            key: key_of(at.address.as_bytes()),
            host: at.host,
            port: at.port,
            address: at.address,
            literal: at.literal,
            health: Health::new(workers),
            signal: Arc::clone(signal),
            seats: AtomicU32::new(0),
            cells: (0..workers).map(|_| OnceLock::new()).collect(),
            last_failure: Mutex::new(None),
        }
    }

    /// A worker counts in these.
    pub(super) fn counted_by(&self, worker: usize, cells: &Arc<EndpointCells>) {
        if let Some(slot) = self.cells.get(worker) {
            let _ = slot.set(Arc::clone(cells));
        }
    }

    /// Requests under way here, over all workers.
    pub fn in_flight(&self) -> u32 {
        let under_way: u64 = self.cells.iter().filter_map(OnceLock::get).map(|cells| cells.in_flight()).sum();
        u32::try_from(under_way).unwrap_or(u32::MAX)
    }

    /// Notes a failure and when it was (microseconds since the epoch). Only failures take the lock.
    pub fn failed(&self, time_us: i64, error: AttemptError) {
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some((time_us, error));
    }

    /// The newest failure and when it was.
    pub fn last_failure(&self) -> Option<(i64, AttemptError)> {
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
