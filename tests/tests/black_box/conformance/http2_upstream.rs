//! Upstreams that speak HTTP/2 (RFC 9113), played frame by frame: what is sent to them, and what becomes of what they answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tests::http2::{Message, code, goaway, reset, setting, settings};
use tests::tls::{Authority, Server};
use tests::{Conn, Http2, Proxyd, Request, Upstream, Wire, eventually};

/// The stream that a request came on next: its head is here.
#[track_caller]
pub(super) fn next(server: &mut Http2, after: u32) -> Option<u32> {
    let above = |all: &Http2| all.messages.keys().copied().find(|stream| *stream > after);
    server.until(|all| above(all).is_some()).then(|| above(server)).flatten()
}

/// An upstream in clear text: the script plays a connection whose SETTINGS were sent.
pub(super) fn upstream(
    values: &'static [(u16, u32)],
    script: impl Fn(&mut Http2, &Conn) + Send + Sync + 'static,
) -> Upstream {
    Upstream::scripted(move |conn| {
        let stream = conn.wire.stream().try_clone().unwrap();
        if let Some(mut server) = Http2::server(stream, values) {
            script(&mut server, conn);
        }
    })
}

/// Plays the script for each request in turn, once it is whole.
pub(super) fn each(script: impl Fn(&mut Http2, u32, Message) + Send + Sync + 'static) -> Upstream {
    upstream(&[], move |server, _| {
        let mut last = 0;
        while let Some(stream) = next(server, last) {
            let message = server.whole(stream);
            script(server, stream, message);
            last = stream;
        }
    })
}

pub(super) fn config(upstream: &Upstream, more: &str) -> String {
    format!(
        "server: {{workers: 1}}\nupstreams:\n  up: {{endpoints: ['http://{}'], protocol: http2{more}}}\n\
         routes:\n  - {{name: all, path: /, upstream: up}}\n",
        upstream.address()
    )
}

pub(super) fn ok(server: &mut Http2, stream: u32, body: &str) {
    server.head(stream, &[(":status", "200"), ("content-length", &body.len().to_string())], body.is_empty());
    if !body.is_empty() {
        server.data(stream, body, true);
    }
}

#[test]
fn requests_are_translated() {
    let upstream = each(|server, stream, message| {
        let text = format!("{:?} {}", message.blocks, message.text());
        ok(server, stream, &text);
    });
    let proxyd = Proxyd::start(&config(&upstream, ""));
    let seen = |request: Request| request.send(proxyd.address()).text();
    let text = seen(Request::get("/a?b").header("X-Up", "V").header("Connection", "X-Hop").header("X-Hop", "1"));
    for part in [
        "[(\":method\", \"GET\"), (\":scheme\", \"http\"), (\":authority\", \"proxy.test\"), (\":path\", \"/a?b\")",
        "(\"x-up\", \"V\")",
        "(\"x-forwarded-for\", \"127.0.0.1\")",
        "(\"via\", \"1.1 proxyd\")",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    for part in ["\"host\"", "\"connection\"", "x-hop", "transfer-encoding", "keep-alive"] {
        assert!(!text.contains(part), "{part}: {text}");
    }
    let text = seen(Request::post("/", "body").header("Expect", "100-continue").header("TE", "trailers, gzip"));
    assert!(text.ends_with(" body") && text.contains("(\"content-length\", \"4\")"), "{text}");
    assert!(text.contains("(\"te\", \"trailers\")") && !text.contains("expect"), "RFC 9113 8.2.2: {text}");
    let mut wire = Wire::connect(proxyd.address());
    wire.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-Sum: 7\r\n\r\n");
    let text = wire.response("POST").text();
    assert!(text.contains("[(\"x-sum\", \"7\")]] ab"), "RFC 9113 8.1: {text}");
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn interim_answers_are_relayed_to_either_kind_of_client() {
    let upstream = each(|server, stream, _| {
        server.head(stream, &[(":status", "103"), ("link", "</a>")], false);
        ok(server, stream, "ab");
    });
    let proxyd = Proxyd::start(&config(&upstream, ""));
    let mut wire = Wire::connect(proxyd.address());
    wire.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let interim = wire.head().unwrap();
    assert!(interim.starts_with("HTTP/1.1 103") && interim.contains("link: </a>"), "{interim}");
    assert_eq!(wire.response("GET").text(), "ab");
    let message = Http2::connect(proxyd.address()).get(1, "/");
    assert_eq!((message.interim().len(), message.text().as_str()), (1, "ab"));
}

#[test]
fn many_requests_share_a_connection_as_far_as_it_takes_them() {
    // RFC 9113 section 5.1.2.
    let most = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&most);
    let upstream = upstream(&[(setting::MAX_CONCURRENT_STREAMS, 4)], move |server, _| {
        let mut answered = 0;
        loop {
            server.read_for(Duration::from_millis(100));
            if server.closed {
                return;
            }
            let open: Vec<u32> = server.messages.keys().copied().filter(|stream| *stream > answered).collect();
            seen.fetch_max(open.len(), Ordering::SeqCst);
            for stream in open {
                ok(server, stream, "ok");
                answered = stream;
            }
        }
    });
    let proxyd = Proxyd::start(&config(&upstream, ", pool: {connections: 1}"));
    assert_eq!(proxyd.get("/").text(), "ok", "SETTINGS are known from here on");
    let threads: Vec<_> = (0..12)
        .map(|_| {
            let address = proxyd.address();
            std::thread::spawn(move || Request::get("/").send(address).text())
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), "ok");
    }
    assert_eq!(upstream.connections(), 1);
    assert_eq!(most.load(Ordering::SeqCst), 4, "four at once, and no more");
}

