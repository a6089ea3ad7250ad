//! Endpoints that are steered while requests run: what the reply says holds from then on. (Doors, restarts and records of the
//! registry itself are in `endpoints.rs`.)

use std::time::Duration;

use serde_json::{Value, json};
use tests::load::Load;
use tests::{Proxyd, Request, Start, Upstream, Wire, eventually};

use super::{Door, becomes, count, hold, holding, letters, one_worker, said, told, users};

fn set(proxyd: &Proxyd, endpoint: &str, state: &str) {
    proxyd.ask("upstreams_set", &json!({"upstream": "users", "endpoint": endpoint, "state": state}));
}

#[test]
fn a_drained_endpoint_sees_nothing_after_the_reply() {
    let (held, urls) = letters(2);
    let proxyd = Start::new(&users(&urls, "")).set("server.workers", "2").run();
    let load = Load::start(proxyd.address(), "/", 4, "drain");
    for state in ["drain", "down"] {
        eventually("it is used", || (held[0].requests() > 20).then_some(()));
        set(&proxyd, &urls[0], state);
        // What was under way may still be read there.
        eventually("none is under way", || (super::endpoint(&proxyd, 0)["in_flight"] == 0).then_some(()));
        let (drained, other) = (held[0].requests(), held[1].requests());
        eventually("others serve", || (held[1].requests() > other + 50).then_some(()));
        assert_eq!(held[0].requests(), drained, "{state}");
        set(&proxyd, &urls[0], "ready");
        eventually("it is used again", || (held[0].requests() > drained + 20).then_some(()));
    }
    let tally = load.stop();
    assert!(tally.failed.is_empty() && tally.statuses.keys().all(|status| *status == 200), "{tally:?}");
}

#[test]
fn what_is_under_way_ends_in_peace() {
    let door = Door::default();
    let (one, two) = (holding("a", &door), Upstream::saying("b"));
    let proxyd = one_worker(&users(&[one.url(), two.url()], ""));
    set(&proxyd, &two.url(), "down");
    let (mut held, _) = hold(&proxyd);
    set(&proxyd, &one.url(), "drain");
    set(&proxyd, &two.url(), "ready");
    assert_eq!(said(&proxyd, "/", 4), "bbbb");
    assert_eq!(super::endpoint(&proxyd, 0)["in_flight"], 1);
    door.open();
    assert_eq!(held.exactly(1), b".");
    eventually("it has ended", || (super::endpoint(&proxyd, 0)["in_flight"] == 0).then_some(()));
}

