//! The signals: HUP reloads, TERM and INT drain and stop, a second one stops now, USR1 opens log files anew, USR2 lets a new
//! process take over.

use std::io;
use std::sync::Arc;

use shared::audit::Door;
use shared::config::Role;
use shared::control::{Access, Command, Nothing, ReloadArgs};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::commands::Control;
use super::{Caller, Executor, notify};
use crate::daemon::{Daemon, Life};

/// The signals, from now on ours.
#[derive(Debug)]
pub(super) struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    reopen: Signal,
    upgrade: Signal,
}

impl Signals {
    /// Takes the signals over: before any other thread starts, and within the control thread's runtime.
    pub(super) fn register() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reopen: signal(SignalKind::user_defined1())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    /// Does what signals say, for as long as the process lives.
    pub(super) async fn attend(mut self, control: Control, daemon: Arc<Daemon>) {
        let mut told = false;
        loop {
            tokio::select! {
                Some(()) = self.hangup.recv() => reload(&control),
                Some(()) = self.terminate.recv() => stop(&control, &daemon, "SIGTERM", &mut told),
                Some(()) = self.interrupt.recv() => stop(&control, &daemon, "SIGINT", &mut told),
                Some(()) = self.upgrade.recv() => upgrade(&control),
                Some(()) = self.reopen.recv() => reopen(&daemon),
                else => return,
            }
        }
    }
}

fn caller(name: &str) -> Caller {
    Caller {
        door: Door::Signal,
        actor: format!("signal {name}"),
        access: Some(Access::Role(Role::Operator)),
        address: None,
    }
}

/// On a task of its own: a stop need not wait for a reload. How it went is in the log, the status, a metric and the audit.
fn reload(control: &Control) {
    let control = control.clone();
    tokio::spawn(async move {
        notify::reloading();
        let _ = control.run(Command::Reload(ReloadArgs::default()), &caller("SIGHUP")).await;
        notify::ready();
    });
}

/// On a task of its own, as a reload. How it went is in the log and the audit.
fn upgrade(control: &Control) {
    let control = control.clone();
    tokio::spawn(async move {
        let _ = control.run(Command::Upgrade(Nothing {}), &caller("SIGUSR2")).await;
    });
}

/// The first one drains; the next cuts what is still under way. A process that was succeeded drains already without having
/// been told: service managers tell all processes of a service at once.
fn stop(control: &Control, daemon: &Arc<Daemon>, name: &'static str, told: &mut bool) {
    let is_second = std::mem::replace(told, true);
    if daemon.is_succeeded() && !is_second {
        tracing::info!(signal = name, "told to stop: what is under way here ends, as it does since the upgrade");
        return;
    }
    if matches!(daemon.life(), Life::Draining | Life::Stopping) {
        tracing::warn!(signal = name, "told to stop again: stopping now");
        daemon.enter(Life::Stopping);
        return;
    }
    // Draining begins at once; its row need not be waited for.
    daemon.enter(Life::Draining);
    let control = control.clone();
    tokio::spawn(async move {
        let _ = control.run(Command::Shutdown(Nothing {}), &caller(name)).await;
    });
}

fn reopen(daemon: &Daemon) {
    match daemon.access_log.reopen() {
        Ok(()) => tracing::info!("log files opened anew"),
        Err(error) => tracing::error!(%error, "log files could not be opened anew; lines go on to the old ones"),
    }
}
