//! The routes that `identity` brings along: pages of its own need addresses. On their paths no route wins that does not serve
//! the same, whatever its host and priority: a login that another route takes would never end. They have the top level's policies
//! but `auth`: whoever is to log in has not done so yet.

use std::sync::Arc;

use super::fields::Fields;
use super::identity::{Identity, JWKS_PATH, TokenAlgorithm};
use super::policy::{Policies, Scope, Setting};
use super::problem::Code;
use super::report::Fault;
use super::routes::Written;
use super::{Action, EncodedSlash, ForwardHost, Origin, PathPattern, Route, RouteTimeouts, Serve};
use crate::routing::is_under;

/// One of them.
struct Implied {
    name: &'static str,
    path: PathPattern,
    serve: Serve,
    /// Where it is asked for, below `identity`.
    keys: &'static [&'static str],
}

fn all(identity: &Identity) -> Vec<Implied> {
    let mut all = Vec::new();
    if !identity.login.is_empty() {
        let path = PathPattern::Prefix(Arc::clone(&identity.session.path));
        all.push(Implied { name: "identity-login", path, serve: Serve::Login, keys: &["login"] });
    }
    if let Some(accounts) = &identity.accounts {
        let path = PathPattern::Prefix(format!("{}/", accounts.prefix).into());
        all.push(Implied { name: "identity-accounts", path, serve: Serve::Accounts, keys: &["accounts"] });
    }
    if let Some((path, keys)) = jwks(identity) {
        let path = PathPattern::Exact(path);
        all.push(Implied { name: "identity-jwks", path, serve: Serve::Jwks, keys });
    }
    all
}

/// Where our own keys are served: where tokens of ours are signed with them.
fn jwks(identity: &Identity) -> Option<(Arc<str>, &'static [&'static str])> {
    if let Some(token) = &identity.send.token {
        return Some((Arc::clone(&token.jwks_path), &["send", "token"]));
    }
    let signs = identity.accounts.as_ref().is_some_and(|accounts| accounts.algorithm == TokenAlgorithm::EdDsa);
    signs.then(|| (JWKS_PATH.into(), ["accounts", "algorithm"].as_slice()))
}

/// Those that nobody wrote.
pub(super) fn routes(
    fields: &mut Fields<'_, '_>,
    identity: &Identity,
    inherited: &Arc<Policies>,
    written: &[Route],
    places: &[Written],
) -> Vec<Route> {
    let implied: Vec<Implied> = all(identity).into_iter().filter(|implied| !is_written(implied, written)).collect();
    if implied.is_empty() {
        return Vec::new();
    }
    let policies = without_auth(inherited);
    let mut routes = Vec::with_capacity(implied.len());
    for Implied { name, path, serve, keys } in implied {
        let at = origin(fields, keys);
        warn_hidden(fields, (&at, &path, serve), written, places);
        routes.push(Route {
            name: free_name(name, written).into(),
            at,
            hosts: Vec::new(),
            path,
            methods: Vec::new(),
            headers: Vec::new(),
            query: Vec::new(),
            priority: 0,
            is_implied: true,
            encoded_slash: EncodedSlash::Refuse,
            forward_host: ForwardHost::Keep,
            action: Action::Serve(serve),
            rewrite: None,
            timeouts: RouteTimeouts::default(),
            retry: None,
            policies: Arc::clone(&policies),
        });
    }
    routes
}

fn has_no_conditions(route: &Route) -> bool {
    route.hosts.is_empty() && route.methods.is_empty() && route.headers.is_empty() && route.query.is_empty()
}

fn is_written(implied: &Implied, written: &[Route]) -> bool {
    let same = |route: &Route| {
        takes_all(&route.path, &implied.path)
            && has_no_conditions(route)
            && matches!(route.action, Action::Serve(serve) if serve == implied.serve)
    };
    written.iter().any(same)
}

/// Whether a path takes at least what another one does: `/api/auth` all that `/api/auth/` would.
fn takes_all(path: &PathPattern, other: &PathPattern) -> bool {
    match (path, other) {
        (PathPattern::Prefix(path), PathPattern::Prefix(other)) => {
            path.trim_end_matches('/') == other.trim_end_matches('/')
        }
        _ => path == other,
    }
}

