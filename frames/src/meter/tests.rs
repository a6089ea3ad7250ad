//! Frames by their bytes, in any pieces.

use proptest::prelude::*;

use super::*;

/// The bytes in pieces that end at these places.
fn metered(preface: bool, bytes: &[u8], cuts: &[usize]) -> Vec<Frame> {
    let mut meter = FrameMeter::new(preface);
    let mut seen = Vec::new();
    let mut from = 0;
    for end in cuts.iter().map(|cut| (*cut).clamp(from, bytes.len())).chain([bytes.len()]).collect::<Vec<_>>() {
        meter.feed(bytes.get(from..end).unwrap_or_default(), |frame| seen.push(frame));
        from = end.max(from);
    }
    seen
}

#[track_caller]
fn check(preface: bool, bytes: &[u8], expected: &[Frame]) {
    assert_eq!(metered(preface, bytes, &[]), expected);
    let each: Vec<usize> = (0..bytes.len()).collect();
    assert_eq!(metered(preface, bytes, &each), expected);
    for cut in each {
        assert_eq!(metered(preface, bytes, &[cut]), expected, "cut at {cut}");
    }
}

fn frame(kind: u8, flags: u8, length: u32, stream: u32, code: Option<u32>) -> Frame {
    Frame { kind, flags, length, stream, code }
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[test]
fn frames_as_they_come() {
    // RFC 9113 section 3.4: the preface, then SETTINGS.
    let opening = [PREFACE, b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64", b"\0\0\0\x04\x01\0\0\0\0"].concat();
    let settings = [frame(kind::SETTINGS, 0, 6, 0, None), frame(kind::SETTINGS, flag::ACK, 0, 0, None)];
    check(true, &opening, &settings);
    check(false, &opening[24..], &settings);
    // Section 6.4: RST_STREAM, CANCEL. The reserved bit of a stream's number is ignored (section 4.1).
    check(false, b"\0\0\x04\x03\0\x80\0\0\x05\0\0\0\x08", &[frame(kind::RST_STREAM, 0, 4, 5, Some(8))]);
    // Section 6.8: GOAWAY, ENHANCE_YOUR_CALM, with more behind it.
    let goaway = b"\0\0\x0a\x07\0\0\0\0\0\0\0\0\x07\0\0\0\x0bhi\0\0\x01\0\x01\0\0\0\x01x";
    let seen = [frame(kind::GOAWAY, 0, 10, 0, Some(0xb)), frame(kind::DATA, flag::END_STREAM, 1, 1, None)];
    check(false, goaway, &seen);
}

#[test]
fn a_code_that_is_not_there_is_not_waited_for() {
    let next = b"\0\0\0\x06\0\0\0\0\0".as_slice();
    for (head, expected) in [
        (b"\0\0\x03\x03\0\0\0\0\x01abc".as_slice(), frame(kind::RST_STREAM, 0, 3, 1, None)),
        (b"\0\0\0\x03\0\0\0\0\x01", frame(kind::RST_STREAM, 0, 0, 1, None)),
        (b"\0\0\x07\x07\0\0\0\0\0abcdefg", frame(kind::GOAWAY, 0, 7, 0, None)),
        (b"\0\0\x05\x03\0\0\0\0\x01\0\0\0\x02z", frame(kind::RST_STREAM, 0, 5, 1, Some(2))),
    ] {
        check(false, &[head, next].concat(), &[expected, frame(kind::PING, 0, 0, 0, None)]);
    }
    // It is told of when the code has come, not before.
    let bytes = b"\0\0\x04\x03\0\0\0\0\x05\0\0\0\x08";
    assert_eq!(metered(false, &bytes[..12], &[]), []);
    assert_eq!(metered(false, bytes, &[]).len(), 1);
    assert_eq!(metered(false, b"\xff\xff\xff\x00\0\0\0\0\x05", &[]), [frame(kind::DATA, 0, 0xff_ffff, 5, None)]);
}

#[test]
fn codes_have_names() {
    let names: Vec<&str> = (0..16).map(code_name).collect();
    let expected = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
        "unknown",
        "unknown",
    ];
    assert_eq!(names, expected);
    assert_eq!(code_name(u32::MAX), "unknown");
}

/// A frame and its bytes; short ones mostly, of all kinds.
fn written() -> impl Strategy<Value = (Frame, Vec<u8>)> {
    let kind = prop_oneof![0..12_u8, any::<u8>()];
    (kind, any::<u8>(), 0..0x8000_0000_u32, prop::collection::vec(any::<u8>(), 0..40)).prop_map(
        |(kind, flags, stream, payload)| {
            let length = payload.len() as u32;
            let mut bytes = length.to_be_bytes()[1..].to_vec();
            bytes.extend([kind, flags]);
            bytes.extend(stream.to_be_bytes());
            bytes.extend(&payload);
            let code = match kind {
                kind::RST_STREAM => payload.get(..4),
                kind::GOAWAY => payload.get(4..8),
                _ => None,
            };
            let code = code.map(|code| u32::from_be_bytes(code.try_into().unwrap()));
            (Frame { kind, flags, length, stream, code }, bytes)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_pieces_give_the_frames_that_were_written(
        preface: bool,
        frames in prop::collection::vec(written(), 0..12),
        mut cuts in prop::collection::vec(0..600_usize, 0..40),
    ) {
        let mut bytes = if preface { PREFACE.to_vec() } else { Vec::new() };
        bytes.extend(frames.iter().flat_map(|(_, frame)| frame));
        let expected: Vec<Frame> = frames.iter().map(|(frame, _)| *frame).collect();
        cuts.sort_unstable();
        prop_assert_eq!(metered(preface, &bytes, &cuts), expected);
    }

    #[test]
    fn bytes_that_nobody_meant_are_metered_alike(bytes: Vec<u8>, mut cuts in prop::collection::vec(0..200_usize, 0..40)) {
        cuts.sort_unstable();
        prop_assert_eq!(metered(false, &bytes, &cuts), metered(false, &bytes, &[]));
    }
}
