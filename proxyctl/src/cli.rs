//! What can be typed: every subcommand with its flags and two real examples. Says nothing of how any of it is done.

mod identity;
mod limits;

pub use identity::{BansAction, KeysAction, SecretFrom, TokensAction, UsersAction};
pub use limits::{Limits, LimitsAction};

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use shared::audit::AuditQuery;
use shared::control::{
    Command, ConfigArgs, EndpointState, ExplainArgs, HistoryArgs, LogLevelArgs, Nothing, ReloadArgs, RollbackArgs,
    RoutesArgs, UpstreamsArgs, UpstreamsDeregisterArgs, UpstreamsRegisterArgs, UpstreamsSetArgs, VerifyArgs,
};

use crate::examples;

/// The control tool of proxyd: looks at a running daemon, changes it, and checks configs without one
#[derive(Debug, Parser)]
#[command(name = "proxyctl", version, max_term_width = 120, after_help = examples::PROXYCTL)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub action: Action,
}

/// Flags of every subcommand, before or after its name.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        conflicts_with = "remote",
        help = "The daemon's control socket [default: $PROXYD_SOCKET, else the first automatic place where a daemon \
                  answers]"
    )]
    pub socket: Option<PathBuf>,
    // An id of its own: `explain` has an argument `url`.
    #[arg(
        long,
        id = "remote",
        global = true,
        value_name = "URL",
        help = "Speak to a daemon's admin listener instead, such as http://127.0.0.1:9900"
    )]
    pub url: Option<String>,
    /// Bearer token for --url (better given by the variable: other users see arguments)
    #[arg(long, global = true, value_name = "TOKEN", env = "PROXYD_ADMIN_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// User and password for --url (better given by the variable: other users see arguments)
    #[arg(long, global = true, value_name = "USER:PASSWORD", env = "PROXYD_ADMIN_USER", hide_env_values = true)]
    pub user: Option<String>,
    /// How answers are printed: table (for people), json (for programs) or csv (rows of `audit`)
    #[arg(long, global = true, value_name = "FORMAT", value_enum, hide_possible_values = true,
          default_value_t = Format::Table)]
    pub output: Format,
    /// How long to wait for the daemon's next word (following and verifying wait for as long as it takes)
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 60,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people: fits the terminal, times in local time
    Table,
    /// For programs: one document, or one line per row where rows stream
    Json,
    /// Audit rows for spreadsheets
    Csv,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Show who runs, since when, which generation, and how it goes
    #[command(after_help = examples::STATUS)]
    Status(Nothing),
    /// List the routes in force, in order of precedence
    #[command(after_help = examples::ROUTES)]
    Routes(RoutesArgs),
    /// Tell what would become of a request, and why, without sending it
    #[command(after_help = examples::EXPLAIN)]
    Explain(Explain),
    /// Make the daemon read its config again and apply it
    #[command(after_help = examples::RELOAD)]
    Reload(ReloadArgs),
    /// Check a config without a daemon: every mistake at once, with its place
    #[command(after_help = examples::VALIDATE)]
    Validate(Validate),
    /// Show the config in force, or the language's schema
    #[command(after_help = examples::CONFIG, subcommand_required = true, arg_required_else_help = true)]
    Config {
        #[command(subcommand)]
        action: ConfigAction,
    },
    /// List the generations kept, or print one's sources
    #[command(after_help = examples::HISTORY)]
    History(HistoryArgs),
    /// Apply an earlier generation's sources as a new generation
    #[command(after_help = examples::ROLLBACK)]
    Rollback(RollbackArgs),
    /// Look into the audit record of requests and actions
    #[command(after_help = examples::AUDIT)]
    Audit(Box<Audit>),
    /// List the upstreams and how their endpoints do, or say what endpoints may do
    #[command(after_help = examples::UPSTREAMS)]
    Upstreams(Upstreams),
    /// List the API keys, make, revoke and rotate them
    #[command(after_help = examples::KEYS)]
    Keys {
        #[command(subcommand)]
        action: Option<KeysAction>,
    },
    /// List the tokens that were revoked, or revoke one
    #[command(after_help = examples::TOKENS)]
    Tokens {
        #[command(subcommand)]
        action: Option<TokensAction>,
    },
    /// List the accounts, make and change them
    #[command(after_help = examples::USERS)]
    Users {
        #[command(subcommand)]
        action: Option<UsersAction>,
    },
    /// List the addresses that are refused for a while, ban and lift them
    #[command(after_help = examples::BANS)]
    Bans {
        #[command(subcommand)]
        action: Option<BansAction>,
    },
    /// Look at rate limit counters, or reset a key's
    #[command(after_help = examples::LIMITS)]
    Limits(Limits),
    /// Change how much the daemon's diagnostics say, until it starts again
    #[command(after_help = examples::LOG_LEVEL)]
    LogLevel(LogLevelArgs),
    /// Start the binary on disk in the daemon's place, without losing a connection
    #[command(after_help = examples::UPGRADE)]
    Upgrade(Nothing),
    /// Let requests under way finish, then stop the daemon
    #[command(after_help = examples::SHUTDOWN)]
    Shutdown(Nothing),
    /// Write a commented starter config
    #[command(after_help = examples::INIT)]
    Init(Init),
    /// Look for the usual causes of trouble, and say what to do
    #[command(after_help = examples::DOCTOR)]
    Doctor(Place),
    /// Hash a password for admin.auth (argon2id); it is read from the terminal without echo, or from standard input
    #[command(after_help = examples::HASH_PASSWORD)]
    HashPassword,
    /// Print a shell's completion script
    #[command(after_help = examples::COMPLETIONS)]
    Completions {
        #[arg(value_name = "SHELL", value_enum)]
        shell: ShellName,
    },
    /// Print proxyctl's version
    #[command(after_help = examples::VERSION)]
    Version,
}

