//! WebSocket over TLS and over HTTP/2 (RFC 8441), whatever is spoken on the other side.

use std::sync::{Arc, Mutex};

use serde_json::json;
use tests::config::forward_all;
use tests::http2::{Message, code, reset, setting};
use tests::tls::Client;
use tests::{Http2, PATIENCE, Proxyd, Upstream, eventually};
use tungstenite::{Message as Text, client};

use super::tls::{certificates, home, serve};
use super::websocket::{open, repeater, repeats};

/// A text of a client, masked (RFC 6455 section 5.2).
pub(crate) fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut bytes = vec![0x80 | opcode, 0x80 | payload.len() as u8];
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The same of a server.
pub(crate) fn plain(opcode: u8, payload: &[u8]) -> Vec<u8> {
    [&[0x80 | opcode, payload.len() as u8], payload].concat()
}

pub(crate) const TEXT: u8 = 1;
pub(crate) const CLOSE: u8 = 8;

/// Asks for a tunnel (RFC 8441 section 4), and gives the answer once its head is there.
fn tunnel(client: &mut Http2, stream: u32, protocol: &str, path: &str) -> Message {
    client.until(|all| all.settings.is_some());
    let settings = client.settings.clone().unwrap();
    assert_eq!(settings.get(&setting::ENABLE_CONNECT_PROTOCOL), Some(&1), "RFC 8441 section 3");
    let fields = [
        (":method", "CONNECT"),
        (":protocol", protocol),
        (":scheme", "https"),
        (":authority", "h"),
        (":path", path),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat"),
        ("origin", "https://h"),
    ];
    client.head(stream, &fields, false);
    client.until(|all| all.message(stream).head().is_some() || all.message(stream).is_over());
    client.message(stream)
}

/// Sends a text and waits for its repetition.
fn echoes(client: &mut Http2, stream: u32, text: &str) {
    let before = client.message(stream).body.len();
    client.data(stream, masked(TEXT, text.as_bytes()), false);
    let expected = plain(TEXT, text.as_bytes());
    client.until(|all| all.message(stream).body.len() >= before + expected.len() || all.message(stream).is_over());
    let body = client.message(stream).body;
    assert_eq!(&body[before..], expected, "{client:?}");
}

/// An upstream of HTTP/2 that repeats a client's frames unmasked, and notes what it was asked with.
fn repeater_of_streams(values: &'static [(u16, u32)]) -> (Upstream, Arc<Mutex<String>>) {
    let asked = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&asked);
    let upstream = Upstream::scripted(move |conn| {
        let stream = conn.wire.stream().try_clone().unwrap();
        let Some(mut server) = Http2::server(stream, values) else { return };
        if !server.until(|all| !all.messages.is_empty()) {
            return;
        }
        let stream = *server.messages.keys().next().unwrap();
        let asked = format!("{:?}", server.message(stream).blocks[0]);
        let chat = [(":status", "200"), ("sec-websocket-protocol", "chat")];
        let fields = if asked.contains("chat") { &chat[..] } else { &chat[..1] };
        *seen.lock().unwrap() = asked;
        server.head(stream, fields, false);
        let mut used = 0;
        loop {
            let frame = |all: &Http2| {
                let body = all.message(stream).body;
                let length = 6 + usize::from(*body.get(used + 1)? & 0x7f);
                body.get(used..used + length).map(<[u8]>::to_vec)
            };
            if !server.until(|all| frame(all).is_some() || all.message(stream).is_over()) {
                return;
            }
            let Some(bytes) = frame(&server) else {
                server.data(stream, "", true);
                return server.rest();
            };
            used += bytes.len();
            let (mask, payload) = bytes[2..].split_at(4);
            let text: Vec<u8> = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
            server.data(stream, plain(bytes[0] & 0x0f, &text), false);
        }
    });
    (upstream, asked)
}

fn over_http2(upstream: &Upstream) -> Proxyd {
    Proxyd::start(&format!(
        "upstreams:\n  up: {{endpoints: ['http://{}'], protocol: http2}}\nroutes:\n  - {{name: all, path: /, upstream: up}}\n",
        upstream.address()
    ))
}

