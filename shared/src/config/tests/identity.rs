//! Who can be recognised.

use std::sync::Arc;
use std::time::Duration;

use super::{Known, good};
use crate::config::identity::{
    Identity, JwtAlgorithm, JwtKeys, LoginKind, SameSite, Session, SessionStore, TokenAlgorithm, TokenPlace,
};
use crate::config::source::Input;
use crate::config::{Config, Problems, References, load};

const LISTEN: &str = "server: {listen: 127.0.0.1:8000}\n";
/// As long as the longest hash.
const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Loads under a secret `T`; a short one is `SHORT`.
pub(super) fn read(text: &str) -> Result<crate::config::Checked, Problems> {
    let known = Known::of(&[
        ("T", SECRET),
        ("SHORT", "0123456789abcdef0123456789abcde"),
        ("MIDDLE", "0123456789abcdef0123456789abcdef0123456789abcde"),
        ("REDIS", "redis://:s3cret%2Fx@10.0.0.1"),
    ]);
    load(&Input::text("config.yaml", &format!("{LISTEN}{text}")), &References::Resolve(&known))
}

/// A config that must be good, without a warning.
#[track_caller]
pub(super) fn fine(text: &str) -> Arc<Config> {
    let checked = read(text).unwrap_or_else(|problems| panic!("{}", problems.render(false)));
    assert!(checked.warnings.is_empty(), "{}", Problems(checked.warnings).render(false));
    checked.config
}

/// Every problem of every text, for a snapshot.
#[track_caller]
pub(super) fn refused(texts: &[&str]) -> String {
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
fn a_name_that_is_missing_is_told_once() {
    let told = refused(&["identity: {jwt: {keys: {secret: '${env:T}'}, algorithms: [HS256]}}"]);
    assert!(told.contains("has no name") && told.contains("jwt: {main: {keys: …}}"), "{told}");
    assert_eq!(told.matches("error").count(), 1, "{told}");
    let told = refused(&["identity: {login: {kind: oidc, issuer: 'https://a', client_id: a}}"]);
    assert!(told.contains("login: {main: {kind: …}}"), "{told}");
    let told = refused(&["identity: {login: {corp: {issuer: 'https://a', client_id: a}}}"]);
    assert!(told.contains("write `oidc` or `github`"), "{told}");
    assert!(read("identity: {jwt: {keys: {keys: {secret: '${env:T}'}}}}").is_ok());
}

#[test]
fn what_should_be_a_map_is_told_its_keys() {
    for (text, keys) in [
        ("identity: {jwt: {main: {keys: 'https://a/jwks'}}}", "its keys are secret, pem, jwks_file, jwks_url"),
        ("identity: {api_key: {from: cookie}}", "its keys are header, scheme, cookie, query"),
        ("identity: {api_key: on}\nauth: {any_of: api_key, methods: {DELETE: admin}}", "its keys are roles, scopes"),
    ] {
        let told = refused(&[text]);
        assert!(told.contains(keys), "{told}");
    }
}

#[test]
fn tokens_that_may_be_for_others_are_told() {
    let unbound = |keys: &str| {
        let text = format!("identity: {{jwt: {{main: {{keys: {{jwks_url: 'https://a/k'}}{keys}}}}}}}\nauth: jwt.main");
        let warnings = read(&text).unwrap_or_else(|problems| panic!("{}", problems.render(false))).warnings;
        warnings
            .iter()
            .filter(|warning| warning.code.as_str() == "unverified")
            .map(|w| w.path.clone())
            .collect::<Vec<_>>()
    };
    for keys in ["", ", require: {azp: present, tenant: x}"] {
        assert_eq!(unbound(keys), ["identity.jwt.main.keys"], "{keys}");
    }
    for keys in [", issuer: 'https://a'", ", audience: b", ", require: {azp: web}", ", require: {client_id: web}"] {
        assert_eq!(unbound(keys), [] as [&str; 0], "{keys}");
    }
}

#[test]
fn all_of_what_stands_in_one_header_is_refused() {
    let basic =
        "basic: {users: [{user: ann, password_hash: '$2y$05$0123456789012345678901uOabcdefghijklmnopqrstuvwxyzABC'}]}";
    let text = |from: &str, auth: &str| {
        format!("identity: {{jwt: {{a: {{keys: {{secret: '${{env:T}}'}}{from}}}}}, api_key: on, {basic}}}\n{auth}")
    };
    for auth in
        ["auth: {all_of: [jwt.a, basic]}", "routes: [{path: /, respond: {}, auth: {all_of: [basic, api_key, jwt.a]}}]"]
    {
        let told = refused(&[&text("", auth)]);
        assert!(told.contains("let nobody in") && told.contains("`identity.jwt.a` another place"), "{told}");
        assert!(read(&text(", from: [{header: authorization}, {header: x-token}]", auth)).is_ok());
    }
    assert!(read(&text("", "auth: [jwt.a, basic]")).is_ok());
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
    // Whether the set in a file fits is seen when it is read.
    let found = identity("jwt: {main: {keys: {jwks_file: a.json}, algorithms: [HS256, ES512]}}");
    assert_eq!(found.jwt[0].algorithms, [JwtAlgorithm::Hs256, JwtAlgorithm::Es512]);
}

#[test]
fn keys_to_sign_with() {
    let found = identity("send: {token: on}, signing_keys: [new.pem, old.pem]");
    let names: Vec<_> = found.signing_keys.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    assert_eq!(names, ["new.pem", "old.pem"]);
    assert_eq!(identity("send: {token: on}, signing_keys: one.pem").signing_keys.len(), 1);
    assert!(identity("send: {token: on}").signing_keys.is_empty());
    let many = format!("identity: {{send: {{token: on}}, signing_keys: [{}]}}", "a.pem, ".repeat(17));
    let problems = refused(&[&many, "identity: {send: {token: on}, signing_keys: ['']}"]);
    assert!(problems.contains("more than 16 keys") && problems.contains("this is not a path"), "{problems}");
    let unused = refused(&["identity: {signing_keys: one.pem}"]);
    assert!(unused.contains("nothing is signed with these keys"), "{unused}");
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
        "identity: {login: {a: {kind: github, client_id: x, client_secret: '${env:T}'}}}\nroutes: [{path: /, respond: {status: 200}, auth: login.a}]",
        "identity: {login: {a: {kind: gitlab, client_id: x, allow: {}, public_url: 'https://a/b'}}}",
        "identity: {login: {a: {kind: github, client_id: x, client_secret: '${env:T}', allow: {emails: [ann], domains: ['@example.com'], claims: {'a.': b}}}}}",
        "identity: {login: {a: {kind: github, client_id: x, client_secret: '${env:T}', allow: {organisations: [acme], organisations_claim: orgs}}}}",
        "identity: {login: {a: {kind: oidc, client_id: x, issuer: 'https://id.example.com', allow: {organisations_claim: 'a..b', domains: [a.example]}}}}",
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
