//! What the rooms of the control thread and the workers share: the snapshot in force, the writers, the workers'
//! mailboxes, and whether the daemon serves, drains or stops.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use shared::audit::ActionFacts;
use shared::config::Sources;
use shared::control::report::Upgraded;
use shared::control::{ControlError, ErrorCode};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::audit;
use crate::exchange::{Crowd, Load};
use crate::snapshot::{Amid, Listening, Snapshot};
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::clock::Now;
use crate::telemetry::diagnostics::Diagnostics;
use crate::telemetry::metrics::Metrics;
use crate::upstream::Member;

/// What the daemon was started with.
#[derive(Clone, Debug)]
pub enum ConfigSource {
    /// No config was named and there is no `./config.yaml`: the built-in example.
    BuiltIn,
    Files(Sources),
}

/// Where the daemon is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Life {
    Starting,
    Serving,
    /// No new connections; what is under way ends.
    Draining,
    /// What is under way is cut.
    Stopping,
}

/// A worker's socket for a listener.
#[derive(Debug)]
pub struct Opened {
    /// The listener's identity.
    pub configured: SocketAddr,
    /// The real address, as logs and audit name it.
    pub name: Arc<str>,
    pub socket: std::net::TcpListener,
}

/// A connection's identity, as it was accepted.
#[derive(Debug)]
pub struct Arrived {
    pub address: SocketAddr,
    /// Of the listener.
    pub name: Arc<str>,
    pub listening: Arc<Listening>,
}

impl Arrived {
    /// From a listener's door.
    pub fn new(address: SocketAddr, name: &Arc<str>, listening: &Arc<Listening>) -> Self {
        Self { address, name: Arc::clone(name), listening: Arc::clone(listening) }
    }
}

/// What a worker is told.
pub enum Order {
    /// A snapshot was committed: take it, open these listeners, close those that it no longer has, then acknowledge.
    Refresh { open: Vec<Opened>, taken: oneshot::Sender<()> },
    /// Share the listening sockets, each under its configured address.
    Share(oneshot::Sender<Vec<(SocketAddr, std::net::TcpListener)>>),
    /// A connection that another, busier worker accepted.
    Adopt { stream: std::net::TcpStream, arrived: Arrived },
}

/// An operator's wish that a new process take over.
#[derive(Debug)]
pub struct Wish {
    /// The action's row, to be written before the store changes hands.
    pub begun: ActionFacts,
    /// Whether that row is on disk is told along.
    pub told: oneshot::Sender<Result<Upgraded, ControlError>>,
}

/// A worker, seen from elsewhere.
#[derive(Debug)]
pub struct WorkerHandle {
    pub orders: mpsc::Sender<Order>,
    pub load: Arc<Load>,
}

/// See the module.
pub struct Daemon {
    pub source: ConfigSource,
    pub started: SystemTime,
    pub started_at: Instant,
    /// Where the control socket lies.
    pub socket: PathBuf,
    pub audit: Arc<audit::Writer>,
    pub metrics: Arc<Metrics>,
    pub access_log: Arc<AccessLog>,
    pub diagnostics: Diagnostics,
    pub workers: Box<[WorkerHandle]>,
    /// Client connections by address.
    pub crowd: Arc<Crowd>,
    /// What a snapshot is compiled amid.
    pub amid: Amid,
    /// Endpoints came, went or were set otherwise: whoever tends them looks.
    endpoints: Notify,
    life: watch::Sender<Life>,
    wishes: mpsc::Sender<Wish>,
    is_upgrading: AtomicBool,
    is_succeeded: AtomicBool,
    current: ArcSwap<Snapshot>,
    /// The generation committed last: what workers compare theirs with, so that no request reads the pointer itself.
    committed: AtomicU64,
    /// Snapshots that some worker may still hold: kept here, so that the last one to let go of them, and to free what may
    /// be a hundred thousand routes, is never a worker.
    retired: Mutex<Vec<Arc<Snapshot>>>,
    /// The addresses that traffic listeners are bound to (a configured port 0 is told as the one it became).
    listening: Mutex<Vec<(SocketAddr, SocketAddr)>>,
}

/// What a daemon is put together from.
pub struct Parts {
    pub source: ConfigSource,
    pub socket: PathBuf,
    pub audit: Arc<audit::Writer>,
    pub metrics: Arc<Metrics>,
    pub access_log: Arc<AccessLog>,
    pub diagnostics: Diagnostics,
    pub workers: Box<[WorkerHandle]>,
    pub snapshot: Snapshot,
    pub amid: Amid,
    /// Where wishes for an upgrade go.
    pub wishes: mpsc::Sender<Wish>,
}

