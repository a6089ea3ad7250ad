//! `upstreams.NAME.resolve`: names of endpoints become one endpoint for each of their addresses.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::config::field::{Field, Kind, Section};
use crate::config::fields::Fields;
use crate::config::problem::Code;
use crate::config::report::Fault;

/// `upstreams.NAME.resolve`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolve {
    /// The longest pause between two look-ups.
    pub every: Duration,
    /// Who is asked; none: whom the system asks.
    pub servers: Vec<SocketAddr>,
    pub timeout: Duration,
}

const SERVER: Kind = Kind::Text { what: "an address such as `127.0.0.1:53`", sample: "127.0.0.1:53" };

/// The declaration of the section.
pub(super) static RESOLVE: Section = Section {
    name: "upstreams.NAME.resolve",
    doc: "Names of endpoints are looked up again and again, and become one endpoint for each of their addresses. A name that cannot be resolved makes no start or reload fail. Without `resolve`, a name is looked up for each new connection.",
    fields: &[&[
        Field::new(
            "every",
            Kind::Duration { min: "1s", max: "24h" },
            "The longest pause between two look-ups; a shorter time to live of the answer is kept to.",
        )
        .default("30s"),
        Field::new(
            "servers",
            Kind::OneOrMany(&SERVER),
            "Which name servers are asked; without a port, port 53. The default is the system's.",
        ),
        Field::new("timeout", Kind::Duration { min: "10ms", max: "1m" }, "How long an answer may take.").default("2s"),
    ]],
};

/// Reads the section.
pub(super) fn read(fields: &mut Fields<'_, '_>) -> Option<Resolve> {
    let every = fields.duration("every");
    let servers = fields.list_of("servers", |reader, node, kind| reader.parse(node, kind, server));
    let timeout = fields.duration("timeout");
    if let (Some([]), Some(_)) = (servers.as_deref(), fields.written("servers")) {
        fields.fault("servers", Fault::invalid("no name server is named here").hint("servers: [127.0.0.1:53]"));
    }
    if let Some(servers) = &servers
        && servers.iter().enumerate().any(|(index, server)| servers.iter().take(index).any(|other| other == server))
    {
        fields.fault("servers", Fault::new(Code::DuplicateName, "a name server is named twice here"));
    }
    Some(Resolve { every: every?, servers: servers?, timeout: timeout? })
}

/// An address, with a port where it is not 53.
fn server(text: &str) -> Result<SocketAddr, Fault> {
    let bare = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, 53));
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(address),
        _ => Err(Fault::invalid("this is not the address of a name server")
            .hint("write it as `127.0.0.1:53` or `[::1]:53`; names are not looked up")),
    }
}
