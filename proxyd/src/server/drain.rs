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
