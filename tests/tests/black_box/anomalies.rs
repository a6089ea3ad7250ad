//! Peers that misbehave: upstreams that refuse, stall, babble, cut off; clients that are slow, huge, rude or gone.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::config::forward_all;
use tests::upstream::nobody;
use tests::{PATIENCE, Proxyd, Request, Upstream, Wire, eventually};

#[test]
fn an_upstream_that_refuses_is_a_502() {
    let proxyd = Proxyd::start(&forward_all(nobody()));
    let response = Request::get("/").header("Accept", "application/json").send(proxyd.address());
    assert_eq!(response.status, 502);
    let error = &response.json()["error"];
    assert_eq!(error["status"], 502);
    assert_eq!(error["request_id"], response.header("x-request-id").expect("an id"));
    assert!(error["code"].is_string() && error["message"].is_string(), "{error}");
    let code = error["code"].as_str().unwrap();
    let rows = proxyd.audit(&json!({"status": "502"}), 1);
    assert_eq!(rows[0]["outcome"], code);
}

/// The time for an answer begins when the request is sent, its body with it.
#[test]
fn a_slow_upload_is_no_silence() {
    let upstream = Upstream::echo();
    let proxyd = Proxyd::start(&format!(
        "routes:\n  - {{path: /, target: '{}', timeouts: {{response_headers: 300ms}}}}\n",
        upstream.url()
    ));
    let mut wire = Wire::connect(proxyd.address());
    wire.send("POST /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n");
    for _ in 0..10 {
        // The client's own pace: ten pieces take three times as long as an answer may.
        std::thread::sleep(Duration::from_millis(90));
        wire.send("x");
    }
    let response = wire.response("POST");
    assert_eq!(response.status, 200, "{}", response.text());
}

/// An upstream that stops reading is as silent as one that does not answer.
#[test]
fn an_upstream_that_stops_reading_is_a_504() {
    let upstream = Upstream::scripted(|conn| {
        conn.request_head();
        // Longer than it may take nothing, shorter than the test.
        std::thread::sleep(Duration::from_secs(3));
    });
    let proxyd = Proxyd::start(&format!(
        "body_limit: off\nroutes:\n  - {{path: /, target: '{}', timeouts: {{write: 300ms}}}}\n",
        upstream.url()
    ));
    let mut wire = Wire::connect(proxyd.address());
    wire.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 67108864\r\n\r\n");
    let mut pump = Wire::over(wire.stream().try_clone().unwrap());
    let pumping = std::thread::spawn(move || {
        let piece = vec![b'x'; 1 << 16];
        (0..1024).all(|_| pump.try_send(&piece))
    });
    let response = wire.response("POST");
    assert_eq!(response.status, 504, "{}", response.text());
    assert!(response.text().contains("upstream_write_timeout"), "{}", response.text());
    drop(proxyd);
    pumping.join().unwrap();
}

#[test]
fn an_upstream_that_says_nothing_is_a_504() {
    let upstream = Upstream::scripted(|conn| {
        conn.request();
        conn.until_closed(PATIENCE);
    });
    let proxyd = Proxyd::start(&format!(
        "routes:\n  - {{path: /, target: '{}', timeouts: {{response_headers: 200ms}}}}\n",
        upstream.url()
    ));
    let begun = Instant::now();
    let response = proxyd.get("/");
    assert_eq!(response.status, 504, "{}", response.text());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    eventually("the silent connection is closed, not pooled", || (upstream.closed() == 1).then_some(()));
}

#[test]
fn a_head_without_end_is_bounded() {
    let upstream = Upstream::scripted(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\n");
        let line = format!("X-Fill: {}\r\n", "x".repeat(1000));
        while conn.send(&line) {}
    });
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    assert_eq!(proxyd.get("/").status, 502);
}

