//! Heads: what is accepted, what is refused and under which name, and that neither depends on how the bytes come.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::{Name, RequestHead, ResponseHead, known};

const ROOMY: HeadLimits = HeadLimits { start_line: 1024, fields: 4096, count: 64 };

/// A head as text: start line, and each field as `name=value`.
fn request(bytes: &[u8], limits: &HeadLimits) -> Result<Option<(String, usize)>, Fault> {
    let told = |head: RequestHead| {
        let mut text = format!("{} {} {}", head.method(), head.target(), head.version().as_str());
        for (name, value) in head.headers().iter() {
            let _ = write!(text, "|{name}={}", value.escape_ascii());
        }
        text
    };
    Ok(RequestHead::parse(bytes, limits)?.map(|(head, end)| (told(head), end)))
}

fn response(bytes: &[u8], limits: &HeadLimits) -> Result<Option<(String, usize)>, Fault> {
    let told = |head: ResponseHead| {
        let mut text = Vec::new();
        head.write(&mut text);
        format!("{} {}", head.version().as_str(), text.escape_ascii())
    };
    Ok(ResponseHead::parse(bytes, limits)?.map(|(head, end)| (told(head), end)))
}

/// The same head in pieces: `Parsed` as lines and its end.
fn in_pieces(kind: Kind, bytes: &[u8], splits: &[usize], limits: &HeadLimits) -> Result<Option<String>, Fault> {
    let mut parser = HeadParser::new(kind);
    for &split in splits {
        let there = &bytes[..split.min(bytes.len())];
        if let Some(parsed) = parser.parse(there, limits)? {
            assert!(parser.is_untouched(), "ready for the next");
            return Ok(Some(told(&parsed)));
        }
    }
    Ok(parser.parse(bytes, limits)?.as_ref().map(told))
}

fn told(parsed: &Parsed) -> String {
    format!("{:?} {:?} {:x} {}", parsed.start, parsed.lines, parsed.present, parsed.end)
}

/// Refused as this, whole and byte by byte.
#[track_caller]
fn refused(bytes: impl AsRef<[u8]>, expected: Fault) {
    let bytes = bytes.as_ref();
    assert_eq!(request(bytes, &ROOMY), Err(expected), "{}", bytes.escape_ascii());
    same_in_pieces(Kind::Request, bytes, &ROOMY);
}

#[track_caller]
fn accepted(bytes: impl AsRef<[u8]>, expected: &str) {
    let bytes = bytes.as_ref();
    assert_eq!(request(bytes, &ROOMY), Ok(Some((expected.to_owned(), bytes.len()))), "{}", bytes.escape_ascii());
    same_in_pieces(Kind::Request, bytes, &ROOMY);
}

#[track_caller]
fn same_in_pieces(kind: Kind, bytes: &[u8], limits: &HeadLimits) {
    let whole = in_pieces(kind, bytes, &[], limits);
    for split in 0..bytes.len() {
        assert_eq!(in_pieces(kind, bytes, &[split], limits), whole, "{} at {split}", bytes.escape_ascii());
    }
    let every: Vec<usize> = (0..bytes.len()).collect();
    assert_eq!(in_pieces(kind, bytes, &every, limits), whole, "{}", bytes.escape_ascii());
}

/// A request with this one field line.
fn with_line(line: impl AsRef<[u8]>) -> Vec<u8> {
    [b"GET / HTTP/1.1\r\nhost: h\r\n", line.as_ref(), b"\r\n\r\n"].concat()
}

#[test]
fn requests_are_read() {
    accepted("GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1");
    accepted("GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0");
    accepted("get / HTTP/1.1\r\n\r\n", "get / HTTP/1.1");
    accepted("M-SEARCH * HTTP/1.1\r\n\r\n".replace('*', "/*"), "M-SEARCH /* HTTP/1.1");
    accepted("!#$%&'*+-.^_`|~9 / HTTP/1.1\r\n\r\n", "!#$%&'*+-.^_`|~9 / HTTP/1.1");
    accepted("OPTIONS * HTTP/1.1\r\n\r\n", "OPTIONS * HTTP/1.1");
    accepted("GET http://h/x?y HTTP/1.1\r\n\r\n", "GET http://h/x?y HTTP/1.1");
    accepted("CONNECT h:1 HTTP/1.1\r\n\r\n", "CONNECT h:1 HTTP/1.1");
    accepted(with_line("A: b"), "GET / HTTP/1.1|host=h|A=b");
    accepted(with_line("A:b"), "GET / HTTP/1.1|host=h|A=b");
    accepted(with_line("A: \t b c \t "), "GET / HTTP/1.1|host=h|A=b c");
    accepted(with_line("A:"), "GET / HTTP/1.1|host=h|A=");
    accepted(with_line("A: \t"), "GET / HTTP/1.1|host=h|A=");
    accepted(with_line("A: b:c"), "GET / HTTP/1.1|host=h|A=b:c");
    accepted(with_line("A:: b"), "GET / HTTP/1.1|host=h|A=: b");
    accepted(with_line("A: b\r\na: c"), "GET / HTTP/1.1|host=h|A=b|a=c");
    accepted(with_line(b"A: b\tc\x80\xff"), r"GET / HTTP/1.1|host=h|A=b\tc\x80\xff");
    accepted(with_line("X-Forwarded-Port: 1"), "GET / HTTP/1.1|host=h|X-Forwarded-Port=1");
    // Two names, for whoever takes `_` for `-` it is one.
    accepted(with_line("Content_Length: 5"), "GET / HTTP/1.1|host=h|Content_Length=5");
}

