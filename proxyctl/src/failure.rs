//! Why proxyctl ends with another code than 0, and what its last words are.

use std::io;

use shared::control::{ControlError, ErrorCode};

/// How a run fails.
#[derive(Debug)]
pub enum Failure {
    /// Something to be said: by the daemon, or by us in its words.
    Told {
        error: ControlError,
        /// What to do next, where the message does not say it.
        hint: Option<String>,
    },
    /// The answer itself was bad news (an invalid config, a broken chain) and has been printed.
    Printed,
    /// Whoever read our output has gone: nothing is left to say, and that is no error.
    OutputGone,
}

impl Failure {
    /// A failure of ours.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::Told { error: ControlError::new(code, message), hint: None }
    }

    /// The same, with what to do next.
    #[must_use]
    pub fn hint(self, text: impl Into<String>) -> Self {
        match self {
            Self::Told { error, hint: None } => Self::Told { error, hint: Some(text.into()) },
            told @ Self::Told { .. } => told,
            Self::Printed => Self::Printed,
            Self::OutputGone => Self::OutputGone,
        }
    }

    /// The exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Told { error, .. } => error.code.exit_code(),
            Self::Printed => 1,
            Self::OutputGone => 0,
        }
    }
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        let hint = match error.code {
            ErrorCode::UnsupportedVersion | ErrorCode::UnknownCommand => {
                Some("proxyctl and the daemon are of different versions; use the proxyctl that came with the daemon")
            }
            ErrorCode::Unauthenticated => {
                Some("Give a token by PROXYD_ADMIN_TOKEN, or user:password by PROXYD_ADMIN_USER.")
            }
            ErrorCode::NotPermitted => {
                Some("Ask as the daemon's owner or root over the socket, or with an operator's credentials over --url.")
            }
            ErrorCode::Busy => Some("Try again in a moment."),
            ErrorCode::MalformedRequest
            | ErrorCode::RequestTooLarge
            | ErrorCode::InvalidArguments
            | ErrorCode::ConfigInvalid
            | ErrorCode::RestartRequired
            | ErrorCode::NotFound
            | ErrorCode::Conflict
            | ErrorCode::Stopping
            | ErrorCode::Failed
            | ErrorCode::Unreachable => None,
        };
        Self::Told { error, hint: hint.map(str::to_owned) }
    }
}

/// Of writing our output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::OutputGone;
        }
        Self::new(ErrorCode::Failed, format!("the output cannot be written: {error}"))
    }
}
