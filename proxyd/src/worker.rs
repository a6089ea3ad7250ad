//! The workers: one thread per core, each with a runtime, listeners, connections and counters of its own. Only this file
//! starts a thread or a runtime for traffic.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::audit::Recorder;
use crate::daemon::{Daemon, Order};
use crate::exchange::{Ledger, Load, RouteTag, Terms};
use crate::fleet::Fleet;
use crate::identity::bans::Terms as BanTerms;
use crate::identity::{Look, Tunnels};
use crate::outside::Outside;
use crate::snapshot::Snapshot;
use crate::telemetry::access_log::WorkerLog;
use crate::telemetry::clock::Clock;
use crate::telemetry::ids::{Ids, Random, Seed};
use crate::upstream::LocalUpstream;

/// How often a worker hands over what it wrote down, and looks after its connections.
const TICK: Duration = Duration::from_millis(50);

/// Idle upstream connections and open tunnels are looked through every so many ticks.
const TICKS_PER_SWEEP: u32 = 20;

/// Names that a worker resolves at once: each takes a thread while the system's resolver works.
const RESOLVERS: usize = 8;

/// A worker, seen from its own thread.
pub struct Worker {
    pub index: usize,
    pub daemon: Arc<Daemon>,
    pub ledger: Rc<Ledger>,
    pub load: Arc<Load>,
    /// Cancelled when connections shall end as soon as their request does.
    pub draining: CancellationToken,
    /// Cancelled when those that can be told goodbye are told: with a stop at once, after an upgrade when the time is nearly up.
    pub parting: CancellationToken,
    /// Told when the last connection has gone.
    pub emptied: Rc<Notify>,
    /// Those that are open.
    pub tunnels: Rc<Tunnels>,
    local: RefCell<Rc<Local>>,
    generation: Cell<u64>,
    upstreams: RefCell<HashMap<Arc<str>, Rc<LocalUpstream>>>,
}

/// A snapshot with this worker's own halves, by the snapshot's indices. They are found or made on first use: a reload
/// costs a worker nothing that grows with the config but two rows of empty cells.
pub struct Local {
    pub snapshot: Arc<Snapshot>,
    pub terms: Rc<Terms>,
    routes: Box<[OnceCell<Rc<RouteTag>>]>,
    upstreams: Box<[OnceCell<Rc<LocalUpstream>>]>,
}

impl Local {
    fn new(snapshot: Arc<Snapshot>) -> Self {
        let config = &snapshot.checked.config;
        let terms = Terms {
            generation: snapshot.generation(),
            log: (config.log.access != shared::config::AccessLog::Off).then_some(config.log.format),
            slow: config.log.slow_request,
            audit: config.audit.requests,
            limits: snapshot.limiters.iter().map(|_| OnceCell::new()).collect(),
            auth: (0..snapshot.identities.count()).map(|_| OnceCell::new()).collect(),
        };
        Self {
            terms: Rc::new(terms),
            routes: snapshot.routes.iter().map(|_| OnceCell::new()).collect(),
            upstreams: snapshot.upstreams.iter().map(|_| OnceCell::new()).collect(),
            snapshot,
        }
    }

    /// A route's name and counters.
    pub fn route(&self, index: usize, ledger: &Ledger) -> Option<&Rc<RouteTag>> {
        let name = &self.snapshot.routes.get(index)?.name;
        let tag = || Rc::new(RouteTag { name: (**name).into(), cells: ledger.metrics.route(name) });
        Some(self.routes.get(index)?.get_or_init(tag))
    }

    /// This worker's half of an upstream.
    pub fn upstream(&self, index: usize, worker: &Worker) -> Option<&Rc<LocalUpstream>> {
        let shared = self.snapshot.upstreams.get(index)?;
        Some(self.upstreams.get(index)?.get_or_init(|| worker.local_upstream(shared)))
    }
}

impl Worker {
    /// This worker's view of the snapshot in force: one comparison, unless there is a new one.
    pub fn local(&self) -> Rc<Local> {
        if self.daemon.committed() != self.generation.get() {
            self.refresh();
        }
        Rc::clone(&self.local.borrow())
    }

    /// Whether some upstream is told where connections were made to.
    pub fn tells_where(&self) -> bool {
        self.local().snapshot.tells_where
    }

    /// Takes the snapshot in force.
    pub fn refresh(&self) {
        let snapshot = self.daemon.snapshot();
        self.generation.set(snapshot.generation());
        let names = &snapshot.names;
        self.upstreams.borrow_mut().retain(|name, _| names.has_upstream(name));
        self.ledger.metrics.retain_routes(|name| snapshot.has_route(name));
        self.ledger.metrics.retain_endpoints(|upstream, address| names.has_endpoint(upstream, address));
        self.ledger.metrics.retain_limits(|scope, rule| names.has_limit(scope, rule));
        *self.local.borrow_mut() = Rc::new(Local::new(snapshot));
    }

