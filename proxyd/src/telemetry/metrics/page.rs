//! The metrics page: which families there are, in which order, and where their numbers come from.
//!
//! Every page names every family, also one without samples, so that a scraper always sees the same set.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::Arc;

use super::cells::{Counter, Level, Tally};
use super::gauges::{EndpointGauge, Gauges, UpstreamGauge};
use super::histogram::Durations;
use super::named::Named;
use super::text::{Kind, Text};
use super::{EndpointCells, LimitCells, Metrics, RouteCells, WorkerCells};

/// The page of these workers' cells and the control side's gauges.
pub(super) fn write(metrics: &Metrics, gauges: &Gauges) -> String {
    let workers = Workers(&metrics.workers);
    let mut text = Text::default();
    daemon(&mut text, &workers, gauges);
    clients(&mut text, &workers);
    certificates(&mut text, metrics, gauges);
    routes(&mut text, &workers);
    upstreams(&mut text, &workers);
    endpoints(&mut text, gauges);
    failing(&mut text, &workers);
    threats(&mut text, &workers, gauges);
    limits(&mut text, &workers, gauges);
    verifiers(&mut text, &workers, gauges);
    mails(&mut text, gauges);
    store(&mut text, &workers, gauges);
    records(&mut text, gauges);
    process(&mut text, gauges);
    text.finish()
}

fn daemon(text: &mut Text, workers: &Workers<'_>, gauges: &Gauges) {
    text.family("proxyd_build_info", Kind::Gauge, "Always 1; the labels tell what runs.")
        .sample(&[("version", &gauges.version)], 1);
    text.family("proxyd_uptime_seconds", Kind::Gauge, "Time since the start.")
        .seconds(&[], gauges.uptime.as_micros() as u64);
    text.family("proxyd_ready", Kind::Gauge, "1 while new requests are taken, 0 while starting or draining.")
        .sample(&[], u8::from(gauges.ready));
    text.family("proxyd_workers", Kind::Gauge, "Worker threads.").sample(&[], workers.0.len());
    text.family("proxyd_generation", Kind::Gauge, "Number of the config in force.").sample(&[], gauges.generation);
    text.family("proxyd_config_reloads_total", Kind::Counter, "Reloads by outcome: done, or the error's code.");
    for (outcome, count) in &gauges.reloads {
        text.sample(&[("outcome", outcome)], count);
    }
    text.family("proxyd_config_last_reload_success", Kind::Gauge, "1 if the newest reload was applied, 0 if refused.");
    if let Some(last) = gauges.last_reload {
        text.sample(&[], u8::from(last.succeeded));
    }
    text.family("proxyd_config_last_reload_timestamp_seconds", Kind::Gauge, "When the newest reload ended.");
    if let Some(last) = gauges.last_reload {
        text.seconds(&[], last.unix_us.max(0) as u64);
    }
}

