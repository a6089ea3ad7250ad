//! Refusals and failures of commands: a closed set of codes, the same through every door.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::config::Problem;

/// Why a command was not done.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct ControlError {
    pub code: ErrorCode,
    /// One or two plain sentences: what, and what to do next.
    pub message: String,
    /// For `config_invalid`: everything that is wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
    /// False where the action's audit row is kept aside because the store cannot be written.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub audited: bool,
}

fn yes() -> bool {
    true
}

impl ControlError {
    /// An error without problems.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), problems: Vec::new(), audited: true }
    }
}

/// The codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The line or body is not JSON, or not of the protocol's shape.
    MalformedRequest,
    /// The line or body is over its limit.
    RequestTooLarge,
    /// A protocol version that is not spoken.
    UnsupportedVersion,
    UnknownCommand,
    /// The command is known, its arguments are not right.
    InvalidArguments,
    /// The config has errors; they are in `problems`.
    ConfigInvalid,
    /// A field differs that cannot change while running.
    RestartRequired,
    /// There is no such generation, rule, key, path.
    NotFound,
    /// There is one of that name already.
    Conflict,
    /// No credentials, or wrong ones.
    Unauthenticated,
    /// The caller's role does not allow it.
    NotPermitted,
    /// Another change is being made, or the caller is too fast.
    Busy,
    /// The daemon is stopping.
    Stopping,
    /// A file, socket or store failed.
    Failed,
    /// Of the CLI: the daemon cannot be reached.
    Unreachable,
}

impl ErrorCode {
    /// The HTTP status it is answered with.
    #[must_use]
    pub fn http_status(self) -> u16 {
        match self {
            Self::MalformedRequest | Self::UnsupportedVersion | Self::InvalidArguments => 400,
            Self::Unauthenticated => 401,
            Self::NotPermitted => 403,
            Self::UnknownCommand | Self::NotFound => 404,
            Self::RestartRequired | Self::Conflict => 409,
            Self::RequestTooLarge => 413,
            Self::ConfigInvalid => 422,
            Self::Failed => 500,
            Self::Busy | Self::Stopping | Self::Unreachable => 503,
        }
    }

    /// The exit code of `proxyctl`: 1 refused, 2 wrong usage, 3 not reachable, 4 not permitted.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::InvalidArguments => 2,
            Self::Unreachable => 3,
            Self::Unauthenticated | Self::NotPermitted => 4,
            Self::MalformedRequest
            | Self::RequestTooLarge
            | Self::UnsupportedVersion
            | Self::UnknownCommand
            | Self::ConfigInvalid
            | Self::RestartRequired
            | Self::NotFound
            | Self::Conflict
            | Self::Busy
            | Self::Stopping
            | Self::Failed => 1,
        }
    }
}