/// Routes of the operator's on whose path only those pages are.
fn warn_hidden(
    fields: &mut Fields<'_, '_>,
    (at, path, serve): (&Origin, &PathPattern, Serve),
    written: &[Route],
    places: &[Written],
) {
    let hidden = |(route, _): &(&Route, &Written)| {
        is_within(&route.path, path) && !matches!(route.action, Action::Serve(other) if other == serve)
    };
    for (_, Written { place, index }) in written.iter().zip(places).filter(hidden) {
        let message =
            format!("no request can reach this route: its path is for what `serve: {}` serves ({at})", serve.name());
        let fault = Fault::new(Code::Unreachable, message).hint("give one of the two another path");
        fields.reader().under_declared("routes", |reader| reader.at(*index, |reader| reader.warn(*place, fault)));
    }
}

/// Whether every path of the first is one of the second.
fn is_within(path: &PathPattern, other: &PathPattern) -> bool {
    match (path, other) {
        (PathPattern::Prefix(path) | PathPattern::Exact(path), PathPattern::Prefix(other)) => is_under(path, other),
        (PathPattern::Exact(path), PathPattern::Exact(other)) => path == other,
        (PathPattern::Prefix(_), PathPattern::Exact(_)) | (PathPattern::Regex(_), _) | (_, PathPattern::Regex(_)) => {
            false
        }
    }
}

fn node(fields: &Fields<'_, '_>, keys: &[&str]) -> Option<super::tree::Place> {
    let entry = fields.written("identity")?;
    let mut found = &entry.value;
    for key in keys {
        found = found.get(key)?;
    }
    Some(found.place)
}

fn origin(fields: &mut Fields<'_, '_>, keys: &[&str]) -> Origin {
    let place = node(fields, keys).unwrap_or(fields.place);
    fields.reader().texts.origin(place)
}

fn free_name(name: &str, written: &[Route]) -> String {
    let is_taken = |name: &str| written.iter().any(|route| &*route.name == name);
    let mut free = name.to_owned();
    for number in 2..written.len() + 3 {
        if !is_taken(&free) {
            break;
        }
        free = format!("{name}#{number}");
    }
    free
}

fn without_auth(policies: &Arc<Policies>) -> Arc<Policies> {
    if policies.auth.value.is_none() {
        return Arc::clone(policies);
    }
    Arc::new(Policies { auth: Setting::default(), ..Policies::clone(policies) })
}

/// Checks a written route that serves such pages, and takes the top level's `auth` away from it.
pub(super) fn check_written(
    fields: &mut Fields<'_, '_>,
    serve: Serve,
    path: &PathPattern,
    policies: Arc<Policies>,
    identity: &Identity,
) -> Arc<Policies> {
    let below: Option<Arc<str>> = match serve {
        Serve::Login => (!identity.login.is_empty()).then(|| Arc::clone(&identity.session.path)),
        Serve::Accounts => identity.accounts.as_ref().map(|accounts| format!("{}/", accounts.prefix).into()),
        Serve::Jwks => jwks(identity).map(|_| "/".into()),
    };
    match below {
        None => {
            let (missing, hint) = match serve {
                Serve::Login => {
                    ("nobody can log in: `identity` has no `login`", "identity: {login: {NAME: {kind: oidc, …}}}")
                }
                Serve::Accounts => ("`identity` has no `accounts`", "identity: {accounts: on}"),
                Serve::Jwks => {
                    ("no token of ours is signed with a key that could be told", "identity: {send: {token: on}}")
                }
            };
            let fault = Fault::new(Code::MissingKey, missing).hint(hint);
            fields.fault("serve", fault);
        }
        Some(below) if !meets(path, &below) => {
            let fault = Fault::invalid(format!(
                "what `serve: {}` serves is below `{below}`: no such page is here",
                serve.name()
            ))
            .hint(format!("write a path below `{below}`, or change that path under `identity`"));
            fields.fault("serve", fault);
        }
        Some(_) => {}
    }
    if serve == Serve::Login && policies.auth.value.is_some() && matches!(policies.auth.scope, Scope::Route(_)) {
        let fault = Fault::new(Code::Conflict, "nobody could log in: this page is for those who have not done so yet");
        fields.fault("auth", fault.hint("remove `auth` here"));
    }
    if matches!(policies.auth.scope, Scope::Route(_)) { policies } else { without_auth(&policies) }
}

/// Whether some path of the pattern lies below.
fn meets(path: &PathPattern, below: &str) -> bool {
    match path {
        PathPattern::Exact(path) => path.starts_with(below),
        PathPattern::Prefix(path) => {
            let folder = format!("{}/", path.trim_end_matches('/'));
            folder.starts_with(below) || below.starts_with(&folder)
        }
        // What a pattern finds is not known.
        PathPattern::Regex(_) => true,
    }
}
