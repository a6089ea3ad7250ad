//! Headers by the letter of proxy-protocol.txt.

use proptest::prelude::*;

use super::*;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// What is read from all bytes; no fewer bytes may mean anything but "more", or the same fault.
#[track_caller]
fn read(bytes: &[u8]) -> Result<Option<(Header, usize)>, ProxyFault> {
    let found = parse(bytes, Accepts::Any);
    for length in 0..bytes.len() {
        let part = parse(&bytes[..length], Accepts::Any);
        match found {
            Err(fault) => assert!(part == Ok(None) || part == Err(fault), "{length}: {part:?}"),
            Ok(Some((_, end))) if length >= end => assert_eq!(part, found, "{length}"),
            Ok(_) => assert_eq!(part, Ok(None), "{length}"),
        }
    }
    found
}

#[track_caller]
fn check(bytes: &[u8], expected: Result<(Option<&str>, Option<&str>), ProxyFault>) {
    let found = read(bytes).map(|found| found.expect("the header is whole"));
    let expected = expected.map(|(source, destination)| (source.map(at), destination.map(at)));
    assert_eq!(found.map(|(header, _)| (header.source, header.destination)), expected, "{}", bytes.escape_ascii());
    if let Ok((_, end)) = found {
        assert_eq!(end, bytes.len());
        // What follows is the connection's.
        let longer = [bytes, b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(read(&longer), Ok(found.ok()));
    }
}

/// Version 2 with this command, this family and this block.
fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[command, family], &length, block].concat()
}

const INET: &[u8] = &[192, 0, 2, 1, 203, 0, 113, 9, 0x1f, 0x90, 0x01, 0xbb];
const INET_FOUND: (Option<&str>, Option<&str>) = (Some("192.0.2.1:8080"), Some("203.0.113.9:443"));

#[test]
fn lines_of_text() {
    // Section 2.1, the examples.
    check(
        b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
        Ok((Some("255.255.255.255:65535"), Some("255.255.255.255:65535"))),
    );
    check(
        b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
        Ok((
            Some("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"),
            Some("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"),
        )),
    );
    check(b"PROXY UNKNOWN\r\n", Ok((None, None)));
    let longest = format!("PROXY UNKNOWN {0} {0} 65535 65535\r\n", ["ffff"; 8].join(":"));
    assert_eq!(longest.len(), LONGEST_V1);
    check(longest.as_bytes(), Ok((None, None)));
    check(
        b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n",
        Ok((Some("192.168.0.1:56324"), Some("192.168.0.11:443"))),
    );
    check(b"PROXY TCP6 2001:DB8::1 ::1 0 1\r\n", Ok((Some("[2001:db8::1]:0"), Some("[::1]:1"))));
    check(b"PROXY TCP6 ::ffff:192.0.2.1 ::2 1 2\r\n", Ok((Some("192.0.2.1:1"), Some("[::2]:2"))));
    // The receiver must ignore what stands behind UNKNOWN.
    check(b"PROXY UNKNOWN \r\n", Ok((None, None)));
    check(b"PROXY UNKNOWN  x \x00\xff y z\r\n", Ok((None, None)));
}

#[test]
fn lines_that_are_none() {
    use ProxyFault::{Address, Family, Line, LineEnd, Port, Signature, TooLong};
    for (line, fault) in [
        ("GET / HTTP/1.1\r\n", Signature),
        ("proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n", Signature),
        ("PROXY\tTCP4 1.1.1.1 2.2.2.2 1 2\r\n", Signature),
        ("PROXY\r\n", Signature),
        (" PROXY UNKNOWN\r\n", Signature),
        ("PROXY UNKNOWN\n", LineEnd),
        ("PROXY UNKNOWN\r \n", LineEnd),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n\r\n", LineEnd),
        ("PROXY TCP4 1.1.1.1\r2.2.2.2 1 2\r\n", LineEnd),
        ("PROXY \r\n", Family),
        ("PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n", Family),
        ("PROXY tcp4 1.1.1.1 2.2.2.2 1 2\r\n", Family),
        ("PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n", Family),
        ("PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n", Family),
        ("PROXY UNKNOWNx\r\n", Family),
        ("PROXY UNKNOWN\t\r\n", Family),
        ("PROXY TCP4\r\n", Line),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n", Line),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n", Line),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n", Line),
        ("PROXY TCP4  1.1.1.1 2.2.2.2 1 2\r\n", Line),
        ("PROXY TCP4 1.1.1.1 2.2.2.2  1 2\r\n", Line),
        ("PROXY TCP4  2.2.2.2 1 2\r\n", Address),
        ("PROXY TCP4 ::1 ::2 1 2\r\n", Address),
        ("PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n", Address),
        ("PROXY TCP4 01.1.1.1 2.2.2.2 1 2\r\n", Address),
        ("PROXY TCP4 1.1.1 2.2.2.2 1 2\r\n", Address),
        ("PROXY TCP4 256.1.1.1 2.2.2.2 1 2\r\n", Address),
        ("PROXY TCP4 1.1.1.1 0x2.2.2.2 1 2\r\n", Address),
        ("PROXY TCP6 [::1] ::2 1 2\r\n", Address),
        ("PROXY TCP6 fe80::1%eth0 ::2 1 2\r\n", Address),
        ("PROXY TCP6 1::2::3 ::2 1 2\r\n", Address),
        ("PROXY TCP6 ::12345 ::2 1 2\r\n", Address),
        ("PROXY TCP4 1.1.1.1 2.2.2.\u{0662} 1 2\r\n", Address),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 \r\n", Port),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n", Port),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 00 2\r\n", Port),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n", Port),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 -1 2\r\n", Port),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n", Port),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 0x2\r\n", Port),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\t\r\n", Port),
    ] {
        assert_eq!(read(line.as_bytes()), Err(fault), "{line:?}");
    }
    // Section 2.1: 107 bytes with the CRLF, whatever they are.
    for length in [LONGEST_V1 - 1, LONGEST_V1, LONGEST_V1 + 1, 5000] {
        let mut line = format!("PROXY UNKNOWN {:x<1$}", "", length - 16);
        line.push_str("\r\n");
        let expected = if length <= LONGEST_V1 { Ok(length) } else { Err(TooLong) };
        assert_eq!(read(line.as_bytes()).map(|found| found.unwrap().1), expected, "{length}");
    }
    assert_eq!(read(&[b"PROXY ".as_slice(), &[b' '; 101]].concat()), Err(TooLong));
}

