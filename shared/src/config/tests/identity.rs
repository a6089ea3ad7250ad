//! Who can be recognised, who is let in, and what follows from it: limits by who it is, threats, bans, the routes that come along.

use std::sync::Arc;
use std::time::Duration;

use super::{Known, good, load_text, told};
use crate::config::identity::{
    Identity, JwtAlgorithm, JwtKeys, LoginKind, Provider, SameSite, Session, SessionStore, StateStore, TokenAlgorithm,
    TokenPlace,
};
use crate::config::policy::{Algorithm, Auth, Combine, Key, OnStoreError, Rule, ThreatMode, Threats};
use crate::config::source::Input;
use crate::config::{Action, Config, PathPattern, Problems, References, Scope, Serve, load};

const LISTEN: &str = "server: {listen: 127.0.0.1:8000}\n";
/// As long as the longest hash.
const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Loads under a secret `T`; a short one is `SHORT`.
fn read(text: &str) -> Result<crate::config::Checked, Problems> {
    let known = Known::of(&[
        ("T", SECRET),
        ("SHORT", "0123456789abcdef0123456789abcde"),
        ("MIDDLE", "0123456789abcdef0123456789abcdef0123456789abcde"),
        ("REDIS", "redis://:s3cret/x@10.0.0.1"),
    ]);
    load(&Input::text("config.yaml", &format!("{LISTEN}{text}")), &References::Resolve(&known))
}

/// A config that must be good, without a warning.
#[track_caller]
fn fine(text: &str) -> Arc<Config> {
    let checked = read(text).unwrap_or_else(|problems| panic!("{}", problems.render(false)));
    assert!(checked.warnings.is_empty(), "{}", Problems(checked.warnings).render(false));
    checked.config
}

/// Every problem of every text, for a snapshot.
#[track_caller]
fn refused(texts: &[&str]) -> String {
    let each = texts.iter().map(|text| {
        let problems = match read(text) {
            Ok(checked) => Problems(checked.warnings),
            Err(problems) => problems,
        };
        assert!(!problems.0.is_empty(), "nothing is wrong with {text}");
        let shown = problems.render(false);
        assert!(!shown.contains("s3cret") && !shown.contains("0123456789abcdef"), "{shown}");
        shown
    });
    each.collect::<Vec<_>>().join("\n")
}

fn identity(keys: &str) -> Identity {
    let text = format!("identity: {{{keys}}}\n");
    read(&text).unwrap_or_else(|problems| panic!("{}", problems.render(false))).config.identity.clone()
}

