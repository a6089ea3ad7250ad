//! Every fuzz target over its corpus.

use super::corpus;
use super::targets;

/// Pieces that matter to the grammar.
pub(super) const PIECES: &[&[u8]] = &[
    b"\r\n",
    b"\r",
    b"\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"\0",
    b"\x7f",
    b"\xc3\xa9",
    b"\"",
    b"#",
    b"?",
    b"0",
    b"1",
    b"a",
    b"f",
    b"0\r\n\r\n",
    b"3\r\nabc\r\n",
    b"Content-Length: 3\r\n",
    b"Content-Length:",
    b"Transfer-Encoding: chunked\r\n",
    b"chunked",
    b"gzip, ",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Host: h\r\n",
    b"X-Forwarded-",
    b" HTTP/1.1",
    b"HTTP/1.0",
    b"HTTP/1.1 200 OK\r\n",
    b"GET / HTTP/1.1\r\n",
    b"http://",
    b"204",
    b"304",
    b"100",
    b"Upgrade: x\r\n",
    b"ffffffffffffffff",
];

#[test]
fn request_heads() {
    corpus::run("request_head", targets::request_head, PIECES);
}

#[test]
fn response_heads() {
    corpus::run("response_head", targets::response_head, PIECES);
}

#[test]
fn chunked_bodies() {
    corpus::run("chunked_body", targets::chunked_body, PIECES);
}

#[test]
fn what_goes_on_is_the_same_message() {
    corpus::run("relay", targets::relay, PIECES);
}
