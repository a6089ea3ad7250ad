//! Which route a request takes, and what becomes of it there.

use serde_json::json;
use tests::{Proxyd, Request, Upstream};

/// A config of routes that answer with their own names.
fn telling(routes: &[(&str, &str)]) -> Proxyd {
    let routes: String = routes
        .iter()
        .map(|(name, conditions)| format!("  - {{name: {name}, {conditions}, respond: {{body: {name}}}}}\n"))
        .collect();
    Proxyd::start(&format!("routes:\n{routes}"))
}

#[track_caller]
fn check(proxyd: &Proxyd, request: Request, expected: &str) {
    let response = request.send(proxyd.address());
    let got = if response.status == 200 { response.text() } else { response.status.to_string() };
    assert_eq!(got, expected);
}

#[test]
fn a_prefix_ends_at_a_segment() {
    let proxyd = telling(&[("api", "path: /api"), ("docs", "path: /docs/"), ("health", "exact: /healthz")]);
    for (path, expected) in [
        ("/api", "api"),
        ("/api/", "api"),
        ("/api/x", "api"),
        ("/api?x", "api"),
        ("/apix", "404"),
        ("/docs", "404"),
        ("/docs/", "docs"),
        ("/docs/a", "docs"),
        ("/healthz", "health"),
        ("/healthz/", "404"),
        ("/", "404"),
    ] {
        check(&proxyd, Request::get(path), expected);
    }
}

#[test]
fn every_matcher_matches() {
    let proxyd = telling(&[
        ("host", "path: /, hosts: [api.example.com]"),
        ("wild", "path: /, hosts: ['*.example.org']"),
        ("post", "path: /m, methods: [POST]"),
        ("regex", "regex: '^/v[0-9]+/users'"),
        ("header", "path: /h, headers: {x-kind: blue}"),
        ("present", "path: /h, headers: {x-kind: {present: true}}"),
        ("pattern", "path: /p, headers: {x-kind: {regex: '^b'}}"),
        ("query", "path: /q, query: {debug: '1'}"),
    ]);
    check(&proxyd, Request::get("/x").host("api.example.com"), "host");
    check(&proxyd, Request::get("/x").host("API.Example.Com:8080"), "host");
    check(&proxyd, Request::get("/x").host("api.example.com."), "host");
    check(&proxyd, Request::get("/x").host("a.b.example.org"), "wild");
    check(&proxyd, Request::get("/x").host("example.org"), "404");
    check(&proxyd, Request::post("/m", ""), "post");
    check(&proxyd, Request::get("/v12/users/7"), "regex");
    check(&proxyd, Request::get("/vx/users"), "404");
    check(&proxyd, Request::get("/h").header("X-Kind", "blue"), "header");
    check(&proxyd, Request::get("/h").header("X-Kind", "red"), "present");
    check(&proxyd, Request::get("/h"), "404");
    check(&proxyd, Request::get("/p").header("X-Kind", "brown"), "pattern");
    check(&proxyd, Request::get("/p").header("X-Kind", "red").header("X-Kind", "black"), "pattern");
    check(&proxyd, Request::get("/q?a=b&debug=1"), "query");
    check(&proxyd, Request::get("/q?debug=2"), "404");
}

#[test]
fn the_most_particular_route_wins() {
    let proxyd = telling(&[
        ("all", "path: /"),
        ("short", "path: /a"),
        ("long", "path: /a/b"),
        ("exact", "exact: /a/b/c"),
        ("pattern", "regex: '^/r/'"),
        ("prefixed", "path: /r/p"),
        ("hosted", "path: /, hosts: [h.example]"),
        ("wild", "path: /a/b, hosts: ['*.example']"),
        ("first", "path: /vip, priority: 1"),
        ("particular", "exact: /vip/x"),
        ("plain", "path: /c"),
        ("conditioned", "path: /c, headers: {x-a: '1'}"),
        ("twice", "path: /c, headers: {x-a: '1', x-b: '2'}"),
    ]);
    check(&proxyd, Request::get("/zzz"), "all");
    check(&proxyd, Request::get("/a/x"), "short");
    check(&proxyd, Request::get("/a/b/x"), "long");
    check(&proxyd, Request::get("/a/b/c"), "exact");
    check(&proxyd, Request::get("/r/p/x"), "prefixed");
    check(&proxyd, Request::get("/r/q"), "all");
    check(&proxyd, Request::get("/a/b/c").host("h.example"), "hosted");
    check(&proxyd, Request::get("/a/b/c").host("g.example"), "wild");
    check(&proxyd, Request::get("/a/x").host("g.example"), "short");
    check(&proxyd, Request::get("/vip/x"), "first");
    check(&proxyd, Request::get("/c"), "plain");
    check(&proxyd, Request::get("/c").header("X-A", "1"), "conditioned");
    check(&proxyd, Request::get("/c").header("X-A", "1").header("X-B", "2"), "twice");
}

