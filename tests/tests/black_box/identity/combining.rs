//! Several providers, roles and scopes; who is asked elsewhere; and what of a client never reaches an upstream.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tests::token::{SECRET, hs256};
use tests::{Proxyd, Request, Response, Upstream, Wire};

/// argon2id of `correct horse`, as `proxyctl hash-password` prints it.
pub(super) const HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$TuemzHj4y56WLK/UaXllkg$YKYM2/7d2PF67KQenwnMbZeKcGIMv/vJSFzba+pyBl4";

fn start(auth: &str, routes: &str, upstream: &Upstream) -> Proxyd {
    Proxyd::start(&yaml(auth, routes, upstream))
}

fn yaml(auth: &str, routes: &str, upstream: &Upstream) -> String {
    format!(
        "identity:\n  jwt: {{main: {{keys: {{secret: '{SECRET}'}}}}}}\n  api_key: {{}}\n  \
         basic: {{users: [{{user: ada, password_hash: '{}', roles: [admin], scopes: [write]}}]}}\n  \
         send: {{user: x-user, roles: x-roles, scopes: x-scopes, key: x-key-prefix, provider: x-provider, claims: {{x-tenant: tenant}}}}\n\
         auth: {auth}\nroutes:\n{routes}  - {{path: /, target: '{}'}}\n",
        HASH,
        upstream.url()
    )
}

fn basic(password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("ada:{password}")))
}

/// The headers that the upstream saw, by name in lower case.
pub(super) fn seen(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["headers"].clone()
}

pub(super) fn value(headers: &Value, name: &str) -> Vec<String> {
    let lines = headers.as_array().unwrap().iter().filter(|line| line[0].as_str().unwrap().eq_ignore_ascii_case(name));
    lines.map(|line| line[1].as_str().unwrap().to_owned()).collect()
}

pub(super) fn outcome(response: &Response) -> String {
    if response.status == 200 { "200".to_owned() } else { format!("{} {}", response.status, response.error_code()) }
}

#[test]
fn a_claim_that_is_a_list_is_sent_as_its_texts() {
    let upstream = Upstream::echo();
    let proxyd = start("jwt.main", "", &upstream);
    let check = |tenant: Value, expected: &[&str]| {
        let token = format!("Bearer {}", hs256("alice", &json!({ "tenant": tenant })));
        let told = seen(&Request::get("/").header("Authorization", &token).send(proxyd.address()));
        assert_eq!(value(&told, "x-tenant"), expected, "{tenant}");
    };
    check(json!("acme"), &["acme"]);
    check(json!(["acme", "b,c", " d", "e", "", 7]), &["acme,e"]);
    check(json!([]), &[]);
    check(json!({"a": 1}), &[]);
    check(json!(["x".repeat(1025)]), &[]);
}

#[test]
fn any_of_several_lets_in_and_the_most_telling_refusal_is_told() {
    let upstream = Upstream::echo();
    let proxyd = start("[jwt.main, api_key, basic]", "", &upstream);
    let key = proxyd.ask("keys_create", &json!({"name": "ci", "roles": ["agent"], "scopes": ["read", "write"]}));
    let (key, prefix) = (key["key"].as_str().unwrap(), key["prefix"].as_str().unwrap());
    let token = format!("Bearer {}", hs256("alice", &json!({"roles": ["user"], "scope": "read", "tenant": "acme"})));
    let ask = |headers: &[(&str, &str)]| {
        headers
            .iter()
            .fold(Request::get("/"), |request, (name, value)| request.header(name, value))
            .send(proxyd.address())
    };
    let told = seen(&ask(&[("Authorization", &token)]));
    for (name, expected) in [
        ("x-user", "alice"),
        ("x-roles", "user"),
        ("x-scopes", "read"),
        ("x-provider", "jwt.main"),
        ("x-tenant", "acme"),
    ] {
        assert_eq!(value(&told, name), [expected], "{name}");
    }
    let told = seen(&ask(&[("X-API-Key", key)]));
    for (name, expected) in [
        ("x-user", "ci"),
        ("x-roles", "agent"),
        ("x-scopes", "read write"),
        ("x-provider", "api_key"),
        ("x-key-prefix", prefix),
    ] {
        assert_eq!(value(&told, name), [expected], "{name}");
    }
    assert_eq!(value(&seen(&ask(&[("Authorization", &format!("Bearer {key}"))])), "x-user"), ["ci"]);
    assert_eq!(value(&seen(&ask(&[("Authorization", &basic("correct horse"))])), "x-user"), ["ada"]);
    // A bad one beside a good one does not matter where any will do.
    assert_eq!(value(&seen(&ask(&[("Authorization", &token), ("X-API-Key", "pk_bad")])), "x-user"), ["alice"]);
    for (headers, expected) in [
        (vec![], "401 auth_required"),
        (vec![("Authorization", "Bearer x.y.z")], "401 token_malformed"),
        (vec![("X-API-Key", "nothing")], "401 key_unknown"),
        (vec![("X-API-Key", key), ("x-api-key", "other")], "401 credentials_ambiguous"),
        (vec![("Authorization", "Basic !!!")], "401 password_wrong"),
        (vec![("Authorization", "Basic")], "401 auth_required"),
        (vec![("Authorization", "Digest x")], "401 auth_required"),
    ] {
        assert_eq!(outcome(&ask(&headers)), expected, "{headers:?}");
    }
    assert_eq!(outcome(&ask(&[("Authorization", &basic("wrong"))])), "401 password_wrong");
    // `ada:` and the rest.
    assert_eq!(outcome(&ask(&[("Authorization", &basic(&"x".repeat(1019)))])), "401 password_wrong");
    assert_eq!(outcome(&ask(&[("Authorization", &basic(&"x".repeat(1020)))])), "401 credentials_too_large");
    let answer = ask(&[]);
    let challenges: Vec<_> = answer.headers.all("www-authenticate");
    assert_eq!(challenges.len(), 3, "{challenges:?}");
    assert!(challenges.contains(&"Basic realm=\"proxyd\", charset=\"UTF-8\""), "{challenges:?}");
}

