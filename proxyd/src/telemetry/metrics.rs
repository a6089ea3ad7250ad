//! The counters of the data path: each worker counts in cells of its own, and a page sums them when it is asked for.
//!
//! Label sets come from the configuration (routes, upstreams, endpoints, rules) and from literals in our code, never from
//! peers, so their number is bounded. The cells of a route or endpoint are found by name once, when a worker makes its half
//! of a snapshot, and kept there as a handle. They are remembered by name, so a reload that keeps a name keeps its counts.

mod cells;
mod gauges;
mod histogram;
mod lately;
mod named;
mod page;
mod store;
mod text;

#[cfg(test)]
mod tests;

use std::array;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use hashbrown::HashMap;

pub use cells::{Counter, Entry, Level, Tally};
pub use gauges::{
    Audit, BanGauge, Certificate, EndpointGauge, Gauges, KeyFetches, LastReload, Limiter, MailGauge, StoreGauge,
    UpstreamGauge, Verifier,
};
pub use histogram::{BOUNDS_US, Durations, Histogram};
pub use lately::{EVERY as SAMPLED_EVERY, Lately};
pub use store::StoreCells;

use self::named::{Named, PairText};

/// An upstream's name and an endpoint's address; or a rule's scope and its name.
pub type Pair = (Arc<str>, Arc<str>);

/// The counters of all workers.
#[derive(Debug)]
pub struct Metrics {
    workers: Box<[Arc<WorkerCells>]>,
    /// Counted by the control thread alone.
    certificates_taken: Counter,
    certificates_refused: Counter,
    samples: lately::Samples,
}

/// What the daemon's status tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub connections: u64,
    pub in_flight: u64,
    pub requests: u64,
}

/// What `upstreams` tells about an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointTotals {
    pub in_flight: u64,
    pub requests: u64,
    pub failures: u64,
    /// Connections open now, idle ones among them.
    pub connections: u64,
    pub idle: u64,
    /// Attempts that were followed by another one.
    pub retries: u64,
    /// The newest failure: microseconds since the Unix epoch, and its kind.
    pub last_failure: Option<(i64, &'static str)>,
}

impl Metrics {
    #[must_use]
    pub fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self {
            workers: (0..workers).map(|_| Arc::new(WorkerCells::default())).collect(),
            certificates_taken: Counter::default(),
            certificates_refused: Counter::default(),
            samples: lately::Samples::default(),
        })
    }

    /// Files of certificates had changed: whether they were taken up.
    pub fn certificates_reloaded(&self, taken: bool) {
        if taken { &self.certificates_taken } else { &self.certificates_refused }.add(1);
    }

    /// The cells of worker `index`, for its thread alone. An index past the last worker gets cells that nobody sums.
    #[must_use]
    pub fn worker(&self, index: usize) -> Rc<WorkerMetrics> {
        let cells = self.workers.get(index).cloned().unwrap_or_default();
        Rc::new(WorkerMetrics { cells })
    }

    /// Sums for the status.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for worker in &self.workers {
            totals.connections += worker.connections_open.get();
            totals.in_flight += worker.in_flight.get();
            totals.requests += worker.requests.get();
        }
        totals
    }

    /// Sums of one endpoint; all zero if no worker has met it.
    #[must_use]
    pub fn endpoint_totals(&self, upstream: &str, address: &str) -> EndpointTotals {
        let key = PairText(upstream, address);
        let mut totals = EndpointTotals::default();
        for endpoint in self.workers.iter().filter_map(|worker| worker.endpoints.find(&key)) {
            totals.in_flight += endpoint.in_flight.get();
            totals.requests += endpoint.requests.get();
            totals.connections += endpoint.connections_open.get();
            totals.idle += endpoint.connections_idle.get();
            totals.retries += endpoint.retries.get();
            for entry in endpoint.failures.entries() {
                totals.failures += entry.count.get();
                let at = (entry.last_us.load(Relaxed) as i64, entry.word);
                totals.last_failure = totals.last_failure.max(Some(at));
            }
        }
        totals
    }

    fn counts_of(&self, (upstream, address): &Pair) -> lately::Counts {
        let key = PairText(upstream, address);
        let cells = self.workers.iter().filter_map(|worker| worker.endpoints.find(&key));
        lately::Counts::of(&cells.collect::<Vec<_>>())
    }

    /// The cells of each endpoint, one for each worker that met it.
    fn endpoints(&self) -> HashMap<Pair, Vec<Arc<EndpointCells>>> {
        let mut all: HashMap<Pair, Vec<Arc<EndpointCells>>> = HashMap::new();
        for (pair, cells) in self.workers.iter().flat_map(|worker| worker.endpoints.list()) {
            all.entry(pair).or_default().push(cells);
        }
        all
    }

    /// The page for Prometheus, text format 0.0.4.
    #[must_use]
    pub fn page(&self, gauges: &Gauges) -> String {
        page::write(self, gauges)
    }
}