#[test]
fn bad_tokens() {
    insta::assert_snapshot!(refused(&[
        "identity: {jwt: {main: {}}}",
        "identity: {jwt: {main: {keys: {}}}}",
        "identity: {jwt: {main: {keys: {secret: '${env:T}', pem: a.pem}}}}",
        "identity: {jwt: {main: {keys: {secret: '${env:SHORT}'}}}}",
        "identity: {jwt: {main: {keys: {secret: '${env:SHORT}'}, algorithms: [HS256, HS512]}}}",
        "identity: {jwt: {main: {keys: {secret: '${env:MIDDLE}'}, algorithms: HS384}}}",
        "identity: {jwt: {main: {keys: {secret: '${env:MIDDLE}'}, algorithms: [HS512]}}}",
        "identity: {jwt: {main: {keys: {pem: a.pem}, algorithms: [RS256, HS256]}}}",
        "identity: {jwt: {main: {keys: {jwks_file: a.json}, algorithms: [HS256]}}}",
        "identity: {jwt: {main: {keys: {jwks_url: 'https://id.example.com/jwks'}, algorithms: [HS512]}}}",
        "identity: {jwt: {main: {keys: {secret: '${env:T}'}, algorithms: [RS256]}}}",
        "identity: {jwt: {main: {keys: {pem: a.pem}, algorithms: [none]}}}",
        "identity: {jwt: {main: {keys: {pem: a.pem}, algorithms: []}}}",
        "identity: {jwt: {main: {keys: {pem: a.pem}, algorithms: rs265}}}",
        "identity: {jwt: {main: {keys: {jwks_url: 'http://id.example.com/jwks'}}}}",
        "identity: {jwt: {main: {keys: {pem: a.pem, refresh: 1m}}}}\nauth: jwt.main",
        "identity: {jwt: {main: {keys: {pem: a.pem}, from: []}}}",
        "identity: {jwt: {main: {keys: {pem: a.pem}, from: [{header: x-a, cookie: b}]}}}",
        "identity: {jwt: {main: {keys: {pem: a.pem}, from: [{cookie: a, scheme: Bearer}]}}}",
        "identity: {jwt: {main: {keys: {pem: a.pem}, from: [{cookie: a}, {cookie: a}]}}}",
        "identity: {jwt: {main: {keys: {pem: a.pem}, from: [{header: host}, {header: cookie}, {header: transfer-encoding}]}}}",
        "identity: {jwt: {main: {keys: {pem: a.pem}, from: {query: access_token}}}}\nauth: jwt.main",
        "identity: {jwt: {main: {keys: {pem: a.pem}, from: {query: ticket}}}}\nauth: jwt.main",
        "identity: {jwt: {main: {keys: {pem: a.pem}, roles_claim: 'https://example.com/roles', user_claim: 'a..b'}}}",
        "identity: {jwt: {main: {keys: {pem: a.pem}, require: {'a.': present}, leeway: 1h, max_age: 10}}}",
        "identity: {jwt: {'a b': {keys: {pem: a.pem}}}}",
        "identity: {jwt: [{keys: {pem: a.pem}}]}",
    ]));
}

#[test]
fn secrets_are_not_shown() {
    let text = "identity:\n  jwt:\n    main: {keys: {secret: hunter2hunter2}}\n    block:\n      keys:\n        secret: |\n          hunter2\n  session: {secrets: [hunter2]}\n  basic: {users: [{user: a, password_hash: hunter2}]}\n  login: {a: {kind: github, client_id: a, client_secret: \"hunter2\\n\"}}\n  introspection: {url: 'https://me:hunter2@a/', client_id: a, client_secret: ''}\n  accounts: {secret: hunter2, mail: {host: a, password: hunter2}}\nredis: {url: 'redis://:hunter2/x@a b'}\n";
    let problems = read(text).expect_err("secrets that are too short");
    let shown = problems.render(false);
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(!serde_json::to_string(&problems).unwrap().contains("hunter2"));
}

#[test]
fn every_secret_is_masked_when_it_is_shown() {
    let secret = "hunter2hunter2hunter2hunter2hunter2";
    let text = format!(
        "{LISTEN}redis: {{url: 'redis://:{secret}@a'}}
identity:
  jwt: {{a: {{keys: {{secret: {secret}}}}}}}
  basic: {{users: [{{user: a, password_hash: '$argon2id$v=19$m=8,t=1,p=1${secret}$aGFzaGhhc2g'}}]}}
  login: {{b: {{kind: github, client_id: a, client_secret: {secret}}}}}
  session: {{secrets: [{secret}, {secret}]}}
  introspection: {{url: 'https://a', client_id: a, client_secret: {secret}}}
  accounts: {{secret: {secret}, mail: {{host: a, user: a, password: {secret}, from: a@b, reset_url: 'https://a/{{token}}', verify_url: 'https://a/{{token}}'}}}}
"
    );
    let checked = good(&text);
    let shown = checked.effective().tree.to_string();
    assert!(!shown.contains("hunter2"), "{shown}");
    assert_eq!(shown.matches("present, masked").count(), 9, "{shown}");
    let debug = format!("{:?}", checked.config);
    assert!(!debug.contains("hunter2"), "{debug}");
    // Each but the hash is warned about.
    let warned = checked.warnings.iter().filter(|problem| problem.code.as_str() == "clear_secret").count();
    assert_eq!(warned, 8, "{}", Problems(checked.warnings.clone()).render(false));
    let one = good(&format!(
        "{LISTEN}identity: {{login: {{b: {{kind: github, client_id: a, client_secret: {secret}}}}}, session: {{secret: {secret}}}}}"
    ));
    assert!(!one.effective().tree.to_string().contains("hunter2"));
}

