//! JSON Web Tokens: what is refused, with which code, and what is let in.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tests::token::{self, EdKey, SECRET, claims, hmac, hs256, in_seconds, message, part};
use tests::{Proxyd, Request, Response, Upstream, eventually};

fn yaml(keys: &str, more: &str, target: &str) -> String {
    format!(
        "identity:\n  jwt:\n    main: {{keys: {{{keys}}}, issuer: issuer, audience: [api, other], leeway: 2s{more}}}\n  \
         send: {{user: x-user, roles: x-roles, scopes: x-scopes}}\nauth: jwt.main\nroutes:\n  - {{path: /, target: '{target}'}}\n"
    )
}

fn bearer(proxyd: &Proxyd, token: &str) -> Response {
    Request::get("/").header("Authorization", &format!("Bearer {token}")).send(proxyd.address())
}

/// The code of the refusal, or the user that the upstream was told.
fn outcome(response: &Response) -> String {
    if response.status == 200 { response.text() } else { format!("{} {}", response.status, response.error_code()) }
}

fn telling_user() -> Upstream {
    Upstream::scripted(|conn| {
        while let Some(request) = conn.request() {
            let user = request.headers.get("x-user").unwrap_or("nobody").to_owned();
            conn.answer(200, &[], user.as_bytes());
        }
    })
}

#[test]
fn which_claim_is_wrong_is_told_to_whoever_looks_for_it() {
    let upstream = telling_user();
    let proxyd =
        Proxyd::start(&format!("log: {{level: debug}}\n{}", yaml(&format!("secret: '{SECRET}'"), "", &upstream.url())));
    for (claims, claim) in [
        (json!({"exp": "tomorrow"}), "exp"),
        (json!({"jti": 471_147_114_711_u64}), "jti"),
        (json!({"sub": " e v e "}), "sub"),
    ] {
        let told = format!("\"claim\":\"{claim}\"");
        assert_eq!(outcome(&bearer(&proxyd, &hs256("alice", &claims))), "401 token_claims", "{claims}");
        eventually("the claim is named", || proxyd.output().contains(&told).then_some(()));
    }
    let output = proxyd.output();
    assert!(!output.contains("tomorrow") && !output.contains("471147114711") && !output.contains("e v e"), "{output}");
}

