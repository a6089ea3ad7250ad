//! What goes through: methods, bodies, headers, trailers, framing, in both directions (RFC 9110, RFC 9112).

use std::time::Duration;

use serde_json::{Value, json};
use tests::config::forward_all;
use tests::{PATIENCE, Proxyd, Request, Upstream, Wire};

fn echo() -> (Upstream, Proxyd) {
    let upstream = Upstream::echo();
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    (upstream, proxyd)
}

/// The values of a header that the upstream saw, from the echo's JSON.
fn seen<'a>(echoed: &'a Value, name: &str) -> Vec<&'a str> {
    let headers = echoed["headers"].as_array().expect("an echo has headers");
    headers.iter().filter(|pair| pair[0] == name).filter_map(|pair| pair[1].as_str()).collect()
}

#[test]
fn every_method_goes_through_with_its_path_query_and_body() {
    let (_upstream, proxyd) = echo();
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "M-SEARCH"] {
        let response = Request::new(method, "/a/b?x=1&y=%20z").body("some body").send(proxyd.address());
        let echoed = response.json();
        assert_eq!(response.status, 200, "{method}");
        assert_eq!(echoed["method"], method);
        assert_eq!(echoed["target"], "/a/b?x=1&y=%20z");
        assert_eq!(echoed["body"], "some body", "{method}");
    }
}