#[test]
fn every_form_of_a_token() {
    let found = identity("jwt: {main: {keys: {secret: '${env:T}'}}}");
    let jwt = &found.jwt[0];
    assert_eq!(&*jwt.name, "main");
    assert!(matches!(&jwt.keys, JwtKeys::Secret(secret) if secret.reveal() == SECRET));
    let bearer = TokenPlace::Header { name: "authorization".into(), scheme: Some("Bearer".into()) };
    assert_eq!((jwt.from.as_slice(), jwt.algorithms.as_slice()), ([bearer.clone()].as_slice(), [].as_slice()));
    assert_eq!((jwt.leeway, jwt.require_exp, jwt.max_age), (Duration::from_secs(30), true, None));
    assert_eq!((&*jwt.user_claim, &*jwt.roles_claim, &*jwt.scopes_claim), ("sub", "roles", "scope"));
    let found = identity(
        "jwt: {main: {keys: {jwks_url: 'https://id.example.com/jwks'}, algorithms: [RS256, EdDSA], issuer: 'https://id.example.com/', audience: [api, web], from: [{header: Authorization}, {header: X-Token}, {cookie: t}], require: {email_verified: true, realm_access.roles: admin, jti: present}, max_age: 1h}}",
    );
    let jwt = &found.jwt[0];
    let (refresh, floor) = (Duration::from_mins(10), Duration::from_secs(30));
    let url = "https://id.example.com/jwks".into();
    assert_eq!(jwt.keys, JwtKeys::JwksUrl { url, refresh, floor, timeout: Duration::from_secs(5) });
    assert_eq!(jwt.algorithms, [JwtAlgorithm::Rs256, JwtAlgorithm::EdDsa]);
    let bare = TokenPlace::Header { name: "x-token".into(), scheme: None };
    assert_eq!(jwt.from, [bearer, bare, TokenPlace::Cookie("t".into())]);
    let require: Vec<(&str, Option<&str>)> =
        jwt.require.iter().map(|(claim, value)| (&**claim, value.as_deref())).collect();
    assert_eq!(require, [("email_verified", Some("true")), ("realm_access.roles", Some("admin")), ("jti", None)]);
    assert_eq!(jwt.audience.iter().map(|one| &**one).collect::<Vec<_>>(), ["api", "web"]);
    for (secret, algorithms) in [("MIDDLE", "[HS256, HS512]"), ("T", "[HS512]"), ("MIDDLE", "HS256")] {
        identity(&format!("jwt: {{main: {{keys: {{secret: '${{env:{secret}}}'}}, algorithms: {algorithms}}}}}"));
    }
}

#[test]
fn where_credentials_stand_nothing_is_shown() {
    let config = fine(
        "identity: {jwt: {a: {keys: {pem: a}, from: [{header: X-Token}, {cookie: t}]}}, api_key: {header: X-Key}, send: {token: on}}\nlog: {redact: {headers: [x-key]}}\nauth: [jwt.a, api_key]",
    );
    assert_eq!(config.log.redact.headers, ["x-key", "x-token", "x-identity-token"]);
    let query = read("identity: {introspection: {url: 'https://a', from: {query: Ticket}}}").unwrap();
    assert_eq!(query.config.log.redact.query, ["ticket"]);
}

