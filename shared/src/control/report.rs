//! What commands answer: the `ok` and `event` bodies, the same over socket and HTTP.

mod identity;
mod upstreams;

pub use identity::{
    BanChange, BanChanged, BanFacts, BanLine, KeyChange, KeyFacts, KeyLine, KeyMade, KeyRevoked, KeyState, TokenChange,
    TokenFacts, TokenLine, TokenRevoked, UserChange, UserChanged, UserFacts, UserLine,
};
pub use upstreams::{
    EndpointGone, EndpointLine, EndpointOrigin, EndpointRegistered, EndpointSet, EndpointSetting, Latency, ProbeLine,
    RegistrationChange, RegistrationFacts, SettingChange, UpstreamLine,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::Problem;

/// Answer of `status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub pid: u32,
    /// Seconds.
    pub uptime: u64,
    /// RFC 3339, UTC.
    pub started: String,
    pub state: State,
    pub generation: u64,
    /// When and by whom the generation came into force.
    pub applied: String,
    pub applied_by: String,
    pub config: String,
    /// Whether the files on disk differ from the generation in force.
    pub drift: bool,
    pub listeners: Vec<String>,
    /// Of the listeners that speak TLS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<CertificateState>,
    /// Whoever is asked for requests and is no upstream.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outside: Vec<OutsideState>,
    pub admin: Option<String>,
    pub socket: String,
    pub workers: u32,
    pub routes: u64,
    pub upstreams: u64,
    pub connections: u64,
    pub in_flight: u64,
    pub requests: u64,
    pub log_level: String,
    pub last_reload: Option<LastReload>,
    pub audit: AuditState,
}

/// Whether it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Starting,
    Serving,
    Draining,
}

/// Somebody who is asked for requests: the shared store, or who says who somebody is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutsideState {
    /// `redis`, or the provider, such as `jwt.main`.
    pub name: String,
    /// Where it is, without anything secret.
    pub place: String,
    /// Whether it does what is needed of it, where that is known.
    pub is_well: Option<bool>,
    /// How it is, in words.
    pub told: String,
}

/// A certificate that a listener shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateState {
    /// The listener's address, as configured.
    pub listener: String,
    /// The file it came from.
    pub path: String,
    pub subject: String,
    /// The DNS names it is for.
    pub names: Vec<String>,
    /// RFC 3339, UTC.
    pub not_after: String,
    /// Whole days until then; negative once it is over.
    pub days_left: i64,
    /// Why the files as they are now were not taken up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// How the newest reload went, through whichever door.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastReload {
    pub time: String,
    pub door: String,
    pub actor: String,
    /// `done`, or the error's code.
    pub outcome: String,
    pub message: String,
}

/// How the audit store is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditState {
    pub path: String,
    pub writable: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// The newest sequence number.
    pub seq: u64,
    /// Rows waiting to be written.
    pub queued: u64,
    /// Rows not written because the store had no room for them.
    pub shed: u64,
    pub segments: u64,
    pub size_bytes: u64,
}

/// One route of `routes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteLine {
    pub name: String,
    pub hosts: Vec<String>,
    /// `/api/`, `= /healthz`, `~ ^/v[0-9]+`.
    pub path: String,
    pub methods: Vec<String>,
    /// Header and query conditions, as text.
    pub conditions: Vec<String>,
    pub priority: i32,
    /// `→ users`, `redirect 308`, `respond 200`.
    pub action: String,
    /// Names of the policies in force.
    pub policies: Vec<String>,
    pub origin: String,
}

/// Answer of `explain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    pub generation: Option<u64>,
    pub method: String,
    pub host: String,
    /// After normalisation: what is matched, forwarded, logged and audited.
    pub path: String,
    pub query: String,
    pub client: String,
    /// In order of precedence; at most [`MAX_CANDIDATES`].
    pub candidates: Vec<Candidate>,
    /// How many more there are that are not listed.
    pub unlisted: u64,
    pub verdict: Verdict,
    /// The policies in force for this request and what they would do.
    pub policies: Vec<PolicyLine>,
}

/// How many candidates an explanation lists.
pub const MAX_CANDIDATES: usize = 100;

/// A route that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    pub route: String,
    pub origin: String,
    pub won: bool,
    /// Why it lost (`method GET is not POST`, `host differs`, `shorter prefix than …`), or why it won.
    pub reason: String,
}

/// What would become of the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Verdict {
    /// Sent to one of these.
    Forward {
        route: String,
        targets: Vec<Target>,
    },
    Redirect {
        route: String,
        status: u16,
        location: String,
    },
    Respond {
        route: String,
        status: u16,
    },
    /// Answered by pages of our own: `login`, `accounts`, `jwks`.
    Serve {
        route: String,
        pages: String,
    },
    /// Refused before or by routing or by a policy that depends on the request alone.
    Reject {
        code: String,
        status: u16,
        message: String,
    },
}

/// Where a request would be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub upstream: String,
    /// Of 100.
    pub share: String,
    /// The URL that each endpoint would see.
    pub urls: Vec<String>,
    /// The `Host` it would see.
    pub host: String,
}

