//! Where bodies end, as tables: the field lines, and what they frame.

use super::*;
use crate::HeadLimits;

const ROOMY: HeadLimits = HeadLimits { start_line: 1024, fields: 4096, count: 64 };

fn request(version: &str, fields: &str) -> RequestHead {
    let text = format!("POST / {version}\r\n{fields}\r\n");
    RequestHead::parse(text.as_bytes(), &ROOMY).unwrap().unwrap().0
}

fn response(start: &str, fields: &str) -> ResponseHead {
    let text = format!("{start}\r\n{fields}\r\n");
    ResponseHead::parse(text.as_bytes(), &ROOMY).unwrap().unwrap().0
}

/// In a request of HTTP/1.1.
#[track_caller]
fn check(fields: &str, expected: Result<Framing, Fault>) {
    assert_eq!(request_framing(&request("HTTP/1.1", fields)), expected, "{fields:?}");
    // An answer with the same lines is framed by the same rules; without any it goes on until the end.
    let expected = match expected {
        Ok(Framing::None) if fields.is_empty() => Ok(Framing::Close),
        other => other,
    };
    assert_eq!(response_framing(&response("HTTP/1.1 200 OK", fields), false), expected, "{fields:?}");
}

#[test]
fn lengths_are_plain_numbers() {
    check("", Ok(Framing::None));
    check("content-length: 0\r\n", Ok(Framing::None));
    check("Content-Length:5\r\n", Ok(Framing::Length(5)));
    check("CONTENT-LENGTH: \t5\t \r\n", Ok(Framing::Length(5)));
    check("content-length: 9223372036854775807\r\n", Ok(Framing::Length(i64::MAX as u64)));
    check("content-length: 9999999999999999999\r\n", Ok(Framing::Length(9_999_999_999_999_999_999)));
    for odd in [
        "",
        " ",
        "+5",
        "-5",
        "-0",
        "5,",
        ",5",
        "5, 5",
        "5,5",
        "5 5",
        "5\t5",
        "0x5",
        "0X5",
        "5h",
        "5.0",
        "5e1",
        "1_0",
        "\"5\"",
        "'5'",
        "five",
        "5;",
        "5; a=b",
        "00",
        "05",
        "0005",
        "10000000000000000000",
        "18446744073709551615",
        "18446744073709551616",
        "18446744073709551621",
        "99999999999999999999999999999999",
        "00000000000000000000000000005",
        "\u{665}",
        "\u{ff15}",
    ] {
        check(&format!("content-length: {odd}\r\n"), Err(Fault::Length));
    }
}

#[test]
fn a_length_stands_once() {
    check("content-length: 5\r\ncontent-length: 5\r\n", Err(Fault::Length));
    check("content-length: 5\r\nContent-Length: 6\r\n", Err(Fault::Length));
    check("content-length: 0\r\nx: y\r\ncontent-length: 0\r\n", Err(Fault::Length));
    // Another name, whoever may take it for the same.
    assert_eq!(request_framing(&request("HTTP/1.1", "content_length: 5\r\n")), Ok(Framing::None));
}

#[test]
fn the_only_coding_is_one_chunked() {
    check("transfer-encoding: chunked\r\n", Ok(Framing::Chunked));
    check("Transfer-Encoding:CHUNKED\r\n", Ok(Framing::Chunked));
    check("transfer-encoding: \tchunked \t\r\n", Ok(Framing::Chunked));
    for odd in [
        "",
        "identity",
        "gzip",
        "gzip, chunked",
        "gzip,chunked",
        "chunked, gzip",
        "chunked, chunked",
        "chunked,chunked",
        "chunked,",
        ",chunked",
        ", chunked",
        "chunked;",
        "chunked;q=1",
        "chunked; a=b",
        "xchunked",
        "chunkedx",
        "x chunked",
        "chunked x",
        "chunk",
        "chun ked",
        "\"chunked\"",
        "'chunked'",
        "chunked\tx",
        "identity, chunked",
        "chunked, identity",
        "chunked\u{b}",
        "\u{e9}chunked",
        "chunked\u{a0}",
        "chun\u{212a}ed",
        "chunke\u{257}",
    ] {
        // What may not stand in a value at all does not come here.
        if odd.contains('\u{b}') {
            continue;
        }
        check(&format!("transfer-encoding: {odd}\r\n"), Err(Fault::Coding));
    }
    check("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", Err(Fault::Coding));
    check("transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n", Err(Fault::Coding));
    check("transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n", Err(Fault::Coding));
    check("transfer-encoding:\r\ntransfer-encoding: chunked\r\n", Err(Fault::Coding));
}

