//! The rows. `…Facts` is what is written (borrowed, unnumbered), `…Row` what is read back (owned, numbered).
//!
//! Times are microseconds since the Unix epoch (UTC); durations are microseconds. Texts are masked before they come here.

use serde::{Deserialize, Serialize};

/// One finished request, as the data path knows it. Empty texts stand for "none".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestFacts<'a> {
    /// When its head had been received.
    pub time_us: i64,
    pub request_id: &'a str,
    /// The client's address after trusted proxies, without port.
    pub client: &'a str,
    pub method: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The listener's address.
    pub listener: &'a str,
    pub host: &'a str,
    /// Normalised, without query.
    pub path: &'a str,
    /// Without `?`, masked.
    pub query: &'a str,
    /// `HTTP/1.1`.
    pub protocol: &'a str,
    pub route: &'a str,
    pub upstream: &'a str,
    pub endpoint: &'a str,
    /// What the client was sent; 0 when it left before a head was sent.
    pub status: u16,
    /// `served` (an upstream's answer, whole), `answered` (ours, by the route's own wish), a rejection's code, or how it
    /// was cut short (`client_closed`, `upstream_truncated`, …).
    pub outcome: &'a str,
    /// Body bytes from the client.
    pub bytes_in: u64,
    /// Body bytes to the client.
    pub bytes_out: u64,
    /// Head received to body ended.
    pub duration_us: u64,
    /// Sent upstream to response head received, over all attempts.
    pub upstream_us: u64,
    pub attempts: u32,
    /// Why it took more than one attempt, or was not tried again, in our own words and addresses; nearly always empty.
    pub tries: &'a str,
    /// Who it was; empty where nobody was recognised.
    pub principal: &'a str,
    /// How they were recognised: a provider's name, behind an API key's the part of the key that may be seen.
    pub credential: &'a str,
    /// The config generation that decided.
    pub generation: u64,
    pub user_agent: &'a str,
    /// The header and query values that some route's matcher reads, as a JSON object; empty when none does. For replay.
    pub matched: &'a str,
}

/// A request row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestRow {
    pub seq: u64,
    pub time_us: i64,
    pub request_id: String,
    pub client: String,
    pub method: String,
    pub scheme: String,
    pub listener: String,
    pub host: String,
    pub path: String,
    pub query: String,
    pub protocol: String,
    pub route: String,
    pub upstream: String,
    pub endpoint: String,
    pub status: u16,
    pub outcome: String,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub duration_us: u64,
    pub upstream_us: u64,
    pub attempts: u32,
    pub tries: String,
    pub principal: String,
    pub credential: String,
    pub generation: u64,
    pub user_agent: String,
    pub matched: String,
}

impl RequestRow {
    /// The row that `facts` make under a number.
    #[must_use]
    pub fn of(seq: u64, facts: &RequestFacts<'_>) -> Self {
        Self {
            seq,
            time_us: facts.time_us,
            request_id: facts.request_id.to_owned(),
            client: facts.client.to_owned(),
            method: facts.method.to_owned(),
            scheme: facts.scheme.to_owned(),
            listener: facts.listener.to_owned(),
            host: facts.host.to_owned(),
            path: facts.path.to_owned(),
            query: facts.query.to_owned(),
            protocol: facts.protocol.to_owned(),
            route: facts.route.to_owned(),
            upstream: facts.upstream.to_owned(),
            endpoint: facts.endpoint.to_owned(),
            status: facts.status,
            outcome: facts.outcome.to_owned(),
            bytes_in: facts.bytes_in,
            bytes_out: facts.bytes_out,
            duration_us: facts.duration_us,
            upstream_us: facts.upstream_us,
            attempts: facts.attempts,
            tries: facts.tries.to_owned(),
            principal: facts.principal.to_owned(),
            credential: facts.credential.to_owned(),
            generation: facts.generation,
            user_agent: facts.user_agent.to_owned(),
            matched: facts.matched.to_owned(),
        }
    }

    /// The row's facts, for chaining it again.
    #[must_use]
    pub fn facts(&self) -> RequestFacts<'_> {
        RequestFacts {
            time_us: self.time_us,
            request_id: &self.request_id,
            client: &self.client,
            method: &self.method,
            scheme: &self.scheme,
            listener: &self.listener,
            host: &self.host,
            path: &self.path,
            query: &self.query,
            protocol: &self.protocol,
            route: &self.route,
            upstream: &self.upstream,
            endpoint: &self.endpoint,
            status: self.status,
            outcome: &self.outcome,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            duration_us: self.duration_us,
            upstream_us: self.upstream_us,
            attempts: self.attempts,
            tries: &self.tries,
            principal: &self.principal,
            credential: &self.credential,
            generation: self.generation,
            user_agent: &self.user_agent,
            matched: &self.matched,
        }
    }
}

/// The way an action came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    Socket,
    Http,
    Signal,
    /// The daemon's own start and stop.
    Start,
}

impl Door {
    /// The door of a stored word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        [Self::Socket, Self::Http, Self::Signal, Self::Start].into_iter().find(|door| door.as_str() == word)
    }

    /// The word stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Http => "http",
            Self::Signal => "signal",
            Self::Start => "start",
        }
    }
}

/// One admin action, done, refused or failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionFacts {
    pub time_us: i64,
    pub door: Door,
    /// `root (uid 0, pid 4711)`, `token ci at 127.0.0.1`, `signal SIGHUP`.
    pub actor: String,
    /// The command's name on the wire.
    pub command: String,
    /// Its arguments as JSON, masked.
    pub arguments: String,
    /// `done`, or the error's stable code.
    pub outcome: String,
    /// The error's message; empty when done.
    pub message: String,
    pub generation_before: u64,
    pub generation_after: u64,
    /// What changed, as JSON; empty when nothing did.
    pub changes: String,
}

/// An action row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionRow {
    pub seq: u64,
    #[serde(flatten)]
    pub facts: ActionFacts,
}

/// Rows that are missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// When the gap was written down.
    pub time_us: i64,
    /// How many rows are missing; none: nobody can know.
    pub missing: Option<u64>,
    /// The earliest and latest time of what is missing, as far as known.
    pub from_us: Option<i64>,
    pub until_us: Option<i64>,
    /// `shed`, `unclean_stop`, `store_unwritable`, ….
    pub reason: String,
}

/// A gap row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapRow {
    pub seq: u64,
    #[serde(flatten)]
    pub gap: Gap,
}

/// Any row, as `audit` answers it: `{"kind":"request", …}`.
#[expect(clippy::large_enum_variant, reason = "nearly every row is a request: boxing those would cost what it saves")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Row {
    Request(RequestRow),
    Action(ActionRow),
    Gap(GapRow),
}

impl Row {
    /// Its sequence number.
    #[must_use]
    pub fn seq(&self) -> u64 {
        match self {
            Self::Request(row) => row.seq,
            Self::Action(row) => row.seq,
            Self::Gap(row) => row.seq,
        }
    }
}
