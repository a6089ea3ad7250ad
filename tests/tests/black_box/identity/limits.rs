//! Limits that follow whoever was recognised, beside those that need not know: what each counts, and what operators see of it.

use serde_json::{Value, json};
use tests::token::{SECRET, hs256};
use tests::{Proxyd, Redis, Request, Response, eventually};

use super::combining::HASH;
use crate::black_box::websocket;

fn yaml(limits: &str) -> String {
    format!(
        "identity: {{api_key: {{}}}}\nauth: [api_key]\nrate_limit:\n{limits}routes:\n  - {{path: /, respond: {{status: 200}}}}\n"
    )
}

/// A new key: its text, prefix and id.
fn key(proxyd: &Proxyd, args: Value) -> [String; 3] {
    let made = proxyd.ask("keys_create", &args);
    ["key", "prefix", "id"].map(|field| made[field].as_str().unwrap().to_owned())
}

fn send(proxyd: &Proxyd, key: &str) -> Response {
    Request::get("/").header("X-API-Key", key).send(proxyd.address())
}

#[track_caller]
fn check(proxyd: &Proxyd, key: &str, expected: &[u16]) {
    let statuses: Vec<u16> = expected.iter().map(|_| send(proxyd, key).status).collect();
    assert_eq!(statuses, expected);
}

#[test]
fn wrong_credentials_are_counted_by_address_before_anybody_is_asked() {
    let proxyd = Proxyd::start(&yaml(
        "  - {name: address, limits: [{requests: 3, per: 1h}], by: ip}\n  - {name: person, limits: [{requests: 9, per: 1h}], by: user}\n",
    ));
    check(&proxyd, "pk_aaaaaaaa_wrong", &[401, 401, 401, 429]);
    let line = proxyd.stream("limits", &json!({"rule": "person"}));
    assert_eq!(line[0]["keys"], 0, "nobody was recognised: {line:?}");
}

#[test]
fn a_user_counts_once_over_all_keys_and_a_key_by_itself() {
    let proxyd = Proxyd::start(&yaml("  - {limits: [{requests: 3, per: 1h}], by: [user, ip]}\n"));
    let [one, ..] = key(&proxyd, json!({"name": "one", "user": "ada"}));
    let [two, ..] = key(&proxyd, json!({"name": "two", "user": "ada"}));
    let [own, ..] = key(&proxyd, json!({"name": "ada"}));
    check(&proxyd, &one, &[200, 200]);
    check(&proxyd, &two, &[200, 429]);
    check(&proxyd, &own, &[200, 200, 200, 429]);

    let proxyd = Proxyd::start(&yaml("  - {limits: [{requests: 1, per: 1h}], by: [api_key, user]}\n"));
    let [one, ..] = key(&proxyd, json!({"name": "one", "user": "ada"}));
    let [two, ..] = key(&proxyd, json!({"name": "two", "user": "ada"}));
    check(&proxyd, &one, &[200, 429]);
    check(&proxyd, &two, &[200, 429]);
    let rotated = proxyd.ask("keys_rotate", &json!({"key": "one"}));
    check(&proxyd, rotated["key"].as_str().unwrap(), &[429]);
}

#[test]
fn a_key_beside_a_token_is_not_who_it_is() {
    let proxyd = Proxyd::start(&format!(
        "identity: {{jwt: {{main: {{keys: {{secret: '{SECRET}'}}}}}}, api_key: {{}}}}\nauth: {{all_of: [jwt.main, api_key]}}\n\
         rate_limit:\n  - {{name: people, limits: [{{requests: 2, per: 1h}}], by: user, exempt: {{user: ann}}}}\n  \
         - {{name: keys, limits: [{{requests: 50, per: 1h}}], by: api_key}}\n\
         routes:\n  - {{path: /, respond: {{status: 200}}}}\n",
    ));
    // An app's, which all of its users send along.
    let [app, prefix, _] = key(&proxyd, json!({"name": "app", "limit": "7/1h"}));
    let ask = |user: &str| {
        let token = format!("Bearer {}", hs256(user, &json!({})));
        Request::get("/").header("Authorization", &token).header("X-API-Key", &app).send(proxyd.address()).status
    };
    assert_eq!([0; 3].map(|_| ask("bob")), [200, 200, 429]);
    assert_eq!([0; 3].map(|_| ask("eve")), [200, 200, 429]);
    assert_eq!([0; 3].map(|_| ask("ann")), [200; 3]);
    // The key's own limit is of the rule that counts keys.
    let shown = proxyd.stream("limits", &json!({"rule": "keys", "key": prefix}));
    assert_eq!((shown.len(), &shown[0]["remaining"]), (1, &json!(0)), "{shown:?}");
    assert_eq!(ask("ann"), 429);
}

