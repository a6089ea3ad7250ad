//! The section `server`: where clients knock, and the limits that hold before any route is known.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::field::{Field, Kind, Section};
use super::fields::Fields;
use super::listen::{self, ADDRESS, LISTENER, Listen};
use super::path;
use super::reader::{Read, Reader, is_word};
use super::report::Fault;
use super::tree::Node;

/// `server`.
#[derive(Clone, Debug)]
pub struct Server {
    /// At least one; addresses are distinct.
    pub listen: Vec<Listen>,
    /// Worker threads; none: one per core. Cannot change while running.
    pub workers: Option<NonZeroUsize>,
    /// Whose X-Forwarded-* and Forwarded are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Audit store, config history. Cannot change while running.
    pub state_dir: PathBuf,
    /// A path that answers health on the traffic listeners; none: off.
    pub health_path: Option<Arc<str>>,
    /// Whether `//` in a path counts as `/`.
    pub merge_slashes: bool,
    pub limits: Limits,
    pub timeouts: ServerTimeouts,
}

/// `server.limits`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open client connections over all listeners and workers.
    pub connections: usize,
    /// Bytes of the request line.
    pub request_line: usize,
    /// Bytes of the whole header section.
    pub headers: usize,
    /// Header lines.
    pub header_count: usize,
    /// Open connections of one client address over all listeners and workers; none: no bound.
    pub connections_per_address: Option<usize>,
    /// Requests after which a connection is closed; none: no bound.
    pub requests_per_connection: Option<u64>,
    /// HTTP/2 requests at once on one connection.
    pub streams: u32,
    /// Bytes of a request body that one HTTP/2 stream may send ahead of what was taken of it.
    pub stream_window: u32,
}

/// `server.timeouts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTimeouts {
    /// From the first byte of a request to the end of its header section.
    pub request_headers: Duration,
    /// The longest gap between two reads of a request body.
    pub request_body: Duration,
    /// How long a connection may wait for its next request.
    pub keep_alive: Duration,
    /// How long a stop waits for requests under way.
    pub drain: Duration,
    /// From the opening of a connection to the end of its PROXY header and its TLS handshake.
    pub handshake: Duration,
    /// How long a client may take nothing of its answer.
    pub write: Duration,
}

/// HTTP/2 requests at once on one connection.
pub(super) const STREAMS: Kind = Kind::Integer { min: 1, max: 10_000 };
/// What one HTTP/2 stream may send ahead.
pub(super) const STREAM_WINDOW: Kind = Kind::Size { min: "1KiB", max: "16MiB" };

static LIMITS: Section = Section {
    name: "server.limits",
    doc: "What a client may ask of the server before any route is known.",
    fields: &[&[
        Field::new(
            "connections",
            Kind::Integer { min: 1, max: 10_000_000 },
            "Open client connections over all listeners and workers.",
        )
        .default("10000"),
        Field::new("request_line", Kind::Size { min: "64B", max: "1MiB" }, "The longest request line (414 beyond it).")
            .default("8KiB"),
        Field::new(
            "headers",
            Kind::Size { min: "256B", max: "16MiB" },
            "All header lines of a request together (431 beyond it).",
        )
        .default("32KiB"),
        Field::new("header_count", Kind::Integer { min: 1, max: 10_000 }, "Header lines of a request (431 beyond it).")
            .default("100"),
        Field::new(
            "connections_per_address",
            Kind::Or("off", &Kind::Integer { min: 1, max: 10_000_000 }),
            "Open connections of one client address, over all listeners and workers; further ones are closed at once. The address is the one that the connection comes from, or that a PROXY header names.",
        )
        .default("off"),
        Field::new(
            "requests_per_connection",
            Kind::Or("off", &Kind::Integer { min: 1, max: 1_000_000_000 }),
            "Requests after which a connection is closed in good order.",
        )
        .default("off"),
        Field::new("streams", STREAMS, "HTTP/2: requests at once on one connection.").default("100"),
        Field::new(
            "stream_window",
            STREAM_WINDOW,
            "HTTP/2: how much of a request body one stream may send ahead of what was taken of it.",
        )
        .default("64KiB"),
    ]],
};

