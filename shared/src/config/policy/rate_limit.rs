//! The policy `rate_limit`: how many requests in how much time, by whom.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Name;

/// One rule or several, which must all pass, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What headers, metrics and `proxyctl limits` call it; unique within its policy.
    pub name: Name,
    /// At least one, at most eight; taken together, all or none. Sorted by length, shortest first.
    pub limits: Vec<Window>,
    /// The first that is known; the address where none is.
    pub by: Vec<Key>,
    pub algorithm: Algorithm,
    pub mode: Mode,
    /// How many keys are remembered at once; the ones unused longest make room.
    pub max_keys: usize,
    /// IPv6 clients are counted together by this many leading bits.
    pub ipv6_prefix: u8,
}

/// So many requests in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// At least 1.
    pub requests: u32,
    /// Between a second and 30 days.
    pub per: Duration,
}

/// Whom a rule counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    Ip,
    /// By this header's value (lower-case name).
    Header(Arc<str>),
}

/// How a rule counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    SlidingWindow,
    /// `burst`: the bucket's size; none: each limit's own number of requests.
    TokenBucket {
        burst: Option<u32>,
    },
}

/// What a refusal does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Enforce,
    /// Counted and reported, never refused.
    Shadow,
}
