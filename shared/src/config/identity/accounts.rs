//! `identity.accounts`: accounts of our own, for those without a provider.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Name, Secret};

/// `identity.accounts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accounts {
    /// Where its endpoints are served: begins with a slash, ends without one.
    pub prefix: Arc<str>,
    /// Whether people may register themselves.
    pub register: bool,
    /// Of everyone who registers.
    pub roles: Vec<Name>,
    /// Whether an e-mail address must be verified before its account can log in; needs `mail`.
    pub verify: bool,
    pub access_token: Duration,
    pub refresh_token: Duration,
    pub algorithm: TokenAlgorithm,
    /// HS256 only; none: a key that is kept in the state folder.
    pub secret: Option<Secret>,
    pub issuer: Arc<str>,
    pub audience: Option<Arc<str>>,
    pub min_password: u32,
    pub lockout: Lockout,
    pub mail: Option<Mail>,
}

/// What access tokens are signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenAlgorithm {
    Hs256,
    EdDsa,
}

/// When guessing stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lockout {
    /// Wrong passwords of one account within `within`.
    pub attempts: u32,
    pub within: Duration,
    /// How long it then takes none at all.
    pub lasts: Duration,
}

/// Where mail goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    pub host: Arc<str>,
    pub port: u16,
    pub tls: MailTls,
    pub user: Option<Arc<str>>,
    pub password: Option<Secret>,
    pub from: Arc<str>,
    /// Links in mails lead here: `{token}` stands for the token.
    pub reset_url: Arc<str>,
    pub verify_url: Arc<str>,
}

/// How the connection to the mail server is made safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailTls {
    /// Only to a loopback address.
    Off,
    StartTls,
    Implicit,
}
