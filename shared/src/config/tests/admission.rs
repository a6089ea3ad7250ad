//! Who is let in, and what follows from it: limits by who it is, threats, bans, the routes that come along.

use std::time::Duration;

use super::identity::{fine, read, refused};
use super::{Known, load_text, told};
use crate::config::identity::{Provider, StateStore};
use crate::config::policy::{Algorithm, Auth, Combine, Key, OnStoreError, Rule, ThreatMode, Threats, Tunnels};
use crate::config::problem::Code;
use crate::config::source::Input;
use crate::config::{Action, PathPattern, References, Scope, Serve, load};

const MAIN: &str = "identity: {jwt: {main: {keys: {pem: a.pem}}}, api_key: on, login: {corp: {kind: oidc, issuer: 'https://a', client_id: a}}, forward: {url: 'http://a'}}\n";

/// Nobody is in front.
const ALONE: &str = "server: {trusted_proxies: []}\n";

#[test]
fn what_tells_who_it_is_is_no_place_of_credentials() {
    for (identity, place) in [
        ("{send: {user: X-API-Key}, api_key: {}}", "`identity.api_key`"),
        (
            "{send: {claims: {x_token: tenant}}, jwt: {main: {keys: {secret: '${env:T}'}, from: {header: x-token}}}}",
            "`identity.jwt.main`",
        ),
        (
            "{forward: {url: 'http://127.0.0.1:1/', send: [authorization, x-plan], copy: x-plan}}",
            "`identity.forward.send`",
        ),
    ] {
        let told = refused(&[&format!("identity: {identity}\n")]);
        assert!(told.contains(place) && told.contains("config.yaml:2") && told.contains("stripped"), "{told}");
    }
}

#[test]
fn methods_that_are_nearly_known_are_told() {
    let warned = |keys: &str| -> Vec<String> {
        let text = format!("{MAIN}routes: [{{path: /, respond: {{}}, {keys}}}]\n");
        let checked = read(&text).unwrap_or_else(|problems| panic!("{}", problems.render(false)));
        let of_methods = checked.warnings.into_iter().filter(|warning| warning.code == Code::UnknownName);
        of_methods.map(|warning| format!("{}: {}", warning.path, warning.hint.unwrap())).collect()
    };
    for (keys, place) in [
        ("auth: {any_of: jwt.main, methods: {delte: {roles: admin}}}", "auth.methods.delte"),
        ("rate_limit: {requests_per_minute: 1, methods: [POST, DELTE]}", "rate_limit.methods[1]"),
        ("methods: DELTE", "methods"),
        ("cors: {allow_origins: 'https://a', allow_methods: [DELTE]}", "cors.allow_methods[0]"),
        ("threats: {methods: [Delte]}", "threats.methods[0]"),
    ] {
        assert_eq!(warned(keys), [format!("routes[0].{place}: did you mean `DELETE`?")], "{keys}");
    }
    let known = "GET, head, Post, PUT, patch, delete, OPTIONS, TRACE, COPY, MOVE, LOCK, UNLOCK, MKCOL, PROPFIND, SEARCH, REPORT, MERGE, PURGE, QUERY, ACL, LINK, BIND";
    assert_eq!(warned(&format!("methods: [{known}]")), [] as [&str; 0]);
}

#[test]
fn nothing_is_optional_where_a_service_is_asked() {
    let forward = "identity: {forward: {url: 'http://127.0.0.1:1/'}, api_key: {}}\n";
    let told = refused(&[&format!("{forward}auth: {{any_of: [api_key, forward], optional: true}}\n")]);
    assert!(told.contains("config.yaml:3") && told.contains("`forward` is asked about every request"), "{told}");
}

#[test]
fn bad_auth() {
    let texts: Vec<String> = [
        "auth: jwt.mian",
        "auth: main",
        "auth: jwt",
        "auth: saml",
        "auth: on",
        "auth: []",
        "auth: basic",
        "auth: [jwt.main, api_key, jwt.main]",
        "auth: certificate",
        "auth: {roles: [admin]}",
        "auth: {any_of: [jwt.main], all_of: [api_key]}",
        "auth: {all_of: [jwt.main, login.corp]}",
        "auth: {all_of: [jwt.main, api_key], optional: true}",
        "auth: {any_of: jwt.main, optional: true, roles: [admin]}",
        "auth: {any_of: jwt.main, roles: [], scopes: ['a b'], methods: {CONNECT: {}, get: {}, GET: {roles: 'a,b'}}, realm: 'a\"'}",
        "routes: [{path: /, respond: {}, auth: {any_of: [forward, jwt.main, api_key, login.corp]}}]",
        "routes: [{path: /, respond: {}, auth: {any_of: [jwt.main, api_key], optinal: true}}]",
    ]
    .iter()
    .map(|text| format!("{MAIN}{text}"))
    .chain(["auth: jwt.main".to_owned(), "auth: sso".to_owned(), "identity: {jwt: {a: {}}}\nauth: jwt.a".to_owned()])
    .collect();
    insta::assert_snapshot!(refused(&texts.iter().map(String::as_str).collect::<Vec<_>>()));
}