#[test]
fn binary_headers() {
    check(&binary(0x21, 0x11, INET), Ok(INET_FOUND));
    let wide = [[0x20; 16], [0x30; 16]].concat();
    let text =
        (Some("[2020:2020:2020:2020:2020:2020:2020:2020]:1"), Some("[3030:3030:3030:3030:3030:3030:3030:3030]:2"));
    check(&binary(0x21, 0x21, &[&*wide, &[0, 1, 0, 2]].concat()), Ok(text));
    let mapped = [&[0; 10], [0xff; 2].as_slice(), &[192, 0, 2, 1], &[0x30; 16], &[0, 1, 0, 2]].concat();
    check(&binary(0x21, 0x21, &mapped), Ok((Some("192.0.2.1:1"), text.1)));
    // Of no TCP connection.
    check(&binary(0x21, 0x12, INET), Ok((None, None)));
    check(&binary(0x21, 0x22, &[1; 36]), Ok((None, None)));
    check(&binary(0x21, 0x31, &[b'/'; 216]), Ok((None, None)));
    check(&binary(0x21, 0x32, &[b'/'; 216]), Ok((None, None)));
    // UNSPEC: what is there is to be ignored.
    check(&binary(0x21, 0x00, &[]), Ok((None, None)));
    check(&binary(0x21, 0x00, &[1, 2, 3]), Ok((None, None)));
    // LOCAL: the block is discarded, the family with it.
    check(&binary(0x20, 0x00, &[]), Ok((None, None)));
    check(&binary(0x20, 0x11, INET), Ok((None, None)));
    check(&binary(0x20, 0x11, &[1]), Ok((None, None)));
    check(&binary(0x20, 0xff, &[1, 2, 3, 4]), Ok((None, None)));
    let mut local = Vec::new();
    write_v2_local(&mut local);
    check(&local, Ok((None, None)));
}

#[test]
fn binary_headers_that_are_none() {
    use ProxyFault::{Command, Family, Length, Signature, TooLong, Version};
    for (byte, fault) in [(0x11, Version), (0x01, Version), (0x31, Version), (0x22, Command), (0x2f, Command)] {
        assert_eq!(read(&binary(byte, 0x11, INET)), Err(fault), "{byte:#x}");
    }
    // Section 2.2: other values must be rejected as invalid.
    for family in [0x01, 0x02, 0x10, 0x13, 0x20, 0x23, 0x30, 0x33, 0x40, 0x41, 0xff] {
        assert_eq!(read(&binary(0x21, family, &[0; 216])), Err(Family), "{family:#x}");
    }
    for (family, least) in [(0x11, 12), (0x12, 12), (0x21, 36), (0x22, 36), (0x31, 216), (0x32, 216)] {
        assert_eq!(read(&binary(0x21, family, &vec![0; least - 1])), Err(Length), "{family:#x}");
        assert_eq!(read(&binary(0x21, family, &vec![0; least])).map(|found| found.is_some()), Ok(true));
    }
    for at in 0..12 {
        let mut bytes = binary(0x21, 0x11, INET);
        bytes[at] ^= 1;
        assert_eq!(read(&bytes), Err(Signature), "{at}");
    }
    assert_eq!(read(&binary(0x20, 0, &[0; 4096])).map(|found| found.unwrap().1), Ok(LONGEST_V2));
    // Known to be too long before it has come.
    assert_eq!(read(&binary(0x20, 0, &[0; 4097])[..16]), Err(TooLong));
    assert_eq!(read(&[b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[0x21, 0x11, 0xff, 0xff]].concat()), Err(TooLong));
}

