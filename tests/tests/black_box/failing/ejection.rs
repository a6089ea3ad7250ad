//! Endpoints that fail requests are left out for a while, never too many of them.

use std::time::Duration;

use serde_json::json;
use tests::upstream::nobody;
use tests::{Upstream, eventually};

use super::{Moody, becomes, count, endpoint, one_worker, said, users};

#[test]
fn failures_in_a_row_eject() {
    // Whether no connection, no answer or an answer that says so.
    let resets = Upstream::scripted(|conn| drop(conn.request()));
    let fails = Moody::new("b");
    fails.says(500);
    let gone = format!("http://{}", nobody());
    for bad in [gone, resets.url(), fails.upstream.url()] {
        let good = Upstream::saying("a");
        let proxyd = one_worker(&users(&[bad, good.url()], "eject: {consecutive_errors: 3, for: 1h, max_for: 1h}"));
        let statuses: Vec<u16> = (0..12).map(|_| proxyd.get("/").status).collect();
        assert_eq!(statuses.iter().filter(|status| **status != 200).count(), 3, "{statuses:?}");
        let line = endpoint(&proxyd, 0);
        assert_eq!((&line["state"], &line["ejections"]), (&json!("ejected"), &json!(1)));
        let why = line["why"].as_str().unwrap();
        assert!(why.starts_with("consecutive errors, for 3") && why.ends_with(" s more"), "{why}");
        assert!(line["since"].is_string() && line["last_failure"].is_string() || line["failures"] == 0, "{line:#}");
        assert!(proxyd.metric("proxyd_endpoint_ejections_total", &["upstream=\"users\""]) > 0.5);
        assert!(proxyd.metric("proxyd_endpoint_state", &["state=\"ejected\""]) > 0.5);
        proxyd.ctl(&["upstreams"]).exits(0).says(&["ejected"]);
    }
}

#[test]
fn a_success_between_begins_the_count_anew() {
    let turns = Upstream::scripted(|conn| {
        let mut number = 0;
        while conn.request().is_some() {
            number += 1;
            conn.answer(if number % 3 == 0 { 200 } else { 500 }, &[], b"a");
        }
    });
    let other = Upstream::saying("b");
    let proxyd =
        one_worker(&users(&[turns.url(), other.url()], "eject: {consecutive_errors: 3, for: 1h, max_for: 1h}"));
    said(&proxyd, "/", 24);
    assert_eq!(endpoint(&proxyd, 0)["state"], "ready");
    // The same endpoint by its share of errors.
    let more = "eject: {consecutive_errors: off, error_rate: 60%, min_requests: 6, window: 1h, for: 1h, max_for: 1h}";
    proxyd.reload_with(&users(&[turns.url(), other.url()], more));
    said(&proxyd, "/", 24);
    let line = endpoint(&proxyd, 0);
    assert_eq!(line["state"], "ejected");
    assert!(line["why"].as_str().unwrap().starts_with("too many errors"), "{line:#}");
}

#[test]
fn the_slow_are_ejected() {
    let slow = Upstream::scripted(|conn| {
        while conn.request().is_some() {
            std::thread::sleep(Duration::from_millis(100));
            conn.answer(200, &[], b"a");
        }
    });
    let quick = Upstream::saying("b");
    let more = "eject: {consecutive_errors: off, latency: 50ms, min_requests: 3, window: 1h, for: 1h, max_for: 1h}";
    let proxyd = one_worker(&users(&[slow.url(), quick.url()], more));
    let all = said(&proxyd, "/", 20);
    assert_eq!(count(&all, 'a'), 3, "{all}");
    assert!(endpoint(&proxyd, 0)["why"].as_str().unwrap().starts_with("too slow"));
}

#[test]
fn no_more_than_its_share_are_out() {
    let moods = [Moody::new("a"), Moody::new("b"), Moody::new("c"), Moody::new("d")];
    let urls: Vec<String> = moods.iter().map(|mood| mood.upstream.url()).collect();
    for mood in &moods {
        mood.says(500);
    }
    let proxyd = one_worker(&users(
        &urls,
        "eject: {consecutive_errors: 1, for: 1h, max_for: 1h, max_percent: 50%}, panic_below: off",
    ));
    for _ in 0..20 {
        proxyd.get("/");
    }
    let out = (0..4).filter(|place| endpoint(&proxyd, *place)["state"] == "ejected").count();
    assert_eq!(out, 2);
    assert!(proxyd.output().contains("as many are ejected as may be"), "{}", proxyd.output());
    // Less than one of them is none.
    let proxyd = one_worker(&users(&urls, "eject: {consecutive_errors: 1, for: 1h, max_for: 1h, max_percent: 20%}"));
    for _ in 0..12 {
        proxyd.get("/");
    }
    assert!((0..4).all(|place| endpoint(&proxyd, place)["state"] == "ready"));
}

#[test]
fn it_comes_back_and_the_next_time_stays_out_longer() {
    let (one, two) = (Moody::new("a"), Moody::new("b"));
    let urls = [one.upstream.url(), two.upstream.url()];
    let more = "eject: {consecutive_errors: 1, for: 1s, max_for: 1h}";
    let proxyd = one_worker(&users(&urls, more));
    one.says(500);
    said(&proxyd, "/", 4);
    becomes(&proxyd, 0, "ejected");
    // Nothing of it is lost at a reload.
    proxyd.reload_with(&users(&urls, &format!("{more}, timeouts: {{connect: 2s}}")));
    let ejected = endpoint(&proxyd, 0);
    assert_eq!(ejected["ejections"], 1);
    one.says(200);
    becomes(&proxyd, 0, "ready");
    eventually("it serves again", || said(&proxyd, "/", 4).contains('a').then_some(()));
    one.says(500);
    said(&proxyd, "/", 4);
    let line = endpoint(&proxyd, 0);
    assert_eq!((&line["state"], &line["ejections"]), (&json!("ejected"), &json!(2)), "{line:#}");
    assert!(line["why"].as_str().unwrap().contains("for 2 s more"), "{line:#}");
    // The section goes, and what it did with it.
    proxyd.reload_with(&users(&urls, ""));
    becomes(&proxyd, 0, "ready");
}

#[test]
fn our_own_limits_and_clients_blame_nobody() {
    let holds = Upstream::scripted(|conn| drop(conn.wire.rest()));
    let good = Upstream::saying("b");
    let more = "eject: {consecutive_errors: 1, for: 1h, max_for: 1h}, timeouts: {response_headers: 1m}";
    let proxyd = one_worker(&users(&[holds.url(), good.url()], more));
    // How long a client of gRPC waits is its own wish: it tells nothing of the endpoint.
    for _ in 0..4 {
        let mut wire = tests::Wire::connect(proxyd.address());
        wire.send("GET / HTTP/1.1\r\nHost: h\r\nContent-Type: application/grpc\r\ngrpc-timeout: 50m\r\n\r\n");
        wire.response("GET");
    }
    assert_eq!(endpoint(&proxyd, 0)["state"], "ready");
    // A client that breaks off its body.
    for _ in 0..4 {
        let mut wire = tests::Wire::connect(proxyd.address());
        wire.send("PUT /breaks HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nfirst");
        wire.finish_sending();
        wire.rest();
    }
    assert_eq!(endpoint(&proxyd, 0)["state"], "ready");
    // One that took all the time that the config gives was silent.
    proxyd.reload_with(&users(&[holds.url(), good.url()], &more.replace("1m}", "1m, total: 50ms}")));
    for _ in 0..2 {
        proxyd.get("/");
    }
    assert_eq!(endpoint(&proxyd, 0)["state"], "ejected");
}