/// A policy in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyLine {
    pub policy: String,
    /// `top level`, `route users`, `default`.
    pub scope: String,
    pub origin: String,
    /// What it says, and what it would do with this request where that can be told.
    pub effect: String,
}

/// Answer of `reload` and `rollback`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// The generation now in force (with `dry_run`: the one that would be made).
    pub generation: u64,
    /// False: the same as before, no generation made; or a dry run.
    pub applied: bool,
    pub dry_run: bool,
    pub changes: Changes,
    pub warnings: Vec<Problem>,
    /// Milliseconds.
    pub took_ms: u64,
    /// True when the generation replaced was not what the files said (a rollback was in force).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overrode_drift: bool,
    /// False where the action's audit row is kept aside because the store cannot be written.
    pub audited: bool,
}

/// What a reload changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    pub routes: Delta,
    pub upstreams: Delta,
    pub listeners: Delta,
    /// Top-level sections and policies that differ.
    pub sections: Vec<String>,
    /// State that lives on: `3 limiters`, `2 upstreams' pools`.
    pub kept: Vec<String>,
}

/// Names added, changed and removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    pub added: Vec<String>,
    pub changed: Vec<String>,
    pub removed: Vec<String>,
}

/// Answer of `validate`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validated {
    pub valid: bool,
    /// Errors and warnings.
    pub problems: Vec<Problem>,
    pub routes: u64,
    pub upstreams: u64,
}

/// Answer of `config`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConfigShown {
    pub generation: Option<u64>,
    pub config: Value,
    /// With `origin`: config path and where its value came from, in the tree's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<(String, String)>,
}

/// One generation of `history`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationLine {
    pub generation: u64,
    /// RFC 3339, UTC.
    pub time: String,
    pub actor: String,
    pub door: String,
    /// SHA-256 of the sources, in hex.
    pub hash: String,
    /// In one line.
    pub summary: String,
    pub current: bool,
    /// The generation it repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_of: Option<u64>,
    /// With `history N`: its sources as typed, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<(String, String)>,
}

/// After the rows of `audit`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEnd {
    pub rows: u64,
    /// False when the search ran out of time; then `reached` says how far back it got.
    pub complete: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<u64>,
}

/// Answer of `audit head`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHead {
    pub seq: u64,
    /// The link, in hex.
    pub link: String,
    /// `SEQ:LINK`, for `verify --head`.
    pub head: String,
}

/// Answer of `audit verify`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditVerified {
    pub intact: bool,
    pub rows: u64,
    pub first_seq: u64,
    pub last_seq: u64,
    /// `SEQ:LINK` of the last row.
    pub head: String,
    /// Gap rows met, in order: honest holes.
    pub gaps: Vec<crate::audit::GapRow>,
    /// The first row that does not fit, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<Broken>,
}

/// Where a chain breaks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    pub seq: u64,
    pub segment: String,
    /// `changed`, `missing`, `added`, `cut off`, in a sentence.
    pub reason: String,
}

/// One counter of `limits`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitLine {
    pub rule: String,
    /// `top level` or `route NAME`.
    pub scope: String,
    /// Address (or network) or header value (masked where its name says so); empty in a line about the rule itself.
    pub key: String,
    /// Whose user it is, where that is known: providers may know one name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// `60/1m`.
    pub limit: String,
    pub remaining: u64,
    /// Seconds.
    pub reset: u64,
    /// Of the rule: keys held, and how many may be.
    pub keys: u64,
    pub max_keys: u64,
    pub shadow: bool,
    /// The shared store does not answer: what this process knows.
    #[serde(default)]
    pub store_silent: bool,
}

/// One key of `limits top`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitTop {
    pub rule: String,
    /// `top level` or `route NAME`.
    pub scope: String,
    /// As in [`LimitLine`].
    pub key: String,
    /// Of the limit that it is nearest to.
    pub used: u64,
    /// `60/1m`.
    pub limit: String,
    pub remaining: u64,
    /// Seconds.
    pub resets_in: u64,
}

/// Answer of `limits reset`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitsReset {
    /// How many counters were forgotten.
    pub reset: u64,
    /// How many stay, since requests under way hold them.
    #[serde(default)]
    pub running: u64,
    /// Rules whose counts are forgotten here only, each with the reason.
    #[serde(default)]
    pub failed: Vec<String>,
    pub audited: bool,
}

/// Answer of `log-level`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLevel {
    pub level: String,
    pub before: String,
    pub audited: bool,
}

/// Answer of `upgrade`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgraded {
    /// The process that serves from now on.
    pub pid: u32,
    pub version: String,
    /// The one that served before, and now drains.
    pub pid_before: u32,
    pub version_before: String,
    /// Milliseconds from the command until the new process served.
    pub took_ms: u64,
    /// Requests and connections that the old one still has.
    pub in_flight: u64,
    pub connections: u64,
    pub audited: bool,
}

/// Answer of `shutdown`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopping {
    /// Seconds that requests under way have.
    pub drain: u64,
    pub in_flight: u64,
    pub audited: bool,
}
