//! Precedence, and the table against a naive matcher.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::fixture::{Headers, config, host, names, path, route};
use super::*;
use crate::config::{HeaderMatch, QueryMatch, ValueMatch};

/// `METHOD host/path?query`, and header lines.
fn decide(routes: &[Route], request: &str, headers: &[(&str, &str)]) -> String {
    let (method, url) = request.split_once(' ').unwrap();
    let (host, rest) = url.split_at(url.find(['/', '*']).unwrap());
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let headers = Headers(headers.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect());
    let facts = Facts { method, host, path, query, headers: &headers };
    match Table::compile(&config(routes.to_vec())).decide(&facts) {
        Decision::Route(index) => routes[index].name.to_string(),
        Decision::NotFound => "404".into(),
        Decision::MethodNotAllowed(allow) => format!("405 {}", allow.join(",")),
    }
}

fn check(routes: &[Route], cases: &[(&str, &str)]) {
    for (request, expected) in cases {
        assert_eq!(decide(routes, request, &[]), *expected, "{request}");
    }
}

fn on_hosts(name: &str, path: &str, hosts: &[&str]) -> Route {
    Route { hosts: hosts.iter().map(|text| host(text)).collect(), ..route(name, path) }
}

fn for_methods(name: &str, path: &str, methods: &[&str]) -> Route {
    Route { methods: names(methods), ..route(name, path) }
}

fn header(name: &str, value: &str) -> HeaderMatch {
    HeaderMatch { name: name.into(), value: ValueMatch::Exact(value.into()) }
}

fn query(name: &str, value: &str) -> QueryMatch {
    QueryMatch { name: name.into(), value: ValueMatch::Exact(value.into()) }
}

#[test]
fn prefixes_end_at_segments() {
    let routes = [route("bare", "/api"), route("deep", "/api/v1/x"), route("slash", "/auth/"), route("double", "/d//")];
    check(
        &routes,
        &[
            ("GET /api", "bare"),
            ("GET /api/", "bare"),
            ("GET /api/v1", "bare"),
            ("GET /api/v1/", "bare"),
            ("GET /api/v1/x", "deep"),
            ("GET /api/v1/xy", "bare"),
            ("GET /api/v1/x/y", "deep"),
            ("GET /apix", "404"),
            ("GET /auth", "404"),
            ("GET /auth/", "slash"),
            ("GET /auth//x", "slash"),
            ("GET /d/", "404"),
            ("GET /d//", "double"),
            ("GET /d//x", "double"),
            ("GET /", "404"),
            ("OPTIONS *", "404"),
        ],
    );
}

#[test]
fn paths_have_an_order() {
    let routes = [
        route("regex", "~ ^/api/v[0-9]+$"),
        route("any", "~ ."),
        route("slash", "/api/"),
        route("bare", "/api"),
        route("exact", "= /api/"),
    ];
    check(
        &routes,
        &[
            ("GET /api/", "exact"),
            ("GET /api", "bare"),
            ("GET /api/v1", "slash"),
            ("GET /other", "any"),
            ("OPTIONS *", "404"),
        ],
    );
    check(&[route("any", "/"), route("regex", "~ ^/x")], &[("GET /x", "any"), ("GET /", "any"), ("OPTIONS *", "404")]);
    check(&[route("first", "~ x"), route("second", "~ ^/x")], &[("GET /x", "first")]);
}

#[test]
fn hosts_have_an_order_and_fall_through() {
    let routes = [
        route("none", "/"),
        on_hosts("wide", "/", &["*.example.org"]),
        on_hosts("narrow", "/n", &["*.b.example.org"]),
        on_hosts("own", "/o", &["a.b.example.org", "example.org"]),
    ];
    check(
        &routes,
        &[
            ("GET a.b.example.org/o", "own"),
            ("GET a.b.example.org/n", "narrow"),
            ("GET a.b.example.org/x", "wide"),
            ("GET b.example.org/n", "wide"),
            ("GET example.org/o", "own"),
            ("GET example.org/x", "none"),
            ("GET other/x", "none"),
            ("GET /x", "none"),
        ],
    );
}

