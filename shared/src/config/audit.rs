//! The section `audit`: which requests are recorded, where, and for how long.

use std::path::PathBuf;
use std::time::Duration;

/// `audit`. Actions are always recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    pub requests: RequestAudit,
    /// The folder of the segments. Cannot change while running.
    pub path: PathBuf,
    /// The longest time a request row waits for its commit.
    pub flush: Duration,
    pub when_full: WhenFull,
    pub keep: Keep,
}

/// Which requests become rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestAudit {
    All,
    /// Those answered with 400 or above, and those that were cut short.
    Errors,
    Off,
}

/// What a request meets when there is no room for its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It waits up to a second, then is refused.
    Wait,
    /// It is served, and its missing row is counted into a gap.
    Shed,
}

/// How long rows are kept; whichever bound is met first. None: no bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep {
    pub days: Option<u32>,
    pub size_bytes: Option<u64>,
}