/// The policy of the one route.
#[track_caller]
fn auth(written: &str) -> Auth {
    let text = format!("{MAIN}routes: [{{path: /x, respond: {{}}, auth: {written}}}]\n");
    let config = read(&text).unwrap_or_else(|problems| panic!("{}", problems.render(false))).config;
    Auth::clone(config.routes[0].policies.auth.value.as_ref().unwrap())
}

#[test]
fn every_form_of_auth() {
    let short = auth("jwt.main");
    assert_eq!((short.providers.as_slice(), short.combine), ([Provider::Jwt(0)].as_slice(), Combine::Any));
    assert_eq!((short.optional, short.forward_credentials, &*short.realm), (false, true, "proxyd"));
    assert_eq!(short.tunnels, Tunnels::UntilRevoked);
    assert_eq!(auth("{any_of: jwt.main, tunnels: until_revoked}"), short);
    assert_eq!(auth("{any_of: jwt.main, tunnels: until_expired}").tunnels, Tunnels::UntilExpired);
    assert_eq!(auth("[jwt.main, api_key]"), auth("{any_of: [jwt.main, api_key]}"));
    assert_eq!(auth("[jwt.main]"), short);
    let all = auth("{all_of: [api_key, jwt.main], scopes: [read, write]}");
    assert_eq!(
        (all.combine, all.providers.as_slice()),
        (Combine::All, [Provider::ApiKey, Provider::Jwt(0)].as_slice())
    );
    assert_eq!(all.needs("GET").scopes.len(), 2);
    let long = auth(
        "{any_of: login.corp, optional: true, methods: {delete: {roles: admin}, GET: {scopes: read}}, realm: Acme API}",
    );
    assert_eq!((&*long.needs("DELETE").roles[0], long.needs("POST").roles.len()), ("admin", 0));
    assert_eq!((long.needs("HEAD"), &*long.realm), (long.needs("GET"), "Acme API"));
}

#[test]
fn what_nobody_uses_and_what_everybody_reads() {
    insta::assert_snapshot!(refused(&[
        MAIN,
        "identity: {session: {idle: 5m}}",
        "identity: {api_key: on}\nroutes: [{path: /, respond: {}, rate_limit: {requests_per_minute: 1, by: user}}, {path: /x, respond: {}, auth: api_key}]",
        "identity: {api_key: on}\nrate_limit: {requests_per_minute: 1, by: [api_key, ip]}\nroutes: [{path: /, respond: {}}, {path: /x, respond: {}, auth: api_key, rate_limit: off}]",
    ]));
    let text = "identity: {api_key: on}\nroutes: [{path: /, respond: {}}, {path: /x, respond: {}, auth: api_key}, {path: /y, respond: {}, auth: api_key}]";
    insta::assert_snapshot!(told(&[text, "identity: {api_key: on}\nauth: api_key"]));
    for quiet in [
        format!("server: {{trusted_proxies: [10.0.0.0/8]}}\n{text}"),
        format!("server: {{listen: {{address: '0.0.0.0:443', tls: {{certificates: [{{cert: a, key: b}}]}}}}}}\n{text}"),
        "identity: {accounts: on}".to_owned(),
        "identity: {api_key: on}\nserver: {listen: '[::1]:80'}\nrate_limit: {requests_per_minute: 1, by: [user, ip]}\nroutes: [{path: /, respond: {}}, {path: /x, respond: {}, auth: api_key}]".to_owned(),
    ] {
        assert_eq!(load_text(&quiet).unwrap().warnings, [], "{quiet}");
    }
}

