//! What policies do to requests and answers: limits, CORS, bodies, headers, access; inherited, replaced, switched off.

use serde_json::json;
use tests::config::{forward_all, specification};
use tests::{Proxyd, Request, Response, Upstream, Wire};

#[track_caller]
fn number(response: &Response, header: &str) -> u64 {
    let value = response.header(header).unwrap_or_else(|| panic!("{header} is missing: {:?}", response.headers));
    value.parse().unwrap_or_else(|_| panic!("{header} is no number: {value}"))
}

#[test]
fn the_specification_s_example_does_what_it_says() {
    let (api, auth) = (Upstream::saying("api"), Upstream::saying("auth"));
    let proxyd = Proxyd::start(&specification(api.address(), auth.address()));
    let mut wire = Wire::connect(proxyd.address());
    let first = Request::get("/api/x").header("Origin", "https://any.example").send_on(&mut wire);
    assert_eq!(first.text(), "api");
    assert_eq!(first.header("access-control-allow-origin"), Some("*"));
    assert_eq!((number(&first, "x-ratelimit-limit"), number(&first, "x-ratelimit-remaining")), (100, 99));
    for left in (0..99).rev() {
        // One counter for all routes that inherit the rule.
        let path = if left % 2 == 0 { "/api/" } else { "/auth/" };
        let response = Request::get(path).send_on(&mut wire);
        assert_eq!((response.status, number(&response, "x-ratelimit-remaining")), (200, left));
    }
    let refused = Request::get("/api/").header("Accept", "application/json").send_on(&mut wire);
    assert_eq!((refused.status, refused.error_code().as_str()), (429, "rate_limited"));
    // A sliding window: a hundredth of the next window must pass too.
    assert!((1..=61).contains(&number(&refused, "retry-after")), "{:?}", refused.headers);
    assert!((1..=61).contains(&number(&refused, "x-ratelimit-reset")), "{:?}", refused.headers);
    assert_eq!(api.requests() + auth.requests(), 100);
    assert_eq!(proxyd.get("/elsewhere").status, 429, "what matches no route is counted too");
}

#[test]
fn limits_tell_both_forms_of_headers() {
    let proxyd = Proxyd::start(
        "rate_limit: {name: api, limits: [{requests: 3, per: 1m}, {requests: 5, per: 1h}], by: [ip]}\nroutes:\n  - {path: /, respond: {status: 200}}\n",
    );
    let first = proxyd.get("/");
    assert_eq!(
        first.header("ratelimit-policy"),
        Some("\"api-60s\";q=3;w=60, \"api-3600s\";q=5;w=3600"),
        "{:?}",
        first.headers
    );
    let told = first.header("ratelimit").expect("RateLimit").to_owned();
    assert!(told.starts_with("\"api-60s\";r=2;t="), "{told}");
    assert_eq!((number(&first, "x-ratelimit-limit"), number(&first, "x-ratelimit-remaining")), (3, 2));
    assert_eq!((proxyd.get("/").status, proxyd.get("/").status, proxyd.get("/").status), (200, 200, 429));
    let lines = proxyd.stream("limits", &json!({"key": "127.0.0.1"}));
    assert_eq!(
        lines.iter().map(|line| &line["remaining"]).collect::<Vec<_>>(),
        [0],
        "the tightest is told: {lines:#?}"
    );
}

#[test]
fn a_token_bucket_has_its_burst() {
    let proxyd = Proxyd::start(
        "rate_limit: {limits: [{requests: 60, per: 1m}], algorithm: token_bucket, burst: 4}\nroutes:\n  - {path: /, respond: {status: 200}}\n",
    );
    let mut wire = Wire::connect(proxyd.address());
    let statuses: Vec<u16> = (0..5).map(|_| Request::get("/").send_on(&mut wire).status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 429]);
    // A token comes back each second.
    tests::eventually("a token comes back", || (Request::get("/").send_on(&mut wire).status == 200).then_some(()));
}

#[test]
fn a_key_may_be_a_header() {
    let proxyd = Proxyd::start(
        "rate_limit: {limits: [{requests: 2, per: 1h}], by: [{header: x-tenant}, ip]}\nroutes:\n  - {path: /, respond: {status: 200}}\n",
    );
    let status = |tenant: &str| Request::get("/").header("X-Tenant", tenant).send(proxyd.address()).status;
    assert_eq!([status("a"), status("a"), status("a"), status("b")], [200, 200, 429, 200]);
    assert_eq!([proxyd.get("/").status, proxyd.get("/").status, proxyd.get("/").status], [200, 200, 429]);
}

