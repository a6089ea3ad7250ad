//! The list `server.listen`: the addresses where clients knock, and what is spoken there.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;

use super::field::{Field, Kind, Section};
use super::fields::Fields;
use super::problem::Code;
use super::reader::{Read, Reader, is_word};
use super::report::Fault;
use super::tls::{self, ListenTls};
use super::tree::{Node, Place, Value};

/// One traffic listener. Its identity is its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    pub address: SocketAddr,
    /// None: clear text.
    pub tls: Option<Arc<ListenTls>>,
    pub protocols: Protocols,
    /// The PROXY header that every connection must begin with; none: none is expected.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Every request is sent on to `https` on this port; never beside `tls`. 0: the port that the first listener with TLS is
    /// given by the system.
    pub https_redirect: Option<u16>,
}

/// What is spoken on a listener: at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocols {
    pub http1: bool,
    /// By ALPN over TLS, by prior knowledge in clear text.
    pub http2: bool,
}

impl Protocols {
    const BOTH: Self = Self { http1: true, http2: true };
}

/// Which form of the PROXY header a listener takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    V1,
    V2,
    Any,
}

pub(super) const ADDRESS: Kind =
    Kind::Text { what: "an address with a port, such as `0.0.0.0:8000`", sample: "127.0.0.1:8000" };

/// The declaration of the long form.
pub(super) static LISTENER: Section = Section {
    name: "server.listen[]",
    doc: "The long form of one listener.",
    fields: &[&[
        Field::new("address", ADDRESS, "Address and port.").required(),
        Field::new("tls", Kind::Section(&tls::LISTEN_TLS), "TLS; without it the listener speaks clear text."),
        Field::new(
            "protocols",
            Kind::OneOrMany(&Kind::Choice(&["http1", "http2"])),
            "What is spoken: HTTP/2 is agreed on by ALPN over TLS, and begun by prior knowledge in clear text.",
        )
        .default("[http1, http2]"),
        Field::new(
            "proxy_protocol",
            Kind::Choice(&["off", "v1", "v2", "any"]),
            "The PROXY protocol: every connection must come from one of `server.trusted_proxies` and begin with a header of this version, which says who the client is.",
        )
        .default("off"),
        Field::new(
            "https_redirect",
            Kind::Or("off", &Kind::Or("on", &Kind::Integer { min: 1, max: 65_535 })),
            "Every request is answered with 308 to the same URL with `https`, on this port; `on`: the port of the first listener with `tls`, 443 where there is none. Not beside `tls`.",
        )
        .default("off"),
    ]],
};

/// As written: where `on` leads to is known when all listeners are.
#[derive(Clone, Copy)]
enum Redirect {
    Off,
    On,
    Port(u16),
}

/// Reads the list. `trusted`: `server.trusted_proxies`; none where it is broken.
pub(super) fn read(fields: &mut Fields<'_, '_>, trusted: Option<&[IpNet]>) -> Option<Vec<Listen>> {
    if fields.written("listen").is_none() {
        let address = fields.scalar("listen", |reader, node, field| address(reader, node, &field.kind))?;
        return Some(vec![Listen::plain(address)]);
    }
    let drafts = fields.get("listen", |reader, node, field| {
        let mut seen: HashMap<SocketAddr, Place> = HashMap::new();
        let listen = reader.one_or_many(node, &field.kind, |reader, node| {
            let (listen, redirect, place) = match &node.value {
                Value::Map(_) => read_long(reader, node, trusted)?,
                Value::Scalar(_) | Value::List(_) => {
                    (Listen::plain(address(reader, node, &ADDRESS)?), Redirect::Off, node.place)
                }
            };
            // Port 0 asks the system for a free port: each such listener gets its own.
            if listen.address.port() != 0
                && let Some(first) = seen.insert(listen.address, place)
            {
                let fault = Fault::new(
                    Code::DuplicateName,
                    format!("this address is already listened on, see {}", reader.texts.origin(first)),
                )
                .hint("an address can be listened on once");
                reader.error(place, fault);
                return None;
            }
            Some((listen, redirect))
        })?;
        if listen.is_empty() {
            reader.error(
                node.place,
                Fault::invalid("this list is empty: nobody could come in").hint("listen: 0.0.0.0:8000"),
            );
            return None;
        }
        Some(listen)
    })?;
    let first_tls = drafts.iter().find(|(listen, _)| listen.tls.is_some());
    let https_port = first_tls.map_or(443, |(listen, _)| listen.address.port());
    let settled = drafts.into_iter().map(|(listen, redirect)| {
        let https_redirect = match redirect {
            Redirect::Off => None,
            Redirect::On => Some(https_port),
            Redirect::Port(port) => Some(port),
        };
        Listen { https_redirect, ..listen }
    });
    Some(settled.collect())
}

impl Listen {
    /// What the short form means.
    fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None, protocols: Protocols::BOTH, proxy_protocol: None, https_redirect: None }
    }
}

