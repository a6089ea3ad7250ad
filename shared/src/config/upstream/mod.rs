//! The section `upstreams`: named groups of endpoints. Each section within has its own file.

mod balance;
mod breaker;
mod eject;
mod endpoint;
mod in_flight;
mod pool;
mod probe;
mod resolve;
mod retry;
mod sticky;
mod targets;
mod timeouts;
mod wire;

pub use balance::{Balance, HashBy};
pub use breaker::Breaker;
pub use eject::Eject;
pub use endpoint::Endpoint;
pub use in_flight::InFlight;
pub use pool::Pool;
pub use probe::{HttpProbe, Initial, Probe, ProbeKind, ProbeMethod};
pub use resolve::Resolve;
pub use retry::Retry;
pub use sticky::Sticky;
pub use timeouts::UpstreamTimeouts;
pub use wire::{ProxyHeader, UpstreamProtocol};

pub(super) use endpoint::WEIGHT;
pub(super) use retry::{RETRY, read as read_retry};
pub(super) use targets::Targets;

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashSet;

use super::field::{Field, Kind, Section};
use super::fields::Fields;
use super::problem::Code;
use super::reader::Reader;
use super::report::Fault;
use super::tls::{self, UpstreamTls};
use super::tree::{Node, Place};
use super::{Name, Origin, Percent, name};

/// One upstream. Its identity over reloads is its name; an endpoint's is the upstream's name with its address.
#[derive(Clone, Debug)]
pub struct Upstream {
    pub name: Name,
    /// At least one, and one that is no backup; addresses are distinct.
    pub endpoints: Vec<Endpoint>,
    pub balance: Balance,
    pub sticky: Option<Arc<Sticky>>,
    pub probe: Option<Arc<Probe>>,
    pub eject: Option<Arc<Eject>>,
    pub breaker: Option<Arc<Breaker>>,
    pub retry: Option<Arc<Retry>>,
    pub in_flight: Option<InFlight>,
    /// How long an endpoint that comes back is given less than its share.
    pub slow_start: Option<Duration>,
    /// Where a smaller share of the endpoints is usable, all are used.
    pub panic_below: Option<Percent>,
    /// None: a name is looked up for each new connection.
    pub resolve: Option<Arc<Resolve>>,
    pub timeouts: UpstreamTimeouts,
    pub pool: Pool,
    pub protocol: UpstreamProtocol,
    /// Some exactly where the endpoints are `https://`.
    pub tls: Option<Arc<UpstreamTls>>,
    /// The PROXY header that every connection begins with; none: none is sent.
    pub proxy_protocol: Option<ProxyHeader>,
    pub at: Origin,
}

impl Upstream {
    /// Whether it says the same, wherever it is written.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let Self {
            name,
            endpoints,
            balance,
            sticky,
            probe,
            eject,
            breaker,
            retry,
            in_flight,
            slow_start,
            panic_below,
            resolve,
            timeouts,
            pool,
            protocol,
            tls,
            proxy_protocol,
            at: _,
        } = self;
        *name == other.name
            && *endpoints == other.endpoints
            && *balance == other.balance
            && *sticky == other.sticky
            && *probe == other.probe
            && *eject == other.eject
            && *breaker == other.breaker
            && *retry == other.retry
            && *in_flight == other.in_flight
            && *slow_start == other.slow_start
            && *panic_below == other.panic_below
            && *resolve == other.resolve
            && *timeouts == other.timeouts
            && *pool == other.pool
            && *protocol == other.protocol
            && *tls == other.tls
            && *proxy_protocol == other.proxy_protocol
    }
}

