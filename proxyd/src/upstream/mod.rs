//! Upstreams: named groups of endpoints. What all workers share of them lives in a snapshot and is handed from each to the
//! next; each worker has a half of its own ([`local`]): its connections and its balancer. Never sees a filter.

pub mod balance;
mod channel;
mod connect;
mod endpoint;
pub mod local;
pub mod pool;
pub mod pump;
mod relay;
mod stream;
mod way;

pub use channel::StreamLease;
pub use endpoint::Endpoint;
pub use local::LocalUpstream;
pub use pool::{InFlight, Lease, Leased, Pool, TunnelLease};
pub use pump::Pump;
pub use relay::{Relay, room};
pub use stream::{StreamPump, StreamRelay};
pub use way::{Asks, Way};

use std::sync::Arc;

use shared::config;
use thiserror::Error;

use crate::tls::ClientTls;

/// What the workers share of one upstream.
#[derive(Debug)]
pub struct Upstream {
    pub name: Arc<str>,
    /// In the config's order; at least one.
    pub endpoints: Box<[Arc<Endpoint>]>,
    pub weights: Box<[u32]>,
    pub timeouts: config::UpstreamTimeouts,
    pub pool: config::Pool,
    pub way: Way,
}

/// A tunnel's place among its endpoint's connections or streams.
pub enum Held {
    Connection(TunnelLease),
    Stream(StreamLease),
}

impl Upstream {
    /// Compiles an upstream, taking the live state from its namesake. What is exactly the same stays the same object, so
    /// that the workers' halves live on untouched; otherwise endpoints are taken over by address, whatever else changed.
    pub fn compile(config: &config::Upstream, tls: Option<&Arc<ClientTls>>, previous: Option<&Arc<Self>>) -> Arc<Self> {
        if let Some(previous) = previous
            && previous.is(config)
        {
            return Arc::clone(previous);
        }
        // Spoken to in another way, an endpoint is another one: none of its connections could be used.
        let same_way = previous.filter(|upstream| upstream.way.is(config));
        let endpoints = config.endpoints.iter().map(|endpoint| {
            let namesake = same_way
                .and_then(|upstream| upstream.endpoints.iter().find(|candidate| candidate.address == endpoint.address));
            namesake.map_or_else(|| Arc::new(Endpoint::new(&config.name, endpoint)), Arc::clone)
        });
        Arc::new(Self {
            name: Arc::clone(&config.name),
            endpoints: endpoints.collect(),
            weights: config.endpoints.iter().map(|endpoint| endpoint.weight).collect(),
            timeouts: config.timeouts.clone(),
            pool: config.pool.clone(),
            way: Way::compile(config, tls),
        })
    }

    fn is(&self, config: &config::Upstream) -> bool {
        let endpoints = self.endpoints.iter().zip(&self.weights);
        self.timeouts == config.timeouts
            && self.way.is(config)
            && self.pool == config.pool
            && self.endpoints.len() == config.endpoints.len()
            && endpoints
                .zip(&config.endpoints)
                .all(|((endpoint, weight), config)| endpoint.address == config.address && *weight == config.weight)
    }
}

/// Why an attempt gave no answer. What was sent by then is told beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AttemptError {
    #[error("the connection was refused")]
    Refused,
    #[error("connecting took too long")]
    ConnectTimeout,
    #[error("no TLS with the endpoint")]
    Tls,
    #[error("the name could not be resolved")]
    Unresolved,
    #[error("too many requests wait for a connection")]
    QueueFull,
    #[error("no connection became free in time")]
    QueueTimeout,
    #[error("no answer in time")]
    Silent,
    #[error("the time for the whole request was up")]
    OutOfTime,
    #[error("the connection broke before an answer")]
    Reset,
    /// The endpoint said that it has not begun to work on the request (RFC 9113 section 8.7).
    #[error("the endpoint refused the request before working on it")]
    Unprocessed,
    /// What clients of HTTP/1.1 may say and HTTP/2 cannot.
    #[error("the request has no form in the endpoint's protocol")]
    Untranslatable,
    #[error("the answer is not HTTP")]
    Protocol,
}

impl AttemptError {
    /// A few words for metrics.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Refused => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::Tls => "tls",
            Self::Unprocessed => "refused_stream",
            Self::Untranslatable => "untranslatable",
            Self::Unresolved => "unresolved",
            Self::QueueFull => "queue_full",
            Self::QueueTimeout => "queue_timeout",
            Self::Silent => "timeout",
            Self::OutOfTime => "total_timeout",
            Self::Reset => "reset",
            Self::Protocol => "protocol",
        }
    }

    /// Whether the endpoint is to blame, rather than a limit of ours.
    pub fn blames_endpoint(self) -> bool {
        match self {
            Self::QueueFull | Self::QueueTimeout | Self::OutOfTime | Self::Unprocessed | Self::Untranslatable => false,
            Self::Refused
            | Self::ConnectTimeout
            | Self::Tls
            | Self::Unresolved
            | Self::Silent
            | Self::Reset
            | Self::Protocol => true,
        }
    }
}
