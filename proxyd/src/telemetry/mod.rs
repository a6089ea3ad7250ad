//! What the daemon tells about itself: the access log, the metrics, the diagnostics, and the clock and ids they share.
//!
//! Every worker owns its half of each part and writes no memory that another worker writes: counters are summed when
//! somebody asks, log lines change hands in chunks. Nothing here decides anything about a request.

#![warn(clippy::indexing_slicing)]

pub mod access_log;
pub mod clock;
pub mod diagnostics;
pub mod ids;
pub mod metrics;
pub mod process;
