//! Connections of HTTP/2 to upstreams over their life: what is given back, what is waited for, what is begun anew.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tests::http2::{code, frame, get, goaway, kind, setting, settings};
use tests::{Http2, Proxyd, Request, Upstream, Wire, eventually};

use super::http2_upstream::{config, each, next, ok, upstream};

#[test]
fn what_nobody_read_is_given_back() {
    // RFC 9113 section 6.9.1: what came on a stream that is over counts for the connection all the same.
    let room = Arc::new(Mutex::new(0));
    let seen = Arc::clone(&room);
    let upstream = upstream(&[], move |server, _| {
        let mut last = 0;
        while let Some(stream) = next(server, last) {
            last = stream;
            if get(&server.message(stream).blocks[0], ":path") == Some("/small") {
                *seen.lock().unwrap() = server.room;
                ok(server, stream, "ok");
                continue;
            }
            server.head(stream, &[(":status", "200")], false);
            // As much as a stream takes ahead, as long as the connection has room for it.
            server.until(|all| all.room >= 65_000);
            for _ in 0..4 {
                server.data(stream, vec![b'x'; 16_000], false);
            }
            server.until(|all| all.message(stream).reset.is_some());
        }
    });
    let proxyd = Proxyd::start(&config(&upstream, ", pool: {stream_window: 64KiB, streams: 2}"));
    for _ in 0..8 {
        let mut wire = Wire::connect(proxyd.address());
        wire.send(Request::get("/large").bytes());
        assert!(wire.head().unwrap().starts_with("HTTP/1.1 200"));
        // And leaves.
    }
    assert_eq!(proxyd.get("/small").text(), "ok");
    assert_eq!(upstream.connections(), 1);
    assert!(*room.lock().unwrap() > 60_000, "{room:?} left");
}

#[test]
fn a_body_that_breaks_off_is_not_whole_upstream() {
    let ends = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&ends);
    let upstream = upstream(&[], move |server, _| {
        let mut last = 0;
        while let Some(stream) = next(server, last) {
            let message = server.whole(stream);
            seen.lock().unwrap().push((message.ended, message.reset));
            last = stream;
            if message.ended {
                ok(server, stream, "ok");
            }
        }
    });
    let proxyd = Proxyd::start(&config(&upstream, ""));
    for bytes in [
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
    ] {
        let before = ends.lock().unwrap().len();
        let mut wire = Wire::connect(proxyd.address());
        wire.send(bytes);
        eventually("it is under way", || {
            (proxyd.metric("proxyd_upstream_in_flight", &[]) > 0.0 || ends.lock().unwrap().len() > before).then_some(())
        });
        drop(wire);
        eventually("its stream ends", || (ends.lock().unwrap().len() > before).then_some(()));
    }
    let mut client = Http2::connect(proxyd.address());
    client.head(1, &tests::http2::post_fields("/"), false);
    client.data(1, "half", false);
    client.send(tests::http2::reset(1, code::CANCEL));
    eventually("its stream ends", || (ends.lock().unwrap().len() == 4).then_some(()));
    for (ended, reset) in ends.lock().unwrap().iter() {
        assert!(!ended && reset.is_some(), "{ends:?}");
    }
    assert_eq!(proxyd.get("/").text(), "ok", "on the same connection");
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn an_endpoint_that_takes_nothing_for_a_while_is_waited_for() {
    // RFC 9113 section 6.5.2: a value of 0 is no error.
    let upstream = upstream(&[(setting::MAX_CONCURRENT_STREAMS, 0)], |server, _| {
        server.read_for(Duration::from_millis(300));
        server.send(settings(&[(setting::MAX_CONCURRENT_STREAMS, 10)]));
        let mut last = 0;
        while let Some(stream) = next(server, last) {
            ok(server, stream, "ok");
            last = stream;
        }
    });
    let proxyd = Proxyd::start(&config(&upstream, ", pool: {connections: 1}, timeouts: {connect: 5s}"));
    let answer = proxyd.get("/");
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    assert_eq!(proxyd.get("/").text(), "ok");
}

#[test]
fn a_connection_that_ended_idle_is_not_missed() {
    for (name, ends) in [
        ("GOAWAY", (|server: &mut Http2| _ = server.send(goaway(1, code::NO_ERROR))) as fn(&mut Http2)),
        ("its end", |_| ()),
    ] {
        let upstream = upstream(&[], move |server, _| {
            let Some(stream) = next(server, 0) else { return };
            ok(server, stream, "ok");
            ends(server);
            if server.goaways.is_empty() && name == "GOAWAY" {
                server.rest();
            }
        });
        let proxyd = Proxyd::start(&config(&upstream, ""));
        for number in 1..=5 {
            let answer = Request::post("/", "x").send(proxyd.address());
            assert_eq!(answer.text(), "ok", "{name}, {number}");
            eventually("the connection is known to have ended", || {
                (proxyd.metric("proxyd_upstream_connections", &[]) < 0.5).then_some(())
            });
        }
        assert_eq!(upstream.connections(), 5, "{name}");
        assert!(proxyd.metric("proxyd_upstream_failures_total", &[]) < 0.5, "{name}");
    }
}

#[test]
fn so_many_streams_as_the_config_says() {
    let most = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&most);
    let upstream = upstream(&[], move |server, _| {
        let mut answered = 0;
        while !server.closed {
            server.read_for(Duration::from_millis(150));
            let open: Vec<u32> = server.messages.keys().copied().filter(|stream| *stream > answered).collect();
            seen.fetch_max(open.len(), Ordering::SeqCst);
            for stream in open {
                ok(server, stream, "ok");
                answered = stream;
            }
        }
    });
    let proxyd = Proxyd::start(&config(&upstream, ", pool: {streams: 3}"));
    let mut client = Http2::connect(proxyd.address());
    for number in 0..9 {
        client.head(2 * number + 1, &tests::http2::get_fields("/"), true);
    }
    for number in 0..9 {
        assert_eq!(client.whole(2 * number + 1).text(), "ok");
    }
    assert_eq!(most.load(Ordering::SeqCst), 3);
    assert!(upstream.connections() >= 3, "beyond that, further connections: {}", upstream.connections());
}

