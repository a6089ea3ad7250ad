//! The chunked coding: what is data, what is refused, and that neither depends on how the bytes come.

use proptest::prelude::*;

use super::*;

/// The whole decoded: data, trailers as text, and where the body ended; none where more is needed.
type Decoded = Option<(Vec<u8>, Option<String>, usize)>;

/// Decodes, with so many bytes more to be seen each time.
fn decode(bytes: &[u8], piece: usize) -> Result<Decoded, Fault> {
    let mut decoder = ChunkedDecoder::default();
    let (mut used, mut there) = (0, piece.min(bytes.len()));
    let mut data = Vec::new();
    loop {
        let seen = &bytes[used..there];
        match decoder.decode(seen)? {
            ChunkStep::Data { framing, data: count } => {
                assert!(count > 0 && !decoder.is_done());
                // Only a part of it is used now and then.
                let count = if count > 2 { count - 1 } else { count };
                data.extend_from_slice(&seen[framing..framing + count]);
                decoder.consume(count);
                used += framing + count;
            }
            ChunkStep::More { framing } => {
                used += framing;
                if there == bytes.len() {
                    return Ok(None);
                }
                there = (there + piece).min(bytes.len());
            }
            ChunkStep::End { framing, trailers } => {
                assert!(decoder.is_done());
                let mut text = Vec::new();
                let trailers = trailers.map(|trailers| {
                    trailers.write(&mut text);
                    text.escape_ascii().to_string()
                });
                return Ok(Some((data, trailers, used + framing)));
            }
        }
    }
}

#[track_caller]
fn same_in_pieces(bytes: &[u8]) -> Result<Decoded, Fault> {
    let whole = decode(bytes, usize::MAX);
    for piece in 1..bytes.len().min(40) {
        assert_eq!(decode(bytes, piece), whole, "{} by {piece}", bytes.escape_ascii());
    }
    whole
}

#[track_caller]
fn check(body: impl AsRef<[u8]>, data: &str, trailers: Option<&str>) {
    let body = body.as_ref();
    let expected = (data.as_bytes().to_vec(), trailers.map(str::to_owned), body.len());
    assert_eq!(same_in_pieces(body), Ok(Some(expected.clone())), "{}", body.escape_ascii());
    // What follows is not looked at.
    assert_eq!(decode(&[body, b"GET / HTTP/1.1\r\n"].concat(), usize::MAX), Ok(Some(expected)));
    // And each byte is needed.
    assert_eq!(decode(&body[..body.len() - 1], usize::MAX), Ok(None));
}

#[track_caller]
fn refused(body: impl AsRef<[u8]>, expected: Fault) {
    let body = body.as_ref();
    assert_eq!(same_in_pieces(body), Err(expected), "{}", body.escape_ascii());
}

#[test]
fn chunks_are_read() {
    check("0\r\n\r\n", "", None);
    check("3\r\nabc\r\n0\r\n\r\n", "abc", None);
    check("1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", "abc", None);
    check("A\r\n0123456789\r\n0\r\n\r\n", "0123456789", None);
    check("a\r\n0123456789\r\n0\r\n\r\n", "0123456789", None);
    check("3\r\n\r\n\0\r\n0\r\n\r\n", "\r\n\0", None);
    check("5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n", None);
}

#[test]
fn sizes_are_sixteen_digits_at_most() {
    check("0003\r\nabc\r\n00\r\n\r\n", "abc", None);
    check("0000000000000003\r\nabc\r\n0000000000000000\r\n\r\n", "abc", None);
    refused("00000000000000003\r\nabc\r\n0\r\n\r\n", Fault::Chunk);
    refused("3\r\nabc\r\n00000000000000000\r\n\r\n", Fault::Chunk);
    refused("10000000000000003\r\nabc\r\n0\r\n\r\n", Fault::Chunk);
    refused("fffffffffffffffff\r\nabc\r\n", Fault::Chunk);
    // The largest there is: all that comes is its data.
    assert_eq!(same_in_pieces(b"ffffffffffffffff\r\nabc"), Ok(None));
    for size in [
        "", " 3", "\t3", "3 ", "3\t", "+3", "-3", "0x3", "x3", "3g", "3h", "g", "3,", "3.", "3_0", "\"3\"", "\u{663}",
        "3\0", ";", ";a=b",
    ] {
        refused(format!("{size}\r\nabc\r\n0\r\n\r\n"), Fault::Chunk);
        refused(format!("3\r\nabc\r\n{size}\r\n\r\n"), Fault::Chunk);
    }
}

