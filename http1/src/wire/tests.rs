//! Messages one after the other on one connection, in pieces of every size.

use super::*;
use crate::script::{Script, until_ready};
use crate::{BodyFault, Framing, Incoming, Ready, RequestHead, ResponseHead, request_framing, response_framing};

const LIMITS: HeadLimits = HeadLimits { start_line: 1024, fields: 4096, count: 64 };

fn body<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>, framing: Framing) -> Result<(Vec<u8>, bool), BodyFault> {
    let mut incoming = Incoming::new(framing);
    let mut found = Vec::new();
    loop {
        match until_ready(|cx| incoming.poll_ready(cx, wire))? {
            Ready::Data => {
                let chunk = incoming.chunk(wire);
                assert!(!chunk.is_empty());
                // A part of it first, so that the rest must be told again.
                let used = chunk.len().div_ceil(2);
                found.extend_from_slice(&chunk[..used]);
                incoming.advance(wire, used);
            }
            Ready::End => {
                assert!(incoming.is_done() && incoming.left() == Some(0));
                return Ok((found, incoming.take_trailers().is_some()));
            }
        }
    }
}

fn request(wire: &mut Wire<Script>, parser: &mut HeadParser) -> Result<RequestHead, HeadError> {
    until_ready(|cx| wire.poll_request(cx, parser, &LIMITS))
}

fn response(wire: &mut Wire<Script>) -> Result<ResponseHead, HeadError> {
    let mut parser = HeadParser::response();
    until_ready(|cx| wire.poll_response(cx, &mut parser, &LIMITS, 100))
}

/// What is on the connection, told line by line, however it comes.
#[track_caller]
fn check(bytes: &[u8], expected: &[&str]) {
    for piece in (0..40).chain([bytes.len() - 1, bytes.len()]) {
        let mut wire = Wire::new(Script::coming(bytes, piece));
        let mut parser = HeadParser::request();
        let mut told = Vec::new();
        loop {
            let head = match request(&mut wire, &mut parser) {
                Ok(head) => head,
                Err(error) => {
                    told.push(error.to_string());
                    break;
                }
            };
            told.push(format!("{} {}", head.method(), head.target()));
            match request_framing(&head).map_err(BodyFault::from).and_then(|framing| body(&mut wire, framing)) {
                Ok((found, trailers)) => {
                    told.push(format!("{}{}", found.escape_ascii(), if trailers { " and trailers" } else { "" }));
                }
                Err(error) => {
                    told.push(error.to_string());
                    break;
                }
            }
        }
        assert_eq!(told, expected, "by {piece}");
    }
}

#[test]
fn requests_with_bodies_follow_each_other() {
    check(
        b"POST /a HTTP/1.1\r\ncontent-length: 4\r\n\r\nGET POST /b HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n\
          5\r\nGET /\r\n0\r\nx: y\r\n\r\nGET /c HTTP/1.1\r\n\r\nPUT /d HTTP/1.1\r\ncontent-length: 0\r\n\r\n\r\nGET /e HTTP/1.0\r\n\r\n",
        &["POST /a", "GET ", "POST /b", "GET / and trailers", "GET /c", "", "PUT /d", "", "GET /e", "", "the connection ended"],
    );
}

#[test]
fn one_empty_line_before_a_request_is_passed_over() {
    check(b"\r\nGET / HTTP/1.1\r\n\r\n", &["GET /", "", "the connection ended"]);
    check(b"\r\n\r\nGET / HTTP/1.1\r\n\r\n", &["the method is malformed"]);
    check(b"\r\n", &["the connection ended"]);
    check(b"\r", &["the connection ended"]);
    check(b"\r\r\n", &["the method is malformed"]);
    check(b"\rGET / HTTP/1.1\r\n\r\n", &["the method is malformed"]);
    check(b"\n", &["a line ends with a bare LF"]);
    check(b"GET / HTTP/1.1\r\n\r\n\r\n\r\n", &["GET /", "", "the method is malformed"]);
    check(b" ", &["the method is malformed"]);
}

