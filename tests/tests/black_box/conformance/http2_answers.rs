//! Answers of upstreams that speak HTTP/1.1, as a client of HTTP/2 sees them (RFC 9113 section 8.1).

use tests::config::forward_all;
use tests::http2::{Fields, Message, code, flag, frame, headers, kind, post_fields, setting, settings};
use tests::{Conn, Http2, Proxyd, Upstream};

/// An answer, what the client asks with, and what it must see.
struct Case {
    clause: &'static str,
    name: &'static str,
    method: &'static str,
    answer: String,
    sees: fn(&Message) -> bool,
}

fn case(clause: &'static str, name: &'static str, answer: impl Into<String>, sees: fn(&Message) -> bool) -> Case {
    Case { clause, name, method: "GET", answer: answer.into(), sees }
}

fn to_head(clause: &'static str, name: &'static str, answer: impl Into<String>, sees: fn(&Message) -> bool) -> Case {
    Case { method: "HEAD", ..case(clause, name, answer, sees) }
}

/// Whether it is whole, with this status and body.
fn is(message: &Message, status: u16, body: &str) -> bool {
    message.ended && message.reset.is_none() && message.status() == status && message.text() == body
}

fn has(message: &Message, name: &str, value: &str) -> bool {
    message.header(name) == Some(value)
}

fn lacks(message: &Message, name: &str) -> bool {
    message.header(name).is_none()
}

fn is_error(message: &Message, code: &str) -> bool {
    message.ended && message.status() == 502 && message.text().contains(code)
}

