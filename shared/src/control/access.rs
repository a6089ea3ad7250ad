//! Who may give which command.

use super::Command;
use crate::config::Role;

/// What a caller was let in as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A role, by credentials or by the socket's ownership.
    Role(Role),
    /// Over loopback HTTP without `admin.auth`: may read, validate, and reload the files the daemon was started with.
    Local,
}

impl Access {
    /// Whether this caller may give this command.
    #[must_use]
    pub fn allows(self, command: &Command) -> bool {
        match self {
            Self::Role(Role::Operator) => true,
            Self::Role(Role::Reader) => !command.is_action(),
            Self::Local => match command {
                Command::Reload(reload) => reload.config.is_none(),
                Command::Status(_)
                | Command::Routes(_)
                | Command::Explain(_)
                | Command::Validate(_)
                | Command::Config(_)
                | Command::History(_)
                | Command::Audit(_)
                | Command::AuditHead(_)
                | Command::AuditVerify(_)
                | Command::Upstreams(_)
                | Command::Limits(_) => true,
                Command::Rollback(_)
                | Command::LimitsReset(_)
                | Command::LogLevel(_)
                | Command::Upgrade(_)
                | Command::Shutdown(_) => false,
            },
        }
    }
}
