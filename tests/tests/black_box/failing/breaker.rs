//! Circuit breakers: when they open, what that means for requests, and how they close.

use std::time::Duration;

use serde_json::json;
use tests::http2::post_fields;
use tests::{Http2, Proxyd, Request, Upstream, Wire, eventually};

use super::{Door, Moody, PROBED, becomes, count, endpoint, one_worker, row, said, users};

const QUICK: &str = "breaker: {error_rate: 50%, min_requests: 4, window: 1h, open_for: 300ms, trials: 2}";

/// Requests until its breaker has opened.
#[track_caller]
fn opens(proxyd: &Proxyd, mood: &Moody, requests: usize) {
    mood.says(500);
    for _ in 0..requests {
        assert_eq!(proxyd.get("/").status, 500);
    }
    mood.says(200);
}

#[test]
fn an_open_breaker_lets_nothing_through() {
    let mood = Moody::new("a");
    let slow = QUICK.replace("300ms", "1h");
    let proxyd = Proxyd::start(&users(&[mood.upstream.url()], &slow));
    assert_eq!(said(&proxyd, "/", 2), "aa");
    assert_eq!(endpoint(&proxyd, 0)["breaker"], "closed");
    // Half of four have failed.
    opens(&proxyd, &mood, 2);
    let sent = mood.upstream.requests();
    for _ in 0..5 {
        let answer = proxyd.get("/open");
        assert_eq!((answer.status, answer.error_code().as_str()), (503, "upstream_circuit_open"));
        let after: u64 = answer.header("retry-after").expect("when to come back").parse().unwrap();
        assert!((3500..=3600).contains(&after), "{after}");
    }
    assert_eq!(mood.upstream.requests(), sent);
    let line = endpoint(&proxyd, 0);
    assert_eq!(
        (&line["state"], &line["breaker"], &line["why"]),
        (&json!("open"), &json!("open"), &json!("too many errors"))
    );
    assert!(line["since"].is_string(), "{line:#}");
    assert!(proxyd.metric("proxyd_endpoint_breaker_opened_total", &[]) > 0.5);
    let row = row(&proxyd, "/open");
    assert_eq!((&row["outcome"], &row["attempts"]), (&json!("upstream_circuit_open"), &json!(0)), "{row:#}");
    // Neither reload forgets it: not of other things, not of the breaker's own rules.
    proxyd.reload_with(&users(&[mood.upstream.url()], &slow).replace("name: all", "name: every"));
    assert_eq!(proxyd.get("/open").status, 503);
    proxyd.reload_with(&users(&[mood.upstream.url()], &slow.replace("trials: 2", "trials: 3")));
    assert_eq!(proxyd.get("/open").status, 503);
    // Without a breaker it serves at once.
    proxyd.reload_with(&users(&[mood.upstream.url()], ""));
    eventually("it serves", || (proxyd.get("/").text() == "a").then_some(()));
    assert_eq!(endpoint(&proxyd, 0)["breaker"], json!(null));
    proxyd.reload_with(&users(&[mood.upstream.url()], &slow));
    assert_eq!(said(&proxyd, "/", 3), "aaa", "a new one is closed");
}

#[test]
fn others_serve_meanwhile() {
    let (one, two) = (Moody::new("a"), Moody::new("b"));
    let proxyd = one_worker(&users(&[one.upstream.url(), two.upstream.url()], &QUICK.replace("300ms", "1h")));
    one.says(500);
    for _ in 0..8 {
        proxyd.get("/");
    }
    assert_eq!(endpoint(&proxyd, 0)["state"], "open");
    one.says(200);
    assert_eq!(said(&proxyd, "/", 6), "bbbbbb");
}

#[test]
fn few_requests_and_listed_statuses_alone_count() {
    let mood = Moody::new("a");
    let more = "breaker: {error_rate: 50%, min_requests: 5, window: 1h, open_for: 1h, statuses: 503}";
    let proxyd = Proxyd::start(&users(&[mood.upstream.url()], more));
    mood.says(500);
    for _ in 0..10 {
        assert_eq!(proxyd.get("/").status, 500);
    }
    mood.says(404);
    assert_eq!(proxyd.get("/").status, 404);
    assert_eq!(endpoint(&proxyd, 0)["state"], "ready");
}

#[test]
fn trials_are_few_and_close_it() {
    let door = Door::default();
    let opens = door.clone();
    let fails = Door::default();
    let well = fails.clone();
    // Fails at first; then holds every request until the door is open.
    let upstream = Upstream::scripted(move |conn| {
        while let Some(request) = conn.request() {
            if request.target == "/fail" {
                conn.answer(500, &[], b"");
                continue;
            }
            well.open();
            opens.pass();
            conn.answer(200, &[], b"a");
        }
    });
    let proxyd = Proxyd::start(&users(&[upstream.url()], QUICK));
    for _ in 0..4 {
        assert_eq!(proxyd.get("/fail").status, 500);
    }
    becomes(&proxyd, 0, "half_open");
    let before = upstream.requests();
    let mut trials: Vec<Wire> = (0..6).map(|_| Wire::connect(proxyd.address())).collect();
    for trial in &mut trials {
        trial.send(Request::get("/trial").bytes());
    }
    // Two are let through; the others are told to come back.
    let refused = proxyd.audit(&json!({ "outcome": "upstream_circuit_open" }), 4);
    assert_eq!((refused.len(), upstream.requests() - before), (4, 2));
    fails.pass();
    door.open();
    let answers: Vec<_> = trials.iter_mut().map(|trial| trial.response("GET")).collect();
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 2);
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    }
    assert_eq!(becomes(&proxyd, 0, "ready")["breaker"], "closed");
    assert_eq!(said(&proxyd, "/", 4), "aaaa");
}

