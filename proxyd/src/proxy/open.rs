//! The opening of an exchange: who asks, for which host, under which id; and whether the head can be served at all.

use std::borrow::Cow;
use std::net::IpAddr;
use std::rc::Rc;

use http1::{Target, Version};
use serde_json::{Map, Value as Json};
use shared::audit::Mask;
use shared::decide::client;
use shared::routing::Table;
use shared::routing::host_of;

use crate::exchange::finish::Opening;
use crate::exchange::{Exchange, Finish, Headers, Ledger, Notes, Peer, Rejection, Request, RequestHead, Trail, name};
use crate::telemetry::ids::RequestId;
use crate::worker::Local;

/// Those that servers know (RFC 9110 section 9.3, RFC 5789), and may know in other letters too.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"];

/// A longer user agent is cut: it is recorded, and routes nothing.
const MAX_USER_AGENT: usize = 512;

/// Opens an exchange. A request that cannot be served is opened all the same, with the reason: it is recorded too.
pub(super) fn open(
    request: &mut Request,
    peer: &Rc<Peer>,
    local: &Local,
    ledger: &Rc<Ledger>,
) -> (Exchange, Option<Rejection>) {
    let started = ledger.clock.now();
    let snapshot = &*local.snapshot;
    let config = &*snapshot.checked.config;
    let head = &request.head;
    let headers = head.headers();
    let authority = authority(head);
    let host = authority.as_ref().map(|authority| host_of(authority)).unwrap_or_default();
    let trusted = client::is_within(&config.server.trusted_proxies, peer.ip);
    let client = if trusted { behind_proxies(peer.ip, headers, &config.server.trusted_proxies) } else { peer.ip };
    let own_id = ledger.ids.next();
    let id = match headers.get(&name::X_REQUEST_ID) {
        Some(id) if RequestId::sane(id) => std::str::from_utf8(id).unwrap_or(own_id.as_str()),
        Some(_) | None => own_id.as_str(),
    };
    let behind = (client != peer.ip).then(|| client.to_string());
    let client_text = behind.as_deref().unwrap_or(&peer.ip_text);
    let user_agent = headers.get(&name::USER_AGENT).map(text).unwrap_or_default();
    let query = snapshot.mask.query(head.query().unwrap_or_default());
    let matched = matched(&snapshot.table, head, &snapshot.mask);
    let trail = Trail::open([id, client_text, head.method(), &host, &query, cut(&user_agent), &matched], head.path());
    let https = peer.tls
        || trusted && headers.get(&name::X_FORWARDED_PROTO).is_some_and(|proto| proto.eq_ignore_ascii_case(b"https"));
    let opening = Opening { trail, terms: Rc::clone(&local.terms), started, protocol: head.version().as_str(), https };
    let mut finish = Box::new(Finish::open(opening, ledger, peer));
    finish.upload = request.body.upload().cloned();
    let fault = fault(head, authority.is_some());
    let exchange = Exchange {
        finish,
        peer: Rc::clone(peer),
        client,
        trusted,
        https,
        notes: Notes::default(),
        alarm: Rc::clone(&request.alarm),
    };
    (exchange, fault)
}

/// Why a head cannot be served, if so.
fn fault(head: &RequestHead, host_is_good: bool) -> Option<Rejection> {
    if !host_is_good {
        return Some(Rejection::BadHost);
    }
    let method = head.method();
    if METHODS.iter().any(|known| method != *known && method.eq_ignore_ascii_case(known)) {
        return Some(Rejection::BadMethod);
    }
    if method == "CONNECT" {
        return Some(Rejection::ConnectRefused);
    }
    let mut expectations = head.headers().all(&name::EXPECT);
    expectations.any(|expects| !expects.eq_ignore_ascii_case(b"100-continue")).then_some(Rejection::ExpectationUnknown)
}

