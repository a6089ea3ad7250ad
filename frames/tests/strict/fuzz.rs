//! Every fuzz target over its corpus.

use super::{corpus, targets};

/// Pieces that matter to these protocols.
const PIECES: &[&[u8]] = &[
    b"PROXY ",
    b"TCP4 ",
    b"TCP6 ",
    b"UNKNOWN",
    b"\r\n",
    b" ",
    b"192.0.2.1 ",
    b"::ffff:1.2.3.4 ",
    b"65535",
    b"0",
    b"\r\n\r\n\0\r\nQUIT\n",
    b"\x21\x11\0\x0c",
    b"\x21\x21\0\x24",
    b"\x20\0\0\0",
    b"\x04\0\0",
    b"\x03\0\x04\0\0\0\0",
    b"\0\0\0",
    b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08",
    b"\0\0\x08\x07\0\0\0\0\0\0\0\0\x07\0\0\0\x0b",
    b"\0\0\0\x04\x01\0\0\0\0",
    b"\0\x40\0\0\0\0\0\0\x01",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x81\x05Hello",
    b"\x01\x83abcd",
    b"\x80\x00",
    b"\x89\x00",
    b"\x88\x02\x03\xe8",
    b"\x82\x7e\x00\x7e",
    b"\x82\xff\0\0\0\0\0\x01\0\0",
    b"\xff\xff",
];

#[test]
fn proxy_headers() {
    corpus::run("proxy_header", targets::proxy_header, PIECES);
}

#[test]
fn frame_meters() {
    corpus::run("frame_meter", targets::frame_meter, PIECES);
}

#[test]
fn websocket_trackers() {
    corpus::run("websocket_tracker", targets::websocket_tracker, PIECES);
}
