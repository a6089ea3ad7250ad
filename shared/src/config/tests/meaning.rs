//! What good texts mean.

use std::time::Duration;

use super::{bad, good};
use crate::config::policy::{Algorithm, CorsOrigins, HeaderEdit, Key, Mode, Names};
use crate::config::{
    Action, EncodedSlash, ForwardHost, HostPattern, PathPattern, RedirectPart, Rewrite, Route, Scope, ValueMatch,
};

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
  users: {endpoints: [https://a, ftp://b]}
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

/// One route with these keys, by its flow form.
#[track_caller]
fn route(keys: &str) -> Route {
    good(&format!(
        "upstreams: {{u: {{endpoints: ['http://a']}}, v: {{endpoints: ['http://b']}}}}\nroutes: [{{{keys}}}]\n"
    ))
    .config
    .routes[0]
        .clone()
}

#[test]
fn every_form_of_a_match() {
    let found = route(
        "exact: /a, hosts: [A.example.com, '*.Example.org'], methods: [get], headers: {X-V: 2, x-w: {present: false}}, query: {a: {regex: '^x'}}, priority: -3, encoded_slash: keep, target: 'http://a'",
    );
    assert!(matches!(&found.path, PathPattern::Exact(path) if &**path == "/a"));
    assert_eq!(found.hosts, [HostPattern::Exact("a.example.com".into()), HostPattern::Wildcard(".example.org".into())]);
    assert_eq!(found.methods, ["GET".into()]);
    assert!(
        matches!(&found.headers[..], [v, w] if &*v.name == "x-v" && matches!(&v.value, ValueMatch::Exact(text) if &**text == "2") && matches!(w.value, ValueMatch::Present(false)))
    );
    assert!(matches!(&found.query[0].value, ValueMatch::Regex(pattern) if pattern.regex.is_match("xy")));
    assert_eq!((found.priority, found.encoded_slash, &*found.name), (-3, EncodedSlash::Keep, "GET a.example.com/a"));
    assert!(matches!(route("respond: {}").path, PathPattern::Prefix(path) if &*path == "/"));
}

#[test]
fn every_action() {
    let Action::Forward(shares) = route("target: 'http://Host:81/v2/'").action else { panic!("a target") };
    assert_eq!((shares[0].upstream, &*shares[0].path_prefix), (2, "/v2"));
    let Action::Forward(shares) = route("split: [{upstream: v, weight: 9}, {upstream: u, weight: 1}]").action else {
        panic!("a split")
    };
    assert_eq!(shares.iter().map(|share| (share.upstream, share.weight)).collect::<Vec<_>>(), [(1, 9), (0, 1)]);
    let Action::Redirect(redirect) = route("redirect: {to: 'https://{host}{path}/x', status: 308}").action else {
        panic!("a redirect")
    };
    let text = |text: &str| RedirectPart::Text(text.into());
    assert_eq!(redirect.to, [text("https://"), RedirectPart::Host, RedirectPart::Path, text("/x")]);
    assert_eq!((redirect.status, redirect.keep_query), (308, true));
    let Action::Redirect(redirect) = route("redirect: '/x?{query}'").action else { panic!("a redirect") };
    assert_eq!((redirect.status, redirect.keep_query), (302, false));
    let Action::Respond(respond) = route("respond: {status: 503, body: \"no\\n\"}").action else { panic!("an answer") };
    assert_eq!((respond.status, &*respond.body, &*respond.headers[0].1), (503, "no\n", "text/plain; charset=utf-8"));
    assert_eq!(
        route("target: 'http://a', forward_host: Api.example.com:81").forward_host,
        ForwardHost::Name("api.example.com:81".into())
    );
}

#[test]
fn every_rewrite_and_timeout() {
    let rewrite = |keys: &str| route(&format!("target: 'http://a', rewrite: {{{keys}}}")).rewrite;
    assert!(
        matches!(rewrite("strip_prefix: /api/"), Some(Rewrite::Prefix { strip, add }) if &*strip == "/api" && add.is_empty())
    );
    assert!(
        matches!(rewrite("add_prefix: /v2"), Some(Rewrite::Prefix { strip, add }) if strip.is_empty() && &*add == "/v2")
    );
    assert!(matches!(rewrite("path: /x"), Some(Rewrite::Path(path)) if &*path == "/x"));
    assert!(matches!(rewrite("regex: ^/(a), to: /$1"), Some(Rewrite::Regex { to, .. }) if &*to == "/$1"));
    let timeouts = route("target: 'http://a', timeouts: {connect: 5ms, total: off}").timeouts;
    assert_eq!((timeouts.connect, timeouts.idle, timeouts.total), (Some(Duration::from_millis(5)), None, Some(None)));
}

#[test]
fn policies_are_inherited_replaced_and_removed() {
    let config = good(
        "access: {allow: 10.0.0.0/8}
headers: {request: {set: {X-A: b}, remove: X-B}}
security_headers: {x-frame-options: off, strict-transport-security: max-age=1, x-c: d}
routes:
- {path: /a, respond: {}}
- {path: /b, respond: {}, access: {deny: [10.1.2.3]}, headers: off, security_headers: off, body_limit: off}
- {path: /c, respond: {}, headers: {x-v: '1', response: {add: {set-cookie: [a=b, c=d]}}}, security_headers: on}
- {path: /d, respond: {}, headers: {response: {present: true}}}
",
    )
    .config
    .clone();
    let [a, b, c, d] = config.routes.as_slice() else { panic!("four routes") };
    assert_eq!((&a.policies.access.scope, a.policies.access.at.line), (&Scope::TopLevel, 1));
    assert_eq!(a.policies.access.value.as_ref().unwrap().allow[0].to_string(), "10.0.0.0/8");
    let edits = &a.policies.headers.value.as_ref().unwrap().request;
    assert_eq!(*edits, [HeaderEdit::Remove("x-b".into()), HeaderEdit::Set("x-a".into(), "b".into())]);
    let security = a.policies.security_headers.value.as_ref().unwrap();
    assert_eq!(security.hsts.as_deref(), Some("max-age=1"));
    let names: Vec<&str> = security.set.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["x-content-type-options", "referrer-policy", "x-c"]);

    assert_eq!(b.policies.access.scope, Scope::Route("/b".into()));
    assert!(b.policies.access.value.as_ref().unwrap().allow.is_empty());
    assert!(b.policies.headers.value.is_none() && b.policies.body_limit.value.is_none());

    assert_eq!(c.headers.len(), 1, "conditions stand beside the edits");
    let edits = c.policies.headers.value.as_ref().unwrap();
    assert_eq!((edits.request.len(), edits.response.len()), (0, 2));
    assert_eq!(c.policies.security_headers.value.as_ref().unwrap().hsts.as_deref(), Some("max-age=31536000"));

    assert_eq!((&*d.headers[0].name, &d.policies.headers.scope), ("response", &Scope::TopLevel));
}

#[test]
fn every_form_of_a_rate_limit() {
    let config = good(
        "rate_limit:
- {limits: [{requests: 1000, per: 1h}, {requests: 60, per: 1m}], by: [{header: X-Key}, ip], algorithm: token_bucket, burst: 5, mode: shadow, ipv6_prefix: 56, max_keys: 10}
- {requests_per_minute: 1, by: {header: a}}
",
    )
    .config
    .clone();
    let rules = &config.policies.rate_limit.value.as_ref().unwrap().rules;
    assert_eq!(rules.iter().map(|rule| &*rule.name).collect::<Vec<_>>(), ["default", "rule-2"]);
    assert_eq!(rules[0].limits.iter().map(|window| window.requests).collect::<Vec<_>>(), [60, 1000], "shortest first");
    assert_eq!(rules[0].by, [Key::Header("x-key".into()), Key::Ip]);
    assert_eq!((rules[0].algorithm, rules[0].mode), (Algorithm::TokenBucket { burst: Some(5) }, Mode::Shadow));
}

#[test]
fn admin_and_the_rest() {
    let config = good("admin: {listen: off, socket: /run/x.sock, socket_mode: '0660', hosts: [Admin.example.com]}\naudit: {requests: errors, keep: {days: off, size: 1GiB}}\nlog: {access: off, slow_request: off}\nserver: {workers: 2, health_path: /healthz}\n").config.clone();
    assert_eq!((config.admin.listen, config.admin.socket_mode), (None, 0o660));
    assert_eq!((config.audit.keep.days, config.audit.keep.size_bytes), (None, Some(1 << 30)));
    assert_eq!((config.log.access.clone(), config.log.slow_request), (crate::config::AccessLog::Off, None));
    assert_eq!(
        (config.server.workers.map(usize::from), config.server.health_path.as_deref()),
        (Some(2), Some("/healthz"))
    );
}

#[test]
fn the_effective_tree() {
    let checked = good(
        "upstreams: {token: {endpoints: ['http://a']}}\nroutes:\n- {path: /a, upstream: token, headers: {request: {set: {authorization: Bearer x}}}}\n",
    );
    insta::assert_json_snapshot!(checked.effective().tree);
    let origins: Vec<String> =
        checked.effective().origins.iter().map(|(path, origin)| format!("{path}: {origin}")).collect();
    insta::assert_snapshot!(origins.join("\n"));
}

#[test]
fn the_doors_are_apart() {
    for text in [
        "server: {listen: '127.0.0.1:9900'}",
        "server: {listen: '0.0.0.0:9900'}",
        "admin: {listen: '127.0.0.1:8000'}",
        "server: {listen: '[::]:9900'}",
    ] {
        assert!(bad(text)[0].ends_with("duplicate_name admin.listen"), "{text}");
    }
    good("server: {listen: '10.0.0.1:9900'}");
    good("server: {listen: '127.0.0.1:9900'}\nadmin: {listen: off}");
}