fn clients(text: &mut Text, workers: &Workers<'_>) {
    text.family("proxyd_connections_accepted_total", Kind::Counter, "Connections accepted from clients.")
        .sample(&[], workers.count(|cells| &cells.connections_opened));
    text.family("proxyd_connections", Kind::Gauge, "Connections of clients open now.")
        .sample(&[], workers.level(|cells| &cells.connections_open));
    text.family(
        "proxyd_worker_connections",
        Kind::Gauge,
        "Connections of clients open now, by the worker that serves them.",
    );
    for (index, cells) in workers.0.iter().enumerate() {
        text.sample(&[("worker", &index.to_string())], cells.connections_open.get());
    }
    text.family("proxyd_connections_refused_total", Kind::Counter, "Connections closed before they were read.");
    workers.words(text, "reason", |cells| &cells.connections_refused);
    text.family(
        "proxyd_connection_errors_total",
        Kind::Counter,
        "Connections that ended by the client's fault, outside of any request, or by ours (panic).",
    );
    workers.words(text, "kind", |cells| &cells.connection_errors);
    text.family(
        "proxyd_connections_by_protocol_total",
        Kind::Counter,
        "Connections of clients by the protocol spoken.",
    );
    workers.words(text, "protocol", |cells| &cells.protocols);
    text.family(
        "proxyd_tls_handshakes_total",
        Kind::Counter,
        "TLS handshakes with clients that succeeded, by version.",
    );
    workers.words(text, "version", |cells| &cells.tls_handshakes);
    text.family("proxyd_http2_resets_received_total", Kind::Counter, "Streams that clients reset, by code.");
    workers.words(text, "code", |cells| &cells.http2_resets_received);
    text.family("proxyd_http2_resets_sent_total", Kind::Counter, "Streams of clients that were reset, by code.");
    workers.words(text, "code", |cells| &cells.http2_resets_sent);
    text.family(
        "proxyd_http2_goaways_sent_total",
        Kind::Counter,
        "Connections of HTTP/2 that we ended (GOAWAY), by code.",
    );
    workers.words(text, "code", |cells| &cells.http2_goaways_sent);
    text.family("proxyd_requests_in_flight", Kind::Gauge, "Requests being served now.")
        .sample(&[], workers.level(|cells| &cells.in_flight));
    text.family("proxyd_responses_total", Kind::Counter, "Finished requests by exact status; none: the client left.");
    let mut statuses: BTreeMap<String, u64> = BTreeMap::new();
    for cells in workers.0 {
        let exact =
            (100..).zip(cells.responses.exact.iter()).map(|(status, count): (u16, _)| (status.to_string(), count));
        let rest = [("none".to_owned(), &cells.responses.none), ("other".to_owned(), &cells.responses.other)];
        for (status, count) in exact.chain(rest).filter(|(_, count)| count.get() > 0) {
            *statuses.entry(status).or_default() += count.get();
        }
    }
    for (status, count) in &statuses {
        text.sample(&[("status", status)], count);
    }
    text.family("proxyd_rejections_total", Kind::Counter, "Requests that ended at proxyd, by the rejection's code.");
    workers.words(text, "code", |cells| &cells.rejections);
    text.family("proxyd_logins_total", Kind::Counter, "Logins that ended here, by their outcome.");
    workers.words(text, "outcome", |cells| &cells.logins);
    text.family("proxyd_slow_requests_total", Kind::Counter, "Requests that took longer than log.slow_request.")
        .sample(&[], workers.count(|cells| &cells.slow_requests));
    text.family("proxyd_tunnels_opened_total", Kind::Counter, "Upgraded connections (WebSocket and others).")
        .sample(&[], workers.count(|cells| &cells.tunnels_opened));
    text.family("proxyd_tunnels", Kind::Gauge, "Upgraded connections open now.")
        .sample(&[], workers.level(|cells| &cells.tunnels_open));
    text.family(
        "proxyd_tunnels_closed_total",
        Kind::Counter,
        "Upgraded connections that were closed, by their outcome.",
    );
    workers.words(text, "outcome", |cells| &cells.tunnels_closed);
}

fn certificates(text: &mut Text, metrics: &Metrics, gauges: &Gauges) {
    text.family("proxyd_certificate_not_after_seconds", Kind::Gauge, "When a listener's certificate ends, Unix time.");
    for certificate in &gauges.certificates {
        let labels = [("listener", &*certificate.listener), ("path", &*certificate.path)];
        text.sample(&labels, certificate.not_after);
    }
    text.family(
        "proxyd_certificate_reloads_total",
        Kind::Counter,
        "Changed certificates by outcome: done or unreadable.",
    );
    text.sample(&[("outcome", "done")], metrics.certificates_taken.get());
    text.sample(&[("outcome", "unreadable")], metrics.certificates_refused.get());
}

/// The labels of [`RouteCells`]' classes.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

