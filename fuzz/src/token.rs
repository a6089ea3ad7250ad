//! What must hold for any bytes that somebody brings as a token, as its claims, or as a set of keys.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use proxyd::identity::claims::Claims;
use proxyd::identity::jwt::{Checked, Revocations, Verifier};
use proxyd::identity::mint::{Mint, TokenType};
use shared::config::Secret;
use shared::config::identity::{Jwt, JwtKeys};

const SECRET: &str = "a-secret-of-this-target-that-no-input-was-signed-with";
const NOW_S: i64 = 1_000_000_000;

#[derive(Debug)]
struct Nothing;

impl Revocations for Nothing {
    fn epoch(&self) -> u64 {
        0
    }

    fn is_revoked(&self, _: &str, _: &str) -> bool {
        false
    }
}

fn verifier(keys: JwtKeys) -> Result<Arc<Verifier>, String> {
    let config = Jwt {
        name: "main".into(),
        from: Vec::new(),
        keys,
        algorithms: Vec::new(),
        issuer: None,
        audience: Vec::new(),
        leeway: Duration::from_secs(30),
        require: Vec::new(),
        require_exp: false,
        max_age: None,
        user_claim: "sub".into(),
        roles_claim: "roles".into(),
        scopes_claim: "scope".into(),
    };
    let revoked: Arc<dyn Revocations> = Arc::new(Nothing);
    Verifier::compile(&Arc::new(config), None, &revoked)
}

/// As a token it is refused. What is read as claims is what another reader reads; signed, it is somebody with a name or refused. As
/// a set of keys it lets nobody in.
pub fn token(bytes: &[u8]) {
    static CHECKS: LazyLock<Arc<Verifier>> =
        LazyLock::new(|| verifier(JwtKeys::Secret(Secret::new(SECRET))).expect("a verifier"));
    static MINT: LazyLock<Mint> = LazyLock::new(|| Mint::hs256(SECRET.as_bytes()).expect("a mint"));
    static FILE: LazyLock<PathBuf> =
        LazyLock::new(|| std::env::temp_dir().join(format!("proxyd-fuzz-{}.json", std::process::id())));
    assert!(matches!(CHECKS.check(bytes, NOW_S), Checked::Denied(_)));
    if let Ok(claims) = Claims::parse(bytes) {
        let read: serde_json::Value = serde_json::from_slice(bytes).expect("JSON");
        assert_eq!(read.as_object(), Some(&claims.0));
        let signed = MINT.sign(TokenType::Jwt, &claims).expect("a token");
        if let Checked::Good(verified) = CHECKS.check(signed.as_bytes(), NOW_S) {
            assert!((1..=256).contains(&verified.user.len()) && !verified.user.chars().any(char::is_control));
            assert!((verified.from_s..verified.until_s).contains(&NOW_S));
        }
    }
    std::fs::write(&*FILE, bytes).expect("a file");
    if let Ok(keys) = verifier(JwtKeys::JwksFile(FILE.clone())) {
        let signed = MINT.sign(TokenType::Jwt, &Claims::default()).expect("a token");
        assert!(matches!(keys.check(signed.as_bytes(), NOW_S), Checked::Denied(_)));
        assert!(keys.counts().keys > 0);
    }
}