#[test]
fn bad_limits() {
    let texts: Vec<String> = [
        "by: usr, requests_per_minute: 1",
        "algorithm: concurrency",
        "algorithm: concurrency, concurrent: 0",
        "algorithm: concurrency, concurrent: 5, requests_per_minute: 10, burst: 3, cost: 2",
        "concurrent: 5",
        "algorithm: fixed_window, requests_per_minute: 1, burst: 3",
        "limits: [{requests: 60, per: 1m}, {requests: 4, per: 1s}], cost: 5",
        "requests_per_minute: 10, algorithm: token_bucket, burst: 2, cost: 3",
        "requests_per_minute: 10, cost: 0",
        "requests_per_minute: 10, methods: []",
        "requests_per_minute: 10, exempt: [10.0.0.0/33, {user: a, api_key: b}, {}]",
        "requests_per_minute: 10, exempt: [{user: a, provider: jwt.b}, {api_key: a, provider: api_key}]",
        "requests_per_minute: 10, store: redis",
        "requests_per_minute: 10, store: disk",
        "requests_per_minute: 10, on_store_error: deny",
    ]
    .iter()
    .map(|keys| format!("rate_limit: {{{keys}}}"))
    .collect();
    insta::assert_snapshot!(refused(&texts.iter().map(String::as_str).collect::<Vec<_>>()));
}

#[test]
fn every_form_of_a_limit() {
    let rule = |keys: &str| -> Rule {
        let text = format!("redis: {{url: '${{env:REDIS}}'}}\nrate_limit: {{{keys}}}\n");
        fine(&text).policies.rate_limit.value.as_ref().unwrap().rules[0].clone()
    };
    let found =
        rule("requests_per_minute: 60, by: [user, api_key, ip], algorithm: fixed_window, cost: 5, methods: [post]");
    assert_eq!(found.by, [Key::User, Key::ApiKey, Key::Ip]);
    assert_eq!((found.algorithm, found.cost, &*found.methods[0]), (Algorithm::FixedWindow, 5, "POST"));
    assert_eq!((found.store, found.on_store_error), (StateStore::Local, OnStoreError::Local));
    let found = rule("algorithm: concurrency, concurrent: 3, exempt: [10.0.0.0/8, '::1', {user: ann}, {api_key: ci}]");
    assert_eq!((found.algorithm, found.limits.as_slice()), (Algorithm::Concurrency { at_most: 3 }, [].as_slice()));
    assert_eq!(
        (found.exempt.len(), found.exempt_users[0].to_string().as_str(), &*found.exempt_keys[0]),
        (2, "ann", "ci")
    );
    let found = rule("algorithm: concurrency, concurrent: 3, store: redis");
    assert_eq!((found.store, found.on_store_error), (StateStore::Redis, OnStoreError::Local));
    let found = rule("requests_per_minute: 60, store: redis, on_store_error: deny");
    assert_eq!((found.store, found.on_store_error), (StateStore::Redis, OnStoreError::Deny));
    let found = rule("requests_per_minute: 1, algorithm: token_bucket, burst: 5, cost: 5");
    assert_eq!(found.algorithm, Algorithm::TokenBucket { burst: Some(5) });
}

#[test]
fn bad_threats_bans_and_stores() {
    insta::assert_snapshot!(refused(&[
        "threats: on",
        "threats: enforce",
        "threats: {mode: off, score: 0}",
        "threats: {rules: {sql_injecton: 3, xss: off, traversal: 0}}",
        "threats: {methods: [], content_types: [json, '*/json', 'text/*x'], json: {max_depth: 0, max_size: 1}}",
        "bans: {refusals: 0, within: 10, for: 2h, longest: 1h}",
        "bans: {on: [pasword_wrong, banned, teapot, traversal, threat_x], exempt: [x], ipv6_prefix: 0}",
        "bans: {on: []}",
        "bans: yes",
        "bans: on",
        "redis: {}",
        "redis: {url: 'http://a', prefix: '', timeout: 0ms, failures: 0}",
        "redis: {url: 'redis://:s3cret%2Fx@10.0.0.1'}",
    ]));
}