#[test]
fn priority_wins_before_everything() {
    let routes = [
        on_hosts("exact", "= /a/b", &["h"]),
        Route { priority: 5, ..route("urgent", "~ b") },
        Route { priority: -1, ..on_hosts("late", "= /z", &["h"]) },
        route("any", "/"),
        Route { priority: 9, methods: names(&["POST"]), ..route("post", "/") },
    ];
    check(
        &routes,
        &[
            ("GET h/a/b", "urgent"),
            ("GET h/a", "any"),
            ("GET h/z", "any"),
            ("POST h/a/b", "post"),
            ("PUT h/b", "urgent"),
        ],
    );
}

#[test]
fn more_conditions_win_and_failing_ones_fall_through() {
    let routes = [
        route("plain", "/a"),
        Route { headers: vec![header("x-v", "2")], ..route("header", "/a") },
        Route { headers: vec![header("x-v", "2")], query: vec![query("q", "1")], ..route("both", "/a") },
        Route { headers: vec![header("x-v", "3")], ..route("deeper", "/a/b") },
    ];
    assert_eq!(decide(&routes, "GET /a?q=1", &[("x-v", "2")]), "both");
    assert_eq!(decide(&routes, "GET /a", &[("x-v", "1"), ("x-v", "2")]), "header");
    assert_eq!(decide(&routes, "GET /a?q=1", &[]), "plain");
    assert_eq!(decide(&routes, "GET /a/b", &[("x-v", "2")]), "header");
    let table = Table::compile(&config(routes.to_vec()));
    assert_eq!(table.headers_read(), names(&["x-v"]));
    assert_eq!(table.query_read(), names(&["q"]));
}

#[test]
fn methods_that_are_missing_are_told() {
    let routes = [
        for_methods("get", "/a", &["GET"]),
        for_methods("put", "/a/b", &["PUT", "GET"]),
        Route { headers: vec![header("x-v", "1")], ..for_methods("patch", "/a", &["PATCH"]) },
        on_hosts("host", "/h", &["h"]),
    ];
    check(
        &routes,
        &[
            ("GET /a", "get"),
            ("HEAD /a", "get"),
            ("get /a", "405 GET,HEAD"),
            ("PATCH /a", "405 GET,HEAD"),
            ("POST /a/b", "405 GET,HEAD,PUT"),
            ("POST /b", "404"),
        ],
    );
    assert_eq!(decide(&routes, "PUT /a", &[("x-v", "1")]), "405 GET,HEAD,PATCH");
    check(&[for_methods("get", "/a", &["GET"]), route("any", "/")], &[("POST /a", "any")]);
}

fn serves(name: &str, path: &str, pages: Serve) -> Route {
    Route { action: Action::Serve(pages), ..route(name, path) }
}

fn along(name: &str, path: &str, pages: Serve) -> Route {
    Route { is_implied: true, ..serves(name, path, pages) }
}

#[test]
fn nothing_stands_in_the_way_of_pages_of_our_own() {
    let login = along("login", "/.p/", Serve::Login);
    let jwks = along("jwks", "= /keys", Serve::Jwks);
    for other in [
        on_hosts("app", "/", &["app"]),
        on_hosts("app", "/", &["*.app"]),
        Route { priority: 1, ..route("app", "/") },
        Route { query: vec![query("to", "1")], ..route("app", "/.p/") },
        Route { priority: 1, ..route("app", "~ ^/[.k]") },
        for_methods("app", "= /.p/login", &["GET"]),
        serves("app", "= /.p/login", Serve::Accounts),
    ] {
        let routes = [other, login.clone(), jwks.clone()];
        for host in ["app", "x.app"] {
            check(
                &routes,
                &[
                    (&format!("GET {host}/.p/login?to=1"), "login"),
                    (&format!("POST {host}/.p/"), "login"),
                    (&format!("GET {host}/keys"), "jwks"),
                ],
            );
        }
        assert_eq!(in_precedence(&routes)[2], 0);
    }
    let routes = [
        Route { priority: 1, ..route("app", "/") },
        Route { hosts: vec![host("a")], ..serves("own", "/", Serve::Login) },
        Route { methods: names(&["POST"]), ..serves("posted", "/.p/", Serve::Login) },
        login,
    ];
    check(
        &routes,
        &[("GET a/.p/login", "own"), ("GET b/.p/login", "login"), ("POST b/.p/x", "posted"), ("GET a/.p", "app")],
    );
    check(&[on_hosts("app", "/", &["a"]), along("login", "/", Serve::Login)], &[("OPTIONS a*", "404")]);
}

