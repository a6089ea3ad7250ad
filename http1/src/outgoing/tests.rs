//! What goes out: the same bytes however they are taken, and never more than was announced.

use super::*;
use crate::script::{Script, until_ready};
use crate::{Name, Value};

/// A message of these pieces, taken so many bytes at once: what arrives, in how many writes, and whether it was whole.
fn send(shape: Shape, pieces: &[&[u8]], trailers: Option<&Headers>, bite: usize) -> (Vec<u8>, usize, bool) {
    let mut stream = Script::taking(bite);
    let mut out = Outgoing::start(|out| out.extend_from_slice(b"head: 1\r\n"), shape);
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let sent = if out.put(rest) {
                rest.len()
            } else {
                until_ready(|cx| out.poll_send(cx, &mut stream, rest)).unwrap()
            };
            rest = &rest[sent..];
        }
    }
    let whole = out.finish(trailers);
    until_ready(|cx| out.poll_flush(cx, &mut stream)).unwrap();
    assert!(out.is_flushed());
    (stream.sent, stream.writes, whole)
}

#[track_caller]
fn check(shape: Shape, pieces: &[&[u8]], expected: &[u8]) {
    let bytes = [b"head: 1\r\n\r\n", expected].concat();
    for bite in (1..60).chain([1000, 4095, 4096, 4097, 5000]) {
        let (sent, _, whole) = send(shape, pieces, None, bite);
        assert!(whole);
        assert!(sent == bytes, "by {bite}: {}", sent.escape_ascii());
    }
}

#[test]
fn bodies_of_each_shape_are_the_same_in_any_pieces() {
    let large = vec![b'L'; 2 * GATHERED + 1];
    check(Shape::Length(0), &[], b"");
    check(Shape::Length(5), &[b"abc", b"", b"de"], b"abcde");
    check(Shape::Close, &[b"abc", b"de"], b"abcde");
    check(Shape::Length(large.len() as u64 + 3), &[b"ab", &large, b"c"], &[b"ab", &large[..], b"c"].concat());
    check(Shape::Close, &[&large, b"c"], &[&large[..], b"c"].concat());
    check(Shape::Chunked, &[], b"0\r\n\r\n");
    check(Shape::Chunked, &[b"abc", b"", b"0123456789"], b"3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n");
    let chunked = [b"1\r\na\r\n2001\r\n", &large[..], b"\r\n2\r\nbc\r\n0\r\n\r\n"].concat();
    check(Shape::Chunked, &[b"a", &large, b"bc"], &chunked);
}

/// A piece of nothing is no chunk: `0` would be the last one.
#[test]
fn an_empty_piece_is_no_chunk() {
    for shape in [Shape::Chunked, Shape::Length(0), Shape::Close] {
        let mut stream = Script::default();
        let mut out = Outgoing::start(|_| {}, shape);
        assert!(out.put(b""));
        assert_eq!(until_ready(|cx| out.poll_send(cx, &mut stream, b"")).unwrap(), 0);
        until_ready(|cx| out.poll_flush(cx, &mut stream)).unwrap();
        assert_eq!(until_ready(|cx| out.poll_send(cx, &mut stream, b"")).unwrap(), 0);
        assert!(out.finish(None));
        until_ready(|cx| out.poll_flush(cx, &mut stream)).unwrap();
        let expected: &[u8] = if shape == Shape::Chunked { b"\r\n0\r\n\r\n" } else { b"\r\n" };
        assert_eq!(stream.sent.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }
}

#[test]
fn head_and_body_go_in_one_write() {
    let large = vec![b'L'; 3 * GATHERED];
    for (shape, pieces) in [
        (Shape::Length(3), vec![&b"abc"[..]]),
        (Shape::Chunked, vec![&b"abc"[..], &b"de"[..]]),
        (Shape::Close, vec![&b"abc"[..]]),
        (Shape::Length(0), vec![]),
        (Shape::Length(large.len() as u64), vec![&large[..]]),
        (Shape::Length(large.len() as u64 + 3), vec![&b"abc"[..], &large[..]]),
    ] {
        assert_eq!(send(shape, &pieces, None, 0).1, 1, "{shape:?}");
    }
    // The end of a large chunked body is only known afterwards.
    assert_eq!(send(Shape::Chunked, &[&large], None, 0).1, 2);
}

#[test]
fn small_pieces_are_gathered_within_bounds() {
    let piece = [b'p'; 1000];
    let pieces: Vec<&[u8]> = (0..100).map(|_| &piece[..]).collect();
    let (sent, writes, whole) = send(Shape::Length(100_000), &pieces, None, 0);
    assert!(whole && sent.len() == 100_011);
    assert!((7..=9).contains(&writes), "{writes}");
}

#[test]
fn more_than_was_announced_is_refused() {
    let mut stream = Script::default();
    let mut out = Outgoing::start(|_| {}, Shape::Length(3));
    assert!(out.put(b"ab"));
    assert!(!out.put(b"cd"));
    let refused = until_ready(|cx| out.poll_send(cx, &mut stream, b"cd")).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
    assert!(stream.sent.is_empty());
    assert!(out.put(b"c"));
    assert!(!out.put(b"d"));
    assert!(out.finish(None));
    until_ready(|cx| out.poll_flush(cx, &mut stream)).unwrap();
    assert_eq!(stream.sent, b"\r\nabc");
    let mut none = Outgoing::start(|_| {}, Shape::Length(0));
    assert!(!none.put(b"x"));
    assert!(until_ready(|cx| none.poll_send(cx, &mut stream, b"x")).is_err());
}

#[test]
fn less_than_was_announced_is_told() {
    assert!(!send(Shape::Length(3), &[b"ab"], None, 0).2);
    // A chunk of which a part is owed.
    let large = vec![b'L'; 2 * GATHERED];
    let mut stream = Script::taking(100);
    let mut out = Outgoing::start(|_| {}, Shape::Chunked);
    let sent = loop {
        let sent = until_ready(|cx| out.poll_send(cx, &mut stream, &large)).unwrap();
        if sent > 0 {
            break sent;
        }
    };
    assert!(sent < large.len());
    assert!(!out.put(b"not within a chunk"));
    assert!(!out.finish(None));
}

#[test]
fn trailers_stand_behind_the_last_chunk() {
    let mut trailers = Headers::new();
    trailers.add(&Name::known("x-sum"), Value::known("1"));
    let expected = b"head: 1\r\n\r\n1\r\na\r\n0\r\nx-sum: 1\r\n\r\n";
    for bite in 0..40 {
        assert_eq!(send(Shape::Chunked, &[b"a"], Some(&trailers), bite).0, expected);
        // Other shapes have no place for them.
        assert_eq!(send(Shape::Length(1), &[b"a"], Some(&trailers), bite).0, b"head: 1\r\n\r\na");
    }
}

#[test]
fn a_connection_that_takes_nothing_is_an_error() {
    struct Shut;
    impl AsyncWrite for Shut {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(0))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }
    let mut out = Outgoing::start(|_| {}, Shape::Close);
    let flushed = until_ready(|cx| out.poll_flush(cx, &mut Shut)).unwrap_err();
    assert_eq!(flushed.kind(), io::ErrorKind::WriteZero);
    let sent = until_ready(|cx| out.poll_send(cx, &mut Shut, b"x")).unwrap_err();
    assert_eq!(sent.kind(), io::ErrorKind::WriteZero);
}
