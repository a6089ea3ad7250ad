//! Rules that move to another store by a reload: what was used is not forgotten, and counts once.

use serde_json::json;
use tests::{Proxyd, Redis, Request, Upstream, Wire, eventually};

/// A rule of ten an hour.
fn config(url: &str, store: &str, algorithm: &str) -> String {
    format!(
        "redis: {{url: '{url}', timeout: 2s, connect_timeout: 2s, failures: 2, open_for: 100ms}}\n\
         rate_limit: {{limits: [{{requests: 10, per: 30d}}], algorithm: {algorithm}, by: ip, store: {store}}}\n\
         routes:\n  - {{path: /, respond: {{status: 200}}}}\n"
    )
}

/// How many of so many requests pass, and what the last that did was told to have left.
#[track_caller]
fn passed(proxyd: &Proxyd, count: usize) -> usize {
    let answers: Vec<_> = (0..count).map(|_| proxyd.get("/")).collect();
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert!(statuses.iter().all(|status| matches!(status, 200 | 429)), "{statuses:?}");
    statuses.iter().filter(|status| **status == 200).count()
}

#[test]
fn what_was_used_moves_to_redis_and_back_and_counts_once() {
    for algorithm in ["fixed_window", "sliding_window", "token_bucket"] {
        let redis = Redis::start();
        let yaml = |store| config(&redis.url(), store, algorithm);
        let proxyd = Proxyd::start(&yaml("memory"));
        assert_eq!(passed(&proxyd, 4), 4);
        proxyd.reload_with(&yaml("redis"));
        let shown = proxyd.stream("limits", &json!({"key": "127.0.0.1"}));
        assert_eq!(shown[0]["remaining"], 6, "{algorithm}: before anybody asked: {shown:?}");
        let first = proxyd.get("/");
        assert_eq!((first.status, first.header("x-ratelimit-remaining")), (200, Some("5")), "{algorithm}");
        proxyd.reload_with(&yaml("memory"));
        let shown = proxyd.stream("limits", &json!({"key": "127.0.0.1"}));
        assert_eq!(shown[0]["remaining"], 5, "{algorithm}: as the store says: {shown:?}");
        assert_eq!(passed(&proxyd, 2), 2);
        proxyd.reload_with(&yaml("redis"));
        assert_eq!(passed(&proxyd, 5), 3, "{algorithm}: what was copied is not added to itself");
        proxyd.reload_with(&yaml("memory"));
        assert_eq!(passed(&proxyd, 2), 0, "{algorithm}");
        proxyd.reload_with(yaml("memory").split_once('\n').expect("its first line names the store").1);
        assert_eq!(passed(&proxyd, 2), 0, "{algorithm}: without any store");
    }
}

#[test]
fn each_proxy_of_a_fleet_brings_its_part_once() {
    let redis = Redis::start();
    let yaml = |store| config(&redis.url(), store, "fixed_window");
    let (one, two) = (Proxyd::start(&yaml("memory")), Proxyd::start(&yaml("memory")));
    assert_eq!((passed(&one, 4), passed(&two, 3)), (4, 3));
    for proxyd in [&one, &two] {
        proxyd.reload_with(&yaml("redis"));
    }
    // From several connections at once, which different workers serve: none of them passes before what was used is there.
    let all: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| passed(&one, 5))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread ends well")).sum()
    });
    assert_eq!(all, 6, "four of ten were used here");
    assert_eq!(passed(&two, 2), 0);
    for proxyd in [&one, &two] {
        proxyd.reload_with(&yaml("memory"));
        assert_eq!(passed(proxyd, 1), 0, "each is told of all");
    }
}

#[test]
fn a_store_that_is_silent_at_a_move_loses_nothing() {
    let mut redis = Redis::start();
    let yaml = |store| config(&redis.url(), store, "fixed_window");
    let (memory, shared) = (yaml("memory"), yaml("redis"));
    let proxyd = Proxyd::start(&memory);
    assert_eq!(passed(&proxyd, 4), 4);
    redis.end();
    proxyd.reload_with(&shared);
    assert_eq!(passed(&proxyd, 2), 2);
    redis.run();
    let mut left = 4;
    eventually("it is brought to the store", || {
        let answer = proxyd.get("/");
        left = answer.header("x-ratelimit-remaining").expect("it is counted").parse::<u32>().unwrap();
        (!redis.ask(&["KEYS", "proxyd:limit:*"]).is_empty()).then_some(())
    });
    assert_eq!(passed(&proxyd, 10) as u32, left);
    redis.end();
    proxyd.reload_with(&memory);
    assert_eq!(passed(&proxyd, 3), 0, "what the store said last");
    let said = proxyd.home().read("stderr.log") + &proxyd.home().read("stdout.log");
    assert_eq!(said.matches("the store that this rule was counted in does not answer").count(), 1, "{said}");
}

#[test]
fn a_reload_says_which_rules_move() {
    let redis = Redis::start();
    let proxyd = Proxyd::start(&config(&redis.url(), "memory", "fixed_window"));
    proxyd.home().write("config.yaml", &config(&redis.url(), "redis", "fixed_window"));
    let told = proxyd.ask("reload", &json!({}));
    let kept = told["changes"]["kept"].to_string();
    assert!(kept.contains("limit `default` moves from memory to redis"), "{told}");
}

/// Answers at once, but for `/hang`, which lasts until the client has gone.
fn upstream() -> Upstream {
    Upstream::scripted(|conn| {
        while let Some(request) = conn.request() {
            if request.target.contains("hang") {
                conn.wire.closes_within(std::time::Duration::from_mins(2));
                return;
            }
            conn.answer(200, &[], b"done");
        }
    })
}

fn hang(proxyd: &Proxyd) -> Wire {
    let mut wire = Wire::connect(proxyd.address());
    wire.send(b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n");
    wire
}

#[test]
fn requests_under_way_keep_their_places_where_they_have_them() {
    let (redis, upstream) = (Redis::start(), upstream());
    let yaml = |store| {
        format!(
            "redis: {{url: '{}', timeout: 2s, connect_timeout: 2s}}\n\
             rate_limit: {{algorithm: concurrency, concurrent: 3, by: ip, store: {store}}}\n\
             upstreams: {{u: {{endpoints: ['{}'], timeouts: {{response_headers: 5m}}}}}}\nroutes:\n  - {{path: /, upstream: u}}\n",
            redis.url(),
            upstream.url()
        )
    };
    let proxyd = Proxyd::start(&yaml("memory"));
    let first = [hang(&proxyd), hang(&proxyd)];
    eventually("two run", || (upstream.requests() == 2).then_some(()));
    proxyd.reload_with(&yaml("redis"));
    let third = hang(&proxyd);
    eventually("three run", || (upstream.requests() == 3).then_some(()));
    assert_eq!(proxyd.get("/").status, 429, "two from before, and one in the store");
    proxyd.reload_with(&yaml("memory"));
    assert_eq!(proxyd.get("/").status, 429, "and here");
    drop(first);
    eventually("two are free", || {
        let answer = Request::get("/").send(proxyd.address());
        (answer.status == 200 && answer.header("x-ratelimit-remaining") == Some("1")).then_some(())
    });
    drop(third);
}
