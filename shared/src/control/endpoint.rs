//! Arguments of the commands about upstreams' endpoints.

use serde::{Deserialize, Serialize};

/// Arguments of `upstreams`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct UpstreamsArgs {
    /// Only upstreams whose name contains this
    #[cfg_attr(feature = "cli", arg(value_name = "TEXT"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What an operator says an endpoint may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointState {
    /// Takes its share.
    #[default]
    Ready,
    /// Takes no new requests; those under way end.
    Drain,
    /// Is treated as if it were not there.
    Down,
}

impl EndpointState {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Down => "down",
        }
    }
}

/// The greatest weight.
pub const MAX_WEIGHT: u32 = 65_535;

/// Arguments of `upstreams_set`; at least one of `state` and `weight`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamsSetArgs {
    pub upstream: String,
    /// `host:port`, or the URL as in the config.
    pub endpoint: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<EndpointState>,
    /// 0 to [`MAX_WEIGHT`]; 0: no traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
}

/// Arguments of `upstreams register`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct UpstreamsRegisterArgs {
    /// The upstream's name
    #[cfg_attr(feature = "cli", arg(value_name = "UPSTREAM"))]
    pub upstream: String,
    /// The endpoint: host:port, or a URL as in the config
    #[cfg_attr(feature = "cli", arg(value_name = "ENDPOINT"))]
    pub endpoint: String,
    /// Its share of the traffic relative to its siblings, 1 to 65535 [default: 1]
    #[cfg_attr(feature = "cli", arg(long, value_name = "N"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Use it only when no other endpoint can be used
    #[cfg_attr(feature = "cli", arg(long))]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub backup: bool,
    /// How long it stays without being registered again, 1s to 24h [default: until it is deregistered]
    #[cfg_attr(feature = "cli", arg(long, value_name = "TIME"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
}

/// Arguments of `upstreams deregister`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct UpstreamsDeregisterArgs {
    /// The upstream's name
    #[cfg_attr(feature = "cli", arg(value_name = "UPSTREAM"))]
    pub upstream: String,
    /// The endpoint: host:port, or a URL as in the config
    #[cfg_attr(feature = "cli", arg(value_name = "ENDPOINT"))]
    pub endpoint: String,
}
