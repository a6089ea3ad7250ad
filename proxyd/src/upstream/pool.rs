//! A worker's connections to one endpoint. Used on one thread only: no lock, no atomics.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use shared::config;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::connect::{self, Connection};
use super::{AttemptError, Endpoint};
use crate::exchange::{Ended, EndpointTag, Ledger, RequestBody, Upload};
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
    ledger: Rc<Ledger>,
}

struct Idle {
    connection: Connection,
    since_us: u64,
}

/// This worker's share of the configured bounds.
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
            idle: share(config.idle),
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
    pub async fn lease(self: &Rc<Self>, connect_within: Duration, fresh: bool) -> Result<Lease, AttemptError> {
        if !fresh && let Some(connection) = self.take_idle() {
            return Ok(self.hand_out(connection, true));
        }
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
    }

    /// Waits until a connection is free or may be opened.
    async fn wait(&self, within: Duration) -> Result<Option<Connection>, AttemptError> {
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

    fn hand_out(self: &Rc<Self>, connection: Connection, reused: bool) -> Lease {
        self.busy.set(self.busy.get() + 1);
        Lease::of(self, connection, reused)
    }

    /// The newest idle connection that is alive and ready; dead ones met on the way are dropped.
    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let mut index = idle.len();
        while let Some(candidate) = index.checked_sub(1).and_then(|last| idle.get(last)) {
            index -= 1;
            let sender = &candidate.connection.sender;
            if sender.is_closed() {
                let dead = idle.remove(index);
                self.close(&dead.connection);
            } else if sender.is_ready() {
                self.cells.idle_ended();
                return Some(idle.remove(index).connection);
            }
        }
        None
    }

    fn give_back(&self, connection: Connection) {
        let full = self.idle.borrow().len() >= self.bounds.borrow().idle;
        if full || connection.sender.is_closed() {
            self.discard(&connection.task);
        } else {
            self.cells.idle_began();
            let since_us = self.ledger.clock.latest_us();
            self.idle.borrow_mut().push(Idle { connection, since_us });
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

    /// Closes an idle connection.
    fn close(&self, connection: &Connection) {
        self.cells.idle_ended();
        self.discard(&connection.task);
    }

    fn discard(&self, task: &AbortHandle) {
        self.cells.connection_closed();
        task.abort();
    }

    /// Closes what was idle for too long, or is closed already.
    pub fn sweep(&self, now_us: u64) {
        let idle_for_us = self.bounds.borrow().idle_for_us;
        let mut idle = self.idle.borrow_mut();
        let (keep, go) = std::mem::take(&mut *idle).into_iter().partition(|entry: &Idle| {
            !entry.connection.sender.is_closed() && now_us.saturating_sub(entry.since_us) < idle_for_us
        });
        *idle = keep;
        for entry in go {
            self.close(&entry.connection);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for entry in std::mem::take(&mut *self.idle.borrow_mut()) {
            self.close(&entry.connection);
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
    connection: Option<Connection>,
    /// Whether it served before: it may then have died unnoticed.
    pub reused: bool,
    /// The request body that goes out on it: until it has ended, the connection is not free.
    upload: Option<Rc<Upload>>,
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
    fn of(pool: &Rc<Pool>, connection: Connection, reused: bool) -> Self {
        Self { pool: Rc::clone(pool), connection: Some(connection), reused, upload: None, in_flight: None }
    }

    /// The request that it serves, counted.
    pub fn counts(&mut self, in_flight: InFlight) {
        self.in_flight = Some(in_flight);
    }

    /// The sending half.
    pub fn sender(&mut self) -> Option<&mut SendRequest<RequestBody>> {
        self.connection.as_mut().map(|connection| &mut connection.sender)
    }

    /// The body that goes out on it.
    pub fn carries(&mut self, upload: &Rc<Upload>) {
        self.upload = Some(Rc::clone(upload));
    }

    /// The connection became a tunnel: it is no longer the pool's, but counts until the tunnel closes.
    pub fn into_tunnel(mut self) -> TunnelLease {
        if let Some(connection) = self.connection.take() {
            drop(connection);
        }
        TunnelLease { pool: Rc::clone(&self.pool), _in_flight: self.in_flight.take() }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.discard(&connection.task);
            self.pool.freed();
        }
    }
}

impl Ended for Lease {
    fn ended(mut self: Box<Self>, whole: bool) {
        let sent = self.upload.as_ref().is_none_or(|upload| upload.ended());
        if whole
            && sent
            && let Some(connection) = self.connection.take()
        {
            self.pool.give_back(connection);
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