static TIMEOUTS: Section = Section {
    name: "server.timeouts",
    doc: "How long clients may take.",
    fields: &[&[
        Field::new("request_headers", Kind::Duration { min: "10ms", max: "1h" }, "From the first byte of a request, of a connection's first request from its opening, to the end of the headers (408 once something came): the defence against slow headers.").default("10s"),
        Field::new("request_body", Kind::Duration { min: "10ms", max: "24h" }, "The longest gap between two reads of a request body.").default("30s"),
        Field::new("keep_alive", Kind::Duration { min: "10ms", max: "24h" }, "How long a connection may wait for its next request.").default("75s"),
        Field::new("drain", Kind::Duration { min: "0s", max: "24h" }, "How long a stop waits for requests under way; `0s`: not at all.").default("30s"),
        Field::new("handshake", Kind::Duration { min: "10ms", max: "1h" }, "From the opening of a connection to the end of its PROXY header and its TLS handshake, together.").default("10s"),
        Field::new("write", Kind::Duration { min: "10ms", max: "24h" }, "A client that takes nothing of its answer for so long is given up.").default("60s"),
    ]],
};

pub(super) const NETWORK: Kind =
    Kind::Text { what: "an address or a network such as `10.0.0.0/8`", sample: "127.0.0.0/8" };

/// The declaration of the section.
pub(super) static SERVER: Section = Section {
    name: "server",
    doc: "Where clients knock, and the limits that hold before any route is known.",
    fields: &[&[
        Field::new("listen", Kind::OneOrMany(&Kind::Short(&ADDRESS, &LISTENER)), "One address with its port, or a list; each may be the long form.").default("0.0.0.0:8000"),
        Field::new("workers", Kind::Or("auto", &Kind::Integer { min: 1, max: 1024 }), "Worker threads; `auto`: one per core. Changing it needs a restart.").default("auto"),
        Field::new("trusted_proxies", Kind::List(&NETWORK), "Addresses and networks whose `X-Forwarded-*` and `Forwarded` headers are believed. They are never banned themselves.").default("[]"),
        Field::new("state_dir", Kind::Text { what: "a path", sample: "data" }, "Where the audit store, the config history and what is said of endpoints at run time live. Changing it needs a restart. The default is relative to the working directory.").default("./data"),
        Field::new("health_path", Kind::Or("off", &Kind::Text { what: "a path such as `/healthz`", sample: "/healthz" }), "A path that answers health on the traffic listeners too.").default("off"),
        Field::new("merge_slashes", Kind::Boolean, "Whether `//` in a path counts as `/`. Without it `//admin` is not under `/admin`: it takes the route for `/`, whose `auth` may be none.").default("false"),
        Field::new("limits", Kind::Section(&LIMITS), "Sizes and counts.").filled(),
        Field::new("timeouts", Kind::Section(&TIMEOUTS), "Times.").filled(),
    ]],
};