/// The first connection does this with the second request; every other serves.
fn once(first: impl Fn(&mut Http2, u32) + Send + Sync + 'static) -> (Upstream, Arc<Mutex<Vec<String>>>) {
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&bodies);
    let upstream = upstream(&[], move |server, conn| {
        let mut last = 0;
        while let Some(stream) = next(server, last) {
            last = stream;
            if conn.index == 0 && stream > 1 {
                first(server, stream);
                server.rest();
                return;
            }
            let message = server.whole(stream);
            seen.lock().unwrap().push(message.text());
            ok(server, stream, "ok");
        }
    });
    (upstream, bodies)
}

#[test]
fn what_was_not_begun_is_asked_again() {
    // RFC 9113 sections 8.7 and 6.8: either says that nothing was done.
    for (name, refuses) in [
        (
            "REFUSED_STREAM",
            (|server, stream| _ = server.send(reset(stream, code::REFUSED_STREAM))) as fn(&mut Http2, u32),
        ),
        ("GOAWAY", |server, _| _ = server.send(goaway(1, code::NO_ERROR))),
        ("GOAWAY with a code", |server, _| _ = server.send(goaway(1, code::ENHANCE_YOUR_CALM))),
    ] {
        for method in ["GET", "POST"] {
            let (upstream, bodies) = once(refuses);
            let proxyd = Proxyd::start(&config(&upstream, ""));
            assert_eq!(proxyd.get("/").text(), "ok");
            let mut wire = Wire::connect(proxyd.address());
            if method == "GET" {
                wire.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
            } else {
                // Its body comes only when the upstream has refused.
                wire.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n");
                eventually("it is asked again", || {
                    (upstream.connections() == 2 || proxyd.metric("proxyd_upstream_requests_total", &[]) > 2.0)
                        .then_some(())
                });
                wire.send("body");
            }
            let answer = wire.response(method);
            assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{name}, {method}");
            if method == "POST" {
                assert_eq!(bodies.lock().unwrap().last().map(String::as_str), Some("body"), "{name}");
            }
        }
    }
}

