//! Bounds on what one client may take: connections of an address, time without reading.

use serde_json::json;
use tests::http2::get_fields;
use tests::{Http2, PATIENCE, Proxyd, Request, Upstream, Wire, eventually};

#[test]
fn one_address_has_so_many_connections() {
    let upstream = Upstream::saying("ok");
    let yaml = format!(
        "server: {{limits: {{connections_per_address: 3}}}}\n{}",
        tests::config::forward_all(upstream.address())
    );
    let proxyd = Proxyd::start(&yaml);
    let mut held: Vec<Wire> = (0..3).map(|_| Wire::connect(proxyd.address())).collect();
    for wire in &mut held {
        assert_eq!(Request::get("/").send_on(wire).text(), "ok");
    }
    let mut fourth = Wire::connect(proxyd.address());
    assert!(fourth.closes_within(PATIENCE), "closed without a word");
    assert_eq!(
        proxyd.metric("proxyd_connections_refused_total", &["reason=\"address_limit\""]).to_bits(),
        1_f64.to_bits()
    );
    held.pop();
    eventually("there is room again", || {
        let mut wire = Wire::connect(proxyd.address());
        wire.try_send(Request::get("/").bytes());
        wire.try_response("GET").filter(|response| response.text() == "ok")
    });
}

/// What becomes of a client that asks for this and reads nothing.
fn taken_by_nobody(proxyd: &Proxyd, path: &str) -> String {
    let mut wire = Wire::connect(proxyd.address());
    wire.send(Request::get(path).bytes());
    let rows = proxyd.audit(&json!({"path": path}), 1);
    rows[0]["outcome"].as_str().unwrap().to_owned()
}

/// More than the kernel holds: with its length, or in chunks.
fn endless() -> (Upstream, Proxyd) {
    let upstream = Upstream::scripted(|conn| {
        while let Some(request) = conn.request() {
            if request.target != "/chunks" {
                conn.answer(200, &[], &vec![b'x'; 30_000_000]);
                continue;
            }
            conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            for _ in 0..300 {
                conn.send([b"186a0\r\n", &*vec![b'x'; 100_000], b"\r\n"].concat());
            }
            conn.send("0\r\n\r\n");
        }
    });
    let yaml = format!("server: {{timeouts: {{write: 300ms}}}}\n{}", tests::config::forward_all(upstream.address()));
    let proxyd = Proxyd::start(&yaml);
    (upstream, proxyd)
}

#[test]
fn who_takes_nothing_is_given_up() {
    let (_upstream, proxyd) = endless();
    assert_eq!(taken_by_nobody(&proxyd, "/chunks"), "write_timeout");
    // From socket to socket.
    assert_eq!(taken_by_nobody(&proxyd, "/length"), "write_timeout");
    // HTTP/2: the window is never opened. The connection goes on.
    let mut client = Http2::connect(proxyd.address());
    client.gives_room = false;
    client.head(1, &get_fields("/two"), true);
    let message = client.whole(1);
    assert_eq!(message.reset, Some(tests::http2::code::CANCEL), "{:?}", message.reset);
    let rows = proxyd.audit(&json!({"path": "/two"}), 1);
    assert_ne!(rows[0]["outcome"], "served", "{}", rows[0]);
    assert!(client.goaways.is_empty());
}