#[test]
fn answers() {
    let line = |lines: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\n{body}");
    let cases = [
        case("RFC 9113 8.3.2", "a length", line("Content-Length: 2\r\n", "ab"), |seen| {
            is(seen, 200, "ab") && has(seen, "content-length", "2") && lacks(seen, "connection")
        }),
        case("RFC 9113 8.2", "names in small letters", line("Content-Length: 0\r\nX-Up: A\r\n", ""), |seen| {
            is(seen, 200, "") && has(seen, "x-up", "A")
        }),
        case(
            "RFC 9113 8.2.2",
            "chunks",
            line("Transfer-Encoding: chunked\r\n", "1\r\na\r\n1\r\nb\r\n0\r\n\r\n"),
            |seen| is(seen, 200, "ab") && lacks(seen, "transfer-encoding") && lacks(seen, "content-length"),
        ),
        case(
            "RFC 9113 8.1",
            "trailer fields",
            line("Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n", "1\r\na\r\n0\r\nX-Sum: 7\r\n\r\n"),
            |seen| {
                let sum: Fields = vec![("x-sum".to_owned(), "7".to_owned())];
                is(seen, 200, "a") && seen.trailers() == Some(&sum)
            },
        ),
        case("RFC 9112 6.3", "until the end of the connection", line("Connection: close\r\n", "ab"), |seen| {
            is(seen, 200, "ab")
        }),
        case(
            "RFC 9113 8.2.2",
            "fields of the connection",
            line(
                "Connection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: close\r\nUpgrade: h2c\r\nContent-Length: 0\r\n",
                "",
            ),
            |seen| {
                is(seen, 200, "")
                    && ["connection", "x-hop", "keep-alive", "proxy-connection", "upgrade"]
                        .iter()
                        .all(|name| lacks(seen, name))
            },
        ),
        case("RFC 9110 15.3.5", "204", "HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n", |seen| {
            is(seen, 204, "") && has(seen, "x-a", "b") && lacks(seen, "content-length")
        }),
        case(
            "RFC 9110 15.4.5",
            "304 with a length",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"x\"\r\n\r\n",
            |seen| is(seen, 304, "") && has(seen, "content-length", "5"),
        ),
        to_head("RFC 9110 9.3.2", "HEAD with a length", line("Content-Length: 5\r\n", ""), |seen| {
            is(seen, 200, "") && has(seen, "content-length", "5")
        }),
        to_head("RFC 9110 9.3.2", "HEAD with chunks", line("Transfer-Encoding: chunked\r\n", ""), |seen| {
            is(seen, 200, "") && lacks(seen, "transfer-encoding")
        }),
        case(
            "RFC 8297 2",
            "103",
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab",
            |seen| {
                let interim = seen.interim();
                let first = interim.first().copied().cloned().unwrap_or_default();
                let told = |name: &str, value: &str| first.contains(&(name.to_owned(), value.to_owned()));
                is(seen, 200, "ab")
                    && interim.len() == 1
                    && told(":status", "103")
                    && told("link", "</a>")
                    && !first.iter().any(|(name, _)| name == "connection")
            },
        ),
        case(
            "RFC 9110 15.2",
            "two interim answers",
            "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            |seen| is(seen, 200, "") && seen.interim().len() == 2,
        ),
        case(
            "RFC 9110 15.2.1",
            "100 that nobody waits for",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            |seen| is(seen, 200, "") && seen.interim().is_empty(),
        ),
        case("RFC 9110 8.6", "less than its length", line("Content-Length: 5\r\n", "ab"), |seen| {
            !seen.ended && seen.reset == Some(code::INTERNAL_ERROR)
        }),
        case("RFC 9112 8", "chunks that break off", line("Transfer-Encoding: chunked\r\n", "5\r\nab"), |seen| {
            !seen.ended && seen.reset.is_some()
        }),
        case("RFC 9112 8", "chunks without their last", line("Transfer-Encoding: chunked\r\n", "1\r\na\r\n"), |seen| {
            !seen.ended && seen.reset.is_some()
        }),
        case("RFC 9112 7.1", "no chunk", line("Transfer-Encoding: chunked\r\n", "zz\r\n"), |seen| {
            !seen.ended && seen.reset.is_some() || seen.status() == 502
        }),
        case("RFC 9112 5.2", "a folded line", line("X-A: b\r\n c\r\nContent-Length: 0\r\n", ""), |seen| {
            is_error(seen, "upstream_protocol")
        }),
        case("RFC 9112 5", "a name with a blank", line("X A: b\r\nContent-Length: 0\r\n", ""), |seen| {
            is_error(seen, "upstream_protocol")
        }),
        case("RFC 9112 4", "no answer of HTTP", "hello\r\n\r\n", |seen| is_error(seen, "upstream_protocol")),
        case(
            "RFC 9110 15.2.2",
            "101 that nobody asked for",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            |seen| is_error(seen, "upstream_protocol"),
        ),
        case("RFC 9110 5.5", "above ASCII in a value", line("X-A: \u{e9}\r\nContent-Length: 0\r\n", ""), |seen| {
            has(seen, "x-a", "\u{e9}")
        }),
        case(
            "RFC 6265 3",
            "several cookies",
            line("Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n", ""),
            |seen| seen.head().is_some_and(|head| head.iter().filter(|(name, _)| name == "set-cookie").count() == 2),
        ),
    ];
    let answers: Vec<String> = cases.iter().map(|case| case.answer.clone()).collect();
    let upstream = Upstream::scripted(move |conn| {
        let Some(request) = conn.request() else { return };
        let number: usize = request.target.trim_start_matches('/').parse().unwrap();
        conn.send(&answers[number]);
    });
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    // All of them on one connection: a bad answer is no other stream's affair.
    let mut client = Http2::connect(proxyd.address());
    let mut wrong = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let stream = 2 * number as u32 + 1;
        let path = format!("/{number}");
        client.head(
            stream,
            &[(":method", case.method), (":scheme", "http"), (":authority", "h"), (":path", &path)],
            true,
        );
        let seen = client.whole(stream);
        if !(case.sees)(&seen) {
            wrong.push(format!(
                "{}: {}\n    sent: {:?}\n    saw {} {seen:?}",
                case.clause,
                case.name,
                case.answer,
                seen.text()
            ));
        }
    }
    assert!(client.goaways.is_empty(), "{client:?}");
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn bodies_of_every_size_arrive_whole() {
    let upstream = Upstream::scripted(|conn| {
        while let Some(request) = conn.request() {
            let size: usize = request.target.trim_start_matches('/').parse().unwrap();
            let body: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            conn.answer(200, &[], &body);
        }
    });
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut client = Http2::connect(proxyd.address());
    for (number, size) in [0, 1, 16_383, 16_384, 16_385, 65_535, 65_536, 200_000, 3_000_000].into_iter().enumerate() {
        let message = client.get(2 * number as u32 + 1, &format!("/{size}"));
        assert!(message.ended && message.body.len() == size, "{size}: {} bytes", message.body.len());
        assert!(message.body.iter().enumerate().all(|(at, byte)| *byte == (at % 251) as u8), "{size}");
    }
}

