//! Clients that cost more than they bring (RFC 9113 section 10.5): each is told to calm down and closed, counted and on
//! record, and harms nobody else.

use std::time::Duration;

use tests::http2::{PREFACE, block, code, flag, frame, get_fields, headers, kind, reset, settings, window_update};
use tests::{Http2, Proxyd, Upstream, Wire, eventually};

struct Flood {
    clause: &'static str,
    kind: &'static str,
    /// Sent again and again, with the number of the next stream.
    piece: fn(u32) -> Vec<u8>,
    /// Sent once before.
    first: fn() -> Vec<u8>,
    /// No more of them than this.
    most: u32,
}

fn nothing() -> Vec<u8> {
    Vec::new()
}

fn post() -> Vec<u8> {
    headers(1, &tests::http2::post_fields("/wait"), false)
}

#[test]
fn floods() {
    let floods = [
        Flood {
            clause: "RFC 9113 10.5 (CVE-2023-44487)",
            kind: "h2_rapid_reset",
            piece: |stream| [headers(stream, &get_fields("/"), true), reset(stream, code::CANCEL)].concat(),
            first: nothing,
            most: 2000,
        },
        Flood {
            clause: "RFC 9113 10.5 (CVE-2019-9512)",
            kind: "h2_ping_flood",
            piece: |_| frame(kind::PING, 0, 0, [1; 8]),
            first: nothing,
            most: 1000,
        },
        Flood {
            clause: "RFC 9113 10.5 (CVE-2019-9515)",
            kind: "h2_settings_flood",
            piece: |_| settings(&[]),
            first: nothing,
            most: 1000,
        },
        Flood {
            clause: "RFC 9113 10.5 (CVE-2019-9518)",
            kind: "h2_empty_frames",
            piece: |_| frame(kind::DATA, 0, 1, []),
            first: post,
            most: 2000,
        },
        Flood {
            clause: "RFC 9113 10.5 (CVE-2024-27316)",
            kind: "h2_continuation_flood",
            piece: |_| frame(kind::CONTINUATION, 0, 1, b"\x10\x03x-a\x01b"),
            first: || frame(kind::HEADERS, flag::END_STREAM, 1, block(&get_fields("/"))),
            most: 100,
        },
        Flood {
            clause: "RFC 9113 10.5 (CVE-2019-9513)",
            kind: "h2_priority_flood",
            piece: |stream| frame(kind::PRIORITY, 0, stream, [0, 0, 0, 0, 9]),
            first: nothing,
            most: 2000,
        },
        Flood {
            clause: "RFC 9113 10.5",
            kind: "h2_window_flood",
            piece: |_| window_update(0, 1),
            first: nothing,
            most: 60_000,
        },
    ];
    let upstream = Upstream::scripted(|conn| {
        while let Some(request) = conn.request_head() {
            if request.target == "/wait" {
                conn.wire.rest();
                return;
            }
            conn.answer(200, &[], b"ok");
        }
    });
    let proxyd = Proxyd::start(&format!("server: {{workers: 1}}\n{}", tests::config::forward_all(upstream.address())));
    let mut other = Http2::connect(proxyd.address());
    assert_eq!(other.get(1, "/").text(), "ok");
    let mut wrong = Vec::new();
    for (number, flood) in floods.iter().enumerate() {
        let mut client = Http2::connect(proxyd.address());
        client.send((flood.first)());
        let mut bytes = Vec::new();
        for number in 0..flood.most {
            bytes.extend((flood.piece)(2 * number + 3));
        }
        client.send(&bytes);
        client.rest();
        let calmed = client.goaways.last().is_none_or(|last| last.1 == code::ENHANCE_YOUR_CALM);
        // What is still on its way when the connection is closed makes that a reset, which may overtake GOAWAY.
        let counted = eventually("a flood is counted", || {
            let errors = proxyd.metric("proxyd_connection_errors_total", &[&format!("kind=\"{}\"", flood.kind)]);
            (errors > 0.0).then_some(errors)
        });
        let answer = other.get(2 * number as u32 + 3, "/");
        if !calmed || counted.to_bits() != 1_f64.to_bits() || answer.text() != "ok" {
            wrong.push(format!("{} {}: counted {counted}, {client:?}", flood.clause, flood.kind));
        }
        let rows = proxyd.audit(&serde_json::json!({"outcome": flood.kind}), 1);
        if rows.len() != 1 {
            wrong.push(format!("{} {}: recorded {} times", flood.clause, flood.kind, rows.len()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!other.closed);
}

#[test]
fn a_head_in_too_many_pieces_is_known_as_one() {
    let upstream = Upstream::saying("ok");
    let proxyd = Proxyd::start(&tests::config::forward_all(upstream.address()));
    let mut client = Http2::connect(proxyd.address());
    // No answer to SETTINGS may come within a head.
    client.until(|all| all.confirmed == 1);
    client.send(frame(kind::HEADERS, flag::END_STREAM, 1, block(&get_fields("/"))));
    for _ in 0..50 {
        client.send(frame(kind::CONTINUATION, 0, 1, b"\x10\x03x-a\x01b"));
        client.read_for(Duration::from_millis(5));
    }
    client.rest();
    eventually("it is counted", || {
        let errors = proxyd.metric("proxyd_connection_errors_total", &["kind=\"h2_continuation_flood\""]);
        (errors > 0.0).then_some(())
    });
}

#[test]
fn a_flood_is_told_why_it_is_cut() {
    let upstream = Upstream::saying("ok");
    let proxyd = Proxyd::start(&tests::config::forward_all(upstream.address()));
    let mut client = Http2::connect(proxyd.address());
    // A few more than may be, and no byte behind them: GOAWAY is not overtaken.
    for _ in 0..60 {
        client.send(frame(kind::PING, 0, 0, [1; 8]));
    }
    client.rest();
    assert_eq!(client.goaways.last().map(|last| last.1), Some(code::ENHANCE_YOUR_CALM), "{client:?}");
    let sent = proxyd.metric("proxyd_http2_goaways_sent_total", &["code=\"ENHANCE_YOUR_CALM\""]);
    assert!(sent >= 1.0, "{}", proxyd.admin_get("/metrics").text());
}

#[test]
fn what_honest_clients_do_is_no_flood() {
    let upstream = Upstream::saying("ok");
    let proxyd = Proxyd::start(&tests::config::forward_all(upstream.address()));
    let mut client = Http2::connect(proxyd.address());
    for number in 0..400 {
        let stream = 2 * number + 1;
        if number % 10 == 0 {
            client.send(frame(kind::PING, 0, 0, [1; 8]));
        }
        if number % 4 == 0 {
            client.send([headers(stream, &get_fields("/"), true), reset(stream, code::CANCEL)].concat());
        } else {
            assert_eq!(client.get(stream, "/").text(), "ok");
        }
    }
    assert!(client.goaways.is_empty(), "{client:?}");
}

#[test]
fn a_head_that_never_ends_has_little_time() {
    let upstream = Upstream::saying("ok");
    let config =
        format!("server: {{timeouts: {{request_headers: 300ms}}}}\n{}", tests::config::forward_all(upstream.address()));
    let proxyd = Proxyd::start(&config);
    let mut slow = Http2::connect(proxyd.address());
    assert_eq!(slow.get(1, "/").text(), "ok");
    slow.send(frame(kind::HEADERS, flag::END_STREAM, 3, block(&get_fields("/"))));
    slow.rest();
    assert!(slow.closed);
    // And one that never begins, or stops within the preface.
    for bytes in [PREFACE, &PREFACE[..10], &[PREFACE, &settings(&[])].concat()] {
        let mut silent = Wire::connect(proxyd.address());
        silent.send(bytes);
        silent.rest();
    }
    let errors = || proxyd.metric("proxyd_connection_errors_total", &[]);
    eventually("all are counted", || (errors() >= 4.0).then_some(()));
    std::thread::sleep(Duration::from_millis(1));
    assert_eq!(upstream.requests(), 1);
}

#[test]
fn a_large_download_is_no_flood() {
    // Simple clients give room back for each frame, on the stream and on the connection.
    const SIZE: usize = 300_000_000;
    let upstream = Upstream::scripted(|conn| {
        conn.request();
        conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n"));
        let piece = vec![b'x'; 1_000_000];
        for _ in 0..SIZE / piece.len() {
            conn.send(&piece);
        }
    });
    let proxyd = Proxyd::start(&tests::config::forward_all(upstream.address()));
    let mut client = Http2::connect(proxyd.address());
    client.head(1, &get_fields("/"), true);
    let mut came = 0;
    while client.read().is_some() {
        let message = client.messages.entry(1).or_default();
        came += std::mem::take(&mut message.body).len();
        if message.is_over() {
            break;
        }
    }
    assert_eq!((came, client.message(1).ended), (SIZE, true), "{client:?}");
}

#[test]
fn a_ping_for_each_piece_is_no_flood() {
    // As gRPC measures how much is under way.
    let upstream = Upstream::scripted(|conn| {
        while conn.request().is_some() {
            conn.answer(200, &[], &vec![b'x'; 5_000_000]);
        }
    });
    let proxyd = Proxyd::start(&tests::config::forward_all(upstream.address()));
    let mut client = Http2::connect(proxyd.address());
    client.head(1, &get_fields("/"), true);
    let mut pings = 0;
    while let Some(frame) = client.read() {
        if frame.kind == kind::DATA && !frame.payload.is_empty() {
            client.send(self::frame(kind::PING, 0, 0, [2; 8]));
            pings += 1;
        }
        if client.message(1).is_over() {
            break;
        }
    }
    assert!(pings > 100, "{pings}");
    assert!(client.until(|all| all.pongs.len() == pings), "{} of {pings}: {:?}", client.pongs.len(), client.goaways);
}
