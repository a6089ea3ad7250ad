//! How upgrades and tunnels end: refused, silent, drained; and that nothing of them is ever read as a request.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;
use tests::config::forward_all;
use tests::{Http2, PATIENCE, Proxyd, Upstream, Wire, eventually};

use super::websocket_http2::{CLOSE, TEXT, masked, plain};

const UPGRADE: &str = "GET /socket HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHES: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A tunnel: the client's side; `server` plays the other.
fn tunnel(more: &str, server: impl Fn(&mut Wire) + Send + Sync + 'static) -> (Upstream, Proxyd, Wire) {
    let upstream = Upstream::scripted(move |conn| {
        if conn.request_head().is_some() {
            conn.send(SWITCHES);
            server(&mut conn.wire);
        }
    });
    let proxyd = Proxyd::start(&more.replace("TARGET", &format!("http://{}", upstream.address())));
    let mut wire = Wire::connect(proxyd.address());
    wire.send(UPGRADE);
    let head = wire.head().expect("an answer");
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    (upstream, proxyd, wire)
}

#[test]
fn what_comes_behind_a_refused_upgrade_is_no_request() {
    // RFC 9110 section 7.8: a client may believe that it speaks another protocol already.
    let upstream = Upstream::scripted(|conn| {
        while let Some(request) = conn.request_head() {
            let status = if request.target == "/200" { "200 OK" } else { "403 Forbidden" };
            conn.send(format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno"));
        }
    });
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    for path in ["/200", "/403"] {
        for late in [false, true] {
            let mut wire = Wire::connect(proxyd.address());
            let early = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
            let upgrade = UPGRADE.replace("/socket", path);
            if late {
                wire.send(&upgrade);
                wire.send(early);
            } else {
                wire.send(format!("{upgrade}{early}"));
            }
            let answer = wire.response("GET");
            assert_eq!(answer.text(), "no");
            let rest = wire.rest();
            assert!(rest.is_empty(), "{path}: {}", String::from_utf8_lossy(&rest));
            assert!(answer.headers.has("connection", "close"), "{path}: {answer:?}");
        }
    }
    // An upgrade with a body, which a WebSocket never has, is no exception.
    let mut wire = Wire::connect(proxyd.address());
    let with_body = UPGRADE.replace("GET", "POST").replace("Host: h", "Host: h\r\nContent-Length: 5");
    wire.send(format!("{with_body}helloGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"));
    wire.rest();
    drop(proxyd);
    let heads = upstream.heads();
    assert!(!heads.iter().any(|head| head.contains("smuggled")), "{heads:?}");
}

#[test]
fn a_silent_tunnel_ends() {
    let config = "upstreams:\n  up: {endpoints: ['TARGET'], timeouts: {tunnel: 400ms}}\nroutes:\n  - {name: all, path: /, upstream: up}\n";
    let (_upstream, proxyd, mut wire) = tunnel(config, |wire| {
        while let [first, rest @ ..] = &*wire.some() {
            wire.try_send([&[*first], rest].concat());
        }
    });
    let began = Instant::now();
    // Traffic keeps it open for longer than it may be silent.
    for _ in 0..8 {
        wire.send("x");
        assert_eq!(wire.exactly(1), b"x");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(began.elapsed() > Duration::from_millis(700));
    let silent = Instant::now();
    assert!(wire.closes_within(PATIENCE));
    assert!(silent.elapsed() < Duration::from_secs(5), "{:?}", silent.elapsed());
    let rows = proxyd.audit(&json!({"path": "/socket"}), 1);
    assert_eq!(rows[0]["outcome"], "tunnel_idle", "{}", rows[0]);
    assert_eq!((rows[0]["bytes_in"].as_u64(), rows[0]["bytes_out"].as_u64()), (Some(8), Some(8)), "{}", rows[0]);
}

#[test]
fn a_stop_says_goodbye_to_both_sides() {
    // RFC 6455 section 7.4.1: 1001, going away.
    let (came, told) = std::sync::mpsc::sync_channel(1);
    let config = "server: {timeouts: {drain: 5s}}\nroutes:\n  - {name: all, path: /, target: 'TARGET'}\n";
    let (_upstream, proxyd, mut wire) = tunnel(config, move |wire| {
        // Within a frame when the goodbye is due: it waits for the rest.
        let text = plain(TEXT, b"slow words");
        wire.try_send(&text[..5]);
        assert_eq!(wire.exactly(8), masked(TEXT, b"hi"));
        std::thread::sleep(Duration::from_millis(600));
        wire.try_send(&text[5..]);
        let close = wire.exactly(8);
        came.send(close).unwrap();
        wire.try_send(plain(CLOSE, &1001_u16.to_be_bytes()));
        wire.rest();
    });
    let text = plain(TEXT, b"slow words");
    assert_eq!(wire.exactly(5), &text[..5]);
    wire.send(masked(TEXT, b"hi"));
    std::thread::sleep(Duration::from_millis(100));
    let began = Instant::now();
    proxyd.signal(Signal::SIGTERM);
    assert_eq!(wire.exactly(text.len() - 5), &text[5..], "nothing stands within a frame");
    assert_eq!(wire.exactly(4), plain(CLOSE, &1001_u16.to_be_bytes()));
    assert!(began.elapsed() > Duration::from_millis(300));
    wire.send(masked(CLOSE, &1001_u16.to_be_bytes()));
    assert!(wire.rest().is_empty());
    let close = told.recv_timeout(PATIENCE).expect("the upstream is told, too");
    assert_eq!(close[..2], [0x80 | CLOSE, 0x82], "{close:?}");
    let code: Vec<u8> = close[6..].iter().zip(&close[2..6]).map(|(byte, mask)| byte ^ mask).collect();
    assert_eq!(code, 1001_u16.to_be_bytes(), "masked, as a client's frames are: {close:?}");
    let home = proxyd.stop();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    drop(home);
}

#[test]
fn a_stop_waits_no_longer_for_tunnels_than_it_may() {
    let config = "server: {timeouts: {drain: 1s}}\nroutes:\n  - {name: all, path: /, target: 'TARGET'}\n";
    // Neither side answers the goodbye, nor ends.
    let (_upstream, proxyd, mut wire) = tunnel(config, |wire| {
        wire.exactly(8);
        std::thread::sleep(Duration::from_secs(8));
    });
    let began = Instant::now();
    proxyd.signal(Signal::SIGTERM);
    assert_eq!(wire.exactly(4), plain(CLOSE, &1001_u16.to_be_bytes()));
    proxyd.stop();
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    wire.rest();
}

#[test]
fn a_stop_says_goodbye_on_streams_too() {
    let upstream = super::websocket::repeater();
    let proxyd = Proxyd::start(&format!("server: {{timeouts: {{drain: 5s}}}}\n{}", forward_all(upstream.address())));
    let mut client = Http2::connect(proxyd.address());
    client.until(|all| all.settings.is_some());
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "h"),
        (":path", "/"),
        ("sec-websocket-version", "13"),
    ];
    client.head(1, &fields, false);
    client.until(|all| all.message(1).head().is_some());
    proxyd.signal(Signal::SIGTERM);
    let close = plain(CLOSE, &1001_u16.to_be_bytes());
    client.until(|all| all.message(1).body.len() >= 4);
    assert_eq!(client.message(1).body[..4], close, "{client:?}");
    client.data(1, masked(CLOSE, &1001_u16.to_be_bytes()), true);
    client.rest();
    eventually("the upstream's side has ended", || (upstream.closed() == upstream.connections()).then_some(()));
    proxyd.stop();
}