#[test]
fn a_shadow_counts_and_refuses_nobody() {
    let proxyd = Proxyd::start(
        "rate_limit: {name: trial, requests_per_minute: 1, mode: shadow}\nroutes:\n  - {path: /, respond: {status: 200}}\n",
    );
    for _ in 0..3 {
        assert_eq!(proxyd.get("/").status, 200);
    }
    let lines = proxyd.stream("limits", &json!({"rule": "trial", "key": "127.0.0.1"}));
    assert!(lines.iter().any(|line| line["shadow"] == true && line["key"] == "127.0.0.1"), "{lines:#?}");
}

#[test]
fn several_rules_must_all_pass() {
    let proxyd = Proxyd::start(
        "rate_limit:\n  - {name: address, limits: [{requests: 5, per: 1h}], by: [ip]}\n  - {name: tenant, limits: [{requests: 2, per: 1h}], by: [{header: x-tenant}]}\nroutes:\n  - {path: /, respond: {status: 200}}\n",
    );
    let status = |tenant: &str| Request::get("/").header("X-Tenant", tenant).send(proxyd.address()).status;
    assert_eq!([status("a"), status("a"), status("a")], [200, 200, 429]);
    let others: Vec<u16> = ["b", "c", "d", "e"].map(status).to_vec();
    assert_eq!(others.last(), Some(&429), "the address has had its share: {others:?}");
}

#[test]
fn a_route_s_own_rule_has_its_own_counter() {
    let proxyd = Proxyd::start(
        "rate_limit: {limits: [{requests: 2, per: 1h}]}\nroutes:\n  - {path: /own, respond: {status: 200}, rate_limit: {limits: [{requests: 1, per: 1h}]}}\n  - {path: /off, respond: {status: 200}, rate_limit: off}\n  - {path: /, respond: {status: 200}}\n",
    );
    assert_eq!([proxyd.get("/own").status, proxyd.get("/own").status], [200, 429]);
    assert_eq!([proxyd.get("/").status, proxyd.get("/x").status, proxyd.get("/").status], [200, 200, 429]);
    for _ in 0..5 {
        let free = proxyd.get("/off");
        assert_eq!((free.status, free.header("x-ratelimit-limit")), (200, None));
    }
}

#[test]
fn limits_survive_a_reload_and_can_be_reset() {
    let text = |body: &str| {
        format!(
            "rate_limit: {{name: all, limits: [{{requests: 2, per: 1h}}]}}\nroutes:\n  - {{path: /, respond: {{body: {body}}}}}\n"
        )
    };
    let proxyd = Proxyd::start(&text("one"));
    assert_eq!([proxyd.get("/").status, proxyd.get("/").status, proxyd.get("/").status], [200, 200, 429]);
    proxyd.reload_with(&text("two"));
    assert_eq!(proxyd.get("/").status, 429, "a reload forgets no count");
    let reset = proxyd.ask("limits_reset", &json!({"key": "127.0.0.1"}));
    assert_eq!((&reset["reset"], &reset["audited"]), (&json!(1), &json!(true)));
    assert_eq!(proxyd.get("/").text(), "two");
    assert_eq!(proxyd.ask("limits_reset", &json!({"key": "192.0.2.1"}))["reset"], 0);
    let error = proxyd.try_ask("limits_reset", &json!({"key": "127.0.0.1", "rule": "nobody's"})).unwrap_err();
    assert_eq!(error["code"], "not_found");
    proxyd.ctl(&["limits", "127.0.0.1"]).exits(0).says(&["all", "127.0.0.1", "2/1h"]);
}