#[test]
fn line_ends_are_crlf_and_nothing_else() {
    for body in [
        "3\nabc\r\n0\r\n\r\n",
        "3\rabc\r\n0\r\n\r\n",
        "3\r\r\nabc\r\n0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabc\r0\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\r\nabc\r\n\r\n0\r\n\r\n",
        "3\r\nabc\r\n0\n\r\n",
        "3\r\nabc\r\n0\r\r\n",
        "\r\n3\r\nabc\r\n0\r\n\r\n",
        "\n0\r\n\r\n",
        "3;a\nabc\r\n0\r\n\r\n",
        "3;a\rabc\r\n0\r\n\r\n",
        "2\r\nabc\r\n0\r\n\r\n",
        "3\r\nab\r\n0\r\n\r\n",
    ] {
        refused(body, Fault::Chunk);
    }
    refused("0\r\n\n", Fault::Trailer);
    refused("0\r\n\rx", Fault::Trailer);
    refused("0\r\nx: y\n\r\n", Fault::Trailer);
    refused("0\r\nx: y\r\n\n", Fault::Trailer);
    refused("0\r\nx: y\rz\r\n\r\n", Fault::Trailer);
}

#[test]
fn extensions_are_dropped() {
    for extension in
        [";", ";a", ";a=b", ";a=\"b c\"", "; a = b ; c", ";a=\"b;c\"", ";\"", ";a=\"\\\"", ";;", ";a=\u{e9}\t", ";0"]
    {
        check(format!("3{extension}\r\nabc\r\n0{extension}\r\n\r\n"), "abc", None);
    }
    // Quotes hide no line end.
    refused("3;a=\"\r\n\"\r\nabc\r\n0\r\n\r\n", Fault::Chunk);
    refused("0;a=\"\r\n\"\r\n\r\n", Fault::Trailer);
    refused("0;a=\"\n\"\r\n\r\n", Fault::Chunk);
    refused("0;a=\"\r\"\r\n\r\n", Fault::Chunk);
    refused("3;a\0\r\nabc\r\n0\r\n\r\n", Fault::Chunk);
    refused("3;a\x7f\r\nabc\r\n0\r\n\r\n", Fault::Chunk);
    // No white space before the semicolon, which RFC 9112 lets a recipient take.
    refused("3 ;a\r\nabc\r\n0\r\n\r\n", Fault::Chunk);
    refused("3\t;a\r\nabc\r\n0\r\n\r\n", Fault::Chunk);
}

#[test]
fn extensions_are_bounded() {
    let longest = format!(";{}", "x".repeat(usize::from(MAX_EXTENSION) - 1));
    check(format!("3{longest}\r\nabc\r\n0\r\n\r\n"), "abc", None);
    refused(format!("3{longest}x\r\nabc\r\n0\r\n\r\n"), Fault::Chunk);
    let many = MAX_EXTENSIONS / u64::from(MAX_EXTENSION);
    let body = |count: u64| format!("{}0\r\n\r\n", format!("1{longest}\r\na\r\n").repeat(count as usize));
    assert!(decode(body(many).as_bytes(), usize::MAX).is_ok());
    assert_eq!(decode(body(many + 1).as_bytes(), usize::MAX), Err(Fault::Chunk));
    let last = format!("{}0;\r\n\r\n", format!("1{longest}\r\na\r\n").repeat(many as usize));
    assert_eq!(decode(last.as_bytes(), usize::MAX), Err(Fault::Chunk));
}

