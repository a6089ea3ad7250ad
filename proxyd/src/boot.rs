//! From the command line to a serving daemon, and from a stop to the last row written. Everything that can go wrong before
//! traffic is served is found here, and said once.

mod limits;
mod state_dir;
mod sticky_key;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::{Value, json};
use shared::audit::{ActionFacts, Door};
use shared::config::{Checked, Problems, Sources};
use thiserror::Error;
use tokio::runtime::Builder;
use tokio::sync::mpsc;

use crate::audit::{self, Recorder};
use crate::control::{self, DoorError, Doors};
use crate::daemon::{ConfigSource, Daemon, Life, Order, Parts, Wish, WorkerHandle};
use crate::exchange::Load;
use crate::identity::{State, StateError};
use crate::inherited::Inherited;
use crate::registry::Registry;
use crate::reload::history::{History, HistoryError};
use crate::reload::{self, First};
use crate::snapshot::Amid;
use crate::telemetry::access_log::{AccessLog, AccessLogError};
use crate::telemetry::clock::{unix_s, unix_us};
use crate::telemetry::diagnostics::Diagnostics;
use crate::telemetry::ids::Seed;
use crate::telemetry::metrics::Metrics;
use crate::upgrade::{self, ArrivalError, House, Predecessor, Program};
use crate::{demo, server, worker};

/// Orders that may wait in a worker's mailbox: connections handed over by others, above all.
const MAILBOX: usize = 1024;

/// How long at least a process that was taken over from is waited for at a stop.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);

/// How long the last rows and lines may take to be written at a stop.
const WRITE_OUT: Duration = Duration::from_secs(10);

