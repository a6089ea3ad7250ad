//! Looks after what is known of identities: last uses are written, what has expired is swept, what another process has changed is
//! taken up. On the control thread, which leaves the disk to others.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::daemon::Daemon;
use crate::telemetry::clock::unix_s;

/// How often.
const EVERY: Duration = Duration::from_secs(10);

/// Looks after them until `stop`, and then once more: no last use is lost.
pub async fn tend(daemon: Arc<Daemon>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failed = false;
    loop {
        let end = tokio::select! {
            () = stop.cancelled() => true,
            _ = ticks.tick() => false,
        };
        let identity = Arc::clone(&daemon.amid.identity);
        let ticked = tokio::task::spawn_blocking(move || identity.tick(end, unix_s())).await;
        let error =
            ticked.map_err(|error| error.to_string()).and_then(|ticked| ticked.map_err(|error| error.to_string()));
        match error {
            // Said once, not every ten seconds.
            Err(error) if !failed => {
                tracing::error!(%error, "what is known of identities cannot be written; it goes on in memory");
                failed = true;
            }
            outcome => failed = outcome.is_err(),
        }
        if end {
            return;
        }
    }
}
