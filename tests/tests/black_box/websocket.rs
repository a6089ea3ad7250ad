//! Upgrades: WebSocket through the proxy as browsers and servers speak it (RFC 6455), and upgrades that are refused.

use std::net::TcpStream;

use tests::config::forward_all;
use tests::{PATIENCE, Proxyd, Request, Upstream, Wire, eventually};
use tungstenite::protocol::WebSocket;
use tungstenite::{Message, accept, client};

/// A WebSocket server that repeats every message.
pub(crate) fn repeater() -> Upstream {
    Upstream::scripted(|conn| {
        let stream = conn.wire.stream().try_clone().expect("a socket can be shared");
        let Ok(mut socket) = accept(stream) else { return };
        while let Ok(message) = socket.read() {
            if (message.is_text() || message.is_binary()) && socket.send(message).is_err() {
                return;
            }
        }
    })
}

pub(crate) fn open(proxyd: &Proxyd) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(proxyd.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    client(format!("ws://{}/socket?room=1", proxyd.address()), stream).expect("an upgrade").0
}

pub(crate) fn repeats(socket: &mut WebSocket<TcpStream>, text: &str) {
    socket.send(Message::text(text)).expect("the tunnel takes it");
    assert_eq!(socket.read().expect("the tunnel gives it back"), Message::text(text));
}

#[test]
fn messages_pass_both_ways() {
    let upstream = repeater();
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut socket = open(&proxyd);
    for number in 0..50 {
        repeats(&mut socket, &format!("message {number}"));
    }
    let large = vec![7_u8; 1 << 20];
    socket.send(Message::binary(large.clone())).unwrap();
    assert_eq!(socket.read().unwrap(), Message::binary(large));
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    drop(socket);
    eventually("the upstream's side ends too", || (upstream.closed() == 1).then_some(()));
    let rows = proxyd.audit(&serde_json::json!({"path": "/socket"}), 1);
    assert_eq!(rows[0]["status"], 101);
    assert!(rows[0]["bytes_in"].as_u64() > Some(1 << 20), "{}", rows[0]);
}

#[test]
fn bytes_sent_along_with_the_upgrade_are_not_lost() {
    let upstream = Upstream::scripted(|conn| {
        conn.request_head();
        conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nserver first;");
        let early = conn.wire.exactly("client first".len());
        conn.send(early);
    });
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut wire = Wire::connect(proxyd.address());
    wire.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nclient first");
    let head = wire.head().expect("an answer");
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(head.to_ascii_lowercase().contains("upgrade: echo"), "{head}");
    assert_eq!(String::from_utf8_lossy(&wire.rest()), "server first;client first");
}

#[test]
fn half_a_tunnel_may_close() {
    let upstream = Upstream::scripted(|conn| {
        conn.request_head();
        conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n");
        let all = conn.wire.rest();
        conn.send(format!("got {} bytes", all.len()));
    });
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut wire = Wire::connect(proxyd.address());
    wire.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n");
    wire.head().expect("an answer");
    wire.send("12345");
    wire.finish_sending();
    assert_eq!(String::from_utf8_lossy(&wire.rest()), "got 5 bytes");
}

#[test]
fn an_upgrade_that_is_refused_is_the_last_answer() {
    let upstream = Upstream::scripted(|conn| {
        while conn.request().is_some() {
            conn.answer(403, &[], b"no tunnels here");
        }
    });
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut wire = Wire::connect(proxyd.address());
    let upgrade = Request::get("/").header("Connection", "Upgrade").header("Upgrade", "websocket");
    let response = upgrade.send_on(&mut wire);
    assert_eq!((response.status, response.text().as_str()), (403, "no tunnels here"));
    // What the client sent ahead may be of the other protocol: none of it may be taken for a request.
    assert_eq!(response.header("connection"), Some("close"));
    assert!(wire.rest().is_empty());
}

#[test]
fn a_tunnel_that_nobody_asked_for_is_refused() {
    let upstream =
        Upstream::once("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: surprise\r\n\r\n");
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    assert_eq!(proxyd.get("/").status, 502);
}
