//! Explanations of who would have to come, and of limits that follow who it is.

use super::*;
use crate::config::source::Resolver;
use crate::config::{Input, References, load};

struct Nothing;

impl Resolver for Nothing {
    fn env(&self, _: &str) -> Option<String> {
        Some("0123456789abcdef0123456789abcdef".to_owned())
    }

    fn file(&self, _: &std::path::Path) -> Result<String, String> {
        Err("there is no such file".to_owned())
    }
}

const IDENTITY: &str = "\
identity:
  jwt: {main: {keys: {secret: '${env:T}'}}, other: {keys: {pem: a.pem}, from: [{cookie: t}, {query: ticket}]}}
  api_key: on
  basic: {users_file: users}
  login: {corp: {kind: oidc, issuer: 'https://a', client_id: a}}
  forward: {url: 'http://127.0.0.1:9091/verify'}
  accounts: on
";

/// What the policy says to a request of a client at 10.0.0.1; nothing but the policy is written.
#[track_caller]
fn check(policy: &str, request: &str, headers: &[&str], expected: &str) {
    let text = format!("{IDENTITY}routes: [{{path: /, respond: {{}}, {policy}}}]\n");
    let checked = load(&Input::text("config.yaml", &text), &References::Resolve(&Nothing)).unwrap();
    let (method, url) = request.split_once(' ').unwrap();
    let headers = headers.iter().map(|line| (*line).to_owned()).collect();
    let args = ExplainArgs { method: method.into(), url: url.into(), headers, from: None };
    let table = Table::compile(&checked.config);
    let found = explain(&checked.config, &table, &args, "10.0.0.1".parse().unwrap()).unwrap();
    let key = policy.split(':').next().unwrap();
    let line = found.policies.iter().find(|line| line.policy == key).unwrap();
    assert_eq!(
        (line.effect.as_str(), line.scope.as_str()),
        (expected, "route /"),
        "{request} {headers:?}",
        headers = args.headers
    );
    assert!(!serde_json::to_string(&found).unwrap().contains("s3cret"));
}

#[test]
fn what_is_brought_is_told_and_not_shown() {
    check("auth: jwt.main", "GET /", &[], "needs jwt.main: the request brings nothing and is refused with 401");
    check(
        "auth: jwt.main",
        "GET /",
        &["Authorization: Basic s3cret"],
        "needs jwt.main: the request brings nothing and is refused with 401",
    );
    check(
        "auth: [jwt.main, api_key]",
        "GET /",
        &["Authorization: bearer s3cret"],
        "needs jwt.main or api_key: the request brings header authorization (Bearer) [present, masked, 6 bytes] for jwt.main; whether it is good is not looked at",
    );
    check(
        "auth: [jwt.main, api_key]",
        "GET /",
        &["Authorization: Bearer pk_s3cret"],
        "needs jwt.main or api_key: the request brings header authorization (Bearer) [present, masked, 9 bytes] for api_key; whether it is good is not looked at",
    );
    check(
        "auth: {all_of: [basic, api_key], scopes: [read, write], methods: {DELETE: {roles: [admin, root]}}}",
        "DELETE /",
        &["Authorization: Basic s3cret", "X-API-Key: s3cret"],
        "needs basic and api_key: the request brings header authorization (Basic) [present, masked, 6 bytes] for basic, header x-api-key [present, masked, 6 bytes] for api_key; whether they are good is not looked at; DELETE needs one of the roles admin, root",
    );
    check(
        "auth: {any_of: jwt.other, optional: true, roles: [a], scopes: [b], methods: {GET: {}}}",
        "POST /?x=1&ticket=s3cret",
        &[],
        "needs jwt.other: the request brings query parameter ticket [present, masked, 6 bytes] for jwt.other; whether it is good is not looked at; POST needs the role a and the scope b",
    );
    check(
        "auth: {any_of: jwt.other, optional: true}",
        "GET /",
        &["Cookie: a=b; tt=s3cret"],
        "takes jwt.other: the request brings nothing and goes on as nobody",
    );
    check(
        "auth: login.corp",
        "GET /",
        &["Cookie: __Host-proxyd_session=s3cret"],
        "needs login.corp: the request brings cookie __Host-proxyd_session [present, masked, 6 bytes] for login.corp; whether it is good is not looked at",
    );
    check(
        "auth: login.corp",
        "GET /",
        &[],
        "needs login.corp: the request brings nothing: a browser is sent to log in, anything else is refused with 401",
    );
    check(
        "auth: forward",
        "GET /",
        &[],
        "needs forward: the request brings whatever \"http://127.0.0.1:9091/verify\" is asked about for forward; whether it is good is not looked at",
    );
    let until = "auth: {any_of: jwt.main, tunnels: until_expired}";
    check(until, "GET /", &[], "needs jwt.main: the request brings nothing and is refused with 401");
    check(
        until,
        "GET /",
        &["Upgrade: websocket"],
        "needs jwt.main: the request brings nothing and is refused with 401; a tunnel ends when what it was opened with expires",
    );
    check("auth: off", "GET /", &[], "off");
}

