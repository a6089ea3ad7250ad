//! Version 1: one line of text (proxy-protocol.txt section 2.1).

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Header, LONGEST_V1, ProxyFault, Version, in_one_family};

pub(super) const SIGNATURE: &[u8] = b"PROXY ";

/// Reads a line of which at least the first bytes are those of the signature.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, ProxyFault> {
    let within = bytes.get(..LONGEST_V1).unwrap_or(bytes);
    let Some(end) = within.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        return if bytes.len() < LONGEST_V1 { Ok(None) } else { Err(ProxyFault::TooLong) };
    };
    let (line, ending) = within.split_at(end);
    match ending {
        [b'\r', b'\n', ..] => {}
        [b'\r'] if bytes.len() < LONGEST_V1 => return Ok(None),
        [b'\r'] => return Err(ProxyFault::TooLong),
        _ => return Err(ProxyFault::LineEnd),
    }
    let words = line.strip_prefix(SIGNATURE).ok_or(ProxyFault::Signature)?;
    Ok(Some((header(words)?, end + 2)))
}

fn header(words: &[u8]) -> Result<Header, ProxyFault> {
    let mut words = words.split(|&byte| byte == b' ');
    let family = words.next().unwrap_or_default();
    let read: fn(&str) -> Option<IpAddr> = match family {
        // The receiver must ignore what stands behind it.
        b"UNKNOWN" => return Ok(Header::unknown(Version::V1)),
        b"TCP4" => |word| word.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        b"TCP6" => |word| word.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => return Err(ProxyFault::Family),
    };
    let rest: Vec<&[u8]> = words.take(5).collect();
    let &[source, destination, source_port, destination_port] = &*rest else { return Err(ProxyFault::Line) };
    let address = |word| std::str::from_utf8(word).ok().and_then(read).ok_or(ProxyFault::Address);
    let source = SocketAddr::new(address(source)?, port(source_port)?);
    let destination = SocketAddr::new(address(destination)?, port(destination_port)?);
    Ok(Header::known(Version::V1, source, destination))
}

fn port(word: &[u8]) -> Result<u16, ProxyFault> {
    let plain = word.iter().all(u8::is_ascii_digit) && (word == b"0" || !word.starts_with(b"0"));
    let number = std::str::from_utf8(word).ok().and_then(|word| word.parse().ok());
    number.filter(|_| plain).ok_or(ProxyFault::Port)
}

/// Writes a header of version 1. Addresses of two families are both written as IPv6.
pub fn write_v1(out: &mut Vec<u8>, source: SocketAddr, destination: SocketAddr) {
    let (from, to) = in_one_family(source, destination);
    let family = if from.is_ipv4() { 4 } else { 6 };
    // Writing to memory does not fail.
    let _ = write!(out, "PROXY TCP{family} {from} {to} {} {}\r\n", source.port(), destination.port());
}

/// Writes a header of version 1 for a connection that is on nobody's behalf.
pub fn write_v1_unknown(out: &mut Vec<u8>) {
    out.extend_from_slice(b"PROXY UNKNOWN\r\n");
}
