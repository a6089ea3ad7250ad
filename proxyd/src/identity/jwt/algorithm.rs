//! The signature algorithms that are taken (RFC 7518 section 3.1, RFC 8037 section 3.1), and the kind of key each needs.

use jsonwebtoken::Algorithm;
use shared::config::identity::JwtAlgorithm;

/// A kind of key. What a key may be used for follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// A shared secret, of so many bytes.
    Hmac(usize),
    Rsa,
    P256,
    P384,
    P521,
    Ed25519,
}

/// An algorithm's name, to the letter: names are case-sensitive (RFC 7515 section 4.1.1). `none` is no algorithm.
pub(super) fn parse(name: &str) -> Option<JwtAlgorithm> {
    Some(match name {
        "HS256" => JwtAlgorithm::Hs256,
        "HS384" => JwtAlgorithm::Hs384,
        "HS512" => JwtAlgorithm::Hs512,
        "RS256" => JwtAlgorithm::Rs256,
        "RS384" => JwtAlgorithm::Rs384,
        "RS512" => JwtAlgorithm::Rs512,
        "PS256" => JwtAlgorithm::Ps256,
        "PS384" => JwtAlgorithm::Ps384,
        "PS512" => JwtAlgorithm::Ps512,
        "ES256" => JwtAlgorithm::Es256,
        "ES384" => JwtAlgorithm::Es384,
        "ES512" => JwtAlgorithm::Es512,
        // RFC 9864 gives EdDSA with Ed25519 this name of its own.
        "EdDSA" | "Ed25519" => JwtAlgorithm::EdDsa,
        _ => return None,
    })
}

impl Family {
    /// Whether a key of this kind can be used so. A secret must be at least as long as the hash (RFC 7518 section 3.2).
    pub(super) fn fits(self, algorithm: JwtAlgorithm) -> bool {
        use JwtAlgorithm::{EdDsa, Es256, Es384, Es512, Hs256, Hs384, Hs512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        match self {
            Self::Hmac(length) => match algorithm {
                Hs256 => length >= 32,
                Hs384 => length >= 48,
                Hs512 => length >= 64,
                Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512 | Es256 | Es384 | Es512 | EdDsa => false,
            },
            Self::Rsa => matches!(algorithm, Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512),
            Self::P256 => algorithm == Es256,
            Self::P384 => algorithm == Es384,
            Self::P521 => algorithm == Es512,
            Self::Ed25519 => algorithm == EdDsa,
        }
    }
}

/// As the library names it; none where it does not know it.
pub(super) fn library(algorithm: JwtAlgorithm) -> Option<Algorithm> {
    Some(match algorithm {
        JwtAlgorithm::Hs256 => Algorithm::HS256,
        JwtAlgorithm::Hs384 => Algorithm::HS384,
        JwtAlgorithm::Hs512 => Algorithm::HS512,
        JwtAlgorithm::Rs256 => Algorithm::RS256,
        JwtAlgorithm::Rs384 => Algorithm::RS384,
        JwtAlgorithm::Rs512 => Algorithm::RS512,
        JwtAlgorithm::Ps256 => Algorithm::PS256,
        JwtAlgorithm::Ps384 => Algorithm::PS384,
        JwtAlgorithm::Ps512 => Algorithm::PS512,
        JwtAlgorithm::Es256 => Algorithm::ES256,
        JwtAlgorithm::Es384 => Algorithm::ES384,
        JwtAlgorithm::Es512 => return None,
        JwtAlgorithm::EdDsa => Algorithm::EdDSA,
    })
}
