//! The configs in `examples/` mean what they say: each is started as it stands, with its services played here.

use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tests::token::{EdKey, claims, hmac, in_seconds};
use tests::{Proxyd, Request, Response, Start, Upstream, Wire};

/// An example, with its services' addresses replaced by these.
fn example(name: &str, services: &[(&str, &Upstream)]) -> Start {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name);
    let mut yaml = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for (address, service) in services {
        assert!(yaml.contains(address), "{name} has no {address}");
        yaml = yaml.replace(address, &service.address().to_string());
    }
    Start::new(&yaml)
}

fn outcome(response: &Response) -> String {
    if response.status < 400 {
        response.status.to_string()
    } else {
        format!("{} {}", response.status, response.error_code())
    }
}

/// The header that a service was told, of its echo.
fn told(response: &Response, name: &str) -> Option<String> {
    let seen = response.json();
    let lines = seen["headers"].as_array().unwrap();
    let line = lines.iter().find(|line| line[0].as_str().unwrap().eq_ignore_ascii_case(name))?;
    Some(line[1].as_str().unwrap().to_owned())
}

const AGENTS_SECRET: &str = "the-secret-of-an-agent-platform-0";

fn agents_token(user: &str, roles: &[&str]) -> String {
    let claims = json!({"iss": "agent-platform", "aud": "api", "sub": user, "roles": roles, "exp": in_seconds(300)});
    format!("Bearer {}", hmac(AGENTS_SECRET.as_bytes(), &json!({"alg": "HS256"}), &claims))
}

fn agent_platform(api: &Upstream, sockets: &Upstream) -> Proxyd {
    example("agent-platform.yaml", &[("127.0.0.1:8001", api), ("127.0.0.1:8002", sockets)])
        .env("JWT_SECRET", AGENTS_SECRET)
        .env("GITHUB_CLIENT_ID", "client")
        .env("GITHUB_CLIENT_SECRET", "secret")
        .run()
}