#[test]
fn what_is_not_good_is_refused_with_its_reason() {
    let upstream = telling_user();
    let proxyd = Proxyd::start(&yaml(&format!("secret: '{SECRET}'"), ", require: {tenant: acme}", &upstream.url()));
    let header = json!({"alg": "HS256", "typ": "JWT"});
    let tenant = |more: Value| {
        let mut all = json!({"tenant": "acme"});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        claims("alice", &all)
    };
    let good = |more: Value| hmac(SECRET.as_bytes(), &header, &tenant(more));
    let with_header = |header: Value| hmac(SECRET.as_bytes(), &header, &tenant(json!({})));
    let unsigned = |alg: &str| format!("{}.", message(&json!({"alg": alg}), &tenant(json!({}))));
    let whole = good(json!({}));
    let (body, signature) = whole.rsplit_once('.').unwrap();
    let mut tampered = signature.as_bytes().to_vec();
    tampered[3] = if tampered[3] == b'A' { b'B' } else { b'A' };
    let tampered = format!("{body}.{}", String::from_utf8(tampered).unwrap());
    let cases = [
        (whole.clone(), "alice"),
        (unsigned("none"), "401 token_algorithm"),
        (unsigned("NONE"), "401 token_algorithm"),
        (unsigned("nOnE"), "401 token_algorithm"),
        (unsigned("HS256"), "401 token_signature"),
        (format!("{body}."), "401 token_signature"),
        (body.to_owned(), "401 token_malformed"),
        (format!("{whole}.x"), "401 token_malformed"),
        (format!("{whole}="), "401 token_malformed"),
        (tampered, "401 token_signature"),
        (hmac(b"another-secret-of-thirty-two-bytes", &header, &tenant(json!({}))), "401 token_signature"),
        (with_header(json!({"alg": "RS256"})), "401 token_algorithm"),
        (with_header(json!({"alg": "HS512"})), "401 token_algorithm"),
        (with_header(json!({"alg": "HS256", "crit": ["exp"]})), "401 token_algorithm"),
        (with_header(json!({"alg": "HS256", "kid": "../../dev/null"})), "alice"),
        (with_header(json!({"alg": "HS256", "kid": "x".repeat(300)})), "401 token_malformed"),
        (with_header(json!({"alg": "HS256", "kid": ["a"]})), "401 token_malformed"),
        (with_header(json!({"alg": ["HS256"]})), "401 token_malformed"),
        (with_header(json!({"alg": "HS256", "jku": "http://127.0.0.1:1/jwks"})), "alice"),
        (good(json!({"exp": in_seconds(-10)})), "401 token_expired"),
        (good(json!({"exp": null})), "401 token_claims"),
        (good(json!({"exp": "tomorrow"})), "401 token_claims"),
        (good(json!({"nbf": in_seconds(30)})), "401 token_not_yet_valid"),
        (good(json!({"nbf": in_seconds(-1)})), "alice"),
        (good(json!({"iss": "another"})), "401 token_issuer"),
        (good(json!({"iss": null})), "401 token_issuer"),
        (good(json!({"aud": "somebody"})), "401 token_audience"),
        (good(json!({"aud": ["x", "other"]})), "alice"),
        (good(json!({"aud": null})), "401 token_audience"),
        (good(json!({"tenant": "evil"})), "401 token_claims"),
        (good(json!({"tenant": null})), "401 token_claims"),
        (good(json!({"sub": null})), "401 token_claims"),
        (good(json!({"sub": "alice\r\nx-roles: admin"})), "401 token_claims"),
        // Upstreams would read another name than limits and the record.
        (good(json!({"sub": " alice"})), "401 token_claims"),
        (good(json!({"sub": "alice "})), "401 token_claims"),
        (good(json!({"sub": "  "})), "401 token_claims"),
        (good(json!({"sub": true})), "401 token_claims"),
        (good(json!({"sub": 18_446_744_073_709_551_615_u64})), "18446744073709551615"),
        ("x".to_owned(), "401 token_malformed"),
        ("..".to_owned(), "401 token_malformed"),
        (format!("{}.{}.{}", part("{}"), part("{}"), part("")), "401 token_malformed"),
        (format!("{}.{}.{}", part("[]"), part("[]"), part("x")), "401 token_malformed"),
        ("a.".repeat(5_000), "401 token_malformed"),
        (good(json!({"pad": "x".repeat(18_000)})), "401 credentials_too_large"),
    ];
    let wrong = cases.iter().enumerate().filter_map(|(index, (token, expected))| {
        let found = outcome(&bearer(&proxyd, token));
        (found != *expected).then(|| format!("{index}: {found}, not {expected}: {}", &token[..token.len().min(80)]))
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let twice = format!(
        "{}.{}",
        part(r#"{"alg":"HS256","alg":"none"}"#),
        part(claims("alice", &json!({"tenant": "acme"})).to_string())
    );
    assert_eq!(outcome(&bearer(&proxyd, &format!("{twice}.{signature}"))), "401 token_malformed");
    // Who it was, and why not, stands in the rows.
    let rows = proxyd.audit(&json!({"last": 200, "kind": "requests"}), 30);
    assert!(rows.iter().any(|row| row["principal"] == "alice" && row["status"] == 200));
    assert!(rows.iter().any(|row| row["outcome"] == "token_expired" && row["status"] == 401));
    assert!(proxyd.metric("proxyd_auth_total", &["provider=\"jwt.main\"", "outcome=\"token_signature\""]) > 2.5);
}

#[test]
fn without_a_token_the_way_to_one_is_told() {
    let upstream = telling_user();
    let proxyd = Proxyd::start(&yaml(&format!("secret: '{SECRET}'"), "", &upstream.url()));
    let answer = proxyd.get("/");
    assert_eq!((answer.status, answer.error_code().as_str()), (401, "auth_required"));
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"proxyd\""));
    let answer = bearer(&proxyd, "x");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"proxyd\", error=\"invalid_token\""));
    let good = hs256("alice", &json!({}));
    let twice = Request::get("/").header("Authorization", &format!("Bearer {good}"));
    let twice = twice.header("authorization", "Bearer other").send(proxyd.address());
    assert_eq!(outcome(&twice), "401 credentials_ambiguous");
    assert_eq!(upstream.requests(), 0, "nothing of it came through");
}

