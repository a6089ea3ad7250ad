//! The section `upstreams`: named groups of endpoints.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};

use super::field::{Field, Kind, Section};
use super::fields::Fields;
use super::problem::Code;
use super::reader::Reader;
use super::report::Fault;
use super::tree::{Node, Place, Value};
use super::url::{self, Url};
use super::{Name, Origin, name};

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
    /// The longest gap between two reads of a response body. A tunnel (WebSocket) may be silent for as long as both sides live.
    pub idle: Duration,
    /// From the start of the first attempt to the end of the body; none: off.
    pub total: Option<Duration>,
}

/// `upstreams.NAME.pool`. Each bound holds for one endpoint; but for `idle`, over all workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Idle connections that each worker keeps.
    pub idle: usize,
    /// How long an idle connection is kept.
    pub idle_for: Duration,
    /// Connections at once.
    pub connections: usize,
    /// Requests that may wait for a connection.
    pub queue: usize,
}

const SHORT_TIME: Kind = Kind::Duration { min: "1ms", max: "24h" };
const URL: Kind = Kind::Text { what: "a URL such as `http://127.0.0.1:8001`", sample: "http://127.0.0.1:8001" };
/// A weight among siblings.
pub(super) const WEIGHT: Kind = Kind::Integer { min: 1, max: 65_535 };

static ENDPOINT: Section = Section {
    name: "upstreams.NAME.endpoints[]",
    doc: "The long form of one endpoint.",
    fields: &[&[
        Field::new("url", URL, "Where it is: scheme, host and port.").required(),
        Field::new("weight", WEIGHT, "Its share of the traffic relative to its siblings.").default("1"),
    ]],
};

static TIMEOUTS: Section = Section {
    name: "upstreams.NAME.timeouts",
    doc: "How long the upstream may take.",
    fields: &[&[
        Field::new("connect", SHORT_TIME, "To an established connection.").default("1s"),
        Field::new(
            "response_headers",
            SHORT_TIME,
            "From the request sent to the head of the response (504 beyond it).",
        )
        .default("30s"),
        Field::new(
            "idle",
            SHORT_TIME,
            "The longest gap between two reads of a response body. A tunnel (WebSocket) may be silent for as long as both sides live.",
        )
        .default("60s"),
        Field::new(
            "total",
            Kind::Or("off", &SHORT_TIME),
            "From the start of the first attempt to the end of the body.",
        )
        .default("off"),
    ]],
};

static POOL: Section = Section {
    name: "upstreams.NAME.pool",
    doc: "Connections to the upstream. Each bound holds for one endpoint; but for `idle`, over all workers.",
    fields: &[&[
        Field::new(
            "idle",
            Kind::Integer { min: 0, max: 1_000_000 },
            "Idle connections that each worker keeps; 0: none, each request opens its own.",
        )
        .default("64"),
        Field::new("idle_for", Kind::Duration { min: "1s", max: "24h" }, "How long an idle connection is kept.")
            .default("90s"),
        Field::new("connections", Kind::Integer { min: 1, max: 1_000_000 }, "Connections at once.").default("1024"),
        Field::new(
            "queue",
            Kind::Integer { min: 0, max: 1_000_000 },
            "Requests that may wait for a connection; 0: none waits (503).",
        )
        .default("1024"),
    ]],
};

/// The declaration of one upstream.
pub(super) static UPSTREAM: Section = Section {
    name: "upstreams.NAME",
    doc: "A named group of endpoints.",
    fields: &[&[
        Field::new(
            "endpoints",
            Kind::List(&Kind::Short(&URL, &ENDPOINT)),
            "Where requests go: URLs, or the long form.",
        )
        .required(),
        Field::new(
            "balance",
            Kind::Choice(&["round_robin"]),
            "How requests are spread over the endpoints: in turn, by weight.",
        )
        .default("round_robin"),
        Field::new("timeouts", Kind::Section(&TIMEOUTS), "Times.").filled(),
        Field::new("pool", Kind::Section(&POOL), "Connections.").filled(),
    ]],
};

/// Reads all named upstreams. Those that are broken are left out, but their names are known.
pub(super) fn read_all<'a>(reader: &mut Reader<'a>, node: &'a Node<'a>, kind: &Kind) -> (Vec<Upstream>, HashSet<Name>) {
    let mut names = HashSet::new();
    let mut upstreams = Vec::new();
    reader.map(node, kind, |reader, entry| {
        match name::plain(&entry.key) {
            Ok(name) => {
                names.insert(Arc::clone(&name));
                upstreams.push(read(reader, &entry.value, name, entry.key_place)?);
            }
            Err(fault) => reader.error(entry.key_place, fault),
        }
        Some(())
    });
    (upstreams, names)
}

