//! What belongs to one hop (RFC 9110 section 7.6.1), and how long a connection lives (RFC 9112 section 9).

use super::case::Check::{Body, Holds, Lacks, Line, Only, Status, Without};
use super::case::{answer, answered, case, declined, get, message, passes, post, relays, several};
use super::run::run;

#[test]
fn options_of_connection() {
    run(&[
        case(
            "RFC 9110 7.6.1",
            "what it names",
            get("/", "Connection: X-A, x-b\r\nX-A: 1\r\nX-B: 2\r\nX-C: 3"),
            passes(&[Without("connection"), Without("x-a"), Without("x-b"), Line("X-C: 3")]),
        ),
        case(
            "RFC 9110 7.6.1",
            "in several lines",
            get("/", "Connection: X-A\r\nconnection: ,, X-B ,\r\nX-A: 1\r\nX-B: 2"),
            passes(&[Without("connection"), Without("x-a"), Without("x-b")]),
        ),
        case("RFC 9110 7.6.1", "what is not there", get("/", "Connection: X-A"), passes(&[Without("connection")])),
        case(
            "RFC 9110 7.6.1",
            "what is no name",
            get("/", "Connection: \"x\", a b, \u{e9}"),
            passes(&[Without("connection")]),
        ),
        case("RFC 9110 7.6.1", "it cannot take Host", get("/", "Connection: Host"), passes(&[Only("host: h")])),
        case(
            "RFC 9110 7.6.1",
            "it cannot take the length",
            post("Connection: Content-Length\r\nContent-Length: 3", "abc"),
            passes(&[Only("content-length: 3"), Body("abc")]),
        ),
        case(
            "RFC 9110 7.6.1",
            "it cannot take the coding",
            post("Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked", "3\r\nabc\r\n0\r\n\r\n"),
            passes(&[Only("transfer-encoding: chunked"), Body("abc")]),
        ),
        case(
            "house",
            "it cannot take what we write",
            get(
                "/",
                "Connection: X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto, X-Request-ID, Via\r\nX-Request-ID: a",
            ),
            passes(&[
                Only("x-forwarded-for: 127.0.0.1"),
                Only("x-forwarded-host: h"),
                Only("x-forwarded-proto: http"),
                Only("x-request-id: a"),
                Only("via: 1.1 proxyd"),
            ]),
        ),
    ]);
}