#[test]
fn an_end_is_told_for_what_it_is() {
    check(b"GET", &["the connection ended within a head"]);
    check(b"GET / HTTP/1.1\r\n\r", &["the connection ended within a head"]);
    check(b"PUT / HTTP/1.1\r\ncontent-length: 4\r\n\r\nabc", &["PUT /", "the connection ended within a body"]);
    for part in ["", "3", "3\r\nab", "3\r\nabc", "3\r\nabc\r\n", "0\r\n", "0\r\n\r", "0\r\nx: y\r\n"] {
        let bytes = format!("PUT / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n{part}");
        check(bytes.as_bytes(), &["PUT /", "the connection ended within a body"]);
    }
    check(
        b"PUT / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
        &["PUT /", "a chunk is malformed"],
    );
}

#[test]
fn an_answer_may_go_on_until_the_end() {
    for piece in 0..40 {
        let mut wire = Wire::new(Script::coming(b"HTTP/1.1 200 OK\r\n\r\nall of it\r\n\r\n", piece));
        let head = response(&mut wire).unwrap();
        let framing = response_framing(&head, false).unwrap();
        assert_eq!(framing, Framing::Close);
        assert_eq!(body(&mut wire, framing).unwrap(), (b"all of it\r\n\r\n".to_vec(), false));
        assert!(wire.has_ended());
        assert!(matches!(response(&mut wire), Err(HeadError::Closed)));
    }
}

/// What comes behind an answer stays where the pool can see it.
#[test]
fn what_comes_behind_an_answer_is_kept() {
    let two = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n";
    let mut wire = Wire::new(Script::coming(two, 0));
    let head = response(&mut wire).unwrap();
    assert_eq!(body(&mut wire, response_framing(&head, false).unwrap()).unwrap().0, b"ok");
    assert_eq!(wire.input.bytes(), b"HTTP/1.1 200 OK\r\n\r\n");
    // No empty line is passed over here.
    let mut wire = Wire::new(Script::coming(b"\r\nHTTP/1.1 200 OK\r\n\r\n", 0));
    assert!(matches!(response(&mut wire), Err(HeadError::Malformed(Fault::Version))));
}

/// A body may be larger than any buffer, and is never gathered.
#[test]
fn a_large_body_takes_little_memory() {
    let large: Vec<u8> = (0..3_000_000_u32).map(|at| at as u8).collect();
    let head = format!("PUT / HTTP/1.1\r\ncontent-length: {}\r\n\r\n", large.len());
    let mut wire = Wire::new(Script::coming(&[head.as_bytes(), &large].concat(), 0));
    let framing = request_framing(&request(&mut wire, &mut HeadParser::request()).unwrap()).unwrap();
    let mut incoming = Incoming::new(framing);
    let mut found = Vec::new();
    while until_ready(|cx| incoming.poll_ready(cx, &mut wire)).unwrap() == Ready::Data {
        let chunk = incoming.chunk(&wire);
        assert!(chunk.len() <= buffer::LARGE && wire.input.len() <= buffer::LARGE);
        found.extend_from_slice(chunk);
        incoming.advance(&mut wire, usize::MAX);
    }
    assert!(found == large);
}

#[test]
fn errors_of_the_connection_are_told() {
    let mut broken = Wire::new(Broken);
    let told = until_ready(|cx| broken.poll_request(cx, &mut HeadParser::request(), &LIMITS));
    assert!(matches!(told, Err(HeadError::Io(_))));
    assert!(matches!(body(&mut broken, Framing::Length(1)), Err(BodyFault::Io(_))));
}

/// A connection that was reset.
struct Broken;

impl AsyncRead for Broken {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut tokio::io::ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }
}

impl AsyncWrite for Broken {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
