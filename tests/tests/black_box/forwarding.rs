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
fn a_request_body_arrives_by_length_and_by_chunks() {
    let (_upstream, proxyd) = echo();
    let mut wire = Wire::connect(proxyd.address());
    wire.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
    let echoed = wire.response("POST").json();
    assert_eq!((&echoed["body"], seen(&echoed, "content-length")), (&json!("hello"), vec!["5"]));

    wire.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
    let echoed = wire.response("POST").json();
    assert_eq!((&echoed["body"], seen(&echoed, "transfer-encoding")), (&json!("hello world"), vec!["chunked"]));
    assert!(seen(&echoed, "content-length").is_empty(), "{echoed}");
}

#[test]
fn a_response_body_arrives_by_length_by_chunks_and_until_close() {
    let by_length = Upstream::once("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc");
    let by_chunks =
        Upstream::once("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n");
    let until_close = Upstream::once("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc");
    let proxyd = Proxyd::start(&format!(
        "routes:\n  - {{path: /length, target: '{}'}}\n  - {{path: /chunks, target: '{}'}}\n  - {{path: /close, target: '{}'}}\n",
        by_length.url(),
        by_chunks.url(),
        until_close.url(),
    ));
    for path in ["/length", "/chunks", "/close"] {
        let response = proxyd.get(path);
        assert_eq!((response.status, response.text().as_str(), response.whole), (200, "abc", true), "{path}");
    }
    assert_eq!(proxyd.get("/length").header("content-length"), Some("3"));
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
fn trailers_pass_both_ways() {
    let upstream = Upstream::scripted(|conn| {
        while let Some(request) = conn.request() {
            let body = request.json(conn.index);
            conn.send(format!(
                "HTTP/1.1 200 OK\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\nX-Sum: 42\r\n\r\n",
                body.len()
            ));
        }
    });
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut wire = Wire::connect(proxyd.address());
    wire.send(
        "POST / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nTrailer: x-check\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Check: 7\r\n\r\n",
    );
    let response = wire.response("POST");
    assert_eq!(response.trailers.get("x-sum"), Some("42"));
    assert_eq!(response.json()["trailers"], json!([["x-check", "7"]]));
}

#[test]
fn hop_by_hop_headers_stay_on_their_hop() {
    // RFC 9110 section 7.6.1: those listed there, and whatever `Connection` names.
    let upstream = Upstream::scripted(|conn| {
        while let Some(request) = conn.request() {
            let body = request.json(conn.index);
            conn.answer(
                200,
                &[
                    ("Connection", "keep-alive, X-Private"),
                    ("X-Private", "upstream's"),
                    ("Keep-Alive", "timeout=5"),
                    ("Proxy-Authenticate", "Basic"),
                    ("X-Public", "everybody's"),
                ],
                body.as_bytes(),
            );
        }
    });
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let response = Request::get("/")
        .header("Connection", "keep-alive, X-Mine, X-Forwarded-For")
        .header("X-Mine", "client's")
        .header("Keep-Alive", "timeout=5")
        .header("Proxy-Connection", "keep-alive")
        .header("Proxy-Authorization", "Basic Zm9vOmJhcg==")
        .header("TE", "gzip")
        .header("X-Yours", "for all")
        .send(proxyd.address());
    let echoed = response.json();
    for name in ["x-mine", "keep-alive", "proxy-connection", "proxy-authorization", "te"] {
        assert!(seen(&echoed, name).is_empty(), "{name} went through: {echoed}");
    }
    assert_eq!(seen(&echoed, "x-yours"), ["for all"]);
    // A client must not be able to remove what we add by naming it in `Connection`.
    assert_eq!(seen(&echoed, "x-forwarded-for"), ["127.0.0.1"]);
    for name in ["x-private", "keep-alive", "proxy-authenticate"] {
        assert!(response.headers.all(name).is_empty(), "{name} came back");
    }
    assert_eq!(response.header("x-public"), Some("everybody's"));
}

#[test]
fn the_upstream_is_told_who_asked_and_how() {
    let (_upstream, proxyd) = echo();
    let response = Request::get("/")
        .host("shop.example.com:8443")
        .header("X-Forwarded-For", "6.6.6.6")
        .header("X-Forwarded-Proto", "gopher")
        .header("X-Forwarded-Host", "evil.example")
        .header("Forwarded", "for=6.6.6.6")
        .send(proxyd.address());
    let echoed = response.json();
    assert_eq!(seen(&echoed, "host"), ["shop.example.com:8443"]);
    assert_eq!(seen(&echoed, "x-forwarded-for"), ["127.0.0.1"], "a stranger's word is not believed");
    assert_eq!(seen(&echoed, "x-forwarded-proto"), ["http"]);
    assert_eq!(seen(&echoed, "x-forwarded-host"), ["shop.example.com:8443"]);
    assert!(!seen(&echoed, "forwarded").iter().any(|value| value.contains("6.6.6.6")), "{echoed}");
    let via = seen(&echoed, "via");
    assert!(via.len() == 1 && via[0].starts_with("1.1 "), "{via:?}");
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
fn head_204_and_304_have_no_body() {
    let upstream = Upstream::scripted(|conn| {
        while let Some(request) = conn.request() {
            let answer: &[u8] = match request.target.as_str() {
                "/204" => b"HTTP/1.1 204 No Content\r\n\r\n",
                "/304" => b"HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n",
                "/chunked" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                _ => b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n",
            };
            conn.send(answer);
        }
    });
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut wire = Wire::connect(proxyd.address());
    // All on one connection: a body where none belongs would be read as the next response.
    let head = Request::new("HEAD", "/").send_on(&mut wire);
    assert_eq!((head.status, head.header("content-length")), (200, Some("1234")));
    let chunked = Request::new("HEAD", "/chunked").send_on(&mut wire);
    assert_eq!((chunked.status, chunked.header("content-length")), (200, None), "GET would have some body");
    let no_content = Request::get("/204").send_on(&mut wire);
    assert_eq!((no_content.status, no_content.header("transfer-encoding")), (204, None));
    let not_modified = Request::get("/304").send_on(&mut wire);
    assert_eq!((not_modified.status, not_modified.header("etag")), (304, Some("\"a\"")));
    assert_eq!(Request::new("HEAD", "/").send_on(&mut wire).status, 200);
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
fn http_1_0_clients_are_served_and_closed() {
    let (_upstream, proxyd) = echo();
    let mut wire = Wire::connect(proxyd.address());
    wire.send("GET /old HTTP/1.0\r\nHost: h\r\n\r\n");
    let response = wire.response("GET");
    assert_eq!(response.json()["target"], "/old");
    assert!(wire.closes_within(PATIENCE));

    let chunked = Upstream::once("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    let proxyd = Proxyd::start(&forward_all(chunked.address()));
    let mut wire = Wire::connect(proxyd.address());
    wire.send("GET / HTTP/1.0\r\nHost: h\r\n\r\n");
    let response = wire.response("GET");
    assert_eq!(response.header("transfer-encoding"), None, "a 1.0 client knows no chunks (RFC 9112 section 6.1)");
    assert_eq!(response.text(), "abc");
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
fn close_is_agreed_with_each_side_alone() {
    let (_upstream, proxyd) = echo();
    let mut wire = Wire::connect(proxyd.address());
    let response = Request::get("/").header("Connection", "close").send_on(&mut wire);
    assert!(response.headers.has("connection", "close"));
    assert!(seen(&response.json(), "connection").iter().all(|value| !value.contains("close")), "{}", response.text());
    assert!(wire.closes_within(PATIENCE));
}

#[test]
fn header_values_pass_byte_for_byte() {
    let (_upstream, proxyd) = echo();
    let response = Request::get("/")
        .header("X-Twice", "one")
        .header("X-Twice", "two, three")
        .header("X-Empty", "")
        .header("Cookie", "a=b; c=d")
        .send(proxyd.address());
    let echoed = response.json();
    assert_eq!(seen(&echoed, "x-twice"), ["one", "two, three"]);
    assert_eq!(seen(&echoed, "x-empty"), [""]);
    assert_eq!(seen(&echoed, "cookie"), ["a=b; c=d"]);
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
