//! Answers of upstreams that speak HTTP/2, as a client of HTTP/1.1 sees them (RFC 9113 section 8.1): what could not stand in
//! HTTP/1.1 is none.

use tests::http2::{code, flag, frame, goaway, headers, kind, raw_block, reset};
use tests::{Proxyd, Request, Response};

use super::http2_upstream::{config, next, upstream};

/// What an upstream answers with, and what a client of HTTP/1.1 sees.
struct Case {
    clause: &'static str,
    name: &'static str,
    sends: fn() -> Vec<u8>,
    sees: fn(&Response) -> bool,
    /// What is seen instead today: the case is owed, and the table fails once it holds, so that this goes away.
    owed: Option<&'static str>,
}

fn case(clause: &'static str, name: &'static str, sends: fn() -> Vec<u8>, sees: fn(&Response) -> bool) -> Case {
    Case { clause, name, sends, sees, owed: None }
}

impl Case {
    fn owed(self, instead: &'static str) -> Self {
        Self { owed: Some(instead), ..self }
    }
}

fn is_bad(seen: &Response) -> bool {
    seen.status == 502 && seen.text().contains("\"code\":\"upstream_")
}

fn is(seen: &Response, status: u16, body: &str) -> bool {
    seen.whole && seen.status == status && seen.text() == body
}