fn routes(text: &mut Text, workers: &Workers<'_>) {
    let routes = workers.named(|cells| &cells.routes);
    text.family("proxyd_requests_total", Kind::Counter, "Finished requests by route and class of status.");
    for (route, cells) in &routes {
        for (place, class) in CLASSES.iter().enumerate() {
            let count = sum(cells, |cells: &RouteCells| cells.classes.get(place).map_or(0, Counter::get));
            if count > 0 {
                text.sample(&[("route", route), ("status", class)], count);
            }
        }
    }
    text.family("proxyd_request_duration_seconds", Kind::Histogram, "Head received to body ended, by route.");
    for (route, cells) in &routes {
        text.durations(&[("route", route)], &durations(cells, |cells| &cells.duration));
    }
    text.family("proxyd_request_bytes_total", Kind::Counter, "Body bytes from clients, by route.");
    for (route, cells) in &routes {
        text.sample(&[("route", route)], sum(cells, |cells| cells.bytes_in.get()));
    }
    text.family("proxyd_response_bytes_total", Kind::Counter, "Body bytes to clients, by route.");
    for (route, cells) in &routes {
        text.sample(&[("route", route)], sum(cells, |cells| cells.bytes_out.get()));
    }
}

/// A family with one number for each endpoint.
type PerEndpoint = (&'static str, Kind, &'static str, fn(&EndpointCells) -> u64);

const PER_ENDPOINT: [PerEndpoint; 7] = [
    ("proxyd_upstream_requests_total", Kind::Counter, "Attempts sent to an endpoint.", |cells| cells.requests.get()),
    ("proxyd_upstream_errors_total", Kind::Counter, "Answers of an endpoint with status 500 or above.", |cells| {
        cells.errors.get()
    }),
    (
        "proxyd_upstream_retries_total",
        Kind::Counter,
        "Attempts at an endpoint that were followed by another one.",
        |cells| cells.retries.get(),
    ),
    ("proxyd_upstream_in_flight", Kind::Gauge, "Attempts under way now.", |cells| cells.in_flight.get()),
    ("proxyd_upstream_connections_opened_total", Kind::Counter, "Connections made to an endpoint.", |cells| {
        cells.connections_opened.get()
    }),
    ("proxyd_upstream_connections", Kind::Gauge, "Connections open now, idle ones among them.", |cells| {
        cells.connections_open.get()
    }),
    ("proxyd_upstream_connections_idle", Kind::Gauge, "Connections waiting in the pools.", |cells| {
        cells.connections_idle.get()
    }),
];

fn upstreams(text: &mut Text, workers: &Workers<'_>) {
    let endpoints = workers.named(|cells| &cells.endpoints);
    for (name, kind, help, read) in PER_ENDPOINT {
        text.family(name, kind, help);
        for ((upstream, endpoint), cells) in &endpoints {
            text.sample(&[("upstream", upstream), ("endpoint", endpoint)], sum(cells, read));
        }
    }
    text.family("proxyd_upstream_failures_total", Kind::Counter, "Failed attempts by kind.");
    for ((upstream, endpoint), cells) in &endpoints {
        for (kind, count) in words(cells.iter().map(|cells| &cells.failures)) {
            text.sample(&[("upstream", upstream), ("endpoint", endpoint), ("kind", kind)], count);
        }
    }
    text.family("proxyd_upstream_connect_seconds", Kind::Histogram, "Time to make a connection.");
    for ((upstream, endpoint), cells) in &endpoints {
        let durations = durations(cells, |cells| &cells.connect);
        text.durations(&[("upstream", upstream), ("endpoint", endpoint)], &durations);
    }
    text.family("proxyd_upstream_response_seconds", Kind::Histogram, "Request sent to response head received.");
    for ((upstream, endpoint), cells) in &endpoints {
        let durations = durations(cells, |cells| &cells.response);
        text.durations(&[("upstream", upstream), ("endpoint", endpoint)], &durations);
    }
}

/// A family with one number for each gauge.
type PerGauge<G> = (&'static str, &'static str, fn(&G) -> u64);

