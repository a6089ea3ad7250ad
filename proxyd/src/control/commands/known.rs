//! What the commands about keys, tokens, users and bans share: the file of who is known, asked where waiting for the disk holds nobody
//! up, and its refusals in the protocol's words.

use std::sync::Arc;
use std::time::Duration;

use directory::DirectoryError;
use serde::Serialize;
use serde_json::{Map, Value};
use shared::control::{ControlError, ErrorCode};

use super::{off_thread, rfc3339};
use crate::control::Reply;
use crate::identity::State;
use crate::telemetry::clock::unix_us;

/// The longest that anything is kept for: ten years.
pub(super) const LONGEST: Duration = Duration::from_hours(24 * 3650);

/// Bytes of whoever did something, as the file keeps it.
const ACTOR_BYTES: usize = 256;

/// Asks the file, or changes it and what follows from it.
pub(super) async fn on_disk<T: Send + 'static>(
    state: &Arc<State>,
    work: impl FnOnce(&State) -> Result<T, DirectoryError> + Send + 'static,
) -> Result<T, ControlError> {
    let state = Arc::clone(state);
    off_thread(move || work(&state)).await?.map_err(|error| refused(&error))
}

fn refused(error: &DirectoryError) -> ControlError {
    let code = match error {
        DirectoryError::Unknown { .. } => ErrorCode::NotFound,
        DirectoryError::Taken { .. } | DirectoryError::Changed { .. } | DirectoryError::Ended { .. } => {
            ErrorCode::Conflict
        }
        DirectoryError::Ambiguous { .. } | DirectoryError::Invalid { .. } => ErrorCode::InvalidArguments,
        DirectoryError::Full { .. }
        | DirectoryError::Io { .. }
        | DirectoryError::Sqlite { .. }
        | DirectoryError::NotSqlite { .. }
        | DirectoryError::Foreign { .. }
        | DirectoryError::Newer { .. }
        | DirectoryError::Damaged { .. }
        | DirectoryError::Randomness(_) => ErrorCode::Failed,
    };
    ControlError::new(code, error.to_string())
}

pub(super) fn invalid(message: impl Into<String>) -> ControlError {
    ControlError::new(ErrorCode::InvalidArguments, message)
}

/// Seconds since the epoch.
pub(super) fn now_s() -> i64 {
    unix_us().div_euclid(1_000_000)
}

/// A time of the file, as people and programs read it.
pub(super) fn moment(unix_s: i64) -> String {
    rfc3339(unix_s.saturating_mul(1_000_000))
}

/// Whoever does something, fit for the file.
pub(super) fn actor(actor: &str) -> String {
    let end = (0..=actor.len().min(ACTOR_BYTES)).rev().find(|at| actor.is_char_boundary(*at)).unwrap_or_default();
    let actor: String = actor.get(..end).unwrap_or_default().chars().filter(|c| !c.is_control()).collect();
    match actor.trim() {
        "" => "unknown".to_owned(),
        actor => actor.to_owned(),
    }
}

/// Rows, then how many of `what` they were.
pub(super) fn stream<T: Serialize + Send + Sync + 'static>(
    what: &'static str,
    rows: impl Iterator<Item = T> + Send + 'static,
) -> Reply {
    Reply::stream(false, move |sink| async move {
        let mut count = 0u64;
        for row in rows {
            count += 1;
            if !sink.event(&row).await {
                return;
            }
        }
        sink.end(&Map::from_iter([(what.to_owned(), Value::from(count))])).await;
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actors_fit_the_file() {
        let check = |text: &str, expected: &str| assert_eq!(actor(text), expected);
        check("root (uid 0, pid 7)", "root (uid 0, pid 7)");
        check(" a\nb ", "ab");
        check("", "unknown");
        check(&"ä".repeat(200), &"ä".repeat(128));
    }
}
