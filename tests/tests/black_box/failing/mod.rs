//! Upstreams that fail: what is hidden from clients, and what they are told honestly (docs/reference/upstreams.md).

mod balance;
mod breaker;
mod ejection;
mod fallback;
mod faults;
mod in_flight;
mod mirror;
mod probes;
mod registry;
mod reports;
mod resolve;
mod resolve_services;
mod retries;
mod retries_safe;
mod sticky;
mod timeouts;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use serde_json::{Value, json};
use tests::{Proxyd, Request, Start, Upstream, Wire, eventually};

/// The upstream `users` of these endpoints, with these further keys.
pub(super) fn upstream(name: &str, endpoints: &[String], more: &str) -> String {
    let comma = if more.is_empty() { "" } else { ", " };
    format!("  {name}: {{endpoints: [{}]{comma}{more}}}\n", endpoints.join(", "))
}

/// Endpoints are asked often whether they are well; a machine that is busy for a moment makes none unwell.
pub(super) const PROBED: &str = "probe: {path: /health, interval: 250ms, timeout: 250ms, down_interval: 20ms, jitter: 0%, \
                                 expect: 200, unhealthy_after: 2, healthy_after: 1}";

/// Everything to the upstream `users` of these endpoints, with these further keys.
pub(super) fn users(endpoints: &[String], more: &str) -> String {
    format!("upstreams:\n{}routes:\n  - {{name: all, path: /, upstream: users}}\n", upstream("users", endpoints, more))
}

/// One worker alone: what happens in turn happens in one turn.
pub(super) fn one_worker(yaml: &str) -> Proxyd {
    Start::new(yaml).set("server.workers", "1").run()
}

/// Endpoints that answer with a letter each: a, b, c.
pub(super) fn letters(count: u8) -> (Vec<Upstream>, Vec<String>) {
    let upstreams: Vec<Upstream> =
        (0..count).map(|number| Upstream::saying(&char::from(b'a' + number).to_string())).collect();
    let urls = upstreams.iter().map(Upstream::url).collect();
    (upstreams, urls)
}

/// What so many requests are answered, one after the other on one connection.
pub(super) fn said(proxyd: &Proxyd, target: &str, count: usize) -> String {
    let mut wire = Wire::connect(proxyd.address());
    (0..count).map(|_| Request::get(target).send_on(&mut wire).text()).collect()
}

/// How often a letter stands in what was said.
pub(super) fn count(said: &str, letter: char) -> usize {
    said.chars().filter(|one| *one == letter).count()
}

/// What `proxyctl upstreams` says of an upstream.
pub(super) fn told(proxyd: &Proxyd, name: &str) -> Value {
    let lines = proxyd.stream("upstreams", &json!({ "name": name }));
    lines.into_iter().find(|line| line["name"] == name).unwrap_or_else(|| panic!("no upstream {name}"))
}

/// What it says of the endpoint at this place of `users`.
pub(super) fn endpoint(proxyd: &Proxyd, place: usize) -> Value {
    told(proxyd, "users")["endpoints"][place].clone()
}

/// Waits until that endpoint is in this state.
#[track_caller]
pub(super) fn becomes(proxyd: &Proxyd, place: usize, state: &str) -> Value {
    eventually(&format!("endpoint {place} is {state}"), || {
        Some(endpoint(proxyd, place)).filter(|endpoint| endpoint["state"] == state)
    })
}

/// The audit row of the request of this path.
#[track_caller]
pub(super) fn row(proxyd: &Proxyd, path: &str) -> Value {
    proxyd.audit(&json!({ "path": path }), 1).remove(0)
}

/// A door that scripts wait at until a test opens it.
#[derive(Clone, Default)]
pub(super) struct Door(Arc<AtomicBool>);

impl Door {
    pub(super) fn open(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Waits until it is open.
    pub(super) fn pass(&self) {
        eventually("the door is opened", || self.0.load(Ordering::SeqCst).then_some(()));
    }
}

/// An endpoint that says a letter with a status that a test may change.
pub(super) struct Moody {
    pub(super) upstream: Upstream,
    status: Arc<AtomicU16>,
}

impl Moody {
    pub(super) fn new(letter: &'static str) -> Self {
        let status = Arc::new(AtomicU16::new(200));
        let told = Arc::clone(&status);
        let upstream = Upstream::scripted(move |conn| {
            while conn.request().is_some() {
                conn.answer(told.load(Ordering::SeqCst), &[], letter.as_bytes());
            }
        });
        Self { upstream, status }
    }

    pub(super) fn says(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }
}

/// An endpoint whose answers begin at once and end when the door is opened; other paths than `/hold` are answered whole.
pub(super) fn holding(letter: &'static str, door: &Door) -> Upstream {
    let door = door.clone();
    Upstream::scripted(move |conn| {
        while let Some(request) = conn.request() {
            if request.target.starts_with("/hold") {
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
                conn.send(letter);
                door.pass();
                if !conn.send(".") {
                    return;
                }
            } else {
                conn.answer(200, &[], letter.as_bytes());
            }
        }
    })
}

/// A request for `/hold`, of which the answer has begun: the connection, and the letter that came.
#[track_caller]
pub(super) fn hold(proxyd: &Proxyd) -> (Wire, String) {
    let mut wire = Wire::connect(proxyd.address());
    wire.send(Request::get("/hold").bytes());
    let head = wire.head().expect("an answer begins");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let letter = String::from_utf8_lossy(&wire.exactly(1)).into_owned();
    (wire, letter)
}