/// The declaration of one upstream.
pub(super) static UPSTREAM: Section = Section {
    name: "upstreams.NAME",
    doc: "A named group of endpoints. How all of this works together is told in [upstreams.md](upstreams.md).",
    fields: &[&[
        Field::new(
            "endpoints",
            endpoint::ENDPOINTS,
            "Where requests go: `http://` or `https://` URLs, all of them of one kind, or the long form. `http+srv://NAME` and `https+srv://NAME` take ports, weights and tiers from the SRV records of a name; they need `resolve`.",
        )
        .required(),
        Field::new(
            "balance",
            balance::BALANCE,
            "How requests are spread over the endpoints: in turn, by weight (`round_robin`); to the one with the fewest requests under way for its weight (`least_busy`); to the less busy of two that chance picks (`two_choices`); by chance, by weight (`random`); or by a key: `{hash: {by: ip}}`.",
        )
        .default("round_robin"),
        Field::new("sticky", Kind::Or("off", &Kind::Section(&sticky::STICKY)), "A cookie that keeps a client at its endpoint.").default("off"),
        Field::new("probe", Kind::Or("off", &Kind::Section(&probe::PROBE)), "Endpoints are asked whether they are well.").default("off"),
        Field::new("eject", Kind::Or("off", &Kind::Section(&eject::EJECT)), "Endpoints that fail requests are left out for a while.").default("off"),
        Field::new("breaker", Kind::Or("off", &Kind::Section(&breaker::BREAKER)), "An endpoint that fails too often gets nothing for a while, then a few trials.").default("off"),
        Field::new("retry", Kind::Or("off", &Kind::Section(&RETRY)), "Requests that failed are sent again, where that is safe.").default("off"),
        Field::new("in_flight", Kind::Or("off", &Kind::Section(&in_flight::IN_FLIGHT)), "How many requests are under way at once.").default("off"),
        Field::new("slow_start", Kind::Or("off", &Kind::Duration { min: "100ms", max: "24h" }), "How long an endpoint that comes back gets less than its share: a tenth at first, then evenly more.").default("off"),
        Field::new("panic_below", Kind::Or("off", &eject::SHARE), "Where a smaller share of the endpoints is usable, all are used, whatever probes and ejections say.").default("1%"),
        Field::new("resolve", Kind::Or("off", &Kind::Section(&resolve::RESOLVE)), "Names become one endpoint for each of their addresses; `off`: a name is looked up for each new connection.").default("off"),
        Field::new("timeouts", Kind::Section(&timeouts::TIMEOUTS), "Times.").filled(),
        Field::new("pool", Kind::Section(&pool::POOL), "Connections.").filled(),
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
    let endpoints = endpoint::read_all(&mut fields);
    let balance = balance::read(&mut fields);
    let sticky = fields.section_or_off("sticky", sticky::read);
    let probe = fields.section_or_off("probe", probe::read);
    let eject = fields.section_or_off("eject", eject::read);
    let breaker = fields.section_or_off("breaker", breaker::read);
    let retry = fields.section_or_off("retry", retry::read);
    let in_flight = fields.section_or_off("in_flight", in_flight::read);
    let slow_start = fields.duration_or_off("slow_start");
    let panic_below = fields.percent_or_off("panic_below");
    let resolve = fields.section_or_off("resolve", resolve::read);
    let timeouts = fields.section("timeouts", timeouts::read);
    let pool = fields.section("pool", pool::read);
    let protocol = wire::read_protocol(&mut fields);
    let tls = wire::read_tls(&mut fields, endpoints.as_ref().map(|(_, scheme)| *scheme));
    let proxy_protocol = wire::read_proxy_protocol(&mut fields, protocol);
    if let (Some((endpoints, _)), Some(resolve)) = (&endpoints, &resolve) {
        check_names(&mut fields, endpoints, resolve.is_some())?;
    }
    if let (Some((endpoints, _)), Some(Some(eject)), Some(None)) = (&endpoints, &eject, &resolve) {
        warn_never_ejects(&mut fields, endpoints.len(), eject);
    }
    if let (Some(Balance::Hash(_)), Some(Some(_))) = (&balance, &sticky) {
        let fault = Fault::new(
            Code::Unused,
            "`sticky` comes before `balance`: the hash only places clients that have no cookie yet",
        )
        .hint("remove one of the two");
        fields.warn("balance", fault);
    }
    Some(Upstream {
        name,
        endpoints: endpoints?.0,
        balance: balance?,
        sticky: sticky?.map(Arc::new),
        probe: probe?.map(Arc::new),
        eject: eject?.map(Arc::new),
        breaker: breaker?.map(Arc::new),
        retry: retry?.map(Arc::new),
        in_flight: in_flight?,
        slow_start: slow_start?,
        panic_below: panic_below?,
        resolve: resolve?.map(Arc::new),
        timeouts: timeouts?,
        pool: pool?,
        protocol: protocol?,
        tls: tls?,
        proxy_protocol: proxy_protocol?,
        at,
    })
}

/// Whether names of SRV records are looked up, and whether there are names to be looked up.
fn check_names(fields: &mut Fields<'_, '_>, endpoints: &[Endpoint], resolves: bool) -> Option<()> {
    if !resolves && endpoints.iter().any(|endpoint| endpoint.srv) {
        let fault = Fault::new(Code::MissingKey, "SRV records are only looked up with `resolve`")
            .hint("add `resolve: {every: 30s}` to this upstream");
        fields.fault("endpoints", fault);
        return None;
    }
    if resolves && !endpoints.iter().any(Endpoint::is_name) {
        let fault = Fault::new(Code::Unused, "there is nothing to resolve: every endpoint is an address already")
            .hint("remove `resolve`");
        fields.warn("resolve", fault);
    }
    Some(())
}

/// A share of the endpoints that is less than one of them.
fn warn_never_ejects(fields: &mut Fields<'_, '_>, endpoints: usize, eject: &Eject) {
    if eject.max_percent.of_many(endpoints) > 0 {
        return;
    }
    let all = if endpoints == 1 { "the one endpoint".to_owned() } else { format!("{endpoints} endpoints") };
    let fault = Fault::new(
        Code::Unused,
        format!("nothing is ever ejected: {} of {all} is less than one (`max_percent`)", eject.max_percent),
    )
    .hint("name more endpoints, or write a larger `max_percent`");
    fields.warn("eject", fault);
}
