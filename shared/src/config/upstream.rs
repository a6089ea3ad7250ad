//! The section `upstreams`: named groups of endpoints.

use std::sync::Arc;
use std::time::Duration;

use super::{Name, Origin};

/// One upstream. Its identity over reloads is its name; an endpoint's is the upstream's name with its address.
#[derive(Clone, Debug)]
pub struct Upstream {
    pub name: Name,
    /// At least one; addresses are distinct.
    pub endpoints: Vec<Endpoint>,
    pub timeouts: UpstreamTimeouts,
    pub pool: Pool,
    pub at: Origin,
}

/// One address of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name, IPv4 or IPv6 literal without brackets; lower case.
    pub host: Arc<str>,
    pub port: u16,
    /// Share of the traffic relative to its siblings; at least 1.
    pub weight: u32,
    /// `host:port`, IPv6 in brackets: what logs, metrics and `Host` for `forward_host: target` show.
    pub address: Arc<str>,
}

/// `upstreams.NAME.timeouts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTimeouts {
    /// To an established connection.
    pub connect: Duration,
    /// From the request sent to the response head received.
    pub response_headers: Duration,
    /// The longest gap between two reads of a response body, or between any two bytes of a tunnel.
    pub idle: Duration,
    /// From the start of the first attempt to the end of the body; none: off.
    pub total: Option<Duration>,
}

/// `upstreams.NAME.pool`. Each bound holds for one endpoint over all workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Idle connections kept.
    pub idle: usize,
    /// How long an idle connection is kept.
    pub idle_for: Duration,
    /// Connections at once.
    pub connections: usize,
    /// Requests that may wait for a connection.
    pub queue: usize,
}
