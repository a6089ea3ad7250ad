//! Many streams on one connection of HTTP/2, and what holds for all of them together: flow control, cancellation, the end
//! of the connection, and which protocols a port speaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tests::config::forward_all;
use tests::http2::{code, get_fields, goaway, post_fields, reset, setting, settings, window_update};
use tests::{Http2, PATIENCE, Proxyd, Request, Upstream, Wire, eventually};

/// Answers `/SIZE` with so many bytes, `/wait` never, everything else with `ok`.
fn sized() -> Upstream {
    Upstream::scripted(|conn| {
        while let Some(request) = conn.request() {
            let path = request.target.trim_start_matches('/');
            if path == "wait" {
                conn.until_closed(PATIENCE);
                return;
            }
            match path.parse::<usize>() {
                Ok(size) => conn.answer(200, &[], &vec![b'x'; size]),
                Err(_) => conn.answer(200, &[], b"ok"),
            };
        }
    })
}

#[test]
fn nothing_is_sent_that_has_no_room() {
    // RFC 9113 sections 5.2.1 and 6.9.
    let upstream = sized();
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut client = Http2::connect(proxyd.address());
    client.gives_room = false;
    client.send(settings(&[(setting::INITIAL_WINDOW_SIZE, 10)]));
    client.until(|all| all.confirmed == 2);
    client.head(1, &get_fields("/25"), true);
    client.until(|all| all.message(1).body.len() == 10);
    client.read_for(Duration::from_millis(100));
    assert_eq!(client.message(1).body.len(), 10, "no byte beyond the window");
    client.send(window_update(1, 7));
    client.until(|all| all.message(1).body.len() == 17);
    // A window may become negative (section 6.9.2), and then needs more to open.
    client.send(settings(&[(setting::INITIAL_WINDOW_SIZE, 0)]));
    client.until(|all| all.confirmed == 3);
    client.send(window_update(1, 10));
    client.read_for(Duration::from_millis(100));
    assert_eq!(client.message(1).body.len(), 17, "10 below zero, 10 more: none");
    client.send(window_update(1, 8));
    let message = client.whole(1);
    assert!(message.ended && message.body.len() == 25, "{message:?}");
    // The connection's own window holds for all streams together.
    client.send(settings(&[(setting::INITIAL_WINDOW_SIZE, 1 << 20)]));
    client.head(3, &get_fields("/100000"), true);
    client.until(|all| all.message(3).body.len() == 65_535 - 25);
    client.read_for(Duration::from_millis(100));
    assert_eq!(client.message(3).body.len(), 65_535 - 25);
    client.send(window_update(0, 1 << 20));
    assert_eq!(client.whole(3).body.len(), 100_000);
}

#[test]
fn a_stream_that_is_not_read_holds_up_no_other() {
    let upstream = sized();
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut client = Http2::connect(proxyd.address());
    client.gives_room = false;
    client.send(window_update(0, 100_000_000));
    client.head(1, &get_fields("/10000000"), true);
    client.until(|all| all.message(1).body.len() == 65_535);
    for number in 1..30 {
        assert_eq!(client.get(2 * number + 1, "/").text(), "ok");
    }
    assert!(!client.message(1).is_over());
    client.send(window_update(1, 20_000_000));
    assert_eq!(client.whole(1).body.len(), 10_000_000);
}

#[test]
fn an_upload_that_is_not_taken_holds_up_no_other() {
    let upstream = Upstream::scripted(|conn| {
        while let Some(head) = conn.request_head() {
            if head.method == "POST" {
                conn.wire.exactly(10);
                std::thread::park_timeout(Duration::from_secs(3));
                return;
            }
            conn.answer(200, &[], b"ok");
        }
    });
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut client = Http2::connect(proxyd.address());
    client.until(|all| all.settings.is_some());
    client.head(1, &post_fields("/"), false);
    // As much as one stream may send ahead, without waiting for room.
    for _ in 0..4 {
        client.data(1, vec![b'x'; 16_000], false);
    }
    for number in 1..20 {
        assert_eq!(client.get(2 * number + 1, "/").text(), "ok");
    }
    assert!(!client.message(1).is_over(), "{client:?}");
}

