//! `identity.introspection`: opaque tokens that their issuer is asked about (RFC 7662).

use std::sync::Arc;
use std::time::Duration;

use crate::config::Secret;
use crate::config::identity::TokenPlace;

/// `identity.introspection`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introspection {
    pub url: Arc<str>,
    pub from: Vec<TokenPlace>,
    pub client_id: Option<Arc<str>>,
    pub client_secret: Option<Secret>,
    pub timeout: Duration,
    /// How long an answer stands, at most until the token expires; zero: each request asks.
    pub cache: Duration,
    pub issuer: Option<Arc<str>>,
    pub audience: Vec<Arc<str>>,
    pub user_claim: Arc<str>,
    pub roles_claim: Arc<str>,
    pub scopes_claim: Arc<str>,
}
