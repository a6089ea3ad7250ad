//! `identity.send`: what upstreams are told of who it is.

use std::sync::Arc;
use std::time::Duration;

/// `identity.send`. Every header named here is stripped from what clients send, on every route, under every spelling that a
/// server may take for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Send {
    /// Lower-case header names.
    pub user: Option<Arc<str>>,
    /// Apart by commas.
    pub roles: Option<Arc<str>>,
    /// Apart by spaces.
    pub scopes: Option<Arc<str>>,
    /// The prefix of the API key.
    pub key: Option<Arc<str>>,
    /// Who recognised it: `jwt.main`.
    pub provider: Option<Arc<str>>,
    /// Header and claim.
    pub claims: Vec<(Arc<str>, Arc<str>)>,
    pub token: Option<InternalToken>,
}

/// A short-lived token of our own, in place of whatever the client brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InternalToken {
    pub header: Arc<str>,
    pub issuer: Arc<str>,
    pub audience: Option<Arc<str>>,
    pub lasts: Duration,
    /// Where the traffic listeners serve the keys to check it with (JWKS, EdDSA).
    pub jwks_path: Arc<str>,
}

impl Send {
    /// Every header that only we may set.
    pub fn headers(&self) -> impl Iterator<Item = &Arc<str>> {
        let plain = [&self.user, &self.roles, &self.scopes, &self.key, &self.provider];
        let claims = self.claims.iter().map(|(header, _)| header);
        plain.into_iter().flatten().chain(claims).chain(self.token.iter().map(|token| &token.header))
    }
}