#[test]
fn threats_bans_and_stores() {
    let threats = |written: &str| -> Threats {
        Threats::clone(fine(&format!("threats: {written}")).policies.threats.value.as_ref().unwrap())
    };
    assert_eq!((threats("shadow").mode, threats("shadow").score), (ThreatMode::Shadow, 5));
    assert_eq!(threats("block"), threats("{}"));
    let found = threats(
        "{score: 10, rules: {traversal: off, null_byte: 7}, content_types: [Application/JSON, '*/*'], json: on}",
    );
    let rules: Vec<(&str, u32)> = found.rules.iter().map(|(rule, score)| (&**rule, *score)).collect();
    assert_eq!((found.score, rules), (10, vec![("traversal", 0), ("null_byte", 7)]));
    let json = found.shape.json.unwrap();
    assert_eq!((json.max_bytes, json.max_depth, &*found.shape.content_types[0]), (1 << 20, 32, "application/json"));
    assert!(fine("threats: off").policies.threats.value.is_none());
    let told = load_text(&format!("{ALONE}bans: on")).unwrap();
    assert_eq!(told.warnings, []);
    let bans = told.config.bans.clone().unwrap();
    assert_eq!((bans.refusals, bans.lasts, bans.longest.as_secs()), (20, Duration::from_mins(10), 86_400));
    let on: Vec<&str> = bans.on.iter().map(|code| &**code).collect();
    assert!(on.contains(&"password_wrong") && on.contains(&"threat") && !on.contains(&"rate_limited"), "{on:?}");
    assert!(fine("bans: off").bans.is_none() && fine("redis: off").redis.is_none());
    let redis = fine("redis: {url: '${env:REDIS}'}").redis.clone().unwrap();
    assert_eq!((redis.url.reveal(), &*redis.prefix), ("redis://:s3cret%2Fx@10.0.0.1", "proxyd:"));
    assert_eq!((redis.timeout.as_millis(), redis.failures), (20, 5));
}

#[test]
fn bad_pages_of_our_own() {
    insta::assert_snapshot!(refused(&[
        "routes: [{path: /login, serve: login}]",
        "routes: [{path: /login, serve: acounts}]",
        "routes: [{path: /login, serve: accounts}, {path: /keys, serve: jwks}]",
        "routes: [{path: /login, serve: accounts}]\nidentity: {accounts: on}",
        "routes: [{path: /.proxyd/, serve: login, respond: {}}]\nidentity: {accounts: on}",
        "routes: [{path: /.proxyd/, serve: login, auth: login.a}]\nidentity: {login: {a: {kind: oidc, issuer: 'https://a', client_id: a}}}",
        "routes: [{path: /api/auth/, serve: accounts, rewrite: {path: /x}}]\nidentity: {accounts: on}",
        "routes: [{path: /api/auth/, target: 'http://a'}, {exact: /jwks, respond: {}}]\nidentity: {accounts: on, send: {token: {jwks_path: /jwks}}}",
    ]));
}

#[test]
fn the_routes_that_come_along() {
    let names = |text: &str| -> Vec<String> {
        let config = read(text).unwrap_or_else(|problems| panic!("{}", problems.render(false))).config;
        config.routes.iter().map(|route| format!("{} {}", route.name, shown(&route.path))).collect()
    };
    assert_eq!(names(MAIN), ["identity-login /.proxyd/"]);
    assert_eq!(names("identity: {accounts: on}"), ["identity-accounts /api/auth/"]);
    assert_eq!(
        names("identity: {accounts: {algorithm: EdDSA, prefix: /a/}}"),
        ["identity-accounts /a/", "identity-jwks =/.well-known/proxyd/jwks.json"]
    );
    assert_eq!(
        names(
            "identity: {accounts: {algorithm: EdDSA}, send: {token: {jwks_path: /k}}}\nroutes: [{name: identity-jwks, path: /api/auth/, serve: accounts}]"
        ),
        ["identity-jwks /api/auth/", "identity-jwks#2 =/k"]
    );
    assert_eq!(
        names("identity: {accounts: on}\nroutes: [{path: /api/auth, serve: accounts}]"),
        ["/api/auth /api/auth"]
    );
    assert_eq!(
        names("identity: {accounts: on}\nroutes: [{path: /api/auth/, hosts: a, serve: accounts}]"),
        ["a/api/auth/ /api/auth/", "identity-accounts /api/auth/"]
    );
    let text = "identity: {api_key: on, accounts: on}\nauth: api_key\naccess: {deny: [10.0.0.1]}\nroutes: [{exact: /api/auth/login, serve: accounts, rate_limit: {requests_per_minute: 5}}, {exact: /api/auth/me, serve: accounts, auth: accounts}, {path: /, respond: {}}]";
    let config = fine(text);
    let [login, me, rest, along] = config.routes.as_slice() else { panic!("four routes") };
    assert!(login.policies.auth.value.is_none() && login.policies.access.value.is_some());
    assert_eq!(login.policies.rate_limit.scope, Scope::Route("/api/auth/login".into()));
    assert_eq!(me.policies.auth.value.as_ref().unwrap().providers, [Provider::Accounts]);
    assert!(rest.policies.auth.value.is_some());
    assert!(along.policies.auth.value.is_none() && along.policies.access.value.is_some());
    assert!(matches!(along.action, Action::Serve(Serve::Accounts)));
    assert_eq!(along.at.to_string(), "config.yaml:2:35");
}

