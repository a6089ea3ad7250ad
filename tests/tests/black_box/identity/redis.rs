//! Several proxies that count together in one Redis: exactly, and what they do when it is gone.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::tls::Authority;
use tests::token::EdKey;
use tests::{Home, PATIENCE, Proxyd, Redis, Request, Start, Upstream, Wire, eventually};

/// A rule of 100 an hour in this Redis.
fn config(url: &str, on_error: &str) -> String {
    // Longer times than a busy test machine needs, but where the failure itself is looked at.
    format!(
        "redis: {{url: '{url}', timeout: 2s, connect_timeout: 2s, failures: 2, open_for: 100ms}}\n\
         rate_limit: {{limits: [{{requests: 100, per: 1h}}], algorithm: fixed_window, by: ip, store: redis, on_store_error: {on_error}}}\n\
         routes:\n  - {{path: /, respond: {{status: 200}}}}\n"
    )
}

/// How many of so many requests pass; the others must be refused with 429.
#[track_caller]
fn passed(proxyd: &Proxyd, count: usize) -> usize {
    let mut wire = Wire::connect(proxyd.address());
    let statuses: Vec<u16> = (0..count).map(|_| Request::get("/").send_on(&mut wire).status).collect();
    assert!(statuses.iter().all(|status| matches!(status, 200 | 429)), "{statuses:?}");
    statuses.iter().filter(|status| **status == 200).count()
}

#[test]
fn two_proxies_count_as_one_however_the_load_is_split() {
    for (seed, shares) in [(1, [50, 60]), (2, [1, 120]), (3, [110, 0])] {
        let redis = Redis::start();
        let (one, two) = (Proxyd::start(&config(&redis.url(), "deny")), Proxyd::start(&config(&redis.url(), "deny")));
        // From several connections at once, which different workers serve.
        let all: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = [(&one, shares[0]), (&two, shares[1])]
                .into_iter()
                .flat_map(|(proxyd, share)| {
                    let first = share * seed / 4;
                    [(proxyd, first), (proxyd, share - first)]
                })
                .map(|(proxyd, count)| scope.spawn(move || passed(proxyd, count)))
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("a thread ends well")).sum()
        });
        assert_eq!(all, 100.min(shares[0] + shares[1]), "{shares:?}");
        assert_eq!(passed(&two, 3), 0);
        let refused = one.get("/");
        assert_eq!((refused.status, refused.header("x-ratelimit-remaining")), (429, Some("0")));
        assert_eq!(one.metric("proxyd_store_questions_total", &["outcome=\"timeout\""]) as u64, 0);
        assert!(one.metric("proxyd_store_questions_total", &["outcome=\"ok\""]) > 0.0);
    }
}

#[test]
fn what_the_store_keeps_is_bounded_in_time_and_holds_no_secret() {
    let redis = Redis::start();
    let yaml = config(&redis.url(), "deny").replace("by: ip", "by: [{header: x-api-key}]").replace("1h", "1m");
    let proxyd = Proxyd::start(&yaml);
    let response = Request::get("/").header("X-Api-Key", "s3cret-value").send(proxyd.address());
    assert_eq!(response.status, 200);
    let keys = redis.ask(&["KEYS", "*"]);
    assert!(keys.starts_with("proxyd:limit:{top/default/") && keys.ends_with('}'), "{keys}");
    assert!(!keys.contains("s3cret") && !redis.ask(&["HGETALL", &keys]).contains("s3cret"), "{keys}");
    let left: i64 = redis.ask(&["PTTL", &keys]).parse().unwrap();
    assert!((1..=61_000).contains(&left), "{left}");
}

#[test]
fn a_reload_keeps_the_counts_and_another_limit_begins_anew() {
    let redis = Redis::start();
    let yaml = config(&redis.url(), "deny");
    let proxyd = Proxyd::start(&yaml);
    assert_eq!(passed(&proxyd, 40), 40);
    proxyd.reload_with(&yaml.replace("open_for: 100ms", "open_for: 200ms"));
    assert_eq!(passed(&proxyd, 70), 60);
    proxyd.reload_with(&yaml.replace("requests: 100", "requests: 20"));
    assert_eq!(passed(&proxyd, 30), 20);
    proxyd.reload_with(&yaml);
    assert_eq!(passed(&proxyd, 1), 0, "what was counted under the first limit is there still");
    proxyd.reload_with(&yaml.replace("store: redis, on_store_error: deny", "store: memory"));
    assert_eq!(passed(&proxyd, 1), 0, "what was counted in the store counts on here");
    assert_eq!(Proxyd::start(&yaml).get("/").status, 429, "and a new process finds it there still");
}

