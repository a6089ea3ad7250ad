//! The section `server`: where clients knock, and the limits that hold before any route is known.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

/// `server`.
#[derive(Clone, Debug)]
pub struct Server {
    /// At least one; addresses are distinct.
    pub listen: Vec<Listen>,
    /// Worker threads; none: one per core. Cannot change while running.
    pub workers: Option<NonZeroUsize>,
    /// Whose X-Forwarded-* and Forwarded are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Audit store, config history. Cannot change while running.
    pub state_dir: PathBuf,
    /// A path that answers health on the traffic listeners; none: off.
    pub health_path: Option<Arc<str>>,
    /// Whether `//` in a path counts as `/`.
    pub merge_slashes: bool,
    pub limits: Limits,
    pub timeouts: ServerTimeouts,
}

/// One traffic listener. Its identity is its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    pub address: SocketAddr,
}

/// `server.limits`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open client connections over all listeners and workers.
    pub connections: usize,
    /// Bytes of the request line.
    pub request_line: usize,
    /// Bytes of the whole header section.
    pub headers: usize,
    /// Header lines.
    pub header_count: usize,
}

/// `server.timeouts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTimeouts {
    /// From the first byte of a request to the end of its header section.
    pub request_headers: Duration,
    /// The longest gap between two reads of a request body.
    pub request_body: Duration,
    /// How long a connection may wait for its next request.
    pub keep_alive: Duration,
    /// How long a stop waits for requests under way.
    pub drain: Duration,
}