#[test]
fn what_stands_behind_a_head_is_left() {
    let (text, end) = request(b"GET / HTTP/1.1\r\nA: b\r\n\r\nGET /", &ROOMY).unwrap().unwrap();
    assert_eq!((text.as_str(), end), ("GET / HTTP/1.1|A=b", 24));
    assert_eq!(request(b"GET / HTTP/1.1\r\nA: b\r\n\r", &ROOMY), Ok(None));
    assert_eq!(request(b"", &ROOMY), Ok(None));
}

#[test]
fn line_ends_are_crlf_and_nothing_else() {
    refused("GET / HTTP/1.1\n\n", Fault::BareLf);
    refused("GET / HTTP/1.1\nhost: h\r\n\r\n", Fault::BareLf);
    refused("GET / HTTP/1.1\r\nhost: h\n\r\n", Fault::BareLf);
    refused("GET / HTTP/1.1\r\nhost: h\r\n\n", Fault::BareLf);
    refused("GET / HTTP/1.1\r\nhost\n: h\r\n\r\n", Fault::BareLf);
    refused("GET / HTTP/1.1\r\n\nhost: h\r\n\r\n", Fault::BareLf);
    refused("\nGET / HTTP/1.1\r\n\r\n", Fault::BareLf);
    refused("GET\n/ HTTP/1.1\r\n\r\n", Fault::BareLf);
    refused("GET / HTTP/1.1\rhost: h\r\n\r\n", Fault::BareCr);
    refused("GET / HTTP/1.1\r\r\n\r\n", Fault::BareCr);
    refused("GET / HTTP/1.1\r\nhost: h\rx: y\r\n\r\n", Fault::BareCr);
    refused("GET / HTTP/1.1\r\nhost: h\r\r\n\r\n", Fault::BareCr);
    refused("GET / HTTP/1.1\r\nhost: h\r\n\rx", Fault::BareCr);
    refused("GET / HTTP/1.1\r\n\r\r\n", Fault::BareCr);
    refused("GET / HTTP/1.1\r\nho\rst: h\r\n\r\n", Fault::FieldName);
}

#[test]
fn request_lines_have_two_spaces() {
    for line in
        ["GET", "GET\r", "GET\t/ HTTP/1.1", "GET/ HTTP/1.1", "GET /", "GET /\r", "GET / HTTP/1.1 ", "GET / HTTP/1.1x"]
    {
        refused(format!("{line}\r\n\r\n"), Fault::RequestLine);
    }
    refused("GET / HTTP/1.1\t\r\n\r\n", Fault::RequestLine);
    refused("G\u{e9}T / HTTP/1.1\r\n\r\n", Fault::RequestLine);
    refused("GE(T / HTTP/1.1\r\n\r\n", Fault::RequestLine);
    refused("GE\0T / HTTP/1.1\r\n\r\n", Fault::RequestLine);
}

#[test]
fn methods_are_tokens_of_64_bytes_at_most() {
    for line in
        [" GET / HTTP/1.1", "\tGET / HTTP/1.1", "\rGET / HTTP/1.1", "(GET / HTTP/1.1", "\0 / HTTP/1.1", ": / HTTP/1.1"]
    {
        refused(format!("{line}\r\n\r\n"), Fault::Method);
    }
    // Wire passes over one empty line; a second is no method.
    refused("\r\n\r\nGET / HTTP/1.1\r\n\r\n", Fault::Method);
    let long = "M".repeat(64);
    accepted(format!("{long} / HTTP/1.1\r\n\r\n"), &format!("{long} / HTTP/1.1"));
    refused(format!("{long}M / HTTP/1.1\r\n\r\n"), Fault::Method);
}

