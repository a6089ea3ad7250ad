//! The header lines that a proxy owes: what belongs to one hop is taken off, who came through is written down.

use std::fmt::Write;

use crate::exchange::{Exchange, Headers, Name, RequestHead, Response, Value, name};
use crate::telemetry::clock::Now;

/// What we call ourselves in `Via` (RFC 9110 section 7.6.3).
const VIA: Value = Value::known("1.1 proxyd");

/// Lines of one hop (RFC 9110 section 7.6.1), and those that only a proxy would read.
static HOP_BY_HOP: [&Name; 6] = [
    &name::CONNECTION,
    &name::KEEP_ALIVE,
    &name::PROXY_CONNECTION,
    &name::TRANSFER_ENCODING,
    &name::UPGRADE,
    &name::PROXY_AUTHENTICATE,
];

/// Takes off what belongs to this hop, with what `Connection` names. Two names it may not take: without them the message
/// would be another.
fn strip(headers: &mut Headers) {
    if headers.has(&name::CONNECTION) {
        let tokens = headers.all(&name::CONNECTION).flat_map(|line| line.split(|&byte| byte == b','));
        let named: Vec<Name> = tokens
            .filter_map(|token| Name::parse(std::str::from_utf8(token.trim_ascii()).ok()?))
            .filter(|named| *named != name::HOST && *named != name::CONTENT_LENGTH)
            .collect();
        for named in &named {
            headers.remove(named);
        }
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// The protocol that the client asks to change to, if it asks. `h2c` is not one: it would let a client speak to the
/// upstream past every check here.
pub(super) fn upgrade_wanted(head: &RequestHead) -> Option<Value> {
    let headers = head.headers();
    let upgrade = headers.get(&name::UPGRADE)?;
    let mut options = headers.all(&name::CONNECTION).flat_map(|line| line.split(|&byte| byte == b','));
    let asked = options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
    let known = !upgrade.split(|&byte| byte == b',').any(|protocol| protocol.trim_ascii().eq_ignore_ascii_case(b"h2c"));
    if asked && known && head.protocol() == "HTTP/1.1" { Value::from_bytes(upgrade) } else { None }
}

/// Makes a request's lines those of our own hop.
pub(super) fn upstream(exchange: &Exchange, head: &mut RequestHead, upgrade: Option<Value>) {
    let headers = head.headers_mut();
    let trailers = headers.all(&name::TE).any(|line| line.split(|&byte| byte == b',').any(is_trailers));
    strip(headers);
    headers.remove(&name::TE);
    headers.remove(&name::PROXY_AUTHORIZATION);
    // Answered here as soon as the body is read; upstream it is sent without waiting.
    headers.remove(&name::EXPECT);
    if trailers {
        headers.set(&name::TE, Value::known("trailers"));
    }
    if let Some(protocol) = upgrade {
        headers.set(&name::CONNECTION, Value::known("upgrade"));
        headers.set(&name::UPGRADE, protocol);
    }
    forwarding(exchange, headers);
    if let Some(id) = Value::parse(exchange.id()) {
        headers.set(&name::X_REQUEST_ID, id);
    }
    headers.add(&name::VIA, VIA);
}

fn is_trailers(option: &[u8]) -> bool {
    let option = option.split(|&byte| byte == b';').next().unwrap_or_default();
    option.trim_ascii().eq_ignore_ascii_case(b"trailers")
}

/// Who came through. What a client says of itself is believed only from a trusted proxy; otherwise it goes.
fn forwarding(exchange: &Exchange, headers: &mut Headers) {
    let mut peer = String::with_capacity(48);
    let _ = write!(peer, "{}", exchange.peer.ip);
    if exchange.trusted {
        let before = headers.all(&name::X_FORWARDED_FOR).map(String::from_utf8_lossy);
        let mut chain = before.fold(String::new(), |mut chain, line| {
            chain.push_str(&line);
            chain.push_str(", ");
            chain
        });
        chain.push_str(&peer);
        if let Some(chain) = Value::parse(&chain) {
            headers.set(&name::X_FORWARDED_FOR, chain);
        }
        if headers.has(&name::FORWARDED) {
            let node = if exchange.peer.ip.is_ipv6() { format!("for=\"[{peer}]\"") } else { format!("for={peer}") };
            if let Some(node) = Value::parse(&node) {
                headers.add(&name::FORWARDED, node);
            }
        }
    } else {
        if headers
            .iter()
            .any(|(name, _)| name.starts_with("x-forwarded-") || name == "forwarded" || name == "x-real-ip")
        {
            headers.retain(|name| !name.starts_with("x-forwarded-") && name != "forwarded" && name != "x-real-ip");
        }
        if let Some(peer) = Value::parse(&peer) {
            headers.set(&name::X_FORWARDED_FOR, peer);
        }
    }
    if !exchange.trusted || !headers.has(&name::X_FORWARDED_PROTO) {
        headers
            .set(&name::X_FORWARDED_PROTO, if exchange.https { Value::known("https") } else { Value::known("http") });
    }
    if !exchange.trusted || !headers.has(&name::X_FORWARDED_HOST) {
        let host = headers.get(&name::HOST).and_then(Value::from_bytes);
        if let Some(host) = host {
            headers.set(&name::X_FORWARDED_HOST, host);
        }
    }
}

/// Makes an upstream's answer one of our own hop.
pub(super) fn from_upstream(headers: &mut Headers) {
    strip(headers);
    headers.add(&name::VIA, VIA);
}

/// What every answer carries.
pub(super) fn downstream(exchange: &Exchange, response: &mut Response, now: Now) {
    let headers = response.head.headers_mut();
    if let Some(id) = Value::parse(exchange.id()) {
        headers.set(&name::X_REQUEST_ID, id);
    }
    let mut text = Text::default();
    let us = now.since_us(exchange.finish.started);
    let _ = write!(text, "{}.{}ms", us / 1000, us % 1000 / 100);
    if let Some(time) = Value::from_bytes(text.bytes()) {
        headers.set(&name::X_RESPONSE_TIME, time);
    }
}

/// A short text on the stack.
#[derive(Default)]
struct Text {
    bytes: [u8; 32],
    length: usize,
}

impl Text {
    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}
