//! Which endpoint a request goes to: by turns, by load, by keys, by chance; tiers, weights, slow starts and panic.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use tests::http2::get_fields;
use tests::{Http2, Proxyd, Request, Start, Upstream, eventually};

use super::{Door, Moody, PROBED, becomes, count, hold, holding, letters, one_worker, row, said, told, users};

#[test]
fn turns_go_by_weight_and_spread_evenly() {
    let (_held, urls) = letters(3);
    let weighted = [format!("{{url: '{}', weight: 5}}", urls[0]), urls[1].clone(), urls[2].clone()];
    let proxyd = one_worker(&users(&weighted, ""));
    let all = said(&proxyd, "/", 70);
    assert_eq!((count(&all, 'a'), count(&all, 'b'), count(&all, 'c')), (50, 10, 10), "{all}");
    for turn in all.as_bytes().chunks(7) {
        let turn = String::from_utf8_lossy(turn);
        assert_eq!(count(&turn, 'a'), 5, "five of each seven: {all}");
        assert!(!turn.contains("aaaaa"), "spread over the turn: {all}");
    }
    // Weights that are changed at run time hold from the reply on.
    proxyd.ask("upstreams_set", &json!({"upstream": "users", "endpoint": urls[0], "weight": 0}));
    let all = said(&proxyd, "/", 20);
    assert_eq!((count(&all, 'a'), count(&all, 'b'), count(&all, 'c')), (0, 10, 10), "{all}");
    proxyd.ask("upstreams_set", &json!({"upstream": "users", "endpoint": urls[0], "weight": 2}));
    let all = said(&proxyd, "/", 40);
    assert_eq!((count(&all, 'a'), count(&all, 'b'), count(&all, 'c')), (20, 10, 10), "{all}");
}

#[test]
fn the_busy_are_avoided_until_their_bodies_end() {
    for balance in ["least_busy", "two_choices"] {
        let door = Door::default();
        let (one, two) = (holding("a", &door), holding("b", &door));
        let proxyd = Proxyd::start(&users(&[one.url(), two.url()], &format!("balance: {balance}")));
        // Its head has come, its body has not ended: it is under way.
        let (mut held, busy) = hold(&proxyd);
        let all = said(&proxyd, "/", 30);
        assert_eq!(count(&all, busy.chars().next().unwrap()), 0, "{balance}: {all}, {busy} is busy");
        door.open();
        assert_eq!(held.exactly(1), b".");
        eventually("both serve again", || {
            let all = said(&proxyd, "/", 20);
            (all.contains('a') && all.contains('b')).then_some(())
        });
    }
}

#[test]
fn tunnels_and_streams_are_under_way_too() {
    // Whoever holds a tunnel says so; the other one answers.
    let script = |letter: &'static str| {
        Upstream::scripted(move |conn| {
            while let Some(request) = conn.request_head() {
                if request.headers.has("connection", "upgrade") {
                    conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n");
                    conn.send(letter);
                    conn.wire.rest();
                    return;
                }
                conn.answer(200, &[], letter.as_bytes());
            }
        })
    };
    let (one, two) = (script("a"), script("b"));
    let proxyd = Proxyd::start(&users(&[one.url(), two.url()], "balance: least_busy"));
    let mut tunnel = tests::Wire::connect(proxyd.address());
    tunnel.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n");
    assert!(tunnel.head().expect("an answer").starts_with("HTTP/1.1 101"));
    let busy = char::from(tunnel.exactly(1)[0]);
    let all = said(&proxyd, "/", 20);
    assert_eq!(count(&all, busy), 0, "{all}");
    drop(tunnel);
    eventually("the tunnel's endpoint serves again", || said(&proxyd, "/", 10).contains(busy).then_some(()));

    // Streams of HTTP/2 to an endpoint, all on one connection.
    let script = |letter: &'static str| {
        Upstream::scripted(move |conn| {
            let stream = conn.wire.stream().try_clone().expect("a socket can be shared");
            let Some(mut server) = Http2::server(stream, &[]) else { return };
            let mut next = 1;
            while server.until(|all| all.message(next).ended) {
                let is_held = server.message(next).blocks[0].iter().any(|(_, value)| value == "/hold");
                server.head(next, &[(":status", "200")], false);
                server.data(next, letter, !is_held);
                next += 2;
            }
        })
    };
    let (one, two) = (script("a"), script("b"));
    let proxyd = one_worker(&users(&[one.url(), two.url()], "balance: least_busy, protocol: http2"));
    let mut client = Http2::connect(proxyd.address());
    client.head(1, &get_fields("/hold"), true);
    client.until(|all| !all.message(1).body.is_empty());
    let busy = client.message(1).text().chars().next().unwrap();
    let all: String = (1..10).map(|number| client.get(2 * number + 1, "/").text()).collect();
    assert_eq!(count(&all, busy), 0, "{all}");
}