#[test]
fn targets_have_one_of_four_forms() {
    let longer = |target: &str| format!("GET {target} HTTP/1.1\r\n\r\n");
    for target in [
        "",
        " /",
        "*",
        "x",
        "h:80",
        "/a#b",
        "/#",
        "?x",
        "http:/x",
        "http:",
        "http://",
        "http:///x",
        "http://?x",
        "http:x",
        "ftp://h/",
        "ws://h/",
        "//h\\\t",
        "/a\tb",
        "/\u{fc}",
        "/\0",
        "/\x7f",
        "/a\x0b",
    ] {
        // The forms are told when the head is whole, the bytes at once.
        assert_eq!(request(longer(target).as_bytes(), &ROOMY), Err(Fault::Target), "{target:?}");
    }
    // A space ends the target: what follows is no version.
    assert_eq!(request(longer("/a b").as_bytes(), &ROOMY), Err(Fault::Version));
    for target in
        ["/", "//", "/a?b?c", "/%zz", "/a\"<>\\^`{|}", "http://u@h/", "HTTP://h", "https://h?x", "/:80", "/http://h"]
    {
        accepted(longer(target), &format!("GET {target} HTTP/1.1"));
    }
    for target in ["/", "*", "h/", "http://h/", "u@h:1", "h?x", ""] {
        let bytes = format!("CONNECT {target} HTTP/1.1\r\n\r\n");
        let refused = matches!(request(bytes.as_bytes(), &ROOMY), Err(Fault::Target));
        // `*` could be a host's name.
        assert_eq!(refused, target != "*", "{target:?}");
    }
    assert_eq!(request(b"OPTIONS ** HTTP/1.1\r\n\r\n", &ROOMY), Err(Fault::Target));
}

#[test]
fn versions_are_1_1_and_1_0() {
    for version in [
        "HTTP/1.2",
        "HTTP/1.9",
        "HTTP/2.0",
        "HTTP/2",
        "HTTP/0.9",
        "HTTP/3.7",
        "http/1.1",
        "Http/1.1",
        "HTTP/ 1.1",
        "HTTP/11",
        "HTTP 1.1",
        "HTTPS/1.1",
        " HTTP/1.1",
        "HTTP/1,1",
        "HTTP/1.\r",
        "x",
    ] {
        refused(format!("GET / {version}\r\n\r\n"), Fault::Version);
    }
    refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Fault::Version);
    refused("GET / \r\n\r\n", Fault::Version);
    for version in ["HTTP/1.10", "HTTP/1.01", "HTTP/1.1.1", "HTTP/1.1 HTTP/1.1"] {
        refused(format!("GET / {version}\r\n\r\n"), Fault::RequestLine);
    }
}

#[test]
fn names_are_tokens_and_touch_their_colon() {
    for line in [
        ": b",
        "A",
        "A b",
        "\u{e9}: b",
        "A\u{e9}: b",
        "A\x7f: b",
        "A\0: b",
        "A\x1f: b",
        "(: b",
        "A@b: c",
        "\"A\": b",
        "A/b: c",
        "A,b: c",
        "A(b c: d",
        "=: b",
        "A\x0b: b",
    ] {
        let expected = if line == "A b" { Fault::SpaceBeforeColon } else { Fault::FieldName };
        refused(with_line(line), expected);
    }
    // A family of names is told by its beginning; the rest must be a token all the same.
    for rest in ["", "@", "\u{e9}", "\x7f", "(x)", "\"", "a/b"] {
        let line = format!("X-Forwarded-{rest}: x");
        if rest.is_empty() {
            accepted(with_line(&line), "GET / HTTP/1.1|host=h|X-Forwarded-=x");
        } else {
            refused(with_line(&line), Fault::FieldName);
        }
    }
    for line in ["A : b", "A\t: b", "Content-Length : 5", "Transfer-Encoding\t: chunked", "A b: c"] {
        refused(with_line(line), Fault::SpaceBeforeColon);
    }
}

#[test]
fn values_are_visible_or_blank_or_above_ascii() {
    for byte in 0..=255u8 {
        let line = [b"A: b", &[byte][..], b"c"].concat();
        match byte {
            b'\r' => refused(with_line(line), Fault::BareCr),
            b'\n' => refused(with_line(line), Fault::BareLf),
            b'\t' | 0x20..=0x7e | 0x80.. => {
                let shown = line.get(3..).unwrap().escape_ascii().to_string();
                accepted(with_line(&line), &format!("GET / HTTP/1.1|host=h|A={shown}"));
            }
            _ => refused(with_line(line), Fault::FieldValue),
        }
    }
}