#[test]
fn all_of_several_must_recognise_somebody() {
    let upstream = Upstream::echo();
    let proxyd = start("{all_of: [jwt.main, api_key]}", "", &upstream);
    let key = proxyd.ask("keys_create", &json!({"name": "ci", "roles": ["agent"], "scopes": ["write"]}));
    let key = key["key"].as_str().unwrap();
    let token = format!("Bearer {}", hs256("alice", &json!({"roles": ["user"], "scope": "read"})));
    let both = Request::get("/").header("Authorization", &token).header("X-API-Key", key).send(proxyd.address());
    let told = seen(&both);
    for (name, expected) in [("x-user", "alice"), ("x-roles", "user,agent"), ("x-scopes", "read write")] {
        assert_eq!(value(&told, name), [expected], "{name}");
    }
    let one = |name: &str, value: &str| outcome(&Request::get("/").header(name, value).send(proxyd.address()));
    assert_eq!(one("Authorization", &token), "401 auth_required");
    assert_eq!(one("X-API-Key", key), "401 auth_required");
    let bad = Request::get("/").header("Authorization", &token).header("X-API-Key", "pk_x").send(proxyd.address());
    assert_eq!(outcome(&bad), "401 key_unknown");
}

#[test]
fn roles_and_scopes_are_asked_for_by_route_and_method() {
    let upstream = Upstream::echo();
    let routes = format!(
        "  - {{path: /admin, target: '{url}', auth: {{any_of: [jwt.main], roles: [admin, root]}}}}\n  \
         - {{path: /write, target: '{url}', auth: {{any_of: [jwt.main], scopes: [read, write]}}}}\n  \
         - {{path: /things, target: '{url}', auth: {{any_of: [jwt.main], roles: [user], methods: {{GET: {{}}, DELETE: {{roles: [admin]}}}}}}}}\n  \
         - {{path: /some, target: '{url}', auth: {{any_of: [jwt.main], optional: true, methods: {{POST: {{roles: [admin]}}}}}}}}\n  \
         - {{path: /most, target: '{url}', auth: {{any_of: [jwt.main], optional: true, roles: [admin], methods: {{GET: {{}}}}}}}}\n  \
         - {{path: /keys, target: '{url}', auth: api_key}}\n  \
         - {{path: /named, target: '{url}', auth: {{any_of: basic, scopes: [read]}}}}\n  \
         - {{path: /open, target: '{url}', auth: off}}\n  - {{path: /maybe, target: '{url}', auth: {{any_of: [jwt.main], optional: true}}}}\n",
        url = upstream.url()
    );
    let proxyd = start("jwt.main", &routes, &upstream);
    let ask = |method: &str, path: &str, claims: Value| {
        let token = format!("Bearer {}", hs256("alice", &claims));
        Request::new(method, path).header("Authorization", &token).send(proxyd.address())
    };
    for (method, path, claims, expected) in [
        ("GET", "/admin", json!({"roles": ["user"]}), "403 role_missing"),
        ("GET", "/admin", json!({"roles": ["Admin"]}), "403 role_missing"),
        ("GET", "/admin", json!({"roles": ["root"]}), "200"),
        ("GET", "/write", json!({"scope": "read"}), "403 scope_missing"),
        ("GET", "/write", json!({"scope": "write read"}), "200"),
        ("GET", "/things", json!({}), "200"),
        ("HEAD", "/things", json!({}), "200"),
        ("POST", "/things", json!({}), "403 role_missing"),
        ("POST", "/things", json!({"roles": ["user"]}), "200"),
        ("DELETE", "/things", json!({"roles": ["user"]}), "403 role_missing"),
        ("DELETE", "/things", json!({"roles": "admin user"}), "200"),
    ] {
        let answer = ask(method, path, claims.clone());
        let found = if method == "HEAD" { answer.status.to_string() } else { outcome(&answer) };
        assert_eq!(found, expected, "{method} {path} {claims}");
    }
    // Neither another method's name nor other letters get around what is needed.
    for name in ["X-HTTP-Method-Override", "x_http_method", "X-Method-Override"] {
        let token = format!("Bearer {}", hs256("alice", &json!({"roles": ["user"]})));
        let request = Request::post("/things", "").header("Authorization", &token).header(name, "delete");
        assert_eq!(outcome(&request.send(proxyd.address())), "403 role_missing", "{name}");
    }
    let lacking = ask("GET", "/write", json!({"scope": "read"}));
    assert_eq!(
        lacking.header("www-authenticate"),
        Some("Bearer realm=\"proxyd\", error=\"insufficient_scope\", scope=\"write\"")
    );
    // Keys behind `Authorization: Bearer` are taken too; of a route for names and passwords alone no token is asked.
    let keys = proxyd.get("/keys");
    assert_eq!(keys.headers.all("www-authenticate"), ["ApiKey realm=\"proxyd\"", "Bearer realm=\"proxyd\""]);
    let ended = proxyd.ask("keys_create", &json!({"name": "ended"}))["key"].as_str().unwrap().to_owned();
    proxyd.ask("keys_revoke", &json!({"key": "ended"}));
    let bad = Request::get("/keys").header("Authorization", &format!("Bearer {ended}")).send(proxyd.address());
    assert!(bad.headers.all("www-authenticate").contains(&"Bearer realm=\"proxyd\", error=\"invalid_token\""));
    let named = Request::get("/named").header("Authorization", &basic("correct horse")).send(proxyd.address());
    assert_eq!((outcome(&named).as_str(), named.header("www-authenticate")), ("403 scope_missing", None));
    // Whoever lacks something is known all the same.
    let rows = proxyd.audit(&json!({"last": 50, "kind": "requests"}), 10);
    assert!(rows.iter().any(|row| row["outcome"] == "role_missing" && row["principal"] == "alice"));
    assert_eq!(proxyd.get("/open").status, 200);
    assert_eq!(value(&seen(&proxyd.get("/maybe")), "x-user"), Vec::<String>::new());
    // Nobody has no role: what needs one is not for nobody, whether somebody else may come in without.
    for (method, path, expected) in [
        ("GET", "/some", "200"),
        ("POST", "/some", "401 auth_required"),
        ("DELETE", "/most", "401 auth_required"),
        ("GET", "/most", "200"),
    ] {
        assert_eq!(outcome(&Request::new(method, path).send(proxyd.address())), expected, "{method} {path}");
    }
    let bad = Request::get("/maybe").header("Authorization", "Bearer x.y.z").send(proxyd.address());
    assert_eq!(outcome(&bad), "401 token_malformed");
}