#[test]
fn length_and_coding_exclude_each_other() {
    for coding in ["chunked", "identity", "gzip, chunked", ""] {
        check(&format!("content-length: 5\r\ntransfer-encoding: {coding}\r\n"), Err(Fault::LengthBesideCoding));
        check(&format!("transfer-encoding: {coding}\r\ncontent-length: 0\r\n"), Err(Fault::LengthBesideCoding));
    }
    // A length that is none is told first.
    check("content-length: x\r\ntransfer-encoding: chunked\r\n", Err(Fault::Length));
}

#[test]
fn http_1_0_knows_no_coding() {
    let coded = "transfer-encoding: chunked\r\n";
    assert_eq!(request_framing(&request("HTTP/1.0", coded)), Err(Fault::Coding));
    assert_eq!(response_framing(&response("HTTP/1.0 200 OK", coded), false), Err(Fault::Coding));
    assert_eq!(request_framing(&request("HTTP/1.0", "content-length: 5\r\n")), Ok(Framing::Length(5)));
    assert_eq!(request_framing(&request("HTTP/1.0", "")), Ok(Framing::None));
    assert_eq!(response_framing(&response("HTTP/1.0 200 OK", ""), false), Ok(Framing::Close));
}

#[test]
fn some_answers_have_no_body_whatever_they_say() {
    for fields in ["", "content-length: 5\r\n", "transfer-encoding: chunked\r\n"] {
        for status in [
            "100 Continue",
            "101 Switching Protocols",
            "103 Early Hints",
            "199 Odd",
            "204 No Content",
            "304 Not Modified",
        ] {
            let head = response(&format!("HTTP/1.1 {status}"), fields);
            assert_eq!(response_framing(&head, false), Ok(Framing::None), "{status} {fields:?}");
        }
        let head = response("HTTP/1.1 200 OK", fields);
        assert_eq!(response_framing(&head, true), Ok(Framing::None), "{fields:?}");
        let with_body = response("HTTP/1.1 205 Reset Content", fields);
        assert_ne!(response_framing(&with_body, false), Ok(Framing::None), "{fields:?}");
    }
    // Lines that contradict each other are refused there too.
    let both = response("HTTP/1.1 304 Not Modified", "content-length: 5\r\ntransfer-encoding: chunked\r\n");
    assert_eq!(response_framing(&both, false), Err(Fault::LengthBesideCoding));
    assert_eq!(response_framing(&response("HTTP/1.1 200 OK", "content-length: 5, 5\r\n"), true), Err(Fault::Length));
}

#[test]
fn connections_persist_unless_somebody_says_close() {
    let check = |version: &str, fields: &str, expected: bool| {
        let head = request(version, fields);
        assert_eq!(persists(head.headers(), head.version()), expected, "{version} {fields:?}");
    };
    for (fields, later, early) in [
        ("", true, false),
        ("connection: close\r\n", false, false),
        ("connection: CLOSE\r\n", false, false),
        ("connection: keep-alive\r\n", true, true),
        ("connection: Keep-Alive\r\n", true, true),
        ("connection: close, keep-alive\r\n", false, false),
        ("connection: keep-alive, close\r\n", false, false),
        ("connection: keep-alive\r\nconnection: close\r\n", false, false),
        ("connection: close\r\nconnection: keep-alive\r\n", false, false),
        ("connection: x-a,\tclose ,, x-b\r\n", false, false),
        ("connection: x-a,,keep-alive\r\n", true, true),
        ("connection: closed\r\n", true, false),
        ("connection: \"close\"\r\n", true, false),
        ("connection: close;q=1\r\n", true, false),
        ("connection: upgrade\r\n", true, false),
        ("connection:\r\n", true, false),
        ("keep-alive: timeout=5\r\n", true, false),
        ("proxy-connection: keep-alive\r\n", true, false),
    ] {
        check("HTTP/1.1", fields, later);
        check("HTTP/1.0", fields, early);
    }
}