#[test]
fn a_method_that_no_route_takes_is_a_405() {
    let proxyd = telling(&[("read", "path: /a, methods: [GET]"), ("write", "path: /a, methods: [POST, PUT]")]);
    let response = Request::new("DELETE", "/a").send(proxyd.address());
    assert_eq!(response.status, 405);
    let mut allow: Vec<&str> = response.header("allow").expect("Allow").split(", ").collect();
    allow.retain(|method| *method != "HEAD");
    assert_eq!(allow, ["GET", "POST", "PUT"]);
    assert_eq!(Request::new("HEAD", "/a").send(proxyd.address()).status, 200, "GET includes HEAD");
}

#[test]
fn a_redirect_fills_in_its_places() {
    let proxyd = Proxyd::start(
        "routes:\n  - {path: /old, redirect: {to: 'https://new.example{path}', status: 301}}\n  \
         - {path: /bare, redirect: {to: /login}}\n  \
         - {path: /all, redirect: {to: '{scheme}://{host}/x{path}?was={query}', status: 307}}\n",
    );
    let check = |target: &str, status: Option<u16>, location: &str| {
        let response = Request::get(target).host("here.example:81").send(proxyd.address());
        assert!(status.is_none_or(|status| status == response.status), "{}", response.status);
        assert!((300..400).contains(&response.status));
        assert_eq!(response.header("location"), Some(location), "{target}");
    };
    check("/old/a?b=c", Some(301), "https://new.example/old/a?b=c");
    check("/bare?x=1", None, "/login?x=1");
    check("/all/a?b", Some(307), "http://here.example:81/x/all/a?was=b");
    // Nothing that a client sends may begin a new header line.
    let response = Request::get("/old/%0d%0aSet-Cookie:x").send(proxyd.address());
    assert_eq!(response.status, 400);
}

#[test]
fn a_fixed_response_is_sent_as_written() {
    let proxyd = Proxyd::start(
        "routes:\n  - {path: /, respond: {status: 418, headers: {content-type: text/x-tea, x-pot: short}, body: \"stout\\n\"}}\n",
    );
    let response = Request::post("/", "sugar").send(proxyd.address());
    assert_eq!((response.status, response.text().as_str()), (418, "stout\n"));
    assert_eq!((response.header("content-type"), response.header("x-pot")), (Some("text/x-tea"), Some("short")));
    let head = Request::new("HEAD", "/").send(proxyd.address());
    assert_eq!((head.status, head.header("content-length")), (418, Some("6")));
}

#[test]
fn a_split_follows_its_weights() {
    let (a, b) = (Upstream::saying("a"), Upstream::saying("b"));
    let proxyd = Proxyd::start(&format!(
        "upstreams:\n  a: {{endpoints: ['{}']}}\n  b: {{endpoints: ['{}']}}\nroutes:\n  - {{path: /, split: [{{upstream: a, weight: 9}}, {{upstream: b, weight: 1}}]}}\n",
        a.url(),
        b.url()
    ));
    let mut wire = tests::Wire::connect(proxyd.address());
    for _ in 0..500 {
        assert_eq!(Request::get("/").send_on(&mut wire).status, 200);
    }
    // 50 expected; six standard deviations either way.
    assert!((10..=90).contains(&b.requests()), "{} of 500", b.requests());
    assert_eq!(a.requests() + b.requests(), 500);
}

#[test]
fn endpoints_take_turns_by_weight() {
    let (one, two) = (Upstream::saying("1"), Upstream::saying("2"));
    let proxyd = Proxyd::start(&format!(
        "server: {{workers: 1}}\nupstreams:\n  u: {{endpoints: ['{}', {{url: '{}', weight: 3}}]}}\nroutes:\n  - {{path: /, upstream: u}}\n",
        one.url(),
        two.url()
    ));
    for _ in 0..80 {
        assert_eq!(proxyd.get("/").status, 200);
    }
    let share = one.requests();
    assert!((16..=24).contains(&share), "{share} of 80 to the endpoint with a quarter of the weight");
    assert_eq!(two.requests(), 80 - share);
}

#[test]
fn paths_are_rewritten() {
    let upstream = Upstream::echo();
    let url = upstream.url();
    let proxyd = Proxyd::start(&format!(
        "routes:\n  - {{path: /api, target: '{url}', rewrite: {{strip_prefix: /api, add_prefix: /v2}}}}\n  \
         - {{path: /fixed, target: '{url}', rewrite: {{path: /one}}}}\n  \
         - {{path: /u, target: '{url}', rewrite: {{regex: '^/u/([0-9]+)', to: '/users/$1/profile'}}}}\n  \
         - {{path: /deep, target: '{url}/base'}}\n"
    ));
    let check = |target: &str, expected: &str| {
        assert_eq!(proxyd.get(target).json()["target"], expected, "{target}");
    };
    check("/api/x?q=1", "/v2/x?q=1");
    check("/api", "/v2");
    check("/fixed/whatever?q", "/one?q");
    check("/u/42", "/users/42/profile");
    check("/deep/x", "/base/deep/x");
    assert_eq!(proxyd.get("/apix").status, 404);
}

