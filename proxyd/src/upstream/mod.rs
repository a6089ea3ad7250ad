//! Upstreams: named groups of endpoints. What all workers share of them lives in a snapshot and is handed from each to the
//! next; each worker has a half of its own ([`local`]): its connections and its balancer. Never sees a filter.

mod channel;
mod choose;
mod connect;
mod endpoint;
mod gate;
mod health;
mod lease;
pub mod local;
mod members;
mod outcome;
pub mod pool;
pub mod probe;
pub mod pump;
mod relay;
pub mod resolve;
mod signal;
mod standing;
mod sticky;
mod stream;
mod way;
mod window;

pub use channel::StreamLease;
pub use choose::{Ask, Picked};
pub use endpoint::Endpoint;
pub use gate::{Gate, Seat};
pub use health::{Health, Note, Notes, ProbeNote};
pub use lease::{InFlight, Lease, Leased, TunnelLease};
pub use local::LocalUpstream;
pub use members::{Address, Known, Member, Members, Names, Origin};
pub use outcome::{Answered, Trial, When};
pub use pool::{Pool, Within};
pub use pump::Pump;
pub use relay::{Relay, room};
pub use signal::Signal;
pub use standing::Standing;
pub use sticky::StickyKey;
pub use stream::{StreamPump, StreamRelay};
pub use way::{Asks, Way};

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use shared::config::{self, Cause, Initial};
use shared::decide::eject::Ejections;
use thiserror::Error;

use self::endpoint::Whereabouts;
use crate::registry::Overlay;
use crate::tls::ClientTls;

/// What the workers share of one upstream.
#[derive(Debug)]
pub struct Upstream {
    pub config: Arc<config::Upstream>,
    pub way: Way,
    pub live: Arc<Live>,
    /// What cookies are signed with, where there are any.
    pub sticky_key: Option<StickyKey>,
    members: ArcSwap<Members>,
    names: Mutex<Names>,
    workers: usize,
}

/// The live state of an upstream, handed from each snapshot to the next by name.
#[derive(Debug, Default)]
pub struct Live {
    pub signal: Arc<Signal>,
    pub gate: Arc<Gate>,
    ejections: Mutex<Ejections>,
    panics: AtomicBool,
}

impl Live {
    /// Who is ejected, and how often. Taken when somebody is to be ejected, and by reports.
    pub fn ejections(&self) -> MutexGuard<'_, Ejections> {
        self.ejections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether all endpoints are used since too few are well; whether that is otherwise than before.
    fn set_panicking(&self, panics: bool) -> bool {
        self.panics.load(Ordering::Relaxed) != panics && self.panics.swap(panics, Ordering::Relaxed) != panics
    }
}

/// What an upstream is compiled amid, besides its config.
#[derive(Clone, Copy, Debug)]
pub struct Amid<'a> {
    pub workers: usize,
    /// Since the daemon's start.
    pub now_us: u64,
    /// What was set and registered at run time.
    pub overlay: &'a Overlay,
    /// For cookies, where the config gives no secret.
    pub sticky_key: &'a StickyKey,
}

/// A tunnel's place among its endpoint's connections or streams.
pub enum Held {
    Connection(TunnelLease),
    Stream(StreamLease),
}

impl Upstream {
    /// Compiles an upstream, taking the live state from its namesake. What is exactly the same stays the same object, so
    /// that the workers' halves live on untouched; otherwise endpoints are taken over by address, whatever else changed.
    pub fn compile(
        config: &Arc<config::Upstream>,
        tls: Option<&Arc<ClientTls>>,
        previous: Option<&Arc<Self>>,
        amid: Amid<'_>,
    ) -> Arc<Self> {
        if let Some(previous) = previous
            && (Arc::ptr_eq(&previous.config, config) || previous.config.is_same(config))
            && previous.way.is(config)
        {
            return Arc::clone(previous);
        }
        let live = previous.map(|previous| Arc::clone(&previous.live)).unwrap_or_default();
        // Spoken to in another way, an endpoint is another one: none of its connections could be used.
        let before = previous.filter(|upstream| upstream.way.is(config)).map(|previous| previous.members());
        // However they are looked up from now on: what is known of them holds until then.
        let mut names = previous.map(|previous| previous.names().clone()).unwrap_or_default();
        names.retain(|name, _| config.endpoints.iter().any(|endpoint| endpoint.address == *name));
        let find = |at: Whereabouts| {
            let known = before.as_ref().and_then(|members| members.find(&at.address));
            if let Some(member) = known {
                return Arc::clone(&member.endpoint);
            }
            let endpoint = new_endpoint(config, at, &live, amid.workers);
            if before.is_some() {
                endpoint.health.begins_slowly(amid.now_us);
            }
            Arc::new(endpoint)
        };
        let members = Members::gather(config, amid.overlay, &names, find);
        Arc::new(Self {
            way: Way::compile(config, tls),
            sticky_key: config.sticky.as_ref().map(|sticky| match &sticky.secret {
                Some(secret) => StickyKey::of(secret.as_bytes()),
                None => amid.sticky_key.clone(),
            }),
            members: ArcSwap::from_pointee(members),
            names: Mutex::new(names),
            workers: amid.workers,
            live,
            config: Arc::clone(config),
        })
    }

    /// Who belongs to it now.
    pub fn members(&self) -> Arc<Members> {
        self.members.load_full()
    }

