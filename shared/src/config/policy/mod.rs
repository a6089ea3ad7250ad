//! The policies: each may stand at the top level, as the default of every route, or on a route, where it replaces that
//! default whole; `off` removes it. One file per policy holds its type, its keys and its checks.

mod access;
mod body_limit;
mod cors;
mod headers;
mod rate_limit;
mod security_headers;

pub use access::Access;
pub use body_limit::BodyLimit;
pub use cors::{Cors, CorsOrigins, Names};
pub use headers::{HeaderEdit, HeaderEdits, Headers};
pub use rate_limit::{Algorithm, Key, Mode, RateLimit, Rule, Window};
pub use security_headers::SecurityHeaders;

use std::sync::Arc;

use super::{Name, Origin};

/// The policies in force somewhere.
#[derive(Clone, Debug)]
pub struct Policies {
    pub access: Setting<Access>,
    pub cors: Setting<Cors>,
    pub rate_limit: Setting<RateLimit>,
    pub body_limit: Setting<BodyLimit>,
    pub headers: Setting<Headers>,
    pub security_headers: Setting<SecurityHeaders>,
}

/// One policy in force: its value, and who said so.
#[derive(Clone, Debug)]
pub struct Setting<T> {
    /// None: absent, or switched off.
    pub value: Option<Arc<T>>,
    pub scope: Scope,
    pub at: Origin,
}

/// The place where a policy is written. State that belongs to a policy, such as a limit's counters, belongs to this place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Nobody wrote it.
    Default,
    TopLevel,
    /// On the route of this name.
    Route(Name),
}
