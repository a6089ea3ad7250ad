//! One declaration per section: what is read, the schema and the reference page are the same keys.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;

use super::{Known, load_text};
use crate::config::excerpt::is_secret_key;
use crate::config::field::{Field, Kind, Section};
use crate::config::reader::Reader;
use crate::config::report::Reporter;
use crate::config::root::{self, ROOT};
use crate::config::source::{Input, References};
use crate::config::tree::Texts;
use crate::config::{merge, policy, reference, schema};

/// Every section with all of its keys in use.
const EVERYTHING: &str = r"
server: {listen: [{address: '127.0.0.1:1', tls: {certificates: [{cert: a.pem, key: a.key}], min_version: '1.3', client_ca: ca.pem, client_auth: optional}, protocols: [http1, http2], proxy_protocol: v2}, {address: '127.0.0.1:2', https_redirect: on}], trusted_proxies: [10.0.0.0/8]}
admin: {hosts: [a], auth: {basic: [{user: a, password_hash: '$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g', role: reader}], tokens: [{name: a, token: '${env:T}', role: reader}]}}
log: {redact: {headers: [a], query: [b]}}
redis: {url: 'rediss://a', prefix: 'a:', timeout: 1ms, connect_timeout: 1s, failures: 1, open_for: 1s}
bans: {refusals: 1, within: 1s, for: 1s, longest: 1s, on: [threat, threat_sql_injection, threat_method, rate_limited], exempt: 10.0.0.0/8, ipv6_prefix: 56}
identity:
  jwt:
    a: {keys: {secret: '${env:T}'}, algorithms: HS512, issuer: a, audience: a, leeway: 0s, from: [{header: authorization, scheme: Bearer}, {cookie: a}], require: {a: present, b.c: '1'}, require_exp: false, max_age: 1h, user_claim: a, roles_claim: a.b, scopes_claim: a.b.c}
    b: {keys: {pem: a.pem}}
    c: {keys: {jwks_file: a.json}, algorithms: [EdDSA], audience: [a, b]}
    d: {keys: {jwks_url: 'https://a/b?c', refresh: 1m, refresh_floor: 1s, timeout: 1s}, algorithms: [RS256, ES256]}
  api_key: {header: a}
  basic: {users_file: a, users: [{user: a, password_hash: '$2y$05$bvIG6Nmid91Mu9RcmmWZfO5HJIMCT8riNW0hEp8f6/FuA2/mHZFpe', roles: [a], scopes: a}], realm: a b, cache: 1s}
  login:
    a: {kind: oidc, issuer: 'https://a', client_id: a, client_secret: '${env:T}', scopes: [openid], public_url: 'https://a', allow: {emails: [a@b], domains: [b], organisations: [c], organisations_claim: c.d, claims: {d: e}}, user_claim: email, roles_claim: a, roles: [a], timeout: 1s}
    b: {kind: github, client_id: a, client_secret: '${env:T}', authorize_url: 'https://a/a', token_url: 'https://a/t', api_url: 'https://a/api'}
  session: {cookie: a, secrets: ['${env:T}', '${env:T}'], store: redis, idle: 1m, absolute: 1h, same_site: strict, domain: a, path: /a, after_logout: /b}
  introspection: {url: 'https://a', from: {cookie: a}, client_id: a, client_secret: '${env:T}', timeout: 1s, cache: 0s, issuer: a, audience: a, leeway: 0s, user_claim: a, roles_claim: a, scopes_claim: a}
  forward: {url: 'http://a/b', send: cookie, copy: [x-a, x-b], copy_back: set-cookie, user_header: a, roles_header: b, scopes_header: c, timeout: 1s}
  accounts: {prefix: /a/b, register: on, roles: [a], verify: true, access_token: 1m, refresh_token: 1h, algorithm: HS256, secret: '${env:T}', issuer: a, audience: a, min_password: 12, lockout: {attempts: 1, within: 1s, for: 1s}, mail: {host: a, port: 1, tls: implicit, user: a, password: '${env:T}', from: a@b, reset_url: 'https://a/{token}', verify_url: 'https://a/#{token}'}}
  send: {user: x-user, roles: x-roles, scopes: x-scopes, key: x-key, provider: x-provider, claims: {x-email: email}, token: {header: x-token, issuer: a, audience: a, lasts: 1s, jwks_path: /a/jwks}}
  signing_keys: [a.pem, b.pem]
  revocations: redis