/// A config on disk, where it may be left out.
#[derive(Clone, Debug, Default, Args)]
pub struct Place {
    /// A config file or directory on this machine
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub layers: Layers,
}

/// What is laid over a config's files.
#[derive(Clone, Debug, Default, Args)]
pub struct Layers {
    /// Also read this environment's overlay: config.NAME.yaml beside config.yaml
    #[arg(long, value_name = "NAME")]
    pub env: Option<String>,
    /// Override one value, such as server.listen=127.0.0.1:8080; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Arguments of `explain`.
#[derive(Clone, Debug, Args)]
pub struct Explain {
    #[command(flatten)]
    pub ask: ExplainArgs,
    /// Ask this config instead of a daemon
    #[command(flatten)]
    pub place: Place,
}

/// Arguments of `validate`.
#[derive(Clone, Debug, Args)]
pub struct Validate {
    /// A config file or directory
    #[arg(value_name = "FILE", default_value = "config.yaml")]
    pub config: PathBuf,
    #[command(flatten)]
    pub layers: Layers,
    /// Count an unset ${env:…} or unreadable ${file:…} as an error, as a start or reload would
    #[arg(long)]
    pub resolve: bool,
    /// Read the certificates and keys that the config names too, and say when they expire (implies --resolve)
    #[arg(long)]
    pub check_files: bool,
}

/// What `config` shows.
#[derive(Debug, Subcommand)]
pub enum ConfigAction {
    /// Show the effective config: every value, defaults included, secrets masked
    #[command(after_help = examples::CONFIG_SHOW)]
    Show {
        #[command(flatten)]
        ask: ConfigArgs,
        /// Show this config instead of a daemon's
        #[command(flatten)]
        place: Place,
    },
    /// Print the JSON Schema of the config language
    #[command(after_help = examples::CONFIG_SCHEMA)]
    Schema,
}

/// Arguments of `audit`.
#[derive(Debug, Args)]
pub struct Audit {
    #[command(flatten)]
    pub query: AuditQuery,
    #[command(subcommand)]
    pub action: Option<AuditAction>,
}

/// What else can be asked of the audit record.
#[derive(Debug, Subcommand)]
pub enum AuditAction {
    /// Follow the record as it is written (the newest 10 rows first)
    #[command(after_help = examples::AUDIT_TAIL)]
    Tail(Box<AuditQuery>),
    /// Print the newest row's number and link, to be kept elsewhere for `verify --head`
    #[command(after_help = examples::AUDIT_HEAD)]
    Head(Nothing),
    /// Prove that no row was changed, removed or added by hand
    #[command(after_help = examples::AUDIT_VERIFY)]
    Verify {
        #[command(flatten)]
        ask: VerifyArgs,
        /// Verify this folder of segments instead of a daemon's
        #[arg(long, value_name = "DIR")]
        path: Option<PathBuf>,
    },
}

/// Arguments of `upstreams`.
#[derive(Debug, Args)]
pub struct Upstreams {
    #[command(flatten)]
    pub ask: UpstreamsArgs,
    #[command(subcommand)]
    pub action: Option<UpstreamsAction>,
}

/// What can be said of endpoints. It holds over restarts and reloads, beside what the config says.
#[derive(Debug, Subcommand)]
pub enum UpstreamsAction {
    /// Add an endpoint, or say that it is still there
    #[command(after_help = examples::UPSTREAMS_REGISTER)]
    Register(UpstreamsRegisterArgs),
    /// Take a registered endpoint away
    #[command(after_help = examples::UPSTREAMS_DEREGISTER)]
    Deregister(UpstreamsDeregisterArgs),
    /// Send an endpoint no new requests; those under way finish
    #[command(after_help = examples::UPSTREAMS_DRAIN)]
    Drain(Endpoint),
    /// Let an endpoint take its share again, after drain or down
    #[command(after_help = examples::UPSTREAMS_READY)]
    Ready(Endpoint),
    /// Treat an endpoint as if it were not there
    #[command(after_help = examples::UPSTREAMS_DOWN)]
    Down(Endpoint),
    /// Change an endpoint's share of the traffic
    #[command(after_help = examples::UPSTREAMS_WEIGHT)]
    Weight {
        #[command(flatten)]
        endpoint: Endpoint,
        /// Relative to its siblings' weights, 0 to 65535; 0: no traffic
        #[arg(value_name = "WEIGHT", value_parser = clap::value_parser!(u32).range(0..=65_535))]
        weight: u32,
    },
}

/// An endpoint of an upstream.
#[derive(Clone, Debug, Args)]
pub struct Endpoint {
    /// The upstream's name
    #[arg(value_name = "UPSTREAM")]
    pub upstream: String,
    /// The endpoint: host:port, or a URL as in the config
    #[arg(value_name = "ENDPOINT")]
    pub endpoint: String,
}

/// Arguments of `init`.
#[derive(Clone, Debug, Args)]
pub struct Init {
    /// Where to write it
    #[arg(value_name = "FILE", default_value = "config.yaml")]
    pub file: PathBuf,
    /// Replace a file that is there
    #[arg(long)]
    pub force: bool,
}

/// The shells that are completed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ShellName {
    Bash,
    Zsh,
    Fish,
}

