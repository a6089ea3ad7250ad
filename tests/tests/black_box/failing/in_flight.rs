//! Limits of requests under way: exact over all workers, with a bounded queue; a place is free when a body, a stream or a tunnel
//! has ended, however it ended.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::{Http2, Proxyd, Request, Start, Upstream, Wire, eventually};

use super::{Door, becomes, endpoint, hold, holding, one_worker, row, said, told, users};

fn two_workers(yaml: &str) -> Proxyd {
    Start::new(yaml).set("server.workers", "2").run()
}

#[track_caller]
fn refused(proxyd: &Proxyd, path: &str, code: &str) {
    let answer = proxyd.get(path);
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.text());
    assert_eq!(answer.error_code(), code);
}

#[test]
fn no_more_than_so_many_over_all_workers() {
    let door = Door::default();
    let (one, two) = (holding("a", &door), holding("b", &door));
    let urls = [one.url(), two.url()];
    // (limits, how many there is room for)
    for (limits, room) in
        [("total: 5", 5), ("endpoint: 2", 4), ("total: 3, endpoint: 2", 3), ("total: 9, endpoint: 3", 6)]
    {
        let proxyd = two_workers(&users(&urls, &format!("in_flight: {{{limits}, queue: 0}}")));
        let mut held: Vec<Wire> = (0..room).map(|_| hold(&proxyd).0).collect();
        for number in 0..4 {
            refused(&proxyd, &format!("/full/{number}"), "upstream_queue_full");
        }
        // A client that leaves makes room, for one.
        held.pop();
        let again = eventually("a place", || {
            let mut wire = Wire::connect(proxyd.address());
            wire.send(Request::get("/hold").bytes());
            let head = wire.head().expect("an answer");
            head.starts_with("HTTP/1.1 200").then_some(wire)
        });
        refused(&proxyd, "/full/again", "upstream_queue_full");
        drop((held, again));
        eventually("all are let go", || (proxyd.get("/").status == 200).then_some(()));
    }
}

#[test]
fn an_endpoint_that_is_full_is_passed_over() {
    let door = Door::default();
    let (one, two) = (holding("a", &door), holding("b", &door));
    let proxyd = one_worker(&users(&[one.url(), two.url()], "in_flight: {endpoint: 1, queue: 0}"));
    let (_held, busy) = hold(&proxyd);
    let free = if busy == "a" { "b" } else { "a" };
    assert_eq!(said(&proxyd, "/", 5), free.repeat(5));
}

#[test]
fn some_wait_and_the_rest_are_told_to_come_back() {
    let door = Door::default();
    let upstream = holding("a", &door);
    let proxyd = two_workers(&users(&[upstream.url()], "in_flight: {total: 1, queue: 2, wait: 1m}"));
    let (mut held, _) = hold(&proxyd);
    let mut waiting: Vec<Wire> = (0..2).map(|_| Wire::connect(proxyd.address())).collect();
    for (number, wire) in waiting.iter_mut().enumerate() {
        wire.send(Request::get("/waits").bytes());
        eventually("it waits", || (told(&proxyd, "users")["waiting"] == number + 1).then_some(()));
    }
    assert!(proxyd.metric("proxyd_upstream_queue", &["upstream=\"users\""]) > 1.5);
    refused(&proxyd, "/full", "upstream_queue_full");
    assert_eq!(row(&proxyd, "/full")["outcome"], "upstream_queue_full");
    // One that leaves makes room in the queue.
    waiting.pop();
    eventually("it has left", || (told(&proxyd, "users")["waiting"] == 1).then_some(()));
    door.open();
    assert_eq!(held.exactly(1), b".");
    assert_eq!(waiting[0].response("GET").text(), "a");
    eventually("nobody waits", || (told(&proxyd, "users")["waiting"] == 0).then_some(()));
    assert_eq!(upstream.requests(), 2, "who left was not sent");
}

#[test]
fn waiting_has_an_end() {
    let door = Door::default();
    let upstream = holding("a", &door);
    let proxyd = Proxyd::start(&users(&[upstream.url()], "in_flight: {endpoint: 1, wait: 200ms}"));
    let (_held, _) = hold(&proxyd);
    let began = Instant::now();
    refused(&proxyd, "/waits", "upstream_queue_timeout");
    assert!(began.elapsed() >= Duration::from_millis(200));
    let row = row(&proxyd, "/waits");
    assert_eq!((&row["outcome"], &row["attempts"]), (&json!("upstream_queue_timeout"), &json!(0)));
    assert_eq!(told(&proxyd, "users")["waiting"], 0);
}

#[test]
fn who_waits_is_served_by_whoever_becomes_ready() {
    // Not only when a request ends: also when another endpoint comes back.
    let door = Door::default();
    let (one, two) = (holding("a", &door), holding("b", &door));
    let proxyd = one_worker(&users(&[one.url(), two.url()], "in_flight: {endpoint: 1, wait: 1m}"));
    let set = |state: &str| {
        proxyd.ask("upstreams_set", &json!({"upstream": "users", "endpoint": two.url(), "state": state}));
    };
    set("down");
    let (_held, on) = hold(&proxyd);
    assert_eq!(on, "a");
    let mut waits = Wire::connect(proxyd.address());
    waits.send(Request::get("/").bytes());
    eventually("it waits", || (told(&proxyd, "users")["waiting"] == 1).then_some(()));
    set("ready");
    assert_eq!(waits.response("GET").text(), "b");
}

