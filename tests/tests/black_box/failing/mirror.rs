//! Copies for a shadow: the same request, and no trace of it for the client.

use std::sync::{Arc, Mutex};

use serde_json::json;
use tests::upstream::Incoming;
use tests::{Http2, Proxyd, Request, Upstream, Wire, eventually};

use super::retries::{gone, resets};
use super::{Door, one_worker, upstream};

type Taken = Arc<Mutex<Vec<Incoming>>>;

/// A shadow that answers with 500, once the door is open; and what it was sent.
fn shadow(door: &Door) -> (Upstream, Taken) {
    let (taken, door) = (Taken::default(), door.clone());
    let list = Arc::clone(&taken);
    let upstream = Upstream::scripted(move |conn| {
        while let Some(request) = conn.request() {
            list.lock().unwrap().push(request);
            door.pass();
            conn.answer(500, &[("X-Shadow", "1")], b"shadow");
        }
    });
    (upstream, taken)
}

fn yaml(endpoints: &[String], more: &str, shadow: &str, mirror: &str) -> String {
    format!(
        "upstreams:\n{}{}routes: [{{name: all, path: /, upstream: users, mirror: {{upstream: shadow{mirror}}}}}]\n",
        upstream("users", endpoints, more),
        upstream("shadow", &[shadow.to_owned()], ""),
    )
}

fn open() -> Door {
    let door = Door::default();
    door.open();
    door
}

#[track_caller]
fn mirrored(proxyd: &Proxyd, outcome: &str, count: f64) {
    eventually(&format!("{count} {outcome}"), || {
        let label = format!("outcome=\"{outcome}\"");
        (proxyd.metric("proxyd_mirrored_total", &[&label]) - count >= -0.1).then_some(())
    });
}

#[test]
fn copies_are_the_same_to_the_last_byte() {
    let (good, (shadow, taken)) = (Upstream::echo(), shadow(&open()));
    let proxyd = one_worker(&yaml(&[good.url()], "", &shadow.url(), ""));
    let body: Vec<u8> = (0..50_000).map(|at| (at % 253) as u8).collect();
    let requests = [
        Request::get("/get?q=1").header("X-Own", "a"),
        Request::new("HEAD", "/head"),
        Request::post("/post", body.clone()),
        Request::new("DELETE", "/delete"),
    ];
    for request in &requests {
        let answer = request.send(proxyd.address());
        assert_eq!((answer.status, answer.header("x-shadow")), (200, None));
    }
    mirrored(&proxyd, "sent", 4.0);
    let mut taken = taken.lock().unwrap().clone();
    taken.sort_by_key(|one| good.heads().iter().position(|head| head.lines().next() == one.head.lines().next()));
    for (copy, original) in taken.iter().zip(good.heads()) {
        let sorted = |head: &str| {
            let mut lines: Vec<_> = head.lines().map(str::to_ascii_lowercase).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&copy.head), sorted(&original));
    }
    let post = taken.iter().find(|one| one.method == "POST").expect("the POST");
    assert!(post.whole && post.body == body);
    // From a client of HTTP/2, in pieces.
    let mut client = Http2::connect(proxyd.address());
    client.head(1, &tests::http2::post_fields("/h2"), false);
    client.data(1, "one,", false);
    client.data(1, "two", true);
    assert_eq!(client.whole(1).status(), 200);
    mirrored(&proxyd, "sent", 5.0);
    // And chunked.
    let mut wire = Wire::connect(proxyd.address());
    wire.send("POST /chunked HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    assert_eq!(wire.response("POST").status, 200);
    mirrored(&proxyd, "sent", 6.0);
}