fn read<'a>(reader: &mut Reader<'a>, node: &'a Node<'a>, name: Name, place: Place) -> Option<Upstream> {
    let at = reader.texts.origin(place);
    let mut fields = reader.section(node, &UPSTREAM)?;
    let endpoints = read_endpoints(&mut fields);
    let balance = fields.choice("balance", &[("round_robin", ())]);
    let timeouts = fields.section("timeouts", read_timeouts);
    let pool = fields.section("pool", read_pool);
    balance?;
    Some(Upstream { name, endpoints: endpoints?, timeouts: timeouts?, pool: pool?, at })
}

fn read_endpoints(fields: &mut Fields<'_, '_>) -> Option<Vec<Endpoint>> {
    fields.get("endpoints", |reader, node, field| {
        let mut seen: HashSet<Arc<str>> = HashSet::new();
        let endpoints = reader.list(node, &field.kind, |reader, node| {
            let (url, weight, place) = match &node.value {
                Value::Map(_) => {
                    let mut fields = reader.section(node, &ENDPOINT)?;
                    let place = fields.written("url").map_or(node.place, |entry| entry.value.place);
                    let url = fields.get("url", |reader, node, field| reader.parse(node, &field.kind, url::endpoint));
                    let weight = fields.count("weight");
                    (url?, weight?, place)
                }
                Value::Scalar(_) | Value::List(_) => (reader.parse(node, &URL, url::endpoint)?, 1, node.place),
            };
            if !seen.insert(Arc::clone(&url.address)) {
                let fault = Fault::new(Code::DuplicateName, "this endpoint is named twice in this upstream")
                    .hint("give it a `weight` to send it more");
                reader.error(place, fault);
                return None;
            }
            Some(Endpoint { host: url.host, port: url.port, weight, address: url.address })
        })?;
        if endpoints.is_empty() {
            reader.error(node.place, Fault::invalid("an upstream needs at least one endpoint"));
            return None;
        }
        Some(endpoints)
    })
}

fn read_timeouts(fields: &mut Fields<'_, '_>) -> Option<UpstreamTimeouts> {
    let connect = fields.duration("connect");
    let response_headers = fields.duration("response_headers");
    let idle = fields.duration("idle");
    let total = fields.duration_or_off("total");
    Some(UpstreamTimeouts { connect: connect?, response_headers: response_headers?, idle: idle?, total: total? })
}

fn read_pool(fields: &mut Fields<'_, '_>) -> Option<Pool> {
    let idle = fields.count("idle");
    let idle_for = fields.duration("idle_for");
    let connections = fields.count("connections");
    let queue = fields.count("queue");
    Some(Pool { idle: idle?, idle_for: idle_for?, connections: connections?, queue: queue? })
}

/// The upstreams that `target`s stand for, made on demand: one for each origin, with the defaults of every upstream.
pub(super) struct Targets {
    timeouts: UpstreamTimeouts,
    pool: Pool,
    by_address: HashMap<Arc<str>, usize>,
}

impl Targets {
    /// Reads the defaults from the declaration.
    pub(super) fn new(reader: &mut Reader<'_>) -> Option<Self> {
        let timeouts = reader.defaults(&TIMEOUTS, read_timeouts)?;
        let pool = reader.defaults(&POOL, read_pool)?;
        Some(Self { timeouts, pool, by_address: HashMap::new() })
    }

    /// The index of the upstream for this target.
    pub(super) fn index(&mut self, url: &Url, at: impl FnOnce() -> Origin, upstreams: &mut Vec<Upstream>) -> usize {
        if let Some(index) = self.by_address.get(&url.address) {
            return *index;
        }
        let endpoint =
            Endpoint { host: Arc::clone(&url.host), port: url.port, weight: 1, address: Arc::clone(&url.address) };
        upstreams.push(Upstream {
            name: format!("http://{}", url.address).into(),
            endpoints: vec![endpoint],
            timeouts: self.timeouts.clone(),
            pool: self.pool.clone(),
            at: at(),
        });
        self.by_address.insert(Arc::clone(&url.address), upstreams.len() - 1);
        upstreams.len() - 1
    }
}
