//! What an issuer's answer is held to, and how long it stands.

use serde_json::{Value, json};
use shared::config::identity::Identity;

use super::*;
use crate::identity::mint::Mint;
use crate::identity::state::State;

const NOW_S: i64 = 1_000_000;

fn config() -> Introspection {
    Introspection {
        url: "http://127.0.0.1/".into(),
        from: Vec::new(),
        client_id: None,
        client_secret: None,
        timeout: Duration::from_secs(1),
        cache: Duration::from_mins(1),
        issuer: Some("issuer".into()),
        audience: vec!["api".into()],
        leeway: Duration::from_secs(5),
        user_claim: "sub".into(),
        roles_claim: "roles".into(),
        scopes_claim: "scope".into(),
    }
}

/// What is made of an answer, and for how many seconds.
fn check(claims: Value, expected: Result<&str, Denial>, lasts_s: i64) {
    let revoked: Arc<dyn Revocations> = State::in_memory();
    let introspector = Introspector::new(&Arc::new(config()), &Send::default(), &revoked);
    let sends = Sends::compile(&Identity::default(), &Arc::new(Mint::hs256(&[7; 32]).unwrap()), 1);
    let mut all = json!({"active": true, "iss": "issuer", "aud": "api", "sub": "ada"});
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    let answered = introspector.judge(&Claims::parse(all.to_string().as_bytes()).unwrap(), &sends, NOW_S);
    let told = answered.verdict.as_ref().map(|principal| &*principal.user).map_err(|denial| *denial);
    assert_eq!((told, answered.until_s - NOW_S), (expected, lasts_s), "{claims}");
}

#[test]
fn times_are_those_of_a_jwt() {
    check(json!({}), Ok("ada"), 60);
    check(json!({"exp": null, "nbf": null}), Ok("ada"), 60);
    check(json!({"exp": NOW_S + 10}), Ok("ada"), 15);
    check(json!({"exp": NOW_S + 1000}), Ok("ada"), 60);
    check(json!({"exp": NOW_S - 4}), Ok("ada"), 1);
    check(json!({"exp": NOW_S - 5}), Err(Denial::TokenExpired), 60);
    for exp in [json!("1"), json!("soon"), json!([NOW_S]), json!(-1), json!(1e300), json!(true)] {
        check(json!({ "exp": exp }), Err(Denial::TokenClaims), 60);
        check(json!({ "nbf": exp }), Err(Denial::TokenClaims), 60);
    }
    check(json!({"nbf": NOW_S + 5}), Ok("ada"), 60);
    // What will be good is looked at again when it is.
    check(json!({"nbf": NOW_S + 15}), Err(Denial::TokenNotYetValid), 10);
    check(json!({"iat": NOW_S + 15}), Err(Denial::TokenNotYetValid), 10);
    check(json!({"nbf": NOW_S + 1000}), Err(Denial::TokenNotYetValid), 60);
}

#[test]
fn claims_are_held_to_what_they_are_in_a_jwt() {
    for aud in [json!("other api"), json!("api other"), json!(["other"]), json!(["api", 1]), json!(null), json!(7)] {
        check(json!({ "aud": aud }), Err(Denial::TokenAudience), 60);
    }
    check(json!({"aud": ["other", "api"]}), Ok("ada"), 60);
    check(json!({"iss": ["issuer"]}), Err(Denial::TokenIssuer), 60);
    for sub in [json!(""), json!("a\nb"), json!("x".repeat(257)), json!(["ada"])] {
        check(json!({ "sub": sub }), Err(Denial::TokenClaims), 60);
    }
    for jti in [json!(""), json!(" a"), json!("x".repeat(257))] {
        check(json!({ "jti": jti }), Err(Denial::TokenClaims), 60);
    }
    check(json!({"jti": "x".repeat(256)}), Ok("ada"), 60);
}

#[test]
fn a_client_is_no_person_of_the_same_name() {
    check(json!({"sub": null, "client_id": "admin"}), Ok("client:admin"), 60);
    check(json!({"sub": "ada", "client_id": "admin"}), Ok("ada"), 60);
    check(json!({"sub": null, "client_id": ""}), Err(Denial::TokenClaims), 60);
    check(json!({"sub": null, "client_id": "x".repeat(250)}), Err(Denial::TokenClaims), 60);
    check(json!({"sub": null}), Err(Denial::TokenClaims), 60);
}