/// A reverse proxy and API gateway.
///
/// Signals: HUP reloads, TERM and INT drain and stop (a second one stops now), USR1 reopens log files, USR2 starts the binary
/// on disk in this one's place.
#[derive(Debug, Parser)]
#[command(
    name = "proxyd",
    version,
    after_help = "Examples:\n  proxyd --demo\n  proxyd --config /etc/proxyd/config.yaml --env production"
)]
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
    #[error("the demo backends cannot start on 127.0.0.1:8001 and 127.0.0.1:8002: {0}")]
    Demo(std::io::Error),
    #[error("the system gives no randomness: {0}")]
    Randomness(getrandom::Error),
    #[error(transparent)]
    Door(#[from] DoorError),
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error(transparent)]
    Identity(#[from] StateError),
    #[error(transparent)]
    Upgrade(#[from] ArrivalError),
    #[error("the sockets of the service manager cannot be taken: {0}")]
    Activation(std::io::Error),
    #[error("a thread, runtime or signal cannot be set up: {0}")]
    System(#[from] std::io::Error),
    #[error("diagnostics cannot be set up: {0}")]
    Diagnostics(#[from] crate::telemetry::diagnostics::AlreadyStarted),
}

/// Prints a boot error: the whole problem report for a config, one line with its causes for anything else.
pub fn print(error: &BootError) {
    let mut out = std::io::stderr().lock();
    let text = if let BootError::Config(problems) = error { problems.render(false) } else { with_causes(error) };
    let _ = writeln!(out, "{text}");
}

/// An error and its causes in one line, each said once.
fn with_causes(error: &BootError) -> String {
    let mut text = format!("proxyd: {error}");
    let mut cause = std::error::Error::source(error);
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

/// Runs the daemon until it is stopped.
pub fn run(args: Args) -> Result<(), BootError> {
    let Some((predecessor, inherited)) = upgrade::arrive()? else {
        let inherited = Inherited::from_service_manager().map_err(BootError::Activation)?;
        return serve(args, inherited, &mut None);
    };
    let mut from = Some(predecessor);
    serve(args, inherited, &mut from).inspect_err(|error| {
        // Once this process serves, nobody listens any more.
        if let Some(predecessor) = &mut from {
            let problems = if let BootError::Config(problems) = error { problems.0.clone() } else { Vec::new() };
            predecessor.failed(with_causes(error), problems);
        }
    })
}

/// First everything that can be done while another process still serves, then what only one can do.
fn serve(args: Args, mut inherited: Inherited, predecessor: &mut Option<Predecessor>) -> Result<(), BootError> {
    let program = Program::of_this_process()?;
    let source = source(&args);
    let loaded = reload::load::read(&source, None).map_err(BootError::Config)?;
    let config = Arc::clone(&loaded.checked.config);
    let diagnostics = Diagnostics::start(&config.log)?;
    announce(&source, &loaded.checked);
    limits::raise(&config.server.limits);
    let lock = state_dir::prepare(&config.server.state_dir, &mut inherited)?;
    let demo = if args.demo { demo::start(&mut inherited).map_err(BootError::Demo)? } else { Vec::new() };
    let workers = config.server.workers.map_or_else(limits::cores, std::num::NonZero::get);
    let listen: Vec<_> = config.server.listen.iter().map(|listen| listen.address).collect();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let doors = runtime.block_on(Doors::bind(&config.admin, &mut inherited))?;
    let bound = server::open(&listen, workers, &mut inherited)?;
    let leaves_control = inherited.leaves_control();
    inherited.close_rest();
    let access_log = AccessLog::start(&config.log)?;
    let history = History::open(&config.server.state_dir)?;
    let mut first = reload::begin(history, loaded, &starter());
    let registry = || Arc::new(Registry::open(config.server.state_dir.join("registry.json")));
    let sticky_key = sticky_key::load(&config.server.state_dir).map_err(BootError::Randomness)?;
    let identity = State::open(&config.server.state_dir, unix_s())?;
    let amid = Amid { workers, registry: registry(), sticky_key, identity };
    let snapshot = first.compile(&amid).map_err(BootError::Config)?;
    if let Some(predecessor) = predecessor {
        predecessor.take_over(leaves_control)?;
    }
    // Once more: a process that is taken over from may have changed it to the last.
    let amid = Amid { registry: registry(), ..amid };
    amid.identity.reload(unix_s()).map_err(StateError::Directory)?;

    let (writer, recorders) = audit::start(&config.audit, workers)?;
    first.keep();
    let (handles, mailboxes): (Vec<_>, Vec<_>) = (0..workers).map(|_| mailbox()).unzip();
    let (wishes, wished) = mpsc::channel(1);
    let daemon = Arc::new(Daemon::new(Parts {
        source,
        socket: doors.socket().to_owned(),
        audit: writer,
        metrics: Metrics::new(workers),
        access_log,
        diagnostics,
        workers: handles.into(),
        snapshot,
        amid,
        wishes,
    }));
    let threads = start_workers(&daemon, mailboxes, recorders).inspect_err(|_| {
        // Whoever has the store next shall find it whole.
        runtime.block_on(daemon.audit.stop(WRITE_OUT));
    })?;
    if predecessor.is_some()
        && let Err(error) = lock.sign().and_then(|()| doors.sign())
    {
        tracing::warn!(%error, "a lock file still names the process before");
    }
    let mut house = House { program, lock: Some(lock), demo };
    runtime.block_on(live(&daemon, doors, first, bound, threads, wished, &mut house, predecessor.take()));
    daemon.access_log.stop(WRITE_OUT);
    runtime.block_on(daemon.audit.stop(WRITE_OUT));
    Ok(())
}

fn source(args: &Args) -> ConfigSource {
    let path = args.config.clone().or_else(|| Path::new("config.yaml").exists().then(|| PathBuf::from("config.yaml")));
    match path {
        Some(config) => ConfigSource::Files(Sources { config, env: args.env.clone(), set: args.set.clone() }),
        None => ConfigSource::BuiltIn,
    }
}

fn announce(source: &ConfigSource, checked: &Checked) {
    match source {
        ConfigSource::BuiltIn => tracing::info!("no --config and no ./config.yaml: running the built-in example"),
        ConfigSource::Files(sources) => tracing::info!(config = %sources.config.display(), "config loaded"),
    }
    for warning in &checked.warnings {
        tracing::warn!(origin = %warning.origin, path = %warning.path, "{}", warning.message);
    }
}

fn mailbox() -> (WorkerHandle, (Arc<Load>, mpsc::Receiver<Order>)) {
    let (orders, mailbox) = mpsc::channel(MAILBOX);
    let load = Arc::<Load>::default();
    (WorkerHandle { orders, load: Arc::clone(&load) }, (load, mailbox))
}

fn start_workers(
    daemon: &Arc<Daemon>,
    mailboxes: Vec<(Arc<Load>, mpsc::Receiver<Order>)>,
    recorders: Vec<Recorder>,
) -> Result<Vec<JoinHandle<()>>, BootError> {
    let seed = Seed::draw().map_err(BootError::Randomness)?;
    let mut threads = Vec::new();
    for (index, ((load, orders), recorder)) in mailboxes.into_iter().zip(recorders).enumerate() {
        let start = worker::Start { index, load, orders, recorder, seed, log: daemon.access_log.worker() };
        threads.push(worker::start(start, daemon, server::serve)?);
    }
    Ok(threads)
}

/// The control thread's life: every door answers before traffic does, and until the last request has ended.
#[expect(clippy::too_many_arguments, reason = "what `serve` made ready, each to its place")]
async fn live(
    daemon: &Arc<Daemon>,
    doors: Doors,
    first: First,
    bound: server::Bound,
    threads: Vec<JoinHandle<()>>,
    mut wished: mpsc::Receiver<Wish>,
    house: &mut House,
    predecessor: Option<Predecessor>,
) {
    let actor = starter();
    let mut open = doors.open(daemon, first);
    let before = predecessor.as_ref().map(|before| json!({ "pid": before.pid, "version": before.version }));
    record(daemon, "start", &actor, ("upgraded_from", before)).await;
    server::hand_out(daemon, bound).await;
    daemon.enter(Life::Serving);
    for (_, address) in daemon.listening() {
        tracing::info!(%address, "listening");
    }
    control::announce(predecessor.is_some());
    if let Some(predecessor) = predecessor {
        take_leave_of(predecessor, daemon);
    }
    while let Some(wish) = open.next_wish(&mut wished).await {
        upgrade::attempt(wish, daemon, &mut open, house).await;
    }
    // Whoever wishes too late is told so.
    drop(wished);
    let drained_by = Instant::now() + daemon.snapshot().checked.config.server.timeouts.drain;
    open.end(async {
        let joined = tokio::task::spawn_blocking(|| {
            for thread in threads {
                let _ = thread.join();
            }
        });
        let _ = joined.await;
    })
    .await;
    // A process that was taken over from may not have drained yet; its rows belong to this record.
    let patience = drained_by.saturating_duration_since(Instant::now()).max(LEAST_PATIENCE);
    if !daemon.audit.inherited(patience).await {
        tracing::warn!("the process that was taken over from still drains: its last rows go on record nowhere");
    }
    record(daemon, "stop", &actor, ("upgraded", daemon.is_succeeded().then_some(json!(true)))).await;
}

/// The process before drains from now on, and passes on what it still has to record.
fn take_leave_of(mut predecessor: Predecessor, daemon: &Daemon) {
    predecessor.ready();
    tracing::info!(pid = predecessor.pid, version = predecessor.version, "took over");
    if let Some(rows) = predecessor.rows()
        && let Err(error) = daemon.audit.inherit(rows)
    {
        tracing::error!(%error, "the process before cannot pass on its audit rows");
    }
}

/// Puts the daemon's own start or stop on record. A store that cannot be written keeps nobody from serving: the row is
/// kept aside, and the log says so.
async fn record(daemon: &Daemon, command: &str, actor: &str, (name, more): (&str, Option<Value>)) {
    let generation = daemon.committed();
    let mut arguments = json!({ "version": env!("CARGO_PKG_VERSION"), "pid": std::process::id() });
    if let (Some(more), Some(arguments)) = (more, arguments.as_object_mut()) {
        arguments.insert(name.to_owned(), more);
    }
    let facts = ActionFacts {
        time_us: unix_us(),
        door: Door::Start,
        actor: actor.to_owned(),
        command: command.to_owned(),
        arguments: arguments.to_string(),
        outcome: "done".to_owned(),
        message: String::new(),
        generation_before: generation,
        generation_after: generation,
        changes: String::new(),
    };
    if daemon.audit.act(facts).await.is_err() {
        tracing::warn!(command, "not on record yet: the audit store cannot be written");
    }
}

/// Who started the daemon.
fn starter() -> String {
    let uid = nix::unistd::getuid();
    let name =
        nix::unistd::User::from_uid(uid).ok().flatten().map_or_else(|| "unknown user".to_owned(), |user| user.name);
    format!("{name} (uid {uid}, pid {})", std::process::id())
}
