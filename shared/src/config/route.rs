//! The section `routes`: which requests, and what becomes of them.

use std::sync::Arc;
use std::time::Duration;

use regex_automata::meta::Regex;

use super::{Name, Origin, Policies, Retry};

/// One route.
#[derive(Clone, Debug)]
pub struct Route {
    /// Unique; made from the match where none was written.
    pub name: Name,
    pub at: Origin,
    /// Any of these; empty: every host.
    pub hosts: Vec<HostPattern>,
    pub path: PathPattern,
    /// Any of these (upper case); empty: every method. `GET` here also matches HEAD.
    pub methods: Vec<Arc<str>>,
    /// All of these.
    pub headers: Vec<HeaderMatch>,
    /// All of these.
    pub query: Vec<QueryMatch>,
    /// More wins before everything else does.
    pub priority: i32,
    /// Nobody wrote it: `identity` brought it along. On its path only routes that serve the same pages are looked at.
    pub is_implied: bool,
    pub encoded_slash: EncodedSlash,
    pub forward_host: ForwardHost,
    pub action: Action,
    pub rewrite: Option<Rewrite>,
    pub timeouts: RouteTimeouts,
    /// None: the upstream's; `Some(None)`: switched off on this route.
    pub retry: Option<Option<Arc<Retry>>>,
    /// In force on this route: its own, or the top level's. Routes that write none share what they inherit.
    pub policies: Arc<Policies>,
}

/// A host to match: lower case, no port, no trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    Exact(Arc<str>),
    /// `*.example.org` is kept as `.example.org`: one or more labels before it.
    Wildcard(Arc<str>),
}

/// A path to match, in normalised form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    /// On segment boundaries: `/api` matches `/api` and `/api/x`, never `/apix`; `/api/` needs that slash. `/` matches
    /// every path.
    Prefix(Arc<str>),
    Exact(Arc<str>),
    Regex(Pattern),
}

/// A compiled pattern with its text (linear time, size bounded at compile).
#[derive(Clone)]
pub struct Pattern {
    pub text: Arc<str>,
    pub regex: Regex,
}

/// The same text is the same pattern.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl std::fmt::Debug for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pattern({:?})", self.text)
    }
}

/// A condition on a request header. A header sent several times matches if any of its values does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderMatch {
    /// Lower case.
    pub name: Arc<str>,
    pub value: ValueMatch,
}

/// A condition on a query parameter (percent-decoded, `+` as space). Sent several times: any value may match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryMatch {
    pub name: Arc<str>,
    pub value: ValueMatch,
}

/// A condition on a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueMatch {
    Exact(Arc<str>),
    /// `{present: true}` or `{present: false}`.
    Present(bool),
    Regex(Pattern),
}

/// What an encoded slash or backslash (`%2F`, `%5C`) in the path means on this route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodedSlash {
    /// 400.
    Refuse,
    /// Passed on as it came; it separates nothing.
    Keep,
    /// Decoded before matching; the decoded path must lead to this same route.
    Decode,
}

/// The `Host` that the upstream sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForwardHost {
    /// The client's.
    Keep,
    /// The endpoint's address.
    Target,
    Name(Arc<str>),
}

/// What becomes of a matched request.
#[derive(Clone, Debug)]
pub enum Action {
    /// `target`, `upstream` or `split`: forwarded to one of these, by weight.
    Forward(Vec<Share>),
    Redirect(Redirect),
    Respond(Respond),
    /// `serve`: answered by what `identity` brings along.
    Serve(Serve),
}

/// Pages of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serve {
    /// Login, callback and logout, below `identity.session.path`.
    Login,
    /// The endpoints of `identity.accounts`, below its prefix.
    Accounts,
    /// The keys that our own tokens can be checked with.
    Jwks,
}

impl Serve {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Accounts => "accounts",
            Self::Jwks => "jwks",
        }
    }
}

/// One upstream's share of a route's traffic.
#[derive(Clone, Debug)]
pub struct Share {
    /// Index into `Config::upstreams`.
    pub upstream: usize,
    /// At least 1.
    pub weight: u32,
    /// Put before the request's path (a `target` with a path): starts with `/`, ends without one; or empty.
    pub path_prefix: Arc<str>,
}

/// A redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The location, in parts to be written one after the other.
    pub to: Vec<RedirectPart>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// Whether the request's query is added (it is unless `{query}` was placed, or the text has a query of its own).
    pub keep_query: bool,
}

/// A part of a redirect's location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedirectPart {
    Text(Arc<str>),
    Scheme,
    Host,
    Path,
    Query,
}

/// A fixed response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Respond {
    pub status: u16,
    /// Lower-case names; values are checked header values.
    pub headers: Vec<(Arc<str>, Arc<str>)>,
    pub body: Arc<str>,
}

/// What the path becomes before it is sent upstream. A split's or target's path prefix is put before the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rewrite {
    /// Take `strip` away (on a segment boundary, where the path has it), then put `add` before.
    Prefix { strip: Arc<str>, add: Arc<str> },
    /// The whole path.
    Path(Arc<str>),
    /// Replace the first match; `$1`, `${name}` in `to` stand for groups.
    Regex { pattern: Pattern, to: Arc<str> },
}

/// A route's own timeouts, over its upstream's. None: the upstream's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteTimeouts {
    pub connect: Option<Duration>,
    pub tls: Option<Duration>,
    pub write: Option<Duration>,
    pub response_headers: Option<Duration>,
    pub idle: Option<Duration>,
    /// `Some(None)`: switched off on this route.
    pub total: Option<Option<Duration>>,
    /// `Some(None)`: switched off on this route.
    pub tunnel: Option<Option<Duration>>,
}