/// Which of the endpoints each of these requests goes to.
fn placed(proxyd: &Proxyd, requests: &[Request]) -> Vec<String> {
    requests.iter().map(|request| request.send(proxyd.address()).text()).collect()
}

#[test]
fn a_key_stays_where_it_is() {
    let (_held, urls) = letters(4);
    let keys = |make: &dyn Fn(u32) -> Request| (0..60).map(make).collect::<Vec<_>>();
    let cases: [(&str, Vec<Request>); 4] = [
        ("ip", keys(&|key| Request::get("/").header("X-Forwarded-For", &format!("10.0.0.{key}")))),
        ("path", keys(&|key| Request::get(&format!("/{key}?q={key}")))),
        ("{header: x-user}", keys(&|key| Request::get("/").header("X-User", &format!("user {key}")))),
        ("{cookie: id}", keys(&|key| Request::get("/").header("Cookie", &format!("a=b; id={key}")))),
    ];
    for (by, requests) in cases {
        let yaml = |count: usize| {
            let text = users(&urls[..count], &format!("balance: {{hash: {{by: {by}}}}}"));
            format!("server: {{trusted_proxies: [127.0.0.1]}}\n{text}")
        };
        let proxyd = Proxyd::start(&yaml(3));
        let first = placed(&proxyd, &requests);
        assert_eq!(placed(&proxyd, &requests), first, "{by}");
        for letter in ["a", "b", "c"] {
            assert!(first.iter().filter(|one| *one == letter).count() > 5, "{by}: {first:?}");
        }
        // A fourth takes its share, and nobody else moves.
        proxyd.reload_with(&yaml(4));
        let second = placed(&proxyd, &requests);
        let moved: Vec<_> = first.iter().zip(&second).filter(|(before, after)| before != after).collect();
        assert!(moved.iter().all(|(_, after)| *after == "d"), "{by}: {moved:?}");
        assert!((4..=30).contains(&moved.len()), "{by}: {moved:?}");
        // One that is out gives its keys to others until it is back.
        proxyd.ask("upstreams_set", &json!({"upstream": "users", "endpoint": urls[0], "state": "down"}));
        let third = placed(&proxyd, &requests);
        assert!(!third.contains(&"a".to_owned()), "{by}");
        assert!(second.iter().zip(&third).all(|(before, after)| before == "a" || before == after), "{by}");
        proxyd.ask("upstreams_set", &json!({"upstream": "users", "endpoint": urls[0], "state": "ready"}));
        assert_eq!(placed(&proxyd, &requests), second, "{by}");
    }
}

#[test]
fn chance_reaches_everyone_by_weight() {
    let (_held, urls) = letters(3);
    let proxyd = Proxyd::start(&users(&[urls[0].clone(), urls[1].clone()], "balance: random"));
    let all = said(&proxyd, "/", 200);
    // Six standard deviations.
    assert!((58..=142).contains(&count(&all, 'a')), "{all}");
    // What has no key is placed by chance.
    proxyd.reload_with(&users(&[urls[0].clone(), urls[1].clone()], "balance: {hash: {by: {header: x-user}}}"));
    let all = said(&proxyd, "/", 200);
    assert!((58..=142).contains(&count(&all, 'a')), "{all}");
    let weighted = [format!("{{url: '{}', weight: 9}}", urls[0]), urls[2].clone()];
    proxyd.reload_with(&users(&weighted, "balance: random"));
    let all = said(&proxyd, "/", 300);
    assert!((1..=65).contains(&count(&all, 'c')), "{all}");
}

