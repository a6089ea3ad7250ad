//! What must hold for any bytes. Each target panics where it does not.

use frames::meter::{Frame, FrameMeter};
use frames::proxy_header::{self, Accepts, LONGEST_V2, Version, write_v1, write_v2};
use frames::websocket::Tracker;

/// A PROXY header: fewer bytes say "more" or the same, more bytes the same; what was read can be written and read again.
pub(super) fn proxy_header(bytes: &[u8]) {
    let found = proxy_header::parse(bytes, Accepts::Any);
    let most = bytes.len().min(LONGEST_V2);
    // Every place within the part that is text or fixed, and some behind it.
    for length in (0..most).filter(|length| *length < 130 || length % 37 == 0) {
        match (proxy_header::parse(&bytes[..length], Accepts::Any), &found) {
            (Ok(None), Ok(Some((_, end)))) => assert!(length < *end),
            (Ok(None), _) => {}
            (part, whole) => assert_eq!(&part, whole, "{length}"),
        }
    }
    let Ok(Some((header, end))) = found else {
        assert!(found.is_err() || bytes.len() < LONGEST_V2);
        return;
    };
    assert_eq!(proxy_header::parse(&bytes[..end], Accepts::Any), found);
    assert_eq!(header.source.is_some(), header.destination.is_some());
    let (only, other) = match header.version {
        Version::V1 => (Accepts::V1, Accepts::V2),
        Version::V2 => (Accepts::V2, Accepts::V1),
    };
    assert_eq!(proxy_header::parse(bytes, only), found);
    assert!(proxy_header::parse(bytes, other).is_err());
    if let (Some(source), Some(destination)) = (header.source, header.destination) {
        for write in [write_v1, write_v2] {
            let mut out = Vec::new();
            write(&mut out, source, destination);
            let (again, length) = proxy_header::parse(&out, Accepts::Any).unwrap().unwrap();
            assert_eq!((again.source, again.destination, length), (header.source, header.destination, out.len()));
        }
    }
}

/// The frames of a direction, read at once with all bytes at hand.
fn frames_of(mut bytes: &[u8]) -> Vec<Frame> {
    let mut found = Vec::new();
    while let Some((header, rest)) = bytes.split_at_checked(9) {
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let code_at = match header[3] {
            3 if length >= 4 => Some(0),
            7 if length >= 8 => Some(4),
            _ => None,
        };
        let code = code_at.map(|at| rest.get(at..at + 4).map(|code| u32::from_be_bytes(code.try_into().unwrap())));
        // An error code is waited for.
        if code == Some(None) {
            break;
        }
        let stream = u32::from_be_bytes(header[5..].try_into().unwrap()) & !(1 << 31);
        found.push(Frame { kind: header[3], flags: header[4], length, stream, code: code.flatten() });
        bytes = rest.get(length as usize..).unwrap_or_default();
    }
    found
}

/// A meter of frames: in pieces of any size it sees what a reader of all the bytes sees.
pub(super) fn frame_meter(bytes: &[u8]) {
    for preface in [false, true] {
        let expected = frames_of(bytes.get(if preface { 24 } else { 0 }..).unwrap_or_default());
        for piece in [1, 1 + bytes.len() % 11, bytes.len().max(1)] {
            let mut meter = FrameMeter::new(preface);
            let mut found = Vec::new();
            bytes.chunks(piece).for_each(|piece| meter.feed(piece, |frame| found.push(frame)));
            assert_eq!(found, expected, "in pieces of {piece}");
        }
    }
}

/// A tracker of a WebSocket: byte by byte or at once it ends the same, and what it says of a boundary ahead comes true.
pub(super) fn websocket_tracker(bytes: &[u8]) {
    let mut whole = Tracker::default();
    whole.feed(bytes);
    let mut slow = Tracker::default();
    let mut next = None;
    for (at, byte) in bytes.iter().enumerate() {
        let split = slow.split_at_boundary(&bytes[at..]);
        assert!(next.is_none_or(|next| split == Some(next)), "{split:?} at {at}");
        assert_eq!(split == Some(0), slow.at_boundary());
        next = split.and_then(|split| split.checked_sub(1));
        slow.feed(std::slice::from_ref(byte));
        assert!(!(slow.broken() && slow.at_boundary()));
        if next == Some(0) {
            assert!(slow.at_boundary());
        }
    }
    let told = |tracker: &Tracker| (tracker.at_boundary(), tracker.closed(), tracker.broken());
    assert_eq!(told(&slow), told(&whole));
}
