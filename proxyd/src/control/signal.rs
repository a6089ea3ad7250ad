//! The signals: HUP reloads, TERM and INT drain and stop, a second one stops now, USR1 opens log files anew.

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
}

impl Signals {
    /// Takes the signals over: before any other thread starts, and within the control thread's runtime.
    pub(super) fn register() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reopen: signal(SignalKind::user_defined1())?,
        })
    }

    /// Does what signals say, for as long as the process lives.
    pub(super) async fn attend(mut self, control: Control, daemon: Arc<Daemon>) {
        loop {
            tokio::select! {
                Some(()) = self.hangup.recv() => reload(&control),
                Some(()) = self.terminate.recv() => stop(&control, &daemon, "SIGTERM"),
                Some(()) = self.interrupt.recv() => stop(&control, &daemon, "SIGINT"),
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

/// The first one drains; the next cuts what is still under way.
fn stop(control: &Control, daemon: &Arc<Daemon>, name: &'static str) {
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