#[test]
fn an_agent_platform() {
    let api = Upstream::echo();
    let proxyd = agent_platform(&api, &api);
    let ask = |method: &str, path: &str, token: &str| {
        Request::new(method, path)
            .header("Authorization", token)
            .header("Accept", "application/json")
            .send(proxyd.address())
    };
    for path in ["/api/v1/projects", "/api/v1/agents", "/api/v1/issues/7", "/api/v1/prs", "/api/v1/analytics/x"] {
        assert_eq!(outcome(&proxyd.get(path)), "401 auth_required", "{path}");
        let answer = ask("GET", path, &agents_token("reader", &["user"]));
        assert_eq!(
            (outcome(&answer), told(&answer, "x-user").as_deref()),
            ("200".to_owned(), Some("reader")),
            "{path}"
        );
    }
    // A browser is sent to the login, and would come back to where it was.
    let browser =
        Request::get("/api/v1/projects?page=2").header("Accept", "text/html").header("Sec-Fetch-Mode", "navigate");
    let answer = browser.send(proxyd.address());
    assert_eq!(answer.status, 302);
    assert!(answer.header("location").unwrap().contains("/.proxyd/login/github"), "{:?}", answer.header("location"));
    // What may be done is a question of roles.
    for (method, path, roles, expected) in [
        ("DELETE", "/api/v1/projects/1", &["user"][..], "403 role_missing"),
        ("DELETE", "/api/v1/projects/1", &["admin"], "200"),
        ("POST", "/api/v1/agents/7/start", &["user"], "403 role_missing"),
        // Spelt otherwise it is the same to the service.
        ("POST", "/api/v1/agents/7/start/", &["user"], "403 role_missing"),
        ("POST", "/api/v1/agents/7//start", &["user"], "403 role_missing"),
        ("POST", "/api/v1/agents/7/%73tart", &["user"], "403 role_missing"),
        ("post", "/api/v1/agents/7/start", &["user"], "400 method_malformed"),
        ("delete", "/api/v1/projects/1", &["user"], "400 method_malformed"),
        ("POST", "/api/v1/agents/7/start", &["agent"], "200"),
        ("POST", "/api/v1/agents/7/cancel", &["admin"], "200"),
        ("POST", "/api/v1/agents", &["user"], "200"),
    ] {
        let answer = ask(method, path, &agents_token("somebody", roles));
        assert_eq!(outcome(&answer), expected, "{method} {path} {roles:?}");
    }
    // A server that takes the method from a header is not told it, and is asked for nothing that the route's own method would need.
    for method in ["GET", "PUT", "HEAD", "OPTIONS"] {
        let request = Request::new(method, "/api/v1/agents/7/start").header("X-HTTP-Method-Override", "POST");
        let answer = request.header("Authorization", &agents_token("somebody", &["user"])).send(proxyd.address());
        assert_eq!(answer.status, 403, "{method} that may be a POST");
    }
    assert_eq!(
        outcome(&ask("DELETE", "/api/v1/agents/7/start", &agents_token("runner", &["agent"]))),
        "403 role_missing"
    );
    for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"] {
        let request = Request::post("/api/v1/prs", "x").header(name, "PATCH");
        let answer = request.header("Authorization", &agents_token("somebody", &["user"])).send(proxyd.address());
        assert_eq!((answer.status, told(&answer, name)), (200, None), "{name}");
    }
    // And of how often; each has a count of their own.
    for (method, path, limit) in [
        ("GET", "/api/v1/issues", 30),
        ("PATCH", "/api/v1/issues/1", 10),
        ("PUT", "/api/v1/issues/1", 10),
        ("POST", "/api/v1/prs/9/review", 5),
        ("GET", "/api/v1/analytics/export", 5),
        ("POST", "/api/v1/analytics/events", 60),
    ] {
        let token = agents_token(&format!("{method} {path}"), &["user"]);
        let passed = (0..limit + 3).filter(|_| ask(method, path, &token).status == 200).count();
        assert_eq!(passed, limit, "{method} {path}");
        assert_eq!(outcome(&ask(method, path, &token)), "429 rate_limited");
        assert_eq!(ask(method, path, &agents_token(&format!("other {method} {path}"), &["user"])).status, 200);
    }
    let key = proxyd.ask("keys_create", &json!({"name": "runner", "roles": ["agent"], "limit": "3/m"}));
    let by_key =
        || Request::get("/api/v1/agents").header("X-API-Key", key["key"].as_str().unwrap()).send(proxyd.address());
    let answer = by_key();
    assert_eq!(told(&answer, "x-key-prefix").as_deref(), key["prefix"].as_str());
    let passed = 1 + (0..5).filter(|_| by_key().status == 200).count();
    assert_eq!(passed, 3, "a key's own limit");
    assert_eq!(proxyd.get("/health").text(), "ok\n");
}

#[test]
fn an_agent_platform_limits_guessing_on_every_route() {
    let api = Upstream::echo();
    let proxyd = agent_platform(&api, &api);
    for (method, path) in [
        ("POST", "/api/v1/agents/7/start"),
        ("POST", "/api/v1/prs/9/review"),
        ("GET", "/api/v1/analytics/export"),
        ("POST", "/api/v1/analytics/events"),
    ] {
        let mut wire = Wire::connect(proxyd.address());
        let statuses = (0..605).map(|guess| {
            wire.send(format!(
                "{method} {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: guess-{guess}\r\nContent-Length: 0\r\n\r\n"
            ));
            wire.response(method).status
        });
        let statuses: Vec<u16> = statuses.collect();
        assert_eq!(statuses.first(), Some(&401), "{path}");
        assert!(statuses.contains(&429), "{method} {path} lets anybody guess");
    }
}

