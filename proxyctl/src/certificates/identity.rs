//! The files that `identity` names: public keys of issuers, and users with their hashes.

use std::path::Path;

use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use shared::config::{Identity, Severity, identity::JwtKeys};

use super::{Fault, Work, certificates, not_pem, read};

/// How a key of Ed25519 says what it is (RFC 8410).
const ED25519: &[u8] = &[6, 3, 0x2b, 0x65, 0x70];

/// The most keys of one set.
const MAX_KEYS: usize = 100;

impl Work {
    /// Reads them all.
    pub(super) fn identity(&mut self, identity: &Identity) {
        for jwt in &identity.jwt {
            let at = ["identity", "jwt", &*jwt.name, "keys"];
            match &jwt.keys {
                JwtKeys::Pem(file) => self.public_key(&[&at[..], &["pem"]].concat(), file),
                JwtKeys::JwksFile(file) => self.one(&[&at[..], &["jwks_file"]].concat(), file, key_set),
                JwtKeys::Secret(_) | JwtKeys::JwksUrl { .. } => {}
            }
        }
        if let Some(file) = identity.basic.as_ref().and_then(|basic| basic.users_file.as_ref()) {
            self.one(&["identity", "basic", "users_file"], file, users);
        }
        self.signing_keys(identity);
    }

    /// Keys that tokens are signed with, as far as their form tells.
    fn signing_keys(&mut self, identity: &Identity) {
        for (index, file) in identity.signing_keys.iter().enumerate() {
            self.one(&["identity", "signing_keys", &index.to_string()], file, signing_key);
        }
    }

    fn one(&mut self, at: &[&str], file: &Path, judge: fn(&[u8]) -> Result<(), Fault>) {
        self.examined.files += 1;
        if let Err(fault) = read(file).and_then(|text| judge(&text)) {
            self.note(Severity::Error, at, file, fault);
        }
    }

    /// A public key, or a certificate that holds one.
    fn public_key(&mut self, at: &[&str], file: &Path) {
        self.one(at, file, public_key);
        // Whoever issues tokens decides how long its certificate is good for: it is only said.
        if let Ok(found) = certificates(file, "certificate") {
            self.age(at, file, found.iter().map(|one| one.end_s).min(), "a certificate that");
        }
    }
}

fn signing_key(text: &[u8]) -> Result<(), Fault> {
    let hint = "`openssl genpkey -algorithm ed25519` makes one";
    // Bare, as the state folder keeps one, or in PEM.
    let der = if text.first() == Some(&0x30) {
        text.to_vec()
    } else {
        let key = PrivatePkcs8KeyDer::from_pem_slice(text);
        key.map_err(|_| Fault::invalid("holds no private key in PKCS#8").hint(hint))?.secret_pkcs8_der().to_vec()
    };
    if der.windows(ED25519.len()).any(|window| window == ED25519) {
        return Ok(());
    }
    Err(Fault::invalid("holds a private key, but not of Ed25519").hint(hint))
}

fn public_key(text: &[u8]) -> Result<(), Fault> {
    let holds = |label: &[u8]| text.windows(label.len()).any(|window| window == label);
    if holds(b"PRIVATE KEY-----") {
        return Err(Fault::invalid("holds a private key: whoever reads this file could sign tokens")
            .hint("put its public half there: `openssl pkey -in KEY -pubout -out PUBLIC`"));
    }
    if holds(b"-----BEGIN CERTIFICATE-----") || holds(b"-----BEGIN RSA PUBLIC KEY-----") {
        return Ok(());
    }
    SubjectPublicKeyInfoDer::from_pem_slice(text).map(|_| ()).map_err(|error| {
        if !matches!(error, PemError::NoItemsFound) {
            return not_pem(&error);
        }
        Fault::invalid("holds no public key")
            .hint("it must be PEM: a block that begins with `-----BEGIN PUBLIC KEY-----`")
    })
}