#[test]
fn a_key_s_own_limit_stands_in_place_of_the_rule_s() {
    let proxyd = Proxyd::start(&yaml(
        "  - {name: keys, limits: [{requests: 2, per: 1m}, {requests: 100, per: 1h}], by: api_key, algorithm: fixed_window}\n",
    ));
    let [usual, ..] = key(&proxyd, json!({"name": "usual"}));
    let [special, ..] = key(&proxyd, json!({"name": "special", "limit": "5/1h"}));
    check(&proxyd, &usual, &[200, 200, 429]);
    let first = send(&proxyd, &special);
    assert_eq!(first.header("ratelimit-policy"), Some("\"keys\";q=5;w=3600"));
    assert_eq!((first.header("x-ratelimit-limit"), first.header("x-ratelimit-remaining")), (Some("5"), Some("4")));
    check(&proxyd, &special, &[200, 200, 200, 200, 429]);
}

#[test]
fn clients_are_told_the_tightest_of_all_rules_once() {
    let rules = |address: u32, user: u32| {
        yaml(&format!(
            "  - {{name: address, limits: [{{requests: {address}, per: 1h}}]}}\n  - {{name: person, limits: [{{requests: {user}, per: 1h}}], by: user}}\n"
        ))
    };
    for (address, user, expected) in
        [(5, 9, "\"address\";q=5;w=3600"), (9, 5, "\"person\";q=5;w=3600"), (5, 5, "\"address\";q=5;w=3600")]
    {
        let proxyd = Proxyd::start(&rules(address, user));
        let [key, ..] = key(&proxyd, json!({"name": "one"}));
        let response = send(&proxyd, &key);
        assert_eq!(response.headers.all("ratelimit-policy"), [expected], "{address} {user}");
        assert_eq!(response.headers.all("x-ratelimit-remaining"), ["4"]);
    }
}

#[test]
fn costs_methods_and_exempt_ones() {
    let proxyd = Proxyd::start(&yaml(
        "  - {name: writes, limits: [{requests: 5, per: 1h}], by: user, methods: [POST], cost: 2}\n  \
         - {name: reads, limits: [{requests: 2, per: 1h}], by: user, methods: GET, exempt: [{api_key: robot}, {user: root}]}\n  \
         - {name: strangers, limits: [{requests: 1, per: 1h}], exempt: [127.0.0.0/8]}\n",
    ));
    let [one, ..] = key(&proxyd, json!({"name": "one"}));
    let [robot, ..] = key(&proxyd, json!({"name": "robot"}));
    let [root, ..] = key(&proxyd, json!({"name": "two", "user": "root"}));
    let ask =
        |key: &str, method: &str| Request::new(method, "/").header("X-API-Key", key).send(proxyd.address()).status;
    assert_eq!(["POST", "POST", "POST", "PUT"].map(|method| ask(&one, method)), [200, 200, 429, 200]);
    assert_eq!(["GET", "HEAD", "GET", "HEAD"].map(|method| ask(&one, method)), [200, 200, 429, 429]);
    assert_eq!([&robot, &root].map(|key| [0; 4].map(|_| ask(key, "GET"))), [[200; 4]; 2]);
    let free = send(&proxyd, &robot);
    assert_eq!(free.header("x-ratelimit-limit"), None, "{:?}", free.headers);
}

