//! The header lines that a proxy owes: what belongs to one hop is taken off, who came through is written down.

use std::sync::Arc;

use http1::{NameSet, Version};

use crate::exchange::{Exchange, Headers, Name, Request, RequestHead, Response, ResponseHead, Value, name};
use crate::telemetry::clock::Now;

/// What we call ourselves in `Via`, behind the version in which a message came (RFC 9110 section 7.6.3).
fn via(version: Version) -> Value {
    match version {
        Version::Http10 => Value::known("1.0 proxyd"),
        Version::Http11 => Value::known("1.1 proxyd"),
        Version::Http2 => Value::known("2 proxyd"),
    }
}

/// What `Connection` names without meaning a line to be taken off, or one that goes with its hop anyway.
const KNOWN_OPTIONS: [&str; 4] = ["keep-alive", "close", "upgrade", "te"];

/// Lines of one hop (RFC 9110 section 7.6.1), and those that only a proxy would read.
const HOP_BY_HOP: NameSet = NameSet::of(&[
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "proxy-authenticate",
    "upgrade",
]);

/// And those of a request that are answered here. An expectation is met as soon as the body is read; upstream the body is
/// sent without waiting.
const OURS: NameSet = NameSet::of(&["te", "proxy-authorization", "expect"]);

/// What a client may say of where it comes from, beside the family of X-Forwarded.
const ORIGINS: NameSet = NameSet::of(&["client-cert", "client-cert-chain", "forwarded", "x-real-ip"]);

/// Takes off what `Connection` names. Two names it may not take: without them the message would be another.
fn strip_named(headers: &mut Headers) {
    if !headers.has(&name::CONNECTION) {
        return;
    }
    let known = |token: &&[u8]| KNOWN_OPTIONS.iter().any(|known| token.eq_ignore_ascii_case(known.as_bytes()));
    let tokens = headers.all(&name::CONNECTION).flat_map(options).filter(|token| !known(token));
    let named: Vec<Name> = tokens
        .filter_map(|token| Name::parse(std::str::from_utf8(token).ok()?))
        .filter(|named| *named != name::HOST && *named != name::CONTENT_LENGTH)
        .collect();
    for named in &named {
        headers.remove(named);
    }
}

/// Takes off a request, before anything looks at it, what belongs to the client's hop by its own word, and every header that
/// only we may set. Later would be too late: `Connection: x-user` would take off what we say of who it is.
pub(super) fn arrived(request: &mut Request, barred: &Arc<[Name]>) {
    strip_named(request.head.headers_mut());
    if !barred.is_empty() {
        strip_barred(request.head.headers_mut(), barred);
        request.body.bar(barred);
    }
}

/// Takes off headers that only we may set, and their names where a client says that they come behind the body.
fn strip_barred(headers: &mut Headers, barred: &[Name]) {
    headers.remove_alike(barred);
    let is_barred = |named: &[u8]| barred.iter().any(|name| name.is_alike(named));
    if !headers.all(&name::TRAILER).flat_map(options).any(is_barred) {
        return;
    }
    let left: Vec<&[u8]> = headers.all(&name::TRAILER).flat_map(options).collect();
    let left =
        left.into_iter().filter(|named| !named.is_empty() && !is_barred(named)).collect::<Vec<_>>().join(&b", "[..]);
    headers.remove(&name::TRAILER);
    if !left.is_empty() {
        headers.set_text(&name::TRAILER, &left);
    }
}

