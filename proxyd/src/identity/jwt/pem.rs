//! Public keys and certificates in PEM (RFC 7468).

use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521, OID_PKCS1_RSAENCRYPTION,
    OID_SIG_ED25519,
};
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::{PublicKey, RSAPublicKey};
use x509_parser::x509::SubjectPublicKeyInfo;

use super::key::{Key, KeyFault, Label};
use super::key_set::KeySet;

/// More keys in one file are a mistake.
const MAX_KEYS: usize = 100;

/// Reads every key of a file. A certificate counts for the key in it: it is the file that is believed, not who signed it.
pub(super) fn read(text: &[u8]) -> Result<KeySet, String> {
    let mut keys = Vec::new();
    for pem in Pem::iter_from_buffer(text) {
        let pem = pem.map_err(|_| "is not PEM".to_owned())?;
        if keys.len() == MAX_KEYS {
            return Err(format!("holds more than {MAX_KEYS} keys"));
        }
        keys.push(key(&pem)?);
    }
    if keys.is_empty() {
        return Err("holds no public key in PEM (`-----BEGIN PUBLIC KEY-----`)".to_owned());
    }
    Ok(KeySet::new(keys))
}

fn key(pem: &Pem) -> Result<Key, String> {
    let unreadable = |what: &str| format!("holds a {what} that cannot be read");
    let fault = |fault: KeyFault| format!("cannot be used: {fault}");
    match &*pem.label {
        "PUBLIC KEY" => {
            let (_, spki) = SubjectPublicKeyInfo::from_der(&pem.contents).map_err(|_| unreadable("public key"))?;
            of_spki(&spki).map_err(fault)
        }
        "CERTIFICATE" => {
            let (_, certificate) = X509Certificate::from_der(&pem.contents).map_err(|_| unreadable("certificate"))?;
            of_spki(certificate.public_key()).map_err(fault)
        }
        "RSA PUBLIC KEY" => {
            let (_, key) = RSAPublicKey::from_der(&pem.contents).map_err(|_| unreadable("public key"))?;
            Key::rsa(key.modulus, key.exponent, Label::default()).map_err(fault)
        }
        label if label.ends_with("PRIVATE KEY") => {
            Err("holds a private key: tokens are checked with the public one, and the private one belongs to who signs"
                .to_owned())
        }
        label => {
            let label: String = label.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(40).collect();
            Err(format!("holds `{label}`; a public key or a certificate is needed"))
        }
    }
}

fn of_spki(spki: &SubjectPublicKeyInfo<'_>) -> Result<Key, KeyFault> {
    let algorithm = &spki.algorithm.algorithm;
    let public = spki.subject_public_key.data.as_ref();
    if *algorithm == OID_PKCS1_RSAENCRYPTION {
        return match spki.parsed() {
            Ok(PublicKey::RSA(key)) => Key::rsa(key.modulus, key.exponent, Label::default()),
            Ok(_) | Err(_) => Err(KeyFault::Kind),
        };
    }
    if *algorithm == OID_SIG_ED25519 {
        return Key::ed25519(public, Label::default());
    }
    let curve = spki.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
    match curve {
        Some(curve) if *algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY && curve == OID_EC_P256 => {
            Key::p256(public, Label::default())
        }
        Some(curve) if *algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY && curve == OID_NIST_EC_P384 => {
            Key::p384(public, Label::default())
        }
        Some(curve) if *algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY && curve == OID_NIST_EC_P521 => {
            Key::p521(public, Label::default())
        }
        Some(_) | None => Err(KeyFault::Kind),
    }
}
