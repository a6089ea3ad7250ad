//! The policy `auth`: who is let in.

use std::sync::Arc;

use crate::config::Name;
use crate::config::identity::Provider;

/// `auth`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// At least one.
    pub providers: Vec<Provider>,
    pub combine: Combine,
    /// Whether a request without credentials goes on, as nobody. Bad credentials are refused all the same.
    pub optional: bool,
    pub needs: Needs,
    /// In place of `needs` for these methods (upper case). `GET` holds for HEAD too where HEAD has none of its own.
    pub methods: Vec<(Arc<str>, Needs)>,
    /// Whether the credentials that were used go upstream. A session's cookie never does.
    pub forward_credentials: bool,
    /// `WWW-Authenticate` says this.
    pub realm: Arc<str>,
}

/// How several providers go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combine {
    /// The first whose credentials are there decides.
    Any,
    /// Each must recognise somebody; who it is says the first, roles and scopes are those of all together.
    All,
}

/// What somebody must be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// One of these; empty: none is asked for.
    pub roles: Vec<Name>,
    /// All of these.
    pub scopes: Vec<Arc<str>>,
}

impl Auth {
    /// What is asked of a request with this method.
    #[must_use]
    pub fn needs(&self, method: &str) -> &Needs {
        let of = |method: &str| self.methods.iter().find(|(named, _)| **named == *method).map(|(_, needs)| needs);
        of(method).or_else(|| if method == "HEAD" { of("GET") } else { None }).unwrap_or(&self.needs)
    }
}
