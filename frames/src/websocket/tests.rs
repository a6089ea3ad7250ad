//! Frames by their bytes, in any pieces.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Boundary,
    Within,
    Closed,
    Broken,
}

fn found(tracker: &Tracker) -> Found {
    match (tracker.broken(), tracker.at_boundary(), tracker.closed()) {
        (true, at_boundary, _) => {
            assert!(!at_boundary);
            Found::Broken
        }
        (_, true, true) => Found::Closed,
        (_, true, false) => Found::Boundary,
        _ => Found::Within,
    }
}

fn fed(bytes: &[u8]) -> Tracker {
    let mut tracker = Tracker::default();
    tracker.feed(bytes);
    tracker
}

#[track_caller]
fn check(bytes: &[u8], expected: Found) {
    assert_eq!(found(&fed(bytes)), expected, "{}", bytes.escape_ascii());
    for cut in 0..bytes.len() {
        let mut tracker = fed(&bytes[..cut]);
        tracker.feed(&bytes[cut..]);
        assert_eq!(found(&tracker), expected, "{} cut at {cut}", bytes.escape_ascii());
    }
}

#[test]
fn examples_of_the_standard() {
    // RFC 6455 section 5.7.
    check(b"", Found::Boundary);
    check(b"\x81\x05Hello", Found::Boundary);
    check(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", Found::Boundary);
    check(b"\x01\x03Hel", Found::Boundary);
    check(b"\x01\x03Hel\x80\x02lo", Found::Boundary);
    check(b"\x89\x05Hello\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", Found::Boundary);
    check(&[b"\x82\x7e\x01\x00".as_slice(), &[7; 256]].concat(), Found::Boundary);
    check(&[b"\x82\x7f\0\0\0\0\0\x01\0\0".as_slice(), &vec![7; 65536]].concat()[..4000], Found::Within);
    let long = [b"\x82\xff\0\0\0\0\0\x01\0\0abcd".as_slice(), &vec![7; 65536]].concat();
    assert_eq!(found(&fed(&long)), Found::Boundary);
    assert_eq!(found(&fed(&long[..long.len() - 1])), Found::Within);
    // RFC 7692 section 7.2.3: compressed messages.
    check(b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\0", Found::Boundary);
    check(b"\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\0", Found::Boundary);
}

#[test]
fn a_boundary_is_only_between_frames() {
    let two = b"\x01\x83abcdHel\x89\x00\x80\x7e\x00\x7f";
    let ends = [0, 9, 11];
    for length in 0..two.len() {
        let expected = if ends.contains(&length) { Found::Boundary } else { Found::Within };
        check(&two[..length], expected);
    }
}

#[test]
fn a_close_is_seen_with_its_header() {
    assert!(!fed(b"\x88").closed());
    for bytes in [b"\x88\x02".as_slice(), b"\x88\x82abcd\x03", b"\x81\x01a\x88\x00"] {
        assert!(fed(bytes).closed());
    }
    check(b"\x88\x00", Found::Closed);
    check(b"\x88\x02\x03\xe8", Found::Closed);
    check(b"\x01\x00\x88\x02\x03\xe8", Found::Closed);
    check(b"\x88\x02\x03", Found::Within);
}

#[test]
fn headers_that_cannot_be() {
    // Section 5.2: reserved opcodes.
    for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        check(&[0x80 | opcode], Found::Broken);
        check(&[opcode, 0], Found::Broken);
    }
    // Section 5.2: reserved bits that no extension has.
    for first in [0xa1, 0x91, 0xb2, 0xf1, 0xa9] {
        check(&[first], Found::Broken);
    }
    // Section 5.5: control frames are short and whole; RFC 7692 section 6.1: nor compressed.
    for bytes in [b"\x89\x7e".as_slice(), b"\x88\x7f", b"\x8a\xfe", b"\x09", b"\x08\x00", b"\xc9\x00"] {
        check(bytes, Found::Broken);
    }
    check(&[b"\x89\x7d".as_slice(), &[0; 125]].concat(), Found::Boundary);
    // Section 5.4: a continuation of nothing; a message within a message.
    for bytes in [b"\x80\x00".as_slice(), b"\x00\x01a", b"\x81\x01a\x80", b"\x01\x01a\x81", b"\x01\x01a\x02"] {
        check(bytes, Found::Broken);
    }
    // Section 5.2: the highest bit of a length, and lengths that are spelt too long.
    check(b"\x82\x7f\x80\0\0\0\0\0\0\0", Found::Broken);
    check(b"\x82\x7f\x80\0\0\0\0\x01\0\0", Found::Broken);
    check(b"\x82\x7f\0\0\0\0\0\0\xff\xff", Found::Broken);
    check(b"\x82\x7e\0\x7d", Found::Broken);
    check(b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff", Found::Within);
    // It stays so.
    check(b"\x83\x81\x00\x88\x00", Found::Broken);
    assert!(!fed(b"\x83\x00\x88\x00").closed());
}

#[test]
fn a_writer_is_told_where_to_stop() {
    let frames = b"\x01\x83abcdHel\x89\x00\x80\x01z";
    let split =
        |fed_before: usize, upto: usize| fed(&frames[..fed_before]).split_at_boundary(&frames[fed_before..upto]);
    assert_eq!(split(0, 14), Some(0));
    assert_eq!(split(1, 14), Some(8));
    assert_eq!(split(1, 9), Some(8));
    assert_eq!(split(1, 8), None);
    assert_eq!(split(5, 14), Some(4));
    assert_eq!(split(10, 14), Some(1));
    assert_eq!(split(12, 14), Some(2));
    assert_eq!(split(12, 13), None);
    assert_eq!(split(12, 12), None);
    assert_eq!(fed(b"\x81\x05He").split_at_boundary(b"llo"), Some(3));
    assert_eq!(fed(b"\x83").split_at_boundary(b"\x00\x81\x00"), None);
    assert_eq!(fed(b"\x82").split_at_boundary(b"\x7e\x00\x01a\x81\x00"), None);
}

#[test]
fn a_close_of_our_own() {
    let mut out = Vec::new();
    close_frame(1001, "going", None, &mut out);
    assert_eq!(out, b"\x88\x07\x03\xe9going");
    check(&out, Found::Closed);
    out.clear();
    close_frame(1000, "", Some([0x37, 0xfa, 0x21, 0x3d]), &mut out);
    assert_eq!(out, b"\x88\x82\x37\xfa\x21\x3d\x34\x12");
    check(&out, Found::Closed);
    // Section 5.5: 125 bytes at most; what is cut stays UTF-8.
    for (reason, length) in
        [("a".repeat(123), 123), ("a".repeat(124), 123), ("aä".repeat(60), 123), ("ä".repeat(80), 122)]
    {
        out.clear();
        close_frame(1011, &reason, None, &mut out);
        assert_eq!((usize::from(out[1]), out.len()), (length + 2, length + 4));
        assert!(reason.starts_with(std::str::from_utf8(&out[4..]).unwrap()));
        check(&out, Found::Closed);
    }
}

/// A frame that may stand anywhere, or a message in two fragments with a control frame between them.
fn written() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let payload = prop_oneof![0..4_usize, 120..130_usize, 65_530..65_540_usize];
    let shape = (prop::sample::select(vec![0x81, 0x82, 0xc2, 0x89, 0x8a]), payload, any::<Option<[u8; 4]>>());
    prop_oneof![
        4 => shape.clone().prop_map(|(first, length, mask)| vec![frame(first, length, mask)]),
        1 => shape.prop_map(|(_, length, mask)| {
            vec![frame(0x01, length, mask), frame(0x89, 3, mask), frame(0x80, 1, mask)]
        }),
    ]
}

fn frame(first: u8, length: usize, mask: Option<[u8; 4]>) -> Vec<u8> {
    let length = if first & 8 != 0 { length.min(125) } else { length };
    let bit = if mask.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match length {
        0..126 => bytes.push(bit | length as u8),
        126..65536 => {
            bytes.push(bit | 0x7e);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(bit | 0x7f);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(mask.iter().flatten());
    bytes.resize(bytes.len() + length, 0x88);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn boundaries_are_where_frames_end(
        frames in prop::collection::vec(written(), 1..6),
        places in prop::collection::vec(any::<prop::sample::Index>(), 1..20),
    ) {
        let frames = frames.concat();
        let bytes = frames.concat();
        let ends: Vec<usize> = frames.iter().scan(0, |at, frame| { *at += frame.len(); Some(*at) }).collect();
        let mut places: Vec<usize> = places.iter().map(|place| place.index(bytes.len() + 1)).collect();
        places.sort_unstable();
        let mut tracker = Tracker::default();
        let mut from = 0;
        for place in places {
            tracker.feed(&bytes[from..place]);
            from = place;
            prop_assert_eq!(tracker.at_boundary(), place == 0 || ends.contains(&place));
            prop_assert!(!tracker.broken() && !tracker.closed());
            let next = if tracker.at_boundary() { 0 } else { ends.iter().find(|end| **end > place).unwrap() - place };
            prop_assert_eq!(tracker.split_at_boundary(&bytes[place..]), Some(next));
        }
    }

    #[test]
    fn bytes_that_nobody_meant_are_tracked_alike(bytes: Vec<u8>, place: prop::sample::Index) {
        let place = place.index(bytes.len() + 1);
        let mut pieces = fed(&bytes[..place]);
        let split = pieces.split_at_boundary(&bytes[place..]);
        if let Some(split) = split {
            let at = fed(&bytes[..place + split]);
            prop_assert!(at.at_boundary());
        }
        pieces.feed(&bytes[place..]);
        prop_assert_eq!(found(&pieces), found(&fed(&bytes)));
    }
}