#[test]
fn a_truncated_body_is_seen_as_truncated() {
    for (head, body) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", "only this"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "9\r\nonly this\r\n"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "64\r\nonly this"),
    ] {
        let upstream = Upstream::once(format!("{head}{body}"));
        let proxyd = Proxyd::start(&forward_all(upstream.address()));
        let response = proxyd.get("/cut");
        assert_eq!((response.status, response.whole), (200, false), "{head}{body}: {:?}", response.text());
        let rows = proxyd.audit(&json!({"path": "/cut"}), 1);
        assert_ne!(rows[0]["outcome"], "served", "{}", rows[0]);
    }
}

/// So large that it is not read, but passed from socket to socket.
#[test]
fn a_large_body_arrives_as_far_as_it_was_sent() {
    const ANNOUNCED: usize = 1_000_000;
    for sent in [ANNOUNCED, 300_000] {
        let body: String = (0..sent).map(|at| char::from(b'a' + (at % 23) as u8)).collect();
        let upstream = Upstream::once(format!("HTTP/1.1 200 OK\r\nContent-Length: {ANNOUNCED}\r\n\r\n{body}"));
        let proxyd = Proxyd::start(&forward_all(upstream.address()));
        let response = proxyd.get("/large");
        assert_eq!((response.status, response.whole), (200, sent == ANNOUNCED), "{sent}");
        assert!(response.text() == body, "{sent}: {} bytes came", response.text().len());
        let rows = proxyd.audit(&json!({"path": "/large"}), 1);
        let expected = if sent == ANNOUNCED { "served" } else { "upstream_truncated" };
        assert_eq!((&rows[0]["outcome"], &rows[0]["bytes_out"]), (&json!(expected), &json!(sent)), "{}", rows[0]);
    }
}

#[test]
fn a_reset_in_the_middle_of_a_body_is_seen_too() {
    let upstream = Upstream::scripted(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n");
        // The part must arrive before the reset, which would overtake it.
        std::thread::sleep(Duration::from_millis(50));
        conn.wire.reset_on_close();
    });
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let response = proxyd.get("/");
    assert_eq!((response.status, response.whole), (200, false), "{:?}", response.text());
}

/// Answers the first request of the first connection, then closes that as the second request arrives.
fn closes_while_pooled() -> Upstream {
    Upstream::scripted(|conn| {
        if conn.index == 0 {
            conn.request();
            conn.answer(200, &[], b"first");
            // The proxy takes the pooled connection, sends, and meets its end.
            conn.request();
            conn.wire.reset_on_close();
        } else {
            while conn.request().is_some() {
                conn.answer(200, &[], b"second");
            }
        }
    })
}

#[test]
fn a_pooled_connection_that_died_is_replaced_once_for_a_get() {
    let upstream = closes_while_pooled();
    let proxyd = Proxyd::start(&format!("server: {{workers: 1}}\n{}", forward_all(upstream.address())));
    let mut wire = Wire::connect(proxyd.address());
    assert_eq!(Request::get("/").send_on(&mut wire).text(), "first");
    let response = Request::get("/again").send_on(&mut wire);
    assert_eq!((response.status, response.text().as_str()), (200, "second"));
    assert_eq!(upstream.connections(), 2);
    let rows = proxyd.audit(&json!({"path": "/again"}), 1);
    assert_eq!(rows[0]["attempts"], 2);
}

#[test]
fn a_post_that_may_have_been_done_is_not_done_again() {
    let upstream = closes_while_pooled();
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut wire = Wire::connect(proxyd.address());
    assert_eq!(Request::get("/").send_on(&mut wire).text(), "first");
    let response = Request::post("/pay", "100 euro").send_on(&mut wire);
    assert_eq!(response.status, 502, "{}", response.text());
    assert_eq!(upstream.heads().iter().filter(|head| head.starts_with("POST")).count(), 1);
}

#[test]
fn a_fresh_connection_that_dies_is_not_tried_again() {
    let upstream = Upstream::scripted(|conn| {
        conn.request();
    });
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    assert_eq!(proxyd.get("/").status, 502);
    assert_eq!(upstream.requests(), 1);
}

