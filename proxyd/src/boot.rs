//! From the command line to a serving daemon, and from a stop to the last row written. Everything that can go wrong before
//! traffic is served is found here, and said once.

mod limits;
mod state_dir;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use clap::Parser;
use shared::audit::{ActionFacts, Door};
use shared::config::{self, Checked, Input, Problems, Sources};
use thiserror::Error;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

use crate::audit::{self, Recorder};
use crate::daemon::{ConfigSource, Daemon, Life, Parts, WorkerHandle};
use crate::snapshot::Snapshot;
use crate::telemetry::access_log::{AccessLog, AccessLogError};
use crate::telemetry::clock::unix_us;
use crate::telemetry::diagnostics::Diagnostics;
use crate::telemetry::ids::Seed;
use crate::telemetry::metrics::Metrics;
use crate::{control, demo, reload, server, worker};

/// What runs where no config is named and there is none in the working directory.
const BUILT_IN: &str = include_str!("../../config.yaml");

/// Orders that may wait in a worker's mailbox: connections handed over by others, above all.
const MAILBOX: usize = 1024;

/// How long the last rows and lines may take to be written at a stop.
const WRITE_OUT: Duration = Duration::from_secs(10);

/// A reverse proxy and API gateway.
///
/// Signals: HUP reloads, TERM and INT drain and stop (a second one stops now), USR1 reopens log files.
#[derive(Debug, Parser)]
#[command(name = "proxyd", version, after_help = "Examples:\n  proxyd --demo\n  proxyd --config /etc/proxyd/config.yaml --env production")]
pub struct Args {
    /// The config: a file, or a directory whose files are read in name order [default: ./config.yaml, else the built-in
    /// example]
    #[arg(long, short, value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// Also read the overlay of this environment: `production` reads config.production.yaml beside config.yaml
    #[arg(long, value_name = "NAME")]
    pub env: Option<String>,
    /// Override a value: `server.listen=127.0.0.1:8080`; may be repeated
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// Also start two demo backends, on 127.0.0.1:8001 and 127.0.0.1:8002, as the example config expects
    #[arg(long)]
    pub demo: bool,
}

/// Why the daemon does not start.
#[derive(Debug, Error)]
pub enum BootError {
    #[error("the config cannot be used: {0}")]
    Config(Problems),
    #[error("{0}")]
    StateDir(#[from] state_dir::StateDirError),
    #[error(transparent)]
    Audit(#[from] audit::AuditError),
    #[error(transparent)]
    AccessLog(#[from] AccessLogError),
    #[error(transparent)]
    Listen(#[from] server::BindError),
    #[error(transparent)]
    Socket(#[from] control::socket::BindError),
    #[error("cannot listen on {address} for admin: {source}")]
    Admin { address: std::net::SocketAddr, source: std::io::Error },
    #[error(transparent)]
    Generations(#[from] reload::GenerationsError),
    #[error("the demo backends cannot start on 127.0.0.1:8001 and 127.0.0.1:8002: {0}")]
    Demo(std::io::Error),
    #[error("the system gives no randomness: {0}")]
    Randomness(getrandom::Error),
    #[error("a thread, runtime or signal cannot be set up: {0}")]
    System(#[from] std::io::Error),
    #[error("diagnostics cannot be set up: {0}")]
    Diagnostics(#[from] crate::telemetry::diagnostics::AlreadyStarted),
}

/// Prints a boot error: the whole problem report for a config, one line with its causes for anything else.
pub fn print(error: &BootError) {
    let mut out = std::io::stderr().lock();
    let text = match error {
        BootError::Config(problems) => problems.render(false),
        other => {
            let mut text = format!("proxyd: {other}");
            let mut cause = std::error::Error::source(other);
            while let Some(error) = cause {
                let said = error.to_string();
                if !text.contains(&said) {
                    text.push_str(": ");
                    text.push_str(&said);
                }
                cause = error.source();
            }
            text
        }
    };
    let _ = writeln!(out, "{text}");
}

/// Runs the daemon until it is stopped.
pub fn run(args: Args) -> Result<(), BootError> {
    let source = source(&args);
    let input = reload::read(&source).map_err(BootError::Config)?;
    let checked = reload::check(&input).map_err(BootError::Config)?;
    let config = Arc::clone(&checked.config);
    let diagnostics = Diagnostics::start(&config.log)?;
    announce(&source, &checked);
    limits::raise(&config.server.limits);
    let _lock = state_dir::prepare(&config.server.state_dir)?;
    if args.demo {
        demo::start().map_err(BootError::Demo)?;
    }
    let socket = control::socket::bind(&config.admin.socket, config.admin.socket_mode)?;
    let admin = config.admin.listen.map(control::http::bind).transpose()?;
    let workers = config.server.workers.map_or_else(limits::cores, std::num::NonZero::get);
    let listen: Vec<_> = config.server.listen.iter().map(|listen| listen.address).collect();
    let bound = server::bind(&listen, workers, &[])?;
    let access_log = AccessLog::start(&config.log)?;
    let (writer, recorders) = audit::start(&config.audit, workers)?;
    let generations = reload::Generations::open(&config.server.state_dir)?;
    let stamp = generations.begin(&input, &checked.hash)?;
    let generation = stamp.generation;
    let snapshot = Snapshot::compile(checked, stamp, None);

    let (handles, mailboxes): (Vec<_>, Vec<_>) = (0..workers).map(|_| mailbox()).unzip();
    let daemon = Arc::new(Daemon::new(Parts {
        source,
        socket: socket.path().to_owned(),
        audit: writer,
        metrics: Metrics::new(workers),
        access_log,
        diagnostics,
        workers: handles.into(),
        snapshot,
    }));
    let threads = start_workers(&daemon, mailboxes, recorders)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let doors = control::Doors { socket, admin, generations };
    runtime.block_on(live(&daemon, doors, bound, generation))?;
    stop(&daemon, &runtime, threads);
    Ok(())
}