#[test]
fn who_registers_is_served_and_who_leaves_is_not() {
    let (held, urls) = letters(3);
    let yaml = format!(
        "admin: {{auth: {{tokens: [{{name: ops, token: operator-4711, role: operator}}]}}}}\n{}",
        users(&urls[..1], "")
    );
    let proxyd = one_worker(&yaml);
    let endpoint = held[1].address().to_string();
    proxyd.ctl(&["upstreams", "register", "users", &endpoint, "--weight", "3"]).exits(0);
    let all = said(&proxyd, "/", 40);
    assert_eq!((count(&all, 'a'), count(&all, 'b')), (10, 30), "{all}");
    // As a backup, over the socket; and by HTTP.
    let register = json!({"upstream": "users", "endpoint": held[2].address().to_string(), "backup": true});
    assert_eq!(proxyd.ask("upstreams_register", &register)["renewed"], false);
    assert_eq!(count(&said(&proxyd, "/", 12), 'c'), 0);
    let path = format!("/admin/upstreams/users/endpoints/{endpoint}");
    let send = |proxyd: &Proxyd, method: &str, body: &str| {
        let request = Request::new(method, &path).header("Authorization", "Bearer operator-4711");
        let answer = proxyd.admin_send(&if body.is_empty() { request } else { request.body(body) });
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    send(&proxyd, "PUT", r#"{"weight":1}"#);
    let all = said(&proxyd, "/", 20);
    assert_eq!((count(&all, 'a'), count(&all, 'b')), (10, 10), "{all}");
    send(&proxyd, "PUT", r#"{"state":"down"}"#);
    assert_eq!(said(&proxyd, "/", 4), "aaaa");
    set(&proxyd, &urls[0], "down");
    assert_eq!(said(&proxyd, "/", 4), "cccc");
    // All of it holds in the next process.
    let home = proxyd.kill_nine();
    let proxyd = Start::in_home(&home, &yaml).set("server.workers", "1").run();
    assert_eq!(said(&proxyd, "/", 4), "cccc");
    send(&proxyd, "PUT", r#"{"state":"ready"}"#);
    assert_eq!(said(&proxyd, "/", 4), "bbbb");
    send(&proxyd, "DELETE", "");
    assert_eq!(said(&proxyd, "/", 4), "cccc");
    proxyd.ctl(&["upstreams", "deregister", "users", &held[2].address().to_string()]).exits(0);
    assert_eq!(proxyd.get("/").status, 503);
}

#[test]
fn a_heartbeat_keeps_it_and_silence_ends_it() {
    let (held, urls) = letters(2);
    let proxyd = Proxyd::start(&users(&urls[..1], ""));
    let register = json!({"upstream": "users", "endpoint": held[1].address().to_string(), "ttl": "1s"});
    let began = std::time::Instant::now();
    assert_eq!(proxyd.ask("upstreams_register", &register)["renewed"], false);
    let mut control = proxyd.control();
    while began.elapsed() < Duration::from_millis(1600) {
        let sent = std::time::Instant::now();
        let renewed = control.try_ask("upstreams_register", &register).unwrap()["renewed"] == true;
        // A machine that sleeps for so long loses it, as anyone would.
        assert!(renewed || sent.elapsed() > Duration::from_millis(500) || began.elapsed() > Duration::from_secs(3));
        std::thread::sleep(Duration::from_millis(50));
    }
    let line = super::endpoint(&proxyd, 1);
    assert_eq!((&line["origin"], line["expires"].is_string()), (&json!("registered"), true), "{line:#}");
    eventually("it has gone", || (told(&proxyd, "users")["endpoints"].as_array().unwrap().len() == 1).then_some(()));
    assert_eq!(said(&proxyd, "/", 6), "aaaaaa");
}

#[test]
fn a_registered_endpoint_outlives_reloads_and_goes_with_its_upstream() {
    let (held, urls) = letters(2);
    let yaml = users(&urls[..1], "");
    let proxyd = one_worker(&yaml);
    let endpoint = held[1].address().to_string();
    proxyd.ctl(&["upstreams", "register", "users", &endpoint]).exits(0);
    proxyd.reload_with(&users(&urls[..1], "timeouts: {connect: 2s}, retry: {}"));
    let all = said(&proxyd, "/", 10);
    assert_eq!((count(&all, 'a'), count(&all, 'b')), (5, 5), "{all}");
    // Written in the file too, it is one, and the file's.
    proxyd.reload_with(&users(&urls, ""));
    assert_eq!(told(&proxyd, "users")["endpoints"].as_array().unwrap().len(), 2);
    let all = said(&proxyd, "/", 10);
    assert_eq!(count(&all, 'b'), 5, "{all}");
}

#[test]
fn nonsense_is_refused_at_every_door() {
    let (_held, urls) = letters(1);
    let proxyd = Proxyd::start(&users(&urls, ""));
    let cases: [(&str, Value, &str); 9] = [
        ("upstreams_set", json!({"upstream": "nobody", "endpoint": urls[0], "state": "down"}), "nobody"),
        ("upstreams_set", json!({"upstream": "users", "endpoint": "127.0.0.1:9", "state": "down"}), "127.0.0.1:9"),
        ("upstreams_set", json!({"upstream": "users", "endpoint": urls[0]}), ""),
        ("upstreams_set", json!({"upstream": "users", "endpoint": urls[0], "state": "asleep"}), "asleep"),
        ("upstreams_set", json!({"upstream": "users", "endpoint": urls[0], "weight": 65536}), "65535"),
        ("upstreams_register", json!({"upstream": "users", "endpoint": "https://127.0.0.1:1"}), "http://"),
        ("upstreams_register", json!({"upstream": "users", "endpoint": "127.0.0.1"}), ""),
        ("upstreams_register", json!({"upstream": "users", "endpoint": "127.0.0.1:1", "ttl": "0s"}), ""),
        ("upstreams_deregister", json!({"upstream": "users", "endpoint": "127.0.0.1:1"}), "127.0.0.1:1"),
    ];
    for (command, args, says) in cases {
        let error = proxyd.try_ask(command, &args).expect_err(&args.to_string());
        assert!(error["message"].as_str().is_some_and(|text| text.contains(says)), "{args}: {error}");
    }
    for (method, path, body) in [
        ("PUT", "/admin/upstreams/users/endpoints/127.0.0.1:9", r#"{"state":"down"}"#),
        ("DELETE", "/admin/upstreams/nobody/endpoints/127.0.0.1:9", ""),
        ("PUT", "/admin/upstreams/users/endpoints/..%2F..", r#"{"state":"down"}"#),
        ("POST", "/admin/upstreams/users/endpoints", "{"),
    ] {
        let answer = proxyd.admin_send(&Request::new(method, path).body(body));
        assert!((400..500).contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.text());
    }
    assert_eq!(said(&proxyd, "/", 2), "aa");
    assert_eq!(becomes(&proxyd, 0, "ready")["weight"], 1);
    // What was refused is on record with who asked.
    let rows = proxyd.stream("audit", &json!({"kind": "actions", "last": 100}));
    let refused = rows.iter().filter(|row| row["command"] == "upstreams_set" && row["outcome"] != "done").count();
    assert!(refused >= 2, "{rows:#?}");
    assert!(rows.iter().all(|row| row["actor"].is_string()), "{rows:#?}");
    let mut wire = Wire::connect(proxyd.address());
    assert_eq!(Request::get("/admin/upstreams").send_on(&mut wire).text(), "a", "no door of the traffic's");
}