/// What `config.yaml` has commented out of these sections, as it is without the marks.
#[test]
fn the_examples_in_the_repositorys_config_are_good() {
    let whole = include_str!("../../../../config.yaml");
    let mut text = ALONE.to_owned();
    for section in ["redis", "bans", "identity"] {
        let start = format!("# {section}:");
        let lines = whole.lines().skip_while(|line| !line.starts_with(&start));
        let block: Vec<&str> = lines
            .enumerate()
            .take_while(|(index, line)| *index == 0 || line.starts_with("#   "))
            .map(|(_, line)| line)
            .collect();
        assert!(block.len() > 2, "{section}");
        for line in block {
            text.push_str(line.get(2..).unwrap());
            text.push('\n');
        }
    }
    let problems = match load(&Input::text("config.yaml", &text), &References::Lenient(&Known::default())) {
        Ok(checked) => checked.warnings,
        Err(problems) => panic!("{}", problems.render(false)),
    };
    assert!(problems.iter().all(|problem| matches!(problem.code.as_str(), "unset_reference" | "unused")));
}

fn shown(path: &PathPattern) -> String {
    match path {
        PathPattern::Prefix(path) => path.to_string(),
        PathPattern::Exact(path) => format!("={path}"),
        PathPattern::Regex(pattern) => pattern.text.to_string(),
    }
}

#[test]
fn names_of_providers_are_those_that_are_written() {
    let config = fine(&format!("{MAIN}server: {{}}\nauth: [jwt.main, api_key, login.corp, forward]\n").replacen(
        "server: {}\n",
        "",
        1,
    ));
    let found = config.policies.auth.value.as_ref().unwrap();
    let names: Vec<String> = found.providers.iter().map(|provider| config.identity.name_of(provider)).collect();
    assert_eq!(names, ["jwt.main", "api_key", "login.corp", "forward"]);
}

#[test]
fn what_cannot_be_looked_up_is_no_mistake() {
    let text = format!(
        "{ALONE}redis: {{url: '${{env:A}}'}}
identity:
  jwt: {{a: {{keys: {{secret: '${{env:A}}'}}, algorithms: ['${{env:A}}'], issuer: '${{env:A}}'}}, b: {{keys: {{jwks_url: '${{env:A}}'}}, issuer: '${{env:A}}', from: {{cookie: '${{env:A}}'}}}}}}
  basic: {{users_file: '${{env:A}}', users: [{{user: '${{env:A}}', password_hash: '${{env:A}}', roles: '${{env:A}}', scopes: '${{env:A}}'}}]}}
  login: {{a: {{kind: oidc, issuer: '${{env:A}}', client_id: '${{env:A}}', client_secret: '${{env:A}}', public_url: '${{env:A}}', allow: {{emails: '${{env:A}}', domains: '${{env:A}}'}}}}}}
  session: {{secrets: ['${{env:A}}'], domain: '${{env:A}}', after_logout: '${{env:A}}'}}
  forward: {{url: '${{env:A}}'}}
  accounts: {{secret: '${{env:A}}', mail: {{host: '${{env:A}}', from: '${{env:A}}', reset_url: '${{env:A}}', verify_url: '${{env:A}}', user: '${{env:A}}', password: '${{env:A}}'}}}}
  send: {{user: '${{env:A}}', claims: {{x-a: '${{env:A}}'}}}}
bans: {{on: ['${{env:A}}'], refusals: '${{env:A}}'}}
threats: {{content_types: '${{env:A}}'}}
rate_limit: {{requests_per_minute: '${{env:A}}', exempt: ['${{env:A}}', {{user: '${{env:A}}', provider: basic}}]}}
"
    );
    let problems = match load(&Input::text("config.yaml", &text), &References::Lenient(&Known::default())) {
        Ok(checked) => checked.warnings,
        Err(problems) => panic!("{}", problems.render(false)),
    };
    assert!(problems.iter().all(|problem| matches!(problem.code.as_str(), "unset_reference" | "unused")));
}