/// A worker's cells as other threads see them.
#[derive(Debug, Default)]
#[repr(align(128))]
struct WorkerCells {
    connections_opened: Counter,
    connections_open: Level,
    connections_refused: Tally,
    connection_errors: Tally,
    protocols: Tally,
    tls_handshakes: Tally,
    http2_resets_received: Tally,
    http2_resets_sent: Tally,
    http2_goaways_sent: Tally,
    in_flight: Level,
    requests: Counter,
    responses: StatusCells,
    tunnels_opened: Counter,
    tunnels_open: Level,
    tunnels_closed: Tally,
    rejections: Tally,
    slow_requests: Counter,
    retries_denied: Tally,
    fallbacks: Tally,
    mirrored: Tally,
    faults: Tally,
    threats_refused: Tally,
    threats_shadowed: Tally,
    logins: Tally,
    /// By provider.
    auth: Named<Arc<str>, Tally>,
    routes: Named<Arc<str>, RouteCells>,
    endpoints: Named<Pair, EndpointCells>,
    limits: Named<Pair, LimitCells>,
    store: Arc<StoreCells>,
}

/// A worker's counters. Made for its thread alone; the cells within are read by whoever writes a page.
#[derive(Debug)]
pub struct WorkerMetrics {
    cells: Arc<WorkerCells>,
}

impl WorkerMetrics {
    pub fn connection_opened(&self) {
        self.cells.connections_opened.add(1);
        self.cells.connections_open.raise();
    }

    pub fn connection_closed(&self) {
        self.cells.connections_open.lower();
    }

    /// A connection that was closed before a byte was read: `limit`, `draining`, ….
    pub fn connection_refused(&self, reason: &'static str) {
        self.cells.connections_refused.count(reason);
    }

    /// A connection that ended by the client's fault, before or between requests: `parse`, `timeout`, `reset`, `tls`, ….
    pub fn connection_error(&self, kind: &'static str) {
        self.cells.connection_errors.count(kind);
    }

    /// A connection on which this protocol is spoken: `http1`, `http2`.
    pub fn protocol(&self, protocol: &'static str) {
        self.cells.protocols.count(protocol);
    }

    /// A handshake that succeeded: `1.3`, `1.3 resumed`, ….
    pub fn tls_handshake(&self, kind: &'static str) {
        self.cells.tls_handshakes.count(kind);
    }

    /// A client reset a stream, with this code (RFC 9113 section 7).
    pub fn http2_reset_received(&self, code: &'static str) {
        self.cells.http2_resets_received.count(code);
    }

    /// We reset a stream of a client, with this code.
    pub fn http2_reset_sent(&self, code: &'static str) {
        self.cells.http2_resets_sent.count(code);
    }

    /// We told a client that its connection ends, with this code.
    pub fn http2_goaway_sent(&self, code: &'static str) {
        self.cells.http2_goaways_sent.count(code);
    }

    pub fn request_started(&self) {
        self.cells.in_flight.raise();
    }

