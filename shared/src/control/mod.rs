//! The control protocol: one enum variant per command is at once the wire form, the CLI subcommand's arguments and the
//! admin body. The executor is proxyd's; nothing here does anything.

mod access;
mod endpoint;
mod error;
mod frame;
pub mod http;
mod identity;
mod place;
pub mod report;
mod secret;

pub use access::Access;
pub use endpoint::{
    EndpointState, MAX_WEIGHT, UpstreamsArgs, UpstreamsDeregisterArgs, UpstreamsRegisterArgs, UpstreamsSetArgs,
};
pub use error::{ControlError, ErrorCode};
pub use frame::{Answer, Ask, Id, MAX_LINE_BYTES, VERSION, Wire};
pub use http::HttpForm;
pub use identity::{
    BansAddArgs, BansLiftArgs, KeysCreateArgs, KeysRevokeArgs, KeysRotateArgs, TokensRevokeArgs, UsersAddArgs,
    UsersPasswordArgs, UsersRemoveArgs, UsersSetArgs,
};
pub use place::{SOCKET_NAME, SOCKET_VARIABLE, socket_places};

use serde::{Deserialize, Serialize};

use crate::audit::AuditQuery;
use crate::config::Level;

/// Everything the daemon can be asked. On the wire `{"command":"reload","args":{"dry_run":true}}`; `args` may be absent
/// where every argument has a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", content = "args", rename_all = "snake_case", deny_unknown_fields)]
#[expect(clippy::large_enum_variant, reason = "one at a time, made by a person")]
pub enum Command {
    /// Who runs, since when, which generation, how it goes → [`report::Status`].
    Status(Nothing),
    /// The routes in force, in order of precedence → a stream of [`report::RouteLine`].
    Routes(RoutesArgs),
    /// What would become of a request → [`report::Explanation`].
    Explain(ExplainArgs),
    /// Read the sources again and apply them → [`report::Reloaded`].
    Reload(ReloadArgs),
    /// Check a config text without applying it → [`report::Validated`].
    Validate(ValidateArgs),
    /// The effective config, masked → [`report::ConfigShown`].
    Config(ConfigArgs),
    /// The generations kept → a stream of [`report::GenerationLine`].
    History(HistoryArgs),
    /// Apply a kept generation's sources as a new generation → [`report::Reloaded`].
    Rollback(RollbackArgs),
    /// Audit rows → a stream of [`crate::audit::Row`], then [`report::AuditEnd`].
    Audit(AuditQuery),
    /// The newest sequence number and its link, to be kept elsewhere → [`report::AuditHead`].
    AuditHead(Nothing),
    /// Prove the chain → [`report::AuditVerified`].
    AuditVerify(VerifyArgs),
    /// The upstreams and their endpoints → a stream of [`report::UpstreamLine`].
    Upstreams(UpstreamsArgs),
    /// Say what an endpoint may do, or its weight → [`report::EndpointSet`].
    UpstreamsSet(UpstreamsSetArgs),
    /// Add an endpoint to an upstream, or say that it is still there → [`report::EndpointRegistered`].
    UpstreamsRegister(UpstreamsRegisterArgs),
    /// Take a registered endpoint away → [`report::EndpointGone`].
    UpstreamsDeregister(UpstreamsDeregisterArgs),
    /// The API keys → a stream of [`report::KeyLine`].
    Keys(Nothing),
    /// Make an API key; its secret is told once → [`report::KeyMade`].
    KeysCreate(KeysCreateArgs),
    /// Make an API key good no longer → [`report::KeyRevoked`].
    KeysRevoke(KeysRevokeArgs),
    /// Give an API key a new secret → [`report::KeyMade`].
    KeysRotate(KeysRotateArgs),
    /// The tokens that were revoked → a stream of [`report::TokenLine`].
    Tokens(Nothing),
    /// Make a token good no longer → [`report::TokenRevoked`].
    TokensRevoke(TokensRevokeArgs),
    /// The accounts → a stream of [`report::UserLine`].
    Users(Nothing),
    /// Make an account → [`report::UserChanged`].
    UsersAdd(UsersAddArgs),
    /// Change an account → [`report::UserChanged`].
    UsersSet(UsersSetArgs),
    /// Give an account a password → [`report::UserChanged`].
    UsersPassword(UsersPasswordArgs),
    /// Take an account away → [`report::UserChanged`].
    UsersRemove(UsersRemoveArgs),
    /// The bans in force → a stream of [`report::BanLine`].
    Bans(Nothing),
    /// Refuse an address or network for a while → [`report::BanChanged`].
    BansAdd(BansAddArgs),
    /// End a ban → [`report::BanChanged`].
    BansLift(BansLiftArgs),
    /// Look at rate limit counters → a stream of [`report::LimitLine`].
    Limits(LimitsArgs),
    /// The keys that have used most of their limits → a stream of [`report::LimitTop`].
    LimitsTop(LimitsTopArgs),
    /// Forget a key's counts → [`report::LimitsReset`].
    LimitsReset(LimitsResetArgs),
    /// Change how much the diagnostics say, until the next start → [`report::LogLevel`].
    LogLevel(LogLevelArgs),
    /// Let a new process of the binary on disk take over, without losing a connection → [`report::Upgraded`].
    Upgrade(Nothing),
    /// Drain and stop → [`report::Stopping`].
    Shutdown(Nothing),
}

