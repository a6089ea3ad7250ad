//! The section `upstreams`: named groups of endpoints.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};

use super::field::{Field, Kind, Section};
use super::fields::Fields;
use super::problem::Code;
use super::reader::{Read, Reader};
use super::report::Fault;
use super::server::{STREAM_WINDOW, STREAMS};
use super::tls::{self, UpstreamTls};
use super::tree::{Node, Place, Value};
use super::url::{self, Scheme, Url};
use super::{Name, Origin, name};

/// One upstream. Its identity over reloads is its name; an endpoint's is the upstream's name with its address.
#[derive(Clone, Debug)]
pub struct Upstream {
    pub name: Name,
    /// At least one; addresses are distinct.
    pub endpoints: Vec<Endpoint>,
    pub timeouts: UpstreamTimeouts,
    pub pool: Pool,
    pub protocol: UpstreamProtocol,
    /// Some exactly where the endpoints are `https://`.
    pub tls: Option<Arc<UpstreamTls>>,
    /// The PROXY header that every connection begins with; none: none is sent.
    pub proxy_protocol: Option<ProxyHeader>,
    pub at: Origin,
}

/// What is spoken to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamProtocol {
    Http1,
    /// In clear text by prior knowledge.
    Http2,
    /// HTTP/2 where the endpoint agrees to it (ALPN), else HTTP/1.1; in clear text HTTP/1.1.
    Auto,
}

/// Which form of the PROXY header is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    V1,
    V2,
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
    /// The longest gap between two reads of a response body.
    pub idle: Duration,
    /// From the start of the first attempt to the end of the body; none: off.
    pub total: Option<Duration>,
    /// How long a tunnel (WebSocket) may be silent in both directions; none: for as long as both sides live.
    pub tunnel: Option<Duration>,
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
    /// HTTP/2 requests at once on one connection.
    pub streams: u32,
    /// Bytes of a response body that one HTTP/2 stream may send ahead of what was taken of it.
    pub stream_window: u32,
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
            "The longest gap between two reads of a response body.",
        )
        .default("60s"),
        Field::new(
            "total",
            Kind::Or("off", &SHORT_TIME),
            "From the start of the first attempt to the end of the body.",
        )
        .default("off"),
        Field::new(
            "tunnel",
            Kind::Or("off", &SHORT_TIME),
            "How long a tunnel such as a WebSocket may be silent in both directions; `off`: for as long as both sides live.",
        )
        .default("1h"),
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
        Field::new(
            "streams",
            STREAMS,
            "HTTP/2: requests at once on one connection; fewer where the endpoint takes fewer.",
        )
        .default("100"),
        Field::new(
            "stream_window",
            STREAM_WINDOW,
            "HTTP/2: how much of a response body one stream may send ahead of what was taken of it.",
        )
        .default("256KiB"),
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
            "Where requests go: `http://` or `https://` URLs, all of them of one kind, or the long form.",
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
        Field::new(
            "protocol",
            Kind::Choice(&["http1", "http2", "auto"]),
            "What is spoken: HTTP/1.1, HTTP/2 (in clear text by prior knowledge), or `auto`: HTTP/2 where a TLS endpoint agrees to it (ALPN), else HTTP/1.1.",
        )
        .default("http1"),
        Field::new(
            "tls",
            Kind::Section(&tls::UPSTREAM_TLS),
            "How `https://` endpoints are checked, and what is shown to them.",
        ),
        Field::new(
            "proxy_protocol",
            Kind::Choice(&["off", "v1", "v2"]),
            "The PROXY protocol: every connection begins with a header that names the client, and is used for that client alone. Only with `protocol: http1`.",
        )
        .default("off"),
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
    let words =
        [("http1", UpstreamProtocol::Http1), ("http2", UpstreamProtocol::Http2), ("auto", UpstreamProtocol::Auto)];
    let protocol = fields.choice("protocol", &words);
    let tls = read_tls(&mut fields, endpoints.as_ref().map(|(_, scheme)| *scheme));
    let proxy_protocol = read_proxy_protocol(&mut fields, protocol);
    balance?;
    Some(Upstream {
        name,
        endpoints: endpoints?.0,
        timeouts: timeouts?,
        pool: pool?,
        protocol: protocol?,
        tls: tls?,
        proxy_protocol: proxy_protocol?,
        at,
    })
}

/// `scheme`: the endpoints'; none where they are broken.
fn read_tls(fields: &mut Fields<'_, '_>, scheme: Option<Scheme>) -> Read<Option<Arc<UpstreamTls>>> {
    let Some(entry) = fields.written("tls") else {
        return Some((scheme == Some(Scheme::Https)).then(|| Arc::new(UpstreamTls::new())));
    };
    let tls = fields.get("tls", |reader, node, _| tls::read_upstream(reader, node));
    if scheme == Some(Scheme::Http) {
        let fault = Fault::new(Code::Conflict, "`tls` says nothing about `http://` endpoints")
            .hint("write the endpoints as `https://…`, or remove `tls`");
        fields.reader().under(&entry.key, |reader| reader.error(entry.key_place, fault));
        return None;
    }
    tls.map(|tls| Some(Arc::new(tls)))
}