#[test]
fn a_client_that_leaves_cancels_its_request() {
    let (left, seen) = std::sync::mpsc::sync_channel(1);
    let upstream = Upstream::scripted(move |conn| {
        conn.request();
        let _ = left.send(conn.until_closed(PATIENCE));
    });
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut wire = Wire::connect(proxyd.address());
    wire.send(Request::get("/left").bytes());
    eventually("the request is upstream", || (upstream.requests() == 1).then_some(()));
    drop(wire);
    assert!(seen.recv_timeout(PATIENCE).unwrap(), "the upstream's connection stays open though nobody waits");
    let rows = proxyd.audit(&json!({"path": "/left"}), 1);
    assert_eq!(rows[0]["outcome"], "client_closed", "{}", rows[0]);
}

#[test]
fn a_client_that_leaves_during_the_body_cancels_it() {
    let upstream = Upstream::scripted(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let part = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
        while conn.send(&part) {}
    });
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut wire = Wire::connect(proxyd.address());
    wire.send(Request::get("/left").bytes());
    wire.exactly(100_000);
    drop(wire);
    eventually("the upstream notices", || (upstream.closed() == 1).then_some(()));
    eventually("nothing is in flight", || (proxyd.status()["in_flight"] == 0).then_some(()));
}

#[test]
fn a_slow_upstream_hinders_no_other() {
    let slow = Upstream::scripted(|conn| {
        conn.request();
        conn.until_closed(PATIENCE);
    });
    let quick = Upstream::saying("quick");
    let proxyd = Proxyd::start(&format!(
        "routes:\n  - {{path: /slow, target: '{}'}}\n  - {{path: /, target: '{}'}}\n",
        slow.url(),
        quick.url()
    ));
    let mut waiting: Vec<Wire> = (0..50).map(|_| Wire::connect(proxyd.address())).collect();
    for wire in &mut waiting {
        wire.send(Request::get("/slow").bytes());
    }
    eventually("all are upstream", || (slow.requests() == 50).then_some(()));
    for _ in 0..50 {
        assert_eq!(proxyd.get("/").text(), "quick");
    }
}