impl From<ShellName> for Shell {
    fn from(name: ShellName) -> Self {
        match name {
            ShellName::Bash => Self::Bash,
            ShellName::Zsh => Self::Zsh,
            ShellName::Fish => Self::Fish,
        }
    }
}

impl Action {
    /// The command that the daemon is asked, where this subcommand is one and is not done here. The error is a usage
    /// error.
    pub fn command(&self) -> Result<Option<Command>, String> {
        Ok(Some(match self {
            Self::Status(args) => Command::Status(*args),
            Self::Routes(args) => Command::Routes(args.clone()),
            Self::Explain(explain) => match explain.place.given() {
                Some(_) => return Ok(None),
                None => Command::Explain(explain.ask.clone()),
            },
            Self::Reload(args) => Command::Reload(args.clone()),
            Self::Config { action: ConfigAction::Show { ask, place } } => match place.given() {
                Some(_) => return Ok(None),
                None => Command::Config(ask.clone()),
            },
            Self::History(args) => Command::History(args.clone()),
            Self::Rollback(args) => Command::Rollback(args.clone()),
            Self::Audit(audit) => return audit.command(),
            Self::Upstreams(upstreams) => return upstreams.command().map(Some),
            Self::Keys { action } => identity::keys(action.as_ref()),
            Self::Tokens { action } => identity::tokens(action.as_ref()),
            Self::Users { action } => identity::users(action.as_ref()),
            Self::Bans { action } => identity::bans(action.as_ref()),
            Self::Limits(limits) => return limits.command().map(Some),
            Self::LogLevel(args) => Command::LogLevel(args.clone()),
            Self::Upgrade(args) => Command::Upgrade(*args),
            Self::Shutdown(args) => Command::Shutdown(*args),
            Self::Validate(_)
            | Self::Config { action: ConfigAction::Schema }
            | Self::Init(_)
            | Self::Doctor(_)
            | Self::HashPassword
            | Self::Completions { .. }
            | Self::Version => return Ok(None),
        }))
    }