#[test]
fn more_than_a_window_is_refused() {
    // RFC 9113 section 6.9.1.
    let upstream = Upstream::scripted(|conn| {
        conn.request_head();
        std::thread::park_timeout(Duration::from_secs(3));
    });
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut client = Http2::connect(proxyd.address());
    client.head(1, &post_fields("/"), false);
    // The kernel takes some of it on the way: as much as is certainly too much.
    for _ in 0..4000 {
        if !client.data(1, vec![b'x'; 16_000], false) {
            break;
        }
    }
    client.until(|all| all.closed || all.message(1).is_over());
    let told = client.goaways.last().map(|last| last.1);
    let was_reset = client.message(1).reset == Some(code::FLOW_CONTROL_ERROR);
    assert!(was_reset || told == Some(code::FLOW_CONTROL_ERROR), "{client:?}");
}

#[test]
fn a_reset_takes_the_upstream_request_along() {
    let (ended, upstream) = waiting();
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut client = Http2::connect(proxyd.address());
    client.head(1, &get_fields("/wait"), true);
    client.head(3, &post_fields("/wait"), false);
    client.data(3, "half", false);
    eventually("both requests reach the upstream", || (upstream.requests() == 2).then_some(()));
    client.send([reset(1, code::CANCEL), reset(3, code::CANCEL)].concat());
    eventually("both connections are closed", || (ended.load(Ordering::SeqCst) == 2).then_some(()));
    assert_eq!(client.get(5, "/").text(), "ok");
    let rows = proxyd.audit(&serde_json::json!({"path": "/wait"}), 2);
    assert!(rows.iter().all(|row| row["outcome"] == "client_left" || row["outcome"] == "client_closed"), "{rows:#?}");
}

/// Counts the connections that are closed while `/wait` is answered by nothing.
fn waiting() -> (Arc<AtomicUsize>, Upstream) {
    let ended = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ended);
    let upstream = Upstream::scripted(move |conn| {
        while let Some(request) = conn.request_head() {
            if request.target == "/wait" {
                conn.wire.rest();
                count.fetch_add(1, Ordering::SeqCst);
                return;
            }
            conn.answer(200, &[], b"ok");
        }
    });
    (ended, upstream)
}

#[test]
fn a_client_that_leaves_takes_all_its_requests_along() {
    let (ended, upstream) = waiting();
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut client = Http2::connect(proxyd.address());
    for stream in [1, 3, 5] {
        client.head(stream, &get_fields("/wait"), true);
    }
    eventually("the requests reach the upstream", || (upstream.requests() == 3).then_some(()));
    drop(client);
    eventually("the connections are closed", || (ended.load(Ordering::SeqCst) == 3).then_some(()));
}

#[test]
fn a_client_that_says_goodbye_gets_what_it_asked_for() {
    // RFC 9113 section 6.8.
    let upstream = Upstream::scripted(|conn| {
        while conn.request().is_some() {
            std::thread::sleep(Duration::from_millis(200));
            conn.answer(200, &[], b"ok");
        }
    });
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut client = Http2::connect(proxyd.address());
    client.head(1, &get_fields("/"), true);
    client.send(goaway(0, code::NO_ERROR));
    assert_eq!(client.whole(1).text(), "ok");
    client.rest();
    assert!(client.closed);
}

