//! `identity.login.NAME`: people who log in with a browser, by OpenID Connect or GitHub.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Name, Secret};

/// `identity.login.NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    pub name: Name,
    pub kind: LoginKind,
    pub client_id: Arc<str>,
    pub client_secret: Option<Secret>,
    pub scopes: Vec<Arc<str>>,
    /// Where the provider sends people back to, as they see it; none: the origin that the request was made to.
    pub public_url: Option<Arc<str>>,
    pub allow: Allow,
    /// Who it is: `sub`, `email`, `preferred_username`, …; for GitHub `login`.
    pub user_claim: Arc<str>,
    pub roles_claim: Arc<str>,
    /// Given to everyone who comes in this way.
    pub roles: Vec<Name>,
    /// Of each call to the provider.
    pub timeout: Duration,
}

/// Which protocol the provider speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginKind {
    /// By discovery at `{issuer}/.well-known/openid-configuration`.
    Oidc { issuer: Arc<str> },
    /// OAuth 2.0 without an id_token; who it is by GitHub's API. The addresses are GitHub's own by default.
    GitHub { authorize_url: Arc<str>, token_url: Arc<str>, api_url: Arc<str> },
}

/// Who of those that the provider knows may come in. Everyone where nothing is written; else whoever fits one of them, and
/// all `claims`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    /// Verified ones only.
    pub emails: Vec<Arc<str>>,
    /// Of verified e-mail addresses.
    pub domains: Vec<Arc<str>>,
    /// GitHub's, or a claim `org`/`organization`/`groups`.
    pub organisations: Vec<Arc<str>>,
    /// Claims with a value that they must have or hold.
    pub claims: Vec<(Arc<str>, Arc<str>)>,
}