    /// A request is over; `status` is what the client was sent, 0 if it left before.
    pub fn request_finished(&self, status: u16) {
        self.cells.in_flight.lower();
        self.cells.requests.add(1);
        self.cells.responses.count(status);
    }

    pub fn tunnel_opened(&self) {
        self.cells.tunnels_opened.add(1);
        self.cells.tunnels_open.raise();
    }

    /// A tunnel is closed, with this outcome.
    pub fn tunnel_closed(&self, outcome: &'static str) {
        self.cells.tunnels_closed.count(outcome);
        self.cells.tunnels_open.lower();
    }

    /// A request that ended at us, by the rejection's stable code.
    pub fn rejected(&self, code: &'static str) {
        self.cells.rejections.count(code);
    }

    /// A login that ended here: `succeeded`, or the code of its failure.
    pub fn login(&self, outcome: &'static str) {
        self.cells.logins.count(outcome);
    }

    /// A request that took longer than `log.slow_request`.
    pub fn slow_request(&self) {
        self.cells.slow_requests.add(1);
    }

    /// A failed attempt that no other followed: `unsafe`, `budget used up`, ….
    pub fn retry_denied(&self, reason: &'static str) {
        self.cells.retries_denied.count(reason);
    }

    /// A request that was answered otherwise than by its upstream: `respond`, `upstream`.
    pub fn fallback(&self, to: &'static str) {
        self.cells.fallbacks.count(to);
    }

    /// A copy for a shadow upstream: `sent`, `failed`, `skipped_busy`, `skipped_body`.
    pub fn mirrored(&self, outcome: &'static str) {
        self.cells.mirrored.count(outcome);
    }

    /// What a provider said of requests' credentials: `recognised`, or why not. Made on first use; keep the handle.
    #[must_use]
    pub fn auth(&self, provider: &Arc<str>) -> Arc<Tally> {
        self.cells.auth.with(&**provider, || Arc::clone(provider), Arc::clone)
    }

    /// A fault that a route asks for: `delay`, `abort`.
    pub fn fault(&self, kind: &'static str) {
        self.cells.faults.count(kind);
    }

    /// A rule of `threats` that a request ran into: whether the request was refused for it, or it was only told.
    pub fn threat(&self, rule: &'static str, refused: bool) {
        if refused { &self.cells.threats_refused } else { &self.cells.threats_shadowed }.count(rule);
    }

    /// The cells of a route, made on first use. Keep the handle.
    #[must_use]
    pub fn route(&self, name: &Arc<str>) -> Arc<RouteCells> {
        self.cells.routes.with(&**name, || Arc::clone(name), Arc::clone)
    }

    /// The cells of an endpoint, made on first use. Keep the handle.
    #[must_use]
    pub fn endpoint(&self, upstream: &Arc<str>, address: &Arc<str>) -> Arc<EndpointCells> {
        let key = || (Arc::clone(upstream), Arc::clone(address));
        self.cells.endpoints.with(&PairText(upstream, address), key, Arc::clone)
    }

    /// The cells of a rate limit rule in the scope where it is written (`top level`, `route NAME`), made on first use. Found
    /// by name in this worker's own table: a limiter is shared by all workers and has no place for a handle of each.
    #[must_use]
    pub fn limit(&self, scope: &Arc<str>, rule: &Arc<str>) -> Arc<LimitCells> {
        let key = || (Arc::clone(scope), Arc::clone(rule));
        self.cells.limits.with(&PairText(scope, rule), key, Arc::clone)
    }

    /// What this worker's link to the shared store counts in.
    #[must_use]
    pub fn store(&self) -> &Arc<StoreCells> {
        &self.cells.store
    }

    /// Forgets the routes that are not kept. When this worker takes a new snapshot, as the two below.
    pub fn retain_routes(&self, keep: impl Fn(&str) -> bool) {
        self.cells.routes.retain(|name| keep(name));
    }

    /// Forgets the endpoints (upstream, address) that are not kept.
    pub fn retain_endpoints(&self, keep: impl Fn(&str, &str) -> bool) {
        self.cells.endpoints.retain(|(upstream, address)| keep(upstream, address));
    }

