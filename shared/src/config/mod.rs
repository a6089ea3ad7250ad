//! The checked config: what the operator's text means. Every value here is valid; nothing downstream checks it again.
//!
//! Raw text becomes a tree of nodes that know their place (`tree`), is merged with overlay, environment and `--set`
//! (`merge`), and is then read section by section; each section's file holds its type, its keys and its checks.

mod action;
mod admin;
mod asked;
mod audit;
mod bans;
mod cause;
mod certificates;
mod effective;
mod excerpt;
mod field;
mod fields;
pub mod identity;
mod implied;
mod listen;
mod log;
mod matching;
mod merge;
mod name;
mod namer;
mod origin;
mod parse;
mod path;
mod pattern;
mod percent;
pub mod policy;
pub mod problem;
mod reader;
mod redis;
mod reference;
mod remark;
mod render;
mod report;
mod root;
mod route;
mod routes;
mod schema;
mod server;
mod shadow;
pub mod source;
mod statuses;
mod surroundings;
mod tls;
mod tree;
mod unit;
mod upstream;
mod url;

#[cfg(test)]
mod tests;

pub use admin::{Admin, AdminAuth, AdminBasic, AdminToken, Role, Secret, SocketPlace};
pub use asked::{EndpointAddress, closest, end, endpoint_address, rate, show_rate, show_time, time};
pub use audit::{Audit, Keep, RequestAudit, WhenFull};
pub use bans::Bans;
pub use cause::{Cause, Causes};
pub use excerpt::masked;
pub use identity::Identity;
pub use listen::{Listen, Protocols, ProxyProtocol};
pub use log::{AccessLog, Level, Log, LogFormat, Redact};
pub use origin::{Origin, Source};
pub use percent::Percent;
pub use policy::{Policies, Scope, Setting};
pub use problem::{Problem, Problems, Severity};
pub use redis::Redis;
pub use remark::Remark;
pub use route::{
    Action, EncodedSlash, ForwardHost, HeaderMatch, HostPattern, PathPattern, Pattern, QueryMatch, Redirect,
    RedirectPart, Respond, Rewrite, Route, RouteTimeouts, Serve, Share, ValueMatch,
};
pub use server::{Limits, Server, ServerTimeouts, parse_network};
pub use source::{Input, References, Sources, Text};
pub use statuses::Statuses;
pub use tls::{CertificateFiles, ClientAuth, ListenTls, TlsVersion, UpstreamTls};
pub(crate) use unit::{show_duration, show_size};
pub use upstream::{
    Balance, Breaker, Eject, Endpoint, HashBy, HttpProbe, InFlight, Initial, Pool, Probe, ProbeKind, ProbeMethod,
    ProxyHeader, Resolve, Retry, Sticky, Upstream, UpstreamProtocol, UpstreamTimeouts,
};

use std::sync::Arc;

/// A name the operator gave, or that was made from what they wrote: a route's, an upstream's, a rule's.
pub type Name = Arc<str>;

/// The whole config, checked.
#[derive(Clone, Debug)]
pub struct Config {
    pub server: Server,
    pub admin: Admin,
    pub log: Log,
    pub audit: Audit,
    /// Named upstreams in file order, then one for each distinct `target` origin (named by that origin, such as
    /// `http://127.0.0.1:8001`).
    pub upstreams: Vec<Arc<Upstream>>,
    /// In file order: the last tie-break of precedence.
    pub routes: Vec<Route>,
    /// The policies written at the top level: they hold for requests that no route matches.
    pub policies: Policies,
    /// Who can be recognised.
    pub identity: Identity,
    /// The engine that several proxies share.
    pub redis: Option<Arc<Redis>>,
    pub bans: Option<Arc<Bans>>,
}

/// A config that was read and found good.
#[derive(Clone, Debug)]
pub struct Checked {
    pub config: Arc<Config>,
    /// Nothing that stops it, but that its author should know.
    pub warnings: Vec<Problem>,
    /// SHA-256 of the sources as typed, in hex.
    pub hash: Arc<str>,
    /// What it was read from.
    input: Input,
}

impl Checked {
    /// What `config show` prints: every effective value with its origin, secrets masked. Made anew from the sources each
    /// time: it is seldom asked for, and larger than everything else that is kept of a config.
    #[must_use]
    pub fn effective(&self) -> Effective {
        effective::of(&self.input, &self.config.routes)
    }
}

/// The effective tree for showing: defaults filled in, secrets masked, references shown as references.
#[derive(Clone, Debug, Default)]
pub struct Effective {
    /// The tree as JSON, keys in the order of the reference.
    pub tree: serde_json::Value,
    /// Config path and origin of every leaf, in the order of the tree.
    pub origins: Vec<(String, Origin)>,
}

/// Reads a config: parse, merge, resolve references, check. Pure.
///
/// # Errors
/// Every mistake in every source, with the warnings among them.
pub fn load(input: &Input, references: &References<'_>) -> Result<Checked, Problems> {
    root::load(input, references)
}

/// The JSON Schema (draft 2020-12) of the config language.
#[must_use]
pub fn schema() -> serde_json::Value {
    schema::schema()
}

/// A short commented config to start from; it loads as it stands.
#[must_use]
pub fn starter() -> &'static str {
    include_str!("starter.yaml")
}
