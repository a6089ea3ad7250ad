//! JSON Web Tokens as an issuer makes them, and as no issuer would.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::{hmac, rand, signature};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use signature::KeyPair;

/// The secret of [`hs256`], as long as HS256 asks for.
pub const SECRET: &str = "an-hmac-secret-of-thirty-two-bytes";

/// Seconds since the epoch, and so many more.
#[must_use]
pub fn in_seconds(more: i64) -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64) + more
}

/// Claims that are good for a minute, with `more` over them; a null takes one away.
#[must_use]
pub fn claims(user: &str, more: &Value) -> Value {
    let mut claims = json!({"iss": "issuer", "aud": "api", "sub": user, "exp": in_seconds(60)});
    if let (Some(claims), Some(more)) = (claims.as_object_mut(), more.as_object()) {
        for (name, value) in more {
            claims.insert(name.clone(), value.clone());
        }
        claims.retain(|_, value| !value.is_null());
    }
    claims
}

/// `header.claims`, to be signed.
#[must_use]
pub fn message(header: &Value, claims: &Value) -> String {
    format!("{}.{}", part(header.to_string()), part(claims.to_string()))
}

/// Base64url without padding.
pub fn part(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Signed by HMAC with this secret, whatever the header says.
#[must_use]
pub fn hmac(secret: &[u8], header: &Value, claims: &Value) -> String {
    let message = message(header, claims);
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let signature = part(hmac::sign(&key, message.as_bytes()));
    format!("{message}.{signature}")
}

/// A good token of [`SECRET`].
#[must_use]
pub fn hs256(user: &str, more: &Value) -> String {
    hmac(SECRET.as_bytes(), &json!({"alg": "HS256", "typ": "JWT"}), &claims(user, more))
}

/// A private key of Ed25519 in PEM, as `openssl genpkey` writes it.
#[must_use]
pub fn pkcs8() -> String {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
    pair.serialize_pem()
}

/// A key pair of Ed25519.
#[derive(Debug)]
pub struct EdKey {
    pair: signature::Ed25519KeyPair,
    pub kid: String,
}

impl EdKey {
    #[must_use]
    pub fn new(kid: &str) -> Self {
        let pkcs8 = signature::Ed25519KeyPair::generate_pkcs8(&rand::SystemRandom::new()).expect("a key");
        let pair = signature::Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("a key");
        Self { pair, kid: kid.to_owned() }
    }

    /// The public half, as a JWKS tells it.
    #[must_use]
    pub fn jwk(&self) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "x": part(self.pair.public_key()), "kid": self.kid, "use": "sig", "alg": "EdDSA"})
    }

    /// A token with this header and these claims.
    #[must_use]
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let signature = part(self.pair.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    /// A good token.
    #[must_use]
    pub fn token(&self, user: &str, more: &Value) -> String {
        self.sign(&json!({"alg": "EdDSA", "kid": self.kid}), &claims(user, more))
    }

    /// The raw public key: what RS-to-HS confusion would take for a secret.
    #[must_use]
    pub fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }
}

/// The claims of a token, unchecked.
#[must_use]
pub fn payload(token: &str) -> Vec<u8> {
    token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok()).unwrap_or_default()
}

/// Whether a token is signed by one of the keys (Ed25519) of a JWKS.
#[must_use]
pub fn verifies(token: &str, jwks: &Value) -> bool {
    let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
    let (message, sign) = token.rsplit_once('.').unwrap_or_default();
    let holds = |key: &Value| {
        let key = decoded(key["x"].as_str().unwrap_or_default());
        let key = signature::UnparsedPublicKey::new(&signature::ED25519, key);
        key.verify(message.as_bytes(), &decoded(sign)).is_ok()
    };
    jwks["keys"].as_array().is_some_and(|keys| keys.iter().any(holds))
}