    /// Forgets the rate limit rules (scope, rule) that are not kept.
    pub fn retain_limits(&self, keep: impl Fn(&str, &str) -> bool) {
        self.cells.limits.retain(|(scope, rule)| keep(scope, rule));
    }
}

/// A worker's counters of one route.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct RouteCells {
    /// By class: `1xx` to `5xx`; the first is "none sent".
    classes: [Counter; 6],
    bytes_in: Counter,
    bytes_out: Counter,
    duration: Histogram,
}

impl RouteCells {
    /// A request of this route is over. `status` 0: the client left before a head was sent.
    pub fn finished(&self, status: u16, duration_us: u64, bytes_in: u64, bytes_out: u64) {
        let class = usize::from(status / 100);
        if let Some(class) = self.classes.get(class).or(self.classes.first()) {
            class.add(1);
        }
        self.bytes_in.add(bytes_in);
        self.bytes_out.add(bytes_out);
        self.duration.record(duration_us);
    }
}

/// A worker's counters of one endpoint.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct EndpointCells {
    in_flight: Level,
    requests: Counter,
    failures: Tally,
    /// Answers with 500 or above.
    errors: Counter,
    retries: Counter,
    connections_opened: Counter,
    connections_open: Level,
    connections_idle: Level,
    connect: Histogram,
    response: Histogram,
}

impl EndpointCells {
    /// An attempt was sent here.
    pub fn request_started(&self) {
        self.in_flight.raise();
        self.requests.add(1);
    }

    /// The attempt is over, body and all, however it ended.
    pub fn request_finished(&self) {
        self.in_flight.lower();
    }

    /// Requests under way here on this worker.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight.get()
    }

    /// An attempt that failed: `connect`, `timeout`, `reset`, `protocol`, ….
    pub fn failed(&self, kind: &'static str, unix_us: i64) {
        self.failures.count_at(kind, unix_us);
    }

    /// An answer with this status came.
    pub fn answered(&self, status: u16) {
        if status >= 500 {
            self.errors.add(1);
        }
    }

    /// An attempt here was followed by another one.
    pub fn retried(&self) {
        self.retries.add(1);
    }

    /// A connection was established; it took so many microseconds.
    pub fn connection_opened(&self, connect_us: u64) {
        self.connections_opened.add(1);
        self.connections_open.raise();
        self.connect.record(connect_us);
    }

    pub fn connection_closed(&self) {
        self.connections_open.lower();
    }

    /// A connection went to the pool to wait for its next request.
    pub fn idle_began(&self) {
        self.connections_idle.raise();
    }

    /// It left the pool: taken, or closed there.
    pub fn idle_ended(&self) {
        self.connections_idle.lower();
    }

    /// A response's head came, so many microseconds after the request was sent.
    pub fn responded(&self, response_us: u64) {
        self.response.record(response_us);
    }
}

/// A worker's counters of one rate limit rule.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct LimitCells {
    allowed: Counter,
    refused: Counter,
    shadow_refused: Counter,
}

impl LimitCells {
    pub fn allowed(&self) {
        self.allowed.add(1);
    }

    pub fn refused(&self) {
        self.refused.add(1);
    }

    /// Would have been refused, were the rule enforced.
    pub fn shadow_refused(&self) {
        self.shadow_refused.add(1);
    }
}

/// Counters by exact status. An upstream may answer with any number: those outside 100 to 599 are counted together.
#[derive(Debug)]
struct StatusCells {
    exact: Box<[Counter; 500]>,
    other: Counter,
    none: Counter,
}

impl Default for StatusCells {
    fn default() -> Self {
        let exact = Box::new(array::from_fn(|_| Counter::default()));
        Self { exact, other: Counter::default(), none: Counter::default() }
    }
}

impl StatusCells {
    fn count(&self, status: u16) {
        let exact = usize::from(status).checked_sub(100).and_then(|place| self.exact.get(place));
        exact.unwrap_or(if status == 0 { &self.none } else { &self.other }).add(1);
    }
}
