//! proxyctl: the control tool. Reads a command line, asks a daemon or does the work here, shows the answer.
//!
//! Nothing here decides what the daemon may do; and nothing but [`screen`] writes to the terminal.

mod certificates;
pub mod cli;
mod client;
mod daemon;
mod doctor;
mod examples;
mod failure;
mod offline;
mod password;
mod render;
pub mod screen;

use clap::{CommandFactory, Parser};
use serde_json::json;

use cli::{Action, AuditAction, Cli, ConfigAction, Format};
pub use client::Surroundings;
pub use failure::Failure;
use screen::Screen;
use shared::control::ErrorCode;

/// Reads the arguments of this process; wrong usage, `--help` and `--version` end it here.
#[must_use]
pub fn parse() -> Cli {
    let cli = Cli::parse();
    let csv = cli.global.output == Format::Csv && !matches!(cli.action, Action::Audit(_));
    let usage = if csv { Err("--output csv is for `audit` alone".to_owned()) } else { cli.action.command().map(drop) };
    if let Err(message) = usage {
        Cli::command().error(clap::error::ErrorKind::ArgumentConflict, message).exit();
    }
    cli
}

/// Does what was asked; says what failed. Returns the exit code.
pub async fn run(cli: &Cli, surroundings: &Surroundings, screen: &mut Screen<'_>) -> u8 {
    match act(cli, surroundings, screen).await {
        Ok(()) => 0,
        Err(failure) => {
            screen.failure(&failure);
            failure.exit_code()
        }
    }
}

async fn act(cli: &Cli, surroundings: &Surroundings, screen: &mut Screen<'_>) -> Result<(), Failure> {
    if let Some(command) = cli.action.command().map_err(|usage| Failure::new(ErrorCode::InvalidArguments, usage))? {
        let command = password::complete(command, cli.action.secret(), screen)?;
        return daemon::ask(command, &cli.global, surroundings, screen).await;
    }
    match &cli.action {
        Action::Validate(args) => offline::validate(args, screen),
        Action::Explain(args) => offline::explain(args, screen),
        Action::Config { action: ConfigAction::Show { ask, place } } => offline::show(ask, place, screen),
        Action::Config { action: ConfigAction::Schema } => screen.page(&shared::config::schema()),
        Action::Audit(audit) => match &audit.action {
            Some(AuditAction::Verify { ask, path: Some(path) }) => offline::verify(path, ask, screen),
            None | Some(AuditAction::Tail(_) | AuditAction::Head(_) | AuditAction::Verify { path: None, .. }) => Ok(()),
        },
        Action::Init(args) => offline::init(args, screen),
        Action::Doctor(place) => doctor::examine(place, &cli.global, surroundings, screen).await,
        Action::HashPassword => password::hash(screen),
        Action::Completions { shell } => completions(*shell, screen),
        Action::Version => version(screen),
        // These ask the daemon, above.
        Action::Status(_)
        | Action::Routes(_)
        | Action::Reload(_)
        | Action::History(_)
        | Action::Rollback(_)
        | Action::Upstreams(_)
        | Action::Keys { .. }
        | Action::Tokens { .. }
        | Action::Users { .. }
        | Action::Bans { .. }
        | Action::Limits(_)
        | Action::LogLevel(_)
        | Action::Upgrade(_)
        | Action::Shutdown(_) => Ok(()),
    }
}

fn completions(shell: cli::ShellName, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(clap_complete::Shell::from(shell), &mut Cli::command(), "proxyctl", &mut script);
    screen.text(&String::from_utf8_lossy(&script))
}

fn version(screen: &mut Screen<'_>) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    match screen.look.format {
        Format::Json => screen.page(&json!({ "version": version })),
        Format::Table | Format::Csv => screen.text(&format!("proxyctl {version}")),
    }
}