#[test]
fn a_preflight_is_answered_here() {
    let upstream = Upstream::echo();
    let proxyd = Proxyd::start(&format!(
        "cors: {{allow_origins: ['https://app.example.com', 'https://*.trusted.example'], allow_methods: [GET, PUT], allow_headers: [x-mine], expose_headers: [x-request-id], credentials: true, max_age: 10m}}\n{}",
        forward_all(upstream.address())
    ));
    let preflight = |origin: &str, method: &str| {
        Request::new("OPTIONS", "/x")
            .header("Origin", origin)
            .header("Access-Control-Request-Method", method)
            .header("Access-Control-Request-Headers", "x-mine")
            .send(proxyd.address())
    };
    for origin in ["https://app.example.com", "https://a.trusted.example"] {
        let granted = preflight(origin, "PUT");
        assert_eq!(granted.status, 204);
        assert_eq!(granted.header("access-control-allow-origin"), Some(origin));
        assert_eq!(granted.header("access-control-allow-credentials"), Some("true"));
        assert!(granted.headers.has("access-control-allow-methods", "PUT"), "{:?}", granted.headers);
        assert!(granted.headers.has("access-control-allow-headers", "x-mine"), "{:?}", granted.headers);
        assert_eq!(granted.header("access-control-max-age"), Some("600"));
        assert!(granted.headers.has("vary", "origin"), "{:?}", granted.headers);
    }
    let stranger = preflight("https://evil.example", "PUT");
    assert_eq!(stranger.header("access-control-allow-origin"), None, "{:?}", stranger.headers);
    let method = preflight("https://app.example.com", "DELETE");
    assert!(!method.headers.has("access-control-allow-methods", "DELETE"), "{:?}", method.headers);
    assert_eq!(upstream.requests(), 0);

    let actual = Request::get("/").header("Origin", "https://app.example.com").send(proxyd.address());
    assert_eq!(actual.header("access-control-allow-origin"), Some("https://app.example.com"));
    assert_eq!(actual.header("access-control-expose-headers"), Some("x-request-id"));
    assert!(actual.headers.has("vary", "origin"));
    // An OPTIONS that is no preflight goes through.
    assert_eq!(Request::new("OPTIONS", "/").send(proxyd.address()).status, 200);
}

#[test]
fn cors_holds_over_refusals_and_over_the_upstream() {
    let upstream =
        Upstream::once("HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: https://wrong\r\nContent-Length: 0\r\n\r\n");
    let proxyd = Proxyd::start(&format!(
        "cors: {{allow_origins: ['*']}}\nroutes:\n  - {{path: /refused, respond: {{status: 200}}, access: {{deny: [127.0.0.1]}}}}\n  - {{path: /up, target: '{}'}}\n",
        upstream.url()
    ));
    let check = |path: &str, status: u16| {
        let response = Request::get(path).header("Origin", "https://a.example").send(proxyd.address());
        assert_eq!((response.status, response.header("access-control-allow-origin")), (status, Some("*")), "{path}");
    };
    check("/refused", 403);
    check("/up", 200);
    check("/nowhere", 404);
}

#[test]
fn a_body_over_the_limit_is_refused_announced_or_not() {
    let upstream = Upstream::echo();
    let proxyd = Proxyd::start(&format!(
        "body_limit: 1KiB\nroutes:\n  - {{path: /free, target: '{url}', body_limit: off}}\n  - {{path: /, target: '{url}'}}\n",
        url = upstream.url()
    ));
    assert_eq!(Request::post("/", "x".repeat(1024)).send(proxyd.address()).status, 200);
    let announced = Request::post("/", "x".repeat(1025)).header("Accept", "application/json").send(proxyd.address());
    assert_eq!((announced.status, announced.error_code().as_str()), (413, "body_too_large"));
    assert_eq!(upstream.requests(), 1);
    assert_eq!(Request::post("/free", "x".repeat(50_000)).send(proxyd.address()).json()["body_bytes"], 50_000);

    let mut wire = Wire::connect(proxyd.address());
    wire.send("POST /chunked HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..10 {
        if !wire.try_send(format!("100\r\n{}\r\n", "y".repeat(0x100))) {
            break;
        }
    }
    let response = wire.response("POST");
    assert_eq!(response.status, 413);
    let rows = proxyd.audit(&json!({"path": "/chunked"}), 1);
    assert_eq!((&rows[0]["status"], &rows[0]["outcome"]), (&json!(413), &json!("body_too_large")));
}

#[test]
fn ten_mebibytes_is_the_limit_that_nobody_wrote() {
    let upstream = Upstream::echo();
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut wire = Wire::connect(proxyd.address());
    wire.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10485761\r\n\r\n");
    assert_eq!(wire.response("POST").status, 413);
}