#[test]
fn a_higher_limit_lets_new_requests_in() {
    let door = Door::default();
    let upstream = holding("a", &door);
    let yaml = |more: &str| users(&[upstream.url()], more);
    let proxyd = Proxyd::start(&yaml("in_flight: {total: 1, queue: 0}"));
    let (_held, _) = hold(&proxyd);
    refused(&proxyd, "/full", "upstream_queue_full");
    // Those under way are counted on over a reload.
    proxyd.reload_with(&yaml("in_flight: {total: 2, queue: 0}"));
    let (second, _) = hold(&proxyd);
    refused(&proxyd, "/full/again", "upstream_queue_full");
    drop(second);
    proxyd.reload_with(&yaml(""));
    assert_eq!(proxyd.get("/").status, 200);
}

#[test]
fn tunnels_hold_their_places() {
    let upstream = Upstream::scripted(|conn| {
        while let Some(request) = conn.request_head() {
            if request.headers.has("connection", "upgrade") {
                conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n");
                conn.wire.rest();
                return;
            }
            conn.answer(200, &[], b"a");
        }
    });
    let proxyd = Proxyd::start(&users(&[upstream.url()], "in_flight: {endpoint: 1, queue: 0}"));
    let mut tunnel = Wire::connect(proxyd.address());
    tunnel.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n");
    assert!(tunnel.head().expect("an answer").starts_with("HTTP/1.1 101"));
    refused(&proxyd, "/full", "upstream_queue_full");
    assert_eq!(endpoint(&proxyd, 0)["in_flight"], 1);
    drop(tunnel);
    eventually("a place", || (proxyd.get("/").status == 200).then_some(()));
}

#[test]
fn streams_hold_their_places() {
    let upstream = Upstream::scripted(|conn| {
        let stream = conn.wire.stream().try_clone().expect("a socket can be shared");
        let Some(mut server) = Http2::server(stream, &[]) else { return };
        let mut next = 1;
        while server.until(|all| all.messages.get(&next).is_some_and(|message| message.ended)) {
            let is_held = server.message(next).blocks[0].iter().any(|(_, value)| value == "/hold");
            server.head(next, &[(":status", "200")], false);
            server.data(next, "a", !is_held);
            next += 2;
        }
    });
    let proxyd = one_worker(&users(&[upstream.url()], "protocol: http2, in_flight: {total: 2, queue: 0}"));
    let mut client = Http2::connect(proxyd.address());
    for stream in [1, 3] {
        client.head(stream, &tests::http2::get_fields("/hold"), true);
        client.until(|all| !all.message(stream).body.is_empty());
    }
    refused(&proxyd, "/full", "upstream_queue_full");
    client.send(tests::http2::reset(1, tests::http2::code::CANCEL));
    eventually("a place", || (proxyd.get("/").status == 200).then_some(()));
    drop(client);
    eventually("nothing is under way", || (endpoint(&proxyd, 0)["in_flight"] == 0).then_some(()));
}

#[test]
fn retries_need_a_place_too_and_give_theirs_back() {
    let (one, two) = (super::Moody::new("a"), super::Moody::new("b"));
    one.says(503);
    let more = "in_flight: {total: 1, queue: 0}, retry: {budget: off}";
    let proxyd = two_workers(&users(&[one.upstream.url(), two.upstream.url()], more));
    for _ in 0..10 {
        assert_eq!(proxyd.get("/").text(), "b");
    }
    assert_eq!(becomes(&proxyd, 0, "ready")["in_flight"], 0);
}

#[test]
fn who_comes_and_goes_leaves_nothing_behind() {
    let door = Door::default();
    let upstream = holding("a", &door);
    let proxyd = two_workers(&users(&[upstream.url()], "in_flight: {total: 2, queue: 3, wait: 50ms}"));
    let address = proxyd.address();
    // Some are served, some wait, some are refused, some give up at any of these.
    let crowd: Vec<_> = (0..8_u64)
        .map(|number| {
            std::thread::spawn(move || {
                for turn in 0..25 {
                    let mut wire = Wire::connect(address);
                    wire.send(Request::get(if number % 2 == 0 { "/hold" } else { "/" }).bytes());
                    if number % 4 > 1 {
                        wire.head();
                    }
                    std::thread::sleep(Duration::from_millis((number * 7 + turn * 3) % 11));
                }
            })
        })
        .collect();
    for one in crowd {
        one.join().unwrap();
    }
    eventually("nobody waits, nothing is under way", || {
        let line = told(&proxyd, "users");
        (line["waiting"] == 0 && line["endpoints"][0]["in_flight"] == 0).then_some(())
    });
    // There is room for two, and for no more.
    let _held = [hold(&proxyd), hold(&proxyd)];
    refused(&proxyd, "/full", "upstream_queue_timeout");
}

#[test]
fn waiting_is_within_the_total_time() {
    let door = Door::default();
    let upstream = holding("a", &door);
    let yaml = users(&[upstream.url()], "in_flight: {total: 1, wait: 10m}, timeouts: {total: 10m}");
    let limited = "{name: quick, path: /quick, upstream: users, timeouts: {total: 150ms}}";
    let proxyd = one_worker(&format!("{yaml}  - {limited}\n"));
    let (_held, _) = hold(&proxyd);
    let answer = proxyd.get("/quick");
    assert_eq!((answer.status, answer.error_code().as_str()), (504, "total_timeout"));
    // What a client of gRPC asks for holds as well.
    let mut client = Http2::connect(proxyd.address());
    let fields = [
        &tests::http2::post_fields("/s/M")[..],
        &[("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", "150m")],
    ];
    client.head(1, &fields.concat(), true);
    assert_eq!(client.whole(1).header("grpc-status"), Some("4"));
    assert_eq!(told(&proxyd, "users")["waiting"], 0);
}
