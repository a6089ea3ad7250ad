//! What people type who have not read the page: each is refused once, with what to write in its place.

use super::load_text;

/// One error, and its hint has this in it.
#[track_caller]
fn check(text: &str, hint: &str) {
    let problems = load_text(text).expect_err("this config must be refused");
    let errors: Vec<_> =
        problems.0.iter().filter(|problem| problem.severity == crate::config::Severity::Error).collect();
    let [error] = &*errors else { panic!("{} errors: {}", errors.len(), problems.render(false)) };
    let found = error.hint.as_deref().unwrap_or_default();
    assert!(found.contains(hint), "{text}: {found:?} has no {hint:?}");
}

/// It loads, and warns of this.
#[track_caller]
fn warns(text: &str, part: &str) {
    let checked = load_text(text).unwrap_or_else(|problems| panic!("{}", problems.render(false)));
    assert!(checked.warnings.iter().any(|warning| warning.message.contains(part)), "{:?}", checked.warnings);
}

#[test]
fn limits() {
    check("rate_limit: 60/m", "rate_limit: {requests_per_minute: 60}");
    check("rate_limit: {limits: 60/1m}", "{requests: 60, per: 1m}");
    check("rate_limit: {limits: ['60/1m']}", "{requests: 60, per: 1m}");
    check("rate_limit: {limits: 60/m}", "{requests: 60, per: 1m}");
    check("rate_limit: {limits: 60}", "{requests: 60, per: 1m}");
    check("rate_limit: {request_per_minute: 60}", "did you mean `requests_per_minute`?");
    check("rate_limit: {requests_per_minute: 60, exempt: [ann]}", "{user: ann}");
}

#[test]
fn methods() {
    check("rate_limit: {requests_per_minute: 60, methods: '*'}", "leave `methods` out");
    check("rate_limit: {requests_per_minute: 60, methods: [GET, '*']}", "leave `methods` out");
    check("routes: [{path: /, methods: '*', respond: {}}]", "leave `methods` out");
    check("identity: {api_key: on}\nauth: {any_of: api_key, methods: {'*': {roles: a}}}", "beside `methods`");
}

#[test]
fn switches() {
    check("redis: redis://127.0.0.1:6379", "{url: …}");
    check("redis: on", "{url: …}");
    check("server: {trusted_proxies: []}\nbans: true", "write `on`");
    check("server: {trusted_proxies: []}\nbans: 'no'", "write `off`");
    check("identity: {accounts: true}", "write `on`");
    check("identity: {accounts: {lockout: off}}", "attempts, within, for");
    check("threats: true", "`shadow` only tells");
    check("threats: enforce", "`shadow` only tells");
    check("threats: {rules: {sql_injection: on}}", "leave it out");
}

#[test]
fn networks_with_bits_behind_their_prefix() {
    warns("rate_limit: {requests_per_minute: 60, exempt: [10.1.2.3/8]}", "10.0.0.0/8");
    warns("server: {trusted_proxies: [10.1.2.3/8]}", "10.0.0.0/8");
    assert!(
        load_text("server: {trusted_proxies: [10.0.0.0/8, 10.1.2.3, '::1', '::ffff:10.0.0.0/104']}")
            .unwrap()
            .warnings
            .is_empty()
    );
}

#[test]
fn an_engine_has_an_address() {
    for url in [
        "redis://127.0.0.1",
        "redis://127.0.0.1:6379/15",
        "redis://127.0.0.1:6379/",
        "redis://:p@[::1]:1/3",
        "redis://user:p%20q@redis_1.internal:6380/15?protocol=resp3",
        "rediss://redis.internal",
        "unix:/run/redis.sock?db=2&pass=x",
        "unix:///run/redis.sock",
    ] {
        let checked = load_text(&format!("redis: {{url: '{url}'}}"));
        checked.unwrap_or_else(|problems| panic!("{url}: {}", problems.render(false)));
    }
    let refused = |url: &str, part: &str| {
        let problems = load_text(&format!("redis: {{url: '{url}'}}")).expect_err(url);
        let told = problems.render(false);
        assert!(told.contains(part), "{url}: {told}");
    };
    refused("http://127.0.0.1", "address of a Redis");
    refused("redis://", "no host");
    refused("redis://:6379", "no host");
    refused("redis://127.0.0.1/x", "database");
    refused("redis://127.0.0.1/-1", "database");
    refused("redis://127.0.0.1/1/2", "database");
    refused("redis://127.0.0.1/99999999999", "database");
    refused("redis://127.0.0.1:x", "port");
    refused("redis://127.0.0.1:", "port");
    refused("redis://127.0.0.1:0", "port");
    refused("redis://127.0.0.1:65536", "port");
    refused("redis://::1:6379", "brackets");
    refused("redis://[::x]:6379", "brackets");
    refused("redis://a,b:6379", "host");
    refused("redis://user:p/q@127.0.0.1", "percent-encoding");
    refused("redis://user:%ff@127.0.0.1", "percent-encoding");
    refused("rediss://127.0.0.1/#insecure", "verified");
    refused("redis://127.0.0.1/0#x", "percent-encoding");
    refused("redis://127.0.0.1/0?db=2", "protocol");
    refused("redis://127.0.0.1/0?protocol=4", "protocol");
    refused("unix:", "path");
    refused("unix:?db=1", "path");
    refused("unix:/run/redis.sock?db=x", "database");
    refused("unix:/run/redis.sock?number=1", "db");
}
