//! What good texts mean.

use std::time::Duration;

use super::{bad, good};
use crate::config::policy::{Algorithm, CorsOrigins, Key, Mode, Names};
use crate::config::{Action, PathPattern, Scope};

#[test]
fn the_smallest_useful_file() {
    let checked = good(
        r#"routes:
  - path: /api/
    target: http://127.0.0.1:8001
  - path: /auth/
    target: http://127.0.0.1:8002
rate_limit:
  requests_per_minute: 100
cors:
  allow_origins: ["*"]
"#,
    );
    assert_eq!(checked.warnings, []);
    let config = &checked.config;
    assert_eq!(config.server.listen[0].address.to_string(), "0.0.0.0:8000");
    assert_eq!(config.admin.listen.unwrap().to_string(), "127.0.0.1:9900");
    assert_eq!(config.server.timeouts.request_headers, Duration::from_secs(10));
    assert_eq!(config.audit.path.to_string_lossy(), "./data/audit");
    assert_eq!(config.upstreams.len(), 2);
    assert_eq!(&*config.upstreams[1].name, "http://127.0.0.1:8002");
    assert_eq!(config.upstreams[1].timeouts.connect, Duration::from_secs(1));
    let [api, auth] = config.routes.as_slice() else { panic!("two routes") };
    assert_eq!((&*api.name, &*auth.name), ("/api/", "/auth/"));
    assert_eq!(api.at.to_string(), "config.yaml:2:5");
    assert!(matches!(&api.path, PathPattern::Prefix(path) if &**path == "/api/"));
    assert!(matches!(&auth.action, Action::Forward(shares) if shares[0].upstream == 1 && shares[0].weight == 1));
    let limit = api.policies.rate_limit.value.as_ref().unwrap();
    assert_eq!(api.policies.rate_limit.scope, Scope::TopLevel);
    let rule = &limit.rules[0];
    assert_eq!((&*rule.name, rule.limits[0].requests, rule.limits[0].per), ("default", 100, Duration::from_mins(1)));
    assert_eq!(
        (rule.by.as_slice(), rule.algorithm, rule.mode),
        ([Key::Ip].as_slice(), Algorithm::SlidingWindow, Mode::Enforce)
    );
    assert_eq!((rule.max_keys, rule.ipv6_prefix), (100_000, 64));
    let cors = api.policies.cors.value.as_ref().unwrap();
    assert_eq!((&cors.allow_origins, &cors.allow_headers, cors.credentials), (&CorsOrigins::Any, &Names::Any, false));
    assert_eq!(api.policies.body_limit.value.as_ref().unwrap().max_bytes, 10 << 20);
    assert!(api.policies.security_headers.value.is_none());
}

#[test]
fn every_mistake_is_told_in_one_run() {
    let found = bad("
server:
  listne: 1.2.3.4:80
  timeouts: {drain: 10}
routes:
  - path: [1]
    target: http://a
  - path: api
    upstream: usrs
  - path: /x
upstreams:
  users: {endpoints: [https://a, http://b]}
");
    insta::assert_debug_snapshot!(found);
}

#[test]
fn the_repositorys_config_and_the_starter_are_good() {
    let whole = include_str!("../../../../config.yaml");
    for text in [whole, crate::config::starter()] {
        assert_eq!(good(text).warnings, []);
    }
    let names: Vec<String> = good(whole).config.routes.iter().map(|route| route.name.to_string()).collect();
    assert_eq!(names, ["api", "auth", "balanced", "canary", "hello", "welcome", "moved", "internal"]);
}