    /// What is known of its names.
    pub fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gathers its members anew, and tells the workers where they differ. On the control thread alone. `now_us`: since the
    /// daemon's start. `successor`: the members of its namesake in force, where it is that no longer.
    pub fn gather(&self, overlay: &Overlay, now_us: u64, successor: Option<&Members>) -> bool {
        let before = self.members();
        // Of a hundred thousand upstreams hardly any is touched.
        if before.is_plain && overlay.is_empty() {
            return false;
        }
        let names = self.names().clone();
        let find = |at: Whereabouts| {
            let known = before.find(&at.address).or_else(|| successor.and_then(|members| members.find(&at.address)));
            if let Some(member) = known {
                return Arc::clone(&member.endpoint);
            }
            let endpoint = new_endpoint(&self.config, at, &self.live, self.workers);
            endpoint.health.begins_slowly(now_us);
            Arc::new(endpoint)
        };
        let members = Members::gather(&self.config, overlay, &names, find);
        if members.is_same(&before) {
            // Only when those that were registered go may be otherwise, which no worker asks.
            self.members.store(Arc::new(members));
            return false;
        }
        for member in &members.list {
            let was = before.find(&member.endpoint.address).map(|before| before.admin);
            if was.is_some_and(|was| was != member.admin) && member.admin == shared::decide::eligible::Admin::Ready {
                member.endpoint.health.begins_slowly(now_us);
            }
        }
        let keys: Vec<u64> = members.list.iter().map(|member| member.endpoint.key).collect();
        self.live.ejections().retain(&keys);
        self.members.store(Arc::new(members));
        self.live.signal.raise();
        true
    }

    /// After a commit: what the config no longer asks for is forgotten.
    pub fn settle(&self) {
        let mut has_changed = false;
        for member in &self.members().list {
            let health = &member.endpoint.health;
            has_changed |= self.config.breaker.is_none() && health.drop_breaker();
            has_changed |= self.config.eject.is_none() && health.drop_ejection();
            has_changed |= match &self.config.probe {
                None => health.drop_probe(),
                // It serves already: a probe that is new to it takes nothing away before it says so.
                Some(_) => health.awaits_probe(Initial::Healthy),
            };
        }
        if has_changed {
            self.live.signal.raise();
        }
    }
}

fn new_endpoint(config: &config::Upstream, at: Whereabouts, live: &Live, workers: usize) -> Endpoint {
    let endpoint = Endpoint::new(&config.name, at, &live.signal, workers);
    if let Some(probe) = &config.probe {
        let _ = endpoint.health.awaits_probe(probe.initial);
    }
    endpoint
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
    #[error("the handshake of TLS took too long")]
    TlsTimeout,
    #[error("the name could not be resolved")]
    Unresolved,
    #[error("too many requests wait for a connection")]
    QueueFull,
    #[error("no connection became free in time")]
    QueueTimeout,
    /// No endpoint may be chosen.
    #[error("no endpoint can be used")]
    Unavailable,
    /// The breakers of all endpoints that could be chosen are open; the first lets a trial through in so many seconds.
    #[error("the breakers of all endpoints are open")]
    CircuitOpen { seconds: u32 },
    #[error("the endpoint did not take the request in time")]
    WriteTimeout,
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
    /// Tunnels are not taken on its connections of HTTP/2 (RFC 8441).
    #[error("the endpoint takes no tunnels")]
    NoTunnel,
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
            Self::TlsTimeout => "tls_timeout",
            Self::WriteTimeout => "write_timeout",
            Self::Unavailable => "unavailable",
            Self::CircuitOpen { .. } => "circuit_open",
            Self::Unprocessed => "refused_stream",
            Self::Untranslatable => "untranslatable",
            Self::Unresolved => "unresolved",
            Self::QueueFull => "queue_full",
            Self::QueueTimeout => "queue_timeout",
            Self::Silent => "timeout",
            Self::OutOfTime => "total_timeout",
            Self::Reset => "reset",
            Self::NoTunnel => "no_tunnel",
            Self::Protocol => "protocol",
        }
    }

    /// What it is among the causes that a config lists; none where no other endpoint could do better.
    pub fn cause(self) -> Option<Cause> {
        Some(match self {
            Self::Refused | Self::ConnectTimeout | Self::Tls | Self::TlsTimeout | Self::Unresolved => Cause::Connect,
            Self::Unprocessed => Cause::RefusedStream,
            Self::Reset => Cause::Reset,
            Self::Silent | Self::WriteTimeout => Cause::Timeout,
            Self::Protocol => Cause::Protocol,
            Self::QueueFull | Self::QueueTimeout | Self::Unavailable | Self::CircuitOpen { .. } => Cause::Unavailable,
            Self::OutOfTime | Self::Untranslatable | Self::NoTunnel => return None,
        })
    }

    /// Whether nothing was done with the request: it was not sent, or the endpoint said so.
    pub fn leaves_untouched(self) -> bool {
        match self {
            Self::Refused
            | Self::ConnectTimeout
            | Self::Tls
            | Self::TlsTimeout
            | Self::Unresolved
            | Self::Unprocessed
            | Self::QueueFull
            | Self::QueueTimeout
            | Self::Unavailable
            | Self::CircuitOpen { .. }
            | Self::NoTunnel => true,
            Self::WriteTimeout
            | Self::Silent
            | Self::OutOfTime
            | Self::Reset
            | Self::Untranslatable
            | Self::Protocol => false,
        }
    }

    /// Whether the endpoint is to blame, rather than a limit of ours or the client.
    pub fn blames_endpoint(self) -> bool {
        match self {
            Self::QueueFull
            | Self::QueueTimeout
            | Self::Unavailable
            | Self::CircuitOpen { .. }
            | Self::OutOfTime
            | Self::Unprocessed
            | Self::Untranslatable
            | Self::NoTunnel => false,
            Self::Refused
            | Self::ConnectTimeout
            | Self::Tls
            | Self::TlsTimeout
            | Self::Unresolved
            | Self::WriteTimeout
            | Self::Silent
            | Self::Reset
            | Self::Protocol => true,
        }
    }
}