#[test]
fn headers_are_edited_both_ways() {
    let upstream = Upstream::scripted(|conn| {
        while let Some(request) = conn.request() {
            let body = request.json(0);
            conn.answer(200, &[("Server", "secret/1.0"), ("X-Old", "1"), ("X-Many", "a")], body.as_bytes());
        }
    });
    let proxyd = Proxyd::start(&format!(
        "headers: {{request: {{set: {{x-env: prod}}, add: {{x-tag: two}}, remove: [x-debug]}}, response: {{set: {{x-old: '2'}}, add: {{x-many: b}}, remove: [server]}}}}\nroutes:\n  - {{path: /own, target: '{url}', headers: {{response: {{set: {{x-own: yes}}}}}}}}\n  - {{path: /, target: '{url}'}}\n",
        url = upstream.url()
    ));
    let request = |path: &str| {
        Request::get(path).header("X-Env", "dev").header("X-Debug", "1").header("X-Tag", "one").send(proxyd.address())
    };
    let response = request("/");
    let seen = response.json()["headers"].to_string();
    assert!(seen.contains(r#"["x-env","prod"]"#) && !seen.contains("dev") && !seen.contains("x-debug"), "{seen}");
    assert!(seen.contains(r#"["x-tag","one"]"#) && seen.contains(r#"["x-tag","two"]"#), "{seen}");
    assert_eq!((response.headers.all("server").len(), response.header("x-old")), (0, Some("2")));
    assert_eq!(response.headers.all("x-many"), ["a", "b"]);

    let own = request("/own");
    assert_eq!(
        (own.header("x-own"), own.header("x-old")),
        (Some("yes"), Some("1")),
        "a route's own replaces the whole"
    );
    assert!(own.json()["headers"].to_string().contains("x-debug"));
}

#[test]
fn addresses_are_let_in_or_not() {
    let proxyd = Proxyd::start(
        "server: {trusted_proxies: [127.0.0.1]}\naccess: {allow: [10.0.0.0/8, 127.0.0.1], deny: [10.6.6.6]}\nroutes:\n  - {path: /open, respond: {status: 200}, access: off}\n  - {path: /, respond: {status: 200}}\n",
    );
    let status = |path: &str, from: &str| {
        let request = Request::get(path).header("X-Forwarded-For", from).header("Accept", "application/json");
        request.send(proxyd.address())
    };
    assert_eq!(status("/", "10.1.2.3").status, 200);
    let denied = status("/", "10.6.6.6");
    assert_eq!((denied.status, denied.error_code().as_str()), (403, "access_denied"));
    assert_eq!(status("/", "192.0.2.1").status, 403);
    assert_eq!(status("/open", "192.0.2.1").status, 200);
    assert_eq!(status("/nowhere-known", "192.0.2.1").status, 403);
}

#[test]
fn security_headers_are_on_every_answer() {
    let upstream = Upstream::once("HTTP/1.1 200 OK\r\nX-Frame-Options: ALLOWALL\r\nContent-Length: 0\r\n\r\n");
    let proxyd = Proxyd::start(&format!(
        "security_headers: on\nroutes:\n  - {{path: /up, target: '{}'}}\n  - {{path: /off, respond: {{status: 200}}, security_headers: off}}\n  - {{path: /own, respond: {{status: 200}}, security_headers: {{x-frame-options: DENY}}}}\n",
        upstream.url()
    ));
    for path in ["/up", "/nowhere"] {
        let response = proxyd.get(path);
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(response.header("x-frame-options"), Some("SAMEORIGIN"), "{path}");
        assert!(response.header("referrer-policy").is_some(), "{path}");
        assert_eq!(response.header("strict-transport-security"), None, "{path}: only over TLS");
    }
    assert_eq!(proxyd.get("/off").header("x-content-type-options"), None);
    assert_eq!(proxyd.get("/own").header("x-frame-options"), Some("DENY"));
}

#[test]
fn a_client_s_v6_network_is_one_key() {
    let proxyd = Proxyd::start(
        "server: {trusted_proxies: [127.0.0.1]}\nrate_limit: {limits: [{requests: 2, per: 1h}]}\nroutes:\n  - {path: /, respond: {status: 200}}\n",
    );
    let status = |from: &str| Request::get("/").header("X-Forwarded-For", from).send(proxyd.address()).status;
    assert_eq!(
        [status("2001:db8::1"), status("2001:db8::2"), status("2001:db8::3"), status("2001:db8:ffff::1")],
        [200, 200, 429, 200]
    );
}
