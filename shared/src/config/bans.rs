//! The section `bans`: addresses that earn refusals are refused for a while.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

/// `bans`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bans {
    /// So many refusals …
    pub refusals: u32,
    /// … within so long …
    pub within: Duration,
    /// … keep an address out for so long; each time again twice as long, up to `longest`.
    pub lasts: Duration,
    pub longest: Duration,
    /// Which refusals count: their codes.
    pub on: Vec<Arc<str>>,
    /// Never banned.
    pub exempt: Vec<IpNet>,
    /// IPv6 clients are counted, and banned, together by this many leading bits.
    pub ipv6_prefix: u8,
}