/// How endpoints stand, which only the control side knows.
fn endpoints(text: &mut Text, gauges: &Gauges) {
    let per_upstream: [PerGauge<UpstreamGauge>; 3] = [
        ("proxyd_upstream_endpoints_used", "Endpoints that are used now.", |gauge| gauge.used),
        ("proxyd_upstream_panic", "1 while all endpoints are used since too few are well.", |gauge| {
            gauge.panics.into()
        }),
        ("proxyd_upstream_queue", "Requests that wait for their turn (in_flight).", |gauge| gauge.waiting),
    ];
    for (name, help, read) in per_upstream {
        text.family(name, Kind::Gauge, help);
        for upstream in &gauges.upstreams {
            text.sample(&[("upstream", &upstream.name)], read(upstream));
        }
    }
    text.family("proxyd_endpoint_state", Kind::Gauge, "1 for the state that an endpoint is in.");
    for gauge in &gauges.endpoints {
        text.sample(&[("upstream", &gauge.upstream), ("endpoint", &gauge.address), ("state", gauge.state)], 1);
    }
    let per_endpoint: [PerGauge<EndpointGauge>; 2] = [
        ("proxyd_endpoint_ejections_total", "How often an endpoint was ejected.", |gauge| gauge.ejections),
        ("proxyd_endpoint_breaker_opened_total", "How often an endpoint's breaker opened.", |gauge| gauge.trips),
    ];
    for (name, help, read) in per_endpoint {
        text.family(name, Kind::Counter, help);
        for gauge in &gauges.endpoints {
            text.sample(&[("upstream", &gauge.upstream), ("endpoint", &gauge.address)], read(gauge));
        }
    }
    text.family("proxyd_endpoint_probes_total", Kind::Counter, "Probes by outcome: passed, failed.");
    for gauge in &gauges.endpoints {
        for (outcome, count) in [("passed", gauge.probes_passed), ("failed", gauge.probes_failed)] {
            let labels = [("upstream", &*gauge.upstream), ("endpoint", &gauge.address), ("outcome", outcome)];
            if gauge.probes_passed + gauge.probes_failed > 0 {
                text.sample(&labels, count);
            }
        }
    }
}

/// What became of requests beside or instead of their upstream.
fn failing(text: &mut Text, workers: &Workers<'_>) {
    text.family(
        "proxyd_retries_denied_total",
        Kind::Counter,
        "Failed attempts that no other followed, where there is retry, by reason.",
    );
    workers.words(text, "reason", |cells| &cells.retries_denied);
    text.family("proxyd_fallbacks_total", Kind::Counter, "Requests that got a fallback: respond or upstream.");
    workers.words(text, "to", |cells| &cells.fallbacks);
    text.family(
        "proxyd_mirrored_total",
        Kind::Counter,
        "Copies for shadow upstreams: sent, failed, skipped_busy or skipped_body.",
    );
    workers.words(text, "outcome", |cells| &cells.mirrored);
    text.family("proxyd_faults_injected_total", Kind::Counter, "Faults that routes ask for: delay or abort.");
    workers.words(text, "kind", |cells| &cells.faults);
}

fn threats(text: &mut Text, workers: &Workers<'_>, gauges: &Gauges) {
    text.family(
        "proxyd_bans",
        Kind::Gauge,
        "Bans that are not over, with those that keep nobody out since the config spares whom they name.",
    )
    .sample(&[], gauges.bans.active);
    text.family("proxyd_bans_missed_total", Kind::Counter, "Bans that were earned, and not imposed for want of room.")
        .sample(&[], gauges.bans.missed);
    text.family(
        "proxyd_threats_total",
        Kind::Counter,
        "Rules that requests looking like an attack ran into; by mode: block for those that were refused, or shadow.",
    );
    let refused = words(workers.0.iter().map(|cells| &cells.threats_refused));
    let shadowed = words(workers.0.iter().map(|cells| &cells.threats_shadowed));
    for (mode, rules) in [("block", refused), ("shadow", shadowed)] {
        for (rule, count) in rules {
            text.sample(&[("rule", rule), ("mode", mode)], count);
        }
    }
}

