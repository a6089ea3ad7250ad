//! Tells a connection that the daemon drains.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::worker::Worker;

/// How long a connection may live on without a request when the daemon drains: one may be under way. It is the last one then,
/// and its answer says so.
pub(super) const GRACE: Duration = Duration::from_millis(500);

/// The same after an upgrade, when nobody waits for the end: a client that goes on using its connection has used it by then.
const UPGRADE_GRACE: Duration = Duration::from_secs(5);

/// How long tunnels have for their goodbyes before the time for draining is up.
const GOODBYE: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct Drain {
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    token: CancellationToken,
    /// Whether the task is to be woken.
    watched: bool,
    since: Option<Instant>,
}

/// How long a connection may live on without a request.
pub(super) fn grace(worker: &Worker) -> Duration {
    if worker.daemon.is_succeeded() { UPGRADE_GRACE } else { GRACE }
}

/// How long tunnels that can be told goodbye go on untold: after an upgrade for as long as there is time.
pub(super) fn until_goodbye(worker: &Worker) -> Duration {
    if worker.daemon.is_succeeded() {
        let drain = worker.local().snapshot.checked.config.server.timeouts.drain;
        drain.saturating_sub(GOODBYE)
    } else {
        Duration::ZERO
    }
}

impl Drain {
    pub(super) fn of(worker: &Worker) -> Self {
        let token = worker.draining.clone();
        Self { cancelled: Box::pin(token.clone().cancelled_owned()), token, watched: false, since: None }
    }

    /// Since when; none while the daemon serves.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Option<Instant> {
        let drains = if self.watched {
            self.since.is_some() || self.token.is_cancelled()
        } else {
            self.watched = true;
            matches!(self.cancelled.as_mut().poll(cx), Poll::Ready(()))
        };
        if drains { Some(*self.since.get_or_insert_with(Instant::now)) } else { None }
    }
}