#[test]
fn trailers_are_field_lines() {
    check("0\r\nx: y\r\n\r\n", "", Some(r"x: y\r\n"));
    check("3\r\nabc\r\n0\r\nA:\r\nb: c\r\n\r\n", "abc", Some(r"A:\r\nb: c\r\n"));
    for section in [
        "x : y\r\n\r\n",
        " x: y\r\n\r\n",
        "x: y\r\n z\r\n\r\n",
        ": y\r\n\r\n",
        "x\r\n\r\n",
        "x: \0\r\n\r\n",
        "\0",
        "GET / HTTP/1.1\r\n\r\n",
        "X-Forwarded-\u{e9}: x\r\n\r\n",
    ] {
        refused(format!("0\r\n{section}"), Fault::Trailer);
    }
}

#[test]
fn trailers_are_bounded() {
    let body = |fields: &str| format!("0\r\n{fields}\r\n");
    let fill = |length: usize| format!("a: {}\r\n", "x".repeat(length - 5));
    assert!(decode(body(&fill(TRAILER.fields)).as_bytes(), 997).is_ok());
    assert_eq!(decode(body(&fill(TRAILER.fields + 1)).as_bytes(), 997), Err(Fault::Trailer));
    assert_eq!(decode(format!("0\r\na: {}", "x".repeat(TRAILER.fields)).as_bytes(), 997), Err(Fault::Trailer));
    assert!(decode(body(&"a:\r\n".repeat(TRAILER.count)).as_bytes(), 7).is_ok());
    assert_eq!(decode(body(&"a:\r\n".repeat(TRAILER.count + 1)).as_bytes(), 7), Err(Fault::Trailer));
}

#[test]
fn after_the_end_there_is_nothing() {
    let mut decoder = ChunkedDecoder::default();
    assert!(matches!(decoder.decode(b"0\r\n\r\n"), Ok(ChunkStep::End { framing: 5, .. })));
    assert!(matches!(decoder.decode(b"1\r\na\r\n"), Ok(ChunkStep::End { framing: 0, trailers: None })));
}

/// Cuts a body into chunks, at random places, with extensions and trailers.
fn coded(data: &[u8], sizes: &[usize], extension: &str, trailers: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = data;
    for &size in sizes.iter().chain([&usize::MAX]) {
        let (chunk, behind) = rest.split_at(size.min(rest.len()));
        if !chunk.is_empty() {
            out.extend_from_slice(format!("{:X}{extension}\r\n", chunk.len()).as_bytes());
            out.extend_from_slice(chunk);
            out.extend_from_slice(b"\r\n");
        }
        rest = behind;
    }
    out.extend_from_slice(format!("0{extension}\r\n{trailers}\r\n").as_bytes());
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_coded_is_decoded(
        data in prop::collection::vec(any::<u8>(), 0..80),
        sizes in prop::collection::vec(1..30_usize, 0..6),
        extension in prop::sample::select(vec!["", ";x", ";a=\"b\""]),
        trailers in prop::sample::select(vec!["", "a: b\r\n", "a: b\r\nc:\r\n"]),
    ) {
        let body = coded(&data, &sizes, extension, trailers);
        let (found, fields, end) = same_in_pieces(&body).unwrap().unwrap();
        prop_assert_eq!(found, data);
        prop_assert_eq!(fields.is_some(), !trailers.is_empty());
        prop_assert_eq!(end, body.len());
    }

    #[test]
    fn pieces_change_nothing(
        parts in prop::collection::vec(prop::sample::select(vec![
            "0", "1", "3", "a", "abc", "\r\n", "\r\n", "\r", "\n", ";", ";x", " ", "x: y", "\0", "0\r\n\r\n", "3\r\nabc\r\n", "\"",
        ]), 0..12),
    ) {
        let _ = same_in_pieces(parts.concat().as_bytes());
    }
}