/// The outcomes of a rate limit rule.
type Outcome = (&'static str, fn(&LimitCells) -> u64);

const OUTCOMES: [Outcome; 3] = [
    ("allowed", |cells| cells.allowed.get()),
    ("refused", |cells| cells.refused.get()),
    ("shadow_refused", |cells| cells.shadow_refused.get()),
];

fn limits(text: &mut Text, workers: &Workers<'_>, gauges: &Gauges) {
    text.family(
        "proxyd_rate_limit_total",
        Kind::Counter,
        "Decisions of rate limit rules; shadow_refused: would have been refused, were the rule enforced.",
    );
    for ((scope, rule), cells) in &workers.named(|cells| &cells.limits) {
        for (outcome, read) in OUTCOMES {
            text.sample(&[("scope", scope), ("rule", rule), ("outcome", outcome)], sum(cells, read));
        }
    }
    text.family("proxyd_rate_limit_keys", Kind::Gauge, "Keys that a rule counts now.");
    for limiter in &gauges.limiters {
        text.sample(&[("scope", &limiter.scope), ("rule", &limiter.rule)], limiter.keys);
    }
    text.family("proxyd_rate_limit_max_keys", Kind::Gauge, "Keys that a rule has room for.");
    for limiter in &gauges.limiters {
        text.sample(&[("scope", &limiter.scope), ("rule", &limiter.rule)], limiter.max_keys);
    }
    text.family("proxyd_rate_limit_evictions_total", Kind::Counter, "Keys forgotten for want of room.");
    for limiter in &gauges.limiters {
        text.sample(&[("scope", &limiter.scope), ("rule", &limiter.rule)], limiter.evictions);
    }
}

fn verifiers(text: &mut Text, workers: &Workers<'_>, gauges: &Gauges) {
    text.family(
        "proxyd_auth_total",
        Kind::Counter,
        "Credentials looked at, by provider: recognised, or the code of what was wrong with them.",
    );
    for (provider, tallies) in &workers.named(|cells| &cells.auth) {
        for (outcome, count) in words(tallies.iter().map(|tally| &**tally)) {
            text.sample(&[("provider", provider), ("outcome", outcome)], count);
        }
    }
    text.family(
        "proxyd_token_checks_total",
        Kind::Counter,
        "Tokens looked at: known, its verdict stood already; checked, its signature had to be checked.",
    );
    for verifier in &gauges.verifiers {
        for (outcome, count) in [("known", verifier.hits), ("checked", verifier.misses)] {
            text.sample(&[("provider", &verifier.provider), ("outcome", outcome)], count);
        }
    }
    text.family("proxyd_token_keys", Kind::Gauge, "Keys that tokens are checked with now.");
    for verifier in &gauges.verifiers {
        text.sample(&[("provider", &verifier.provider)], verifier.keys);
    }
    let fetched = || gauges.verifiers.iter().filter_map(|verifier| Some((&verifier.provider, verifier.fetches?)));
    text.family("proxyd_token_key_fetches_total", Kind::Counter, "Fetches of keys by outcome: done or failed.");
    for (provider, fetches) in fetched() {
        for (outcome, count) in [("done", fetches.done), ("failed", fetches.failed)] {
            text.sample(&[("provider", provider), ("outcome", outcome)], count);
        }
    }
    text.family(
        "proxyd_token_keys_fetched_timestamp_seconds",
        Kind::Gauge,
        "When keys were last fetched well; they are kept until newer ones come.",
    );
    for (provider, fetches) in fetched() {
        if let Some(fresh_s) = fetches.fresh_s {
            text.sample(&[("provider", provider)], fresh_s);
        }
    }
}

fn mails(text: &mut Text, gauges: &Gauges) {
    if let Some(mails) = &gauges.mails {
        text.family("proxyd_mails_total", Kind::Counter, "Mails to accounts by outcome: sent or failed.");
        for (outcome, count) in [("sent", mails.sent), ("failed", mails.failed)] {
            text.sample(&[("outcome", outcome)], count);
        }
    }
}

fn store(text: &mut Text, workers: &Workers<'_>, gauges: &Gauges) {
    text.family(
        "proxyd_store_questions_total",
        Kind::Counter,
        "Questions to the shared store: ok, or what kept it from answering; open: not asked.",
    );
    workers.words(text, "outcome", |cells| &cells.store.outcomes);
    text.family("proxyd_store_duration_seconds", Kind::Histogram, "Time of questions to the shared store.")
        .durations(&[], &durations(workers.0, |cells| &cells.store.duration));
    text.family("proxyd_store_breaker", Kind::Gauge, "1 for the state of the shared store's breaker.");
    if let Some(store) = &gauges.store {
        text.sample(&[("state", store.breaker)], 1);
    }
}

fn records(text: &mut Text, gauges: &Gauges) {
    let audit = &gauges.audit;
    text.family("proxyd_audit_writable", Kind::Gauge, "1 if the audit store takes rows, 0 if not.")
        .sample(&[], u8::from(audit.writable));
    text.family("proxyd_audit_queued_rows", Kind::Gauge, "Audit rows waiting to be written.").sample(&[], audit.queued);
    text.family("proxyd_audit_rows_total", Kind::Counter, "Audit rows written since the start.")
        .sample(&[], audit.written);
    text.family("proxyd_audit_shed_rows_total", Kind::Counter, "Audit rows not written for want of room.")
        .sample(&[], audit.shed);
    text.family("proxyd_audit_commit_seconds", Kind::Summary, "Time spent in commits of the audit store.")
        .sum_and_count(&[], audit.commit_us, audit.commits);
    text.family(
        "proxyd_access_log_dropped_lines_total",
        Kind::Counter,
        "Access log lines lost because their target did not take them in time.",
    )
    .sample(&[], gauges.access_log_dropped);
}

fn process(text: &mut Text, gauges: &Gauges) {
    let process = &gauges.process;
    text.family("process_cpu_seconds_total", Kind::Counter, "User and system time spent.").seconds(&[], process.cpu_us);
    text.family("process_resident_memory_bytes", Kind::Gauge, "Resident memory.").sample(&[], process.resident_bytes);
    text.family("process_threads", Kind::Gauge, "Threads.").sample(&[], process.threads);
    text.family("process_open_fds", Kind::Gauge, "Open file descriptors.").sample(&[], process.open_fds);
    text.family("process_max_fds", Kind::Gauge, "Most file descriptors that may be open.").sample(&[], process.max_fds);
}

/// Sums over all workers.
struct Workers<'a>(&'a [Arc<WorkerCells>]);

