//! All doors together: opened before traffic is, attended while the daemon lives, closed when the last request has ended.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use shared::config::Admin;
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::commands::Control;
use super::signal::Signals;
use super::{expiry, http, notify, socket};
use crate::daemon::{Daemon, Life, Wish};
use crate::inherited::{Inherited, Use};
use crate::reload::{First, Reload, tend_endpoints, tend_identity, tend_revocations, watch_certificates};

/// Doors that are bound, and behind which nobody answers yet.
#[derive(Debug)]
pub struct Doors {
    socket: socket::BoundSocket,
    admin: Option<Arc<tokio::net::TcpListener>>,
    signals: Signals,
}

/// Why a door cannot be opened.
#[derive(Debug, Error)]
pub enum DoorError {
    #[error(transparent)]
    Socket(#[from] socket::BindError),
    #[error(transparent)]
    Http(#[from] http::BindError),
    #[error("signals cannot be taken over: {0}")]
    Signals(#[from] io::Error),
}

impl Doors {
    /// Binds every door that the config asks for, or has been given it. Within the control thread's runtime, before other
    /// threads start.
    pub async fn bind(admin: &Admin, inherited: &mut Inherited) -> Result<Self, DoorError> {
        let signals = Signals::register()?;
        let socket = socket::bind(&admin.socket, admin.socket_mode, inherited)?;
        for warning in &socket.warnings {
            tracing::warn!("{warning}");
        }
        let admin = match admin.listen {
            Some(address) => Some(http::bind(address, inherited).await?),
            None => None,
        };
        Ok(Self { socket, admin, signals })
    }

    /// Where the control socket lies.
    #[must_use]
    pub fn socket(&self) -> &Path {
        self.socket.path()
    }

    /// Writes down that this process has the control socket, where it was another's.
    pub fn sign(&self) -> io::Result<()> {
        self.socket.sign()
    }

    /// Answers at every door from now on: through the start, the service, and the end of what is under way.
    #[must_use]
    pub fn open(self, daemon: &Arc<Daemon>, first: First) -> Open {
        let Self { socket, admin, signals } = self;
        let address = admin.as_ref().and_then(|listener| listener.local_addr().ok());
        tracing::info!(socket = %socket.path().display(), admin = address.map(tracing::field::display), "control doors open");
        let (listening, listener) = watch::channel(admin);
        let reload = Arc::new(Reload::new(Arc::clone(daemon), first, listening));
        let control = Control::new(Arc::clone(daemon), Arc::clone(&reload));
        let mut open = Open {
            daemon: Arc::clone(daemon),
            reload,
            executor: Arc::new(control.clone()),
            socket: Arc::new(socket),
            listener,
            answering: CancellationToken::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            callers: TaskTracker::new(),
        };
        open.resume();
        open.tasks.spawn(notify::watch(open.stop.clone()));
        open.tasks.spawn(watch_certificates(Arc::clone(daemon), open.stop.clone()));
        open.tasks.spawn(tend_endpoints(Arc::clone(daemon), open.stop.clone()));
        open.tasks.spawn(tend_identity(Arc::clone(daemon), open.stop.clone()));
        open.tasks.spawn(tend_revocations(Arc::clone(daemon), open.stop.clone()));
        open.tasks.spawn(expiry::watch(Arc::clone(daemon), open.stop.clone()));
        tokio::spawn(signals.attend(control, Arc::clone(daemon)));
        open
    }
}

/// Doors behind which somebody answers.
pub struct Open {
    daemon: Arc<Daemon>,
    reload: Arc<Reload>,
    executor: Arc<Control>,
    socket: Arc<socket::BoundSocket>,
    listener: http::Listening,
    /// Cancelled when nobody new is answered any more, for a while or for good.
    answering: CancellationToken,
    stop: CancellationToken,
    tasks: TaskTracker,
    callers: TaskTracker,
}

/// How often snapshots that nobody holds any more are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// How long those who asked before the end have for their answer.
const FAREWELL: Duration = Duration::from_secs(2);

impl Open {
    /// Takes no more commands; those under way are answered. The doors stay bound: who knocks waits.
    pub fn pause(&self) {
        self.answering.cancel();
    }

    /// Takes commands, at first or again.
    pub fn resume(&mut self) {
        let stop = self.stop.child_token();
        self.answering = stop.clone();
        let (socket, listener, callers) = (Arc::clone(&self.socket), self.listener.clone(), &self.callers);
        let executor = || Arc::clone(&self.executor);
        self.tasks.spawn(socket::serve(socket, executor(), socket::Bounds::default(), stop.clone(), callers.clone()));
        self.tasks.spawn(http::serve(listener, executor(), http::Bounds::default(), stop, callers.clone()));
    }

    /// The doors, to be handed to the process that takes over.
    pub fn share(&self) -> io::Result<Vec<(Use, OwnedFd)>> {
        let mut shared = self.socket.share()?;
        shared.extend(self.reload.share_admin()?.map(|(configured, socket)| (Use::Admin(configured), socket)));
        Ok(shared)
    }

    /// The control socket's lock is this process's again.
    pub fn sign(&self) -> io::Result<()> {
        self.socket.sign()
    }

    /// Another process answers from now on, at the same control socket or at another one.
    pub fn leave(&self, elsewhere: bool) {
        if elsewhere {
            self.socket.remove();
        }
        self.socket.leave();
    }

    /// Where the config is changed.
    #[must_use]
    pub fn reload(&self) -> &Arc<Reload> {
        &self.reload
    }

    /// The next wish for an upgrade; none when the daemon is told to stop.
    pub async fn next_wish(&self, wishes: &mut mpsc::Receiver<Wish>) -> Option<Wish> {
        let mut life = self.daemon.watch_life();
        let mut sweeps = tokio::time::interval(SWEEP);
        while *life.borrow_and_update() < Life::Draining {
            tokio::select! {
                _ = life.changed() => {}
                _ = sweeps.tick() => self.daemon.free_retired(),
                Some(wish) = wishes.recv() => return Some(wish),
            }
        }
        None
    }

    /// Waits until `ended`, or until the time for that is up, when what is left is cut; then closes the doors.
    pub async fn end(self, ended: impl Future<Output = ()>) {
        if !self.daemon.is_succeeded() {
            // After an upgrade the service goes on; only this process ends.
            notify::stopping();
        }
        let drain = self.daemon.snapshot().checked.config.server.timeouts.drain;
        tracing::info!(seconds = drain.as_secs(), in_flight = self.daemon.metrics.totals().in_flight, "draining");
        let mut ended = std::pin::pin!(ended);
        if tokio::time::timeout(drain, ended.as_mut()).await.is_err() {
            tracing::warn!(in_flight = self.daemon.metrics.totals().in_flight, "the time for draining is up");
            self.daemon.enter(Life::Stopping);
            ended.await;
        }
        self.daemon.enter(Life::Stopping);
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.callers.close();
        let _ = tokio::time::timeout(FAREWELL, self.callers.wait()).await;
        tracing::info!("stopped");
    }
}

/// Tells the service manager that the daemon serves; after an upgrade also that it is another process now.
pub fn announce(upgraded: bool) {
    if upgraded {
        notify::took_over();
    } else {
        notify::ready();
    }
}