#[test]
fn nothing_is_folded() {
    refused(with_line("A: b\r\n c"), Fault::Fold);
    refused(with_line("A: b\r\n\tc"), Fault::Fold);
    refused(with_line(" A: b"), Fault::Fold);
    refused("GET / HTTP/1.1\r\n host: h\r\n\r\n", Fault::Fold);
    refused("GET / HTTP/1.1\r\n \r\n\r\n", Fault::Fold);
    refused("GET / HTTP/1.1\r\nA: b\r\n \r\n\r\n", Fault::Fold);
}

#[test]
fn limits_are_exact() {
    let limits = HeadLimits { start_line: 20, fields: 16, count: 3 };
    let check = |bytes: &str, expected: Result<(), Fault>| {
        let found = request(bytes.as_bytes(), &limits).map(|whole| assert!(whole.is_some(), "{bytes:?}"));
        assert_eq!(found, expected, "{bytes:?}");
        same_in_pieces(Kind::Request, bytes.as_bytes(), &limits);
    };
    check("GET /2345678 HTTP/1.1\r\n\r\n", Err(Fault::StartLineTooLong));
    check("GET /234567 HTTP/1.1\r\n\r\n", Ok(()));
    check(&format!("GET /{}", "x".repeat(100)), Err(Fault::StartLineTooLong));
    // A fault within the limit is told as what it is, one behind it is not seen.
    check("GET /2\t456789012345678901234567890 HTTP/1.1\r\n\r\n", Err(Fault::Target));
    check("GET /23456789012345678901234567\t90 HTTP/1.1\r\n\r\n", Err(Fault::StartLineTooLong));
    check("GET / HTTP/1.1\r\na: 4567890\r\nb:\r\n\r\n", Ok(()));
    check("GET / HTTP/1.1\r\na: 45678901\r\nb:\r\n\r\n", Err(Fault::FieldsTooLarge));
    check("GET / HTTP/1.1\r\na: 45678901234\r\n\r\n", Ok(()));
    check("GET / HTTP/1.1\r\na: 456789012345\r\n\r\n", Err(Fault::FieldsTooLarge));
    check(&format!("GET / HTTP/1.1\r\na: {}", "x".repeat(100)), Err(Fault::FieldsTooLarge));
    check(&format!("GET / HTTP/1.1\r\n{}", "x".repeat(100)), Err(Fault::FieldsTooLarge));
    check(&format!("GET / HTTP/1.1\r\na: {}\0", "x".repeat(100)), Err(Fault::FieldsTooLarge));
    check("GET / HTTP/1.1\r\na:\r\nb:\r\nc:\r\n\r\n", Ok(()));
    check("GET / HTTP/1.1\r\na:\r\nb:\r\nc:\r\nd:\r\n\r\n", Err(Fault::TooManyFields));
}

#[track_caller]
fn answered(bytes: impl AsRef<[u8]>, expected: Result<&str, Fault>) {
    let bytes = bytes.as_ref();
    let expected = expected.map(|text| Some((text.to_owned(), bytes.len())));
    assert_eq!(response(bytes, &ROOMY), expected, "{}", bytes.escape_ascii());
    same_in_pieces(Kind::Response, bytes, &ROOMY);
}

#[test]
fn status_lines_are_read() {
    answered("HTTP/1.1 200 OK\r\n\r\n", Ok(r"HTTP/1.1 HTTP/1.1 200 OK\r\n"));
    answered("HTTP/1.0 404 Not Found\r\n\r\n", Ok(r"HTTP/1.0 HTTP/1.1 404 Not Found\r\n"));
    // The reason goes on as it came; the space before it is owed, even where there is none.
    answered("HTTP/1.1 200 \r\n\r\n", Ok(r"HTTP/1.1 HTTP/1.1 200 \r\n"));
    answered("HTTP/1.1 200\r\n\r\n", Ok(r"HTTP/1.1 HTTP/1.1 200 \r\n"));
    answered("HTTP/1.1 200  two\tblanks \r\n\r\n", Ok(r"HTTP/1.1 HTTP/1.1 200  two\tblanks \r\n"));
    answered(b"HTTP/1.1 200 gr\xfc\xdfe\r\n\r\n", Ok(r"HTTP/1.1 HTTP/1.1 200 gr\xfc\xdfe\r\n"));
    answered("HTTP/1.1 100 Continue\r\n\r\n", Ok(r"HTTP/1.1 HTTP/1.1 100 Continue\r\n"));
    answered("HTTP/1.1 999 Odd\r\n\r\n", Ok(r"HTTP/1.1 HTTP/1.1 999 Odd\r\n"));
    answered("HTTP/1.1 200 OK\r\nA: b\r\n\r\n", Ok(r"HTTP/1.1 HTTP/1.1 200 OK\r\nA: b\r\n"));
    assert_eq!(response(b"HTTP/1.1 20", &ROOMY), Ok(None));
}

