//! The old process's side: one attempt to be succeeded, from the wish to the last point at which it could still go on by
//! itself.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use shared::audit::ActionFacts;
use shared::control::report::Upgraded;
use shared::control::{ControlError, ErrorCode};
use tokio::time::Instant;

use super::message::Answer;
use super::program::Program;
use super::successor::Successor;
use crate::control::Open;
use crate::daemon::{Daemon, Life, Wish};
use crate::inherited::Use;
use crate::lock::Lock;
use crate::server;

/// How long the new process may take to read its config and make ready what it can.
const PREPARED_WITHIN: Duration = Duration::from_secs(30);

/// How long it may take from then on until it serves. Nobody answers at the doors in this time, and audit rows are held.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// What the process has beside what the daemon has.
#[derive(Debug)]
pub struct House {
    pub program: Program,
    /// On the state folder. None: another process has it.
    pub lock: Option<Lock>,
    pub demo: Vec<(SocketAddr, TcpListener)>,
}

/// Tries to let a new process take over, and tells how it went. Afterwards the daemon either drains or goes on as before.
pub async fn attempt(wish: Wish, daemon: &Arc<Daemon>, open: &mut Open, house: &mut House) {
    let Wish { begun, told } = wish;
    tracing::info!(program = %house.program.path.display(), actor = begun.actor, "starting the process that takes over");
    let outcome = succeed(begun, daemon, open, house).await;
    match &outcome {
        Ok(upgraded) => {
            tracing::info!(pid = upgraded.pid, version = upgraded.version, took_ms = upgraded.took_ms, "upgraded");
            daemon.succeeded();
        }
        Err(error) => {
            tracing::error!(error = error.message, "not upgraded; this process goes on");
            daemon.goes_on();
        }
    }
    // A caller that left needs no answer.
    let _ = told.send(outcome);
}

async fn succeed(
    begun: ActionFacts,
    daemon: &Arc<Daemon>,
    open: &mut Open,
    house: &mut House,
) -> Result<Upgraded, ControlError> {
    let started = Instant::now();
    if std::process::id() == 1 {
        let message = "this is process 1 of its container, which ends with it: replace the container instead";
        return Err(ControlError::new(ErrorCode::Failed, message));
    }
    let reload = Arc::clone(open.reload());
    let _unchanged = reload.hold().await?;
    let (rows, theirs) = UnixStream::pair().map_err(failed)?;
    let given = gather(daemon, open, house, theirs).await?;
    let mut successor = Successor::start(&house.program, &given).map_err(|error| {
        let message = format!("{} cannot be started: {error}; the old process goes on", house.program.path.display());
        ControlError::new(ErrorCode::Failed, message)
    })?;
    drop(given);
    let (version, leaves_control) = match prepared(&mut successor, daemon).await {
        Ok(prepared) => prepared,
        Err(error) => {
            successor.end(false).await;
            return Err(error);
        }
    };
    open.pause();
    let registry = Arc::clone(&daemon.amid.registry);
    let _ = tokio::task::spawn_blocking(move || registry.let_go()).await;
    let audited = daemon.audit.act(begun).await.is_ok();
    if let Err(why) = daemon.audit.let_go().await {
        successor.end(false).await;
        daemon.amid.registry.take_back();
        open.resume();
        return Err(ControlError::new(ErrorCode::Failed, format!("{why}; the old process goes on")));
    }
    if let Err(error) = takes_over(&mut successor).await {
        successor.end(true).await;
        daemon.audit.take_back().await;
        daemon.amid.registry.take_back();
        take_back(open, house);
        return Err(error);
    }
    daemon.audit.pass_on(rows);
    open.leave(leaves_control);
    house.lock = None;
    if daemon.life() >= Life::Draining {
        tracing::info!("told to stop meanwhile: so is the process that took over");
        successor.stop();
    }
    Ok(Upgraded {
        pid: successor.pid(),
        version,
        pid_before: std::process::id(),
        version_before: env!("CARGO_PKG_VERSION").to_owned(),
        took_ms: started.elapsed().as_millis() as u64,
        in_flight: daemon.metrics.totals().in_flight,
        connections: daemon.connections() as u64,
        audited,
    })
}

/// Everything that the new process gets.
async fn gather(
    daemon: &Daemon,
    open: &Open,
    house: &House,
    rows: UnixStream,
) -> Result<Vec<(Use, OwnedFd)>, ControlError> {
    let traffic = server::share(daemon).await;
    let traffic = traffic.ok_or_else(|| {
        ControlError::new(ErrorCode::Failed, "a listener cannot be shared; is the limit of open files reached?")
    })?;
    let mut given: Vec<(Use, OwnedFd)> =
        traffic.into_iter().map(|(configured, socket)| (Use::Traffic(configured), socket.into())).collect();
    given.extend(open.share().map_err(failed)?);
    for (address, listener) in &house.demo {
        given.push((Use::Demo(*address), listener.as_fd().try_clone_to_owned().map_err(failed)?));
    }
    if let Some(lock) = &house.lock {
        given.push((Use::Lock, lock.share().map_err(failed)?));
    }
    given.push((Use::Stderr, std::io::stderr().as_fd().try_clone_to_owned().map_err(failed)?));
    given.push((Use::Rows, rows.into()));
    Ok(given)
}

/// Waits until everything is made ready. A stop that is told meanwhile ends the attempt.
async fn prepared(successor: &mut Successor, daemon: &Daemon) -> Result<(String, bool), ControlError> {
    let mut life = daemon.watch_life();
    let stopped = async { while *life.borrow_and_update() < Life::Draining && life.changed().await.is_ok() {} };
    tokio::select! {
        answer = successor.hear(PREPARED_WITHIN) => match answer? {
            Answer::Prepared { version, leaves_control } => Ok((version, leaves_control)),
            answer @ (Answer::Ready | Answer::Failed { .. }) => Err(unexpected(&answer)),
        },
        () = stopped => Err(ControlError::new(ErrorCode::Stopping, "the daemon is stopping; nothing takes over from it")),
    }
}

async fn takes_over(successor: &mut Successor) -> Result<(), ControlError> {
    successor.yours().await?;
    match successor.hear(READY_WITHIN).await? {
        Answer::Ready => Ok(()),
        answer @ (Answer::Prepared { .. } | Answer::Failed { .. }) => Err(unexpected(&answer)),
    }
}

/// Everything as it was.
fn take_back(open: &mut Open, house: &House) {
    let signed = house.lock.as_ref().map_or(Ok(()), Lock::sign).and_then(|()| open.sign());
    if let Err(error) = signed {
        tracing::warn!(%error, "a lock file names the process that did not take over");
    }
    open.resume();
}

fn unexpected(answer: &Answer) -> ControlError {
    ControlError::new(ErrorCode::Failed, format!("the new process said {answer:?} out of turn; the old one goes on"))
}

fn failed(error: std::io::Error) -> ControlError {
    ControlError::new(ErrorCode::Failed, format!("a descriptor cannot be shared: {error}; the old process goes on"))
}
