//! Grants and refusals of the CORS policy.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn list(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|name| (*name).into()).collect()
}

fn any_origin() -> Cors {
    Cors {
        allow_origins: CorsOrigins::Any,
        allow_methods: Names::Any,
        allow_headers: Names::Any,
        expose_headers: Vec::new(),
        credentials: false,
        max_age: None,
    }
}

fn listed() -> Cors {
    Cors {
        allow_origins: CorsOrigins::List {
            exact: list(&["https://app.example.com"]),
            wildcard: vec![("https://".into(), ".example.org".into())],
        },
        allow_methods: Names::List(list(&["GET", "POST"])),
        allow_headers: Names::List(list(&["content-type", "x-a"])),
        expose_headers: list(&["x-request-id", "x-b"]),
        credentials: true,
        max_age: Some(Duration::from_mins(10)),
    }
}

fn preflight<'a>(origin: &'a str, method: &'a str, headers: &'a str) -> CorsFacts<'a> {
    CorsFacts {
        method: "OPTIONS",
        origin: Some(origin),
        request_method: Some(method),
        request_headers: (!headers.is_empty()).then_some(headers),
        request_private_network: None,
    }
}

fn actual(origin: Option<&str>) -> CorsFacts<'_> {
    CorsFacts { method: "GET", origin, ..CorsFacts::default() }
}

fn check(cors: &Cors, facts: &CorsFacts<'_>, expected: &[&str]) {
    let (headers, vary) = match decide(cors, facts) {
        CorsVerdict::Preflight(headers) => (headers, None),
        CorsVerdict::Actual { headers, vary_origin } => (headers, vary_origin.then_some("VARY".to_owned())),
    };
    let lines: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{}: {value}", name.strip_prefix("access-control-").unwrap_or(name)))
        .chain(vary)
        .collect();
    assert_eq!(lines, expected, "{facts:?}");
}

const VARY: &str = "vary: origin, access-control-request-method, access-control-request-headers";

#[test]
fn listed_origins_are_granted() {
    let granted = ["allow-origin: https://app.example.com", "allow-credentials: true"];
    let app = "https://app.example.com";
    let mut with_exposed = granted.to_vec();
    with_exposed.extend(["expose-headers: x-request-id, x-b", "VARY"]);
    check(&listed(), &actual(Some(app)), &with_exposed);
    check(&listed(), &actual(None), &["VARY"]);
    check(&listed(), &CorsFacts { method: "OPTIONS", ..actual(Some(app)) }, &with_exposed);
    let mut answered = granted.to_vec();
    answered.extend(["allow-methods: GET, POST", "max-age: 600", VARY]);
    check(&listed(), &preflight(app, "POST", ""), &answered);
    check(&listed(), &preflight(app, "HEAD", ""), &answered);
    answered.insert(3, "allow-headers: content-type, x-a");
    check(&listed(), &preflight(app, "GET", "Content-Type ,x-a"), &answered);
}

#[test]
fn the_others_are_granted_nothing() {
    for origin in [
        "https://evil.com",
        "http://app.example.com",
        "https://app.example.com.evil.com",
        "https://app.example.com:444",
        "https://.example.org",
        "https://example.org",
        "https://a@b.example.org",
        "https://evil.com/.example.org",
        "https://evil.com:1.example.org",
        "https://a..example.org",
        "https://\r\n.example.org",
        "null",
        "*",
        "",
    ] {
        check(&listed(), &actual(Some(origin)), &["VARY"]);
        check(&listed(), &preflight(origin, "GET", ""), &[VARY]);
    }
    let app = "https://app.example.com";
    check(&listed(), &preflight(app, "PUT", ""), &[VARY]);
    check(&listed(), &preflight(app, "get", ""), &[VARY]);
    check(&listed(), &preflight(app, "GET", "x-a, authorization"), &[VARY]);
    check(&listed(), &preflight(app, "GET", &"x-a,".repeat(MAX_ASKED_HEADERS + 1)), &[VARY]);
    check(&listed(), &actual(Some(&format!("https://{}.example.org", "a.".repeat(300)))), &["VARY"]);
}

#[test]
fn wildcards_stand_for_labels() {
    for origin in ["https://a.example.org", "https://a.b-1.example.org"] {
        let line = format!("allow-origin: {origin}");
        let expected = [&line, "allow-credentials: true", "expose-headers: x-request-id, x-b", "VARY"];
        check(&listed(), &actual(Some(origin)), &expected);
    }
}

#[test]
fn any_origin_is_a_star() {
    check(&any_origin(), &actual(None), &["allow-origin: *"]);
    check(&any_origin(), &actual(Some("null")), &["allow-origin: *"]);
    let vary = "vary: access-control-request-headers";
    check(&any_origin(), &preflight("null", "PUT", ""), &["allow-origin: *", "allow-methods: *", vary]);
    let granted = ["allow-origin: *", "allow-methods: *", "allow-headers: *", vary];
    check(&any_origin(), &preflight("https://x", "PUT", "x-b"), &granted);
    check(&Cors { credentials: true, ..any_origin() }, &actual(Some("https://x")), &["allow-origin: *"]);
    let null = CorsOrigins::List { exact: list(&["null"]), wildcard: Vec::new() };
    check(&Cors { allow_origins: null, ..any_origin() }, &actual(Some("null")), &["allow-origin: null", "VARY"]);
}

proptest! {
    #[test]
    fn only_listed_origins_are_granted(
        origin in prop_oneof![".*", "https://[a-z.:/@]{0,12}\\.example\\.(org|com)[.a-z]{0,4}"],
        headers in ".*",
        method in "GET|OPTIONS",
        request_method in prop::option::of("GET|PUT|.*"),
    ) {
        let facts = CorsFacts {
            method: &method,
            origin: Some(&origin),
            request_method: request_method.as_deref(),
            request_headers: Some(&headers),
            request_private_network: None,
        };
        let (CorsVerdict::Preflight(headers) | CorsVerdict::Actual { headers, .. }) = decide(&listed(), &facts);
        let granted = headers.iter().find(|(name, _)| *name == "access-control-allow-origin");
        let labels = origin.strip_prefix("https://").and_then(|rest| rest.strip_suffix(".example.org"));
        let is_listed = origin == "https://app.example.com"
            || labels.is_some_and(|labels| !labels.is_empty() && !labels.contains([':', '/', '@']));
        if let Some((_, value)) = granted {
            prop_assert!(is_listed && *value == origin, "{}", origin);
        }
        for (_, value) in &headers {
            prop_assert!(value.bytes().all(|octet| matches!(octet, b' '..=b'~')));
        }
    }
}
