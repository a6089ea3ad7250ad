//! Sets of keys (RFC 7517), from a file or from whoever signs.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::algorithm;
use super::key::{Key, Label, MAX_KID};
use super::key_set::KeySet;
use crate::identity::claims::Claims;

/// A larger set is not read.
pub(super) const MAX_BYTES: usize = 512 * 1024;

/// More keys in a set are none of ours.
const MAX_KEYS: usize = 100;

/// Where a set comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    File,
    /// Whoever can read a set there could sign with a secret in it: secrets are skipped.
    Url,
}

/// Reads a set. Keys for something else, or of kinds that are not taken, are skipped, as RFC 7517 section 5 asks; one key must
/// be left.
pub(super) fn read(json: &[u8], origin: Origin) -> Result<KeySet, String> {
    if json.len() > MAX_BYTES {
        return Err(format!("is larger than {MAX_BYTES} bytes"));
    }
    let set = Claims::parse(json).map_err(|error| format!("is no key set: {error}"))?;
    let Some(Value::Array(listed)) = set.0.get("keys") else {
        return Err("is no key set: it has no array `keys`".to_owned());
    };
    if listed.len() > MAX_KEYS {
        return Err(format!("holds more than {MAX_KEYS} keys"));
    }
    let mut skipped: Vec<String> = Vec::new();
    let mut keys = Vec::new();
    for jwk in listed {
        let jwk = jwk.as_object().ok_or_else(|| "a key is no object".to_owned());
        match jwk.and_then(|jwk| key(jwk, origin)) {
            Ok(key) => keys.push(key),
            Err(why) if !skipped.contains(&why) => skipped.push(why),
            Err(_) => {}
        }
    }
    if keys.is_empty() {
        let why = if skipped.is_empty() { "it is empty".to_owned() } else { skipped.join("; ") };
        return Err(format!("holds no key that can be used: {why}"));
    }
    Ok(KeySet::new(keys))
}

fn key(jwk: &Map<String, Value>, origin: Origin) -> Result<Key, String> {
    let told = label(jwk)?;
    let kty = text(jwk, "kty").ok_or_else(|| "a key has no `kty`".to_owned())?;
    let made = match (kty, text(jwk, "crv")) {
        ("RSA", _) => Key::rsa(&part(jwk, "n")?, &part(jwk, "e")?, told),
        ("EC", Some("P-256")) => Key::p256(&point(jwk, 32)?, told),
        ("EC", Some("P-384")) => Key::p384(&point(jwk, 48)?, told),
        ("EC", Some("P-521")) => Key::p521(&point(jwk, 66)?, told),
        ("OKP", Some("Ed25519")) => Key::ed25519(&part(jwk, "x")?, told),
        ("oct", _) if origin == Origin::Url => return Err("a shared secret in a set that others can read".to_owned()),
        ("oct", _) => Key::hmac(&part(jwk, "k")?, told),
        _ => return Err("a key's kind is not one that is taken".to_owned()),
    };
    made.map_err(|fault| fault.to_string())
}

/// Its name and what it is for. A key that is for something else is not ours.
fn label(jwk: &Map<String, Value>) -> Result<Label, String> {
    let kid = match jwk.get("kid") {
        None => None,
        Some(Value::String(kid)) if kid.len() <= MAX_KID => Some(kid.as_str().into()),
        Some(_) => return Err(format!("a key's `kid` is no text of up to {MAX_KID} bytes")),
    };
    if jwk.get("use").is_some_and(|used| *used != "sig") {
        return Err("a key is not for signatures (`use`)".to_owned());
    }
    let verifies = |operations: &Value| operations.as_array().is_some_and(|all| all.iter().any(|one| one == "verify"));
    if jwk.get("key_ops").is_some_and(|operations| !verifies(operations)) {
        return Err("a key is not for checking signatures (`key_ops`)".to_owned());
    }
    let only = match jwk.get("alg") {
        None => None,
        Some(named) => Some(
            named
                .as_str()
                .and_then(algorithm::parse)
                .ok_or_else(|| "a key's algorithm is not one that is taken".to_owned())?,
        ),
    };
    Ok(Label { kid, only })
}

fn text<'a>(jwk: &'a Map<String, Value>, member: &str) -> Option<&'a str> {
    jwk.get(member)?.as_str()
}

fn part(jwk: &Map<String, Value>, member: &str) -> Result<Vec<u8>, String> {
    let bytes = text(jwk, member).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    bytes.ok_or_else(|| format!("a key's `{member}` is no base64url"))
}

/// An uncompressed point; each coordinate in its full length (RFC 7518 section 6.2.1.2).
fn point(jwk: &Map<String, Value>, length: usize) -> Result<Vec<u8>, String> {
    let (x, y) = (part(jwk, "x")?, part(jwk, "y")?);
    if x.len() != length || y.len() != length {
        return Err("a key's coordinates have not the length of its curve".to_owned());
    }
    Ok([&[4], x.as_slice(), y.as_slice()].concat())
}