#[test]
fn a_trial_that_fails_opens_it_again() {
    let mood = Moody::new("a");
    let proxyd = Proxyd::start(&users(&[mood.upstream.url()], QUICK));
    opens(&proxyd, &mood, 4);
    becomes(&proxyd, 0, "half_open");
    assert_eq!(said(&proxyd, "/", 1), "a");
    mood.says(502);
    assert_eq!(proxyd.get("/").status, 502);
    mood.says(200);
    let line = endpoint(&proxyd, 0);
    // Unless the machine has slept over the time that it stays open.
    if line["state"] == "open" {
        assert_eq!(line["why"], "a trial failed");
    }
    becomes(&proxyd, 0, "half_open");
    assert!(proxyd.metric("proxyd_endpoint_breaker_opened_total", &[]) > 1.5);
    assert_eq!(said(&proxyd, "/", 2), "aa");
    becomes(&proxyd, 0, "ready");
}

#[test]
fn a_trial_that_a_client_gave_up_makes_room() {
    let door = Door::default();
    let opened = door.clone();
    let upstream = Upstream::scripted(move |conn| {
        while let Some(request) = conn.request() {
            match request.target.as_str() {
                "/fail" => conn.answer(500, &[], b""),
                "/wait" => {
                    opened.open();
                    conn.wire.rest();
                    return;
                }
                _ => conn.answer(200, &[], b"a"),
            };
        }
    });
    let proxyd = Proxyd::start(&users(&[upstream.url()], &QUICK.replace("trials: 2", "trials: 1")));
    for _ in 0..4 {
        proxyd.get("/fail");
    }
    becomes(&proxyd, 0, "half_open");
    let mut gives_up = Wire::connect(proxyd.address());
    gives_up.send(Request::get("/wait").bytes());
    door.pass();
    assert_eq!(proxyd.get("/").error_code(), "upstream_circuit_open");
    assert_eq!(endpoint(&proxyd, 0)["state"], "half_open");
    drop(gives_up);
    eventually("another trial", || (proxyd.get("/").text() == "a").then_some(()));
    becomes(&proxyd, 0, "ready");
}

#[test]
fn slow_calls_open_it_too() {
    let slow = Upstream::scripted(|conn| {
        while conn.request().is_some() {
            std::thread::sleep(Duration::from_millis(30));
            conn.answer(200, &[], b"late");
        }
    });
    let more = "breaker: {error_rate: off, slow: 20ms, slow_rate: 100%, min_requests: 3, window: 1h, open_for: 1h}";
    let proxyd = Proxyd::start(&users(&[slow.url()], more));
    assert_eq!(said(&proxyd, "/", 3), "latelatelate");
    assert_eq!(proxyd.get("/").error_code(), "upstream_circuit_open");
    let line = endpoint(&proxyd, 0);
    assert_eq!((&line["state"], &line["why"]), (&json!("open"), &json!("too many slow calls")));
}

#[test]
fn panic_does_not_override_it() {
    let (one, two) = (Moody::new("a"), Moody::new("b"));
    let more = format!("{}, {PROBED}", QUICK.replace("300ms", "1h"));
    let proxyd = one_worker(&users(&[one.upstream.url(), two.upstream.url()], &more));
    one.says(500);
    two.says(500);
    becomes(&proxyd, 0, "unhealthy");
    becomes(&proxyd, 1, "unhealthy");
    for _ in 0..8 {
        proxyd.get("/");
    }
    assert_eq!(proxyd.get("/").error_code(), "upstream_circuit_open");
}

#[test]
fn calls_of_grpc_are_told_as_grpc_tells_it() {
    let mood = Moody::new("a");
    let proxyd = Proxyd::start(&users(&[mood.upstream.url()], &QUICK.replace("300ms", "1h")));
    opens(&proxyd, &mood, 4);
    let mut client = Http2::connect(proxyd.address());
    let fields = [&post_fields("/s/M")[..], &[("content-type", "application/grpc"), ("te", "trailers")]].concat();
    client.head(1, &fields, true);
    let answer = client.whole(1);
    // UNAVAILABLE: the client may try again.
    assert_eq!((answer.status(), answer.header("grpc-status")), (200, Some("14")));
    assert!(answer.header("grpc-message").is_some_and(|text| text.starts_with("upstream_circuit_open")));
}

#[test]
fn a_retry_goes_around_an_open_breaker_and_counts_for_it() {
    let (one, two) = (Moody::new("a"), Moody::new("b"));
    let more = format!("{}, retry: {{budget: off}}", QUICK.replace("300ms", "1h"));
    let proxyd = one_worker(&users(&[one.upstream.url(), two.upstream.url()], &more));
    one.says(503);
    let all = said(&proxyd, "/", 20);
    assert_eq!(count(&all, 'b'), 20, "{all}");
    assert_eq!(one.upstream.requests(), 4, "four failures have opened it");
    assert_eq!(endpoint(&proxyd, 0)["state"], "open");
}
