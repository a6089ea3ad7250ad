//! What the commands about upstreams and their endpoints answer.

use serde::{Deserialize, Serialize};

use crate::control::EndpointState;

/// One upstream of `upstreams`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UpstreamLine {
    pub name: String,
    /// `round_robin`, `hash by header x-user`.
    pub balance: String,
    /// Too few endpoints are well, so that all are used.
    #[serde(default)]
    pub panic: bool,
    /// Which endpoints are used now: `primary`, `backup`, `panic`, `none`; absent where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// Requests that wait for their turn (`in_flight`).
    #[serde(default)]
    pub waiting: u64,
    pub endpoints: Vec<EndpointLine>,
}

/// One endpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EndpointLine {
    pub address: String,
    pub weight: u32,
    /// One word: `ready`, `drain`, `down`, `unhealthy`, `ejected`, `open`, `half_open`, `unknown`, `unresolved`,
    /// `slow_start`. Empty from a daemon that does not tell.
    #[serde(default)]
    pub state: String,
    /// Why it is in that state, in a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Since when; RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    #[serde(default)]
    pub backup: bool,
    #[serde(default)]
    pub origin: EndpointOrigin,
    /// When a registered endpoint goes unless it registers again; RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    pub in_flight: u64,
    pub requests: u64,
    pub failures: u64,
    /// Requests a second, of late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// How many of 100 requests failed, of late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// `closed`, `open`, `half_open`; absent where there is no breaker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<String>,
    /// The newest probe; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<ProbeLine>,
    /// How often it was ejected.
    #[serde(default)]
    pub ejections: u64,
    /// Attempts here that were retries of requests that had failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u64>,
    /// Connections open now, idle ones among them.
    pub connections: u64,
    pub idle: u64,
    /// The newest failure: when, and in a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<String>,
}

/// How an endpoint came to be one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointOrigin {
    /// It stands in the config.
    #[default]
    File,
    /// Somebody registered it.
    Registered,
    /// A name in the config stands for it.
    Dns,
}

/// How long an endpoint took to answer, of late, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    pub p50_us: u64,
    pub p90_us: u64,
    pub p99_us: u64,
}

/// A probe's result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeLine {
    pub ok: bool,
    /// `200`, `the connection was refused`.
    pub text: String,
    /// RFC 3339, UTC.
    pub at: String,
    pub took_us: u64,
}

/// Answer of `upstreams_set`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSet {
    pub upstream: String,
    /// `host:port`.
    pub endpoint: String,
    pub changes: SettingChange,
    pub audited: bool,
}

/// What was set, and what it was before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingChange {
    pub before: EndpointSetting,
    pub after: EndpointSetting,
}

/// What holds for an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSetting {
    pub state: EndpointState,
    pub weight: u32,
}

/// Answer of `upstreams_register`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointRegistered {
    pub upstream: String,
    /// `host:port`.
    pub endpoint: String,
    /// It was registered already, and just so: nothing changed but when it goes.
    pub renewed: bool,
    /// When it goes unless it registers again; RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Absent where it was renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<RegistrationChange>,
    /// Renewals are no actions: true for them.
    pub audited: bool,
}

/// What is registered, and what was before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistrationChange {
    pub before: Option<RegistrationFacts>,
    pub after: Option<RegistrationFacts>,
}

/// How an endpoint is registered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistrationFacts {
    pub weight: u32,
    pub backup: bool,
    /// `30s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
}

/// Answer of `upstreams_deregister`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointGone {
    pub upstream: String,
    /// `host:port`.
    pub endpoint: String,
    pub changes: RegistrationChange,
    pub audited: bool,
}
