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
            Self::Role(Role::Registrar) => !command.is_action() || is_registration(command),
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
                | Command::Keys(_)
                | Command::Tokens(_)
                | Command::Bans(_)
                | Command::Limits(_)
                | Command::LimitsTop(_) => true,
                // Accounts are people, with their addresses.
                Command::Users(_)
                | Command::Rollback(_)
                | Command::UpstreamsSet(_)
                | Command::UpstreamsRegister(_)
                | Command::UpstreamsDeregister(_)
                | Command::KeysCreate(_)
                | Command::KeysRevoke(_)
                | Command::KeysRotate(_)
                | Command::TokensRevoke(_)
                | Command::UsersAdd(_)
                | Command::UsersSet(_)
                | Command::UsersPassword(_)
                | Command::UsersRemove(_)
                | Command::BansAdd(_)
                | Command::BansLift(_)
                | Command::LimitsReset(_)
                | Command::LogLevel(_)
                | Command::Upgrade(_)
                | Command::Shutdown(_) => false,
            },
        }
    }
}

/// What an instance does about itself.
fn is_registration(command: &Command) -> bool {
    matches!(command, Command::UpstreamsRegister(_) | Command::UpstreamsDeregister(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::ErrorCode;

    fn check(access: Access, command: &str, args: serde_json::Value, allowed: bool) {
        let command = Command::parse(command, args).unwrap_or_else(|error| panic!("{command}: {error}"));
        assert_eq!(access.allows(&command), allowed, "{access:?} {}", command.name());
    }

    #[test]
    fn a_registrar_reads_and_registers_and_nothing_else() {
        let endpoint = || serde_json::json!({ "upstream": "u", "endpoint": "h:1" });
        let nothing = || serde_json::json!({});
        for (role, registers, sets) in
            [(Role::Reader, false, false), (Role::Registrar, true, false), (Role::Operator, true, true)]
        {
            let access = Access::Role(role);
            check(access, "upstreams", nothing(), true);
            check(access, "audit", nothing(), true);
            check(access, "upstreams_register", endpoint(), registers);
            check(access, "upstreams_deregister", endpoint(), registers);
            check(access, "upstreams_set", endpoint(), sets);
            check(access, "reload", nothing(), sets);
            check(access, "shutdown", nothing(), sets);
        }
        check(Access::Local, "upstreams", nothing(), true);
        for command in ["keys", "tokens", "bans", "limits_top"] {
            check(Access::Local, command, nothing(), true);
        }
        check(Access::Local, "users", nothing(), false);
        let actions = [
            ("keys_create", serde_json::json!({ "name": "a" })),
            ("keys_revoke", serde_json::json!({ "key": "a" })),
            ("keys_rotate", serde_json::json!({ "key": "a" })),
            ("tokens_revoke", serde_json::json!({ "jti": "a" })),
            ("users_add", serde_json::json!({ "name": "a" })),
            ("users_set", serde_json::json!({ "name": "a" })),
            ("users_password", serde_json::json!({ "name": "a", "password": "b" })),
            ("users_remove", serde_json::json!({ "name": "a" })),
            ("bans_add", serde_json::json!({ "network": "::1" })),
            ("bans_lift", serde_json::json!({ "network": "::1" })),
        ];
        for (command, args) in actions {
            for access in [Access::Local, Access::Role(Role::Reader), Access::Role(Role::Registrar)] {
                check(access, command, args.clone(), false);
            }
            check(Access::Role(Role::Operator), command, args, true);
        }
        check(Access::Role(Role::Reader), "users", nothing(), true);
        check(Access::Local, "upstreams_register", endpoint(), false);
        assert!(
            Command::parse("upstreams_set", nothing()).is_err_and(|error| error.code == ErrorCode::InvalidArguments)
        );
    }
}
