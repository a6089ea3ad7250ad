//! What a check costs: shown, not judged, for it depends on the machine and the build. `TOKENS=100000` measures longer.

use std::time::Instant;

use serde_json::json;

use super::*;

fn each(times: u32, mut act: impl FnMut(u32)) -> u128 {
    let began = Instant::now();
    (0..times).for_each(&mut act);
    began.elapsed().as_nanos() / u128::from(times.max(1))
}

#[test]
fn what_checks_cost() {
    let times: u32 = std::env::var("TOKENS").ok().and_then(|times| times.parse().ok()).unwrap_or(20);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    for (algorithm, signer) in [
        ("HS256", Signer::secret(SECRET)),
        ("RS256", Signer::rsa()),
        ("PS256", Signer::rsa()),
        ("ES256", Signer::p256()),
        ("ES384", Signer::p384()),
        ("ES512", Signer::p521()),
        ("EdDSA", Signer::ed25519()),
    ] {
        std::fs::write(&path, json!({"keys": [signer.jwk(Some("a"))]}).to_string()).unwrap();
        let verifier = verifier(config(JwtKeys::JwksFile(path.clone())));
        let claims = |number: u32| {
            with(json!({"jti": number, "iss": "https://id.example.com", "aud": ["api"], "iat": NOW, "nbf": NOW,
                "email": "ada@example.com", "scope": "read write", "roles": ["admin", "user"], "jti": format!("t{number}")}))
        };
        let rounds = times.min(2000);
        let tokens: Vec<String> =
            (0..rounds).map(|number| signer.token(algorithm, Some("a"), &claims(number))).collect();
        let fresh = each(rounds, |number| {
            let token = &tokens[number as usize];
            assert!(matches!(verifier.check(token.as_bytes(), NOW), Checked::Good(_)));
        });
        let token = tokens[0].as_bytes();
        let cached = each(times, |_| assert!(matches!(verifier.check(token, NOW), Checked::Good(_))));
        println!("{algorithm}: {fresh} ns the first time, {cached} ns again ({} bytes)", token.len());
    }
}