    fn local_upstream(&self, shared: &Arc<crate::upstream::Upstream>) -> Rc<LocalUpstream> {
        let mut upstreams = self.upstreams.borrow_mut();
        let before = upstreams.get(&shared.config.name);
        if let Some(same) = before.filter(|before| Arc::ptr_eq(&before.upstream, shared)) {
            return Rc::clone(same);
        }
        let workers = self.daemon.workers.len();
        let local = LocalUpstream::new(shared, before.map(Rc::as_ref), self.index, workers, &self.ledger);
        let local = Rc::new(local);
        upstreams.insert(Arc::clone(&shared.config.name), Rc::clone(&local));
        local
    }

    /// Whether another worker has clearly less to do: it should take the next connection. A few long-lived connections
    /// are spread as evenly as many short ones, and the kernel's own spreading is left alone where it is good enough.
    pub fn less_busy(&self) -> Option<&crate::daemon::WorkerHandle> {
        let mine = self.load.expected();
        let (index, least) = self.daemon.workers.iter().enumerate().min_by_key(|(_, worker)| worker.load.expected())?;
        (index != self.index && mine > least.load.expected() + mine / 8).then_some(least)
    }

    async fn tick(self: Rc<Self>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut count = 0u32;
        loop {
            ticks.tick().await;
            self.hand_over();
            count = count.wrapping_add(1);
            if count.is_multiple_of(TICKS_PER_SWEEP) {
                let now_us = self.ledger.clock.now().instant_us;
                for upstream in self.upstreams.borrow().values() {
                    upstream.sweep(now_us);
                }
                if !self.tunnels.is_empty() {
                    self.tunnels.look(&self.look(&self.local()));
                }
            }
        }
    }

    /// What tunnels are judged by now.
    pub fn look<'a>(&'a self, local: &'a Local) -> Look<'a> {
        Look {
            state: &self.daemon.amid.identity,
            bans: BanTerms::of(&local.snapshot.checked.config),
            generation: local.snapshot.generation(),
            now_s: self.ledger.clock.latest().unix_us.div_euclid(1_000_000),
        }
    }

    fn hand_over(&self) {
        self.ledger.clock.refresh();
        self.ledger.log.flush();
        self.ledger.audit.flush();
    }
}

/// What a worker's thread is started with.
pub struct Start {
    pub index: usize,
    pub load: Arc<Load>,
    pub orders: mpsc::Receiver<Order>,
    pub recorder: Recorder,
    pub seed: Seed,
    pub log: WorkerLog,
}

/// Starts a worker's thread. `serve` is its life: it ends when the last connection has, or is cut.
pub fn start<F, S>(start: Start, daemon: &Arc<Daemon>, serve: S) -> io::Result<JoinHandle<()>>
where
    S: FnOnce(Rc<Worker>, mpsc::Receiver<Order>) -> F + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    let daemon = Arc::clone(daemon);
    std::thread::Builder::new().name(format!("worker-{}", start.index)).spawn(move || {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(RESOLVERS)
            .build_local(LocalOptions::default());
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "a worker could not start its runtime");
                return;
            }
        };
        let metrics = daemon.metrics.worker(start.index);
        let ledger = Ledger {
            clock: Clock::new(daemon.started_at),
            ids: Ids::new(start.seed, start.index as u16),
            random: Random::of_worker(start.seed, start.index as u16),
            fleet: Fleet::new(metrics.store()),
            metrics,
            log: start.log,
            audit: start.recorder,
            outside: Outside::default(),
        };
        let snapshot = daemon.snapshot();
        let worker = Rc::new(Worker {
            index: start.index,
            ledger: Rc::new(ledger),
            load: start.load,
            draining: CancellationToken::new(),
            parting: CancellationToken::new(),
            emptied: Rc::default(),
            tunnels: Rc::default(),
            generation: Cell::new(snapshot.generation()),
            local: RefCell::new(Rc::new(Local::new(snapshot))),
            upstreams: RefCell::default(),
            daemon,
        });
        runtime.block_on(async {
            let ticking = tokio::task::spawn_local(Rc::clone(&worker).tick());
            serve(Rc::clone(&worker), start.orders).await;
            ticking.abort();
        });
        // Dropping the runtime ends what is still under way; only then is everything written down.
        drop(runtime);
        worker.hand_over();
    })
}