#[test]
fn a_public_key_is_no_secret() {
    let upstream = telling_user();
    let key = EdKey::new("one");
    let jwks = json!({"keys": [key.jwk()]}).to_string();
    let start = tests::Start::new(&yaml("jwks_file: keys.json", "", &upstream.url()));
    start.home().write("keys.json", &jwks);
    let proxyd = start.run();
    assert_eq!(outcome(&bearer(&proxyd, &key.token("alice", &json!({})))), "alice");
    for secret in [key.public(), jwks.as_bytes(), key.jwk().to_string().as_bytes(), b""] {
        for header in [json!({"alg": "HS256", "kid": "one"}), json!({"alg": "HS256"})] {
            let token = hmac(secret, &header, &claims("alice", &json!({})));
            assert_eq!(outcome(&bearer(&proxyd, &token)), "401 token_algorithm");
        }
    }
    let own = key.sign(&json!({"alg": "EdDSA", "kid": "two"}), &claims("alice", &json!({})));
    assert_eq!(outcome(&bearer(&proxyd, &own)), "401 token_key_unknown");
    let forged = EdKey::new("one").token("alice", &json!({}));
    assert_eq!(outcome(&bearer(&proxyd, &forged)), "401 token_signature");
    // The file is read again with a reload; a key that is gone from it opens nothing any more.
    let next = EdKey::new("next");
    proxyd.home().write("keys.json", &json!({"keys": [next.jwk()]}).to_string());
    let told = proxyd.ask("reload", &json!({}));
    assert_eq!(told["changes"]["sections"], json!(["identity.jwt.main"]), "{told}");
    assert_eq!(outcome(&bearer(&proxyd, &next.token("bob", &json!({})))), "bob");
    assert_eq!(outcome(&bearer(&proxyd, &key.token("alice", &json!({})))), "401 token_key_unknown");
    // One that cannot be read is refused, and what is in force goes on.
    proxyd.home().write("keys.json", "{");
    let refused = proxyd.try_ask("reload", &json!({})).unwrap_err();
    assert_eq!(refused["code"], "config_invalid");
    assert_eq!(outcome(&bearer(&proxyd, &next.token("bob", &json!({})))), "bob");
}

/// A provider of keys that says what it is told to.
fn provider(keys: &Arc<Mutex<String>>) -> Upstream {
    let keys = Arc::clone(keys);
    Upstream::scripted(move |conn| {
        while conn.request().is_some() {
            let body = keys.lock().unwrap().clone();
            let status = if body.is_empty() { 500 } else { 200 };
            conn.answer(status, &[("content-type", "application/json")], body.as_bytes());
        }
    })
}

#[test]
fn keys_are_fetched_kept_and_fetched_again() {
    let upstream = telling_user();
    let (old, new) = (EdKey::new("old"), EdKey::new("new"));
    let told = Arc::new(Mutex::new(String::new()));
    let issuer = provider(&told);
    let keys = format!("jwks_url: '{}/jwks', refresh_floor: 1s, timeout: 1s", issuer.url());
    let proxyd = Proxyd::start(&yaml(&keys, "", &upstream.url()));
    // No key was ever there: nobody can say whether the token is good.
    let token = old.token("alice", &json!({}));
    let answer = bearer(&proxyd, &token);
    assert_eq!(outcome(&answer), "503 auth_unavailable");
    *told.lock().unwrap() = json!({"keys": [old.jwk()]}).to_string();
    eventually("keys were fetched", || (outcome(&bearer(&proxyd, &token)) == "alice").then_some(()));
    // An unknown key is looked for, though not at each request.
    std::thread::sleep(Duration::from_millis(1100));
    let before = issuer.requests();
    let stranger = EdKey::new("stranger");
    for _ in 0..20 {
        assert_eq!(outcome(&bearer(&proxyd, &stranger.token("mallory", &json!({})))), "401 token_key_unknown");
    }
    assert!(issuer.requests() <= before + 2, "{} fetches", issuer.requests() - before);
    // Rotation: the new one is found by its kid, the old one is gone with the set that held it.
    *told.lock().unwrap() = json!({"keys": [new.jwk()]}).to_string();
    eventually("the key after it was fetched", || {
        (outcome(&bearer(&proxyd, &new.token("bob", &json!({})))) == "bob").then_some(())
    });
    assert_eq!(outcome(&bearer(&proxyd, &token)), "401 token_key_unknown");
    // The provider breaks: what was good last stays.
    told.lock().unwrap().clear();
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(outcome(&bearer(&proxyd, &stranger.token("mallory", &json!({})))), "401 token_key_unknown");
    assert_eq!(outcome(&bearer(&proxyd, &new.token("bob", &json!({"n": 2})))), "bob");
    // Over a reload that changes something else of the same provider too.
    proxyd.reload_with(&yaml(&keys, ", max_age: 1h", &upstream.url()));
    assert_eq!(outcome(&bearer(&proxyd, &new.token("bob", &json!({"n": 3})))), "bob");
}

