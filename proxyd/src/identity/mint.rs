//! Tokens of our own: signed here, and the key set to check them with.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::claims::Claims;
use super::jwt::KeySet;

/// The shortest secret for HS256 (RFC 7518 section 3.2).
const SHORTEST_SECRET: usize = 32;

/// Signs tokens with one key, and knows those that others were signed with.
pub struct Mint {
    key: Key,
    /// The key's thumbprint (RFC 7638); none for a shared secret, of which it would give something away.
    kid: Option<Box<str>>,
    jwks: Box<str>,
    keys: Arc<KeySet>,
}

enum Key {
    EdDsa(Box<Ed25519KeyPair>),
    Hs256(Box<hmac::Key>),
}

/// A key of the public kind.
struct Pair {
    pair: Ed25519KeyPair,
    kid: Box<str>,
}

impl Pair {
    fn read(pkcs8: &[u8]) -> Result<Self, MintError> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| MintError::Key)?;
        let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        // The members in this order and nothing else: RFC 7638 section 3, RFC 8037 section 2.
        let thumbprint = digest(&SHA256, format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#).as_bytes());
        Ok(Self { pair, kid: URL_SAFE_NO_PAD.encode(thumbprint.as_ref()).into() })
    }

    fn jwk(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.pair.public_key().as_ref());
        json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": self.kid, "use": "sig", "alg": "EdDSA"})
    }
}

/// What a token is for, told in its header: one kind is never taken for another (RFC 8725 section 3.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    /// Of no particular kind.
    Jwt,
    /// RFC 9068.
    Access,
}

/// Why nothing is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    #[error("the signing key is not an Ed25519 key in PKCS#8")]
    Key,
    #[error("the secret is shorter than {SHORTEST_SECRET} bytes")]
    Short,
    #[error("the system gave no randomness for a key")]
    Random,
    #[error("the token could not be signed")]
    Sign,
}

impl Mint {
    /// Signs with an Ed25519 key (RFC 8037), in PKCS#8.
    pub fn ed_dsa(pkcs8: &[u8]) -> Result<Self, MintError> {
        Self::ed_dsa_of(std::iter::once(pkcs8))
    }

    /// Signs with the first of these. Tokens of the others are checked too: they are those of before, or of what comes after.
    pub fn ed_dsa_of<'a>(keys: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, MintError> {
        let pairs: Vec<Pair> = keys.into_iter().map(Pair::read).collect::<Result<_, _>>()?;
        let jwks = json!({"keys": pairs.iter().map(Pair::jwk).collect::<Vec<_>>()}).to_string().into();
        let public = pairs.iter().map(|pair| (pair.pair.public_key().as_ref(), &*pair.kid));
        let keys = KeySet::of_ed25519(public).map_err(|_| MintError::Key)?;
        let first = pairs.into_iter().next().ok_or(MintError::Key)?;
        Ok(Self { key: Key::EdDsa(Box::new(first.pair)), kid: Some(first.kid), jwks, keys: Arc::new(keys) })
    }

    /// Signs with a shared secret.
    pub fn hs256(secret: &[u8]) -> Result<Self, MintError> {
        if secret.len() < SHORTEST_SECRET {
            return Err(MintError::Short);
        }
        let key = Key::Hs256(Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret)));
        let keys = KeySet::of_secret(secret).map_err(|_| MintError::Short)?;
        Ok(Self { key, kid: None, jwks: r#"{"keys":[]}"#.into(), keys: Arc::new(keys) })
    }

    /// A new Ed25519 key in PKCS#8, to be kept.
    pub fn generate() -> Result<Vec<u8>, MintError> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| MintError::Random)?;
        Ok(document.as_ref().to_vec())
    }

    /// A token with these claims.
    pub fn sign(&self, kind: TokenType, claims: &Claims) -> Result<String, MintError> {
        let typ = match kind {
            TokenType::Jwt => "JWT",
            TokenType::Access => "at+jwt",
        };
        let mut header = json!({"typ": typ, "alg": self.algorithm()});
        if let (Some(kid), Some(header)) = (&self.kid, header.as_object_mut()) {
            header.insert("kid".to_owned(), Value::from(&**kid));
        }
        let mut token = URL_SAFE_NO_PAD.encode(header.to_string());
        token.push('.');
        let body = serde_json::to_vec(&claims.0).map_err(|_| MintError::Sign)?;
        URL_SAFE_NO_PAD.encode_string(body, &mut token);
        let signature = match &self.key {
            Key::EdDsa(pair) => {
                let signature = pair.try_sign(token.as_bytes()).map_err(|_| MintError::Sign)?;
                URL_SAFE_NO_PAD.encode(signature.as_ref())
            }
            Key::Hs256(key) => URL_SAFE_NO_PAD.encode(hmac::sign(key, token.as_bytes()).as_ref()),
        };
        token.push('.');
        token.push_str(&signature);
        Ok(token)
    }

    /// The public keys that its tokens are checked with (RFC 7517); none where the key is a secret.
    pub fn jwks(&self) -> &str {
        &self.jwks
    }

    /// The name of the key that it signs with, if it has one.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// What its tokens are checked with here.
    pub(super) fn keys(&self) -> &Arc<KeySet> {
        &self.keys
    }

    fn algorithm(&self) -> &'static str {
        match &self.key {
            Key::EdDsa(_) => "EdDSA",
            Key::Hs256(_) => "HS256",
        }
    }
}