#[test]
fn backups_serve_when_the_others_are_out() {
    let (_held, urls) = letters(3);
    let tiers = [urls[0].clone(), urls[1].clone(), format!("{{url: '{}', backup: true}}", urls[2])];
    let proxyd = Proxyd::start(&users(&tiers, ""));
    let set = |place: usize, state: &str| {
        proxyd.ask("upstreams_set", &json!({"upstream": "users", "endpoint": urls[place], "state": state}));
    };
    assert_eq!(count(&said(&proxyd, "/", 20), 'c'), 0);
    set(0, "drain");
    assert_eq!(said(&proxyd, "/", 5), "bbbbb");
    set(1, "down");
    assert_eq!(said(&proxyd, "/", 5), "ccccc");
    assert_eq!(told(&proxyd, "users")["tier"], "backup");
    set(2, "down");
    let refused = proxyd.get("/all-out");
    assert_eq!((refused.status, refused.error_code().as_str()), (503, "upstream_unavailable"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(row(&proxyd, "/all-out")["outcome"], "upstream_unavailable");
    assert_eq!(told(&proxyd, "users")["tier"], "none");
    set(0, "ready");
    assert_eq!(said(&proxyd, "/", 5), "aaaaa");
}

#[test]
fn an_endpoint_that_comes_back_begins_slowly() {
    let (_held, urls) = letters(2);
    let proxyd = one_worker(&users(&urls, "slow_start: 1h"));
    let all = said(&proxyd, "/", 20);
    assert_eq!((count(&all, 'a'), count(&all, 'b')), (10, 10), "all are new: nobody begins slowly");
    for state in ["down", "ready"] {
        proxyd.ask("upstreams_set", &json!({"upstream": "users", "endpoint": urls[0], "state": state}));
    }
    assert_eq!(becomes(&proxyd, 0, "slow_start")["weight"], 1);
    // A tenth of the other's share.
    let all = said(&proxyd, "/", 110);
    assert!((9..=11).contains(&count(&all, 'a')), "{} of {all}", count(&all, 'a'));
    proxyd.reload_with(&users(&urls, "slow_start: 100ms"));
    becomes(&proxyd, 0, "ready");
    let all = said(&proxyd, "/", 40);
    assert!((19..=21).contains(&count(&all, 'a')), "{all}");
}

#[test]
fn whoever_is_well_again_or_new_begins_slowly_too() {
    let (one, two, new) = (Moody::new("a"), Moody::new("b"), Upstream::saying("c"));
    let more = format!("slow_start: 1h, {PROBED}");
    let proxyd = one_worker(&users(&[one.upstream.url(), two.upstream.url()], &more));
    one.says(500);
    becomes(&proxyd, 0, "unhealthy");
    one.says(200);
    becomes(&proxyd, 0, "slow_start");
    let all = said(&proxyd, "/", 110);
    assert!((9..=11).contains(&count(&all, 'a')), "{} of {all}", count(&all, 'a'));
    let register = json!({"upstream": "users", "endpoint": new.address().to_string()});
    proxyd.ask("upstreams_register", &register);
    assert_eq!(super::endpoint(&proxyd, 2)["state"], "slow_start");
    let all = said(&proxyd, "/", 120);
    assert!((9..=11).contains(&count(&all, 'a')) && (9..=11).contains(&count(&all, 'c')), "{all}");
    // At a reload too: an endpoint that was not there before.
    let more = format!("slow_start: 1h, {PROBED}, retry: {{}}");
    let fourth = Upstream::saying("d");
    proxyd.reload_with(&users(&[one.upstream.url(), two.upstream.url(), fourth.url()], &more));
    let all = said(&proxyd, "/", 130);
    assert!((9..=11).contains(&count(&all, 'd')), "{} of {all}", count(&all, 'd'));
}

#[test]
fn where_too_few_are_well_all_are_used() {
    let (one, two) = (Moody::new("a"), Moody::new("b"));
    let urls = [one.upstream.url(), two.upstream.url()];
    let proxyd = Proxyd::start(&users(&urls, PROBED));
    one.says(404);
    two.says(404);
    becomes(&proxyd, 0, "unhealthy");
    becomes(&proxyd, 1, "unhealthy");
    let all = said(&proxyd, "/", 10);
    assert!(all.contains('a') && all.contains('b'), "{all}");
    assert_eq!(proxyd.get("/panics").status, 404);
    let line = told(&proxyd, "users");
    assert_eq!((&line["panic"], &line["tier"]), (&json!(true), &json!("panic")));
    proxyd.ctl(&["upstreams"]).exits(0).says(&["too few endpoints are well, so all are used"]);
    assert!(proxyd.metric("proxyd_upstream_panic", &["upstream=\"users\""]) > 0.5);
    eventually("it is in the log", || proxyd.output().contains("too few endpoints are well").then_some(()));
    assert_eq!(row(&proxyd, "/panics")["tries"], "panic");
    // Operators are not overridden.
    proxyd.ask("upstreams_set", &json!({"upstream": "users", "endpoint": urls[0], "state": "down"}));
    assert_eq!(said(&proxyd, "/", 6), "bbbbbb");
    // Without panic nothing is left.
    proxyd.reload_with(&users(&urls, &format!("{PROBED}, panic_below: off")));
    assert_eq!(proxyd.get("/off").error_code(), "upstream_unavailable");
    assert_eq!(told(&proxyd, "users")["panic"], false);
    two.says(200);
    becomes(&proxyd, 1, "ready");
    assert_eq!(said(&proxyd, "/", 6), "bbbbbb");
    assert!(proxyd.metric("proxyd_upstream_panic", &["upstream=\"users\""]) < 0.5);
}

#[test]
fn a_share_may_be_too_few_too() {
    let moods = [Moody::new("a"), Moody::new("b"), Moody::new("c"), Moody::new("d")];
    let urls: Vec<String> = moods.iter().map(|mood| mood.upstream.url()).collect();
    let proxyd = Proxyd::start(&users(&urls, &format!("{PROBED}, panic_below: 50%")));
    for (place, mood) in moods.iter().enumerate().take(2) {
        mood.says(404);
        becomes(&proxyd, place, "unhealthy");
    }
    let all = said(&proxyd, "/", 12);
    assert_eq!((count(&all, 'a'), count(&all, 'b')), (0, 0), "two of four are enough: {all}");
    moods[2].says(404);
    becomes(&proxyd, 2, "unhealthy");
    let all = said(&proxyd, "/", 12);
    let seen: BTreeMap<char, usize> = all.chars().map(|letter| (letter, count(&all, letter))).collect();
    assert_eq!(seen.len(), 4, "one of four is too few: {all}");
}

#[test]
fn reloads_and_other_workers_see_the_same_load() {
    // What is under way is counted over all workers, and over a reload of the same upstream.
    let door = Door::default();
    let (one, two) = (holding("a", &door), holding("b", &door));
    let urls = [one.url(), two.url()];
    let proxyd = Start::new(&users(&urls, "balance: least_busy")).set("server.workers", "2").run();
    let held: Vec<_> = (0..6).map(|_| hold(&proxyd)).collect();
    let on = |letter: &str| held.iter().filter(|(_, on)| on == letter).count();
    assert_eq!((on("a"), on("b")), (3, 3));
    proxyd.reload_with(&users(&urls, "balance: least_busy, timeouts: {connect: 2s}"));
    for place in 0..2 {
        assert_eq!(super::endpoint(&proxyd, place)["in_flight"], 3);
    }
    door.open();
    eventually("none is under way", || (super::endpoint(&proxyd, 0)["in_flight"] == 0).then_some(()));
    drop(held);
    tests::until("all are let go", Duration::from_secs(20), || {
        (proxyd.metric("proxyd_upstream_in_flight", &["upstream=\"users\""]) < 0.5).then_some(())
    });
}