#[test]
fn methods_that_headers_name_are_needed_too() {
    let policy = "auth: {any_of: jwt.main, optional: true, methods: {DELETE: {roles: admin}}}";
    let nothing = "needs jwt.main: the request brings nothing and is refused with 401";
    check(policy, "POST /", &[], "takes jwt.main: the request brings nothing and goes on as nobody");
    check(
        policy,
        "POST /",
        &["X-HTTP-Method-Override: delete"],
        &format!("{nothing}; \"delete\", which x-http-method-override names, needs the role admin"),
    );
    check(
        policy,
        "POST /",
        &["X_Method_Override: get, DELETE"],
        &format!("{nothing}; \"DELETE\", which x-method-override names, needs the role admin"),
    );
    let plain = "auth: {any_of: jwt.main, roles: admin}";
    check(plain, "POST /", &["X-HTTP-Method: delete"], &format!("{nothing}; POST needs the role admin"));
}

/// The verdict on one route with `api_key` in the query.
#[track_caller]
fn verdict(route: &str, url: &str) -> crate::control::report::Verdict {
    let text = format!(
        "identity: {{api_key: {{from: [{{query: pass-by}}, {{query: 'k'}}]}}}}\nroutes: [{{path: /, {route}}}]\n"
    );
    let checked = load(&Input::text("config.yaml", &text), &References::Resolve(&Nothing)).unwrap();
    let args = ExplainArgs { method: "GET".into(), url: url.into(), headers: Vec::new(), from: None };
    let table = Table::compile(&checked.config);
    let found = explain(&checked.config, &table, &args, "10.0.0.1".parse().unwrap()).unwrap();
    let whole = serde_json::to_string(&found).unwrap();
    assert!(!whole.contains("s3cret"), "{whole}");
    found.verdict
}

#[test]
fn the_url_upstream_is_what_is_sent_and_shows_no_credentials() {
    use crate::control::report::Verdict;
    let url = |auth: &str, url: &str| {
        let found = verdict(&format!("target: 'http://up:80/b', auth: {auth}"), url);
        let Verdict::Forward { targets, .. } = found else { panic!("{found:?}") };
        targets[0].urls[0].clone()
    };
    let shown = "http://up:80/b/key?a=1&pass-by=[present, masked, 6 bytes]";
    assert_eq!(url("api_key", "http://h/key?a=1&pass-by=s3cret"), shown);
    let kept_back = "{any_of: api_key, forward_credentials: false}";
    assert_eq!(url(kept_back, "http://h/key?a=1&pass%2Dby=s3cret&k=s3cret&b"), "http://up:80/b/key?a=1&b");
    assert_eq!(url(kept_back, "http://h/key?pass-by=s3cret"), "http://up:80/b/key");
    assert_eq!(url(kept_back, "http://h/key?token=s3cret"), "http://up:80/b/key?token=[present, masked, 6 bytes]");
    let found = verdict("redirect: 'https://new{path}#x'", "http://h/key?token=s3cret");
    let Verdict::Redirect { location, .. } = found else { panic!("{found:?}") };
    assert_eq!(location, "https://new/key?token=[present, masked, 6 bytes]#x");
}

#[test]
fn limits_follow_who_it_is() {
    let many = "rate_limit: {requests_per_minute: 60, by: [user, api_key, ip], cost: 5, exempt: [192.168.0.0/16, {user: ann}]}, auth: api_key";
    check(
        many,
        "GET /",
        &[],
        "default: 60/1m, sliding window, a request costs 5, counted by who it is, else the API key, else address 10.0.0.1; does not count ann",
    );
    check(
        "rate_limit: {algorithm: concurrency, concurrent: 3, methods: [POST]}",
        "POST /",
        &[],
        "default: 3 at the same time, counted by address 10.0.0.1",
    );
    check(
        "rate_limit: {algorithm: concurrency, concurrent: 3, methods: [POST, PUT]}",
        "GET /",
        &[],
        "default: 3 at the same time; does not count this request: GET is not POST or PUT",
    );
    check(
        "rate_limit: {requests_per_minute: 1, exempt: 10.0.0.0/8, algorithm: fixed_window}",
        "GET /",
        &[],
        "default: 1/1m, fixed window; does not count this request: 10.0.0.1 is in 10.0.0.0/8, which is exempt",
    );
}

#[test]
fn threats_are_told_by_their_rules() {
    check("threats: shadow", "GET /", &[], "finds nothing; only watches");
    check(
        "threats: {score: 9, rules: {traversal: off, null_byte: 3}}",
        "GET /?a=../../x&b=%00",
        &[],
        "lets it pass: 3 of 9 (null_byte 3)",
    );
    check("threats: {methods: [GET, POST]}", "DELETE /", &[], "refuses with 405: threat_method");
}