#[test]
fn nobody_sends_what_only_we_may_say() {
    let upstream = Upstream::echo();
    let routes = format!("  - {{path: /open, target: '{}', auth: off}}\n", upstream.url());
    let proxyd = start("jwt.main", &routes, &upstream);
    let token = format!("Bearer {}", hs256("alice", &json!({"roles": ["user"]})));
    for alike in ["X-User", "x-user", "X_User", "x_user", "X-USER", "x.user", "x_USER"] {
        let open = seen(&Request::get("/open").header(alike, "root").header(alike, "root").send(proxyd.address()));
        assert!(!open.to_string().contains("root"), "{alike}: {open}");
        let known = Request::get("/").header("Authorization", &token).header(alike, "root").send(proxyd.address());
        let known = seen(&known);
        assert!(!known.to_string().contains("root"), "{alike}: {known}");
        assert_eq!(value(&known, "x-user"), ["alice"], "{alike}");
    }
    for alike in ["X-Roles", "x_scopes", "X-Key-Prefix", "x-provider", "X_Tenant"] {
        let open = seen(&Request::get("/open").header(alike, "root").send(proxyd.address()));
        assert!(!open.to_string().contains("root"), "{alike}: {open}");
    }
    // What a client names in `Connection` is taken off what it sent, never off what we say.
    let named = Request::get("/").header("Authorization", &token).header("Connection", "close, X-User, x-roles");
    assert_eq!(value(&seen(&named.send(proxyd.address())), "x-user"), ["alice"]);
    // Nor behind a body.
    let mut wire = Wire::connect(proxyd.address());
    wire.send(
        "POST /open HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-User\r\n\r\n2\r\nok\r\n0\r\nX-User: root\r\nx_roles: root\r\nX-Sum: 1\r\n\r\n",
    );
    let answer = wire.response("POST").json();
    assert!(!answer["trailers"].to_string().contains("root"), "{answer}");
    assert!(answer["trailers"].to_string().contains("x-sum"), "{answer}");
}

