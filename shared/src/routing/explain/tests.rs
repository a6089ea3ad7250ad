//! Explanations of whole requests.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::super::fixture::{config, host, names, route, upstream};
use super::*;
use crate::config::policy::{
    Access, Algorithm, BodyLimit, CertificatePattern, Cors, CorsOrigins, HeaderEdit, Headers, Key, Mode, Names,
    RateLimit, Rule, Window,
};
use crate::config::{
    Action, EncodedSlash, ForwardHost, HeaderMatch, Origin, QueryMatch, Redirect, RedirectPart, Rewrite, Route, Scope,
    Serve, Setting, Share, Source, UpstreamTls, ValueMatch,
};
use crate::control::report::{MAX_CANDIDATES, Verdict};

fn args(request: &str, headers: &[&str]) -> ExplainArgs {
    let (method, url) = request.split_once(' ').unwrap();
    let headers = headers.iter().map(|line| (*line).to_owned()).collect();
    ExplainArgs { method: method.into(), url: url.into(), headers, from: None }
}

fn told(config: &Config, request: &str, headers: &[&str]) -> Explanation {
    explain(config, &Table::compile(config), &args(request, headers), "10.0.0.1".parse().unwrap()).unwrap()
}

/// `+name: reason` of the winner, `-name: reason` of the others.
fn check(routes: &[Route], request: &str, headers: &[&str], expected: &[&str]) {
    let told = told(&config(routes.to_vec()), request, headers);
    let lines: Vec<String> = told
        .candidates
        .iter()
        .map(|one| format!("{}{}: {}", if one.won { '+' } else { '-' }, one.route, one.reason))
        .collect();
    assert_eq!(lines, expected, "{request} {headers:?}");
}

fn set<T>(value: T, scope: Scope) -> Setting<T> {
    let at = Origin { source: Source::File("config.yaml".into()), line: 3, column: 5 };
    Setting { value: Some(value.into()), scope, at }
}

#[test]
fn pages_of_our_own_say_that_the_path_is_theirs() {
    let login = Action::Serve(Serve::Login);
    let routes = [
        Route { priority: 1, ..route("app", "/") },
        Route { hosts: vec![host("a")], ..route("shop", "/.p/x") },
        Route { is_implied: true, action: login, ..route("identity-login", "/.p/") },
    ];
    check(
        &routes,
        "GET http://a/.p/login",
        &[],
        &[
            "-app: loses to identity-login: its pages are on this path, and this route does not serve them",
            "-shop: path /.p/login is not under /.p/x",
            "+identity-login: first of those that serve the pages of this path: prefix /.p/",
        ],
    );
}

#[test]
fn every_candidate_has_its_reason() {
    let header = |value| HeaderMatch { name: "x-version".into(), value: ValueMatch::Exact(value) };
    let routes = [
        Route { methods: names(&["POST"]), ..route("post", "= /api/x") },
        route("bare", "/api"),
        route("slash", "/api/"),
        Route { headers: vec![header("2".into())], ..route("v2", "/api/") },
        Route { hosts: vec![host("www.example.com"), host("*.example.org")], ..route("www", "/") },
        Route { hosts: vec![host("api.example.com")], ..route("other", "= /other") },
        route("regex", "~ ^/api"),
        route("late", "/api/"),
        Route { priority: -1, ..route("low", "/api/x") },
    ];
    check(
        &routes,
        "GET http://api.example.com/api/x",
        &["X-Version: 1"],
        &[
            "-other: path /api/x is not /other",
            "-www: host api.example.com is not one of www.example.com, *.example.org",
            "-post: method GET is not POST",
            "-v2: header x-version is \"1\", not \"2\"",
            "+slash: first in order of precedence: prefix /api/",
            "-late: loses to slash: it stands before in the config",
            "-bare: loses to slash: longer prefix",
            "-regex: loses to slash: a prefix goes before a pattern",
            "-low: loses to slash: higher priority (0, not -1)",
        ],
    );
    check(
        &routes[3..5],
        "GET /api/",
        &[],
        &[
            "-www: no host is named, and it wants one of www.example.com, *.example.org",
            "-v2: header x-version is absent",
        ],
    );
    check(
        &routes[4..6],
        "GET /other",
        &["Host: api.example.com:80"],
        &[
            "+other: first in order of precedence: host api.example.com, exact path /other",
            "-www: host api.example.com is not one of www.example.com, *.example.org",
        ],
    );
}