#[test]
fn a_client_that_dribbles_its_head_is_sent_away() {
    let upstream = Upstream::saying("hello");
    let proxyd = Proxyd::start(&format!(
        "server: {{timeouts: {{request_headers: 300ms}}}}\n{}",
        forward_all(upstream.address())
    ));
    let mut wire = Wire::connect(proxyd.address());
    wire.send("GET / HTTP/1.1\r\nHost: h\r\nX-Slow: ");
    let begun = Instant::now();
    // A byte now and then must not extend the time.
    while begun.elapsed() < Duration::from_millis(900) {
        if !wire.try_send("x") {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let said = String::from_utf8_lossy(&wire.rest()).into_owned();
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 408"), "{said:?}");
    assert_eq!(upstream.requests(), 0);
}

#[test]
fn a_body_that_stalls_is_a_408() {
    let upstream = Upstream::echo();
    let proxyd =
        Proxyd::start(&format!("server: {{timeouts: {{request_body: 300ms}}}}\n{}", forward_all(upstream.address())));
    let mut wire = Wire::connect(proxyd.address());
    wire.send("POST /stalled HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf");
    let said = String::from_utf8_lossy(&wire.rest()).into_owned();
    assert!(said.starts_with("HTTP/1.1 408"), "{said:?}");
}

#[test]
fn an_idle_connection_is_closed_after_its_time() {
    let upstream = Upstream::saying("hello");
    let proxyd =
        Proxyd::start(&format!("server: {{timeouts: {{keep_alive: 300ms}}}}\n{}", forward_all(upstream.address())));
    let mut wire = Wire::connect(proxyd.address());
    assert_eq!(Request::get("/").send_on(&mut wire).status, 200);
    assert!(wire.closes_within(PATIENCE));
}

#[test]
fn lines_and_headers_have_bounds() {
    let upstream = Upstream::echo();
    let proxyd = Proxyd::start(&format!(
        "server: {{limits: {{request_line: 1KiB, headers: 4KiB, header_count: 20}}}}\n{}",
        forward_all(upstream.address())
    ));
    let check = |request: Request, expected: u16| {
        let response = request.send(proxyd.address());
        assert_eq!(response.status, expected, "{}", response.text());
    };
    check(Request::get(&format!("/{}", "x".repeat(900))), 200);
    check(Request::get(&format!("/{}", "x".repeat(1100))), 414);
    check(Request::get("/").header("X-Fill", &"x".repeat(3000)), 200);
    check(Request::get("/").header("X-Fill", &"x".repeat(5000)), 431);
    let many = |count: usize| (0..count).fold(Request::get("/"), |request, n| request.header(&format!("X-{n}"), "v"));
    check(many(15), 200);
    check(many(25), 431);
    assert_eq!(upstream.requests(), 3);
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
    wire.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    eventually("the head is upstream", || (upstream.requests() == 1).then_some(()));
    wire.send("3\nabc\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n");
    let response = wire.response("POST");
    assert_eq!((response.status, response.error_code().as_str()), (400, "body_malformed"));
    assert!(wire.rest().is_empty(), "the connection goes on");
    assert!(!whole.recv_timeout(PATIENCE).unwrap(), "the upstream took it for whole");
}

#[test]
fn what_never_became_a_request_is_on_record() {
    let upstream = Upstream::echo();
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut wire = Wire::connect(proxyd.address());
    wire.send("complete nonsense\r\n\r\n");
    wire.rest();
    let rows = proxyd.audit(&json!({"kind": "requests", "status": "4xx"}), 1);
    assert_eq!(rows[0]["client"], "127.0.0.1");
    assert_eq!(rows[0]["status"], 400);
}

#[test]
fn errors_speak_the_client_s_language() {
    let upstream = Upstream::echo();
    let proxyd = Proxyd::start(&format!("routes:\n  - {{exact: /here, target: '{}'}}\n", upstream.url()));
    let json = Request::get("/nowhere").header("Accept", "application/json").send(proxyd.address());
    assert_eq!((json.status, json.error_code().as_str()), (404, "route_not_found"));
    assert!(json.header("content-type").is_some_and(|kind| kind.starts_with("application/json")));
    let plain = Request::get("/nowhere").header("Accept", "text/html, text/plain;q=0.5").send(proxyd.address());
    assert_eq!(plain.status, 404);
    assert!(plain.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")), "{:?}", plain.headers);
    assert!(plain.text().lines().count() == 1 && !plain.text().contains('{'), "{:?}", plain.text());
    let head = Request::new("HEAD", "/nowhere").send(proxyd.address());
    assert_eq!((head.status, head.body.len()), (404, 0));
}

#[test]
fn a_connection_over_the_limit_is_not_served() {
    let upstream = Upstream::saying("hello");
    let proxyd = Proxyd::start(&format!("server: {{limits: {{connections: 3}}}}\n{}", forward_all(upstream.address())));
    let mut open: Vec<Wire> = (0..3).map(|_| Wire::connect(proxyd.address())).collect();
    for wire in &mut open {
        assert_eq!(Request::get("/").send_on(wire).status, 200);
    }
    let mut fourth = Wire::connect(proxyd.address());
    fourth.try_send(Request::get("/").bytes());
    assert!(fourth.try_response("GET").is_none_or(|response| response.status == 503));
    drop(open);
    eventually("there is room again", || {
        let mut wire = Wire::connect(proxyd.address());
        wire.try_send(Request::get("/").bytes());
        wire.try_response("GET").filter(|response| response.status == 200)
    });
}