#[test]
fn a_stream_becomes_a_tunnel_to_an_upstream_of_http1() {
    let upstream = repeater();
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut client = Http2::connect(proxyd.address());
    let answer = tunnel(&mut client, 1, "websocket", "/socket?room=1");
    assert_eq!(answer.status(), 200, "RFC 8441 section 5: {answer:?}");
    for gone in ["sec-websocket-accept", "connection", "upgrade", "transfer-encoding", "content-length"] {
        assert_eq!(answer.header(gone), None, "{answer:?}");
    }
    echoes(&mut client, 1, "one");
    // Beside other streams, and other tunnels.
    assert_eq!(tunnel(&mut client, 3, "websocket", "/other").status(), 200);
    echoes(&mut client, 3, "two");
    echoes(&mut client, 1, "three");
    client.data(1, masked(CLOSE, &1000_u16.to_be_bytes()), true);
    let message = client.whole(1);
    assert!(message.ended && message.body.ends_with(&plain(CLOSE, &1000_u16.to_be_bytes())), "{message:?}");
    client.send(reset(3, code::CANCEL));
    eventually("the upstream's sides end too", || (upstream.closed() == 2).then_some(()));
    let rows = proxyd.audit(&json!({"path": "/socket"}), 1);
    assert_eq!((rows[0]["status"].as_u64(), rows[0]["protocol"].as_str()), (Some(101), Some("HTTP/2")), "{}", rows[0]);
    assert_eq!((rows[0]["bytes_in"].as_u64(), rows[0]["bytes_out"].as_u64()), (Some(28), Some(16)), "{}", rows[0]);
    proxyd.audit(&json!({"path": "/other"}), 1);
    eventually("no tunnel is counted any more", || (proxyd.metric("proxyd_tunnels", &[]) < 0.5).then_some(()));
}

#[test]
fn a_stream_becomes_a_tunnel_to_an_upstream_of_http2() {
    let (upstream, asked) = repeater_of_streams(&[(setting::ENABLE_CONNECT_PROTOCOL, 1)]);
    let proxyd = over_http2(&upstream);
    let mut client = Http2::connect(proxyd.address());
    let answer = tunnel(&mut client, 1, "websocket", "/socket");
    assert_eq!((answer.status(), answer.header("sec-websocket-protocol")), (200, Some("chat")), "{answer:?}");
    let asked = asked.lock().unwrap().clone();
    for part in [
        "(\":method\", \"CONNECT\")",
        "(\":protocol\", \"websocket\")",
        "(\":path\", \"/socket\")",
        "(\"sec-websocket-version\", \"13\")",
    ] {
        assert!(asked.contains(part), "{part}: {asked}");
    }
    for part in ["sec-websocket-key", "\"connection\"", "\"upgrade\"", "\"host\""] {
        assert!(!asked.contains(part), "{part}: {asked}");
    }
    echoes(&mut client, 1, "one");
    echoes(&mut client, 1, "two");
    client.data(1, "", true);
    assert!(client.whole(1).ended);
    let rows = proxyd.audit(&json!({"path": "/socket"}), 1);
    assert_eq!((rows[0]["bytes_in"].as_u64(), rows[0]["bytes_out"].as_u64()), (Some(18), Some(10)), "{}", rows[0]);
}

#[test]
fn a_client_of_http1_reaches_an_upstream_of_http2() {
    let (upstream, asked) = repeater_of_streams(&[(setting::ENABLE_CONNECT_PROTOCOL, 1)]);
    let proxyd = over_http2(&upstream);
    // The client looks at `Sec-WebSocket-Accept` by itself (RFC 6455 section 4.1).
    let mut socket = open(&proxyd);
    for text in ["one", "two"] {
        repeats(&mut socket, text);
    }
    let asked = asked.lock().unwrap().clone();
    assert!(asked.contains("(\":protocol\", \"websocket\")") && !asked.contains("sec-websocket-key"), "{asked}");
}

#[test]
fn an_upstream_that_takes_no_tunnels_is_asked_for_none() {
    // RFC 8441 section 3.
    let (upstream, asked) = repeater_of_streams(&[]);
    let proxyd = over_http2(&upstream);
    let mut client = Http2::connect(proxyd.address());
    let answer = tunnel(&mut client, 1, "websocket", "/");
    assert_eq!(answer.status(), 502, "{answer:?}");
    assert_eq!(*asked.lock().unwrap(), "");
}

#[test]
fn a_tunnel_over_tls() {
    let (home, ..) = home();
    let upstream = repeater();
    let proxyd = serve(&home, &certificates(&["default"]), &forward_all(upstream.address()));
    let secure = Client::new(&["http/1.1"]).connect(proxyd.address(), "default.test").unwrap();
    secure.plain.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut socket = client("ws://default.test/socket", secure.plain).expect("an upgrade").0;
    repeats(&mut socket, "one");
    let large = vec![7_u8; 1 << 20];
    socket.send(Text::binary(large.clone())).unwrap();
    assert_eq!(socket.read().unwrap(), Text::binary(large));
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    let secure = Client::new(&["h2"]).connect(proxyd.address(), "default.test").unwrap();
    let mut client = Http2::client(secure.plain);
    assert_eq!(tunnel(&mut client, 1, "websocket", "/socket").status(), 200);
    echoes(&mut client, 1, "two");
    let rows = proxyd.audit(&json!({"path": "/socket"}), 1);
    assert_eq!(rows[0]["scheme"], "https", "{}", rows[0]);
}