#[test]
fn secrets_are_masked() {
    let key = HeaderMatch { name: "x-api-key".into(), value: ValueMatch::Exact("s3cret".into()) };
    let token = QueryMatch { name: "token".into(), value: ValueMatch::Exact("t0ken".into()) };
    let routes =
        [Route { headers: vec![key], ..route("keyed", "/a/b") }, Route { query: vec![token], ..route("token", "/a") }];
    check(
        &routes,
        "GET /a/b?token=wrong",
        &["X-Api-Key: mine"],
        &[
            "-keyed: header x-api-key is not the one wanted: [present, masked, 4 bytes]",
            "-token: query parameter token is not the one wanted: [present, masked, 5 bytes]",
        ],
    );
    assert_eq!(told(&config(routes.to_vec()), "GET /?token=wrong", &[]).query, "token=[present, masked, 5 bytes]");
}

#[test]
fn only_the_nearest_are_listed() {
    let mut routes: Vec<Route> = (0..150).map(|index| route(&format!("r{index}"), &format!("= /{index}"))).collect();
    routes.push(Route { priority: -9, ..route("last", "/") });
    let told = told(&config(routes), "GET /nowhere", &[]);
    assert_eq!((told.candidates.len(), told.unlisted), (MAX_CANDIDATES, 51));
    let last = told.candidates.last().unwrap();
    assert!(last.won && last.route == "last" && told.candidates[0].route == "r0");
}

fn verdict(route: Route, request: &str, headers: &[&str]) -> Verdict {
    let mut config = config(vec![route]);
    config.upstreams =
        vec![upstream("users", &["127.0.0.1:8001", "[::1]:8002"]).into(), upstream("canary", &["c:80"]).into()];
    told(&config, request, headers).verdict
}

fn rejected(route: Route, request: &str) -> (String, u16) {
    match verdict(route, request, &[]) {
        Verdict::Reject { code, status, message } => {
            assert!(!message.is_empty());
            (code, status)
        }
        other @ (Verdict::Forward { .. }
        | Verdict::Redirect { .. }
        | Verdict::Respond { .. }
        | Verdict::Serve { .. }) => (format!("{other:?}"), 0),
    }
}

#[test]
fn where_it_would_go_is_told() {
    let share = |upstream, weight, prefix: &str| Share { upstream, weight, path_prefix: prefix.into() };
    let split = Route {
        action: Action::Forward(vec![share(0, 2, ""), share(1, 1, "/base")]),
        rewrite: Some(Rewrite::Prefix { strip: "/api".into(), add: "/v2".into() }),
        ..route("split", "/api")
    };
    let Verdict::Forward { targets, .. } = verdict(split.clone(), "GET http://H:81/api/%7ex?q=1#f", &[]) else {
        panic!("not forwarded")
    };
    assert_eq!(targets[0].urls, ["http://127.0.0.1:8001/v2/~x?q=1", "http://[::1]:8002/v2/~x?q=1"]);
    assert_eq!(targets[1].urls, ["http://c:80/base/v2/~x?q=1"]);
    let told: Vec<_> = targets.iter().map(|t| (&*t.upstream, &*t.share, &*t.host)).collect();
    assert_eq!(told, [("users", "66.7", "H:81"), ("canary", "33.3", "H:81")]);
    let Verdict::Forward { targets, .. } =
        verdict(Route { forward_host: ForwardHost::Target, ..split }, "GET /api", &["host: x"])
    else {
        panic!("not forwarded")
    };
    assert_eq!((&*targets[0].host, &*targets[1].host), ("the endpoint's address", "c:80"));
    let to = vec![RedirectPart::Scheme, RedirectPart::Text("://n".into()), RedirectPart::Path];
    let redirect = Action::Redirect(Redirect { to, status: 308, keep_query: true });
    let found = verdict(Route { action: redirect, ..route("moved", "/") }, "GET https://h/a?b", &[]);
    assert_eq!(found, Verdict::Redirect { route: "moved".into(), status: 308, location: "https://n/a?b".into() });
}

#[test]
fn refusals_are_told() {
    let refuse = || route("r", "/a");
    assert_eq!(rejected(refuse(), "GET /b"), ("route_not_found".into(), 404));
    assert_eq!(rejected(refuse(), "OPTIONS *"), ("route_not_found".into(), 404));
    assert_eq!(rejected(refuse(), "GET /a%"), ("path_malformed".into(), 400));
    assert_eq!(rejected(refuse(), "GET /a b"), ("path_malformed".into(), 400));
    assert_eq!(rejected(refuse(), "GET /a/%2F"), ("path_encoded_slash".into(), 400));
    let post = Route { methods: names(&["POST"]), ..refuse() };
    assert_eq!(rejected(post, "GET /a"), ("method_not_allowed".into(), 405));
    let mut shut = refuse();
    Arc::make_mut(&mut shut.policies).access = set(
        Access { allow: vec![], deny: vec!["10.0.0.0/8".parse().unwrap()], certificates: vec![] },
        Scope::Route("r".into()),
    );
    assert_eq!(rejected(shut, "GET /a"), ("access_denied".into(), 403));
}

