//! Tokens of our own: proxies that share keys take each other's, and keys are changed without losing anybody.

use serde_json::{Value, json};
use tests::token::{SECRET, hs256, in_seconds, pkcs8, verifies};
use tests::{Home, Proxyd, Request, Start, Upstream, eventually};

use super::combining::{outcome, seen, value};

const JWKS: &str = "/.well-known/proxyd/jwks.json";

fn yaml(keys: &str, upstream: &Upstream) -> String {
    format!(
        "identity:\n  jwt: {{main: {{keys: {{secret: '{SECRET}'}}}}}}\n  send: {{token: {{audience: inner}}}}\n{keys}\
         auth: jwt.main\nroutes:\n  - {{path: /, target: '{}'}}\n",
        upstream.url()
    )
}

/// The token of ours that goes upstream.
fn minted(proxyd: &Proxyd, more: &Value) -> String {
    let request = Request::get("/").header("Authorization", &format!("Bearer {}", hs256("alice", more)));
    value(&seen(&request.send(proxyd.address())), "x-identity-token").concat()
}

fn published(proxyd: &Proxyd) -> Value {
    proxyd.get(JWKS).json()
}

fn kids(keys: &Value) -> Vec<&str> {
    keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap()).collect()
}

#[test]
fn proxies_with_one_key_take_each_others_tokens() {
    let (upstream, shared) = (Upstream::echo(), Home::default());
    let file = shared.write("signing.pem", &pkcs8());
    let keys = format!("  signing_keys: {}\n", file.display());
    let (one, other) = (Proxyd::start(&yaml(&keys, &upstream)), Proxyd::start(&yaml(&keys, &upstream)));
    assert_eq!(published(&one), published(&other));
    assert_eq!(kids(&published(&one)).len(), 1);
    let alone = Proxyd::start(&yaml("", &upstream));
    assert_ne!(published(&alone), published(&one), "without keys each has its own");
    // Whoever reads the keys of one takes the tokens of both, such as a proxy further inside.
    let inner = Proxyd::start(&format!(
        "identity: {{jwt: {{outer: {{keys: {{jwks_url: 'http://{}{JWKS}'}}, audience: inner, from: {{header: x-identity-token}}}}}}}}\n\
         auth: jwt.outer\nroutes:\n  - {{path: /, respond: {{status: 200, body: in}}}}\n",
        other.address()
    ));
    let ask = |token: &str| outcome(&Request::get("/").header("X-Identity-Token", token).send(inner.address()));
    let token = minted(&one, &json!({}));
    eventually("the keys were fetched", || (ask(&token) == "200").then_some(()));
    assert_eq!(
        (&*ask(&minted(&other, &json!({}))), &*ask(&minted(&alone, &json!({})))),
        ("200", "401 token_key_unknown")
    );
}

#[test]
fn keys_are_changed_without_losing_anybody() {
    let upstream = Upstream::echo();
    let start = Start::new(&yaml("  signing_keys: [old.pem]\n", &upstream));
    start.home().write("old.pem", &pkcs8());
    let proxyd = start.run();
    let (old, before) = (minted(&proxyd, &json!({})), published(&proxyd));
    // First it is published, then it signs, then the old one goes.
    proxyd.home().write("new.pem", &pkcs8());
    proxyd.reload_with(&yaml("  signing_keys: [old.pem, new.pem]\n", &upstream));
    let both = published(&proxyd);
    assert_eq!((kids(&both).len(), kids(&both)[0]), (2, kids(&before)[0]));
    assert!(verifies(&minted(&proxyd, &json!({})), &before));
    proxyd.reload_with(&yaml("  signing_keys: [new.pem, old.pem]\n", &upstream));
    let new = minted(&proxyd, &json!({}));
    assert!(verifies(&new, &both) && !verifies(&new, &before) && verifies(&old, &published(&proxyd)));
    // A file that cannot be used changes nothing, and is not shown.
    proxyd.home().write("old.pem", "s3cret");
    let refused = proxyd.try_ask("reload", &json!({})).unwrap_err().to_string();
    assert!(refused.contains("old.pem: holds no private key in PEM") && !refused.contains("s3cret"), "{refused}");
    assert!(verifies(&minted(&proxyd, &json!({})), &both));
    proxyd.reload_with(&yaml("  signing_keys: [new.pem]\n", &upstream));
    assert_eq!(kids(&published(&proxyd)), [kids(&both)[1]]);
}

#[test]
fn a_token_of_ours_ends_with_what_it_rests_on() {
    let upstream = Upstream::echo();
    let proxyd = Proxyd::start(&yaml("", &upstream).replace("audience: inner", "lasts: 1h"));
    let end = |more: Value| {
        let claims: Value = serde_json::from_slice(&tests::token::payload(&minted(&proxyd, &more))).unwrap();
        claims["exp"].as_i64().unwrap() - in_seconds(0)
    };
    // By default 30 seconds of leeway.
    let soon = end(json!({"exp": in_seconds(100)}));
    assert!((120..=130).contains(&soon), "{soon}");
    let late = end(json!({"exp": in_seconds(100_000)}));
    assert!((3590..=3600).contains(&late), "{late}");
}

#[test]
fn several_together_are_told_by_one_token_as_well() {
    let upstream = Upstream::echo();
    let proxyd = Proxyd::start(
        &yaml("  api_key: on\n", &upstream).replace("auth: jwt.main", "auth: {all_of: [jwt.main, api_key]}"),
    );
    let key = |name: &str| proxyd.ask("keys_create", &json!({"name": name}))["key"].as_str().unwrap().to_owned();
    let (one, other, token) = (key("one"), key("other"), format!("Bearer {}", hs256("alice", &json!({}))));
    let told = |key: &str| {
        let request = Request::get("/").header("Authorization", &token).header("X-API-Key", key);
        value(&seen(&request.send(proxyd.address())), "x-identity-token").concat()
    };
    let first = told(&one);
    assert_eq!(told(&one), first, "it is made anew when half of its time has gone by");
    assert_ne!(told(&other), first);
}
