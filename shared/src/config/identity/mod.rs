//! The section `identity`: who can be recognised. Routes name these in `auth`.

mod accounts;
mod api_key;
mod basic;
mod forward;
mod introspection;
mod jwt;
mod login;
mod send;
mod session;

use std::sync::Arc;

pub use accounts::{Accounts, Lockout, Mail, MailTls, TokenAlgorithm};
pub use api_key::ApiKeys;
pub use basic::{Basic, BasicUser};
pub use forward::ForwardAuth;
pub use introspection::Introspection;
pub use jwt::{Jwt, JwtAlgorithm, JwtKeys, TokenPlace};
pub use login::{Allow, Login, LoginKind};
pub use send::{InternalToken, Send};
pub use session::{SameSite, Session, SessionStore};

use super::Name;

/// `identity`. What is not written can recognise nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// `jwt.NAME`, in file order.
    pub jwt: Vec<Arc<Jwt>>,
    pub api_key: Option<Arc<ApiKeys>>,
    pub basic: Option<Arc<Basic>>,
    /// `login.NAME`, in file order.
    pub login: Vec<Arc<Login>>,
    /// How login sessions are kept; the defaults where none is written.
    pub session: Session,
    pub introspection: Option<Arc<Introspection>>,
    pub forward: Option<Arc<ForwardAuth>>,
    pub accounts: Option<Arc<Accounts>>,
    pub send: Send,
    /// Where revoked tokens are known: here, or to all proxies of one Redis.
    pub revocations: StateStore,
}

/// Who recognises: what `auth` names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Provider {
    /// `jwt.NAME`: index into [`Identity::jwt`].
    Jwt(usize),
    ApiKey,
    Basic,
    /// `login.NAME`: index into [`Identity::login`].
    Login(usize),
    Introspection,
    Forward,
    Accounts,
    /// `certificate`: the client's, verified by the listener.
    Certificate,
}

/// Where live state is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StateStore {
    /// In this process, and on its disk where it outlives it.
    #[default]
    Local,
    /// In the engine that the section `redis` names.
    Redis,
}

impl Identity {
    /// A provider's name as it is written in `auth`: `jwt.main`, `api_key`.
    #[must_use]
    pub fn name_of(&self, provider: &Provider) -> String {
        let of = |kind: &str, name: Option<&Name>| format!("{kind}.{}", name.map_or("", |name| name));
        match provider {
            Provider::Jwt(index) => of("jwt", self.jwt.get(*index).map(|jwt| &jwt.name)),
            Provider::Login(index) => of("login", self.login.get(*index).map(|login| &login.name)),
            Provider::ApiKey => "api_key".to_owned(),
            Provider::Basic => "basic".to_owned(),
            Provider::Introspection => "introspection".to_owned(),
            Provider::Forward => "forward".to_owned(),
            Provider::Accounts => "accounts".to_owned(),
            Provider::Certificate => "certificate".to_owned(),
        }
    }
}