#[test]
fn what_was_begun_is_not_asked_again() {
    for (name, breaks) in [
        ("a reset", (|server, stream| _ = server.send(reset(stream, code::INTERNAL_ERROR))) as fn(&mut Http2, u32)),
        ("GOAWAY that takes it in", |server, stream| _ = server.send(goaway(stream, code::INTERNAL_ERROR))),
    ] {
        let (upstream, bodies) = once(move |server, stream| {
            server.whole(stream);
            breaks(server, stream);
            // And the connection ends.
            let _ = server.stream().shutdown(std::net::Shutdown::Both);
        });
        let proxyd = Proxyd::start(&config(&upstream, ""));
        assert_eq!(proxyd.get("/").text(), "ok");
        let answer = Request::post("/", "body").send(proxyd.address());
        assert_eq!(answer.status, 502, "{name}: {answer:?}");
        assert_eq!(bodies.lock().unwrap().len(), 1, "{name}: a POST is sent once");
        assert_eq!(proxyd.get("/").text(), "ok", "{name}");
    }
}

#[test]
fn goodbye_lets_streams_end_and_takes_no_more() {
    // RFC 9113 section 6.8.
    let upstream = upstream(&[], |server, conn| {
        let Some(stream) = next(server, 0) else { return };
        if conn.index == 0 {
            server.head(stream, &[(":status", "200"), ("content-length", "4")], false);
            server.send(goaway(stream, code::NO_ERROR));
            server.read_for(Duration::from_millis(300));
            server.data(stream, "slow", true);
        } else {
            ok(server, stream, "new");
        }
        server.rest();
    });
    let proxyd = Proxyd::start(&config(&upstream, ""));
    let mut wire = Wire::connect(proxyd.address());
    wire.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let head = wire.head().unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(proxyd.get("/").text(), "new");
    assert_eq!(wire.exactly(4), b"slow");
    assert_eq!(upstream.connections(), 2);
}

#[test]
fn a_client_that_leaves_resets_its_stream_alone() {
    let reset_with = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&reset_with);
    let upstream = upstream(&[], move |server, _| {
        let Some(first) = next(server, 0) else { return };
        server.until(|all| all.message(first).reset.is_some());
        *seen.lock().unwrap() = server.message(first).reset;
        let mut last = first;
        while let Some(stream) = next(server, last) {
            ok(server, stream, "ok");
            last = stream;
        }
    });
    let proxyd = Proxyd::start(&config(&upstream, ""));
    let mut wire = Wire::connect(proxyd.address());
    wire.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    eventually("it is under way", || (proxyd.metric("proxyd_upstream_in_flight", &[]) > 0.0).then_some(()));
    drop(wire);
    eventually("its stream is reset", || reset_with.lock().unwrap().map(|told| assert_eq!(told, code::CANCEL)));
    assert_eq!(proxyd.get("/").text(), "ok");
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn windows_hold_in_both_directions() {
    let body: Vec<u8> = (0..700_000).map(|at| (at % 251) as u8).collect();
    let sent = body.clone();
    // The upstream takes ten bytes ahead at first, and is slow to want more.
    let upstream = upstream(&[(setting::INITIAL_WINDOW_SIZE, 10)], move |server, _| {
        let Some(stream) = next(server, 0) else { return };
        server.until(|all| all.message(stream).body.len() >= 10);
        server.send(settings(&[(setting::INITIAL_WINDOW_SIZE, 100_000)]));
        let message = server.whole(stream);
        assert!(message.body == sent, "{} bytes", message.body.len());
        server.head(stream, &[(":status", "200")], false);
        // Nothing is read between: room comes as it is used, and more than a window is waited for.
        let mut at = 0;
        while at < sent.len() {
            let end = (at + 16_000).min(sent.len());
            server.data(stream, &sent[at..end], end == sent.len());
            at = end;
        }
        server.rest();
    });
    let proxyd = Proxyd::start(&config(&upstream, ", pool: {stream_window: 1MiB}"));
    let answer = Request::post("/", body.clone()).send(proxyd.address());
    assert!(answer.whole && answer.body == body, "{} {} bytes", answer.status, answer.body.len());
}

