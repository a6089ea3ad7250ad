//! `identity.basic`: names and passwords (RFC 7617).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Name, Secret};

/// `identity.basic`. At least one of the two sources is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basic {
    /// htpasswd: `name:hash` a line; argon2id and bcrypt. Read again when it changes.
    pub users_file: Option<PathBuf>,
    pub users: Vec<BasicUser>,
    pub realm: Arc<str>,
    /// How long a password that was right is not computed again.
    pub cache: Duration,
}

/// A user written in the config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicUser {
    pub user: Name,
    /// argon2id in PHC form, or bcrypt.
    pub password_hash: Secret,
    pub roles: Vec<Name>,
    pub scopes: Vec<Arc<str>>,
}