/// The members of a list (RFC 9110 section 5.6.1).
fn options(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

/// The protocol that the client asks to change to, if it asks. `h2c` is not one: it would let a client speak to the
/// upstream past every check here.
pub(crate) fn upgrade_wanted(head: &RequestHead, extended: bool) -> Option<Value> {
    let headers = head.headers();
    let upgrade = headers.get(&name::UPGRADE)?;
    let asked = headers.all(&name::CONNECTION).flat_map(options).any(|option| option.eq_ignore_ascii_case(b"upgrade"));
    let known = !options(upgrade).any(|protocol| protocol.eq_ignore_ascii_case(b"h2c"));
    if asked && known && (head.version() == Version::Http11 || extended) { Value::from_bytes(upgrade) } else { None }
}

/// Makes a request's lines those of our own hop.
pub(super) fn upstream(exchange: &Exchange, head: &mut RequestHead, upgrade: Option<&Value>) {
    let via = via(head.version());
    // Of an absolute target without a `Host` beside it.
    let named = if head.headers().has(&name::HOST) { None } else { head.authority().map(str::to_owned) };
    let headers = head.headers_mut();
    let trailers = headers.all(&name::TE).flat_map(options).any(is_trailers);
    headers.remove_all(HOP_BY_HOP);
    headers.remove_all(OURS);
    headers.remove_twins();
    if trailers {
        headers.set(&name::TE, Value::known("trailers"));
    }
    // It names what is of this hop only, `TE` too (RFC 9110 section 10.1.4).
    match (upgrade.is_some(), trailers) {
        (true, true) => headers.set(&name::CONNECTION, Value::known("upgrade, te")),
        (true, false) => headers.set(&name::CONNECTION, Value::known("upgrade")),
        (false, true) => headers.set(&name::CONNECTION, Value::known("te")),
        (false, false) => {}
    }
    if let Some(protocol) = upgrade {
        headers.set(&name::UPGRADE, protocol);
    }
    forwarding(exchange, headers);
    if let Some(named) = named
        && !headers.has(&name::X_FORWARDED_HOST)
    {
        headers.set_text(&name::X_FORWARDED_HOST, named.as_bytes());
    }
    headers.set_text(&name::X_REQUEST_ID, exchange.id().as_bytes());
    headers.add(&name::VIA, via);
}

fn is_trailers(option: &[u8]) -> bool {
    let option = option.split(|&byte| byte == b';').next().unwrap_or_default();
    option.trim_ascii().eq_ignore_ascii_case(b"trailers")
}

/// Who came through. What a client says of itself is believed only from a trusted proxy; otherwise it goes.
fn forwarding(exchange: &Exchange, headers: &mut Headers) {
    if exchange.trusted {
        let peer = &exchange.peer.ip_text;
        let before = headers.all(&name::X_FORWARDED_FOR).map(String::from_utf8_lossy);
        let mut chain = before.fold(String::new(), |mut chain, line| {
            chain.push_str(&line);
            chain.push_str(", ");
            chain
        });
        chain.push_str(peer);
        headers.set_text(&name::X_FORWARDED_FOR, chain.as_bytes());
        if headers.has(&name::FORWARDED) {
            let node = if exchange.peer.ip.is_ipv6() { format!("for=\"[{peer}]\"") } else { format!("for={peer}") };
            if let Some(node) = Value::parse(&node) {
                headers.add(&name::FORWARDED, node);
            }
        }
    } else {
        headers.remove_forwarded();
        headers.remove_all(ORIGINS);
        headers.set_text(&name::X_FORWARDED_FOR, exchange.peer.ip_text.as_bytes());
    }
    // Of the connection that it was verified on, and of no other: what a client says of its certificate is no proof.
    if exchange.notes.withholds_certificate {
        headers.remove(&name::X_FORWARDED_CLIENT_CERT);
    } else if let Some(certificate) = &exchange.peer.certificate {
        headers.set_text(&name::X_FORWARDED_CLIENT_CERT, certificate.forwarded.as_bytes());
    }
    if !headers.has(&name::X_FORWARDED_PROTO) {
        headers
            .set(&name::X_FORWARDED_PROTO, if exchange.https { Value::known("https") } else { Value::known("http") });
    }
    if !headers.has(&name::X_FORWARDED_HOST) {
        headers.set_from(&name::X_FORWARDED_HOST, &name::HOST);
    }
}

/// Makes an upstream's answer one of our own hop.
pub(super) fn from_upstream(head: &mut ResponseHead) {
    let via = via(head.version());
    strip_named(head.headers_mut());
    head.headers_mut().remove_all(HOP_BY_HOP);
    head.headers_mut().add(&name::VIA, via);
}

/// What every answer carries.
pub(super) fn downstream(exchange: &Exchange, response: &mut Response, now: Now) {
    let headers = response.head.headers_mut();
    headers.set_text(&name::X_REQUEST_ID, exchange.id().as_bytes());
    let mut digits = [0; Milliseconds::MOST];
    headers.set_text(&name::X_RESPONSE_TIME, Milliseconds::write(now.since_us(exchange.finish.started), &mut digits));
}

/// `12.3ms`, written without the formatting machinery: every answer carries one.
struct Milliseconds;

impl Milliseconds {
    /// The longest: the microseconds of a `u64`.
    const MOST: usize = 24;

    /// Writes from the end of the room, and gives what was written.
    fn write(us: u64, room: &mut [u8; Self::MOST]) -> &[u8] {
        let mut start = Self::MOST;
        let mut put = |byte: u8| {
            start -= 1;
            if let Some(place) = room.get_mut(start) {
                *place = byte;
            }
        };
        put(b's');
        put(b'm');
        put(b'0' + (us / 100 % 10) as u8);
        put(b'.');
        let mut whole = us / 1000;
        loop {
            put(b'0' + (whole % 10) as u8);
            whole /= 10;
            if whole == 0 {
                break;
            }
        }
        room.get(start..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(us: u64, expected: &str) {
        let mut room = [0; Milliseconds::MOST];
        assert_eq!(Milliseconds::write(us, &mut room), expected.as_bytes());
    }

    #[test]
    fn what_only_we_may_say_is_not_promised_behind_the_body_either() {
        let barred = [Name::parse("x-user").unwrap()];
        let check = |lines: &[&str], expected: &[&str]| {
            let mut headers = Headers::new();
            for line in lines {
                assert!(headers.push(b"trailer", line.as_bytes()));
            }
            strip_barred(&mut headers, &barred);
            let told: Vec<_> = headers.all(&name::TRAILER).map(String::from_utf8_lossy).collect();
            assert_eq!(told, expected, "{lines:?}");
        };
        check(&["X-User"], &[]);
        check(&["x-sum, X_User", "x_user ,, x-other"], &["x-sum, x-other"]);
        check(&["x-sum,x-other"], &["x-sum,x-other"]);
        check(&[], &[]);
    }

    #[test]
    fn times_have_one_decimal() {
        check(0, "0.0ms");
        check(99, "0.0ms");
        check(12_345, "12.3ms");
        check(60_000_000, "60000.0ms");
        check(u64::MAX, "18446744073709551.6ms");
    }
}
