//! Times, phase by phase: each runs out by itself, with a code of its own.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::sys::socket::{Backlog, listen};
use serde_json::json;
use tests::config::forward_all;
use tests::{Home, PATIENCE, Proxyd, Request, Start, Upstream, Wire, eventually};

use super::{one_worker, row, users};

/// An address where connections are not accepted and not refused: as many wait as may.
pub(super) struct Deaf {
    listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl Deaf {
    pub(super) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        listen(&listener.as_fd(), Backlog::new(0).expect("a length")).expect("a shorter queue");
        let address = listener.local_addr().expect("an address");
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok();
        let waiting = std::iter::from_fn(connect).take(10).collect();
        Self { listener, _waiting: waiting }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("an address")
    }
}

/// Sends a request and tells how it was answered, and the row.
#[track_caller]
fn late(proxyd: &Proxyd, request: &Request, code: &str) {
    let began = Instant::now();
    let answer = request.send(proxyd.address());
    assert_eq!((answer.status, answer.error_code().as_str()), (504, code), "{request:?}");
    assert!(began.elapsed() < PATIENCE / 2, "{code} after {:?}", began.elapsed());
    let rows = proxyd.audit(&json!({ "outcome": code }), 1);
    assert_eq!((&rows[0]["outcome"], &rows[0]["status"]), (&json!(code), &json!(504)));
    assert!(proxyd.metric("proxyd_rejections_total", &[&format!("code=\"{code}\"")]) >= 1.0);
}

/// Takes everything and says nothing.
fn silent() -> Upstream {
    Upstream::scripted(|conn| drop(conn.wire.rest()))
}

#[test]
fn a_connection_takes_too_long() {
    let deaf = Deaf::new();
    let url = format!("http://{}", deaf.address());
    let proxyd = Proxyd::start(&users(std::slice::from_ref(&url), "timeouts: {connect: 100ms}"));
    late(&proxyd, &Request::get("/"), "upstream_connect_timeout");
    assert_eq!(super::endpoint(&proxyd, 0)["failures"], 1);
    // A route's own time.
    let yaml = users(&[url], "timeouts: {connect: 1m}");
    let yaml = yaml.replace("upstream: users}", "upstream: users, timeouts: {connect: 100ms}}");
    late(&Proxyd::start(&yaml), &Request::get("/"), "upstream_connect_timeout");
}

#[test]
fn a_handshake_takes_too_long() {
    let silent = silent();
    let home = Home::default();
    home.write("ca.pem", tests::tls::Authority::new("ours").pem());
    let url = silent.url().replace("http:", "https:");
    let yaml = |upstream: &str, route: &str| {
        format!(
            "upstreams: {{users: {{endpoints: ['{url}'], tls: {{ca: ca.pem}}, timeouts: {{{upstream}}}}}}}\n\
             routes: [{{name: all, path: /, upstream: users, timeouts: {{{route}}}}}]\n"
        )
    };
    // The connection is there at once: its own time does not count.
    let proxyd = Start::in_home(&home, &yaml("connect: 1m, tls: 100ms", "")).run();
    late(&proxyd, &Request::get("/"), "upstream_tls_timeout");
    proxyd.reload_with(&yaml("connect: 1m, tls: 1m", "tls: 100ms"));
    late(&proxyd, &Request::get("/route"), "upstream_tls_timeout");
}

#[test]
fn an_endpoint_takes_nothing() {
    // More than the buffers of both sides hold.
    const LARGE: usize = 64 << 20;
    let stuck = Upstream::scripted(|conn| {
        conn.request_head();
        std::thread::sleep(PATIENCE);
    });
    let yaml = users(&[stuck.url()], "timeouts: {write: 200ms, response_headers: 1m}");
    let proxyd = Proxyd::start(&format!("body_limit: off\n{yaml}"));
    let mut wire = Wire::connect(proxyd.address());
    wire.send(format!("PUT /large HTTP/1.1\r\nHost: h\r\nContent-Length: {LARGE}\r\n\r\n"));
    let mut sends = Wire::over(wire.stream().try_clone().unwrap());
    let sending = std::thread::spawn(move || {
        let piece = vec![7; 1 << 20];
        for _ in 0..LARGE >> 20 {
            if !sends.try_send(&piece) {
                return;
            }
        }
    });
    let answer = wire.response("PUT");
    assert_eq!((answer.status, answer.error_code().as_str()), (504, "upstream_write_timeout"));
    drop(wire);
    sending.join().unwrap();
    assert_eq!(row(&proxyd, "/large")["outcome"], "upstream_write_timeout");
}