/// The authority asked for: an absolute target's, else the one `Host` (RFC 9112 section 3.2). None where there is none to
/// trust: several, a malformed one, one that differs from an absolute target's. An HTTP/1.0 client may name none.
fn authority(head: &RequestHead) -> Option<Cow<'_, str>> {
    let mut hosts = head.headers().all(&name::HOST);
    let first = hosts.next();
    if hosts.next().is_some() {
        return None;
    }
    let host = match first {
        // `CONNECT` is refused for what it is.
        None if head.version() == Version::Http10 || head.form() == Target::Authority => None,
        None => return None,
        Some(host) => Some(std::str::from_utf8(host).ok().filter(|host| is_authority(host))?),
    };
    match (head.authority(), host) {
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => None,
        (Some(authority), _) => is_authority(authority).then_some(Cow::Borrowed(authority)),
        (None, host) => Some(Cow::Borrowed(host.unwrap_or_default())),
    }
}

/// Whether this is `host`, `host:port`, `[v6]` or `[v6]:port` (RFC 3986 section 3.2, without userinfo); or empty.
fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((literal, port)) = rest.split_once(']') else { return false };
            if literal.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            ("", port)
        }
        None => match text.find(':') {
            Some(colon) => text.split_at(colon),
            None => (text, ""),
        },
    };
    let port = port.strip_prefix(':').or_else(|| port.is_empty().then_some(""));
    let port_is_good = port.is_some_and(|port| port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()));
    let is_named = !host.is_empty() || text.is_empty() || text.starts_with('[');
    port_is_good && is_named && host.len() <= 255 && is_name(host.as_bytes())
}

/// `reg-name` (RFC 3986 section 3.2.2).
fn is_name(host: &[u8]) -> bool {
    let mut rest = host;
    while let [byte, behind @ ..] = rest {
        rest = match (byte, behind) {
            (b'%', [high, low, behind @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => behind,
            (b'%', _) => return false,
            _ if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(byte) => behind,
            _ => return false,
        };
    }
    true
}

/// As text; what is none is replaced.
fn text(value: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(value).map_or_else(|_| String::from_utf8_lossy(value), Cow::Borrowed)
}

fn behind_proxies(peer: IpAddr, headers: &Headers, trusted: &[ipnet::IpNet]) -> IpAddr {
    let lines = |name| headers.all(name).collect::<Vec<_>>();
    client::address(peer, trusted, &lines(&name::X_FORWARDED_FOR), &lines(&name::FORWARDED))
}

/// What some route's conditions read of this request, as a JSON object: kept for replay. Empty where none reads any.
fn matched(table: &Table, head: &RequestHead, mask: &Mask) -> String {
    if table.headers_read().is_empty() && table.query_read().is_empty() {
        return String::new();
    }
    let mut object = Map::new();
    for wanted in table.headers_read() {
        let values = head.headers().all_named(wanted);
        let shown = values.map(|value| Json::from(mask.header(wanted, &String::from_utf8_lossy(value)).into_owned()));
        let shown: Vec<_> = shown.collect();
        if !shown.is_empty() {
            object.insert(format!("header {wanted}"), Json::from(shown));
        }
    }
    for wanted in table.query_read() {
        let pairs = head.query().unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let shown = pairs.filter(|(name, _)| *name == &**wanted).map(|(name, value)| {
            Json::from(if mask.hides_query(name) { Mask::hidden(value.len()) } else { value.to_owned() })
        });
        let shown: Vec<_> = shown.take(16).collect();
        if !shown.is_empty() {
            object.insert(format!("query {wanted}"), Json::from(shown));
        }
    }
    if object.is_empty() { String::new() } else { Json::from(object).to_string() }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_USER_AGENT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: bool) {
        assert_eq!(is_authority(text), expected, "{text}");
    }

    #[test]
    fn authorities_are_told_from_nonsense() {
        check("", true);
        check("example.org", true);
        check("Example.org:8000", true);
        check("[::1]", true);
        check("[::1]:80", true);
        check("127.0.0.1:", true);
        check("a%20b", true);
        check("a%zz", false);
        check("a%2", false);
        check(":80", false);
        check("a b", false);
        check("u@h", false);
        check("h/x", false);
        check("h:80x", false);
        check("h:123456", false);
        check("[::1", false);
        check("[::1]x", false);
        check("[nonsense]", false);
    }
}