#[test]
fn what_an_upstream_refuses_is_no_tunnel() {
    let answers = [
        ("/403", "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", 403),
        ("/200", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", 200),
        // Whoever has not read the key is no WebSocket server (RFC 6455 section 4.1).
        (
            "/wrong",
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
            502,
        ),
        ("/none", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 502),
    ];
    let upstream = Upstream::scripted(move |conn| {
        while let Some(request) = conn.request_head() {
            let found = answers.iter().find(|(path, ..)| request.target == *path);
            conn.send(found.map_or("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", |(_, answer, _)| answer));
        }
    });
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut client = Http2::connect(proxyd.address());
    for (number, (path, _, status)) in answers.iter().enumerate() {
        let stream = 4 * number as u32 + 1;
        let answer = tunnel(&mut client, stream, "websocket", path);
        assert_eq!(answer.status(), *status, "{path}: {answer:?}");
        // What comes on it is nobody's, and above all no request.
        client.data(stream, b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n", false);
        let over = client.until(|all| all.message(stream).is_over());
        assert!(over && (*status == 502 || client.message(stream).text() == "no"), "{path}: {client:?}");
        assert_eq!(client.get(stream + 2, "/next").text(), "ok", "{path}");
    }
    let heads = upstream.heads();
    assert!(!heads.iter().any(|head| head.contains("smuggled")), "{heads:?}");
    assert!(
        heads.iter().filter(|head| head.contains("Sec-WebSocket-Key") || head.contains("sec-websocket-key")).count()
            == 4
    );
}

#[test]
fn protocols_that_are_none_are_refused() {
    let upstream = Upstream::echo();
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    for protocol in ["", "websocket, h2c", "h2c", "a b", "web\r\nsocket", "x: y"] {
        let mut client = Http2::connect(proxyd.address());
        let answer = tunnel(&mut client, 1, protocol, "/");
        let refused = (400..600).contains(&answer.status()) || answer.reset.is_some() || client.closed;
        assert!(refused, "{protocol:?}: {answer:?}");
    }
    for head in upstream.heads() {
        let head = head.to_ascii_lowercase();
        assert!(!head.contains("upgrade") && !head.contains("socket"), "{head}");
    }
}

#[test]
fn a_tunnel_that_breaks_is_no_tunnel_that_ended() {
    // RFC 8441 section 5: a reset of the connection is a reset of the stream, and the other way round.
    let upstream = Upstream::scripted(|conn| {
        let Some(request) = conn.request_head() else { return };
        let key = request.headers.get("sec-websocket-key").unwrap().to_owned();
        let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
        conn.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        ));
        if request.target == "/breaks" {
            conn.wire.exactly(8);
            conn.wire.reset_on_close();
        } else {
            conn.wire.rest();
        }
    });
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut client = Http2::connect(proxyd.address());
    assert_eq!(tunnel(&mut client, 1, "websocket", "/breaks").status(), 200);
    client.data(1, masked(TEXT, b"hi"), false);
    let message = client.whole(1);
    assert!(message.reset.is_some() && !message.ended, "{message:?}");
    let rows = proxyd.audit(&json!({"path": "/breaks"}), 1);
    assert_eq!(rows[0]["outcome"], "tunnel_broken", "{}", rows[0]);
    assert_eq!(tunnel(&mut client, 3, "websocket", "/waits").status(), 200);
    client.send(reset(3, code::CANCEL));
    eventually("the upstream's side ends", || (upstream.closed() == 2).then_some(()));
}

#[test]
fn much_passes_through_a_tunnel_on_a_stream() {
    // As a raw protocol: what passes is nobody's affair but that of the two sides.
    let upstream = Upstream::scripted(|conn| {
        conn.request_head();
        conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n");
        loop {
            let some = conn.wire.some();
            if some.is_empty() || !conn.send(&some) {
                return;
            }
        }
    });
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut client = Http2::connect(proxyd.address());
    assert_eq!(tunnel(&mut client, 1, "raw", "/raw").status(), 200);
    let sent: Vec<u8> = (0..1_000_000).map(|at| (at % 251) as u8).collect();
    for (number, piece) in sent.chunks(10_000).enumerate() {
        let until = (number as i64 + 1) * 10_000;
        client.until(|all| 65_535 + all.given.get(&1).copied().unwrap_or(0) >= until && all.room >= 10_000);
        client.data(1, piece, false);
    }
    client.data(1, "", true);
    let message = client.whole(1);
    assert!(message.ended && message.body == sent, "{} bytes", message.body.len());
    let rows = proxyd.audit(&json!({"path": "/raw"}), 1);
    assert_eq!(
        (rows[0]["bytes_in"].as_u64(), rows[0]["bytes_out"].as_u64()),
        (Some(1_000_000), Some(1_000_000)),
        "{}",
        rows[0]
    );
}