    /// Where the secret is read from that its command still lacks.
    #[must_use]
    pub fn secret(&self) -> Option<SecretFrom> {
        if let Self::Tokens { action: Some(action) } = self {
            action.secret()
        } else if let Self::Users { action: Some(action) } = self {
            action.secret()
        } else {
            None
        }
    }
}

impl Audit {
    fn command(&self) -> Result<Option<Command>, String> {
        let bare = self.query == AuditQuery::default();
        let filters = |name: &str| format!("`audit {name}` takes no filters of `audit`; put its own after its name");
        Ok(Some(match &self.action {
            None => Command::Audit(self.query.clone()),
            Some(AuditAction::Tail(_)) if !bare => return Err(filters("tail")),
            Some(AuditAction::Head(_)) if !bare => return Err(filters("head")),
            Some(AuditAction::Verify { .. }) if !bare => return Err(filters("verify")),
            Some(AuditAction::Tail(query)) => {
                Command::Audit(AuditQuery { follow: true, last: query.last.or(Some(10)), ..AuditQuery::clone(query) })
            }
            Some(AuditAction::Head(args)) => Command::AuditHead(*args),
            Some(AuditAction::Verify { path: Some(_), .. }) => return Ok(None),
            Some(AuditAction::Verify { ask, path: None }) => Command::AuditVerify(ask.clone()),
        }))
    }
}

impl Upstreams {
    fn command(&self) -> Result<Command, String> {
        let Some(action) = &self.action else { return Ok(Command::Upstreams(self.ask.clone())) };
        if self.ask.name.is_some() {
            return Err(
                "the upstream stands after the word that says what to do, as in `upstreams drain users …`".into()
            );
        }
        Ok(match action {
            UpstreamsAction::Register(args) => Command::UpstreamsRegister(args.clone()),
            UpstreamsAction::Deregister(args) => Command::UpstreamsDeregister(args.clone()),
            UpstreamsAction::Drain(endpoint) => endpoint.set(Some(EndpointState::Drain), None),
            UpstreamsAction::Ready(endpoint) => endpoint.set(Some(EndpointState::Ready), None),
            UpstreamsAction::Down(endpoint) => endpoint.set(Some(EndpointState::Down), None),
            UpstreamsAction::Weight { endpoint, weight } => endpoint.set(None, Some(*weight)),
        })
    }
}

impl Endpoint {
    fn set(&self, state: Option<EndpointState>, weight: Option<u32>) -> Command {
        let (upstream, endpoint) = (self.upstream.clone(), self.endpoint.clone());
        Command::UpstreamsSet(UpstreamsSetArgs { upstream, endpoint, state, weight })
    }
}

impl Place {
    /// The config named; overlays alone mean `./config.yaml`.
    #[must_use]
    pub fn given(&self) -> Option<PathBuf> {
        let layered = self.layers.env.is_some() || !self.layers.set.is_empty();
        self.config.clone().or_else(|| layered.then(|| PathBuf::from("config.yaml")))
    }
}

#[cfg(test)]
mod tests;