#[test]
fn operators_see_who_uses_most_and_reset_it_by_any_name() {
    let proxyd = Proxyd::start(&yaml("  - {name: keys, limits: [{requests: 4, per: 1h}], by: api_key}\n"));
    let [text, prefix, id] = key(&proxyd, json!({"name": "builder", "user": "ada"}));
    for name in [&*id, &*prefix, "builder", "ada"] {
        check(&proxyd, &text, &[200, 200, 200, 200, 429]);
        let shown = proxyd.stream("limits", &json!({"key": name}));
        assert_eq!((shown.len(), &shown[0]["remaining"]), (1, &json!(0)), "{name}: {shown:?}");
        let top = proxyd.stream("limits_top", &json!({}));
        assert_eq!((&top[0]["used"], &top[0]["remaining"]), (&json!(4), &json!(0)), "{top:?}");
        assert!(top[0]["key"].as_str().unwrap().contains(&prefix), "{top:?}");
        assert_eq!(proxyd.ask("limits_reset", &json!({"key": name}))["reset"], 1, "{name}");
    }
    assert_eq!(proxyd.ask("limits_reset", &json!({"key": "nobody"}))["reset"], 0);
    assert!(!format!("{:?}", proxyd.stream("limits_top", &json!({}))).contains(&text));
}

#[test]
fn what_a_redis_counts_is_shown_and_reset_from_any_proxy() {
    let redis = Redis::start();
    let yaml = format!(
        "redis: {{url: '{}', timeout: 2s}}\n{}",
        redis.url(),
        yaml("  - {name: keys, limits: [{requests: 4, per: 1h}], by: api_key, store: redis}\n")
    );
    let (one, two) = (Proxyd::start(&yaml), Proxyd::start(&yaml));
    let [text, prefix, id] = key(&one, json!({"name": "builder"}));
    check(&one, &text, &[200, 200, 200, 200, 429]);
    let top = one.stream("limits_top", &json!({}));
    assert_eq!(top[0]["used"], 4, "{top:?}");
    // The other has never met the key, nor its name; its id says which it is.
    let shown = two.stream("limits", &json!({"key": id}));
    assert_eq!((shown.len(), &shown[0]["remaining"]), (1, &json!(0)), "{shown:?}");
    assert_eq!(two.ask("limits_reset", &json!({"key": id}))["reset"], 1);
    check(&one, &text, &[200]);
    let shown = one.stream("limits", &json!({"key": prefix}));
    assert_eq!(shown[0]["remaining"], 3, "{shown:?}");
    assert_eq!(one.ask("limits_reset", &json!({"key": "builder"}))["reset"], 1);
    check(&one, &text, &[200]);
    drop(redis);
    let shown = one.stream("limits", &json!({"key": "builder"}));
    assert_eq!((&shown[0]["remaining"], &shown[0]["store_silent"]), (&json!(3), &json!(true)), "as known here");
    let told = one.ask("limits_reset", &json!({"key": "builder"}));
    assert_eq!(told["reset"], 1, "here at least: {told}");
    assert!(told["failed"][0].as_str().unwrap().starts_with("keys (top level): the shared store"), "{told}");
    check(&one, &text, &[200, 200, 200, 200, 429]);
}

#[test]
fn what_runs_is_not_reset() {
    let upstream = websocket::repeater();
    let proxyd = Proxyd::start(&format!(
        "rate_limit: {{algorithm: concurrency, concurrent: 1, methods: GET}}\nroutes:\n  - {{path: /socket, target: '{}'}}\n  - {{path: /, respond: {{status: 200}}}}\n",
        upstream.url()
    ));
    let socket = websocket::open(&proxyd);
    let told = proxyd.ask("limits_reset", &json!({"key": "127.0.0.1"}));
    assert_eq!((&told["reset"], &told["running"]), (&json!(0), &json!(1)), "{told}");
    assert_eq!(proxyd.get("/").status, 429, "the tunnel has its place");
    drop(socket);
    eventually("its place is free", || (proxyd.get("/").status == 200).then_some(()));
}