#[test]
fn an_agent_platform_asks_who_it_is_at_the_upgrade() {
    let sockets = Upstream::scripted(|conn| {
        if let Some(request) = conn.request() {
            let user = request.headers.get("x-user").unwrap_or("nobody").to_owned();
            conn.send(format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello {user}"
            ));
        }
    });
    let api = Upstream::saying("api");
    let proxyd = agent_platform(&api, &sockets);
    let upgrade = |path: &str, more: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
        )
    };
    for path in ["/ws/agents/7", "/ws/logs/7"] {
        let mut wire = Wire::connect(proxyd.address());
        wire.send(upgrade(path, ""));
        assert_eq!(outcome(&wire.response("GET")), "401 auth_required", "{path}");
        let mut wire = Wire::connect(proxyd.address());
        wire.send(upgrade(path, &format!("Authorization: {}\r\n", agents_token("watcher", &["user"]))));
        assert!(wire.head().unwrap().starts_with("HTTP/1.1 101"), "{path}");
        assert_eq!(wire.exactly(13), b"hello watcher", "{path}");
    }
}

#[test]
fn a_gateway_for_services() {
    let (users, auth, payments) = (Upstream::echo(), Upstream::echo(), Upstream::echo());
    let key = EdKey::new("one");
    let jwks = Arc::new(Mutex::new(json!({"keys": [key.jwk()]}).to_string()));
    let issuer = Upstream::scripted(move |conn| {
        while conn.request().is_some() {
            let body = jwks.lock().unwrap().clone();
            conn.answer(200, &[("content-type", "application/json")], body.as_bytes());
        }
    });
    let services = [
        ("127.0.0.1:8001", &users),
        ("127.0.0.1:8002", &auth),
        ("127.0.0.1:8003", &payments),
        ("127.0.0.1:9091", &issuer),
    ];
    let proxyd = example("services.yaml", &services).run();
    let token = |user: &str, roles: &[&str], scope: &str| {
        let more = json!({"iss": "https://id.example.com", "aud": "services", "scope": scope, "realm_access": {"roles": roles}});
        format!("Bearer {}", key.sign(&json!({"alg": "EdDSA", "kid": "one"}), &claims(user, &more)))
    };
    let ask = |method: &str, path: &str, token: &str| {
        Request::new(method, path).header("Authorization", token).send(proxyd.address())
    };
    // Whoever wants a token has none yet.
    assert_eq!(outcome(&Request::post("/auth/token", "x").send(proxyd.address())), "200");
    for (method, path, roles, scope, expected) in [
        ("GET", "/users/1", &["readonly"][..], "", "200"),
        ("PATCH", "/users/1", &["readonly"], "", "403 role_missing"),
        ("PATCH", "/users/1", &["user"], "", "200"),
        ("DELETE", "/users/1", &["user"], "", "403 role_missing"),
        ("DELETE", "/users/1", &["admin"], "", "200"),
        ("POST", "/users/", &["user"], "", "403 role_missing"),
        // What is not listed is not free.
        ("OPTIONS", "/users/1", &["user"], "", "403 role_missing"),
        ("PURGE", "/users/1", &["readonly"], "", "403 role_missing"),
        ("PURGE", "/users/1", &["admin"], "", "200"),
        ("POST", "/payments/", &["user"], "", "403 scope_missing"),
        ("POST", "/payments/", &["user"], "payments:write", "200"),
        ("POST", "/payments/", &["readonly"], "payments:write", "403 role_missing"),
        ("GET", "/payments/?q=1'%20OR%20'1'='1'%20--%20", &["user"], "payments:write", "403 threat_sql_injection"),
    ] {
        let answer = ask(method, path, &token("somebody", roles, scope));
        assert_eq!(outcome(&answer), expected, "{method} {path} {roles:?} {scope:?}");
    }
    // In place of the client's token goes one of this gateway, which its services can check by themselves.
    let seen = ask("GET", "/users/1", &token("ada", &["user"], "read"));
    assert_eq!(told(&seen, "authorization"), None);
    let own = told(&seen, "x-identity-token").unwrap();
    let keys: Value = proxyd.get("/.well-known/proxyd/jwks.json").json();
    let read: Value = serde_json::from_slice(&tests::token::payload(&own)).unwrap();
    assert_eq!(
        (read["sub"].as_str(), read["aud"].as_str(), read["roles"].clone()),
        (Some("ada"), Some("services"), json!(["user"]))
    );
    assert!(tests::token::verifies(&own, &keys), "{keys}");
    assert!(read["exp"].as_i64().unwrap() - in_seconds(0) <= 60);
}