fn key_set(text: &[u8]) -> Result<(), Fault> {
    // What serde_json says quotes no value.
    let set: serde_json::Value =
        serde_json::from_slice(text).map_err(|error| Fault::invalid(format!("is not JSON (line {})", error.line())))?;
    let keys = set.get("keys").and_then(serde_json::Value::as_array);
    let Some(keys) = keys.filter(|keys| !keys.is_empty() && keys.len() <= MAX_KEYS) else {
        return Err(Fault::invalid(format!("is no set of 1 to {MAX_KEYS} keys"))
            .hint("it must be a JWKS (RFC 7517): `{\"keys\": [{\"kty\": …}]}`"));
    };
    for (index, key) in keys.iter().enumerate() {
        let number = index + 1;
        match key.get("kty").and_then(serde_json::Value::as_str) {
            None => return Err(Fault::invalid(format!("holds a key without `kty` (the {number}. in it)"))),
            // A secret in a file is for this proxy alone.
            Some("oct") => {}
            Some(_) if key.get("d").is_some() => {
                let message =
                    format!("holds a private key (the {number}. in it): whoever reads this file could sign tokens");
                return Err(Fault::invalid(message).hint("take `d` and all that follows from it out"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn users(text: &[u8]) -> Result<(), Fault> {
    let text = std::str::from_utf8(text).map_err(|_| Fault::invalid("is not UTF-8 text"))?;
    let lines = (1_usize..).zip(text.lines()).map(|(number, line)| (number, line.trim()));
    for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let hash = line.split_once(':').filter(|(name, _)| !name.is_empty()).map(|(_, hash)| hash);
        let Some(hash) = hash else {
            return Err(Fault::invalid(format!("has a line that is not `name:hash` (line {number})")));
        };
        if !["$argon2id$", "$2a$", "$2b$", "$2y$"].iter().any(|start| hash.starts_with(start)) {
            return Err(Fault::invalid(format!("has a hash that is not taken (line {number})"))
                .hint("argon2id or bcrypt: `htpasswd -B` or `proxyctl hash-password` makes one"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(judge: fn(&[u8]) -> Result<(), Fault>, text: &str, expected: Option<&str>) {
        assert_eq!(judge(text.as_bytes()).err().map(|fault| fault.message).as_deref(), expected, "{text}");
    }

    #[test]
    fn keys_are_public() {
        let key = rcgen::KeyPair::generate().unwrap();
        let private = "holds a private key: whoever reads this file could sign tokens";
        check(public_key, &key.serialize_pem(), Some(private));
        check(public_key, &format!("{}{}", key.public_key_pem(), key.serialize_pem()), Some(private));
        check(public_key, "abc", Some("holds no public key"));
        check(public_key, &key.public_key_pem(), None);
        check(key_set, "{", Some("is not JSON (line 1)"));
        check(key_set, "{\"keys\": []}", Some("is no set of 1 to 100 keys"));
        check(key_set, "{\"keys\": [{}]}", Some("holds a key without `kty` (the 1. in it)"));
        check(key_set, "{\"keys\": [{\"kty\": \"RSA\"}, {\"kty\": \"oct\", \"k\": \"s3cret\"}]}", None);
        check(
            key_set,
            "{\"keys\": [{\"kty\": \"RSA\", \"d\": \"s3cret\"}]}",
            Some("holds a private key (the 1. in it): whoever reads this file could sign tokens"),
        );
        check(key_set, "{\"keys\": [{\"kty\": \"OKP\"}]}", None);
    }

    #[test]
    fn tokens_are_signed_with_ed25519() {
        let key = |algorithm| rcgen::KeyPair::generate_for(algorithm).unwrap();
        let good = key(&rcgen::PKCS_ED25519);
        check(signing_key, &good.serialize_pem(), None);
        assert!(signing_key(&good.serialize_der()).is_ok());
        check(signing_key, &good.public_key_pem(), Some("holds no private key in PKCS#8"));
        let other = key(&rcgen::PKCS_ECDSA_P256_SHA256);
        check(signing_key, &other.serialize_pem(), Some("holds a private key, but not of Ed25519"));
        check(signing_key, "", Some("holds no private key in PKCS#8"));
    }

    #[test]
    fn users_have_hashes_that_are_taken() {
        check(users, "ann", Some("has a line that is not `name:hash` (line 1)"));
        check(users, "# x\n\n:$2y$x", Some("has a line that is not `name:hash` (line 3)"));
        check(users, "ann:$2y$x\nbob:{SHA}x", Some("has a hash that is not taken (line 2)"));
        check(users, "ann:$2y$x\n# bob\n bob:$argon2id$x\n", None);
    }
}
