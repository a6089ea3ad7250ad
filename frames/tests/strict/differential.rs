//! Beside the crate `ppp`: where we accept a PROXY header it accepts it, reads the same addresses and sees the connection's
//! own bytes begin at the same place. The differences are named here one by one.

use std::net::{IpAddr, SocketAddr};

use frames::proxy_header::{self, Accepts, Header, write_v1, write_v2};
use ppp::HeaderResult;
use proptest::prelude::*;
use proptest::sample::select;

use super::mutation::{Random, mutate};

/// What is told of a header: the addresses, and its length.
type Reading = (Option<(SocketAddr, SocketAddr)>, usize);

fn ours(bytes: &[u8]) -> Option<Reading> {
    let (header, end) = proxy_header::parse(bytes, Accepts::Any).ok()??;
    let Header { source, destination, .. } = header;
    Some((source.zip(destination), end))
}

/// Addresses in ppp's own types, told as ours are: IPv4 in the clothes of IPv6 as IPv4.
fn pair(source: impl Into<IpAddr>, from: u16, destination: impl Into<IpAddr>, to: u16) -> (SocketAddr, SocketAddr) {
    let address = |ip: IpAddr, port| SocketAddr::new(ip.to_canonical(), port);
    (address(source.into(), from), address(destination.into(), to))
}

fn theirs(bytes: &[u8]) -> Option<Reading> {
    match HeaderResult::parse(bytes) {
        HeaderResult::V1(header) => {
            let header = header.ok()?;
            let found = match header.addresses {
                ppp::v1::Addresses::Unknown => None,
                ppp::v1::Addresses::Tcp4(found) => Some(pair(
                    found.source_address,
                    found.source_port,
                    found.destination_address,
                    found.destination_port,
                )),
                ppp::v1::Addresses::Tcp6(found) => Some(pair(
                    found.source_address,
                    found.source_port,
                    found.destination_address,
                    found.destination_port,
                )),
            };
            Some((found, header.header.len()))
        }
        HeaderResult::V2(header) => {
            let header = header.ok()?;
            let of_tcp = header.command == ppp::v2::Command::Proxy && header.protocol == ppp::v2::Protocol::Stream;
            let found = match header.addresses {
                ppp::v2::Addresses::IPv4(found) => Some(pair(
                    found.source_address,
                    found.source_port,
                    found.destination_address,
                    found.destination_port,
                )),
                ppp::v2::Addresses::IPv6(found) => Some(pair(
                    found.source_address,
                    found.source_port,
                    found.destination_address,
                    found.destination_port,
                )),
                ppp::v2::Addresses::Unspecified | ppp::v2::Addresses::Unix(_) => None,
            };
            Some((found.filter(|_| of_tcp), header.header.len()))
        }
    }
}

/// Difference 1: of a LOCAL connection ppp reads the family, which the protocol has ignored (section 2.2).
/// Difference 2: behind UNKNOWN ppp reads text in UTF-8 and no more than so many words; the protocol has it ignored
/// (section 2.1).
fn passed_over(bytes: &[u8]) -> bool {
    bytes.get(12) == Some(&0x20) || bytes.starts_with(b"PROXY UNKNOWN ")
}

/// Compares, and tells whether there was anything to compare.
#[track_caller]
fn same(bytes: &[u8]) -> bool {
    let Some(found) = ours(bytes) else { return false };
    let other = theirs(bytes);
    assert!(
        other == Some(found) || (other.is_none() && passed_over(bytes)),
        "{other:?}, not {found:?}: {}",
        bytes.escape_ascii()
    );
    true
}

fn header() -> impl Strategy<Value = Vec<u8>> {
    let ip = prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)];
    let address = (ip, any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port));
    let binary = |command, family, block: &[u8]| {
        let length = (block.len() as u16).to_be_bytes();
        [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[command, family], &length, block].concat()
    };
    let block = prop::collection::vec(any::<u8>(), 0..240);
    prop_oneof![
        (address.clone(), address, any::<bool>()).prop_map(|(source, destination, binary)| {
            let mut out = Vec::new();
            let write = if binary { write_v2 } else { write_v1 };
            write(&mut out, source, destination);
            out
        }),
        (select(vec![0x20, 0x21]), select(vec![0, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32, 0x10]), block)
            .prop_map(move |(command, family, block)| binary(command, family, &block)),
        select(vec![
            b"PROXY UNKNOWN\r\n".to_vec(),
            b"PROXY UNKNOWN 1.2.3.4 a b c\r\n".to_vec(),
            b"PROXY TCP4 1.2.3.4 5.6.7.8 0 65535\r\n".to_vec(),
            b"PROXY TCP6 ::1 2001:DB8::2 443 80\r\nGET / HTTP/1.1\r\n".to_vec(),
        ]),
    ]
}

const PIECES: &[&[u8]] =
    &[b" ", b"\r\n", b"0", b"+", b"TCP4", b"TCP6", b"UNKNOWN", b"1.2.3.4", b"::", b"\0\0", b"\x04\0\0"];

#[test]
fn headers_that_we_accept_ppp_reads_the_same() {
    let cases = if std::env::var_os("FULL").is_some() { 200_000 } else { 5_000 };
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let compared = std::cell::Cell::new(0);
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let outcome = runner.run(&(header(), any::<Option<u64>>()), |(mut bytes, seed)| {
        if let Some(seed) = seed {
            let other = bytes.clone();
            mutate(&mut bytes, &other, PIECES, &mut Random::new(seed));
        }
        compared.set(compared.get() + usize::from(same(&bytes)));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(compared.get() > 1500, "only {} headers were compared", compared.get());
}

/// What ppp takes and we do not, by the letter of the protocol.
#[test]
fn where_we_are_stricter_than_ppp() {
    let binary = |head: &[u8], block: &[u8]| [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), head, block].concat();
    for bytes in [
        // Section 2.1: ports are digits.
        b"PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n".to_vec(),
        // Section 2.2: families and transports that do not belong together.
        binary(&[0x21, 0x01, 0, 0], &[]),
        binary(&[0x21, 0x10, 0, 12], &[1; 12]),
        // Section 2.2.1: a TLV that ends behind the header; ppp looks at them later, if at all.
        binary(&[0x21, 0x11, 0, 14], &[1; 14]),
        binary(&[0x21, 0x11, 0, 15], &[1; 15]),
        // Section 2.2.3: a checksum that does not fit.
        binary(&[0x21, 0x11, 0, 19], b"\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x03\0\x04abcd"),
        // Longer than anybody needs.
        binary(&[0x20, 0, 0x10, 1], &[0; 4097]),
    ] {
        assert_eq!(ours(&bytes), None, "{}", bytes.escape_ascii());
        assert!(theirs(&bytes).is_some(), "{}", bytes.escape_ascii());
    }
}

/// What we take and ppp does not, by the letter of the protocol.
#[test]
fn where_the_protocol_has_something_ignored() {
    for bytes in [
        b"\r\n\r\n\0\r\nQUIT\n\x20\x11\0\0".to_vec(),
        b"\r\n\r\n\0\r\nQUIT\n\x20\xff\0\x01z".to_vec(),
        b"PROXY UNKNOWN \xff\r\n".to_vec(),
    ] {
        assert_eq!(ours(&bytes), Some((None, bytes.len())), "{}", bytes.escape_ascii());
        assert_eq!(theirs(&bytes), None, "{}", bytes.escape_ascii());
    }
}