#[test]
fn a_request_body_streams_before_it_is_whole() {
    let upstream = Upstream::scripted(|conn| {
        conn.request_head().expect("a request");
        let first = conn.wire.exactly("5\r\nfirst\r\n".len());
        conn.send(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n", first.len()));
        conn.send(&first);
        conn.send("\r\n");
        let rest = conn.wire.chunked();
        conn.send(format!("{:x}\r\n{}\r\n0\r\n\r\n", rest.bytes.len(), String::from_utf8_lossy(&rest.bytes)));
    });
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut wire = Wire::connect(proxyd.address());
    wire.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
    // The answer to the first chunk comes while the second is not even sent.
    assert!(wire.head().expect("a response").starts_with("HTTP/1.1 200"));
    let mut got = String::new();
    while !got.contains("first") {
        got.push_str(&String::from_utf8_lossy(&wire.some()));
    }
    wire.send("6\r\nsecond\r\n0\r\n\r\n");
    while !got.ends_with("0\r\n\r\n") {
        let more = wire.some();
        assert!(!more.is_empty(), "closed after {got:?}");
        got.push_str(&String::from_utf8_lossy(&more));
    }
    assert!(got.contains("second"), "{got:?}");
}

#[test]
fn a_response_body_streams_before_it_is_whole() {
    let (go, wait) = std::sync::mpsc::sync_channel::<()>(1);
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream::scripted(move |conn| {
        if conn.request().is_none() {
            return;
        }
        conn.send(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n7\r\ndata: 1\r\n",
        );
        wait.lock().unwrap().recv_timeout(PATIENCE).expect("the client has read the first part");
        conn.send("7\r\ndata: 2\r\n0\r\n\r\n");
    });
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut wire = Wire::connect(proxyd.address());
    wire.send(Request::get("/").bytes());
    wire.head().expect("a response");
    let mut got = String::new();
    while !got.contains("data: 1") {
        got.push_str(&String::from_utf8_lossy(&wire.some()));
    }
    go.send(()).unwrap();
    while !got.contains("data: 2") {
        got.push_str(&String::from_utf8_lossy(&wire.some()));
    }
}

#[test]
fn a_hundred_megabytes_pass_either_way_in_bounded_memory() {
    const SIZE: usize = 100 * 1024 * 1024;
    const BLOCK: usize = 64 * 1024;
    let upstream = Upstream::scripted(|conn| {
        while let Some(request) = conn.request_head() {
            let block = vec![b'x'; BLOCK];
            if request.target == "/down" {
                conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n"));
                for _ in 0..SIZE / BLOCK {
                    conn.send(&block);
                }
            } else {
                let mut left = SIZE;
                while left > 0 {
                    left -= conn.wire.exactly(left.min(BLOCK)).len();
                }
                conn.answer(200, &[], b"got it all");
            }
        }
    });
    let proxyd = Proxyd::start(&format!("body_limit: 200MiB\n{}", forward_all(upstream.address())));
    let before = proxyd.memory_kib();
    let mut highest = before;

    let mut wire = Wire::connect(proxyd.address());
    wire.send("GET /down HTTP/1.1\r\nHost: h\r\n\r\n");
    wire.head().expect("a response");
    let mut left = SIZE;
    while left > 0 {
        let got = wire.exactly(left.min(BLOCK)).len();
        assert!(got > 0, "closed with {left} bytes left");
        left -= got;
        if left.is_multiple_of(BLOCK * 64) {
            highest = highest.max(proxyd.memory_kib());
        }
    }

    let block = vec![b'y'; BLOCK];
    wire.send(format!("POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: {SIZE}\r\n\r\n"));
    for number in 0..SIZE / BLOCK {
        wire.send(&block);
        if number % 64 == 0 {
            highest = highest.max(proxyd.memory_kib());
        }
    }
    assert_eq!(wire.response("POST").text(), "got it all");
    assert!(highest < before + 16 * 1024, "from {before} KiB to {highest} KiB");
}

#[test]
fn a_trusted_proxy_is_believed() {
    let upstream = Upstream::echo();
    let proxyd = Proxyd::start(&format!(
        "server: {{trusted_proxies: [127.0.0.0/8, 10.0.0.0/8]}}\n{}",
        forward_all(upstream.address())
    ));
    let response = Request::get("/trusted")
        .header("X-Forwarded-For", "6.6.6.6, 203.0.113.9, 10.1.2.3")
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Host", "www.example.com")
        .send(proxyd.address());
    let echoed = response.json();
    let chain: Vec<&str> = seen(&echoed, "x-forwarded-for");
    assert_eq!(chain.join(", ").split(", ").last(), Some("127.0.0.1"), "{echoed}");
    assert_eq!(seen(&echoed, "x-forwarded-proto"), ["https"]);
    assert_eq!(seen(&echoed, "x-forwarded-host"), ["www.example.com"]);
    // The client is the nearest address that is no trusted proxy's: what stands before it is anybody's word.
    let rows = proxyd.audit(&json!({"kind": "requests", "path": "/trusted"}), 1);
    assert_eq!(rows[0]["client"], "203.0.113.9");
}

#[test]
fn a_line_that_is_no_text_gives_nobody_another_address() {
    let proxyd =
        Proxyd::start("server: {trusted_proxies: [127.0.0.1]}\nroutes:\n  - {path: /, respond: {status: 200}}\n");
    // What the client wrote, what the balancer appended to it, and who is on record.
    for (path, said, appended, expected) in
        [("/appended", &b"\xff"[..], &b", 203.0.113.9"[..], "203.0.113.9"), ("/alone", b"\xff", b"", "127.0.0.1")]
    {
        let mut wire = Wire::connect(proxyd.address());
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\nForwarded: for=10.0.0.5\r\nX-Forwarded-For: "));
        wire.send([said, appended, b"\r\n\r\n"].concat());
        assert_eq!(wire.response("GET").status, 200);
        let rows = proxyd.audit(&json!({"kind": "requests", "path": path}), 1);
        assert_eq!(rows[0]["client"], expected, "{path}");
    }
}

#[test]
fn a_sane_request_id_is_kept_and_any_other_replaced() {
    let (_upstream, proxyd) = echo();
    let kept = Request::get("/").header("X-Request-ID", "order-4711_a.b").send(proxyd.address());
    assert_eq!(kept.header("x-request-id"), Some("order-4711_a.b"));
    assert_eq!(seen(&kept.json(), "x-request-id"), ["order-4711_a.b"]);

    let made = proxyd.get("/");
    let id = made.header("x-request-id").expect("an id is made").to_owned();
    assert!(id.len() >= 16, "{id}");
    assert_eq!(seen(&made.json(), "x-request-id"), [id.as_str()]);
    assert_ne!(proxyd.get("/").header("x-request-id"), Some(id.as_str()));

    for insane in ["with space", "quo\"te", &"x".repeat(500), "{\"a\":1}", "\u{fc}ber"] {
        let response = Request::get("/").header("X-Request-ID", insane).send(proxyd.address());
        assert_eq!(response.status, 200, "{insane}");
        assert_ne!(response.header("x-request-id"), Some(insane));
        assert_eq!(seen(&response.json(), "x-request-id"), [response.header("x-request-id").unwrap()]);
    }
}

#[test]
fn the_response_time_is_told_in_milliseconds() {
    let upstream = Upstream::scripted(|conn| {
        while conn.request().is_some() {
            std::thread::sleep(Duration::from_millis(60));
            conn.answer(200, &[], b"late");
        }
    });
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let response = proxyd.get("/");
    let told = response.header("x-response-time").expect("a response time");
    let ms: f64 = told.strip_suffix("ms").expect(told).parse().expect("a number before ms");
    assert!((60.0..20_000.0).contains(&ms), "{told}");
    assert!(told.split_once('.').is_some_and(|(_, digits)| digits.len() == 3), "one digit after the point: {told}");
}

#[test]
fn expect_100_continue_is_honoured() {
    let (_upstream, proxyd) = echo();
    let mut wire = Wire::connect(proxyd.address());
    wire.send("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    let interim = wire.head().expect("an interim answer");
    assert!(interim.starts_with("HTTP/1.1 100"), "{interim}");
    wire.send("body");
    let response = wire.response("POST");
    assert_eq!((response.status, &response.json()["body"]), (200, &json!("body")));
}

#[test]
fn a_refused_body_is_never_asked_for() {
    let upstream = Upstream::echo();
    let proxyd = Proxyd::start(&format!("body_limit: 1KiB\n{}", forward_all(upstream.address())));
    let mut wire = Wire::connect(proxyd.address());
    wire.send("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 99999\r\n\r\n");
    let head = wire.head().expect("an answer");
    assert!(head.starts_with("HTTP/1.1 413"), "{head}");
    assert_eq!(upstream.requests(), 0);
}

#[test]
fn a_connection_carries_many_requests_pipelined_ones_too() {
    let (upstream, proxyd) = echo();
    let mut wire = Wire::connect(proxyd.address());
    for number in 0..20 {
        let response = Request::get(&format!("/{number}")).send_on(&mut wire);
        assert_eq!(response.json()["target"], format!("/{number}"));
    }
    assert_eq!(upstream.connections(), 1, "the upstream's connection is reused");
    let all: Vec<u8> = (0..10).flat_map(|number| Request::get(&format!("/p{number}")).bytes()).collect();
    wire.send(all);
    for number in 0..10 {
        assert_eq!(wire.response("GET").json()["target"], format!("/p{number}"));
    }
}

#[test]
fn forward_host_decides_which_host_the_upstream_sees() {
    let upstream = Upstream::echo();
    let url = upstream.url();
    let proxyd = Proxyd::start(&format!(
        "routes:\n  - {{path: /keep, target: '{url}'}}\n  - {{path: /target, target: '{url}', forward_host: target}}\n  - {{path: /name, target: '{url}', forward_host: inner.example}}\n"
    ));
    let host =
        |path: &str| seen(&Request::get(path).host("outer.example").send(proxyd.address()).json(), "host").join("|");
    assert_eq!(host("/keep"), "outer.example");
    assert_eq!(host("/target"), upstream.address().to_string());
    assert_eq!(host("/name"), "inner.example");
}

#[test]
fn an_early_answer_to_a_body_by_chunks_leaves_the_connection() {
    let upstream = Upstream::scripted(|conn| {
        while conn.request_head().is_some() {
            if !conn.answer(200, &[], b"early") {
                return;
            }
        }
    });
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut wire = Wire::connect(proxyd.address());
    for _ in 0..3 {
        wire.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
        let answer = wire.response("POST");
        assert_eq!((answer.status, answer.header("connection")), (200, None));
        wire.send("3\r\ndef\r\n0\r\n\r\n");
        assert_eq!(Request::get("/").send_on(&mut wire).text(), "early");
    }
    // Without an end it is not waited for.
    wire.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    assert_eq!(wire.response("POST").status, 200);
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
    let closed = (0..1000).any(|_| !wire.try_send(&chunk));
    assert!(closed || wire.closes_within(PATIENCE));
}
