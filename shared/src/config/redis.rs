//! The section `redis`: the engine (Redis or Valkey) by which several proxies are one gateway.

use std::sync::Arc;
use std::time::Duration;

use super::Secret;

/// `redis`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    /// `redis://`, `rediss://` or `unix:`; may hold a password.
    pub url: Secret,
    /// Put before every key.
    pub prefix: Arc<str>,
    /// Of each question.
    pub timeout: Duration,
    pub connect_timeout: Duration,
    /// After so many failures one after the other it is not asked …
    pub failures: u32,
    /// … for so long.
    pub open_for: Duration,
}
