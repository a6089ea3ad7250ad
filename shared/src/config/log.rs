//! The section `log`: diagnostics, the access log and what both must hide.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `log`.
#[derive(Clone, Debug)]
pub struct Log {
    pub level: Level,
    pub format: LogFormat,
    pub access: AccessLog,
    /// Requests that took longer are logged on their own; none: off.
    pub slow_request: Option<Duration>,
    pub redact: Redact,
}

/// How much the diagnostics say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

impl Level {
    /// The word users type.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// The form of both logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Json,
    Text,
}

/// Where access log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    Stdout,
    Off,
    File(PathBuf),
}

/// Names added to the built-in list of what is masked; lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redact {
    pub headers: Vec<String>,
    pub query: Vec<String>,
}
