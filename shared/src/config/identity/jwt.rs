//! `identity.jwt.NAME`: JSON Web Tokens (RFC 7519) of one issuer.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Name, Secret};

/// `identity.jwt.NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwt {
    pub name: Name,
    /// Where the token is looked for, in this order; the default is `Authorization: Bearer`.
    pub from: Vec<TokenPlace>,
    pub keys: JwtKeys,
    /// What its keys may be used with; empty: whatever their kind allows. Never what a token says.
    pub algorithms: Vec<JwtAlgorithm>,
    /// `iss` must be this.
    pub issuer: Option<Arc<str>>,
    /// `aud` must hold one of these; empty: it is not looked at.
    pub audience: Vec<Arc<str>>,
    pub leeway: Duration,
    /// Claims that must be there, with this value where one is given (a list must hold it).
    pub require: Vec<(Arc<str>, Option<Arc<str>>)>,
    /// Whether a token without `exp` is refused.
    pub require_exp: bool,
    /// The longest that a token may still be good for; none: as long as it says.
    pub max_age: Option<Duration>,
    /// Who it is: a path into the claims, steps apart by dots (`sub`, `realm_access.roles`; a step that holds dots stands in quotes).
    pub user_claim: Arc<str>,
    pub roles_claim: Arc<str>,
    /// A list, or words apart by spaces.
    pub scopes_claim: Arc<str>,
}

/// Where a token may stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenPlace {
    /// In this header (lower case), behind this scheme (`Bearer`), or bare where none is given.
    Header {
        name: Arc<str>,
        scheme: Option<Arc<str>>,
    },
    Cookie(Arc<str>),
    Query(Arc<str>),
}

/// What its signatures are checked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwtKeys {
    /// HMAC; at least as long as the hash (RFC 7518 section 3.2).
    Secret(Secret),
    /// A public key or a certificate.
    Pem(PathBuf),
    JwksFile(PathBuf),
    JwksUrl {
        /// `https`, or `http` to a loopback address.
        url: Arc<str>,
        /// Fetched again after this long.
        refresh: Duration,
        /// An unknown `kid` fetches again, but not sooner than this after the last time.
        floor: Duration,
        timeout: Duration,
    },
}

/// RFC 7518 section 3.1, RFC 8037.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JwtAlgorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}
