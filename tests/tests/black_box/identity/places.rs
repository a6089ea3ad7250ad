//! Requests at the same time, counted by several proxies together in one Redis.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::{Proxyd, Redis, Request, Upstream, Wire, eventually};

/// Answers at once, but for `/hang`, which lasts until the client has gone.
fn upstream() -> Upstream {
    Upstream::scripted(|conn| {
        while let Some(request) = conn.request() {
            if request.target.contains("hang") {
                conn.wire.closes_within(Duration::from_mins(2));
                return;
            }
            conn.answer(200, &[], b"done");
        }
    })
}

fn config(redis: &Redis, upstream: &Upstream, most: u32, on_error: &str) -> String {
    format!(
        "redis: {{url: '{}', timeout: 2s, connect_timeout: 2s, failures: 2, open_for: 100ms}}\n\
         rate_limit: {{algorithm: concurrency, concurrent: {most}, by: ip, store: redis, on_store_error: {on_error}}}\n\
         upstreams: {{u: {{endpoints: ['{}'], timeouts: {{response_headers: 5m}}}}}}\nroutes:\n  - {{path: /, upstream: u}}\n",
        redis.url(),
        upstream.url()
    )
}

fn hang(proxyd: &Proxyd) -> Wire {
    let mut wire = Wire::connect(proxyd.address());
    wire.send(b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n");
    wire
}

fn held(redis: &Redis) -> usize {
    let key = redis.ask(&["KEYS", "proxyd:places:*"]);
    if key.is_empty() { 0 } else { redis.ask(&["ZCARD", &key]).parse().expect("a number") }
}

#[test]
fn two_proxies_share_their_places_exactly() {
    let (redis, upstream) = (Redis::start(), upstream());
    let yaml = config(&redis, &upstream, 5, "deny");
    let (one, two) = (Proxyd::start(&yaml), Proxyd::start(&yaml));
    let hanging = [hang(&one), hang(&one), hang(&two), hang(&two)];
    eventually("four run", || (upstream.requests() == 4 && held(&redis) == 4).then_some(()));
    let fifth = two.get("/");
    assert_eq!((fifth.status, fifth.header("x-ratelimit-remaining")), (200, Some("0")));
    eventually("its place is free", || (held(&redis) == 4).then_some(()));
    let last = hang(&one);
    eventually("five run", || (upstream.requests() == 6 && held(&redis) == 5).then_some(()));
    for proxyd in [&one, &two] {
        let refused = proxyd.get("/");
        assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
        let shown = proxyd.stream("limits", &json!({"key": "127.0.0.1"}));
        assert_eq!(shown[0]["remaining"], 0, "{shown:?}");
        let told = proxyd.ask("limits_reset", &json!({"key": "127.0.0.1"}));
        assert_eq!((&told["reset"], &told["running"]), (&json!(0), &json!(1)), "what runs is not reset: {told}");
    }
    assert_eq!(one.stream("limits_top", &json!({}))[0]["used"], 3, "as far as this one has seen");
    drop(last);
    eventually("there is a place again", || (two.get("/").status == 200).then_some(()));
    drop(hanging);
    eventually("all are given back", || (held(&redis) == 0).then_some(()));
}

#[test]
fn who_dies_gives_its_places_back_when_its_leases_end() {
    let (redis, upstream) = (Redis::start(), upstream());
    let yaml = config(&redis, &upstream, 2, "deny");
    let (one, two) = (Proxyd::start(&yaml), Proxyd::start(&yaml));
    let (dies, stays) = (hang(&one), hang(&two));
    eventually("both run", || (upstream.requests() == 2 && held(&redis) == 2).then_some(()));
    let started = Instant::now();
    let _home = one.kill_nine();
    assert_eq!(two.get("/").status, 429, "its lease goes on");
    // Longer than a lease lasts: what goes on is renewed, what died is not.
    loop {
        match two.get("/").status {
            200 => break,
            429 => assert!(started.elapsed() < Duration::from_mins(1), "its place is never free"),
            other => panic!("{other}"),
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(started.elapsed() > Duration::from_secs(20), "{:?}", started.elapsed());
    std::thread::sleep(Duration::from_secs(12));
    assert_eq!(held(&redis), 1, "the other's lease was renewed");
    drop((dies, stays));
    eventually("its place is given back", || (held(&redis) == 0).then_some(()));
}

#[test]
fn without_the_store_each_counts_its_own_and_tells_it_afterwards() {
    let (mut redis, upstream) = (Redis::start(), upstream());
    let proxyd = Proxyd::start(&config(&redis, &upstream, 2, "local"));
    let first = hang(&proxyd);
    eventually("it runs", || (upstream.requests() == 1 && held(&redis) == 1).then_some(()));
    redis.end();
    let second = hang(&proxyd);
    eventually("so does another", || (upstream.requests() == 2).then_some(()));
    assert_eq!(proxyd.get("/").status, 429, "counted here");
    redis.run();
    eventually("the store is told of what runs", || (held(&redis) == 2).then_some(()));
    assert_eq!(proxyd.get("/").status, 429);
    drop((first, second));
    eventually("both places are free", || (proxyd.get("/").status == 200 && held(&redis) == 0).then_some(()));

    let denying = Proxyd::start(&config(&redis, &upstream, 2, "deny"));
    assert_eq!(denying.get("/").status, 200);
    redis.end();
    let refused = Request::get("/").header("Accept", "application/json").send(denying.address());
    assert_eq!((refused.status, refused.error_code().as_str()), (503, "store_unavailable"));
}

/// How often the engine was told to do this, by scripts too.
fn calls(redis: &Redis, command: &str) -> u64 {
    let stats = redis.ask(&["INFO", "commandstats"]);
    let of = |line: &str| line.strip_prefix(&format!("cmdstat_{command}:calls="))?.split(',').next()?.parse().ok();
    stats.lines().find_map(of).unwrap_or(0)
}

#[test]
fn what_was_never_asked_for_is_not_given_back() {
    for on_error in ["allow", "local"] {
        let (mut redis, upstream) = (Redis::start(), upstream());
        redis.end();
        let config = config(&redis, &upstream, 2, on_error);
        let proxyd = Proxyd::start(&format!("server: {{workers: 1}}\n{config}"));
        for _ in 0..20 {
            assert_eq!(proxyd.get("/").status, 200);
        }
        redis.run();
        eventually("it is asked again", || {
            proxyd.get("/");
            (calls(&redis, "zadd") > 0).then_some(())
        });
        let last = hang(&proxyd);
        eventually("the last one has a place", || (held(&redis) == 1).then_some(()));
        drop(last);
        eventually("its place is free", || (held(&redis) == 0).then_some(()));
        assert_eq!(calls(&redis, "zrem"), calls(&redis, "zadd"), "{on_error}");
    }
}
