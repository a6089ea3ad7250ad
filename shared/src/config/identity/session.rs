//! `identity.session`: how those who logged in stay so.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Secret;

/// `identity.session`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The cookie's name. Over HTTPS it is sent with the prefix `__Host-` (RFC 6265bis section 4.1.3.2), unless `domain` is there.
    pub cookie: Arc<str>,
    /// Cookies are sealed with the first, and opened with any; none: a key that is kept in the state folder.
    pub secrets: Vec<Secret>,
    pub store: SessionStore,
    /// Without a request for so long a session ends.
    pub idle: Duration,
    /// So long after the login it ends in any case.
    pub absolute: Duration,
    pub same_site: SameSite,
    pub domain: Option<Arc<str>>,
    /// Where login, callback and logout are served: begins and ends with a slash.
    pub path: Arc<str>,
    /// Where people are after they logged out: a path, or an absolute URL.
    pub after_logout: Arc<str>,
}

/// Where a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionStore {
    /// Sealed into the cookie itself.
    Cookie,
    /// On this proxy, kept over a restart; the cookie holds its id.
    Local,
    /// In Redis; the cookie holds its id.
    Redis,
}

/// RFC 6265bis section 4.1.2.7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    Lax,
    Strict,
    None,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            cookie: "proxyd_session".into(),
            secrets: Vec::new(),
            store: SessionStore::Cookie,
            idle: Duration::from_hours(1),
            absolute: Duration::from_hours(12),
            same_site: SameSite::Lax,
            domain: None,
            path: "/.proxyd/".into(),
            after_logout: "/".into(),
        }
    }
}