/// No arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct Nothing {}

/// Arguments of `routes`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct RoutesArgs {
    /// Only routes whose name contains this
    #[cfg_attr(feature = "cli", arg(value_name = "TEXT"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Arguments of `explain`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct ExplainArgs {
    /// The request's method
    #[cfg_attr(feature = "cli", arg(value_name = "METHOD"))]
    pub method: String,
    /// Its URL, or its path (host then by -H)
    #[cfg_attr(feature = "cli", arg(value_name = "URL"))]
    pub url: String,
    /// A request header, `Name: value`; may be repeated
    #[cfg_attr(feature = "cli", arg(short = 'H', long = "header", value_name = "HEADER"))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
    /// The client's address
    #[cfg_attr(feature = "cli", arg(long, value_name = "IP"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// Arguments of `reload`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct ReloadArgs {
    /// Say what would change, and change nothing
    #[cfg_attr(feature = "cli", arg(long))]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Read this file or directory instead of the one the daemon was started with (absolute, on the daemon's machine)
    #[cfg_attr(feature = "cli", arg(long, value_name = "FILE"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
}

/// Arguments of `validate`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidateArgs {
    /// The config's text; references to files and variables are not resolved.
    pub text: String,
    /// What to call it in messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Arguments of `config`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct ConfigArgs {
    /// Say where each value came from
    #[cfg_attr(feature = "cli", arg(long))]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub origin: bool,
}

/// Arguments of `history`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct HistoryArgs {
    /// Print this generation's sources as they were typed
    #[cfg_attr(feature = "cli", arg(value_name = "GENERATION"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
}

/// Arguments of `rollback`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct RollbackArgs {
    /// The generation whose sources are applied again, as a new generation
    #[cfg_attr(feature = "cli", arg(value_name = "GENERATION"))]
    pub generation: u64,
    /// Restore the files on disk too
    #[cfg_attr(feature = "cli", arg(long))]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub write: bool,
}

/// Arguments of `audit verify`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct VerifyArgs {
    /// A head noted earlier (`SEQ:LINK`, as `audit head` prints it): proves that nothing up to it was cut off
    #[cfg_attr(feature = "cli", arg(long, value_name = "HEAD"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
}

/// Arguments of `limits`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct LimitsArgs {
    /// Only this key (an address, a user, an API key, or a header's value)
    #[cfg_attr(feature = "cli", arg(value_name = "KEY"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Only the rule of this name
    #[cfg_attr(feature = "cli", arg(long, value_name = "NAME"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

/// Arguments of `limits top`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct LimitsTopArgs {
    /// Only the rule of this name
    #[cfg_attr(feature = "cli", arg(long, value_name = "NAME"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// How many keys, at most 1000 [default: 20]
    #[cfg_attr(feature = "cli", arg(long, value_name = "N"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<u32>,
}

/// Arguments of `limits reset`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct LimitsResetArgs {
    /// The key whose counts are forgotten (an address, a user, an API key, or a header's value)
    #[cfg_attr(feature = "cli", arg(value_name = "KEY"))]
    pub key: String,
    /// Only in the rule of this name
    #[cfg_attr(feature = "cli", arg(long, value_name = "NAME"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

