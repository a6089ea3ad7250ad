//! All doors together: opened before traffic is, attended while the daemon lives, closed when the last request has ended.

use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use shared::config::Admin;
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::commands::Control;
use super::signal::Signals;
use super::{http, notify, socket};
use crate::daemon::{Daemon, Life};
use crate::reload::{First, Reload, watch_certificates};

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
    /// Binds every door that the config asks for. Within the control thread's runtime, before other threads start.
    pub async fn bind(admin: &Admin) -> Result<Self, DoorError> {
        let signals = Signals::register()?;
        let socket = socket::bind(&admin.socket, admin.socket_mode)?;
        for warning in &socket.warnings {
            tracing::warn!("{warning}");
        }
        let admin = match admin.listen {
            Some(address) => Some(http::bind(address).await?),
            None => None,
        };
        Ok(Self { socket, admin, signals })
    }

    /// Where the control socket lies.
    #[must_use]
    pub fn socket(&self) -> &Path {
        self.socket.path()
    }

    /// Answers at every door from now on: through the start, the service, and the end of what is under way.
    #[must_use]
    pub fn open(self, daemon: &Arc<Daemon>, first: First) -> Open {
        let Self { socket, admin, signals } = self;
        let address = admin.as_ref().and_then(|listener| listener.local_addr().ok());
        tracing::info!(socket = %socket.path().display(), admin = address.map(tracing::field::display), "control doors open");
        let (listening, listener) = watch::channel(admin);
        let reload = Arc::new(Reload::new(Arc::clone(daemon), first, listening));
        let control = Control::new(Arc::clone(daemon), reload);
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let executor = Arc::new(control.clone());
        tasks.spawn(socket::serve(socket, Arc::clone(&executor), socket::Bounds::default(), stop.clone()));
        tasks.spawn(http::serve(listener, executor, http::Bounds::default(), stop.clone()));
        tasks.spawn(notify::watch(stop.clone()));
        tasks.spawn(watch_certificates(Arc::clone(daemon), stop.clone()));
        tokio::spawn(signals.attend(control, Arc::clone(daemon)));
        Open { daemon: Arc::clone(daemon), stop, tasks }
    }
}

/// Doors behind which somebody answers.
pub struct Open {
    daemon: Arc<Daemon>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// How often snapshots that nobody holds any more are looked for.
const SWEEP: Duration = Duration::from_secs(1);

impl Open {
    /// Serves until told to stop; then until `ended`, or until the time for that is up, when what is left is cut.
    pub async fn attend(self, ended: impl Future<Output = ()>) {
        notify::ready();
        let mut life = self.daemon.watch_life();
        let mut sweeps = tokio::time::interval(SWEEP);
        while *life.borrow_and_update() < Life::Draining {
            tokio::select! {
                _ = life.changed() => {}
                _ = sweeps.tick() => self.daemon.free_retired(),
            }
        }
        notify::stopping();
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
        tracing::info!("stopped");
    }
}
