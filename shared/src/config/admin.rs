//! The section `admin`: the operator's doors and who may pass them.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Name;

/// `admin`.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The HTTP mirror; none: off.
    pub listen: Option<SocketAddr>,
    pub socket: SocketPlace,
    /// Permission bits of the socket file.
    pub socket_mode: u32,
    /// Present whenever `listen` is not a loopback address.
    pub auth: Option<AdminAuth>,
    /// Further names by which the admin listener may be asked for in `Host` (lower case, no port).
    pub hosts: Vec<String>,
}

/// Where the control socket lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketPlace {
    /// The first usable of the automatic places, see `control::socket_places`.
    Auto,
    Path(PathBuf),
}

/// `admin.auth`.
#[derive(Clone, Debug)]
pub struct AdminAuth {
    pub basic: Vec<AdminBasic>,
    pub tokens: Vec<AdminToken>,
}

/// A user with a password.
#[derive(Clone, Debug)]
pub struct AdminBasic {
    pub user: Name,
    /// A PHC string (argon2id).
    pub password_hash: Secret,
    pub role: Role,
}

/// A bearer token.
#[derive(Clone, Debug)]
pub struct AdminToken {
    pub name: Name,
    pub token: Secret,
    pub role: Role,
}

/// What a caller may do: a reader everything that changes nothing, an operator everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Reader,
    Operator,
}

/// A value that must never be shown: its `Debug` says only that it is there.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Wraps a value that must not be shown.
    #[must_use]
    pub fn new(value: impl Into<Arc<str>>) -> Self {
        Self(value.into())
    }

    /// The value itself, for comparing or sending; never for showing.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(masked)")
    }
}