#[test]
fn tlvs_end_where_the_header_does() {
    use ProxyFault::{Checksum, Tlv};
    let with = |tlvs: &[u8]| binary(0x21, 0x11, &[INET, tlvs].concat());
    // Section 2.2.1: a TLV may be empty; NOOP (4) is padding; types that nobody knows are skipped.
    for tlvs in [&[4, 0, 0][..], &[1, 0, 2, b'h', b'2', 0xee, 0, 1, 9], &[0x20, 0, 5, 1, 0, 0, 0, 0]] {
        check(&with(tlvs), Ok(INET_FOUND));
    }
    for tlvs in [&[4][..], &[4, 0], &[4, 0, 1], &[4, 0, 0, 0], &[4, 0, 2, 1], &[4, 0xff, 0xff, 1], &[4, 0, 1, 1, 4, 0]]
    {
        assert_eq!(read(&with(tlvs)), Err(Tlv), "{tlvs:?}");
    }
    // Section 2.2.3.
    let mut summed = with(&[4, 0, 1, 0, 3, 0, 4, 0, 0, 0, 0, 5, 0, 1, 7]);
    let sum = crc32c::crc32c(&[&summed]).to_be_bytes();
    summed[35..39].copy_from_slice(&sum);
    check(&summed, Ok(INET_FOUND));
    for at in [16, 20, 31, 35, 38, 42] {
        let mut changed = summed.clone();
        changed[at] ^= 0x10;
        assert_eq!(read(&changed), Err(Checksum), "{at}");
    }
    for tlvs in [&[3, 0, 3, 0, 0, 0][..], &[3, 0, 5, 0, 0, 0, 0, 0], &[3, 0, 0]] {
        assert_eq!(read(&with(tlvs)), Err(Tlv), "{tlvs:?}");
    }
    let mut twice = with(&[3, 0, 4, 0, 0, 0, 0, 3, 0, 4, 0, 0, 0, 0]);
    let sum = crc32c::crc32c(&[&twice]).to_be_bytes();
    twice[31..35].copy_from_slice(&sum);
    assert_eq!(read(&twice), Err(Tlv));
}

#[test]
fn only_what_is_accepted() {
    let (text, bytes) = (b"PROXY UNKNOWN\r\n".as_slice(), &*binary(0x20, 0, &[]));
    for (input, accepts, taken) in
        [(text, Accepts::V1, true), (text, Accepts::V2, false), (bytes, Accepts::V1, false), (bytes, Accepts::V2, true)]
    {
        for length in 1..=input.len() {
            let found = parse(&input[..length], accepts);
            assert_eq!(found == Err(ProxyFault::Signature), !taken, "{accepts:?} {length}");
        }
    }
    for accepts in [Accepts::V1, Accepts::V2, Accepts::Any] {
        assert_eq!(parse(b"", accepts), Ok(None));
    }
}

#[test]
fn what_is_written() {
    let text = |source: &str, destination: &str| {
        let mut out = Vec::new();
        write_v1(&mut out, at(source), at(destination));
        String::from_utf8(out).unwrap()
    };
    assert_eq!(text("192.0.2.1:1", "203.0.113.9:65535"), "PROXY TCP4 192.0.2.1 203.0.113.9 1 65535\r\n");
    assert_eq!(text("[2001:db8::1]:1", "[::1]:0"), "PROXY TCP6 2001:db8::1 ::1 1 0\r\n");
    assert_eq!(text("[::ffff:192.0.2.1]:1", "203.0.113.9:2"), "PROXY TCP4 192.0.2.1 203.0.113.9 1 2\r\n");
    assert_eq!(text("192.0.2.1:1", "[::1]:2"), "PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n");
    assert_eq!(text("[fe80::1%3]:1", "[::1]:2"), "PROXY TCP6 fe80::1 ::1 1 2\r\n");
    let mut out = Vec::new();
    write_v2(&mut out, at("[::ffff:192.0.2.1]:8080"), at("203.0.113.9:443"));
    assert_eq!(out, binary(0x21, 0x11, INET));
    let mut unknown = Vec::new();
    write_v1_unknown(&mut unknown);
    check(&unknown, Ok((None, None)));
}

/// Addresses of both families, and of the one in the clothes of the other.
fn address() -> impl Strategy<Value = SocketAddr> {
    let ip = prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from),
        any::<[u8; 4]>().prop_map(|octets| std::net::Ipv4Addr::from(octets).to_ipv6_mapped().into()),
    ];
    (ip, any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_written_is_read(source in address(), destination in address(), rest: Vec<u8>) {
        for (version, write) in [(Version::V1, write_v1 as fn(&mut _, _, _)), (Version::V2, write_v2)] {
            let mut bytes = Vec::new();
            write(&mut bytes, source, destination);
            let end = bytes.len();
            let most = if version == Version::V1 { LONGEST_V1 } else { LONGEST_V2 };
            prop_assert!(end <= most);
            bytes.extend_from_slice(&rest);
            let expected = Header::known(version, source, destination);
            prop_assert_eq!(read(&bytes), Ok(Some((expected, end))));
        }
    }

    #[test]
    fn a_changed_block_never_panics(command in 0x20..0x22_u8, family: u8, block: Vec<u8>) {
        let _ = read(&binary(command, family, &block));
        let _ = read(&block);
    }
}