#[test]
fn credentials_go_on_or_stay_here() {
    let upstream = Upstream::echo();
    let routes = format!(
        "  - {{path: /kept, target: '{}', auth: {{any_of: [jwt.main, api_key], forward_credentials: false}}}}\n",
        upstream.url()
    );
    let proxyd = start("[jwt.main, api_key]", &routes, &upstream);
    let token = format!("Bearer {}", hs256("alice", &json!({})));
    let ask = |path: &str| seen(&Request::get(path).header("Authorization", &token).send(proxyd.address()));
    assert_eq!(value(&ask("/"), "authorization"), [token.as_str()]);
    assert_eq!(value(&ask("/kept"), "authorization"), Vec::<String>::new());
}

#[test]
fn two_credentials_of_one_kind_are_none_wherever_they_stand() {
    let upstream = Upstream::echo();
    let proxyd = start("api_key", "", &upstream);
    let make = |name: &str| proxyd.ask("keys_create", &json!({"name": name}))["key"].as_str().unwrap().to_owned();
    let (one, other) = (make("one"), make("other"));
    let ask = |in_header: &str, behind_bearer: &str| {
        let request = Request::get("/").header("X-API-Key", in_header);
        outcome(&request.header("Authorization", &format!("Bearer {behind_bearer}")).send(proxyd.address()))
    };
    assert_eq!(ask(&one, &one), "200");
    assert_eq!(ask(&one, "of.another.kind"), "200");
    assert_eq!(ask(&one, &other), "401 credentials_ambiguous");
    assert_eq!(ask("wrong", &other), "401 credentials_ambiguous");
}

#[test]
fn a_key_opens_at_once_and_no_longer_than_it_should() {
    let upstream = Upstream::echo();
    let proxyd = start("api_key", "", &upstream);
    let made = proxyd.ask("keys_create", &json!({"name": "ci"}));
    let first = made["key"].as_str().unwrap().to_owned();
    let ask = |key: &str| outcome(&Request::get("/").header("X-API-Key", key).send(proxyd.address()));
    assert_eq!(ask(&first), "200");
    let mut other = first.clone();
    other.replace_range(first.len() - 1.., if first.ends_with('A') { "B" } else { "A" });
    assert_eq!(ask(&other), "401 key_unknown");
    assert_eq!(ask(&first[..first.len() - 1]), "401 key_unknown");
    assert_eq!(ask(made["prefix"].as_str().unwrap()), "401 key_unknown");
    let rotated = proxyd.ask("keys_rotate", &json!({"key": "ci", "overlap": "1h"}));
    let second = rotated["key"].as_str().unwrap().to_owned();
    assert_eq!((ask(&first), ask(&second)), ("200".to_owned(), "200".to_owned()));
    let third = proxyd.ask("keys_rotate", &json!({"key": "ci"}))["key"].as_str().unwrap().to_owned();
    assert_eq!(
        (ask(&first), ask(&second), ask(&third)),
        ("401 key_unknown".into(), "401 key_unknown".into(), "200".into())
    );
    proxyd.ask("keys_revoke", &json!({"key": "ci"}));
    assert_eq!(ask(&third), "401 key_revoked");
    // Keys outlive the process.
    let home = proxyd.stop();
    let proxyd = tests::Start::in_home(&home, &yaml("api_key", "", &upstream)).run();
    let answer = Request::get("/").header("X-API-Key", &third).send(proxyd.address());
    assert_eq!(outcome(&answer), "401 key_revoked");
}
