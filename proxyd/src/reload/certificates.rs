//! Certificates that change on disk are taken up without a reload; what cannot be used is reported, and the ones before
//! go on serving.

use std::sync::Arc;
use std::time::Duration;

use shared::audit::{ActionFacts, Door};
use tokio_util::sync::CancellationToken;

use crate::daemon::Daemon;
use crate::telemetry::clock::unix_us;
use crate::tls::Refreshed;

/// How often the files are looked at. They are read when they have been the same for so long.
const EVERY: Duration = Duration::from_secs(2);

/// Watches until `stop`.
pub async fn watch(daemon: Arc<Daemon>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let snapshot = daemon.snapshot();
        let refresh = move || snapshot.tls.refresh();
        let refreshed = tokio::task::spawn_blocking(refresh).await.unwrap_or_default();
        for (whose, outcome) in refreshed {
            report(&daemon, &whose, &outcome).await;
        }
    }
}

async fn report(daemon: &Daemon, whose: &str, outcome: &Refreshed) {
    let (word, message) = match outcome {
        Refreshed::Same => return,
        Refreshed::Taken => {
            tracing::info!(whose, "certificates have changed and were taken up");
            daemon.metrics.certificates_reloaded(true);
            ("done", String::new())
        }
        Refreshed::Refused(problem) => {
            tracing::error!(whose, %problem, "changed certificates cannot be used; the ones before stay");
            daemon.metrics.certificates_reloaded(false);
            ("unreadable", problem.clone())
        }
    };
    let generation = daemon.committed();
    let facts = ActionFacts {
        time_us: unix_us(),
        door: Door::Start,
        actor: "proxyd (files changed)".to_owned(),
        command: "certificates".to_owned(),
        arguments: serde_json::json!({ "of": whose }).to_string(),
        outcome: word.to_owned(),
        message,
        generation_before: generation,
        generation_after: generation,
        changes: String::new(),
    };
    if daemon.audit.act(facts).await.is_err() {
        tracing::warn!("a change of certificates is not on record yet: the audit store cannot be written");
    }
}