impl Daemon {
    /// A reading of a worker's clock, as the timers tell time.
    pub fn instant(&self, now: Now) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.started_at + Duration::from_micros(now.instant_us))
    }

    /// Microseconds since the start: what workers' clocks tell too.
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.started_at.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Puts a daemon together; it is starting.
    pub fn new(parts: Parts) -> Self {
        Self {
            source: parts.source,
            started: SystemTime::now(),
            started_at: Instant::now(),
            socket: parts.socket,
            audit: parts.audit,
            metrics: parts.metrics,
            access_log: parts.access_log,
            diagnostics: parts.diagnostics,
            workers: parts.workers,
            crowd: Arc::default(),
            amid: parts.amid,
            endpoints: Notify::new(),
            life: watch::channel(Life::Starting).0,
            wishes: parts.wishes,
            is_upgrading: AtomicBool::new(false),
            is_succeeded: AtomicBool::new(false),
            committed: AtomicU64::new(parts.snapshot.generation()),
            current: ArcSwap::from_pointee(parts.snapshot),
            retired: Mutex::default(),
            listening: Mutex::default(),
        }
    }

    /// The snapshot in force.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// The number of the generation committed last.
    pub fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// Puts a snapshot in force: the one store to which nothing before it commits and after which nothing can fail. Only
    /// `reload` calls this.
    pub(crate) fn store(&self, snapshot: Arc<Snapshot>) {
        let generation = snapshot.generation();
        // What was set since it was compiled was answered for already: no request may be chosen for without it.
        for upstream in &snapshot.upstreams {
            upstream.gather(&self.amid.registry.overlay(&upstream.config.name), self.now_us(), None);
        }
        let before = self.current.swap(snapshot);
        self.committed.store(generation, Ordering::Release);
        self.endpoints_changed();
        self.retired.lock().unwrap_or_else(PoisonError::into_inner).push(before);
    }

    /// What was set or registered of an upstream's endpoints is in force from now on; for requests too that began before a
    /// reload and are still to be sent, or sent again.
    pub fn gather(&self, upstream: &str) {
        let snapshot = self.snapshot();
        let overlay = self.amid.registry.overlay(upstream);
        if let Some(current) = snapshot.upstream(upstream) {
            current.gather(&overlay, self.now_us(), None);
            let members = current.members();
            let retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
            let earlier = retired.iter().filter_map(|snapshot| snapshot.upstream(upstream));
            for earlier in earlier.filter(|earlier| !Arc::ptr_eq(earlier, current)) {
                earlier.gather(&overlay, self.now_us(), Some(&members));
            }
        }
        self.endpoints_changed();
    }

    /// The endpoint at this address of an upstream.
    pub fn member(&self, upstream: &str, address: &str) -> Option<Member> {
        let snapshot = self.snapshot();
        snapshot.upstream(upstream)?.members().find(address).cloned()
    }

    /// Endpoints came, went or were set otherwise.
    pub fn endpoints_changed(&self) {
        self.endpoints.notify_one();
    }

    /// The next such change, or one that was not waited for. For the one who tends them.
    pub async fn endpoints_change(&self) {
        self.endpoints.notified().await;
    }

    /// Frees the snapshots that no worker holds any more. Called on the control thread from time to time; a large one takes
    /// its time to free, which that thread has better uses for.
    pub fn free_retired(&self) {
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        let (held, free): (Vec<_>, Vec<_>) =
            std::mem::take(&mut *retired).into_iter().partition(|snapshot| Arc::strong_count(snapshot) > 1);
        *retired = held;
        drop(retired);
        if !free.is_empty() {
            tokio::task::spawn_blocking(move || drop(free));
        }
    }

    /// Where it is in its life.
    pub fn life(&self) -> Life {
        *self.life.borrow()
    }

    /// Told of every change of life.
    pub fn watch_life(&self) -> watch::Receiver<Life> {
        self.life.subscribe()
    }

    /// Moves on in life; never back.
    pub fn enter(&self, life: Life) {
        self.life.send_if_modified(|now| {
            let later = (life as u8) > (*now as u8);
            if later {
                *now = life;
            }
            later
        });
    }

    /// Passes on the wish for an upgrade; one at a time.
    pub fn wish(&self, wish: Wish) -> Result<(), ControlError> {
        if matches!(self.life(), Life::Draining | Life::Stopping) {
            return Err(ControlError::new(ErrorCode::Stopping, "the daemon is stopping; nothing takes over from it"));
        }
        let busy = || ControlError::new(ErrorCode::Busy, "an upgrade is under way already");
        if self.is_upgrading.swap(true, Ordering::SeqCst) {
            return Err(busy());
        }
        self.wishes.try_send(wish).map_err(|_| busy())
    }

    /// The upgrade has failed, and another may be tried.
    pub(crate) fn goes_on(&self) {
        self.is_upgrading.store(false, Ordering::SeqCst);
    }

    /// Another process serves from now on; what is under way here ends.
    pub(crate) fn succeeded(&self) {
        self.is_succeeded.store(true, Ordering::SeqCst);
        self.enter(Life::Draining);
    }

    /// Whether another process has taken over.
    pub fn is_succeeded(&self) -> bool {
        self.is_succeeded.load(Ordering::SeqCst)
    }

    /// Open client connections over all workers.
    pub fn connections(&self) -> usize {
        self.workers.iter().map(|worker| worker.load.connections()).sum()
    }

    /// Notes what the listeners are bound to: configured and real address of each.
    pub(crate) fn set_listening(&self, addresses: Vec<(SocketAddr, SocketAddr)>) {
        *self.listening.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    /// What the listeners are bound to: configured and real address of each.
    pub fn listening(&self) -> Vec<(SocketAddr, SocketAddr)> {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
