//! `upstreams.NAME.endpoints`: where an upstream's requests go.

use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashSet;

use crate::config::field::{Field, Kind, Section};
use crate::config::fields::Fields;
use crate::config::problem::Code;
use crate::config::reader::Reader;
use crate::config::report::Fault;
use crate::config::tree::{Node, Place, Value};
use crate::config::url::{self, Scheme, Url};

/// One address of an upstream, or one name whose SRV records are its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name, IPv4 or IPv6 literal without brackets; lower case.
    pub host: Arc<str>,
    /// 0 where SRV records have the ports.
    pub port: u16,
    /// Share of the traffic relative to its siblings; at least 1.
    pub weight: u32,
    /// Chosen only where too few of the others can be.
    pub backup: bool,
    /// Whether ports, weights and tiers come from the SRV records of `host`.
    pub srv: bool,
    /// `host:port`, IPv6 in brackets; the name alone where SRV records have the ports. What logs, metrics and `Host` for
    /// `forward_host: target` show.
    pub address: Arc<str>,
}

impl Endpoint {
    /// The endpoint that a URL stands for.
    pub(super) fn new(url: Url, weight: u32, backup: bool) -> Self {
        Self { host: url.host, port: url.port, weight, backup, srv: url.srv, address: url.address }
    }

    /// Whether it is a name that can be looked up.
    pub(super) fn is_name(&self) -> bool {
        self.host.parse::<IpAddr>().is_err()
    }
}

/// How an endpoint's URL is written.
const URL: Kind = Kind::Text { what: "a URL such as `http://127.0.0.1:8001`", sample: "http://127.0.0.1:8001" };
/// A weight among siblings.
pub(in crate::config) const WEIGHT: Kind = Kind::Integer { min: 1, max: 65_535 };

static ENDPOINT: Section = Section {
    name: "upstreams.NAME.endpoints[]",
    doc: "The long form of one endpoint.",
    fields: &[&[
        Field::new("url", URL, "Where it is: scheme, host and port.").required(),
        Field::new("weight", WEIGHT, "Its share of the traffic relative to its siblings.").default("1"),
        Field::new("backup", Kind::Boolean, "Whether it is chosen only where too few of the others can be.")
            .default("false"),
    ]],
};

/// How the list is written.
pub(super) const ENDPOINTS: Kind = Kind::List(&Kind::Short(&URL, &ENDPOINT));

/// The endpoints, with the scheme that they share.
pub(super) fn read_all(fields: &mut Fields<'_, '_>) -> Option<(Vec<Endpoint>, Scheme)> {
    fields.get("endpoints", |reader, node, field| {
        let mut seen: HashSet<Arc<str>> = HashSet::new();
        let mut scheme = None;
        let endpoints = reader.list(node, &field.kind, |reader, node| {
            let (url, weight, backup, place) = read(reader, node)?;
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
            Some(Endpoint::new(url, weight, backup))
        })?;
        let Some(scheme) = scheme else {
            reader.error(node.place, Fault::invalid("an upstream needs at least one endpoint"));
            return None;
        };
        if endpoints.iter().all(|endpoint| endpoint.backup) {
            let fault =
                Fault::invalid("every endpoint here is a backup, and nothing is there that they could stand in for")
                    .hint("remove `backup: true` from one of them");
            reader.error(node.place, fault);
            return None;
        }
        Some((endpoints, scheme))
    })
}

/// One endpoint, and the place of its URL.
fn read<'a>(reader: &mut Reader<'a>, node: &'a Node<'a>) -> Option<(Url, u32, bool, Place)> {
    let Value::Map(_) = &node.value else {
        return Some((reader.parse(node, &URL, url::endpoint)?, 1, false, node.place));
    };
    let mut fields = reader.section(node, &ENDPOINT)?;
    let place = fields.written("url").map_or(node.place, |entry| entry.value.place);
    let url = fields.get("url", |reader, node, field| reader.parse(node, &field.kind, url::endpoint));
    let weight = fields.count("weight");
    let backup = fields.boolean("backup");
    let url = url?;
    let told: Vec<&'static str> =
        ["weight", "backup"].into_iter().filter(|key| fields.written(key).is_some()).collect();
    if url.srv && !told.is_empty() {
        for key in told {
            let fault = Fault::new(Code::Conflict, format!("`{key}` comes from the SRV records of this name"))
                .hint(format!("remove `{key}`: the records' priorities make the tiers, their weights the shares"));
            fields.fault(key, fault);
        }
        return None;
    }
    Some((url, weight?, backup?, place))
}