/// Redis is killed, and comes back.
#[track_caller]
fn check_outage(on_error: &str, expected: impl Fn(&Proxyd)) {
    let mut redis = Redis::start();
    let proxyd = Proxyd::start(&config(&redis.url(), on_error));
    assert_eq!(passed(&proxyd, 95), 95);
    redis.end();
    let started = Instant::now();
    expected(&proxyd);
    assert!(started.elapsed() < Duration::from_secs(4), "nobody waits for what is gone: {:?}", started.elapsed());
    let page = proxyd.admin_get("/metrics").text();
    assert!(page.contains("proxyd_store_breaker{state=\"open\"}") || page.contains("state=\"half_open\"}"), "{page}");
    redis.run();
    // Each worker has a connection of its own, and finds out for itself: so many in a row meet all of them.
    let mut in_a_row = 0;
    eventually("every worker counts together again", || {
        let response = proxyd.get("/");
        let counted = response.status == 200 && response.header("x-ratelimit-remaining").is_some();
        in_a_row = if counted { in_a_row + 1 } else { 0 };
        (in_a_row == 12).then_some(())
    });
    redis.ask(&["FLUSHALL"]);
    assert_eq!(passed(&proxyd, 120), 100);
    let said = proxyd.home().read("stderr.log") + &proxyd.home().read("stdout.log");
    assert_eq!(said.matches("the shared store does not answer").count(), 1, "{said}");
    assert_eq!(said.matches("the shared store answers again").count(), 1, "{said}");
}

#[test]
fn a_store_that_was_started_again_costs_no_request() {
    let mut redis = Redis::start();
    let proxyd = Proxyd::start(&config(&redis.url(), "deny"));
    for _ in 0..3 {
        assert_eq!([(); 20].map(|()| proxyd.get("/").status), [200; 20], "by every worker");
        redis.end();
        redis.run();
    }
    assert_eq!([(); 20].map(|()| proxyd.get("/").status), [200; 20]);
}

#[test]
fn without_the_store_allow_counts_nothing() {
    check_outage("allow", |proxyd| {
        for _ in 0..30 {
            let response = proxyd.get("/");
            assert_eq!((response.status, response.header("x-ratelimit-limit")), (200, None));
        }
    });
}

#[test]
fn without_the_store_deny_refuses_all() {
    check_outage("deny", |proxyd| {
        for _ in 0..30 {
            let response = Request::get("/").header("Accept", "application/json").send(proxyd.address());
            assert_eq!((response.status, response.error_code().as_str()), (503, "store_unavailable"));
        }
    });
}

#[test]
fn without_the_store_each_proxy_counts_on_by_itself() {
    check_outage("local", |proxyd| assert_eq!(passed(proxyd, 30), 5, "from what the store said last"));
}

#[test]
fn a_store_that_stalls_costs_its_time_once_in_a_while() {
    let redis = Redis::start();
    let yaml = config(&redis.url(), "allow").replace("timeout: 2s", "timeout: 50ms");
    let proxyd = Proxyd::start(&yaml.replace("open_for: 100ms", "open_for: 10m").replace("failures: 2", "failures: 3"));
    eventually("it has connected", || proxyd.get("/").header("x-ratelimit-limit").map(|_| ()));
    redis.ask(&["CLIENT", "PAUSE", "60000", "ALL"]);
    let started = Instant::now();
    assert_eq!(passed(&proxyd, 60), 60);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    // The breaker is the whole process's, and opened at the third.
    // A worker that had no connection before finds none.
    let asked = |outcome: &str| proxyd.metric("proxyd_store_questions_total", &[&format!("outcome=\"{outcome}\"")]);
    let asked = asked("timeout") + asked("connect");
    assert!((1.0..=5.0).contains(&asked), "{asked}");
}