fn read_proxy_protocol(fields: &mut Fields<'_, '_>, protocol: Option<UpstreamProtocol>) -> Read<Option<ProxyHeader>> {
    let words = [("off", None), ("v1", Some(ProxyHeader::V1)), ("v2", Some(ProxyHeader::V2))];
    let found = fields.choice("proxy_protocol", &words)?;
    if let (Some(_), Some(UpstreamProtocol::Http2 | UpstreamProtocol::Auto), Some(entry)) =
        (found, protocol, fields.written("proxy_protocol"))
    {
        let fault = Fault::new(
            Code::Conflict,
            "`proxy_protocol` gives each client connections of its own, which HTTP/2 would share among clients",
        )
        .hint("write `protocol: http1`, or remove `proxy_protocol`");
        fields.reader().under(&entry.key, |reader| reader.error(entry.key_place, fault));
        return None;
    }
    Some(found)
}

/// The endpoints, with the scheme that they share.
fn read_endpoints(fields: &mut Fields<'_, '_>) -> Option<(Vec<Endpoint>, Scheme)> {
    fields.get("endpoints", |reader, node, field| {
        let mut seen: HashSet<Arc<str>> = HashSet::new();
        let mut scheme = None;
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
            if *scheme.get_or_insert(url.scheme) != url.scheme {
                let fault =
                    Fault::new(Code::Conflict, "the endpoints of an upstream are all `http://` or all `https://`")
                        .hint("make two upstreams of it, and share a route between them with `split`");
                reader.error(place, fault);
                return None;
            }
            if !seen.insert(Arc::clone(&url.address)) {
                let fault = Fault::new(Code::DuplicateName, "this endpoint is named twice in this upstream")
                    .hint("give it a `weight` to send it more");
                reader.error(place, fault);
                return None;
            }
            Some(Endpoint { host: url.host, port: url.port, weight, address: url.address })
        })?;
        let Some(scheme) = scheme else {
            reader.error(node.place, Fault::invalid("an upstream needs at least one endpoint"));
            return None;
        };
        Some((endpoints, scheme))
    })
}

fn read_timeouts(fields: &mut Fields<'_, '_>) -> Option<UpstreamTimeouts> {
    let connect = fields.duration("connect");
    let response_headers = fields.duration("response_headers");
    let idle = fields.duration("idle");
    let total = fields.duration_or_off("total");
    let tunnel = fields.duration_or_off("tunnel");
    Some(UpstreamTimeouts {
        connect: connect?,
        response_headers: response_headers?,
        idle: idle?,
        total: total?,
        tunnel: tunnel?,
    })
}

fn read_pool(fields: &mut Fields<'_, '_>) -> Option<Pool> {
    let idle = fields.count("idle");
    let idle_for = fields.duration("idle_for");
    let connections = fields.count("connections");
    let queue = fields.count("queue");
    let streams = fields.count("streams");
    let stream_window = fields.size("stream_window");
    Some(Pool {
        idle: idle?,
        idle_for: idle_for?,
        connections: connections?,
        queue: queue?,
        streams: streams?,
        stream_window: stream_window?,
    })
}

/// The upstreams that `target`s stand for, made on demand: one for each origin, with the defaults of every upstream.
pub(super) struct Targets {
    timeouts: UpstreamTimeouts,
    pool: Pool,
    by_origin: HashMap<(Scheme, Arc<str>), usize>,
}

impl Targets {
    /// Reads the defaults from the declaration.
    pub(super) fn new(reader: &mut Reader<'_>) -> Option<Self> {
        let timeouts = reader.defaults(&TIMEOUTS, read_timeouts)?;
        let pool = reader.defaults(&POOL, read_pool)?;
        Some(Self { timeouts, pool, by_origin: HashMap::new() })
    }

    /// The index of the upstream for this target.
    pub(super) fn index(&mut self, url: &Url, at: impl FnOnce() -> Origin, upstreams: &mut Vec<Upstream>) -> usize {
        let origin = (url.scheme, Arc::clone(&url.address));
        if let Some(index) = self.by_origin.get(&origin) {
            return *index;
        }
        let endpoint =
            Endpoint { host: Arc::clone(&url.host), port: url.port, weight: 1, address: Arc::clone(&url.address) };
        upstreams.push(Upstream {
            name: format!("{}://{}", url.scheme.as_str(), url.address).into(),
            endpoints: vec![endpoint],
            timeouts: self.timeouts.clone(),
            pool: self.pool.clone(),
            protocol: UpstreamProtocol::Http1,
            tls: (url.scheme == Scheme::Https).then(|| Arc::new(UpstreamTls::new())),
            proxy_protocol: None,
            at: at(),
        });
        self.by_origin.insert(origin, upstreams.len() - 1);
        upstreams.len() - 1
    }
}
