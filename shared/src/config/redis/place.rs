//! The address of an engine, part by part: what is taken here is what a connection is made to.

use std::net::Ipv6Addr;

use crate::config::report::Fault;

/// Databases that engines may be built with.
const MOST_DATABASES: u32 = 1 << 20;

/// Whether this is the address of an engine. No message repeats a part of it: it may be a password.
///
/// # Errors
/// Which part is none.
pub(super) fn check(text: &str) -> Result<(), Fault> {
    let is_sound = text.len() <= 1024 && text.bytes().all(|octet| octet.is_ascii_graphic());
    if is_sound && let Some(rest) = text.strip_prefix("redis://") {
        return remote(rest, false);
    }
    if is_sound && let Some(rest) = text.strip_prefix("rediss://") {
        return remote(rest, true);
    }
    if is_sound && let Some(rest) = text.strip_prefix("unix:") {
        return local(rest);
    }
    Err(Fault::invalid("this is not the address of a Redis")
        .hint("write it as `redis://127.0.0.1:6379`, `rediss://host:6379` or `unix:/run/redis.sock`"))
}

fn remote(rest: &str, is_tls: bool) -> Result<(), Fault> {
    let (rest, fragment) = apart(rest, '#');
    match fragment {
        None => {}
        Some("insecure") if is_tls => {
            return Err(Fault::invalid("an engine over TLS is always verified").hint("remove `#insecure`"));
        }
        Some(_) => return Err(encoded("a `#` begins a fragment, which this address cannot have")),
    }
    let (rest, query) = apart(rest, '?');
    let (authority, database) = apart(rest, '/');
    let (user, place) = authority.rsplit_once('@').unwrap_or(("", authority));
    if !is_text(user) {
        return Err(encoded("the user or the password of this address is no text"));
    }
    // Of a password that is written as it is, what stands before its slash is taken for a host.
    if database.is_some_and(|database| database.contains('@')) {
        return Err(encoded("a `/` ends the host of this address, and an `@` follows"));
    }
    host_and_port(place)?;
    numbered(database.unwrap_or_default().trim_matches('/'))?;
    let is_known = |(name, value): (&str, Option<&str>)| {
        name == "protocol" && matches!(value, Some("2" | "3" | "resp2" | "resp3"))
    };
    if !pairs(query).all(is_known) {
        return Err(Fault::invalid("behind the `?` of this address only `protocol=resp2` or `resp3` can stand")
            .hint("the number of a database is written behind the host: `redis://127.0.0.1:6379/2`"));
    }
    Ok(())
}

fn local(rest: &str) -> Result<(), Fault> {
    let (path, query) = apart(rest, '?');
    if path.trim_start_matches('/').is_empty() {
        return Err(Fault::invalid("the path of the engine's socket is missing").hint("unix:/run/redis.sock"));
    }
    for (name, value) in pairs(query) {
        match name {
            "db" => numbered(value.unwrap_or_default())?,
            "user" | "pass" if value.is_some_and(is_text) => {}
            "protocol" if matches!(value, Some("2" | "3" | "resp2" | "resp3")) => {}
            _ => {
                return Err(Fault::invalid("behind the `?` of a socket stand `db`, `user`, `pass` and `protocol`")
                    .hint("unix:/run/redis.sock?db=2"));
            }
        }
    }
    Ok(())
}

fn host_and_port(place: &str) -> Result<(), Fault> {
    let (host, port) = match place.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((host, port)) => {
            if host.parse::<Ipv6Addr>().is_err() {
                return Err(Fault::invalid("only an IPv6 address stands in brackets"));
            }
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':').unwrap_or_default()) })
        }
        None if place.parse::<Ipv6Addr>().is_ok() || place.matches(':').count() > 1 => {
            return Err(Fault::invalid("an IPv6 address stands in brackets").hint("redis://[::1]:6379"));
        }
        None => apart(place, ':'),
    };
    if host.is_empty() {
        return Err(Fault::invalid("this address has no host").hint("redis://127.0.0.1:6379"));
    }
    let is_part = |octet: u8| octet.is_ascii_alphanumeric() || b".-_:".contains(&octet);
    if !host.bytes().all(is_part) {
        return Err(encoded("the host of this address is no name and no address"));
    }
    match port.map(str::parse::<u16>) {
        None | Some(Ok(1..)) => Ok(()),
        Some(Ok(0) | Err(_)) => {
            Err(Fault::invalid("the port of this address is no number from 1 to 65535").hint("redis://127.0.0.1:6379"))
        }
    }
}

fn numbered(database: &str) -> Result<(), Fault> {
    let is_number = database.bytes().all(|octet| octet.is_ascii_digit());
    if database.is_empty() || is_number && database.parse::<u32>().is_ok_and(|number| number < MOST_DATABASES) {
        return Ok(());
    }
    Err(Fault::invalid("the database of this address is no number")
        .hint("write it as `redis://127.0.0.1:6379/2`, or leave it out for the first"))
}

fn encoded(message: &str) -> Fault {
    Fault::invalid(message).hint("in a password write `/`, `#`, `?`, `%` and `@` in percent-encoding, such as `%2F`")
}

/// Whether percent-decoding makes text of it.
fn is_text(encoded: &str) -> bool {
    let mut octets = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let decoded = digits.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        octets.push(decoded.unwrap_or(*first));
        rest = behind.get(if decoded.is_some() { 2 } else { 0 }..).unwrap_or_default();
    }
    std::str::from_utf8(&octets).is_ok()
}

/// What stands before this sign, and behind it where it is there.
fn apart(text: &str, sign: char) -> (&str, Option<&str>) {
    text.split_once(sign).map_or((text, None), |(before, behind)| (before, Some(behind)))
}

fn pairs(query: Option<&str>) -> impl Iterator<Item = (&str, Option<&str>)> {
    query.into_iter().flat_map(|query| query.split('&')).filter(|pair| !pair.is_empty()).map(|pair| apart(pair, '='))
}
