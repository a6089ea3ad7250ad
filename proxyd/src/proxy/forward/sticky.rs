//! What a choice of endpoint depends on in a request, and the cookie that brings a client back.

use shared::config::{Balance, HashBy, Sticky, Upstream};
use shared::decide::balance::key_of;

use crate::exchange::{Exchange, Headers, Name, RequestHead, ResponseHead, Value, cookies};
use crate::upstream::Ask;

static SET_COOKIE: Name = Name::known("set-cookie");

/// What the choice depends on.
pub(super) fn ask<'a>(upstream: &Upstream, exchange: &Exchange, head: &'a RequestHead) -> Ask<'a> {
    let headers = head.headers();
    let key = match &upstream.balance {
        Balance::Hash(by) => key(by, exchange, headers),
        Balance::RoundRobin | Balance::LeastBusy | Balance::TwoChoices | Balance::Random => None,
    };
    let cookie = upstream.sticky.as_ref().and_then(|sticky| cookie(headers, &sticky.cookie));
    Ask { key, cookie }
}

/// What is hashed; none where the request has nothing of it.
fn key(by: &HashBy, exchange: &Exchange, headers: &Headers) -> Option<u64> {
    match by {
        HashBy::Ip => Some(match exchange.client {
            std::net::IpAddr::V4(ip) => key_of(&ip.octets()),
            std::net::IpAddr::V6(ip) => key_of(&ip.octets()),
        }),
        HashBy::Path => Some(key_of(exchange.path().as_bytes())),
        HashBy::Header(name) => headers.all_named(name).next().map(key_of),
        HashBy::Cookie(name) => cookie(headers, name).map(key_of),
    }
}

/// The value of a cookie: the first of that name.
fn cookie<'a>(headers: &'a Headers, name: &str) -> Option<&'a [u8]> {
    cookies(headers).find_map(|(found, value)| (found == name.as_bytes()).then_some(value))
}

/// Gives the client the cookie that brings it back (RFC 6265 section 4.1.1). No script needs it, and it says nothing to
/// other sites.
pub(super) fn set(sticky: &Sticky, token: &str, https: bool, head: &mut ResponseHead) {
    let secure = if https { "; Secure" } else { "" };
    let age = sticky.max_age.map(|age| format!("; Max-Age={}", age.as_secs())).unwrap_or_default();
    let text = format!("{}={token}; Path=/; HttpOnly; SameSite=Lax{secure}{age}", sticky.cookie);
    if let Some(value) = Value::parse(&text) {
        head.headers_mut().add(&SET_COOKIE, value);
    }
}