#[test]
fn a_token_may_stand_elsewhere() {
    let upstream = telling_user();
    let from = ", from: [{header: x-token}, {cookie: token}, {query: token}]";
    let proxyd = Proxyd::start(&yaml(&format!("secret: '{SECRET}'"), from, &upstream.url()));
    let token = hs256("alice", &json!({}));
    let ask = |request: Request| outcome(&request.send(proxyd.address()));
    assert_eq!(ask(Request::get("/").header("X-Token", &token)), "alice");
    assert_eq!(ask(Request::get("/").header("Cookie", &format!("a=b; token={token}"))), "alice");
    assert_eq!(ask(Request::get(&format!("/?a=b&token={token}"))), "alice");
    assert_eq!(ask(Request::get("/").header("Authorization", &format!("Bearer {token}"))), "401 auth_required");
    assert_eq!(ask(Request::get(&format!("/?token={token}&token={token}"))), "401 credentials_ambiguous");
    // It is in no row.
    let rows = proxyd.audit(&json!({"last": 50, "kind": "requests"}), 5);
    assert!(
        !json!(rows).to_string().contains(token::part("{\"alg\"").trim_end_matches('=')),
        "a token stands in a row"
    );
}

#[test]
fn a_token_in_the_query_stays_here_where_credentials_do() {
    let (upstream, second) = (Upstream::echo(), Upstream::echo());
    let proxyd = Proxyd::start(&format!(
        "identity:\n  jwt:\n    main: {{keys: {{secret: '{SECRET}'}}, from: [{{query: token}}]}}\n\
         upstreams: {{shadow: {{endpoints: ['{1}']}}}}\nroutes:\n  - {{path: /open/, target: '{0}', auth: jwt.main}}\n  \
         - {{path: /kept/, target: '{0}', auth: {{any_of: jwt.main, forward_credentials: false}}}}\n  \
         - {{path: /cut/, target: '{0}', rewrite: {{strip_prefix: /cut/}}, auth: {{any_of: jwt.main, forward_credentials: false}}}}\n  \
         - {{path: /mirrored/, target: '{0}', mirror: {{upstream: shadow}}, auth: {{any_of: jwt.main, forward_credentials: false}}}}\n",
        upstream.url(),
        second.url()
    ));
    let token = hs256("alice", &json!({}));
    let check = |target: &str, expected: &str| {
        let response = Request::get(&target.replace('T', &token)).send(proxyd.address());
        assert_eq!(response.json()["target"].as_str(), Some(&*expected.replace('T', &token)), "{target}");
    };
    check("/open/?a=1&token=T&b=2", "/open/?a=1&token=T&b=2");
    check("/kept/?a=1&token=T&b=2", "/kept/?a=1&b=2");
    check("/kept/?token=T", "/kept/");
    check("/kept/?xtoken=1&token=T&token2", "/kept/?xtoken=1&token2");
    check("/cut/a?token=T&q=%20", "/a?q=%20");
    check("/mirrored/?token=T&q=1", "/mirrored/?q=1");
    let copy = eventually("the copy", || second.heads().first().cloned());
    assert!(copy.starts_with("GET /mirrored/?q=1 HTTP/1.1\r\n"), "{copy}");
}
