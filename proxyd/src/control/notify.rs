//! What the service manager is told (`sd_notify`): ready, reloading, stopping, and now and then that all is well. Without a
//! service manager this says nothing to nobody.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

/// Serving, after the start or after a reload.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Serving, in place of the process that the service manager knows.
pub(super) fn took_over() {
    tell(&[NotifyState::MainPid(std::process::id()), NotifyState::Ready]);
}

/// A reload begins; the service manager waits for [`ready`].
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the service manager could not be told of a reload"),
    }
}

/// Requests under way end, then the process does.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Says that all is well, twice in the time that the service manager asks for, until `stop`.
pub(super) async fn watch(stop: CancellationToken) {
    let Some(interval) = sd_notify::watchdog_enabled() else { return };
    let mut ticks = tokio::time::interval((interval / 2).max(Duration::from_millis(100)));
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => tell(&[NotifyState::Watchdog]),
        }
    }
}
