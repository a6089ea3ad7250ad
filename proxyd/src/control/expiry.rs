//! Endpoints that registered for a time and were not heard of since: taken away once it is over, each on record.

use std::sync::Arc;
use std::time::Duration;

use shared::audit::{ActionFacts, Door};
use shared::control::report::RegistrationChange;
use tokio_util::sync::CancellationToken;

use super::commands::facts;
use crate::daemon::Daemon;
use crate::registry::Expired;
use crate::telemetry::clock::unix_us;

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(1);

/// Watches until `stop`.
pub(super) async fn watch(daemon: Arc<Daemon>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => expire(&daemon, daemon.now_us().cast_signed()).await,
        }
    }
}

/// Takes away whose time is over.
pub(super) async fn expire(daemon: &Daemon, now_us: i64) {
    if !daemon.amid.registry.is_due(now_us) {
        return;
    }
    let registry = Arc::clone(&daemon.amid.registry);
    let gone = tokio::task::spawn_blocking(move || registry.expire(now_us)).await.unwrap_or_default();
    for expired in &gone {
        daemon.gather(&expired.upstream);
        tracing::warn!(
            upstream = expired.upstream, endpoint = %expired.before.address,
            "an endpoint did not register again in time and is gone"
        );
        record(daemon, expired).await;
    }
}

async fn record(daemon: &Daemon, expired: &Expired) {
    let generation = daemon.committed();
    let changes = RegistrationChange { before: Some(facts(&expired.before)), after: None };
    let row = ActionFacts {
        time_us: unix_us(),
        door: Door::Start,
        actor: "proxyd (time to live is over)".to_owned(),
        command: "upstreams_deregister".to_owned(),
        arguments: serde_json::json!({ "upstream": expired.upstream, "endpoint": expired.before.address.as_ref() })
            .to_string(),
        outcome: "done".to_owned(),
        message: String::new(),
        generation_before: generation,
        generation_after: generation,
        changes: serde_json::to_string(&changes).unwrap_or_default(),
    };
    if daemon.audit.act(row).await.is_err() {
        tracing::warn!("not on record yet: the audit store cannot be written");
    }
}