/// Arguments of `log-level`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct LogLevelArgs {
    /// How much the diagnostics say
    #[cfg_attr(feature = "cli", arg(value_name = "LEVEL", value_enum))]
    pub level: Level,
}

impl Command {
    /// Its name on the wire.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Status(_) => "status",
            Self::Routes(_) => "routes",
            Self::Explain(_) => "explain",
            Self::Reload(_) => "reload",
            Self::Validate(_) => "validate",
            Self::Config(_) => "config",
            Self::History(_) => "history",
            Self::Rollback(_) => "rollback",
            Self::Audit(_) => "audit",
            Self::AuditHead(_) => "audit_head",
            Self::AuditVerify(_) => "audit_verify",
            Self::Upstreams(_) => "upstreams",
            Self::UpstreamsSet(_) => "upstreams_set",
            Self::UpstreamsRegister(_) => "upstreams_register",
            Self::UpstreamsDeregister(_) => "upstreams_deregister",
            Self::Keys(_) => "keys",
            Self::KeysCreate(_) => "keys_create",
            Self::KeysRevoke(_) => "keys_revoke",
            Self::KeysRotate(_) => "keys_rotate",
            Self::Tokens(_) => "tokens",
            Self::TokensRevoke(_) => "tokens_revoke",
            Self::Users(_) => "users",
            Self::UsersAdd(_) => "users_add",
            Self::UsersSet(_) => "users_set",
            Self::UsersPassword(_) => "users_password",
            Self::UsersRemove(_) => "users_remove",
            Self::Bans(_) => "bans",
            Self::BansAdd(_) => "bans_add",
            Self::BansLift(_) => "bans_lift",
            Self::Limits(_) => "limits",
            Self::LimitsTop(_) => "limits_top",
            Self::LimitsReset(_) => "limits_reset",
            Self::LogLevel(_) => "log_level",
            Self::Upgrade(_) => "upgrade",
            Self::Shutdown(_) => "shutdown",
        }
    }

    /// Every command's name, in the order of the enum.
    pub const NAMES: &'static [&'static str] = &[
        "status",
        "routes",
        "explain",
        "reload",
        "validate",
        "config",
        "history",
        "rollback",
        "audit",
        "audit_head",
        "audit_verify",
        "upstreams",
        "upstreams_set",
        "upstreams_register",
        "upstreams_deregister",
        "keys",
        "keys_create",
        "keys_revoke",
        "keys_rotate",
        "tokens",
        "tokens_revoke",
        "users",
        "users_add",
        "users_set",
        "users_password",
        "users_remove",
        "bans",
        "bans_add",
        "bans_lift",
        "limits",
        "limits_top",
        "limits_reset",
        "log_level",
        "upgrade",
        "shutdown",
    ];

    /// Whether it is an action: audited, with its actor. Everything else only reads.
    #[must_use]
    pub fn is_action(&self) -> bool {
        match self {
            Self::Reload(_)
            | Self::Rollback(_)
            | Self::UpstreamsSet(_)
            | Self::UpstreamsRegister(_)
            | Self::UpstreamsDeregister(_)
            | Self::KeysCreate(_)
            | Self::KeysRevoke(_)
            | Self::KeysRotate(_)
            | Self::TokensRevoke(_)
            | Self::UsersAdd(_)
            | Self::UsersSet(_)
            | Self::UsersPassword(_)
            | Self::UsersRemove(_)
            | Self::BansAdd(_)
            | Self::BansLift(_)
            | Self::LimitsReset(_)
            | Self::LogLevel(_)
            | Self::Upgrade(_)
            | Self::Shutdown(_) => true,
            Self::Status(_)
            | Self::Routes(_)
            | Self::Explain(_)
            | Self::Validate(_)
            | Self::Config(_)
            | Self::History(_)
            | Self::Audit(_)
            | Self::AuditHead(_)
            | Self::AuditVerify(_)
            | Self::Upstreams(_)
            | Self::Keys(_)
            | Self::Tokens(_)
            | Self::Users(_)
            | Self::Bans(_)
            | Self::Limits(_)
            | Self::LimitsTop(_) => false,
        }
    }
}