#[test]
fn a_password_that_is_wrong_and_a_host_that_is_none_do_not_keep_it_from_starting() {
    let redis = Redis::with_password("s3cret");
    let url = |login: &str| redis.url().replace("//", &format!("//{login}"));
    let wrong = Proxyd::start(&config(&url(":oth3r@"), "deny"));
    assert_eq!(wrong.get("/").status, 503);
    assert!(wrong.metric("proxyd_store_questions_total", &["outcome=\"refused\""]) > 0.0);
    let said = wrong.home().read("stderr.log") + &wrong.home().read("stdout.log");
    assert!(!said.contains("oth3r"), "{said}");
    let right = config(&url(":s3cret@"), "deny");
    wrong.reload_with(&right);
    assert_eq!(passed(&wrong, 3), 3);
    redis.ask(&["-a", "s3cret", "CONFIG", "SET", "requirepass", "oth3r"]);
    let nowhere = Proxyd::start(&config("redis://redis.invalid:6379", "local"));
    assert_eq!(passed(&nowhere, 101), 100);
}

#[test]
fn over_tls_it_is_verified_whom_we_speak_to() {
    let (ours, other) = (Authority::new("ours"), Authority::new("another"));
    let redis = Redis::with_tls(&ours.signs("redis", &["localhost"]), "s3cret");
    let url = |login: &str, host: &str| format!("rediss://{login}{host}:{}", redis.address().port());
    let start = |trusted: &Authority, url: &str| {
        let home = Home::default();
        let trusts = home.write("trusted.pem", trusted.pem());
        Start::in_home(&home, &config(url, "deny")).env("SSL_CERT_FILE", &trusts.display().to_string()).run()
    };
    let check = |trusted: &Authority, url: &str, expected: &str| {
        let proxyd = start(trusted, url);
        assert_eq!(proxyd.get("/").status, 503, "{url}");
        assert!(proxyd.metric("proxyd_store_questions_total", &[expected]) > 0.0, "{url} {expected}");
        let said = proxyd.home().read("stderr.log") + &proxyd.home().read("stdout.log");
        assert!(!said.contains("oth3r") && !said.contains("s3cret"), "{said}");
    };
    let right = start(&ours, &url(":s3cret@", "localhost"));
    assert_eq!((passed(&right, 3), right.get("/").header("x-ratelimit-remaining")), (3, Some("96")));
    check(&ours, &url(":s3cret@", "127.0.0.1"), "outcome=\"connect\"");
    check(&other, &url(":s3cret@", "localhost"), "outcome=\"connect\"");
    check(&ours, &url(":oth3r@", "localhost"), "outcome=\"refused\"");
    check(&ours, &url("", "localhost"), "outcome=\"refused\"");
    let in_clear = url(":s3cret@", "127.0.0.1").replace("rediss", "redis");
    let proxyd = Proxyd::start(&config(&in_clear, "deny").replace("2s", "300ms"));
    assert_eq!(proxyd.get("/").status, 503, "it does not speak without");
}

#[test]
fn rules_in_memory_are_asked_first_and_a_shadow_refuses_nobody() {
    let redis = Redis::start();
    let yaml = format!(
        "redis: {{url: '{}', timeout: 2s}}\n\
         rate_limit:\n\
         - {{name: fleet, limits: [{{requests: 3, per: 1h}}], store: redis, cost: 1}}\n\
         - {{name: here, limits: [{{requests: 4, per: 1h}}], by: {{header: x-tenant}}}}\n\
         - {{name: trial, limits: [{{requests: 1, per: 1h}}], store: redis, mode: shadow, on_store_error: deny}}\n\
         routes:\n  - {{path: /, respond: {{status: 200}}}}\n",
        redis.url()
    );
    let proxyd = Proxyd::start(&yaml);
    let send = |tenant: &str| Request::get("/").header("X-Tenant", tenant).send(proxyd.address());
    let first = send("a");
    assert_eq!(first.header("ratelimit-policy"), Some("\"fleet\";q=3;w=3600"), "the tightest: {:?}", first.headers);
    assert_eq!([send("a").status, send("a").status, send("a").status, send("a").status], [200, 200, 429, 429]);
    let told = proxyd.metric("proxyd_rate_limit_total", &["rule=\"trial\"", "outcome=\"shadow_refused\""]);
    assert_eq!(told as u64, 2, "what is refused before is not asked");
    let lines = proxyd.stream("limits", &json!({"rule": "fleet", "key": "127.0.0.1"}));
    assert_eq!(lines.first().map(|line| &line["remaining"]), Some(&json!(0)), "{lines:#?}");
}