#[test]
fn status_lines_are_refused() {
    for line in [
        "HTTP/1.1",
        "HTTP/1.1 ",
        "HTTP/1.1 20",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1\t200 OK",
        "HTTP/1.1 200\tOK",
        "HTTP/1.1 000 Zero",
        "HTTP/1.1 099 Low",
        "HTTP/1.1 +20 OK",
        "HTTP/1.1 2x0 OK",
        "HTTP/1.1 banana",
        "HTTP/1.1 200 a\0b",
        "HTTP/1.1 200 a\x7fb",
        "HTTP/1.1 200OK",
        "HTTP/1.10 200 OK",
        "HTTP/1.1: 200 OK",
    ] {
        answered(format!("{line}\r\n\r\n"), Err(Fault::StatusLine));
    }
    for line in [
        "HTTP/2 200 OK",
        "HTTP/1.2 200 OK",
        "http/1.1 200 OK",
        "ICY 200 OK",
        " HTTP/1.1 200 OK",
        "\r\nHTTP/1.1 200 OK",
        "",
    ] {
        answered(format!("{line}\r\n\r\n"), Err(Fault::Version));
    }
    answered("HTTP/1.1 200 OK\n\r\n", Err(Fault::BareLf));
    answered("HTTP/1.1 200\n\r\n", Err(Fault::BareLf));
    answered("HTTP/1.1 200 OK\rX\r\n\r\n", Err(Fault::BareCr));
    answered("HTTP/1.1 200\rX\r\n\r\n", Err(Fault::BareCr));
    answered("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", Err(Fault::SpaceBeforeColon));
    answered("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", Err(Fault::Fold));
    let long = format!("HTTP/1.1 200 {}\r\n\r\n", "x".repeat(ROOMY.start_line - 13));
    assert!(response(long.as_bytes(), &ROOMY).is_ok());
    answered(format!("HTTP/1.1 200 {}\r\n\r\n", "x".repeat(ROOMY.start_line - 12)), Err(Fault::StartLineTooLong));
}

#[test]
fn a_parser_takes_the_next_head_afresh() {
    let mut parser = HeadParser::request();
    let first = parser.parse(b"GET /a HTTP/1.1\r\nhost: h\r\nvia: x\r\n\r\n", &ROOMY).unwrap().unwrap();
    assert_eq!(first.lines.len(), 2);
    let second = parser.parse(b"GET / HTTP/1.1\r\nvia: x\r\n\r\n", &ROOMY).unwrap().unwrap();
    assert_eq!((second.lines.len(), second.present), (1, bit(known::VIA.number())));
    assert!(Name::parse("x").is_some());
}

/// Pieces of heads, good and bad, to put together at random.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "GET ",
        "POST ",
        "CONNECT ",
        "OPTIONS ",
        "/ ",
        "/a?b ",
        "* ",
        "http://h/ ",
        "HTTP/1.1",
        "HTTP/1.0",
        "HTTP/1.1 200 OK",
        "\r\n",
        "\r\n",
        "\r\n\r\n",
        "\r",
        "\n",
        " ",
        "\t",
        ":",
        "host: h\r\n",
        "content-length: 3\r\n",
        "A : b\r\n",
        "a",
        "x-forwarded-",
        "\0",
        "\x7f",
        "\u{e9}",
        "#",
        "HTTP/1.1 204\r\n",
        "transfer-encoding: chunked\r\n",
    ]);
    prop_oneof![8 => known.prop_map(|text| text.as_bytes().to_vec()), 1 => prop::collection::vec(any::<u8>(), 0..4)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_change_nothing(parts in prop::collection::vec(piece(), 0..14), tight in any::<bool>()) {
        let bytes = parts.concat();
        let limits = if tight { HeadLimits { start_line: 16, fields: 20, count: 2 } } else { ROOMY };
        for kind in [Kind::Request, Kind::Response, Kind::Trailer] {
            same_in_pieces(kind, &bytes, &limits);
        }
    }
}