/// Reads a request's head only, then plays on.
fn head_then(script: impl Fn(&mut Conn) + Send + Sync + 'static) -> Upstream {
    Upstream::scripted(move |conn| {
        if conn.request_head().is_some() {
            script(conn);
        }
    })
}

#[test]
fn an_answer_may_come_before_the_request_is_whole() {
    // RFC 9113 section 8.1: the rest is not needed, and NO_ERROR may say so.
    let upstream = head_then(|conn| {
        conn.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
    });
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut client = Http2::connect(proxyd.address());
    client.head(1, &post_fields("/"), false);
    client.data(1, "a beginning", false);
    client.until(|all| all.message(1).is_over());
    let message = client.message(1);
    assert_eq!((message.status(), message.text().as_str(), message.ended), (403, "no", true), "{message:?}");
    client.data(1, "more", true);
    assert_eq!(client.get(3, "/").status(), 403, "the connection goes on");
}

#[test]
fn a_continue_is_given_when_the_body_is_wanted() {
    // RFC 9110 section 10.1.1.
    let upstream = Upstream::echo();
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut client = Http2::connect(proxyd.address());
    client.head(1, &[&post_fields("/")[..], &[("expect", "100-continue")]].concat(), false);
    assert!(client.until(|all| !all.message(1).blocks.is_empty()));
    assert_eq!(client.message(1).blocks[0], [(":status".to_owned(), "100".to_owned())]);
    client.data(1, "body", true);
    let message = client.whole(1);
    assert!(message.text().contains("\"body\":\"body\""), "{}", message.text());
}

#[test]
fn trailers_reach_an_upstream_as_they_come() {
    let upstream = Upstream::echo();
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut client = Http2::connect(proxyd.address());
    client.head(1, &[&post_fields("/")[..], &[("te", "trailers")]].concat(), false);
    client.data(1, "body", false);
    client.send(headers(1, &[("x-sum", "7"), ("x-b", "c")], true));
    let text = client.whole(1).text();
    assert!(text.contains("[\"x-sum\",\"7\"],[\"x-b\",\"c\"]") && text.contains("\"whole\":true"), "{text}");
}

#[test]
fn settings_are_confirmed_and_pings_answered() {
    let upstream = Upstream::saying("ok");
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut client = Http2::connect(proxyd.address());
    client.send(settings(&[(setting::MAX_FRAME_SIZE, 20_000)]));
    client.send(frame(kind::PING, 0, 0, b"12345678"));
    assert!(client.until(|all| all.confirmed == 2 && all.pongs.len() == 1), "{client:?}");
    assert_eq!(client.pongs[0], b"12345678");
    let told = client.settings.clone().expect("SETTINGS come first");
    assert_eq!(told.get(&setting::ENABLE_CONNECT_PROTOCOL), Some(&1), "RFC 8441 section 3: {told:?}");
    assert_eq!(told.get(&setting::MAX_CONCURRENT_STREAMS), Some(&100), "{told:?}");
    assert_eq!(told.get(&setting::INITIAL_WINDOW_SIZE).copied().unwrap_or(65_535), 65_536, "{told:?}");
    assert_eq!(client.get(1, "/").text(), "ok");
    assert!(client.send(frame(kind::DATA, flag::END_STREAM, 1, [])));
}