#[test]
fn one_who_is_exempt_is_so_as_its_provider_knows_it() {
    let yaml = "identity: {api_key: {}, basic: {users: [{user: ann, password_hash: 'HASH'}]}}\nauth: [api_key, basic]\n\
        rate_limit: {limits: [{requests: 1, per: 1h}], by: user, exempt: {user: ann, provider: basic}}\n\
        routes:\n  - {path: /, respond: {status: 200}}\n";
    let proxyd = Proxyd::start(&yaml.replace("HASH", HASH));
    let [acts_for_ann, ..] = key(&proxyd, json!({"name": "one", "user": "ann"}));
    check(&proxyd, &acts_for_ann, &[200, 429]);
    let basic =
        || Request::get("/").header("Authorization", "Basic YW5uOmNvcnJlY3QgaG9yc2U=").send(proxyd.address()).status;
    assert_eq!([basic(), basic(), basic()], [200; 3]);
}

#[test]
fn a_wait_is_the_longest_of_all_rules_and_no_key_is_made_that_never_passes() {
    let proxyd = Proxyd::start(&yaml(
        "  - {name: short, limits: [{requests: 1, per: 1m}], algorithm: fixed_window, by: ip}\n  \
         - {name: long, limits: [{requests: 1, per: 1h}], algorithm: fixed_window, by: ip}\n  \
         - {name: keys, limits: [{requests: 100, per: 1m}], by: api_key, cost: 5}\n",
    ));
    let [text, ..] = key(&proxyd, json!({"name": "one", "limit": "5/1m"}));
    check(&proxyd, &text, &[200]);
    let refused = send(&proxyd, &text);
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((3500..=3600).contains(&wait), "{} {wait}", refused.status);
    let error = proxyd.try_ask("keys_create", &json!({"name": "two", "limit": "4/1m"})).unwrap_err();
    assert_eq!(error["code"], "invalid_arguments", "{error}");
    assert!(error["message"].as_str().unwrap().contains("each costs 5 in the rule `keys`"), "{error}");
}

#[test]
fn a_key_may_have_a_limit_below_what_only_some_requests_cost() {
    let rule = |more: &str| yaml(&format!("  - {{limits: [{{requests: 100, per: 1m}}], cost: 5, {more}}}\n"));
    for (more, is_made) in [
        ("by: api_key", false),
        ("by: [api_key, ip]", false),
        ("by: [ip, api_key]", true),
        ("by: api_key, methods: [POST]", true),
        ("by: api_key, mode: shadow", true),
        ("by: api_key, exempt: [{api_key: one}]", true),
        ("by: api_key, exempt: [{api_key: other}]", false),
        ("by: api_key, exempt: [10.0.0.0/8]", true),
        ("by: api_key, exempt: [{user: ann}]", true),
    ] {
        let proxyd = Proxyd::start(&rule(more));
        let made = proxyd.try_ask("keys_create", &json!({"name": "one", "user": "ann", "limit": "4/1m"}));
        assert_eq!(made.is_ok(), is_made, "{more}: {made:?}");
    }
    let on_a_route = yaml("  - {limits: [{requests: 100, per: 1m}]}\n")
        .replace("{path: /,", "{path: /, rate_limit: {limits: [{requests: 100, per: 1m}], by: api_key, cost: 5},");
    let made = Proxyd::start(&on_a_route).try_ask("keys_create", &json!({"name": "one", "limit": "4/1m"}));
    assert!(made.is_ok(), "{made:?}");
}