#[test]
fn a_shadow_that_stalls_or_fails_is_not_noticed() {
    let (good, closed) = (Upstream::saying("good"), Door::default());
    let (stalls, taken) = shadow(&closed);
    let proxyd = one_worker(&yaml(&[good.url()], "", &stalls.url(), ", in_flight: 3"));
    let mut wire = Wire::connect(proxyd.address());
    for number in 0..10 {
        assert_eq!(Request::post("/", format!("{number}")).send_on(&mut wire).text(), "good");
    }
    // No more than so many at once.
    mirrored(&proxyd, "skipped_busy", 7.0);
    eventually("the copies are there", || (taken.lock().unwrap().len() == 3).then_some(()));
    closed.open();
    mirrored(&proxyd, "sent", 3.0);
    for bad in [gone(), resets().url()] {
        let proxyd = one_worker(&yaml(&[good.url()], "", &bad, ""));
        for _ in 0..3 {
            assert_eq!(proxyd.get("/").text(), "good");
        }
        mirrored(&proxyd, "failed", 3.0);
        let rows = proxyd.audit(&json!({ "path": "/" }), 3);
        assert!(rows.iter().all(|row| row["outcome"] == "served" && row["attempts"] == 1), "{rows:#?}");
        assert_eq!(rows.len(), 3, "copies leave no row");
    }
}

#[test]
fn one_copy_for_each_request_however_often_it_is_sent() {
    let (bad, good, (shadow, taken)) = (resets(), Upstream::saying("good"), shadow(&open()));
    let proxyd = one_worker(&yaml(&[bad.url(), good.url()], "retry: {}", &shadow.url(), ""));
    for number in 0..4 {
        let put = Request::new("PUT", "/").body(format!("body {number}")).send(proxyd.address());
        assert_eq!(put.text(), "good");
    }
    mirrored(&proxyd, "sent", 4.0);
    let mut bodies: Vec<_> =
        taken.lock().unwrap().iter().map(|one| String::from_utf8(one.body.clone()).unwrap()).collect();
    bodies.sort();
    assert_eq!(bodies, ["body 0", "body 1", "body 2", "body 3"]);
}

#[test]
fn large_bodies_tunnels_and_other_shares_are_not_copied() {
    let (good, (shadow, taken)) = (Upstream::echo(), shadow(&open()));
    let proxyd = one_worker(&yaml(&[good.url()], "", &shadow.url(), ", body: 10B"));
    assert_eq!(Request::post("/", "x".repeat(11)).send(proxyd.address()).json()["body_bytes"], 11);
    let mut wire = Wire::connect(proxyd.address());
    // Of unknown length, and longer than is kept.
    wire.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n12345678901\r\n0\r\n\r\n");
    assert_eq!(wire.response("POST").json()["body_bytes"], 11);
    mirrored(&proxyd, "skipped_body", 2.0);
    assert_eq!(Request::post("/", "x".repeat(10)).send(proxyd.address()).json()["body_bytes"], 10);
    mirrored(&proxyd, "sent", 1.0);
    proxyd.reload_with(&yaml(&[good.url()], "", &shadow.url(), ", body: off"));
    Request::post("/", "x").send(proxyd.address());
    mirrored(&proxyd, "skipped_body", 3.0);
    Request::get("/").header("Connection", "Upgrade").header("Upgrade", "raw").send(proxyd.address());
    proxyd.get("/last");
    mirrored(&proxyd, "sent", 2.0);
    assert_eq!(taken.lock().unwrap().last().unwrap().target, "/last");
    assert_eq!(taken.lock().unwrap().len(), 2);
    // A half of them, by chance: within seven standard deviations.
    proxyd.reload_with(&yaml(&[good.url()], "", &shadow.url(), ", percent: 50%"));
    for _ in 0..100 {
        proxyd.get("/share");
    }
    mirrored(&proxyd, "sent", 2.0 + 15.0);
    let copies = || taken.lock().unwrap().iter().filter(|one| one.target == "/share").count();
    assert!((15..=85).contains(&copies()), "{}", copies());
}

#[test]
fn nobody_waits_for_copies_at_the_end() {
    let (good, closed) = (Upstream::saying("good"), Door::default());
    let (stalls, taken) = shadow(&closed);
    let proxyd = one_worker(&yaml(&[good.url()], "", &stalls.url(), ""));
    assert_eq!(proxyd.get("/").text(), "good");
    eventually("the copy is there", || (taken.lock().unwrap().len() == 1).then_some(()));
    let began = std::time::Instant::now();
    proxyd.stop();
    assert!(began.elapsed() < std::time::Duration::from_secs(10), "{:?}", began.elapsed());
    closed.open();
}