impl Workers<'_> {
    fn count(&self, cell: impl Fn(&WorkerCells) -> &Counter) -> u64 {
        sum(self.0, |cells| cell(cells).get())
    }

    fn level(&self, cell: impl Fn(&WorkerCells) -> &Level) -> u64 {
        sum(self.0, |cells| cell(cells).get())
    }

    fn words(&self, text: &mut Text, label: &str, tally: impl Fn(&WorkerCells) -> &Tally) {
        for (word, count) in words(self.0.iter().map(|cells| tally(cells))) {
            text.sample(&[(label, word)], count);
        }
    }

    /// All workers' cells of each name, sorted by name.
    fn named<K, C>(&self, map: impl Fn(&WorkerCells) -> &Named<K, C>) -> BTreeMap<K, Vec<Arc<C>>>
    where
        K: Clone + Eq + Hash + Ord,
        C: Default,
    {
        let mut all: BTreeMap<K, Vec<Arc<C>>> = BTreeMap::new();
        for (key, cells) in self.0.iter().flat_map(|worker| map(worker).list()) {
            all.entry(key).or_default().push(cells);
        }
        all
    }
}

fn sum<C>(cells: &[Arc<C>], read: impl Fn(&C) -> u64) -> u64 {
    cells.iter().map(|cells| read(cells)).sum()
}

fn durations<C>(cells: &[Arc<C>], histogram: impl Fn(&C) -> &super::Histogram) -> Durations {
    let mut durations = Durations::default();
    for cells in cells {
        durations.add(histogram(cells));
    }
    durations
}

fn words<'a>(tallies: impl Iterator<Item = &'a Tally>) -> BTreeMap<&'static str, u64> {
    let mut all = BTreeMap::new();
    for entry in tallies.flat_map(Tally::entries) {
        *all.entry(entry.word).or_default() += entry.count.get();
    }
    all
}