#[test]
fn two_users_of_one_name_are_told_apart_and_none_who_has_all_is_told() {
    let redis = Redis::start();
    for store in ["memory", "redis"] {
        let yaml = format!(
            "redis: {{url: '{}', timeout: 2s}}\n\
             identity: {{api_key: {{}}, basic: {{users: [{{user: ann, password_hash: '{HASH}'}}]}}}}\nauth: [api_key, basic]\n\
             rate_limit: {{limits: [{{requests: 5, per: 1h}}], by: user, store: {store}}}\nroutes:\n  - {{path: /, respond: {{status: 200}}}}\n",
            redis.url()
        );
        let proxyd = Proxyd::start(&yaml);
        let [acts_for_ann, ..] = key(&proxyd, json!({"name": "one", "user": "ann"}));
        let basic =
            || Request::get("/").header("Authorization", "Basic YW5uOmNvcnJlY3QgaG9yc2U=").send(proxyd.address());
        check(&proxyd, &acts_for_ann, &[200]);
        assert_eq!([basic(), basic()].map(|answer| answer.status), [200; 2]);
        for text in ["ann", "user ann"] {
            let shown = proxyd.stream("limits", &json!({"key": text}));
            let mut told: Vec<_> = shown.iter().map(|line| (line["provider"].as_str(), &line["remaining"])).collect();
            told.sort_by_key(|(provider, _)| *provider);
            assert_eq!(told, [(Some("api_key"), &json!(4)), (Some("basic"), &json!(3))], "{store} {text}: {shown:?}");
        }
        assert_eq!(proxyd.ask("limits_reset", &json!({"key": "user ann"}))["reset"], 2, "{store}");
        let shown = proxyd.stream("limits", &json!({"key": "ann"}));
        assert!(shown.is_empty(), "{store}: nothing of them counts: {shown:?}");
    }
}

#[test]
fn a_tunnel_keeps_its_place_until_it_is_closed() {
    let upstream = websocket::repeater();
    let proxyd = Proxyd::start(&format!(
        "rate_limit: {{algorithm: concurrency, concurrent: 1, methods: GET}}\nroutes:\n  - {{path: /socket, target: '{}'}}\n  - {{path: /, respond: {{status: 200}}}}\n",
        upstream.url()
    ));
    let mut socket = websocket::open(&proxyd);
    websocket::repeats(&mut socket, "hello");
    assert_eq!(proxyd.get("/").status, 429);
    proxyd.reload_with(&proxyd.home().read("config.yaml").replace("concurrent: 1", "concurrent: 2"));
    assert_eq!(proxyd.get("/").status, 200);
    proxyd.reload_with(&proxyd.home().read("config.yaml").replace("concurrent: 2", "concurrent: 1"));
    assert_eq!(proxyd.get("/").status, 429);
    websocket::repeats(&mut socket, "still there");
    drop(socket);
    eventually("its place is free", || (proxyd.get("/").status == 200).then_some(()));
}

#[test]
fn what_has_ended_holds_no_place_and_a_key_is_told_its_own_limit() {
    let proxyd = Proxyd::start(&yaml(
        "  - {name: at_once, algorithm: concurrency, concurrent: 5, by: ip}\n  \
         - {name: keys, limits: [{requests: 9, per: 1m}], by: api_key}\n",
    ));
    let [text, prefix, _] = key(&proxyd, json!({"name": "one", "limit": "4/1h"}));
    check(&proxyd, &text, &[200, 200]);
    let told = proxyd.ask("limits_reset", &json!({"key": "127.0.0.1"}));
    assert_eq!((&told["reset"], &told["running"]), (&json!(0), &json!(0)), "both have ended: {told}");
    let shown = proxyd.stream("limits", &json!({"key": prefix}));
    assert_eq!((&shown[0]["limit"], &shown[0]["remaining"]), (&json!("4/1h"), &json!(2)), "{shown:?}");
}

#[test]
fn a_reload_warns_of_keys_that_no_request_passes_with() {
    let rules = |cost: u32| {
        yaml(&format!("  - {{name: keys, limits: [{{requests: 9, per: 1m}}], by: api_key, cost: {cost}}}\n"))
    };
    let proxyd = Proxyd::start(&rules(1));
    let [_, prefix, _] = key(&proxyd, json!({"name": "one", "limit": "4/1h"}));
    for (cost, warns) in [(4, false), (5, true)] {
        let told = proxyd.reload_with(&rules(cost));
        let warnings = told["warnings"].to_string();
        assert_eq!(warnings.contains(&prefix) && warnings.contains("in the rule `keys`"), warns, "{cost}: {told}");
    }
}