/// The path that the request resolves to, or the refusal.
fn resolved(encoded_slash: EncodedSlash, path: &str) -> Result<String, Refused> {
    let routes =
        vec![Route { encoded_slash, ..route("files", "/files/") }, route("deep", "/files/deep/"), route("a", "/a")];
    let asked = Asked::parse(&args(&format!("GET {path}"), &[]), "10.0.0.1".parse().unwrap()).unwrap();
    let config = config(routes);
    resolve(&Table::compile(&config), &config.routes, &asked.facts(&asked.path), false)
        .map(|found| found.path.into_owned())
}

type Refused = super::super::Refusal;

#[test]
fn encoded_slashes_are_for_the_route_to_judge() {
    use EncodedSlash::{Decode, Keep, Refuse};
    assert_eq!(resolved(Refuse, "/files/a"), Ok("/files/a".into()));
    assert_eq!(resolved(Refuse, "/files/a%2fb"), Err(Refused::EncodedSlash));
    assert_eq!(resolved(Keep, "/files/a%2fb"), Ok("/files/a%2Fb".into()));
    assert_eq!(resolved(Keep, "/a%2fb"), Err(Refused::EncodedSlash), "leads nowhere");
    assert_eq!(resolved(Decode, "/files/a%2fb%5Cc"), Ok("/files/a/b\\c".into()));
    assert_eq!(resolved(Decode, "/files/deep%2Fx"), Err(Refused::EncodedSlash), "leads to another route");
    assert_eq!(resolved(Decode, "/files/..%2f..%2fa"), Err(Refused::EncodedSlash), "escapes the route");
    assert!(matches!(resolved(Decode, "/files/%2F%00"), Err(Refused::Malformed(_))));
}

fn cors() -> Cors {
    Cors {
        allow_origins: CorsOrigins::List { exact: vec!["https://app".into()], wildcard: Vec::new() },
        allow_methods: Names::List(names(&["GET"])),
        allow_headers: Names::List(Vec::new()),
        expose_headers: Vec::new(),
        credentials: false,
        max_age: None,
    }
}

#[test]
fn a_preflight_belongs_to_the_route_it_announces() {
    let mut get = Route { methods: names(&["GET"]), ..route("get", "/a") };
    Arc::make_mut(&mut get.policies).cors = set(cors(), Scope::Route("get".into()));
    let routes = [get, Route { methods: names(&["OPTIONS"]), ..route("options", "/a") }];
    let preflight = ["Origin: https://app", "Access-Control-Request-Method: GET"];
    check(
        &routes,
        "OPTIONS /a",
        &preflight,
        &[
            "+get: answers this preflight: the request it announces would come here",
            "-options: loses to get: it stands before in the config",
        ],
    );
    assert_eq!(
        told(&config(routes.to_vec()), "OPTIONS /a", &preflight).verdict,
        Verdict::Respond { route: "get".into(), status: 204 }
    );
    let other = ["Origin: https://app", "Access-Control-Request-Method: PUT"];
    let found = told(&config(routes.to_vec()), "OPTIONS /a", &other);
    assert_eq!(found.verdict, Verdict::Respond { route: "options".into(), status: 200 });
    assert_eq!(found.candidates[0].reason, "method OPTIONS is not GET");
}

