//! A key that signatures are checked with: what it is fixes what it may be used for.

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519, ParsedPublicKey,
    VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use shared::config::identity::JwtAlgorithm;

use super::algorithm::{self, Family};

/// A longer `kid` is nobody's.
pub(super) const MAX_KID: usize = 256;

/// The shortest secret for any algorithm, in bytes.
const SHORTEST_SECRET: usize = 32;

/// Sizes of RSA moduli, in bits: smaller ones are broken (RFC 7518 section 3.3), larger ones only cost us.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Why a key is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeyFault {
    #[error("a secret is shorter than {SHORTEST_SECRET} bytes")]
    ShortSecret,
    #[error("an RSA key has not between {} and {} bits", RSA_BITS.start(), RSA_BITS.end())]
    RsaSize,
    #[error("an RSA key's exponent is not an odd number from 3 to 33 bits")]
    RsaExponent,
    #[error("a public key is no point of its curve")]
    Point,
    #[error("a key's kind is not one that is taken: RSA, P-256, P-384, P-521, Ed25519")]
    Kind,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) kid: Option<Box<str>>,
    family: Family,
    /// What it says itself that it is for.
    only: Option<JwtAlgorithm>,
    material: Material,
    /// Of all of the above: two keys with one print are the same key.
    print: [u8; 32],
}

/// What signatures are checked with.
enum Material {
    Library(DecodingKey),
    /// Of P-521, which the library does not know.
    Parsed(ParsedPublicKey),
}

/// What a key is called and for, where that is told with it.
#[derive(Clone, Debug, Default)]
pub(super) struct Label {
    pub(super) kid: Option<Box<str>>,
    pub(super) only: Option<JwtAlgorithm>,
}

impl Key {
    pub(super) fn hmac(secret: &[u8], label: Label) -> Result<Self, KeyFault> {
        if secret.len() < SHORTEST_SECRET {
            return Err(KeyFault::ShortSecret);
        }
        Ok(Self::new(Family::Hmac(secret.len()), DecodingKey::from_secret(secret).into(), &[secret], label))
    }

    /// From modulus and exponent, big-endian.
    pub(super) fn rsa(modulus: &[u8], exponent: &[u8], label: Label) -> Result<Self, KeyFault> {
        let (modulus, exponent) = (significant(modulus), significant(exponent));
        if !RSA_BITS.contains(&bits(modulus)) {
            return Err(KeyFault::RsaSize);
        }
        // With an exponent of 1 every signature would hold.
        let is_odd = exponent.last().is_some_and(|last| last % 2 == 1);
        if !is_odd || !(2..=33).contains(&bits(exponent)) {
            return Err(KeyFault::RsaExponent);
        }
        let material = DecodingKey::from_rsa_raw_components(modulus, exponent).into();
        Ok(Self::new(Family::Rsa, material, &[modulus, exponent], label))
    }

    /// From an uncompressed point (SEC 1 section 2.3.3).
    pub(super) fn p256(point: &[u8], label: Label) -> Result<Self, KeyFault> {
        Self::point(Family::P256, &ECDSA_P256_SHA256_FIXED, 65, point, label)
    }

    /// From an uncompressed point.
    pub(super) fn p384(point: &[u8], label: Label) -> Result<Self, KeyFault> {
        Self::point(Family::P384, &ECDSA_P384_SHA384_FIXED, 97, point, label)
    }

    /// From an uncompressed point.
    pub(super) fn p521(point: &[u8], label: Label) -> Result<Self, KeyFault> {
        Self::point(Family::P521, &ECDSA_P521_SHA512_FIXED, 133, point, label)
    }

    /// From a public key's 32 bytes (RFC 8032).
    pub(super) fn ed25519(public: &[u8], label: Label) -> Result<Self, KeyFault> {
        Self::point(Family::Ed25519, &ED25519, 32, public, label)
    }

    fn point(
        family: Family,
        check: &'static dyn VerificationAlgorithm,
        length: usize,
        point: &[u8],
        label: Label,
    ) -> Result<Self, KeyFault> {
        if point.len() != length {
            return Err(KeyFault::Point);
        }
        let parsed = ParsedPublicKey::new(check, point).map_err(|_| KeyFault::Point)?;
        let material = match family {
            Family::P521 => Material::Parsed(parsed),
            Family::Ed25519 => DecodingKey::from_ed_der(point).into(),
            Family::Hmac(_) | Family::Rsa | Family::P256 | Family::P384 => DecodingKey::from_ec_der(point).into(),
        };
        Ok(Self::new(family, material, &[point], label))
    }

    fn new(family: Family, material: Material, parts: &[&[u8]], label: Label) -> Self {
        let mut print = Context::new(&SHA256);
        let described = format!("{family:?} {:?} {:?}", label.only, label.kid);
        for part in std::iter::once(described.as_bytes()).chain(parts.iter().copied()) {
            print.update(&(part.len() as u64).to_le_bytes());
            print.update(part);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(print.finish().as_ref());
        Self { kid: label.kid, family, only: label.only, material, print: digest }
    }

    /// Whether it may be used so.
    pub(super) fn allows(&self, algorithm: JwtAlgorithm) -> bool {
        self.family.fits(algorithm) && self.only.is_none_or(|only| only == algorithm)
    }

    /// Whether a signature, in base64url, holds. The algorithm is one that it allows.
    pub(super) fn verify(&self, algorithm: JwtAlgorithm, message: &[u8], signature: &str) -> bool {
        if !self.allows(algorithm) {
            return false;
        }
        match (&self.material, algorithm::library(algorithm)) {
            (Material::Library(key), Some(algorithm)) => {
                jsonwebtoken::crypto::verify(signature, message, key, algorithm).unwrap_or(false)
            }
            (Material::Parsed(key), None) => {
                URL_SAFE_NO_PAD.decode(signature).is_ok_and(|signature| key.verify_sig(message, &signature).is_ok())
            }
            (Material::Library(_), None) | (Material::Parsed(_), Some(_)) => false,
        }
    }

    pub(super) fn print(&self) -> &[u8; 32] {
        &self.print
    }
}

impl From<DecodingKey> for Material {
    fn from(key: DecodingKey) -> Self {
        Self::Library(key)
    }
}

/// Never the key: it may be a secret.
impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Material { .. }")
    }
}

/// A number without the zeros before it.
fn significant(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

fn bits(number: &[u8]) -> usize {
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}