#[test]
fn concurrency_is_released_however_a_request_ends() {
    let upstream = Upstream::scripted(|conn| {
        while let Some(request) = conn.request() {
            if request.target.contains("hang") {
                // Until the client has gone.
                conn.wire.closes_within(PATIENCE);
                return;
            }
            conn.answer(200, &[], b"done");
        }
    });
    let config = |most: u32| {
        format!(
            "rate_limit: {{algorithm: concurrency, concurrent: {most}, by: ip}}\nroutes:\n  - {{path: /, target: '{}'}}\n",
            upstream.url()
        )
    };
    let proxyd = Proxyd::start(&config(2));
    let mut hanging: Vec<Wire> = (0..2).map(|_| Wire::connect(proxyd.address())).collect();
    for wire in &mut hanging {
        wire.send(b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    // A request of our own would take a place itself.
    eventually("both run", || (upstream.requests() == 2).then_some(()));
    let refused = proxyd.get("/");
    assert_eq!(refused.header("ratelimit-policy"), Some("\"default\";q=2;qu=\"concurrent-requests\""));
    assert_eq!((refused.header("ratelimit"), refused.header("retry-after")), (Some("\"default\";r=0"), Some("1")));
    proxyd.reload_with(&config(3));
    assert_eq!(proxyd.get("/").status, 200, "two still run");
    hanging.clear();
    eventually("their places are free", || {
        let left = proxyd.get("/").header("x-ratelimit-remaining").map(str::to_owned);
        (left.as_deref() == Some("2")).then_some(())
    });
}

#[test]
fn whoever_is_asked_is_told_of_and_so_is_whoever_does_not_answer() {
    let mut redis = Redis::start();
    let keys = serde_json::json!({"keys": [EdKey::new("one").jwk()]}).to_string();
    let issuer = Upstream::scripted(move |conn| {
        while conn.request().is_some() {
            conn.answer(200, &[("content-type", "application/json")], keys.as_bytes());
        }
    });
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxyd = Proxyd::start(&format!(
        "{}identity:\n  revocations: redis\n  jwt: {{main: {{issuer: a, audience: b, algorithms: [EdDSA], keys: {{jwks_url: '{}/jwks.json?secret=x'}}}}}}\n  introspection: {{url: 'http://{gone}/ask?secret=x', client_id: a, client_secret: b}}\nauth: [jwt.main, introspection]\n",
        config(&redis.url(), "deny"),
        issuer.url()
    ));
    eventually("keys are fetched", || {
        let status = proxyd.ctl(&["status"]);
        status.exits(0);
        assert!(!status.stdout.contains("secret="), "{}", status.stdout);
        let told = status.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        (told.contains("answers") && told.contains("1 key, fetched last") && told.contains("asked when it is needed"))
            .then_some(())
    });
    let doctor = proxyd.ctl(&["doctor"]);
    doctor.exits(1).says(&["has 1 key", "answers", "introspect", "cannot be reached"]);
    assert!(!doctor.stdout.contains("secret="), "{}", doctor.stdout);
    redis.end();
    proxyd.ctl(&["status"]).exits(0).says(&["does not answer"]);
    proxyd.ctl(&["doctor"]).exits(1).says(&["redis", "cannot be reached", "on_store_error"]);
    proxyd.ctl(&["tokens", "revoke", "--jti", "stolen"]).exits(0).says(&["is revoked", "only here so far"]);
    redis.run();
    proxyd.ctl(&["doctor"]).exits(1).says(&["answers"]);
    let again = proxyd.ctl(&["tokens", "revoke", "--jti", "stolen"]);
    assert!(!again.exits(0).stdout.contains("only here"), "{}", again.stdout);
}