#[test]
fn one_path_is_matched_forwarded_and_audited() {
    let upstream = Upstream::echo();
    let proxyd = Proxyd::start(&format!("routes:\n  - {{path: /a, target: '{}'}}\n", upstream.url()));
    for (typed, meant) in [
        ("/a/./b/../c", "/a/c"),
        ("/x/../a", "/a"),
        ("/%61/%7Eme", "/a/~me"),
        ("/a/%2e%2e/a/b", "/a/b"),
        ("/a//b", "/a//b"),
        ("/a/%e2%82%ac", "/a/%E2%82%AC"),
    ] {
        let id = format!("path-{}", typed.len());
        let response = Request::get(typed).header("X-Request-ID", &id).send(proxyd.address());
        assert_eq!(response.status, 200, "{typed}: {}", response.text());
        assert_eq!(response.json()["target"], meant, "{typed}");
        assert_eq!(proxyd.audit(&json!({"request_id": id}), 1)[0]["path"], meant, "{typed}");
    }
    for refused in ["/a/%00", "/a/%2Fb", "/a/%5cb", "/a/\\b", "/a/%zz", "/a/%1f"] {
        assert_eq!(proxyd.get(refused).status, 400, "{refused}");
    }
    assert_eq!(proxyd.get("/a/../b").status, 404, "never out of its prefix");
}

#[test]
fn explain_says_what_a_request_then_meets() {
    let upstream = Upstream::echo();
    let proxyd = Proxyd::start(&format!(
        "rate_limit: {{requests_per_minute: 100}}\nroutes:\n  - {{name: users, path: /users, methods: [GET], target: '{}', rewrite: {{strip_prefix: /users, add_prefix: /v2}}}}\n  - {{name: rest, path: /, respond: {{status: 204}}}}\n",
        upstream.url()
    ));
    let told = proxyd.ask("explain", &json!({"method": "GET", "url": "http://h/users/7?x=1"}));
    assert_eq!(told["verdict"]["kind"], "forward", "{told}");
    assert_eq!(told["verdict"]["route"], "users");
    let urls = told["verdict"]["targets"][0]["urls"].to_string();
    assert!(urls.contains("/v2/7?x=1"), "{urls}");
    assert!(
        told["policies"]
            .as_array()
            .unwrap()
            .iter()
            .any(|line| line["policy"] == "rate_limit" && line["scope"] == "top level"),
        "{told}"
    );
    assert_eq!(upstream.requests(), 0, "explaining sends nothing");

    let told = proxyd.ask("explain", &json!({"method": "POST", "url": "/users/7"}));
    assert_eq!(told["verdict"]["route"], "rest", "{told}");
    let lost =
        told["candidates"].as_array().unwrap().iter().find(|one| one["route"] == "users").expect("it was looked at");
    assert!(lost["won"] == false && lost["reason"].as_str().unwrap().contains("GET"), "{lost}");

    let text = proxyd.ctl(&["explain", "GET", "http://h/users/7"]);
    text.exits(0).says(&["users", "/v2/7"]);
    let offline = tests::proxyctl(proxyd.home().path(), &["explain", "GET", "/users/7", "--config", "config.yaml"]);
    offline.exits(0).says(&["users", "/v2/7"]);
}

#[test]
fn routes_are_listed_in_their_order() {
    let proxyd = telling(&[("all", "path: /"), ("long", "path: /a/b"), ("exact", "exact: /x")]);
    let lines = proxyd.stream("routes", &json!({}));
    let names: Vec<&str> = lines.iter().filter_map(|line| line["name"].as_str()).collect();
    assert_eq!(names, ["exact", "long", "all"]);
    proxyd.ctl(&["routes"]).exits(0).says(&["exact", "/a/b", "respond 200"]);
}

#[test]
fn a_hundred_thousand_routes_work() {
    let mut text = String::from("routes:\n");
    for number in 0..100_000 {
        text.push_str("  - {path: /r");
        text.push_str(&number.to_string());
        text.push_str(", respond: {body: '");
        text.push_str(&number.to_string());
        text.push_str("'}}\n");
    }
    let proxyd = Proxyd::start(&text);
    for number in [0, 1, 777, 99_999] {
        assert_eq!(proxyd.get(&format!("/r{number}/x")).text(), number.to_string());
    }
    assert_eq!(proxyd.get("/r100000").status, 404);
}