/// The long form, with the place of its address.
fn read_long<'a>(
    reader: &mut Reader<'a>,
    node: &'a Node<'a>,
    trusted: Option<&[IpNet]>,
) -> Option<(Listen, Redirect, Place)> {
    let mut fields = reader.section(node, &LISTENER)?;
    let place = fields.written("address").map_or(node.place, |entry| entry.value.place);
    let address = fields.get("address", |reader, node, field| address(reader, node, &field.kind));
    let tls = match fields.written("tls") {
        None => Some(None),
        Some(_) => fields.get("tls", |reader, node, _| tls::read_listen(reader, node)).map(|tls| Some(Arc::new(tls))),
    };
    let protocols = read_protocols(&mut fields);
    let proxy_protocol = read_proxy_protocol(&mut fields, trusted);
    let redirect = fields.scalar("https_redirect", |reader, node, field| {
        if is_word(node, "off") {
            return Some(Redirect::Off);
        }
        if is_word(node, "on") {
            return Some(Redirect::On);
        }
        reader.parse(node, &field.kind, |text| match text.parse::<u16>() {
            Ok(port) if port > 0 => Ok(Redirect::Port(port)),
            Ok(_) | Err(_) => {
                Err(Fault::new(Code::WrongType, "expected `off`, `on` or the number of a port, 1 to 65535"))
            }
        })
    });
    if let (Some(Redirect::On | Redirect::Port(_)), Some(_), Some(entry)) =
        (redirect, fields.written("tls"), fields.written("https_redirect"))
    {
        let fault = Fault::new(Code::Conflict, "`https_redirect` sends clients to TLS, which this listener speaks")
            .hint("write it on the listener that takes clear text, such as the one on port 80");
        fields.reader().under(&entry.key, |reader| reader.error(entry.key_place, fault));
    }
    let listen = Listen {
        address: address?,
        tls: tls?,
        protocols: protocols?,
        proxy_protocol: proxy_protocol?,
        https_redirect: None,
    };
    Some((listen, redirect?, place))
}

fn read_protocols(fields: &mut Fields<'_, '_>) -> Option<Protocols> {
    let mut protocols = Protocols { http1: false, http2: false };
    let written = fields.list_of("protocols", |reader, node, kind| {
        let is_http2 = reader.choice(node, kind, &[("http1", false), ("http2", true)])?;
        let one = if is_http2 { &mut protocols.http2 } else { &mut protocols.http1 };
        if std::mem::replace(one, true) {
            reader
                .error(node.place, Fault::new(Code::DuplicateName, "this protocol is named twice").hint("remove one"));
            return None;
        }
        Some(())
    })?;
    let Some(entry) = fields.written("protocols") else { return Some(Protocols::BOTH) };
    if written.is_empty() {
        let fault = Fault::invalid("this list is empty: nothing would be spoken").hint("protocols: [http1, http2]");
        fields.reader().under(&entry.key, |reader| reader.error(entry.value.place, fault));
        return None;
    }
    Some(protocols)
}

fn read_proxy_protocol(fields: &mut Fields<'_, '_>, trusted: Option<&[IpNet]>) -> Read<Option<ProxyProtocol>> {
    let words = [
        ("off", None),
        ("v1", Some(ProxyProtocol::V1)),
        ("v2", Some(ProxyProtocol::V2)),
        ("any", Some(ProxyProtocol::Any)),
    ];
    let found = fields.choice("proxy_protocol", &words)?;
    if let (Some(_), Some([]), Some(entry)) = (found, trusted, fields.written("proxy_protocol")) {
        let fault = Fault::new(
            Code::MissingKey,
            "`proxy_protocol` takes connections from `server.trusted_proxies` only, which is empty: nobody could come in",
        )
        .hint("list the balancers: `trusted_proxies: [10.0.0.0/8]`");
        fields.reader().under(&entry.key, |reader| reader.error(entry.value.place, fault));
        return None;
    }
    Some(found)
}

/// An address with its port.
pub(super) fn address(reader: &mut Reader<'_>, node: &Node<'_>, kind: &Kind) -> Option<SocketAddr> {
    reader.parse(node, kind, |text| {
        text.parse().map_err(|_| {
            let fault = Fault::invalid("this is not an address with a port");
            if text.parse::<IpAddr>().is_ok() {
                fault.hint(if text.contains(':') {
                    "write it as `[::1]:8000`"
                } else {
                    "add the port, as in `127.0.0.1:8000`"
                })
            } else if text.strip_prefix(':').unwrap_or(text).parse::<u16>().is_ok() {
                fault.hint("name the address too: `0.0.0.0:PORT` for all IPv4 addresses, `[::]:PORT` for all")
            } else {
                fault.hint("write it as `127.0.0.1:8000` or `[::1]:8000`; names are not looked up")
            }
        })
    })
}