#[test]
fn bad_keys_and_passwords() {
    insta::assert_snapshot!(refused(&[
        "identity: {api_key: {header: x-api-key, from: [{header: x-key}]}}",
        "identity: {api_key: {header: content-length}}",
        "identity: {api_key: yes}",
        "identity: {basic: {}}",
        "identity: {basic: {users: [{user: 'a:b', password_hash: '${env:T}'}]}}",
        "identity: {basic: {users: [{user: ann, password_hash: '$apr1$x$y'}, {user: bob}]}}",
        "identity: {basic: {users: [{user: a, password_hash: '$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA', roles: 'a,b', scopes: 'a b'}], realm: 'a\"b', cache: 2h}}",
        "identity: {basic: {users: [{user: a, password_hash: '$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA'}, {user: a, password_hash: '$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA'}]}}",
        "identity: {introspection: {url: 'http://id.example.com/introspect', client_secret: '${env:T}'}}",
        "identity: {introspection: {}}",
        "identity: {forward: {url: 127.0.0.1:9091}}",
        "identity: {forward: {url: 'http://a', send: [content-length, x-forwarded-for], copy: [Authorization, Host, x-forwarded-user], copy_back: [connection]}}",
        "identity: {forward: {url: 'http://a', copy: [x-user]}, send: {user: X_User}}",
        "identity: {send: {user: cookie, roles: host, scopes: x-request-id, key: via, provider: 'x y', claims: {Forwarded: sub, x-a: 'a..b'}}}",
        "identity: {send: {user: x-user, roles: x-user, token: {header: X-User, jwks_path: jwks}}}",
        "identity: {send: {token: {lasts: 2h}}}",
        "identity: {revocations: redis}",
    ]));
}

#[test]
fn keys_passwords_and_other_services() {
    let header = |name: &str| TokenPlace::Header { name: name.into(), scheme: None };
    let bearer = || TokenPlace::Header { name: "authorization".into(), scheme: Some("Bearer".into()) };
    for (text, expected) in [
        ("api_key: on", vec![header("x-api-key"), bearer()]),
        ("api_key: {}", vec![header("x-api-key"), bearer()]),
        ("api_key:", vec![header("x-api-key"), bearer()]),
        ("api_key: {header: X-Key}", vec![header("x-key"), bearer()]),
        ("api_key: {header: authorization}", vec![bearer()]),
        ("api_key: {from: {cookie: key}}", vec![TokenPlace::Cookie("key".into())]),
    ] {
        assert_eq!(identity(text).api_key.unwrap().from, expected, "{text}");
    }
    assert_eq!(identity("api_key: off").api_key, None);
    let basic = identity("basic: {users_file: users.htpasswd}").basic.unwrap();
    assert_eq!((basic.users_file.as_deref(), &*basic.realm), (Some("users.htpasswd".as_ref()), "proxyd"));
    assert_eq!(basic.cache, Duration::from_mins(1));
    let forward = identity("forward: {url: 'http://authelia:9091/verify', copy: X-Groups}").forward.unwrap();
    assert_eq!((&*forward.send[0], &*forward.send[1], &*forward.copy[0]), ("authorization", "cookie", "x-groups"));
    assert_eq!((&*forward.user_header, forward.timeout), ("x-user", Duration::from_secs(1)));
    let send = identity("send: {user: X-User, claims: {x-email: email}, token: on}").send;
    let token = send.token.as_ref().unwrap();
    assert_eq!((&*token.header, &*token.issuer, token.lasts), ("x-identity-token", "proxyd", Duration::from_mins(1)));
    assert_eq!(&*token.jwks_path, "/.well-known/proxyd/jwks.json");
    assert_eq!(send.headers().map(|name| &**name).collect::<Vec<_>>(), ["x-user", "x-email", "x-identity-token"]);
    assert_eq!(identity("introspection: {url: 'http://localhost:1/x'}").introspection.unwrap().cache.as_secs(), 30);
}

