//! What the two processes say to each other, a JSON line each. They may be of different versions: what is said here is only
//! ever added to, or the protocol gets another number.

use serde::{Deserialize, Serialize};
use shared::config::Problem;

use crate::inherited::Use;

/// The variable that tells a process that its standard input leads to the one it takes over from. Its value is
/// [`PROTOCOL`].
pub(super) const VARIABLE: &str = "PROXYD_UPGRADE";

/// What the two speak.
pub(super) const PROTOCOL: &str = "1";

/// The longest line.
pub(super) const MOST_BYTES: usize = 1 << 20;

/// The old process's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Word {
    /// As many descriptors come along with this line, for these uses.
    Given(Vec<Use>),
    /// That was everything; who gives it.
    From { pid: u32, version: String },
    /// The store and the doors are free: nobody uses them now.
    Yours,
}

/// The new process's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// Everything is made ready that can be without the store and the doors.
    Prepared {
        version: String,
        /// Whether it answers at another control socket than the one it was given.
        #[serde(default)]
        leaves_control: bool,
    },
    /// It serves.
    Ready,
    /// It does not, and ends.
    Failed {
        message: String,
        #[serde(default)]
        problems: Vec<Problem>,
    },
}