#[test]
fn fields_of_one_hop() {
    run(&[
        case("RFC 9110 7.6.1", "Keep-Alive", get("/", "Keep-Alive: timeout=5"), passes(&[Without("keep-alive")])),
        case(
            "RFC 9110 7.6.1",
            "Proxy-Connection",
            get("/", "Proxy-Connection: close"),
            passes(&[Without("proxy-connection")]),
        ),
        case(
            "RFC 9110 11.7.2",
            "Proxy-Authorization",
            get("/", "Proxy-Authorization: Basic eA=="),
            passes(&[Without("proxy-authorization")]),
        ),
        case(
            "RFC 9110 11.6.2",
            "Authorization goes on",
            get("/", "Authorization: Basic eA=="),
            passes(&[Line("Authorization: Basic eA==")]),
        ),
        case("RFC 9110 10.1.4", "TE", get("/", "Connection: TE\r\nTE: gzip"), passes(&[Without("te")])),
        case(
            "RFC 9110 10.1.4",
            "TE that takes trailers",
            get("/", "Connection: TE\r\nTE: gzip, Trailers;q=1"),
            passes(&[Only("te: trailers"), Only("connection: te")]),
        ),
        case(
            "RFC 9110 7.8",
            "Upgrade that Connection does not name",
            get("/", "Upgrade: websocket"),
            passes(&[Without("upgrade"), Without("connection")]),
        ),
        case(
            "RFC 9110 7.8",
            "Upgrade",
            get("/", "Connection: x, Upgrade\r\nUpgrade: websocket"),
            // Refused: what the client may have sent for another protocol is never read as a request.
            passes(&[Only("upgrade: websocket"), Only("connection: upgrade")]).closes(),
        ),
        case(
            "RFC 9113 3.1",
            "Upgrade to h2c",
            get("/", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk"),
            passes(&[Without("upgrade"), Without("connection"), Without("http2-settings")]),
        ),
        case(
            "RFC 9110 7.8",
            "Upgrade to h2c among others",
            get("/", "Connection: Upgrade\r\nUpgrade: websocket, H2C"),
            passes(&[Without("upgrade"), Without("connection")]),
        ),
        case(
            "RFC 9110 7.8",
            "Upgrade in HTTP/1.0",
            "GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            passes(&[Without("upgrade"), Without("connection")]).closes(),
        ),
        case(
            "RFC 9110 7.6.3",
            "Via is added",
            get("/", "Via: 1.0 a"),
            passes(&[Holds(b"Via: 1.0 a\r\n"), Holds(b"via: 1.1 proxyd\r\n")]),
        ),
        case(
            "RFC 9110 7.6.3",
            "Via tells the request's version",
            "GET / HTTP/1.0\r\nHost: h\r\n\r\n",
            passes(&[Only("via: 1.0 proxyd")]).closes(),
        ),
        case(
            "RFC 9110 7.6.2",
            "OPTIONS that may go one hop further",
            message("OPTIONS", "/", "Max-Forwards: 1", ""),
            passes(&[Only("max-forwards: 0")]),
        ),
        case(
            "RFC 9110 7.6.2",
            "OPTIONS that may go no further",
            message("OPTIONS", "/", "Max-Forwards: 0", ""),
            several(&[]).told(&[&[Status(200)]]),
        ),
        case(
            "RFC 9110 7.6.2",
            "TRACE that may go no further",
            message("TRACE", "/", "Max-Forwards: 0", ""),
            several(&[]).told(&[&[Status(200)]]),
        ),
        case(
            "RFC 9110 7.6.2",
            "of GET it says nothing",
            get("/", "Max-Forwards: 0"),
            passes(&[Only("max-forwards: 0")]),
        ),
    ]);
}

#[test]
fn expectations() {
    let unknown = || declined(417, "expectation_unknown");
    run(&[
        case("RFC 9110 10.1.1", "without a body", get("/", "Expect: 100-continue"), passes(&[Without("expect")])),
        case("RFC 9110 10.1.1", "in any case", get("/", "Expect: 100-Continue"), passes(&[Without("expect")])),
        case(
            "RFC 9110 10.1.1",
            "in HTTP/1.0",
            "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
            passes(&[Without("expect"), Body("abc")]).closes(),
        ),
        case("RFC 9110 10.1.1", "one that nobody knows", get("/", "Expect: a-miracle"), unknown()),
        case("RFC 9110 10.1.1", "a list", get("/", "Expect: 100-continue, a-miracle"), unknown()),
        case("RFC 9110 10.1.1", "two lines", get("/", "Expect: 100-continue\r\nExpect: a-miracle"), unknown()),
    ]);
}

#[test]
fn fields_of_an_answer_s_hop() {
    let with = |lines: &str| answer(format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 2\r\n\r\nok"));
    run(&[
        answered(
            "RFC 9110 7.6.1",
            "what Connection names",
            with("Connection: X-A\r\nX-A: 1\r\nX-B: 2\r\n"),
            relays(&[Without("connection"), Without("x-a"), Line("X-B: 2"), Body("ok")]),
        ),
        answered(
            "RFC 9110 7.6.1",
            "it cannot take the length",
            with("Connection: Content-Length\r\n"),
            relays(&[Only("content-length: 2"), Body("ok")]),
        ),
        answered(
            "RFC 9110 7.6.1",
            "Keep-Alive and Upgrade",
            with("Keep-Alive: timeout=5\r\nUpgrade: h2c\r\n"),
            relays(&[Without("keep-alive"), Without("upgrade"), Body("ok")]),
        ),
        answered(
            "RFC 9110 11.7.1",
            "Proxy-Authenticate",
            with("Proxy-Authenticate: Basic\r\n"),
            relays(&[Without("proxy-authenticate"), Body("ok")]),
        ),
        answered("RFC 9110 7.6.3", "Via is added", with(""), relays(&[Only("via: 1.1 proxyd")])),
        answered(
            "RFC 9110 7.6.3",
            "Via tells the answer's version",
            answer("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"),
            relays(&[Only("via: 1.0 proxyd")]),
        ),
        answered("RFC 9110 6.6.1", "Date is added", with(""), relays(&[Holds(b"\r\ndate: ")])),
        answered(
            "RFC 9110 6.6.1",
            "Date stays",
            with("Date: Tue, 15 Nov 1994 08:12:31 GMT\r\n"),
            relays(&[Only("date: Tue, 15 Nov 1994 08:12:31 GMT")]),
        ),
    ]);
}

#[test]
fn persistence() {
    let old = |lines: &str| format!("GET / HTTP/1.0\r\n{lines}\r\n");
    run(&[
        case("RFC 9112 9.3", "HTTP/1.1 goes on", get("/", ""), passes(&[Without("connection")])),
        case("RFC 9112 9.6", "close", get("/", "Connection: close"), passes(&[Without("connection")]).closes()),
        case("RFC 9112 9.6", "close in capitals", get("/", "Connection: CLOSE"), passes(&[]).closes()),
        case("RFC 9112 9.6", "close in a list", get("/", "Connection: keep-alive, close"), passes(&[]).closes()),
        case(
            "RFC 9112 9.6",
            "close in another line",
            get("/", "Connection: close\r\nConnection: keep-alive"),
            passes(&[]).closes(),
        ),
        case("RFC 9112 9.3", "keep-alive", get("/", "Connection: keep-alive"), passes(&[Without("connection")])),
        case("RFC 9112 9.3", "what is not quite close", get("/", "Connection: closed, \"close\""), passes(&[])),
        case("RFC 9112 9.3", "HTTP/1.0 ends", old(""), passes(&[Line("GET / HTTP/1.1")]).closes()),
        case(
            "RFC 9112 9.3",
            "HTTP/1.0 with keep-alive goes on",
            old("Connection: Keep-Alive\r\n"),
            passes(&[Without("connection")]).told(&[&[Status(200), Only("connection: keep-alive"), Body("ok")]]),
        ),
        case("RFC 9112 9.3", "HTTP/1.0 with both ends", old("Connection: keep-alive, close\r\n"), passes(&[]).closes()),
        case(
            "RFC 9112 9.3",
            "Proxy-Connection says nothing",
            old("Proxy-Connection: keep-alive\r\n"),
            passes(&[]).closes(),
        ),
    ]);
}

#[test]
fn requests_sent_ahead() {
    let one: &[_] = &[Line("GET /1 HTTP/1.1")];
    let two: &[_] = &[Line("GET /2 HTTP/1.1")];
    let three: &[_] = &[Line("GET /3 HTTP/1.1")];
    run(&[
        case(
            "RFC 9112 9.3.2",
            "three",
            [get("/1", ""), get("/2", ""), get("/3", "")].concat(),
            several(&[one, two, three]),
        ),
        case(
            "RFC 9112 6.3",
            "behind bodies",
            [
                post("Content-Length: 3", "abc"),
                post("Transfer-Encoding: chunked", "3\r\nGET\r\n0\r\nX: y\r\n\r\n"),
                get("/3", "Content-Length: 0"),
                get("/2", ""),
            ]
            .concat(),
            several(&[&[Body("abc")], &[Body("GET")], three, two]),
        ),
        case(
            "RFC 9112 9.3",
            "of both versions",
            ["GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".into(), get("/2", "")].concat(),
            several(&[one, two])
                .told(&[&[Status(200), Only("connection: keep-alive")], &[Status(200), Without("connection")]]),
        ),
        case(
            "RFC 9112 2.2",
            "with an empty line between",
            [get("/1", ""), b"\r\n".to_vec(), get("/2", "")].concat(),
            several(&[one, two]),
        ),
        case(
            "RFC 9112 9.6",
            "none is read behind close",
            [get("/1", "Connection: close"), get("/2", "")].concat(),
            passes(&[Line("GET /1 HTTP/1.1"), Lacks(b"/2")]).closes(),
        ),
        case(
            "RFC 9112 9.3",
            "none is read behind HTTP/1.0",
            ["GET /1 HTTP/1.0\r\n\r\n".into(), get("/2", "")].concat(),
            passes(one).closes(),
        ),
        case(
            "RFC 9112 9.3.2",
            "behind one that is declined",
            [get("/1", ""), get("/%00", ""), get("/3", "")].concat(),
            several(&[one, three]).told(&[&[Status(200)], &[Status(400)], &[Status(200)]]),
        ),
        case(
            "RFC 9112 9.3.2",
            "a malformed one behind a good one",
            [get("/1", ""), b"GET /2\r\n\r\n".to_vec()].concat(),
            passes(one).told(&[&[Status(200), Body("ok")], &[Status(400)]]).closes(),
        ),
    ]);
}