#[test]
fn policies_say_what_they_would_do() {
    let mut all = route("all", "/");
    let here = || Scope::Route("all".into());
    Arc::make_mut(&mut all.policies).access =
        set(Access { allow: vec!["10.0.0.0/8".parse().unwrap()], deny: vec![], certificates: vec![] }, Scope::TopLevel);
    Arc::make_mut(&mut all.policies).cors = set(cors(), here());
    let window = |requests, per| Window { requests, per: Duration::from_secs(per) };
    let rule = |name: &str, by, mode| Rule {
        name: name.into(),
        limits: vec![window(60, 60), window(1000, 3600)],
        by,
        algorithm: Algorithm::SlidingWindow,
        mode,
        max_keys: 10,
        ipv6_prefix: 64,
        ..Rule::default()
    };
    let by_key = rule("keys", vec![Key::Header("x-api-key".into()), Key::Ip], Mode::Shadow);
    Arc::make_mut(&mut all.policies).rate_limit =
        set(RateLimit { rules: vec![rule("default", vec![Key::Ip], Mode::Enforce), by_key] }, Scope::TopLevel);
    Arc::make_mut(&mut all.policies).body_limit = set(BodyLimit { max_bytes: 10 << 20 }, Scope::Default);
    let edit = HeaderEdit::Set("x-token".into(), "s3cret".into());
    Arc::make_mut(&mut all.policies).headers =
        set(Headers { request: vec![edit], response: vec![HeaderEdit::Remove("server".into())] }, here());
    Arc::make_mut(&mut all.policies).security_headers = Setting { value: None, ..set_off(here()) };
    let config = config(vec![all]);
    let asked = ["Origin: https://app", "X-Api-Key: mine", "Content-Length: 99999999"];
    let lines: Vec<String> = told(&config, "POST /", &asked)
        .policies
        .iter()
        .map(|line| format!("{} ({}): {}", line.policy, line.scope, line.effect))
        .collect();
    assert_eq!(
        lines,
        [
            "security_headers (route all): off",
            "cors (route all): grants access-control-allow-origin: https://app",
            "access (top level): lets 10.0.0.1 in",
            "rate_limit (top level): default: 60/1m, 1000/1h, sliding window, counted by address 10.0.0.1",
            "rate_limit (top level): keys: 60/1m, 1000/1h, sliding window, counted by header x-api-key [present, masked, 4 bytes]; only watches",
            "body_limit (default): refuses this body with 413: 99999999 bytes are over 10MiB",
            "headers (route all): request: sets x-token; response: removes server",
        ]
    );
    let from = ExplainArgs { from: Some("2001:db8::1:2:3:4".into()), ..args("GET /", &[]) };
    let found = explain(&config, &Table::compile(&config), &from, "10.0.0.1".parse().unwrap()).unwrap();
    assert_eq!(found.policies[2].effect, "refuses 2001:db8::1:2:3:4: it is not in the allow list");
    assert!(found.policies[3].effect.ends_with("counted by network 2001:db8::/64"));
}