#[test]
fn an_endpoint_that_stays_silent_is_given_up_for_that_request_alone() {
    let upstream = each(|server, stream, message| {
        if tests::http2::get(&message.blocks[0], ":path") == Some("/") {
            ok(server, stream, "ok");
        }
    });
    let proxyd = Proxyd::start(&config(&upstream, ", timeouts: {response_headers: 300ms}"));
    assert_eq!(proxyd.get("/silent").status, 504);
    assert_eq!(proxyd.get("/").text(), "ok");
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn what_an_endpoint_speaks_is_agreed_on_in_tls() {
    // RFC 7301, RFC 9113 section 3.2.
    let authority = Authority::new("upstreams");
    let pair = authority.signs("up", &["127.0.0.1"]);
    for (protocol, offers, speaks) in [
        ("auto", &["h2", "http/1.1"][..], Some("2 proxyd")),
        ("auto", &["http/1.1"], Some("1.1 proxyd")),
        ("auto", &[], Some("1.1 proxyd")),
        ("http2", &["h2"], Some("2 proxyd")),
        ("http2", &["http/1.1"], None),
        ("http1", &["h2", "http/1.1"], Some("1.1 proxyd")),
    ] {
        let server = Server::new(&pair, offers);
        let upstream = Upstream::scripted(move |conn| {
            let Ok(secure) = server.accept(conn.wire.stream().try_clone().unwrap()) else { return };
            if secure.alpn.as_deref() == Some("h2") {
                let Some(mut server) = Http2::server(secure.plain, &[]) else { return };
                let mut last = 0;
                while let Some(stream) = next(&mut server, last) {
                    ok(&mut server, stream, "ok");
                    last = stream;
                }
            } else {
                conn.wire = Wire::over(secure.plain);
                while conn.request().is_some() {
                    conn.answer(200, &[], b"ok");
                }
            }
        });
        let home = tests::Home::default();
        home.write("ca.pem", authority.pem());
        let yaml = format!(
            "upstreams:\n  up: {{endpoints: ['https://{}'], protocol: {protocol}, tls: {{ca: ca.pem}}}}\n\
             routes:\n  - {{name: all, path: /, upstream: up}}\n",
            upstream.address()
        );
        let proxyd = tests::Start::in_home(&home, &yaml).run();
        let answer = proxyd.get("/");
        match speaks {
            Some(via) => {
                assert_eq!(
                    (answer.status, answer.header("via")),
                    (200, Some(via)),
                    "{protocol}, {offers:?}: {answer:?}"
                );
                assert_eq!(proxyd.get("/").text(), "ok");
            }
            None => assert_eq!(answer.status, 502, "{protocol}, {offers:?}: {}", answer.text()),
        }
    }
}

#[test]
fn why_a_stream_was_reset_is_handed_on() {
    // RFC 9113 section 7: the code is the upstream's, whether or not anybody knows it.
    const CODES: [u32; 7] = [
        code::PROTOCOL_ERROR,
        code::INTERNAL_ERROR,
        code::CANCEL,
        code::REFUSED_STREAM,
        code::ENHANCE_YOUR_CALM,
        0xd,
        0x1234,
    ];
    let upstream = each(|server, stream, message| {
        let path = tests::http2::get(&message.blocks[0], ":path").unwrap();
        let number: usize = path.trim_start_matches('/').parse().unwrap();
        server.head(stream, &[(":status", "200")], false);
        server.data(stream, "a beginning", false);
        // Only what a client has seen can be broken off.
        server.read_for(Duration::from_millis(50));
        server.send(reset(stream, CODES[number]));
    });
    let proxyd = Proxyd::start(&config(&upstream, ""));
    let mut client = Http2::connect(proxyd.address());
    for (number, code) in CODES.into_iter().enumerate() {
        let answer = client.get(2 * number as u32 + 1, &format!("/{number}"));
        assert_eq!((answer.status(), answer.text().as_str(), answer.reset), (200, "a beginning", Some(code)));
        // And a client of HTTP/1.1 cannot take it for whole.
        assert!(!Request::get(&format!("/{number}")).send(proxyd.address()).whole, "{code:#x}");
    }
    assert_eq!(upstream.connections(), 1);
}
