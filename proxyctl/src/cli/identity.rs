//! `keys`, `tokens`, `users` and `bans`, and what follows them. Secrets are never among what is typed: of each it is said where it is
//! read from.

use clap::{ArgGroup, Args, Subcommand};
use shared::config::Secret;
use shared::control::{
    BansAddArgs, BansLiftArgs, Command, KeysCreateArgs, KeysRevokeArgs, KeysRotateArgs, Nothing, TokensRevokeArgs,
    UsersAddArgs, UsersPasswordArgs, UsersRemoveArgs, UsersSetArgs,
};

use crate::examples;

/// Where a command's secret is read from, which is no argument of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretFrom {
    /// A password, typed twice.
    Terminal,
    /// A password.
    Stdin,
    /// A token.
    TokenStdin,
}

/// What can be done with API keys.
#[derive(Debug, Subcommand)]
pub enum KeysAction {
    /// List the keys, as `keys` alone does
    #[command(after_help = examples::KEYS_LIST)]
    List(Nothing),
    /// Make a key, and show it once
    #[command(after_help = examples::KEYS_CREATE)]
    Create(KeysCreateArgs),
    /// Make a key good no longer, at once
    #[command(after_help = examples::KEYS_REVOKE)]
    Revoke(KeysRevokeArgs),
    /// Give a key a new secret, and show it once
    #[command(after_help = examples::KEYS_ROTATE)]
    Rotate(KeysRotateArgs),
}

/// What can be done with tokens.
#[derive(Debug, Subcommand)]
pub enum TokensAction {
    /// List the revoked tokens, as `tokens` alone does
    #[command(after_help = examples::TOKENS_LIST)]
    List(Nothing),
    /// Make a token good no longer, at once
    #[command(after_help = examples::TOKENS_REVOKE)]
    Revoke(TokensRevoke),
}

/// Arguments of `tokens revoke`.
#[derive(Clone, Debug, Args)]
pub struct TokensRevoke {
    // An id of its own: there is a flag `--token`.
    /// The whole token, or - to read it from standard input (other users see arguments)
    #[arg(id = "revoked", value_name = "TOKEN", required_unless_present = "jti", conflicts_with = "jti")]
    pub token: Option<String>,
    /// The token's id, its claim `jti`, where the token itself is not at hand
    #[arg(long, value_name = "JTI")]
    pub jti: Option<String>,
    /// Whose token it is, as `auth` names it, such as jwt.main [default: whoever's]
    #[arg(long, value_name = "PROVIDER")]
    pub provider: Option<String>,
    /// When the token expires: a time such as 30d, or RFC 3339 [default: what the token says; with --jti 365d]
    #[arg(long, value_name = "TIME")]
    pub expires: Option<String>,
}

/// What can be done with accounts.
#[derive(Debug, Subcommand)]
pub enum UsersAction {
    /// List the accounts, as `users` alone does
    #[command(after_help = examples::USERS_LIST)]
    List(Nothing),
    /// Make an account; its password is read from the terminal without echo
    #[command(after_help = examples::USERS_ADD)]
    Add(UsersAdd),
    /// Change an account's e-mail address, roles or state
    #[command(after_help = examples::USERS_SET)]
    Set(UsersSet),
    /// Give an account a new password; whatever it was logged in with ends
    #[command(after_help = examples::USERS_PASSWORD)]
    Password(UsersPassword),
    /// Take an account away
    #[command(after_help = examples::USERS_REMOVE)]
    Remove(UsersRemoveArgs),
}

/// Arguments of `users add`.
#[derive(Clone, Debug, Args)]
pub struct UsersAdd {
    /// The name that it logs in with
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Its e-mail address
    #[arg(long, value_name = "ADDRESS")]
    pub email: Option<String>,
    /// Its roles, apart by commas; may be repeated
    #[arg(long, value_name = "ROLES", value_delimiter = ',')]
    pub roles: Vec<String>,
    /// Its e-mail address is known to be its own
    #[arg(long, requires = "email")]
    pub verified: bool,
    /// Read the password from standard input: one line
    #[arg(long)]
    pub password_stdin: bool,
    /// Without a password: it can only be entered after a reset
    #[arg(long, conflicts_with = "password_stdin")]
    pub no_password: bool,
}

/// Arguments of `users set`.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("change").required(true).multiple(true)
    .args(["email", "roles", "no_roles", "verified", "unverified", "disable", "enable"]))]