/// Never the key.
impl fmt::Debug for Mint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mint").field("algorithm", &self.algorithm()).field("kid", &self.kid).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037 appendix A.1, in PKCS#8 (RFC 8410).
    fn rfc_8037() -> Vec<u8> {
        let d = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        let mut pkcs8 = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        pkcs8.extend_from_slice(&d);
        pkcs8
    }

    #[test]
    fn a_key_is_named_by_its_thumbprint() {
        let mint = Mint::ed_dsa(&rfc_8037()).unwrap();
        // RFC 8037 appendices A.2 and A.3.
        let expected = json!({"keys": [{
            "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
        }]});
        assert_eq!(serde_json::from_str::<Value>(mint.jwks()).unwrap(), expected);
    }

    #[test]
    fn a_token_is_signed() {
        let claims = Claims::parse(br#"{"sub":"ada"}"#).unwrap();
        let secret = [7; 32];
        let key = aws_lc_rs::hmac::Key::new(hmac::HMAC_SHA256, &secret);
        for (mint, header) in [
            (Mint::hs256(&secret).unwrap(), json!({"alg": "HS256", "typ": "at+jwt"})),
            (
                Mint::ed_dsa(&rfc_8037()).unwrap(),
                json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"}),
            ),
        ] {
            let token = mint.sign(TokenType::Access, &claims).unwrap();
            let (message, signature) = token.rsplit_once('.').unwrap();
            let (head, body) = message.split_once('.').unwrap();
            let read = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
            assert_eq!((read(head), read(body)), (header, json!({"sub": "ada"})));
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            match &mint.key {
                Key::Hs256(_) => hmac::verify(&key, message.as_bytes(), &signature).unwrap(),
                Key::EdDsa(pair) => {
                    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
                    UnparsedPublicKey::new(&ED25519, pair.public_key().as_ref())
                        .verify(message.as_bytes(), &signature)
                        .unwrap();
                }
            }
        }
    }

    #[test]
    fn a_bad_key_is_refused_and_none_is_shown() {
        assert_eq!(Mint::hs256(&[0; 31]).err(), Some(MintError::Short));
        assert_eq!(Mint::ed_dsa(b"no key").err(), Some(MintError::Key));
        let kept = Mint::generate().unwrap();
        assert_ne!(kept, Mint::generate().unwrap());
        let shown = format!("{:?}", Mint::ed_dsa(&kept).unwrap());
        assert!(shown.starts_with("Mint { algorithm: \"EdDSA\""), "{shown}");
    }
}
