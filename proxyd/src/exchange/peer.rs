//! Facts of the accepted connection, and how many of them a worker has.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::{Made, Seat};
use crate::telemetry::metrics::WorkerMetrics;
use crate::tls::PeerCertificate;

/// Who is at the other end, and through which listener.
pub struct Peer {
    pub address: SocketAddr,
    /// The address with IPv4-mapped IPv6 told as IPv4.
    pub ip: IpAddr,
    /// The same as text: written once for all the requests of a connection.
    pub ip_text: Box<str>,
    /// The listener's address.
    pub listener: Arc<str>,
    /// The same as the config has it, where the port may be left to the system.
    pub configured: SocketAddr,
    /// Where the connection was made to, as far as that is known: told to upstreams that want a PROXY header.
    pub local: Option<SocketAddr>,
    /// Whether the client speaks TLS to us.
    pub tls: bool,
    /// The client's certificate, verified.
    pub certificate: Option<PeerCertificate>,
    /// Whom that speaks of.
    pub made: Made,
    /// The port of HTTPS that every request is sent on to.
    pub https_redirect: Option<u16>,
    /// Counts the connection until its last exchange or tunnel lets go of it.
    pub presence: Presence,
    /// Its place among those of its address, where that is limited.
    pub seat: Option<Seat>,
}

impl Peer {
    /// Writes the address down, once it is known whose connection this is.
    pub fn name(&mut self) {
        self.ip_text = self.ip.to_string().into();
    }
}

/// How busy a worker is. On a cache line of its own, written by its worker alone but for connections that are handed to it,
/// read by all.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Load {
    connections: AtomicUsize,
    /// On their way from another worker.
    coming: AtomicUsize,
}

impl Load {
    /// Open client connections.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// The same with those on their way: without them a burst of connections would all go to one worker.
    pub fn expected(&self) -> usize {
        self.connections() + self.coming.load(Ordering::Relaxed)
    }

    /// A connection is handed to the worker.
    pub fn hand(&self) {
        self.coming.fetch_add(1, Ordering::Relaxed);
    }

    /// It has arrived, or was not taken.
    pub fn handed(&self) {
        self.coming.fetch_sub(1, Ordering::Relaxed);
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