#[test]
fn a_slow_client_is_not_the_endpoint_s_fault() {
    // Nothing is there to be sent: the time to write has not begun.
    let good = Upstream::saying("good");
    let more = "timeouts: {write: 100ms, response_headers: 100ms}";
    let proxyd = Proxyd::start(&users(&[good.url()], more));
    let mut wire = Wire::connect(proxyd.address());
    wire.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nfirst");
    std::thread::sleep(Duration::from_millis(300));
    wire.send(" last");
    assert_eq!(wire.response("PUT").text(), "good");
}

#[test]
fn an_answer_does_not_begin() {
    let silent = silent();
    let proxyd = Proxyd::start(&users(&[silent.url()], "timeouts: {response_headers: 100ms}"));
    late(&proxyd, &Request::get("/get"), "upstream_timeout");
    late(&proxyd, &Request::post("/post", "body"), "upstream_timeout");
    // An interim answer is not the answer.
    let interim = Upstream::scripted(|conn| {
        conn.request();
        conn.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        conn.wire.rest();
    });
    proxyd.reload_with(&users(&[interim.url()], "timeouts: {response_headers: 100ms}"));
    late(&proxyd, &Request::get("/interim"), "upstream_timeout");
    let yaml = users(&[silent.url()], "timeouts: {response_headers: 1m}");
    proxyd.reload_with(&yaml.replace("upstream: users}", "upstream: users, timeouts: {response_headers: 100ms}}"));
    late(&proxyd, &Request::get("/route"), "upstream_timeout");
}

#[test]
fn a_stream_s_answer_does_not_begin() {
    let silent = Upstream::scripted(|conn| {
        let stream = conn.wire.stream().try_clone().expect("a socket can be shared");
        if let Some(mut server) = tests::Http2::server(stream, &[]) {
            server.rest();
        }
    });
    let proxyd =
        Proxyd::start(&users(&[silent.url()], "protocol: http2, timeouts: {response_headers: 100ms, total: 1m}"));
    late(&proxyd, &Request::get("/"), "upstream_timeout");
    proxyd.reload_with(&users(&[silent.url()], "protocol: http2, timeouts: {response_headers: 1m, total: 100ms}"));
    late(&proxyd, &Request::get("/"), "total_timeout");
}

#[test]
fn a_body_stops_in_the_middle() {
    let stops = Upstream::scripted(|conn| {
        while conn.request().is_some() {
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
            conn.wire.rest();
        }
    });
    for (number, times) in ["idle: 100ms", "idle: 1m, total: 200ms"].into_iter().enumerate() {
        let proxyd = Proxyd::start(&users(&[stops.url()], &format!("timeouts: {{{times}}}")));
        let path = format!("/{number}");
        let answer = proxyd.get(&path);
        assert_eq!((answer.status, answer.text().as_str(), answer.whole), (200, "half", false), "{times}");
        let row = row(&proxyd, &path);
        assert_ne!(row["outcome"], "served", "{row:#}");
        assert_eq!(row["status"], 200);
        eventually("nothing is under way", || (super::endpoint(&proxyd, 0)["in_flight"] == 0).then_some(()));
    }
}

#[test]
fn the_whole_takes_too_long() {
    let (silent, deaf) = (silent(), Deaf::new());
    for url in [silent.url(), format!("http://{}", deaf.address())] {
        let more = "timeouts: {connect: 1m, response_headers: 1m, total: 150ms}";
        late(&Proxyd::start(&users(std::slice::from_ref(&url), more)), &Request::get("/"), "total_timeout");
        let yaml = users(&[url], "timeouts: {connect: 1m, response_headers: 1m, total: 1m}");
        let yaml = yaml.replace("upstream: users}", "upstream: users, timeouts: {total: 150ms}}");
        late(&Proxyd::start(&yaml), &Request::get("/"), "total_timeout");
    }
    // The route takes it away again.
    let slow = Upstream::scripted(|conn| {
        while conn.request().is_some() {
            std::thread::sleep(Duration::from_millis(200));
            conn.answer(200, &[], b"late");
        }
    });
    let yaml = users(&[slow.url()], "timeouts: {total: 50ms}");
    let proxyd = one_worker(&yaml.replace("upstream: users}", "upstream: users, timeouts: {total: off}}"));
    assert_eq!(proxyd.get("/").text(), "late");
}

#[test]
fn an_endpoint_that_is_gone_is_told_at_once() {
    let proxyd = Proxyd::start(&forward_all(tests::upstream::nobody()));
    let answer = proxyd.get("/gone");
    assert_eq!((answer.status, answer.error_code().as_str()), (502, "upstream_connect"));
    assert_eq!(row(&proxyd, "/gone")["attempts"], 1);
}
