//! One address of an upstream: what all workers know of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use shared::config;

use super::AttemptError;

/// An endpoint's identity and its newest failure. Its counters are the metrics' cells.
#[derive(Debug)]
pub struct Endpoint {
    /// Unique in this process: by it, workers find what they hold for this endpoint.
    pub id: u64,
    pub upstream: Arc<str>,
    pub host: Arc<str>,
    pub port: u16,
    pub address: Arc<str>,
    /// Where the host is a literal: no name needs resolving.
    pub literal: Option<SocketAddr>,
    last_failure: Mutex<Option<(i64, AttemptError)>>,
}

impl Endpoint {
    /// A new endpoint of the upstream of this name.
    pub fn new(upstream: &Arc<str>, config: &config::Endpoint) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            upstream: Arc::clone(upstream),
            host: Arc::clone(&config.host),
            port: config.port,
            address: Arc::clone(&config.address),
            literal: config.host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, config.port)),
            last_failure: Mutex::new(None),
        }
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
