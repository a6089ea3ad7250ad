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

use super::channel::{Channel, StreamLease};
use super::lease::{Lease, Leased};
use super::way::{Asks, Way};
use super::{AttemptError, Endpoint, connect};
use crate::exchange::{EndpointTag, Ledger, Socket};
use crate::telemetry::metrics::EndpointCells;

/// See the module.
pub struct Pool {
    pub endpoint: Arc<Endpoint>,
    pub tag: Rc<EndpointTag>,
    pub cells: Arc<EndpointCells>,
    pub way: Way,
    /// Newest last: the one most likely still alive is taken first, and the others can grow old and go.
    idle: RefCell<Vec<Idle>>,
    /// Those of HTTP/2, whether they serve or not.
    channels: RefCell<Vec<Rc<Channel>>>,
    /// Whether one of them is being opened: one is enough for many requests.
    opening: Cell<bool>,
    /// Whether the endpoint, asked what it speaks, chose HTTP/2 the last time; none before it was asked.
    chose_http2: Cell<Option<bool>>,
    /// Connections that serve a request, or are being opened for one, or speak HTTP/2.
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

/// How long it may take until a connection is there.
#[derive(Clone, Copy, Debug)]
pub struct Within {
    /// To an established connection of TCP; and in the queue for one that becomes free.
    pub connect: Duration,
    /// For the handshake of TLS.
    pub tls: Duration,
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
    pub fn new(
        endpoint: &Arc<Endpoint>,
        way: &Way,
        config: &config::Pool,
        worker: usize,
        workers: usize,
        ledger: &Rc<Ledger>,
    ) -> Self {
        let cells = ledger.metrics.endpoint(&endpoint.upstream, &endpoint.address);
        endpoint.counted_by(worker, &cells);
        Self {
            endpoint: Arc::clone(endpoint),
            tag: Rc::new(EndpointTag { upstream: (*endpoint.upstream).into(), address: (*endpoint.address).into() }),
            cells,
            way: way.clone(),
            idle: RefCell::default(),
            channels: RefCell::default(),
            opening: Cell::new(false),
            chose_http2: Cell::new(way.speaks_http2()),
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

    /// A connection for one request: an idle one or a place on one that serves many, a new one, or the next to become free.
    ///
    /// `fresh` asks for a new one: an idle one has just died under the same request.
    pub async fn lease(
        self: &Rc<Self>,
        asks: &Asks,
        within: Within,
        until: Option<Instant>,
        fresh: bool,
    ) -> Result<Leased, AttemptError> {
        if !fresh && let Some(leased) = self.take(asks) {
            return Ok(leased);
        }
        let opened = self.open(asks, within);
        match until {
            None => opened.await,
            // Rare and short: a timer of its own may be made and dropped.
            Some(until) => tokio::time::timeout_at(until, opened).await.unwrap_or(Err(AttemptError::OutOfTime)),
        }
    }

    /// What is there already.
    fn take(self: &Rc<Self>, asks: &Asks) -> Option<Leased> {
        if !self.channels.borrow().is_empty()
            && self.may_speak_http2(asks)
            && let Some(stream) = self.take_stream()
        {
            return Some(Leased::Stream(stream));
        }
        // With a PROXY header a connection is one client's.
        if self.way.proxy_header.is_some() {
            return None;
        }
        self.take_idle().map(|connection| Leased::Wire(self.hand_out(connection, true)))
    }

    /// Whether such a request goes over HTTP/2, as far as is known; one may be asked what many would ask.
    fn may_speak_http2(&self, asks: &Asks) -> bool {
        self.chose_http2.get().unwrap_or(true) && (self.way.is_http2() || !asks.upgrades)
    }

    /// Whether a connection that will serve many is on its way.
    fn opens(&self) -> bool {
        self.opening.get() || self.channels.borrow().iter().any(|channel| channel.is_settling())
    }

    fn take_stream(self: &Rc<Self>) -> Option<StreamLease> {
        let channels = self.channels.borrow();
        let channel = channels.iter().find(|channel| channel.has_room())?;
        Some(StreamLease::of(self, channel, true))
    }

    /// A new connection, or the next to become free where no more may be opened. Apart on the heap: nearly all requests
    /// find a connection that is idle.
    fn open<'a>(
        self: &'a Rc<Self>,
        asks: &'a Asks,
        within: Within,
    ) -> Pin<Box<dyn Future<Output = Result<Leased, AttemptError>> + 'a>> {
        Box::pin(async move {
            let many = self.may_speak_http2(asks);
            let is_full = || self.busy.get() >= self.bounds.borrow().connections;
            if (is_full() || (many && self.opens()))
                && let Some(leased) = self.wait(asks, within.connect).await?
            {
                return Ok(leased);
            }
            let opening = Opening::new(self, many);
            let started = self.ledger.clock.now();
            let connected = connect::connect(&self.endpoint, &self.way, asks, within).await?;
            if !asks.upgrades {
                self.chose_http2.set(Some(connected.http2));
            }
            let leased = if connected.http2 {
                let channel = Channel::open(connected.socket, &self.way, self).await?;
                self.channels.borrow_mut().push(Rc::clone(&channel));
                Leased::Stream(StreamLease::of(self, &channel, false))
            } else {
                let mut lease = Lease::of(self, Wire::new(connected.socket), false);
                if self.way.proxy_header.is_some() {
                    lease.spoil();
                }
                Leased::Wire(lease)
            };
            opening.done();
            self.cells.connection_opened(self.ledger.clock.now().since_us(started));
            Ok(leased)
        })
    }