pub struct UsersSet {
    /// The user: name, e-mail address or id
    #[arg(value_name = "USER")]
    pub name: String,
    /// Its e-mail address
    #[arg(long, value_name = "ADDRESS")]
    pub email: Option<String>,
    /// Its roles in place of those it has, apart by commas; may be repeated
    #[arg(long, value_name = "ROLES", value_delimiter = ',')]
    pub roles: Option<Vec<String>>,
    /// It has no roles
    #[arg(long, conflicts_with = "roles")]
    pub no_roles: bool,
    /// Its e-mail address is known to be its own
    #[arg(long)]
    pub verified: bool,
    /// Its e-mail address is not known to be its own
    #[arg(long, conflicts_with = "verified")]
    pub unverified: bool,
    /// It may not log in, and whatever it was logged in with ends
    #[arg(long)]
    pub disable: bool,
    /// It may log in again
    #[arg(long, conflicts_with = "disable")]
    pub enable: bool,
}

/// Arguments of `users password`.
#[derive(Clone, Debug, Args)]
pub struct UsersPassword {
    /// The user: name, e-mail address or id
    #[arg(value_name = "USER")]
    pub name: String,
    /// Read the password from standard input: one line
    #[arg(long)]
    pub password_stdin: bool,
}

/// What can be done about bans.
#[derive(Debug, Subcommand)]
pub enum BansAction {
    /// List the bans in force, as `bans` alone does
    #[command(after_help = examples::BANS_LIST)]
    List(Nothing),
    /// Refuse an address or a network for a while
    #[command(after_help = examples::BANS_ADD)]
    Add(BansAddArgs),
    /// End a ban
    #[command(after_help = examples::BANS_LIFT)]
    Lift(BansLiftArgs),
}

pub(super) fn keys(action: Option<&KeysAction>) -> Command {
    match action {
        None | Some(KeysAction::List(_)) => Command::Keys(Nothing {}),
        Some(KeysAction::Create(args)) => Command::KeysCreate(args.clone()),
        Some(KeysAction::Revoke(args)) => Command::KeysRevoke(args.clone()),
        Some(KeysAction::Rotate(args)) => Command::KeysRotate(args.clone()),
    }
}

pub(super) fn tokens(action: Option<&TokensAction>) -> Command {
    match action {
        None | Some(TokensAction::List(_)) => Command::Tokens(Nothing {}),
        Some(TokensAction::Revoke(args)) => Command::TokensRevoke(TokensRevokeArgs {
            token: args.token.as_deref().map(Secret::new),
            jti: args.jti.clone(),
            provider: args.provider.clone(),
            expires: args.expires.clone(),
        }),
    }
}

/// What is still missing of it is read from where [`Action::secret`](super::Action::secret) says.
pub(super) fn users(action: Option<&UsersAction>) -> Command {
    match action {
        None | Some(UsersAction::List(_)) => Command::Users(Nothing {}),
        Some(UsersAction::Add(args)) => Command::UsersAdd(UsersAddArgs {
            name: args.name.clone(),
            email: args.email.clone(),
            roles: args.roles.clone(),
            password: None,
            verified: args.verified,
        }),
        Some(UsersAction::Set(args)) => Command::UsersSet(UsersSetArgs {
            name: args.name.clone(),
            email: args.email.clone(),
            roles: if args.no_roles { Some(Vec::new()) } else { args.roles.clone() },
            verified: either(args.verified, args.unverified),
            disabled: either(args.disable, args.enable),
        }),
        Some(UsersAction::Password(args)) => {
            Command::UsersPassword(UsersPasswordArgs { name: args.name.clone(), password: Secret::new("") })
        }
        Some(UsersAction::Remove(args)) => Command::UsersRemove(args.clone()),
    }
}

pub(super) fn bans(action: Option<&BansAction>) -> Command {
    match action {
        None | Some(BansAction::List(_)) => Command::Bans(Nothing {}),
        Some(BansAction::Add(args)) => Command::BansAdd(args.clone()),
        Some(BansAction::Lift(args)) => Command::BansLift(args.clone()),
    }
}

/// Two flags of which one says yes and the other no.
fn either(yes: bool, no: bool) -> Option<bool> {
    (yes || no).then_some(yes)
}

impl TokensAction {
    pub(super) fn secret(&self) -> Option<SecretFrom> {
        match self {
            Self::Revoke(args) => (args.token.as_deref() == Some("-")).then_some(SecretFrom::TokenStdin),
            Self::List(_) => None,
        }
    }
}

impl UsersAction {
    pub(super) fn secret(&self) -> Option<SecretFrom> {
        let from = |stdin: bool| Some(if stdin { SecretFrom::Stdin } else { SecretFrom::Terminal });
        match self {
            Self::Add(args) if args.no_password => None,
            Self::Add(args) => from(args.password_stdin),
            Self::Password(args) => from(args.password_stdin),
            Self::List(_) | Self::Set(_) | Self::Remove(_) => None,
        }
    }
}