#[test]
fn no_more_streams_than_were_said() {
    // RFC 9113 section 5.1.2.
    let (_, upstream) = waiting();
    let config = format!("server: {{limits: {{streams: 3}}}}\n{}", forward_all(upstream.address()));
    let proxyd = Proxyd::start(&config);
    let mut client = Http2::connect(proxyd.address());
    client.until(|all| all.settings.is_some());
    assert_eq!(client.settings.as_ref().unwrap().get(&setting::MAX_CONCURRENT_STREAMS), Some(&3));
    client.until(|all| all.confirmed == 1);
    for stream in [1, 3, 5, 7] {
        client.head(stream, &get_fields("/wait"), true);
    }
    client.until(|all| all.closed || all.message(7).is_over());
    assert_eq!(client.message(7).reset, Some(code::REFUSED_STREAM), "{client:?}");
    client.send(reset(1, code::CANCEL));
    let answer = client.get(9, "/");
    assert_eq!(answer.text(), "ok", "room again: {answer:?}");
    assert_eq!(upstream.requests(), 4);
}

#[test]
fn the_last_of_so_many_requests_is_said_to_be_the_last() {
    let upstream = Upstream::saying("ok");
    let config = format!("server: {{limits: {{requests_per_connection: 3}}}}\n{}", forward_all(upstream.address()));
    let proxyd = Proxyd::start(&config);
    let mut client = Http2::connect(proxyd.address());
    for stream in [1, 3, 5] {
        assert_eq!(client.get(stream, "/").text(), "ok");
    }
    client.rest();
    let (last, told) = *client.goaways.last().expect("GOAWAY");
    assert_eq!((last, told), (5, code::NO_ERROR), "{client:?}");
    let mut wire = Wire::connect(proxyd.address());
    for number in 1..=3 {
        let response = Request::get("/").send_on(&mut wire);
        assert_eq!(response.headers.has("connection", "close"), number == 3, "HTTP/1.1, request {number}");
    }
    assert!(wire.closes_within(PATIENCE));
}