upstreams:
  u: {endpoints: [{url: 'https://a', weight: 1}], protocol: auto, tls: {ca: ca.pem, server_name: a.internal, verify: true, cert: a.pem, key: a.key}}
  v:
    endpoints: [{url: 'http://a', weight: 2}, {url: 'http://b', backup: true}, http+srv://_http._tcp.c]
    balance: {hash: {by: {header: a}}}
    sticky: {cookie: a, max_age: 1h, secret: '${env:T}'}
    probe: {kind: http, path: /h, method: GET, host: h, headers: {a: b}, port: 1, interval: 1s, down_interval: 1s, timeout: 1s, jitter: 1%, healthy_after: 1, unhealthy_after: 1, expect: [200-399, 418], body: ok, initial: unknown}
    eject: {consecutive_errors: 1, error_rate: 1%, latency: 1s, min_requests: 1, window: 1s, statuses: 500, for: 1s, max_for: 1s, max_percent: 1%}
    breaker: {error_rate: 1%, slow: 1s, slow_rate: 1%, window: 1s, min_requests: 1, open_for: 1s, trials: 1, statuses: [500-599]}
    retry: {attempts: 3, on: [connect, 503, 500-502], backoff: 1ms, max_backoff: 1s, budget: 1%, body: 1KiB}
    in_flight: {total: 1, endpoint: 1, queue: 1, wait: 1s}
    slow_start: 1s
    panic_below: 50%
    resolve: {every: 1s, servers: [127.0.0.1, '[::1]:54'], timeout: 1s}
    timeouts: {connect: 1s, tls: 1s, write: 1s, response_headers: 1s, idle: 1s, total: 1s, tunnel: 1s}
  w: {endpoints: ['http://a'], balance: {hash: {by: {cookie: a}}}, sticky: off, probe: off, eject: off, breaker: off, retry: off, in_flight: off, slow_start: off, panic_below: off, resolve: off}
routes:
  - {name: n, path: /a, hosts: [h], methods: [GET], headers: {a: {present: true}, b: {regex: x}, request: {set: {a: b}, add: {a: b}, remove: [a]}}, query: {a: {present: true}, b: {regex: x}}, target: 'http://a', rewrite: {strip_prefix: /a, add_prefix: /b}, retry: {attempts: 2}, timeouts: {connect: 1s, tls: 1s, write: 1s, response_headers: 1s, idle: 1s, total: off, tunnel: off}}
  - {exact: /b, upstream: u, rewrite: {path: /x}}
  - {regex: /c, split: [{upstream: u, weight: 1}], rewrite: {regex: a, to: b}}
  - {path: /d, redirect: {to: /x, status: 308}}
  - {path: /f, target: 'http://a', security_headers: off, cors: off, access: off, rate_limit: off, body_limit: off, headers: off, fault: off, mirror: off, fallback: off, retry: off}
  - {path: /g, upstream: u, fallback: {upstream: w}}
  - {path: /e, respond: {status: 200, headers: {a: b}, body: x}, threats: shadow, auth: [jwt.a, api_key]}
  - {exact: /a/b/login, serve: accounts, rate_limit: {requests_per_minute: 5}}
threats: {mode: shadow, score: 1, rules: {traversal: off, null_byte: 5}, methods: [GET], content_types: ['text/*'], json: {max_size: 1KiB, max_depth: 1}}
auth: {any_of: [jwt.b, certificate, login.a], optional: true, roles: [a], scopes: [b], methods: {GET: {}, DELETE: {roles: a, scopes: b}}, forward_credentials: true, tunnels: until_expired, realm: a b}
access: {allow: [10.0.0.0/8], deny: [10.1.1.1], certificates: ['*.example.org']}
cors: {allow_origins: ['*'], allow_methods: [GET], allow_headers: [a], expose_headers: [b], max_age: 1m}
rate_limit: [{limits: [{requests: 1, per: 1s}], by: [certificate, {header: a}, ip], algorithm: token_bucket, burst: 1}, {name: b, requests_per_minute: 1, cost: 1, methods: GET, exempt: [10.0.0.0/8, {user: a, provider: jwt.a}, {api_key: b}], store: redis, on_store_error: deny}, {name: c, algorithm: concurrency, concurrent: 1, by: [user, api_key]}]
headers: {request: {set: {a: b}, add: {a: b}, remove: [a]}, response: {set: {a: b}}}
security_headers: {x-frame-options: off}
fault: {headers: {a: {present: true}}, delay: {time: 1s, percent: 1%}, abort: {status: 503, percent: 1%}}
mirror: {upstream: v, percent: 1%, body: off, in_flight: 1}
fallback: {on: [unavailable, 503], respond: {status: 503, headers: {a: b}, body: x}}
";

fn sections() -> Vec<&'static Section> {
    fn visit(section: &'static Section, found: &mut Vec<&'static Section>) {
        if found.iter().any(|known| known.name == section.name) {
            return;
        }
        found.push(section);
        for field in section.all() {
            if let Some(inner) = field.kind.section() {
                visit(inner, found);
            }
        }
    }
    let mut found = Vec::new();
    visit(&ROOT, &mut found);
    found
}

