//! What a 401 says would be taken (RFC 9110 section 11.6.1).

use crate::exchange::{Challenges, Denial, Value};
use crate::identity::Recogniser;

/// The challenges, made ready: without credentials, with a token that is not good (RFC 6750 section 3.1), with anything else.
#[derive(Debug, Default)]
pub(super) struct Told401 {
    plain: Challenges,
    bad_token: Challenges,
}

impl Told401 {
    pub(super) fn of<'a>(recognisers: impl Iterator<Item = &'a Recogniser>, realm: &str) -> Self {
        let mut schemes: Vec<(&'static str, String)> = Vec::new();
        for recogniser in recognisers {
            let (scheme, realm) = match recogniser {
                Recogniser::Jwt(_) | Recogniser::Introspection(_) | Recogniser::Accounts(_) => {
                    ("Bearer", realm.to_owned())
                }
                Recogniser::ApiKey { .. } => ("ApiKey", realm.to_owned()),
                Recogniser::Basic(basic) => ("Basic", basic.realm().to_owned()),
                Recogniser::Login { .. } => ("Session", realm.to_owned()),
                Recogniser::Certificate => ("Certificate", realm.to_owned()),
                Recogniser::Forward(_) => continue,
            };
            if schemes.iter().all(|(known, _)| *known != scheme) {
                schemes.push((scheme, realm));
            }
        }
        let write = |error: &str| {
            let line = |(scheme, realm): &(&str, String)| {
                let realm = realm.replace(['"', '\\'], "");
                let more = match *scheme {
                    "Bearer" => error,
                    // RFC 7617 section 2.1.
                    "Basic" => ", charset=\"UTF-8\"",
                    _ => "",
                };
                Value::parse(&format!("{scheme} realm=\"{realm}\"{more}"))
            };
            Challenges(schemes.iter().filter_map(line).collect())
        };
        Self { plain: write(""), bad_token: write(", error=\"invalid_token\"") }
    }

    /// Those of a denial. A locked name is told when, not how.
    pub(super) fn challenges(&self, denial: Denial) -> Challenges {
        match denial {
            Denial::Locked => Challenges::default(),
            Denial::Missing
            | Denial::Ambiguous
            | Denial::TooLarge
            | Denial::KeyUnknown
            | Denial::KeyExpired
            | Denial::KeyRevoked
            | Denial::PasswordWrong
            | Denial::SessionInvalid
            | Denial::SessionExpired
            | Denial::CertificateMissing
            | Denial::CertificateExpired
            | Denial::CertificateUntrusted
            | Denial::ForwardRefused => self.plain.clone(),
            Denial::TokenMalformed
            | Denial::TokenAlgorithm
            | Denial::TokenKeyUnknown
            | Denial::TokenSignature
            | Denial::TokenExpired
            | Denial::TokenNotYetValid
            | Denial::TokenIssuer
            | Denial::TokenAudience
            | Denial::TokenClaims
            | Denial::TokenRevoked
            | Denial::TokenInactive => self.bad_token.clone(),
        }
    }
}
