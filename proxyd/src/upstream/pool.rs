//! A worker's connections to one endpoint. Used on one thread only: no lock, no atomics.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http1::Wire;
use shared::config;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{AttemptError, Endpoint, connect};
use crate::exchange::{EndpointTag, Ledger, Socket};
use crate::telemetry::metrics::EndpointCells;

/// See the module.
pub struct Pool {
    pub endpoint: Arc<Endpoint>,
    pub tag: Rc<EndpointTag>,
    pub cells: Arc<EndpointCells>,
    /// Newest last: the one most likely still alive is taken first, and the others can grow old and go.
    idle: RefCell<Vec<Idle>>,
    /// Connections that serve a request, or are being opened for one.
    busy: Cell<usize>,
    waiting: Cell<usize>,
    freed: Notify,
    bounds: RefCell<Bounds>,
    expected: Cell<usize>,
    ledger: Rc<Ledger>,
}

struct Idle {
    wire: Wire<Socket>,
    since_us: u64,
}

/// This worker's bounds: its share of those that are for all.
#[derive(Debug)]
struct Bounds {
    idle: usize,
    idle_for_us: u64,
    connections: usize,
    queue: usize,
}

impl Bounds {
    fn share(config: &config::Pool, workers: usize) -> Self {
        let share = |whole: usize| whole.div_ceil(workers.max(1));
        Self {
            // For each worker: a share of it would be next to nothing where there are many.
            idle: config.idle,
            idle_for_us: config.idle_for.as_micros() as u64,
            connections: share(config.connections).max(1),
            queue: share(config.queue),
        }
    }
}

impl Pool {
    /// An empty pool.
    pub fn new(endpoint: &Arc<Endpoint>, config: &config::Pool, workers: usize, ledger: &Rc<Ledger>) -> Self {
        Self {
            endpoint: Arc::clone(endpoint),
            tag: Rc::new(EndpointTag { upstream: (*endpoint.upstream).into(), address: (*endpoint.address).into() }),
            cells: ledger.metrics.endpoint(&endpoint.upstream, &endpoint.address),
            idle: RefCell::default(),
            busy: Cell::new(0),
            waiting: Cell::new(0),
            freed: Notify::new(),
            bounds: RefCell::new(Bounds::share(config, workers)),
            expected: Cell::new(0),
            ledger: Rc::clone(ledger),
        }
    }

    /// Takes over new bounds.
    pub fn resize(&self, config: &config::Pool, workers: usize) {
        self.bounds.replace(Bounds::share(config, workers));
    }

    /// A connection for one request: an idle one, a new one, or the next to become free.
    ///
    /// `fresh` asks for a new one: an idle one has just died under the same request.
    pub async fn lease(
        self: &Rc<Self>,
        connect_within: Duration,
        until: Option<Instant>,
        fresh: bool,
    ) -> Result<Lease, AttemptError> {
        if !fresh && let Some(connection) = self.take_idle() {
            return Ok(self.hand_out(connection, true));
        }
        let opened = self.open(connect_within);
        match until {
            None => opened.await,
            // Rare and short: a timer of its own may be made and dropped.
            Some(until) => tokio::time::timeout_at(until, opened).await.unwrap_or(Err(AttemptError::OutOfTime)),
        }
    }

    /// A new connection, or the next to become free where no more may be opened. Apart on the heap: nearly all requests
    /// find a connection that is idle.
    fn open(
        self: &Rc<Self>,
        connect_within: Duration,
    ) -> Pin<Box<dyn Future<Output = Result<Lease, AttemptError>> + '_>> {
        Box::pin(async move {
            if self.busy.get() >= self.bounds.borrow().connections {
                let waited = self.wait(connect_within).await?;
                if let Some(connection) = waited {
                    return Ok(self.hand_out(connection, true));
                }
            }
            let opening = Opening::new(self);
            let started = self.ledger.clock.now();
            let connection = connect::connect(&self.endpoint, connect_within).await?;
            opening.done();
            self.cells.connection_opened(self.ledger.clock.now().since_us(started));
            Ok(Lease::of(self, connection, false))
        })
    }

    /// Waits until a connection is free or may be opened.
    async fn wait(&self, within: Duration) -> Result<Option<Wire<Socket>>, AttemptError> {
        if self.waiting.get() >= self.bounds.borrow().queue {
            return Err(AttemptError::QueueFull);
        }
        let _queued = Queued::new(&self.waiting);
        let free = async {
            loop {
                self.freed.notified().await;
                if let Some(connection) = self.take_idle() {
                    return Some(connection);
                }
                if self.busy.get() < self.bounds.borrow().connections {
                    return None;
                }
            }
        };
        tokio::time::timeout(within, free).await.map_err(|_| AttemptError::QueueTimeout)
    }

    fn hand_out(self: &Rc<Self>, connection: Wire<Socket>, reused: bool) -> Lease {
        self.busy.set(self.busy.get() + 1);
        Lease::of(self, connection, reused)
    }

    /// The newest idle connection that is alive and ready; dead ones met on the way are dropped.
    fn take_idle(&self) -> Option<Wire<Socket>> {
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { wire, .. }) = idle.pop() {
            self.cells.idle_ended();
            if wire.is_reusable() {
                return Some(wire);
            }
            self.cells.connection_closed();
        }
        None
    }

    fn give_back(&self, wire: Wire<Socket>) {
        let full = self.idle.borrow().len() >= self.bounds.borrow().idle;
        if full {
            self.cells.connection_closed();
        } else {
            self.cells.idle_began();
            let since_us = self.ledger.clock.latest_us();
            self.idle.borrow_mut().push(Idle { wire, since_us });
        }
        self.freed();
    }

    /// A busy connection is no longer.
    fn freed(&self) {
        self.busy.set(self.busy.get().saturating_sub(1));
        if self.waiting.get() > 0 {
            self.freed.notify_one();
        }
    }

    /// Closes what was idle for too long, or is closed already.
    pub fn sweep(&self, now_us: u64) {
        let idle_for_us = self.bounds.borrow().idle_for_us;
        self.idle.borrow_mut().retain_mut(|entry| {
            let keep = now_us.saturating_sub(entry.since_us) < idle_for_us && entry.wire.is_reusable();
            if !keep {
                self.closed_idle();
            }
            keep
        });
    }

    fn closed_idle(&self) {
        self.cells.idle_ended();
        self.cells.connection_closed();
    }

    /// How much to expect of the next answer at once: what the largest of late brought.
    pub fn expected(&self) -> usize {
        self.expected.get()
    }

    /// An answer announced so many bytes. The expectation rises at once and falls slowly.
    pub fn note_answer(&self, bytes: usize) {
        let before = self.expected.get();
        self.expected.set(if bytes >= before { bytes } else { before - (before - bytes) / 16 });
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for _ in self.idle.borrow_mut().drain(..) {
            self.closed_idle();
        }
    }
}