#[test]
fn answers() {
    const OK: (&str, &str) = (":status", "200");
    let cases = [
        case(
            "RFC 9113 8.3.2",
            "a plain answer",
            || [headers(1, &[OK, ("x-a", "b")], false), frame(kind::DATA, 1, 1, "ab")].concat(),
            |seen| is(seen, 200, "ab") && seen.header("x-a") == Some("b") && seen.header("via") == Some("2 proxyd"),
        ),
        case("RFC 9113 8.1", "a head alone", || headers(1, &[(":status", "204")], true), |seen| is(seen, 204, "")),
        case(
            "RFC 9113 8.1",
            "trailer fields",
            || [headers(1, &[OK], false), frame(kind::DATA, 0, 1, "a"), headers(1, &[("x-sum", "7")], true)].concat(),
            |seen| is(seen, 200, "a") && seen.trailers.get("x-sum") == Some("7"),
        ),
        case("RFC 9113 8.3", "no status", || headers(1, &[("x-a", "b")], true), is_bad),
        case("RFC 9113 8.3", "two statuses", || headers(1, &[OK, (":status", "404")], true), is_bad),
        case("RFC 9110 15", "a status that is none", || headers(1, &[(":status", "2x0")], true), is_bad),
        case("RFC 9113 8.6", "101", || headers(1, &[(":status", "101")], false), is_bad),
        case("RFC 9113 8.3", "a pseudo-header field of requests", || headers(1, &[OK, (":path", "/")], true), is_bad)
            .owed("the crate h2 leaves it out"),
        case("RFC 9113 8.2", "a capital in a name", || headers(1, &[OK, ("X-Up", "a")], true), is_bad),
        case(
            "RFC 9113 8.2.1",
            "a line in a value",
            || headers(1, &[OK, ("x-a", "b\r\nset-cookie: c=d")], true),
            is_bad,
        ),
        case(
            "RFC 9113 8.2.1",
            "NUL in a value",
            || frame(kind::HEADERS, flag::WHOLE, 1, raw_block(&[(b":status", b"200"), (b"x-a", b"b\0")])),
            is_bad,
        ),
        case("RFC 9113 8.2.1", "a blank before a value", || headers(1, &[OK, ("x-a", " b")], true), is_bad),
        case("RFC 9113 8.2.2", "connection", || headers(1, &[OK, ("connection", "close")], true), is_bad),
        case(
            "RFC 9113 8.2.2",
            "transfer-encoding",
            || {
                [headers(1, &[OK, ("transfer-encoding", "chunked")], false), frame(kind::DATA, 1, 1, "0\r\n\r\n")]
                    .concat()
            },
            is_bad,
        ),
        case(
            "RFC 9113 8.1.1",
            "a length, and less",
            || [headers(1, &[OK, ("content-length", "5")], false), frame(kind::DATA, 1, 1, "ab")].concat(),
            |seen| is_bad(seen) || !seen.whole,
        ),
        case(
            "RFC 9113 8.1.1",
            "a length, and more",
            || [headers(1, &[OK, ("content-length", "1")], false), frame(kind::DATA, 1, 1, "ab")].concat(),
            |seen| is_bad(seen) || !seen.whole,
        ),
        case(
            "RFC 9113 8.1.1",
            "a length, and nothing",
            || headers(1, &[OK, ("content-length", "5")], true),
            |seen| is_bad(seen) || !seen.whole,
        ),
        case(
            "RFC 9110 8.6",
            "a length that is none",
            || [headers(1, &[OK, ("content-length", "x")], false), frame(kind::DATA, 1, 1, "ab")].concat(),
            |seen| is_bad(seen) || !seen.whole,
        ),
        case(
            "RFC 9110 8.6",
            "two lengths",
            || {
                [
                    headers(1, &[OK, ("content-length", "2"), ("content-length", "3")], false),
                    frame(kind::DATA, 1, 1, "ab"),
                ]
                .concat()
            },
            |seen| is_bad(seen) || !seen.whole,
        ),
        case(
            "RFC 9113 8.1",
            "two heads",
            || [headers(1, &[OK], false), headers(1, &[(":status", "404")], true)].concat(),
            |seen| is_bad(seen) || !seen.whole || is(seen, 200, ""),
        ),
        case(
            "RFC 9113 6.5.2",
            "a head over what SETTINGS say",
            || {
                let fields = tests::http2::block(&[OK, ("x-a", &"a".repeat(16_000))]);
                let more = tests::http2::block(&[("x-b", &"b".repeat(16_000))]);
                let mut bytes = frame(kind::HEADERS, flag::END_STREAM, 1, fields);
                for number in 0..9 {
                    let ends = if number == 8 { flag::END_HEADERS } else { 0 };
                    bytes.extend(frame(kind::CONTINUATION, ends, 1, &more));
                }
                bytes
            },
            is_bad,
        ),
        case(
            "RFC 8297 2",
            "103",
            || [headers(1, &[(":status", "103"), ("link", "</a>")], false), headers(1, &[OK], true)].concat(),
            |seen| is(seen, 200, ""),
        ),
        case(
            "house",
            "interim answers without end",
            || (0..40).flat_map(|_| headers(1, &[(":status", "103")], false)).collect(),
            is_bad,
        ),
        case("RFC 9113 8.1", "an interim answer that ends", || headers(1, &[(":status", "103")], true), is_bad),
        case("RFC 9113 6.4", "a reset before the answer", || reset(1, code::INTERNAL_ERROR), is_bad),
        case(
            "RFC 9113 6.4",
            "a reset within the answer",
            || {
                [
                    headers(1, &[OK, ("content-length", "5")], false),
                    frame(kind::DATA, 0, 1, "ab"),
                    reset(1, code::CANCEL),
                ]
                .concat()
            },
            |seen| is_bad(seen) || !seen.whole,
        ),
        case(
            "RFC 9113 8.1",
            "a reset with NO_ERROR behind the answer",
            || [headers(1, &[OK], false), frame(kind::DATA, 1, 1, "ab"), reset(1, code::NO_ERROR)].concat(),
            |seen| is(seen, 200, "ab"),
        ),
        case(
            "RFC 9113 6.1",
            "DATA before the head",
            || [frame(kind::DATA, 0, 1, "ab"), headers(1, &[OK], true)].concat(),
            is_bad,
        ),
        case(
            "RFC 9113 8.4",
            "a push that was switched off",
            || {
                frame(
                    kind::PUSH_PROMISE,
                    flag::END_HEADERS,
                    1,
                    [&[0, 0, 0, 2][..], &tests::http2::block(&tests::http2::get_fields("/x"))].concat(),
                )
            },
            is_bad,
        ),
        case(
            "RFC 9113 4.2",
            "a frame over 16,384",
            || [headers(1, &[OK], false), frame(kind::DATA, 1, 1, vec![b'x'; 16_385])].concat(),
            |seen| is_bad(seen) || !seen.whole,
        ),
        case("RFC 9113 4.3", "a field block that is none", || frame(kind::HEADERS, flag::WHOLE, 1, [0x80]), is_bad),
        case("RFC 9113 3.4", "HTTP/1.1", || b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), is_bad),
    ];
    let sends: Vec<fn() -> Vec<u8>> = cases.iter().map(|case| case.sends).collect();
    // One request on each connection: after a bad one there may be no other.
    let upstream = upstream(&[], move |server, _| {
        let Some(stream) = next(server, 0) else { return };
        let path = tests::http2::get(&server.message(stream).blocks[0], ":path").unwrap().to_owned();
        let number: usize = path.trim_start_matches('/').parse().unwrap();
        server.send(sends[number]());
        server.send(goaway(1, code::NO_ERROR));
        server.rest();
    });
    let proxyd = Proxyd::start(&config(&upstream, ""));
    let mut wrong = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let seen = Request::get(&format!("/{number}")).send(proxyd.address());
        let holds = (case.sees)(&seen) && seen.headers.all("set-cookie").is_empty();
        if holds == case.owed.is_some() {
            wrong.push(format!("{}: {}\n    saw {} {seen:?}", case.clause, case.name, seen.text()));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