#[test]
fn bad_logins_and_accounts() {
    insta::assert_snapshot!(refused(&[
        "identity: {login: {a: {}}}",
        "identity: {login: {a: {kind: oidc, client_id: x}}}",
        "identity: {login: {a: {kind: oidc, client_id: x, issuer: 'http://id.example.com'}}}",
        "identity: {login: {a: {kind: oidc, client_id: x, issuer: 'https://id.example.com', api_url: 'https://a'}}}",
        "identity: {login: {a: {kind: oidc, client_id: x, issuer: 'https://id.example.com', scopes: [email]}}}",
        "identity: {login: {a: {kind: github, client_id: x}}}",
        "identity: {login: {a: {kind: github, client_id: x, client_secret: '${env:T}', issuer: 'https://github.com'}}}",
        "identity: {login: {a: {kind: gitlab, client_id: x, allow: {}, public_url: 'https://a/b'}}}",
        "identity: {login: {a: {kind: github, client_id: x, client_secret: '${env:T}', allow: {emails: [ann], domains: ['@example.com'], claims: {'a.': b}}}}}",
        "identity: {session: {idle: 2h, absolute: 1h}}",
        "identity: {session: {cookie: __Host-x, path: /, after_logout: //evil.example, domain: 'a b', same_site: off}}",
        "identity: {session: {store: redis}}",
        "identity: {session: {secret: '${env:SHORT}', secrets: ['${env:T}']}}",
        "identity: {accounts: {prefix: /, verify: true}}",
        "identity: {accounts: {algorithm: EdDSA, secret: '${env:T}'}}",
        "identity: {accounts: {access_token: 2h, refresh_token: 1h, min_password: 4, register: maybe}}",
        "identity: {accounts: {mail: {host: mail.example.com, tls: off, user: x, from: x, reset_url: 'https://a/', verify_url: 'http://a.example/{token}'}}}",
        "identity: {accounts: true}",
    ]));
}

#[test]
fn logins_and_accounts() {
    let found = identity(
        "login: {corp: {kind: oidc, issuer: 'https://id.example.com/x/', client_id: a}, github: {kind: github, client_id: a, client_secret: '${env:T}', allow: {organisations: acme}}}",
    );
    let [corp, github] = found.login.as_slice() else { panic!("two") };
    let issuer = "https://id.example.com/x/".into();
    assert_eq!((&corp.kind, &*corp.user_claim), (&LoginKind::Oidc { issuer }, "sub"));
    assert_eq!(corp.scopes.iter().map(|scope| &**scope).collect::<Vec<_>>(), ["openid", "profile", "email"]);
    assert_eq!(github.scopes.iter().map(|scope| &**scope).collect::<Vec<_>>(), ["read:user", "user:email", "read:org"]);
    assert!(matches!(&github.kind, LoginKind::GitHub { api_url, .. } if &**api_url == "https://api.github.com"));
    assert_eq!(&*github.user_claim, "login");
    assert_eq!(found.session, Session::default());
    let session = identity("session: {secret: '${env:T}', store: local, same_site: none, path: /auth}").session;
    assert_eq!((session.secrets.len(), &*session.path, session.store), (1, "/auth/", SessionStore::Local));
    assert_eq!(session.same_site, SameSite::None);
    let accounts = identity("accounts: on").accounts.unwrap();
    assert_eq!((&*accounts.prefix, accounts.register, &*accounts.roles[0]), ("/api/auth", false, "user"));
    assert_eq!((accounts.access_token, accounts.refresh_token.as_secs()), (Duration::from_mins(30), 30 * 86_400));
    assert_eq!((accounts.algorithm, accounts.min_password), (TokenAlgorithm::Hs256, 10));
    assert_eq!((accounts.lockout.attempts, accounts.lockout.lasts), (10, Duration::from_mins(15)));
    let mail = "mail: {host: localhost, tls: off, from: A@B.example, reset_url: 'https://a/#/r/{token}', verify_url: 'https://a/v?t={token}'}";
    let accounts = identity(&format!("accounts: {{register: on, verify: true, {mail}}}")).accounts.unwrap();
    let mail = accounts.mail.as_ref().unwrap();
    assert_eq!((mail.port, &*mail.from, accounts.register), (25, "a@b.example", true));
}