/// Counts a connection that is being opened as busy; uncounts it when that fails or is given up.
struct Opening<'a> {
    pool: &'a Pool,
    done: Cell<bool>,
}

impl<'a> Opening<'a> {
    fn new(pool: &'a Pool) -> Self {
        pool.busy.set(pool.busy.get() + 1);
        Self { pool, done: Cell::new(false) }
    }

    fn done(self) {
        self.done.set(true);
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        if !self.done.get() {
            self.pool.freed();
        }
    }
}

/// Counts a waiting request, however it stops waiting.
struct Queued<'a>(&'a Cell<usize>);

impl<'a> Queued<'a> {
    fn new(waiting: &'a Cell<usize>) -> Self {
        waiting.set(waiting.get() + 1);
        Self(waiting)
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// A connection lent to one request. Given back when its answer has ended whole; closed otherwise.
pub struct Lease {
    pool: Rc<Pool>,
    wire: Option<Wire<Socket>>,
    /// Whether it served before: it may then have died unnoticed.
    pub reused: bool,
    spoilt: bool,
    in_flight: Option<InFlight>,
}

/// Counts a request with its endpoint until it is over, body and all.
pub struct InFlight(Arc<EndpointCells>);

impl InFlight {
    /// A request begins.
    pub fn start(pool: &Pool) -> Self {
        pool.cells.request_started();
        Self(Arc::clone(&pool.cells))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.request_finished();
    }
}

impl Lease {
    fn of(pool: &Rc<Pool>, wire: Wire<Socket>, reused: bool) -> Self {
        Self { pool: Rc::clone(pool), wire: Some(wire), reused, spoilt: false, in_flight: None }
    }

    /// The request that it serves, counted.
    pub fn counts(&mut self, in_flight: InFlight) {
        self.in_flight = Some(in_flight);
    }

    /// The connection.
    pub fn wire(&self) -> Option<&Wire<Socket>> {
        self.wire.as_ref()
    }

    /// The connection.
    pub fn wire_mut(&mut self) -> Option<&mut Wire<Socket>> {
        self.wire.as_mut()
    }

    /// It is not to serve again, however its exchange ends.
    pub fn spoil(&mut self) {
        self.spoilt = true;
    }

    /// The exchange on it has ended whole, in both directions: it may serve again.
    pub fn give_back(&mut self) {
        if !self.spoilt
            && let Some(wire) = self.wire.take()
        {
            self.pool.give_back(wire);
        }
        self.in_flight = None;
    }

    /// The connection became a tunnel: it is no longer the pool's, but counts until the tunnel closes.
    pub fn into_tunnel(mut self) -> Option<(Wire<Socket>, TunnelLease)> {
        let wire = self.wire.take()?;
        Some((wire, TunnelLease { pool: Rc::clone(&self.pool), _in_flight: self.in_flight.take() }))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.wire.take().is_some() {
            self.pool.cells.connection_closed();
            self.pool.freed();
        }
    }
}

/// A tunnel's place among its endpoint's connections.
pub struct TunnelLease {
    pool: Rc<Pool>,
    _in_flight: Option<InFlight>,
}

impl Drop for TunnelLease {
    fn drop(&mut self) {
        self.pool.cells.connection_closed();
        self.pool.freed();
    }
}