    /// Waits until a connection is free or may be opened.
    async fn wait(self: &Rc<Self>, asks: &Asks, within: Duration) -> Result<Option<Leased>, AttemptError> {
        if self.waiting.get() >= self.bounds.borrow().queue {
            return Err(AttemptError::QueueFull);
        }
        let _queued = Queued::new(&self.waiting);
        let free = async {
            loop {
                self.freed.notified().await;
                if let Some(leased) = self.take(asks) {
                    return Some(leased);
                }
                let opens = self.opens() && self.may_speak_http2(asks);
                if !opens && self.busy.get() < self.bounds.borrow().connections {
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
        while let Some(Idle { mut wire, .. }) = idle.pop() {
            self.cells.idle_ended();
            if is_reusable(&mut wire) {
                return Some(wire);
            }
            self.cells.connection_closed();
        }
        None
    }

    pub(super) fn give_back(&self, wire: Wire<Socket>) {
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
    pub(super) fn freed(&self) {
        self.busy.set(self.busy.get().saturating_sub(1));
        if self.waiting.get() > 0 {
            self.freed.notify_one();
        }
    }

    /// Closes what was idle for too long, or is closed already.
    pub fn sweep(&self, now_us: u64) {
        let idle_for_us = self.bounds.borrow().idle_for_us;
        self.idle.borrow_mut().retain_mut(|entry| {
            let keep = now_us.saturating_sub(entry.since_us) < idle_for_us && is_reusable(&mut entry.wire);
            if !keep {
                self.closed_idle();
            }
            keep
        });
        // The connection ends once nobody may send on it; then it is counted as closed.
        self.channels.borrow_mut().retain(|channel| {
            let idle_us = now_us.saturating_sub(channel.idle_since_us.get());
            let is_idle = channel.is_idle();
            let is_old = is_idle && idle_us >= idle_for_us;
            let keep = !channel.is_closed.get() && !is_old;
            if !keep && is_idle {
                self.cells.idle_ended();
            }
            keep
        });
    }

    /// A connection of HTTP/2 can be used by all.
    pub(super) fn channel_settled(&self) {
        self.freed.notify_waiters();
    }

    /// A connection of HTTP/2 has ended.
    pub(super) fn channel_ended(&self) {
        self.channels.borrow_mut().retain(|channel| {
            let keep = !channel.is_closed.get();
            if !keep && channel.is_idle() {
                self.cells.idle_ended();
            }
            keep
        });
        self.freed();
        // Whoever waited for it opens one of its own.
        self.freed.notify_waiters();
    }

    /// A place on a connection of HTTP/2 is free.
    pub(super) fn stream_freed(&self) {
        if self.waiting.get() > 0 {
            self.freed.notify_one();
        }
    }

    pub(super) fn now_us(&self) -> u64 {
        self.ledger.clock.latest_us()
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
        for channel in self.channels.borrow_mut().drain(..) {
            if channel.is_idle() {
                self.cells.idle_ended();
            }
        }
    }
}

/// Whether an idle connection may serve again: nothing came, and the other side has not ended it.
fn is_reusable(wire: &mut Wire<Socket>) -> bool {
    wire.input.is_empty() && !wire.has_ended() && wire.stream.is_quiet()
}

/// Counts a connection that is being opened as busy; uncounts it when that fails or is given up.
struct Opening<'a> {
    pool: &'a Pool,
    /// Others wait for it: it will serve many.
    for_many: bool,
    done: Cell<bool>,
}

impl<'a> Opening<'a> {
    fn new(pool: &'a Pool, for_many: bool) -> Self {
        pool.busy.set(pool.busy.get() + 1);
        if for_many {
            pool.opening.set(true);
        }
        Self { pool, for_many, done: Cell::new(false) }
    }

    fn done(self) {
        self.done.set(true);
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        if self.for_many {
            self.pool.opening.set(false);
            // Whoever waited may use it once it has settled, or opens one of its own.
            self.pool.freed.notify_waiters();
        }
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