#[test]
fn every_declared_key_is_read() {
    let mut texts = Texts::new();
    let mut report = Reporter::default();
    let input = Input::text("config.yaml", EVERYTHING);
    let mut tree = merge::merge(&input, &mut texts, &mut report);
    let known = Known::of(&[("T", &"0123456789abcdef".repeat(4))]);
    reference::resolve(&mut tree, &texts, &References::Resolve(&known), &mut report);
    let mut reader = Reader::new(&texts, &mut report);
    let config = root::read(&mut reader, &tree);
    let mut asked = std::mem::take(&mut reader.asked);
    let problems = report.close(&texts);
    assert!(config.is_some(), "{}", problems.render(false));
    // On routes, `headers` is read entry by entry, under the sections of its two halves.
    for key in ["present", "regex", "set", "add", "remove"] {
        asked.insert(("routes[].headers.NAME", key));
    }
    let declared: BTreeSet<(&str, &str)> =
        sections().into_iter().flat_map(|section| section.all().map(|field| (section.name, field.key))).collect();
    assert_eq!(declared.difference(&asked).collect::<Vec<_>>(), Vec::<&(&str, &str)>::new());
}

#[test]
fn keys_that_hold_secrets_are_declared_as_such() {
    let fields = sections().into_iter().flat_map(Section::all);
    let looks_secret = fields.filter(|field| is_secret_key(field.key) && field.kind.section().is_none());
    // These name a cookie or a key, or measure something.
    let named = ["cookie", "api_key", "access_token", "refresh_token", "min_password"];
    let is_declared = |field: &&Field| {
        matches!(field.kind, Kind::Secret { .. } | Kind::List(Kind::Secret { .. })) || named.contains(&field.key)
    };
    let undeclared = looks_secret.filter(|field| !is_declared(field));
    assert_eq!(undeclared.map(|field| field.key).collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn every_section_refuses_other_keys() {
    for (text, path) in [
        ("x: 1", "x"),
        ("server: {x: 1}", "server.x"),
        ("server: {limits: {x: 1}, timeouts: {x: 1}}", "server.limits.x"),
        ("admin: {auth: {tokens: [{x: 1}]}}", "admin.auth.tokens[0].x"),
        ("routes: [{x: 1}]", "routes[0].x"),
        ("upstreams: {u: {pool: {x: 1}}}", "upstreams.u.pool.x"),
        ("upstreams: {u: {tls: {x: 1}}}", "upstreams.u.tls.x"),
        ("upstreams: {u: {probe: {x: 1}}}", "upstreams.u.probe.x"),
        ("upstreams: {u: {eject: {x: 1}}}", "upstreams.u.eject.x"),
        ("upstreams: {u: {balance: {hash: {by: {x: 1}}}}}", "upstreams.u.balance.hash.by.x"),
        ("routes: [{retry: {x: 1}}]", "routes[0].retry.x"),
        ("fault: {delay: {x: 1}}", "fault.delay.x"),
        ("fallback: {respond: {x: 1}}", "fallback.respond.x"),
        ("server: {listen: {address: '0.0.0.0:1', tls: {x: 1}}}", "server.listen.tls.x"),
        ("redis: {x: 1}", "redis.x"),
        ("bans: {x: 1}", "bans.x"),
        ("identity: {x: 1}", "identity.x"),
        ("identity: {jwt: {a: {x: 1}}}", "identity.jwt.a.x"),
        ("identity: {jwt: {a: {keys: {x: 1}}}}", "identity.jwt.a.keys.x"),
        ("identity: {api_key: {from: [{x: 1}]}}", "identity.api_key.from[0].x"),
        ("identity: {basic: {users: [{x: 1}]}}", "identity.basic.users[0].x"),
        ("identity: {login: {a: {allow: {x: 1}}}}", "identity.login.a.allow.x"),
        ("identity: {session: {x: 1}}", "identity.session.x"),
        ("identity: {introspection: {x: 1}}", "identity.introspection.x"),
        ("identity: {forward: {x: 1}}", "identity.forward.x"),
        ("identity: {accounts: {mail: {x: 1}, lockout: {x: 1}}}", "identity.accounts.mail.x"),
        ("identity: {send: {token: {x: 1}}}", "identity.send.token.x"),
        ("auth: {x: 1}", "auth.x"),
        ("auth: {methods: {GET: {x: 1}}}", "auth.methods.GET.x"),
        ("threats: {json: {x: 1}}", "threats.json.x"),
        ("rate_limit: {exempt: [{x: 1}]}", "rate_limit.exempt[0].x"),
        ("server: {listen: [{tls: {certificates: [{x: 1}]}}]}", "server.listen[0].tls.certificates[0].x"),
    ] {
        let problems = load_text(text).expect_err("unknown key");
        assert!(
            problems.0.iter().any(|p| p.code.as_str() == "unknown_key" && p.path == path),
            "{}",
            problems.render(false)
        );
        assert_ne!(validate(&schema(), &schema(), &yaml(text)), Ok(()), "{text}");
    }
}

#[test]
fn the_schema_takes_what_is_read() {
    let schema = schema();
    for text in [EVERYTHING, include_str!("../../../../config.yaml"), crate::config::starter()] {
        assert_eq!(validate(&schema, &schema, &yaml(text)), Ok(()));
    }
    for text in [
        "server: {workers: 0}",
        "server: {timeouts: {drain: 10}}",
        "log: {level: loud}",
        "routes: {}",
        "upstreams: {a: {}}",
        "upstreams: {a: {endpoints: [http://a], panic_below: 20}}",
        "upstreams: {a: {endpoints: [http://a], balance: hashed}}",
        "fault: {delay: {time: 1s, percent: 0.5}}",
    ] {
        assert_ne!(validate(&schema, &schema, &yaml(text)), Ok(()), "{text}");
        assert!(load_text(text).is_err(), "{text}");
    }
}

#[test]
fn the_committed_schema_is_fresh() {
    let fresh = format!("{:#}\n", schema());
    compare_with_file("config.schema.json", &fresh);
}

#[test]
fn the_reference_page_is_fresh() {
    compare_with_file("../docs/reference/config.md", &reference_page());
}

/// Compares with a committed file; `REGENERATE=1` writes it.
#[track_caller]
fn compare_with_file(name: &str, fresh: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var_os("REGENERATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, fresh).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == fresh, "{name} is stale: run the tests of `shared` once with REGENERATE=1");
}

fn reference_page() -> String {
    let mut page = include_str!("reference_intro.txt").to_owned();
    for section in sections() {
        let _ = write!(
            page,
            "\n## `{}`\n\n{}\n\n| Key | Value | Default | Meaning |\n|---|---|---|---|\n",
            section.name, section.doc
        );
        let policies = section.name == "routes[]";
        for (group, fields) in section.fields.iter().enumerate() {
            for field in fields.iter().filter(|_| !policies || group == 0) {
                row(&mut page, field);
            }
        }
        if policies {
            let names: Vec<String> = policy::FIELDS.iter().map(|field| format!("`{}`", field.key)).collect();
            let _ = writeln!(page, "\nAnd any policy, over the top level's: {}.", names.join(", "));
        }
    }
    page.push_str(include_str!("reference_end.md"));
    page
}

fn row(page: &mut String, field: &Field) {
    let default = match field.default {
        Some(default) => format!("`{default}`"),
        None if field.required => "required".to_owned(),
        None => String::new(),
    };
    let value = describe(&field.kind).replace('|', "\\|");
    let _ = writeln!(page, "| `{}` | {value} | {default} | {} |", field.key, field.doc.replace('|', "\\|"));
}

fn describe(kind: &Kind) -> String {
    match kind {
        Kind::Integer { min, max } => format!("whole number, {min} to {max}"),
        Kind::Duration { min, max } => format!("duration, {min} to {max}"),
        Kind::Size { min, max } => format!("size, {min} to {max}"),
        Kind::Percent { min, max } => format!("percentage, {min} to {max}"),
        Kind::Section(section) => format!("map, see `{}`", section.name),
        Kind::Short(short, section) => format!("{}, or a map, see `{}`", describe(short), section.name),
        Kind::Or(word, inner) => format!("`{word}`, or {}", describe(inner)),
        Kind::List(item) => format!("list of: {}", describe(item)),
        Kind::OneOrMany(item) => format!("{}; one or a list", describe(item)),
        Kind::Map(item) => format!("map from name to: {}", describe(item)),
        Kind::Text { .. } | Kind::Word { .. } | Kind::Secret { .. } | Kind::Boolean | Kind::Choice(_) => kind.noun(),
    }
}

/// What the text is in JSON.
fn yaml(text: &str) -> Value {
    use crate::config::tree::{self, Node};
    fn json(node: &Node) -> Value {
        match &node.value {
            tree::Value::List(items) => items.iter().map(json).collect(),
            tree::Value::Map(entries) => {
                Value::Object(entries.iter().map(|entry| (entry.key.to_string(), json(&entry.value))).collect())
            }
            tree::Value::Scalar(scalar) if scalar.is_null() => Value::Null,
            tree::Value::Scalar(scalar) if scalar.plain => match &*scalar.typed {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                text => text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from),
            },
            tree::Value::Scalar(scalar) => Value::from(&*scalar.typed),
        }
    }
    json(&crate::config::parse::parse(text, 1, &mut Reporter::default()).unwrap())
}

/// As much of JSON Schema as ours uses.
fn validate(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let Value::Object(schema) = schema else { return Err(format!("not a schema: {schema}")) };
    for (keyword, rule) in schema {
        let holds = match keyword.as_str() {
            "$ref" => {
                let pointer = rule.as_str().unwrap().trim_start_matches('#');
                validate(root, root.pointer(pointer).unwrap_or_else(|| panic!("{pointer}")), value)?;
                true
            }
            "anyOf" => rule.as_array().unwrap().iter().any(|option| validate(root, option, value).is_ok()),
            "type" => {
                rule.as_array().map_or_else(|| is_type(rule, value), |types| types.iter().any(|of| is_type(of, value)))
            }
            "const" => rule == value,
            "enum" => rule.as_array().unwrap().contains(value),
            "minimum" => value.as_i64().is_none_or(|n| n >= rule.as_i64().unwrap()),
            "maximum" => value.as_i64().is_none_or(|n| n <= rule.as_i64().unwrap()),
            "pattern" => {
                let regex = regex_automata::meta::Regex::new(rule.as_str().unwrap()).unwrap();
                value.as_str().is_none_or(|text| regex.is_match(text))
            }
            "items" => {
                value.as_array().into_iter().flatten().try_for_each(|item| validate(root, rule, item))?;
                true
            }
            "properties" => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    if let Some(rule) = rule.get(key) {
                        validate(root, rule, value).map_err(|error| format!("{key}: {error}"))?;
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = schema.get("properties");
                for (key, value) in value.as_object().into_iter().flatten() {
                    if known.and_then(|known| known.get(key)).is_none() {
                        if *rule == Value::Bool(false) {
                            return Err(format!("unknown key {key}"));
                        }
                        validate(root, rule, value).map_err(|error| format!("{key}: {error}"))?;
                    }
                }
                true
            }
            "required" => rule.as_array().unwrap().iter().all(|key| value.get(key.as_str().unwrap()).is_some()),
            "$schema" | "$defs" | "title" | "description" | "default" => true,
            other => return Err(format!("keyword {other} is not checked")),
        };
        if !holds {
            return Err(format!("{keyword} {rule} against {value}"));
        }
    }
    Ok(())
}

fn is_type(of: &Value, value: &Value) -> bool {
    match of.as_str().unwrap() {
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "null" => value.is_null(),
        other => panic!("type {other}"),
    }
}
