//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

/// How long anything may take that takes milliseconds on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Tries until `attempt` gives something, or fails the test with `what` after [`PATIENCE`].
#[track_caller]
pub fn eventually<T>(what: &str, attempt: impl FnMut() -> Option<T>) -> T {
    until(what, PATIENCE, attempt)
}

/// Tries until `attempt` gives something, or fails the test with `what` after `limit`.
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, attempt: impl FnMut() -> Option<T>) -> T {
    attempted(limit, attempt).unwrap_or_else(|| panic!("waited {limit:?} in vain: {what}"))
}

/// Tries until `attempt` gives something; none after `limit`.
pub fn attempted<T>(limit: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = attempt() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