const MAIN: &str = "identity: {jwt: {main: {keys: {pem: a.pem}}}, api_key: on, login: {corp: {kind: oidc, issuer: 'https://a', client_id: a}}, forward: {url: 'http://a'}}\n";

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
    assert_eq!((short.optional, short.forward_credentials, &*short.realm), (false, false, "proxyd"));
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
    assert_eq!((found.exempt.len(), &*found.exempt_names[0], &*found.exempt_names[1]), (2, "ann", "ci"));
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
        "bans: {on: [pasword_wrong, banned, teapot], exempt: [x], ipv6_prefix: 0}",
        "bans: {on: []}",
        "bans: yes",
        "redis: {}",
        "redis: {url: 'http://a', prefix: '', timeout: 0ms, failures: 0}",
        "redis: {url: 'redis://:s3cret/x@10.0.0.1'}",
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
    let bans = fine("bans: on").bans.clone().unwrap();
    assert_eq!((bans.refusals, bans.lasts, bans.longest.as_secs()), (20, Duration::from_mins(10), 86_400));
    let on: Vec<&str> = bans.on.iter().map(|code| &**code).collect();
    assert!(on.contains(&"password_wrong") && on.contains(&"threat") && !on.contains(&"rate_limited"), "{on:?}");
    assert!(fine("bans: off").bans.is_none() && fine("redis: off").redis.is_none());
    let redis = fine("redis: {url: '${env:REDIS}'}").redis.clone().unwrap();
    assert_eq!((redis.url.reveal(), &*redis.prefix), ("redis://:s3cret/x@10.0.0.1", "proxyd:"));
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
    let mut text = LISTEN.to_owned();
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
        "{LISTEN}redis: {{url: '${{env:A}}'}}
identity:
  jwt: {{a: {{keys: {{secret: '${{env:A}}'}}, algorithms: ['${{env:A}}'], issuer: '${{env:A}}'}}, b: {{keys: {{jwks_url: '${{env:A}}'}}, from: {{cookie: '${{env:A}}'}}}}}}
  basic: {{users_file: '${{env:A}}', users: [{{user: '${{env:A}}', password_hash: '${{env:A}}', roles: '${{env:A}}', scopes: '${{env:A}}'}}]}}
  login: {{a: {{kind: oidc, issuer: '${{env:A}}', client_id: '${{env:A}}', client_secret: '${{env:A}}', public_url: '${{env:A}}', allow: {{emails: '${{env:A}}', domains: '${{env:A}}'}}}}}}
  session: {{secrets: ['${{env:A}}'], domain: '${{env:A}}', after_logout: '${{env:A}}'}}
  forward: {{url: '${{env:A}}'}}
  accounts: {{secret: '${{env:A}}', mail: {{host: '${{env:A}}', from: '${{env:A}}', reset_url: '${{env:A}}', verify_url: '${{env:A}}', user: '${{env:A}}', password: '${{env:A}}'}}}}
  send: {{user: '${{env:A}}', claims: {{x-a: '${{env:A}}'}}}}
bans: {{on: ['${{env:A}}'], refusals: '${{env:A}}'}}
threats: {{content_types: '${{env:A}}'}}
rate_limit: {{requests_per_minute: '${{env:A}}', exempt: ['${{env:A}}', {{user: '${{env:A}}'}}]}}
"
    );
    let problems = match load(&Input::text("config.yaml", &text), &References::Lenient(&Known::default())) {
        Ok(checked) => checked.warnings,
        Err(problems) => panic!("{}", problems.render(false)),
    };
    assert!(problems.iter().all(|problem| matches!(problem.code.as_str(), "unset_reference" | "unused")));
}
