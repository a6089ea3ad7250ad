//! Bytes meant to be read in two ways: each is refused with its status and its code before anything is sent on; and answers
//! that could be, from upstreams, never reach a client or the next request.

use tests::config::forward_all;
use tests::{PATIENCE, Proxyd, Request, Upstream, Wire, eventually};

/// What an attacker would have served behind the request that is refused.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";

/// Sends each on a connection of its own: one answer with this status and code, then the end; and nothing upstream.
fn refused(cases: &[(&str, String, u16, &str)]) {
    let upstream = Upstream::echo();
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut wrong = Vec::new();
    for (what, request, status, code) in cases {
        let mut wire = Wire::connect(proxyd.address());
        wire.send(format!("{request}{SMUGGLED}"));
        let Some(response) = wire.try_response("POST") else {
            wrong.push(format!("{what}: no answer"));
            continue;
        };
        let found = (response.status, response.error_code());
        if found != (*status, (*code).to_owned()) {
            wrong.push(format!("{what}: {found:?}"));
        }
        if !response.headers.has("connection", "close") || !wire.rest().is_empty() {
            wrong.push(format!("{what}: the connection goes on"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(upstream.heads(), Vec::<String>::new(), "sent on");
    // The same daemon still serves.
    assert_eq!(proxyd.get("/").status, 200);
}

/// A POST with these field lines and this body.
fn post(lines: &str, body: &str) -> String {
    format!("POST /x HTTP/1.1\r\nHost: h\r\n{lines}\r\n\r\n{body}")
}

#[test]
fn two_framings_are_refused() {
    let cases: Vec<_> = [
        ("length and coding", post("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n")),
        ("coding and length", post("Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n")),
        ("coding and no length", post("Transfer-Encoding: chunked\r\nContent-Length: 0", "0\r\n\r\n")),
        ("equal lengths", post("Content-Length: 3\r\nContent-Length: 3", "abc")),
        ("unequal lengths", post("Content-Length: 0\r\nContent-Length: 40", "")),
        ("a list of equal lengths", post("Content-Length: 3, 3", "abc")),
        ("an empty length", post("Content-Length: ", "")),
        ("a signed length", post("Content-Length: +3", "abc")),
        ("a negative length", post("Content-Length: -1", "")),
        ("a hexadecimal length", post("Content-Length: 0x3", "abc")),
        ("an octal length", post("Content-Length: 010", "12345678")),
        ("a length with a blank in it", post("Content-Length: 1 0", "1234567890")),
        ("a length over 64 bits", post("Content-Length: 18446744073709551619", "abc")),
        ("two codings", post("Transfer-Encoding: chunked, chunked", "0\r\n\r\n")),
        ("gzip first", post("Transfer-Encoding: gzip, chunked", "0\r\n\r\n")),
        ("gzip last", post("Transfer-Encoding: chunked, gzip", "0\r\n\r\n")),
        ("identity", post("Transfer-Encoding: identity", "")),
        ("xchunked", post("Transfer-Encoding: xchunked", "0\r\n\r\n")),
        ("quoted chunked", post("Transfer-Encoding: \"chunked\"", "0\r\n\r\n")),
        ("chunked with a parameter", post("Transfer-Encoding: chunked;q=1", "0\r\n\r\n")),
        ("coding in two lines", post("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", "0\r\n\r\n")),
        ("chunked and an empty member", post("Transfer-Encoding: chunked,", "0\r\n\r\n")),
        ("an empty coding", post("Transfer-Encoding:", "0\r\n\r\n")),
        ("coding in HTTP/1.0", post("Transfer-Encoding: chunked", "0\r\n\r\n").replace("HTTP/1.1", "HTTP/1.0")),
    ]
    .map(|(what, request)| (what, request, 400, "request_malformed"))
    .into();
    refused(&cases);
}

#[test]
fn lines_that_another_reader_could_cut_otherwise_are_refused() {
    let cases: Vec<_> = [
        ("a bare LF", post("X: y\nContent-Length: 40", "")),
        ("a bare LF at the end", "GET / HTTP/1.1\r\nHost: h\r\n\n".to_owned()),
        ("a bare CR", post("X: y\rContent-Length: 40", "")),
        ("a NUL", post("X: y\0", "")),
        ("a fold", post("X: y\r\n Content-Length: 40", "")),
        ("a folded coding", post("Transfer-Encoding:\r\n chunked", "0\r\n\r\n")),
        ("a blank before the first field", "GET / HTTP/1.1\r\n Host: h\r\n\r\n".to_owned()),
        ("a blank before the colon", post("Content-Length : 40", "")),
        ("a tab before the colon", post("Transfer-Encoding\t: chunked", "0\r\n\r\n")),
        ("VT for a blank", post("Transfer-Encoding:\x0bchunked", "0\r\n\r\n")),
        ("a name that is none", post("Transfer\u{b7}Encoding: chunked", "0\r\n\r\n")),
        ("a forwarding name that is none", post("X-Forwarded-(For): 1.2.3.4", "")),
        ("no name", post(": chunked", "")),
        ("a line without a colon", post("chunked", "")),
        ("two empty lines first", format!("\r\n\r\n{}", post("X: y", ""))),
        ("HTTP/0.9", "GET /\r\n".to_owned()),
        ("HTTP/1.2", "GET / HTTP/1.2\r\nHost: h\r\n\r\n".to_owned()),
        ("HTTP/2.0", "GET / HTTP/2.0\r\nHost: h\r\n\r\n".to_owned()),
        ("half a preface", "PRI * HTTP/2.0\r\n\r\nGET / HTTP/1.1\r\n\r\n".to_owned()),
        ("a version too many", "GET / HTTP/1.1 HTTP/1.1\r\nHost: h\r\n\r\n".to_owned()),
        ("a tab in the request line", "GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n".to_owned()),
        ("two spaces in the request line", "GET  / HTTP/1.1\r\nHost: h\r\n\r\n".to_owned()),
        ("a fragment", "GET /#x HTTP/1.1\r\nHost: h\r\n\r\n".to_owned()),
        ("a target above ASCII", "GET /\u{e9} HTTP/1.1\r\nHost: h\r\n\r\n".to_owned()),
        ("a target without a slash", "GET x HTTP/1.1\r\nHost: h\r\n\r\n".to_owned()),
        ("an absolute target without authority", "GET http:///x HTTP/1.1\r\nHost: h\r\n\r\n".to_owned()),
    ]
    .map(|(what, request)| (what, request, 400, "request_malformed"))
    .into();
    refused(&cases);
}

#[test]
fn hosts_that_another_reader_could_choose_otherwise_are_refused() {
    let cases: Vec<_> = [
        ("none", "GET / HTTP/1.1\r\n\r\n"),
        ("two", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        ("two equal ones", "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"),
        ("two in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"),
        ("a list", "GET / HTTP/1.1\r\nHost: a, b c\r\n\r\n"),
        ("userinfo", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
        ("another than the target's", "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n"),
        ("userinfo in the target", "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("above ASCII", "GET / HTTP/1.1\r\nHost: \u{e9}\r\n\r\n"),
    ]
    .map(|(what, request)| (what, request.to_owned(), 400, "bad_host"))
    .into();
    refused(&cases);
    refused(&[("CONNECT", "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n".to_owned(), 501, "connect_refused")]);
}

#[test]
fn bodies_that_break_their_framing_are_refused() {
    let coded = |body: &str| post("Transfer-Encoding: chunked", body);
    let cases: Vec<_> = [
        ("a bare LF", coded("3\nabc\r\n0\r\n\r\n")),
        ("a bare CR", coded("3\rabc\r\n0\r\n\r\n")),
        ("a blank behind the size", coded("3 \r\nabc\r\n0\r\n\r\n")),
        ("a blank before the extension", coded("3 ;a\r\nabc\r\n0\r\n\r\n")),
        ("a blank before the size", coded(" 3\r\nabc\r\n0\r\n\r\n")),
        ("a prefix", coded("0x3\r\nabc\r\n0\r\n\r\n")),
        ("a sign", coded("+3\r\nabc\r\n0\r\n\r\n")),
        ("no size", coded("\r\nabc\r\n0\r\n\r\n")),
        ("over 64 bits", coded("10000000000000003\r\nabc\r\n0\r\n\r\n")),
        ("zeros beyond sixteen digits", coded("00000000000000003\r\nabc\r\n0\r\n\r\n")),
        ("data longer than its size", coded("2\r\nabc\r\n0\r\n\r\n")),
        ("data shorter than its size", coded("4\r\nabc\r\n0\r\n\r\n")),
        ("a line end within quotes", coded("3;a=\"\r\n\"\r\nabc\r\n0\r\n\r\n")),
        ("a bare LF in an extension", coded("3;a\nabc\r\n0\r\n\r\n")),
        ("a long extension", coded(&format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(256)))),
        ("a bare LF behind the last chunk", coded("0\r\n\n")),
        ("a folded trailer", coded("0\r\nx: y\r\n z\r\n\r\n")),
        ("a request for a trailer", coded("0\r\n")),
    ]
    .map(|(what, request)| (what, request, 400, "body_malformed"))
    .into();
    refused(&cases);
}

/// What went upstream before a body broke is ended there too, and taken for whole by nobody.
#[test]
fn a_body_that_breaks_later_ends_both_connections() {
    let (told, whole) = std::sync::mpsc::sync_channel(1);
    let upstream = Upstream::scripted(move |conn| {
        let _ = told.send(conn.request().expect("a head comes").whole);
    });
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut wire = Wire::connect(proxyd.address());
    wire.send(post("Transfer-Encoding: chunked", "3\r\nabc\r\n"));
    eventually("the head is upstream", || (upstream.requests() == 1).then_some(()));
    wire.send(format!("3\nabc\r\n0\r\n\r\n{SMUGGLED}"));
    let response = wire.response("POST");
    assert_eq!((response.status, response.error_code().as_str()), (400, "body_malformed"));
    assert!(wire.rest().is_empty(), "the connection goes on");
    assert!(!whole.recv_timeout(PATIENCE).unwrap(), "the upstream took it for whole");
}

#[test]
fn limits_have_codes_of_their_own() {
    refused(&[
        (
            "a long request line",
            format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(1 << 17)),
            414,
            "request_line_too_long",
        ),
        ("large fields", post(&format!("X: {}", "x".repeat(1 << 18)), ""), 431, "headers_too_large"),
        ("many fields", post(&"X: y\r\n".repeat(1000), ""), 431, "headers_too_large"),
    ]);
}

/// A body that looks like a request is a body, and what follows it is served as what it is.
#[test]
fn requests_behind_bodies_are_told_apart() {
    let upstream = Upstream::echo();
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut wire = Wire::connect(proxyd.address());
    wire.send(format!(
        "\r\nPOST /a HTTP/1.1\r\nHost: h\r\nContent-Length:\t{}\t\r\n\r\n{SMUGGLED}\
         POST /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n3;x=\"y\"\r\nGET\r\n0\r\n\r\n\
         GET /c HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /d HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, close\r\n\r\n{SMUGGLED}",
        SMUGGLED.len()
    ));
    for (target, body) in [("/a", SMUGGLED), ("/b", "GET"), ("/c", ""), ("/d", "")] {
        let seen = wire.response("POST").json();
        assert_eq!((seen["target"].as_str(), seen["body"].as_str()), (Some(target), Some(body)), "{seen}");
    }
    assert!(wire.rest().is_empty(), "a request was served behind the last");
    assert!(upstream.heads().iter().all(|head| !head.contains("smuggled")), "{:#?}", upstream.heads());
}

/// An upstream that answers `/odd` with these bytes, and then as long as it is asked with what it saw.
fn odd(answer: &'static str) -> Upstream {
    Upstream::scripted(move |conn| {
        while let Some(request) = conn.request() {
            if request.target == "/odd" {
                conn.send(answer);
            } else {
                let seen = request.json(conn.index);
                conn.answer(200, &[], seen.as_bytes());
            }
        }
    })
}

#[test]
fn answers_that_could_be_read_in_two_ways_are_refused() {
    for (what, answer) in [
        ("length and coding", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("equal lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok"),
        ("a list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok"),
        ("a signed length", "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok"),
        ("another coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        ("coding in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("a bare LF", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
        ("a bare CR", "HTTP/1.1 200 OK\r\nX: y\rZ: z\r\nContent-Length: 2\r\n\r\nok"),
        ("a fold", "HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: 2\r\n\r\nok"),
        ("a blank before the colon", "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok"),
        ("a NUL", "HTTP/1.1 200 OK\r\nX: \0\r\nContent-Length: 2\r\n\r\nok"),
        ("a status of two digits", "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok"),
        ("status 000", "HTTP/1.1 000 Zero\r\nContent-Length: 2\r\n\r\nok"),
        ("HTTP/2.0", "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        ("an empty line first", "\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        (
            "a 101 that nobody asked for",
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        ),
    ] {
        let upstream = odd(answer);
        let proxyd = Proxyd::start(&format!("server: {{workers: 1}}\n{}", forward_all(upstream.address())));
        let mut wire = Wire::connect(proxyd.address());
        let response = Request::get("/odd").send_on(&mut wire);
        assert_eq!((response.status, response.error_code().as_str()), (502, "upstream_protocol"), "{what}");
        eventually("the connection is closed", || (upstream.closed() == 1).then_some(()));
        // The client's own goes on, over another connection.
        assert_eq!(Request::get("/next").send_on(&mut wire).json()["connection"], 1, "{what}");
    }
}

/// After these answers nobody can say where the next would begin: the connection does not serve again.
#[test]
fn a_connection_with_something_left_is_not_used_again() {
    for (method, answer, reused) in [
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true),
        ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", true),
        ("GET", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", true),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", true),
        ("GET", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", true),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", true),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", true),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n", false),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n", false),
        ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nx", false),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nok", false),
        // What a 204 announces may still be on its way.
        ("GET", "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n", false),
        ("GET", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", false),
        ("GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", false),
        ("GET", "HTTP/1.1 200 OK\r\nConnection: keep-alive, close\r\nContent-Length: 2\r\n\r\nok", false),
        ("GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", false),
    ] {
        let upstream = odd(answer);
        let proxyd = Proxyd::start(&format!("server: {{workers: 1}}\n{}", forward_all(upstream.address())));
        let mut wire = Wire::connect(proxyd.address());
        let response = Request::new(method, "/odd").send_on(&mut wire);
        assert!(response.status < 400 && response.whole, "{answer:?}: {}", response.status);
        let next = Request::get("/next").send_on(&mut wire).json();
        assert_eq!(next["connection"], i32::from(!reused), "{method} {answer:?}");
        if !reused {
            eventually("the connection is closed", || (upstream.closed() == 1).then_some(()));
        }
    }
}

/// An interim answer has no body, whatever it says; a client that believed its length would wait for one.
#[test]
fn an_interim_answer_announces_no_body() {
    let upstream =
        odd("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n\
                        HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut wire = Wire::connect(proxyd.address());
    wire.send(Request::get("/odd").bytes());
    let interim = wire.head().expect("an interim answer comes").to_ascii_lowercase();
    assert!(interim.starts_with("http/1.1 103 ") && interim.contains("link: </a>"), "{interim}");
    assert!(!interim.contains("content-length") && !interim.contains("transfer-encoding"), "{interim}");
    assert_eq!(wire.response("GET").text(), "ok");
}

/// A body that breaks its framing when its head was passed on already ends the client's connection, so that it is not
/// taken for whole.
#[test]
fn an_answer_that_breaks_its_framing_is_cut() {
    for body in ["2\nok\r\n0\r\n\r\n", "2\r\nokay\r\n0\r\n\r\n", "2 \r\nok\r\n0\r\n\r\n", "2\r\nok\r\n0\r\nx\r\n\r\n"] {
        let upstream = Upstream::scripted(move |conn| {
            conn.request();
            conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            conn.send(body);
            conn.until_closed(PATIENCE);
        });
        let proxyd = Proxyd::start(&forward_all(upstream.address()));
        assert!(!proxyd.get("/").whole, "{body:?}");
        eventually("the connection is closed", || (upstream.closed() == 1).then_some(()));
    }
}
