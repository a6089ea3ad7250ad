//! What a 401 says would be taken, and a 403 what is lacking (RFC 9110 section 11.6.1).

use shared::config::identity::TokenPlace;

use crate::exchange::{Challenges, Denial, Lack, Value};
use crate::identity::Recogniser;

/// The challenges, made ready: without credentials, with a token that is not good (RFC 6750 section 3.1), with an API key that is not,
/// with anything else.
#[derive(Debug, Default)]
pub(super) struct Told401 {
    plain: Challenges,
    bad_token: Challenges,
    bad_key: Challenges,
    /// Of the scheme Bearer, where it is taken.
    bearer_realm: Option<Box<str>>,
}

/// A scheme, and the realm that it is told with.
struct Scheme {
    name: Box<str>,
    realm: Box<str>,
}

impl Scheme {
    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    fn written(&self, error: &str) -> Option<Value> {
        let more = match &*self.name {
            _ if self.is(BEARER) => error,
            // RFC 7617 section 2.1.
            "Basic" => ", charset=\"UTF-8\"",
            _ => "",
        };
        Value::parse(&format!("{} realm=\"{}\"{more}", self.name, self.realm))
    }
}

const BEARER: &str = "Bearer";

/// Those of a provider: each that it takes in `Authorization`, and its own where it takes none, since a 401 must name one; an API
/// key has its own beside it.
fn schemes(recogniser: &Recogniser, places: &[TokenPlace]) -> Vec<Box<str>> {
    let behind = places.iter().filter_map(|place| match place {
        TokenPlace::Header { name, scheme: Some(scheme) } if &**name == "authorization" => Some(Box::from(&**scheme)),
        TokenPlace::Header { .. } | TokenPlace::Cookie(_) | TokenPlace::Query(_) => None,
    });
    let behind: Vec<Box<str>> = behind.collect();
    let own = match recogniser {
        Recogniser::ApiKey { .. } if behind.len() < places.len() => Some("ApiKey"),
        Recogniser::Forward(_) => None,
        _ if !behind.is_empty() => None,
        Recogniser::Jwt(_) | Recogniser::Introspection(_) | Recogniser::Accounts(_) => Some(BEARER),
        Recogniser::ApiKey { .. } => Some("ApiKey"),
        Recogniser::Basic(_) => Some("Basic"),
        Recogniser::Login { .. } => Some("Session"),
        Recogniser::Certificate => Some("Certificate"),
    };
    own.map(Box::from).into_iter().chain(behind).collect()
}

impl Told401 {
    pub(super) fn of<'a>(recognisers: impl Iterator<Item = &'a Recogniser>, realm: &str) -> Self {
        let mut all: Vec<Scheme> = Vec::new();
        let mut is_key_behind_bearer = false;
        for recogniser in recognisers {
            let realm = if let Recogniser::Basic(basic) = recogniser { basic.realm() } else { realm };
            for name in schemes(recogniser, &recogniser.places()) {
                let scheme = Scheme { name, realm: realm.replace(['"', '\\'], "").into() };
                is_key_behind_bearer |= matches!(recogniser, Recogniser::ApiKey { .. }) && scheme.is(BEARER);
                if all.iter().all(|known| !known.is(&scheme.name)) {
                    all.push(scheme);
                }
            }
        }
        let write = |error: &str| Challenges(all.iter().filter_map(|scheme| scheme.written(error)).collect());
        let (plain, bad_token) = (write(""), write(", error=\"invalid_token\""));
        Self {
            bad_key: if is_key_behind_bearer { bad_token.clone() } else { plain.clone() },
            plain,
            bad_token,
            bearer_realm: all.into_iter().find(|scheme| scheme.is(BEARER)).map(|scheme| scheme.realm),
        }
    }

    /// What a 403 says of a scope that is lacking (RFC 6750 section 3.1), where tokens that could bring it are taken.
    pub(super) fn lacking(&self, lack: &Lack) -> Challenges {
        let (Lack::Scope(scope), Some(realm)) = (lack, &self.bearer_realm) else { return Challenges::default() };
        let told = format!("{BEARER} realm=\"{realm}\", error=\"insufficient_scope\", scope=\"{scope}\"");
        Challenges(Value::parse(&told).into_iter().collect())
    }

    /// Those of a denial.
    pub(super) fn challenges(&self, denial: Denial) -> Challenges {
        match denial {
            Denial::Missing
            | Denial::Ambiguous
            | Denial::TooLarge
            | Denial::PasswordWrong
            | Denial::SessionInvalid
            | Denial::SessionExpired
            | Denial::CertificateMissing
            | Denial::CertificateExpired
            | Denial::CertificateUntrusted
            | Denial::ForwardRefused => self.plain.clone(),
            Denial::KeyUnknown | Denial::KeyExpired | Denial::KeyRevoked => self.bad_key.clone(),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, scheme: Option<&str>) -> TokenPlace {
        TokenPlace::Header { name: name.into(), scheme: scheme.map(Into::into) }
    }

    fn check(recogniser: &Recogniser, places: &[TokenPlace], expected: &[&str]) {
        let found = schemes(recogniser, places);
        assert_eq!(found.iter().map(|name| &**name).collect::<Vec<_>>(), expected, "{places:?}");
    }

    #[test]
    fn what_is_taken_is_named() {
        let certificate = Recogniser::Certificate;
        check(&certificate, &[], &["Certificate"]);
        // Of any other kind the places say it.
        check(&certificate, &[header("authorization", Some("Token")), header("x-token", None)], &["Token"]);
        check(&certificate, &[header("x-token", None)], &["Certificate"]);
    }

    #[test]
    fn a_scope_is_asked_for_where_tokens_are_taken() {
        let scope = Lack::Scope("write".into());
        let mut told = Told401::of([Recogniser::Certificate].iter(), "proxyd");
        assert_eq!(told.lacking(&scope), Challenges::default());
        told.bearer_realm = Some("here".into());
        let written = Value::parse("Bearer realm=\"here\", error=\"insufficient_scope\", scope=\"write\"").unwrap();
        assert_eq!(told.lacking(&scope), Challenges([written].into()));
        assert_eq!(told.lacking(&Lack::Role([].into())), Challenges::default());
    }
}
