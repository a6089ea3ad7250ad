//! What the metrics page shows beside the workers' cells: read by the control side when a page is asked for.

use std::time::Duration;

use crate::telemetry::process::Process;

/// Everything that is not counted in workers' cells.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    pub version: String,
    pub generation: u64,
    pub uptime: Duration,
    /// Whether it takes new requests: serving, not starting or draining.
    pub ready: bool,
    /// How many reloads ended in each way: `done`, or the error's code.
    pub reloads: Vec<(String, u64)>,
    pub last_reload: Option<LastReload>,
    pub audit: Audit,
    /// One for each rate limit rule in force.
    pub limiters: Vec<Limiter>,
    /// The store that several proxies share, where there is one.
    pub store: Option<StoreGauge>,
    /// One for each certificate of each listener.
    pub certificates: Vec<Certificate>,
    /// One for each upstream, and one for each endpoint.
    pub upstreams: Vec<UpstreamGauge>,
    pub endpoints: Vec<EndpointGauge>,
    /// One for each verifier of tokens.
    pub verifiers: Vec<Verifier>,
    pub bans: BanGauge,
    /// Of accounts, where they have a mail server.
    pub mails: Option<MailGauge>,
    /// Access log lines that were lost because their target did not take them in time.
    pub access_log_dropped: u64,
    pub process: Process,
}

/// Addresses that are refused for a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BanGauge {
    pub active: u64,
    /// Earned, and not imposed for want of room.
    pub missed: u64,
}

/// Mails to accounts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MailGauge {
    pub sent: u64,
    /// Given up, or refused.
    pub failed: u64,
}

/// The newest reload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastReload {
    pub succeeded: bool,
    /// Microseconds since the Unix epoch.
    pub unix_us: i64,
}

/// The audit store and its queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    pub writable: bool,
    /// Rows waiting to be written.
    pub queued: u64,
    /// Rows written since the start.
    pub written: u64,
    /// Rows that were not written for want of room.
    pub shed: u64,
    pub commits: u64,
    /// Time spent in commits, in microseconds.
    pub commit_us: u64,
}

/// One rate limit rule's table of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limiter {
    /// `top level` or `route NAME`.
    pub scope: String,
    pub rule: String,
    pub keys: u64,
    pub max_keys: u64,
    /// Keys that were forgotten for want of room.
    pub evictions: u64,
}

/// A verifier of tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verifier {
    /// `jwt.main`.
    pub provider: String,
    /// Tokens that were known already.
    pub hits: u64,
    /// Tokens whose signature had to be checked.
    pub misses: u64,
    /// Keys there are now.
    pub keys: u64,
    /// Where its keys come from a URL.
    pub fetches: Option<KeyFetches>,
}

/// How the keys of a verifier are fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyFetches {
    pub done: u64,
    pub failed: u64,
    /// Seconds since the Unix epoch, of the newest good one.
    pub fresh_s: Option<i64>,
}

/// How the shared store does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreGauge {
    /// Whether it is asked: `closed`, `open` or `half_open`.
    pub breaker: &'static str,
}

/// A certificate that a listener shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    pub listener: String,
    /// The file it came from.
    pub path: String,
    /// Seconds since the Unix epoch.
    pub not_after: i64,
}

/// How an upstream does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamGauge {
    pub name: String,
    /// Endpoints that are used now.
    pub used: u64,
    /// All of them are, since too few are well.
    pub panics: bool,
    /// Requests that wait for their turn.
    pub waiting: u64,
}

/// How an endpoint does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointGauge {
    pub upstream: String,
    pub address: String,
    /// One word of those there are.
    pub state: &'static str,
    pub ejections: u64,
    pub trips: u64,
    pub probes_passed: u64,
    pub probes_failed: u64,
}