#[test]
fn a_stop_lets_streams_end() {
    let upstream = Upstream::scripted(|conn| {
        while conn.request().is_some() {
            std::thread::sleep(Duration::from_millis(300));
            conn.answer(200, &[], b"ok");
        }
    });
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut client = Http2::connect(proxyd.address());
    let mut idle = Http2::connect(proxyd.address());
    client.head(1, &get_fields("/"), true);
    eventually("the request is under way", || (upstream.requests() == 1).then_some(()));
    let began = Instant::now();
    proxyd.signal(nix::sys::signal::Signal::SIGTERM);
    let answer = client.whole(1);
    assert_eq!(answer.text(), "ok", "{client:?}");
    client.rest();
    assert_eq!(client.goaways.last().map(|last| last.1), Some(code::NO_ERROR), "{client:?}");
    idle.rest();
    proxyd.stop();
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[test]
fn each_port_speaks_what_it_is_to_speak() {
    let upstream = Upstream::saying("ok");
    let both = Proxyd::start(&forward_all(upstream.address()));
    assert_eq!(both.get("/").text(), "ok");
    assert_eq!(Http2::connect(both.address()).get(1, "/").text(), "ok");
    let only = |which: &str| {
        let listen = format!("server: {{listen: {{address: '127.0.0.1:0', protocols: [{which}]}}}}\n");
        tests::Start::new(&format!("{listen}{}", forward_all(upstream.address()))).leave("server.listen").run()
    };
    let proxyd = only("http1");
    assert_eq!(proxyd.get("/").text(), "ok");
    let mut wire = Wire::connect(proxyd.address());
    wire.send(tests::http2::PREFACE);
    let answer = String::from_utf8_lossy(&wire.rest()).into_owned();
    assert!(answer.starts_with("HTTP/1.1 505 ") || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let proxyd = only("http2");
    let refused = proxyd.get("/");
    assert_eq!((refused.status, refused.error_code().as_str()), (505, "protocol_refused"));
    assert_eq!(Http2::connect(proxyd.address()).get(1, "/").text(), "ok");
    assert_eq!(upstream.requests(), 4);
}

#[test]
fn an_upgrade_to_http2_in_clear_text_is_not_taken() {
    // RFC 9113 section 3.1: the upgrade of RFC 7540 is deprecated; such a request is one of HTTP/1.1.
    let upstream = Upstream::echo();
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let request = Request::get("/").header("Connection", "Upgrade, HTTP2-Settings").header("Upgrade", "h2c");
    let response = request.header("HTTP2-Settings", "AAMAAABkAAQAAP__").send(proxyd.address());
    assert_eq!(response.status, 200);
    let text = response.text();
    assert!(!text.contains("h2c") && !text.to_lowercase().contains("http2-settings"), "{text}");
}

#[test]
fn what_nobody_took_of_uploads_is_given_back() {
    // RFC 9113 section 6.9.1: what came for streams that are over counts for the connection all the same.
    let upstream = Upstream::scripted(|conn| {
        while let Some(request) = conn.request_head() {
            if request.method == "GET" {
                conn.answer(200, &[], b"ok");
                continue;
            }
            conn.send("HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno");
            return;
        }
    });
    let limits = "server: {limits: {streams: 2}}\nbody_limit: 100KiB\n";
    let proxyd = Proxyd::start(&format!("{limits}{}", forward_all(upstream.address())));
    let mut client = Http2::connect(proxyd.address());
    for number in 0..12 {
        let stream = 4 * number + 1;
        client.head(stream, &post_fields("/"), false);
        for _ in 0..4 {
            client.until(|all| all.room >= 16_000);
            client.data(stream, vec![b'x'; 16_000], false);
        }
        match number % 3 {
            0 => client.send(reset(stream, code::CANCEL)),
            1 => client.until(|all| all.message(stream).is_over()),
            _ => client.data(stream, "", true),
        };
        let answer = client.get(stream + 2, "/");
        assert_eq!(answer.text(), "ok", "{number}: {} of room", client.room);
    }
    client.read_for(Duration::from_millis(300));
    assert!(client.room > 100_000, "{} of room left", client.room);
}

#[test]
fn a_body_over_its_limit_is_answered_and_costs_its_stream_alone() {
    let upstream = Upstream::echo();
    let proxyd = Proxyd::start(&format!("body_limit: 1KiB\n{}", forward_all(upstream.address())));
    let mut client = Http2::connect(proxyd.address());
    client.head(1, &post_fields("/"), false);
    client.data(1, vec![b'x'; 5000], false);
    let message = client.whole(1);
    assert!(message.status() == 413 && message.text().contains("body_too_large") && message.ended, "{message:?}");
    client.head(3, &[&post_fields("/")[..], &[("content-length", "5000")]].concat(), false);
    let message = client.whole(3);
    assert!(message.status() == 413 && message.ended, "{message:?}");
    assert_eq!(client.get(5, "/").status(), 200);
}

#[test]
fn field_tables_stay_in_step_when_a_head_is_refused() {
    // RFC 7541 section 2.2: what a refused head adds to the table is in it.
    let upstream = Upstream::echo();
    let proxyd = Proxyd::start(&format!("server: {{limits: {{headers: 1KiB}}}}\n{}", forward_all(upstream.address())));
    let mut client = Http2::connect(proxyd.address());
    let mut head = tests::http2::block(&get_fields("/"));
    head.extend(tests::http2::block(&[("x-large", &"a".repeat(2000))]));
    head.extend(b"\x40\x03x-a\x01b");
    client.send(tests::http2::frame(tests::http2::kind::HEADERS, tests::http2::flag::WHOLE, 1, &head));
    assert_eq!(client.whole(1).status(), 431);
    let mut head = tests::http2::block(&get_fields("/"));
    head.push(0xbe);
    client.send(tests::http2::frame(tests::http2::kind::HEADERS, tests::http2::flag::WHOLE, 3, &head));
    let text = client.whole(3).text();
    assert!(text.contains("[\"x-a\",\"b\"]"), "{text}");
}

#[test]
fn trailers_without_a_body() {
    let upstream = Upstream::echo();
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut client = Http2::connect(proxyd.address());
    client.head(1, &post_fields("/"), false);
    client.send(tests::http2::headers(1, &[("x-sum", "7")], true));
    let text = client.whole(1).text();
    assert!(text.contains("[\"x-sum\",\"7\"]") && text.contains("\"body_bytes\":0"), "{text}");
}