/// The first route by a plain reading of the rules.
fn naive(routes: &[Route], facts: &Facts<'_, Headers>) -> Decision {
    let mut matches = Vec::new();
    let mut methods = BTreeSet::new();
    let begins = |route: &Route| match &route.path {
        PathPattern::Exact(exact) => **exact == *facts.path,
        PathPattern::Prefix(prefix) => {
            format!("{}/", facts.path).starts_with(&format!("{}/", prefix.trim_end_matches('/')))
                && (!prefix.ends_with('/') || facts.path.starts_with(&**prefix))
        }
        PathPattern::Regex(_) => false,
    };
    let is_serve = |route: &Route| matches!(route.action, Action::Serve(_));
    let reserved = routes.iter().any(|route| route.is_implied && begins(route));
    for (index, route) in routes.iter().enumerate() {
        if reserved && !is_serve(route) {
            continue;
        }
        let host_class = |pattern: &HostPattern| match pattern {
            HostPattern::Exact(name) => (**name == *facts.host).then_some((0, Reverse(0))),
            HostPattern::Wildcard(suffix) => {
                let label = facts.host.strip_suffix(&**suffix)?;
                (!label.is_empty()).then_some((1, Reverse(suffix.len())))
            }
        };
        let host = route.hosts.iter().filter_map(host_class).min();
        let host = if route.hosts.is_empty() { Some((2, Reverse(0))) } else { host };
        let path = match &route.path {
            PathPattern::Exact(exact) => (**exact == *facts.path).then_some((0, Reverse(0))),
            PathPattern::Prefix(prefix) => {
                let rest = facts.path.strip_prefix(&**prefix);
                rest.filter(|rest| rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'))
                    .map(|_| (1, Reverse(prefix.len())))
            }
            PathPattern::Regex(pattern) => pattern.regex.is_match(facts.path).then_some((2, Reverse(0))),
        };
        let headers = route.headers.iter().all(|condition| match &condition.value {
            ValueMatch::Exact(text) => facts.headers.0.iter().any(|(n, v)| **n == *condition.name && **v == **text),
            ValueMatch::Present(wanted) => facts.headers.0.iter().any(|(n, _)| **n == *condition.name) == *wanted,
            ValueMatch::Regex(_) => unreachable!(),
        });
        let pairs: Vec<(&str, &str)> = facts.query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let query = route.query.iter().all(|condition| match &condition.value {
            ValueMatch::Exact(text) => pairs.iter().any(|(n, v)| *n == &*condition.name && *v == &**text),
            ValueMatch::Present(_) | ValueMatch::Regex(_) => unreachable!(),
        });
        let (Some(host), Some(path), true, true) = (host, path, headers, query) else { continue };
        let count = route.headers.len() + route.query.len() + usize::from(!route.methods.is_empty());
        let takes = |method: &str| route.methods.iter().any(|m| **m == *method);
        if route.methods.is_empty() || takes(facts.method) || (facts.method == "HEAD" && takes("GET")) {
            matches.push((Reverse(route.priority), host, path, Reverse(count), index));
        } else {
            methods.extend(route.methods.iter().cloned());
            if takes("GET") {
                methods.insert("HEAD".into());
            }
        }
    }
    match matches.into_iter().min() {
        Some((.., index)) => Decision::Route(index),
        None if methods.is_empty() => Decision::NotFound,
        None => Decision::MethodNotAllowed(methods.into_iter().collect()),
    }
}

fn any_route() -> impl Strategy<Value = Route> {
    let hosts = prop::collection::vec(prop::sample::select(vec!["a.b", "b", "*.b", "*.a.b", "*.c"]), 0..3);
    // Compiled once: that is what would take the time.
    let regexes: Vec<PathPattern> = ["~ b", "~ ^/a", "~ a/b$", "~ ."].into_iter().map(path).collect();
    let paths = prop_oneof![
        6 => "(= |)(/(a|b|)){1,4}".prop_map(|text| path(&text)),
        1 => prop::sample::select(regexes),
    ];
    let methods = prop::collection::vec(prop::sample::select(vec!["GET", "POST", "PUT"]), 0..2);
    let value = prop_oneof![
        Just(ValueMatch::Exact("1".into())),
        Just(ValueMatch::Exact("2".into())),
        any::<bool>().prop_map(ValueMatch::Present)
    ];
    let conditions = (prop::collection::vec(value, 0..2), prop::option::weighted(0.2, Just(query("q", "1"))));
    let written = (hosts, paths, methods, conditions, prop::sample::select(vec![0, 0, 0, 0, 1, -1])).prop_map(
        |(hosts, path, methods, (headers, query), priority)| Route {
            hosts: hosts.into_iter().map(host).collect(),
            path,
            methods: names(&methods),
            headers: headers.into_iter().map(|value| HeaderMatch { name: "x".into(), value }).collect(),
            query: query.into_iter().collect(),
            priority,
            ..route("any", "/")
        },
    );
    let serving =
        (written.clone(), Just(Action::Serve(Serve::Login))).prop_map(|(route, action)| Route { action, ..route });
    let implied = "(= |)(/(a|b|)){2,4}".prop_map(|path| along("along", &path, Serve::Login));
    prop_oneof![20 => written, 2 => serving, 1 => implied]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn the_table_decides_as_a_naive_matcher(
        routes in prop::collection::vec(any_route(), 0..25),
        requests in prop::collection::vec(
            ("GET|HEAD|POST", "a\\.b|b|z\\.a\\.b|x|", "(/(a|b|)){1,5}", "|q=1|q=2&q=1", prop::option::of("1|2")), 1..20),
    ) {
        let table = Table::compile(&config(routes.clone()));
        for (method, host, path, query, value) in &requests {
            let headers = Headers(value.iter().map(|value| ("x".into(), value.clone())).collect());
            let facts = Facts { method, host, path, query, headers: &headers };
            prop_assert_eq!(table.decide(&facts), naive(&routes, &facts), "{} {}{}?{} {:?}", method, host, path, query, value);
        }
    }
}

/// Far more than it should take even unoptimised on a busy machine, far less than anything quadratic would.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_hundred_thousand_routes_are_compiled_and_found() {
    let one = |index: usize| {
        let shape = format!("/team{}/service{index}/", index % 100);
        let shape = if index.is_multiple_of(3) { format!("= {shape}") } else { shape };
        Route { priority: (index % 7) as i32, ..on_hosts("x", &shape, &[&format!("h{}.example.org", index % 1000)]) }
    };
    let config = config((0..100_000).map(one).collect());
    let start = Instant::now();
    let table = Table::compile(&config);
    for index in (0..100_000).step_by(7) {
        let (host, path) = (format!("h{}.example.org", index % 1000), format!("/team{}/service{index}/", index % 100));
        let facts = Facts { method: "GET", host: &host, path: &path, query: "", headers: &Headers::default() };
        assert_eq!(table.decide(&facts), Decision::Route(index));
    }
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
}

#[test]
fn hostile_paths_and_hosts_cost_their_length() {
    let deep = "/".repeat(4000);
    let table = Table::compile(&config(vec![
        route("deep", &deep),
        route("shallow", "/x/"),
        on_hosts("wide", "/x", &["*.a.a.a.a.a.a"]),
    ]));
    let (path, host) = ("/".repeat(8192), ".a".repeat(16_000));
    let start = Instant::now();
    for _ in 0..200 {
        let facts = Facts { method: "GET", host: &host, path: &path, query: "", headers: &Headers::default() };
        assert_eq!(table.decide(&facts), Decision::Route(0));
    }
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
}