#[test]
fn certificates_are_asked_of_the_client() {
    let mut all = route("all", "/");
    let certificates = vec![
        CertificatePattern::Exact("billing".into()),
        CertificatePattern::Below(".example.org".into()),
        CertificatePattern::Starts("spiffe://a/".into()),
    ];
    Arc::make_mut(&mut all.policies).access =
        set(Access { allow: vec![], deny: vec!["10.6.6.6/32".parse().unwrap()], certificates }, Scope::TopLevel);
    let rule = Rule {
        name: "default".into(),
        limits: vec![Window { requests: 1, per: Duration::from_mins(1) }],
        by: vec![Key::Certificate, Key::Ip],
        algorithm: Algorithm::SlidingWindow,
        mode: Mode::Enforce,
        max_keys: 10,
        ipv6_prefix: 64,
        ..Rule::default()
    };
    Arc::make_mut(&mut all.policies).rate_limit = set(RateLimit { rules: vec![rule] }, Scope::TopLevel);
    let config = config(vec![all]);
    let effects = |from: &str| {
        let args = ExplainArgs { from: Some(from.into()), ..args("GET /", &[]) };
        let found = explain(&config, &Table::compile(&config), &args, "10.0.0.1".parse().unwrap()).unwrap();
        found.policies.iter().map(|line| line.effect.clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        effects("10.0.0.1"),
        [
            "lets 10.0.0.1 in with a certificate that holds \"billing\" or \"*.example.org\" or \"spiffe://a/*\"",
            "default: 1/1m, sliding window, counted by the client's certificate, else address 10.0.0.1",
        ]
    );
    assert_eq!(effects("10.6.6.6")[0], "refuses 10.6.6.6: it is in the deny list");
}

#[test]
fn secure_upstreams_have_secure_urls() {
    let mut secure = upstream("u", &["a:443"]);
    secure.tls = Some(Arc::new(UpstreamTls { ca: None, server_name: None, verify: true, client: None }));
    let share = Share { upstream: 0, weight: 1, path_prefix: "".into() };
    let mut config = config(vec![Route { action: Action::Forward(vec![share]), ..route("all", "/") }]);
    config.upstreams = vec![secure.into()];
    let Verdict::Forward { targets, .. } = told(&config, "GET /x", &[]).verdict else { panic!("forwarded") };
    assert_eq!(targets[0].urls, ["https://a:443/x"]);
}

fn set_off<T>(scope: Scope) -> Setting<T> {
    Setting { value: None, scope, at: Origin::default_value() }
}

#[test]
fn arguments_that_are_none_are_refused() {
    let config = config(vec![route("all", "/")]);
    let table = Table::compile(&config);
    let long = format!("GET /{}", "a".repeat(70_000));
    for (request, headers) in [
        ("G(T /", &[][..]),
        ("GET x", &[]),
        ("GET ftp://h/", &[]),
        ("GET http:///x", &[]),
        ("GET http://u:secret@h/", &[]),
        ("GET /", &["secret"]),
        ("GET /", &["x: secret\r\ny"]),
        ("GET /", &["x y: secret"]),
        (&long, &[]),
    ] {
        let error = explain(&config, &table, &args(request, headers), "::1".parse().unwrap()).unwrap_err();
        assert_eq!(error.code, crate::control::ErrorCode::InvalidArguments);
        assert!(!error.message.contains("secret"), "{}", error.message);
    }
    let from = ExplainArgs { from: Some("nobody".into()), ..args("GET /", &[]) };
    assert!(explain(&config, &table, &from, "::1".parse().unwrap()).is_err());
}

/// The smallest file that is of use, as users write it.
const SMALLEST: &str = "\
routes:
  - path: /api/
    target: http://127.0.0.1:8001
  - path: /auth/
    target: http://127.0.0.1:8002
rate_limit:
  requests_per_minute: 100
cors:
  allow_origins: [\"*\"]
";

#[test]
fn a_loaded_config_is_explained() {
    let input = crate::config::Input::text("config.yaml", SMALLEST);
    let checked = crate::config::load(&input, &crate::config::References::Refuse).unwrap();
    let found = told(&checked.config, "POST http://h/api/v1?a=b", &["Origin: https://app"]);
    let Verdict::Forward { targets, .. } = &found.verdict else { panic!("{:?}", found.verdict) };
    assert_eq!((&*targets[0].urls[0], &*targets[0].share), ("http://127.0.0.1:8001/api/v1?a=b", "100"));
    let origins: Vec<_> = found.candidates.iter().map(|one| (one.won, &*one.origin)).collect();
    assert_eq!(origins, [(false, "config.yaml:4:5"), (true, "config.yaml:2:5")]);
    let effects: Vec<&str> = found.policies.iter().map(|line| &*line.effect).collect();
    assert!(effects.contains(&"grants access-control-allow-origin: *"), "{effects:?}");
    assert!(effects.contains(&"default: 100/1m, sliding window, counted by address 10.0.0.1"), "{effects:?}");
    let found = told(&checked.config, "OPTIONS /auth/", &["Origin: https://app", "Access-Control-Request-Method: PUT"]);
    assert!(matches!(found.verdict, Verdict::Respond { status: 204, .. }));
    let found = told(&checked.config, "GET /api", &[]);
    assert!(matches!(found.verdict, Verdict::Reject { status: 404, .. }));
}

proptest! {
    #[test]
    fn any_arguments_have_an_answer(method in "GET|.*", url in "/.*|https?://.*|.*", header in "x: .*|.*", from in prop::option::of(".*")) {
        let config = config(vec![route("all", "/a"), Route { encoded_slash: EncodedSlash::Decode, ..route("b", "~ b") }]);
        let args = ExplainArgs { method, url, headers: vec![header], from };
        let _ = explain(&config, &Table::compile(&config), &args, "::1".parse().unwrap());
    }

    #[test]
    fn the_winner_is_the_one_decided(
        paths in prop::collection::vec("(= |)/(a|b)?(/b|/)?", 1..8),
        hosts in prop::collection::vec(prop::option::of("a|\\*\\.a"), 8),
        priorities in prop::collection::vec(0..2, 8),
        request in "(GET|POST) http://(a|x\\.a|b)(/a|/b|/)(/b)?",
    ) {
        let one = |(index, text): (usize, &String)| Route {
            hosts: hosts[index].iter().map(|text| host(text)).collect(),
            priority: priorities[index],
            methods: if index % 2 == 0 { names(&["GET"]) } else { Vec::new() },
            ..route(&format!("r{index}"), text)
        };
        let config = config(paths.iter().enumerate().map(one).collect());
        let table = Table::compile(&config);
        let asked = Asked::parse(&args(&request, &[]), "::1".parse().unwrap()).unwrap();
        let won = match table.decide(&asked.facts(&asked.path)) {
            Decision::Route(index) => vec![format!("r{index}")],
            Decision::NotFound | Decision::MethodNotAllowed(_) => Vec::new(),
        };
        let told = told(&config, &request, &[]);
        prop_assert_eq!(told.candidates.len(), paths.len());
        let winners: Vec<&String> = told.candidates.iter().filter(|one| one.won).map(|one| &one.route).collect();
        prop_assert_eq!(winners, won.iter().collect::<Vec<_>>());
    }
}