#[test]
fn heads_alone() {
    // RFC 9110 section 9.3.2 and 15.4.5: a length without a body.
    let upstream = each(|server, stream, message| {
        let fields = &message.blocks[0];
        let status = get(fields, ":path").unwrap().trim_start_matches('/').to_owned();
        server.head(stream, &[(":status", &status), ("content-length", "5")], true);
        assert!(get(fields, ":method").is_some());
    });
    let proxyd = Proxyd::start(&config(&upstream, ""));
    let mut wire = Wire::connect(proxyd.address());
    for (method, path) in [("HEAD", "/200"), ("GET", "/304"), ("HEAD", "/304"), ("HEAD", "/404")] {
        let answer = Request::new(method, path).send_on(&mut wire);
        assert_eq!(answer.status.to_string(), path[1..], "{method} {path}: {answer:?}");
        assert_eq!(answer.header("content-length"), Some("5"), "{method} {path}");
    }
    let mut client = Http2::connect(proxyd.address());
    client.head(1, &[(":method", "HEAD"), (":scheme", "http"), (":authority", "h"), (":path", "/200")], true);
    assert_eq!(client.whole(1).header("content-length"), Some("5"));
    assert_eq!(upstream.connections(), 1);
}

/// What cannot be said in HTTP/2: the client's fault, and none of the endpoint's.
const UNSPEAKABLE: [&str; 6] = ["/a`b", "/a\"b", "/a<b", "/a>b", "Host: %41", "Host:\r\n"];

/// What HTTP/1.1 takes goes on in HTTP/2, or is refused as the client's fault.
#[test]
fn whatever_may_stand_in_http1_goes_on() {
    let upstream = each(|server, stream, message| {
        let fields = &message.blocks[0];
        let authority = get(fields, ":authority").unwrap_or("none").to_owned();
        let text = format!("{} {} {authority}", get(fields, ":method").unwrap(), get(fields, ":path").unwrap());
        ok(server, stream, &text);
    });
    let to_http1 = Upstream::scripted(|conn| {
        while let Some(request) = conn.request() {
            let text =
                format!("{} {} {}", request.method, request.target, request.headers.get("host").unwrap_or("none"));
            conn.answer(200, &[], text.as_bytes());
        }
    });
    let plain = Proxyd::start(&tests::config::forward_all(to_http1.address()));
    let proxyd = Proxyd::start(&config(&upstream, ""));
    let mut wrong = Vec::new();
    let targets = "!$%&'()*+,-./:;=@[]^_`{|}~\"<>\\";
    let targets = targets.chars().map(|odd| format!("GET /a{odd}b?c{odd}d HTTP/1.1\r\nHost: h\r\n\r\n"));
    let hosts = [
        "h:", "h:80", "a_b", "[::1]:80", "h-", "xn--a", "1.2.3.4", "A.b", "a..b", "%41", "a!b", "a~b", "a'b", "a$b",
        "a&b", "a(b)", "a*b", "a+b", "a;b", "a=b",
    ];
    let hosts = hosts.into_iter().map(|host| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    let others = [
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET http://h/a?b HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET http://h HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET http://h?b HTTP/1.1\r\nHost: h\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
        "FETCH-it!#$ / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /? HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /%E4%zz HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET //h/a HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a:80/b@c HTTP/1.1\r\nHost: h\r\n\r\n",
    ];
    for request in targets.chain(hosts).chain(others.map(str::to_owned)) {
        let ask = |proxyd: &Proxyd| {
            let mut wire = Wire::connect(proxyd.address());
            wire.send(&request);
            let answer = wire.response("GET");
            (answer.status, if answer.status == 200 { answer.text() } else { String::new() })
        };
        let (as_http1, as_http2) = (ask(&plain), ask(&proxyd));
        let holds = if UNSPEAKABLE.iter().any(|part| request.contains(part)) {
            as_http2.0 == 400
        } else {
            // Where no host was named, that is the endpoint's.
            as_http1 == as_http2 || request.contains("HTTP/1.0") && as_http2.0 == 200
        };
        if !holds {
            wrong.push(format!("{request:?}: {as_http2:?}, and {as_http1:?} to HTTP/1.1"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(proxyd.metric("proxyd_upstream_failures_total", &[]) < 0.5);
}

#[test]
fn pings_and_settings_of_an_endpoint_are_answered() {
    let answered = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&answered);
    let upstream = upstream(&[], move |server, _| {
        let Some(stream) = next(server, 0) else { return };
        server.send([frame(kind::PING, 0, 0, b"12345678"), settings(&[(setting::MAX_FRAME_SIZE, 20_000)])].concat());
        let both = server.until(|all| all.pongs.len() == 1 && all.confirmed == 2);
        seen.store(usize::from(both), Ordering::SeqCst);
        let told = server.settings.clone().unwrap_or_default();
        let pushes = told.get(&setting::ENABLE_PUSH) == Some(&0);
        ok(server, stream, if pushes { "no pushes" } else { "pushes" });
        server.rest();
    });
    let proxyd = Proxyd::start(&config(&upstream, ""));
    assert_eq!(proxyd.get("/").text(), "no pushes");
    assert_eq!(answered.load(Ordering::SeqCst), 1);
}