/// Reads the section.
pub(super) fn read(fields: &mut Fields<'_, '_>) -> Option<Server> {
    let workers = fields.scalar("workers", |reader, node, field| {
        if is_word(node, "auto") {
            return Some(None);
        }
        let count = reader.integer(node, &field.kind)?;
        Some(NonZeroUsize::new(usize::try_from(count).ok()?))
    });
    let trusted_proxies = match fields.written("trusted_proxies") {
        None => Some(Vec::new()),
        Some(_) => fields.get("trusted_proxies", |reader, node, field| {
            reader.list(node, &field.kind, |reader, node| network(reader, node))
        }),
    };
    let listen = listen::read(fields, trusted_proxies.as_deref());
    let state_dir = fields.scalar("state_dir", |reader, node, field| reader.file_path(node, &field.kind));
    let health_path = fields.scalar("health_path", |reader, node, field| {
        if is_word(node, "off") {
            return Some(None);
        }
        reader.parse(node, &field.kind, path::literal).map(Some)
    });
    let merge_slashes = fields.boolean("merge_slashes");
    let limits = fields.section("limits", |fields| {
        let connections = fields.count("connections");
        let request_line = fields.size("request_line");
        let headers = fields.size("headers");
        let header_count = fields.count("header_count");
        let connections_per_address = count_or_off(fields, "connections_per_address");
        let requests_per_connection = count_or_off(fields, "requests_per_connection");
        let streams = fields.count("streams");
        let stream_window = fields.size("stream_window");
        Some(Limits {
            connections: connections?,
            request_line: request_line?,
            headers: headers?,
            header_count: header_count?,
            connections_per_address: connections_per_address?,
            requests_per_connection: requests_per_connection?,
            streams: streams?,
            stream_window: stream_window?,
        })
    });
    let timeouts = fields.section("timeouts", |fields| {
        let request_headers = fields.duration("request_headers");
        let request_body = fields.duration("request_body");
        let keep_alive = fields.duration("keep_alive");
        let drain = fields.duration("drain");
        let handshake = fields.duration("handshake");
        let write = fields.duration("write");
        Some(ServerTimeouts {
            request_headers: request_headers?,
            request_body: request_body?,
            keep_alive: keep_alive?,
            drain: drain?,
            handshake: handshake?,
            write: write?,
        })
    });
    Some(Server {
        listen: listen?,
        workers: workers?,
        trusted_proxies: trusted_proxies?,
        state_dir: state_dir?,
        health_path: health_path?,
        merge_slashes: merge_slashes?,
        limits: limits?,
        timeouts: timeouts?,
    })
}

fn count_or_off<T: TryFrom<i64>>(fields: &mut Fields<'_, '_>, key: &'static str) -> Read<Option<T>> {
    fields.scalar(key, |reader, node, field| {
        if is_word(node, "off") {
            return Some(None);
        }
        T::try_from(reader.integer(node, &field.kind)?).ok().map(Some)
    })
}

/// A network, or a single address as the network of it alone.
pub(super) fn network(reader: &mut Reader<'_>, node: &Node<'_>) -> Option<IpNet> {
    network_or(reader, node, "write it as `10.6.6.6`, `10.0.0.0/8` or `2001:db8::/32`")
}

/// The same, with what to write in place of what is none.
pub(super) fn network_or(reader: &mut Reader<'_>, node: &Node<'_>, hint: &str) -> Option<IpNet> {
    let mut has_more = false;
    let network = reader.parse(node, &NETWORK, |text| {
        has_more = text.parse::<IpNet>().is_ok_and(|network| network != network.trunc());
        parse_network(text).ok_or_else(|| Fault::invalid("this is not an address or network").hint(hint))
    })?;
    if has_more {
        let message = format!("there are bits behind the prefix: all of {network} is meant");
        let hint = format!("write `{network}`, or the address alone");
        reader.warn(node.place, Fault::invalid(message).hint(hint));
    }
    Some(network)
}

/// A network, or an address as the network of it alone; IPv4 that is written as IPv6 is IPv4, as clients' addresses are.
#[must_use]
pub fn parse_network(text: &str) -> Option<IpNet> {
    const MAPPED_BITS: u8 = 96;
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()?;
    let mapped = match network {
        IpNet::V6(v6) => v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(MAPPED_BITS)),
        IpNet::V4(_) => None,
    };
    match mapped {
        Some((v4, size)) => IpNet::new(v4.into(), size).ok().map(|network| network.trunc()),
        None => Some(network.trunc()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(parse_network(text).map(|network| network.to_string()).as_deref(), expected, "{text}");
    }

    #[test]
    fn networks_are_as_clients_addresses_are() {
        check("10.6.6.6", Some("10.6.6.6/32"));
        check("10.6.6.6/8", Some("10.0.0.0/8"));
        check("::ffff:10.6.6.6", Some("10.6.6.6/32"));
        check("::ffff:10.0.0.0/104", Some("10.0.0.0/8"));
        check("::ffff:10.6.6.6/104", Some("10.0.0.0/8"));
        check("::ffff:0:0/96", Some("0.0.0.0/0"));
        check("::ffff:0:0/95", Some("::fffe:0:0/95"));
        check("2001:DB8::1/32", Some("2001:db8::/32"));
        check("::1", Some("::1/128"));
        check("10.0.0.0/33", None);
        check("localhost", None);
    }
}
