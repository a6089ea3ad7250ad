//! Revoked tokens go from proxy to proxy by the shared store, where the config says so: what was revoked here is told there, what
//! others revoked is taken up here, and kept on disk too. Off the control thread, for it has no link of its own.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use directory::RevokedRow;
use serde::{Deserialize, Serialize};
use shared::config::identity::StateStore;
use tokio_util::sync::CancellationToken;

use crate::daemon::Daemon;
use crate::fleet::{Engine, Link, StoreError, aside};
use crate::identity::State;
use crate::telemetry::clock::unix_s;

/// How often both sides look: so late, twice over, a token that was revoked elsewhere is refused here.
const EVERY: Duration = Duration::from_secs(1);

/// A revoked token on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Shared {
    provider: String,
    jti: String,
    expires_s: i64,
    revoked_s: i64,
    by: String,
}

/// Looks after them until `stop`, through whatever engine is in force.
pub async fn tend(daemon: Arc<Daemon>, stop: CancellationToken) {
    loop {
        if let Some(engine) = engine(&daemon) {
            let (daemon, stop) = (Arc::clone(&daemon), stop.clone());
            let with = Arc::clone(&engine);
            // It ends with the engine, or with the daemon.
            let _ = aside(&engine, async move |link: &Link| exchange(link, &with, &daemon, &stop).await).await;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// The engine that revocations are shared by, if they are.
fn engine(daemon: &Daemon) -> Option<Arc<Engine>> {
    let snapshot = daemon.snapshot();
    let shares = snapshot.checked.config.identity.revocations == StateStore::Redis;
    snapshot.redis.as_ref().filter(|_| shares).map(Arc::clone)
}

async fn exchange(link: &Link, with: &Arc<Engine>, daemon: &Daemon, stop: &CancellationToken) {
    let mut known = Known::default();
    let mut failed = false;
    while engine(daemon).is_some_and(|now| Arc::ptr_eq(&now, with)) {
        match known.exchange(link, &daemon.amid.identity).await {
            Ok(()) => {
                if failed {
                    tracing::info!("revoked tokens are shared again");
                }
                failed = false;
            }
            Err(error) => {
                if !failed {
                    tracing::warn!(
                        error = error.kind(),
                        "revoked tokens cannot be shared now: what is known here holds"
                    );
                }
                failed = true;
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// What both sides know already.
#[derive(Default)]
struct Known {
    /// The store's number when it was read last.
    number: Option<u64>,
    /// Ours, when it was told last.
    epoch: Option<u64>,
    told: HashSet<Shared>,
}

impl Known {
    async fn exchange(&mut self, link: &Link, state: &Arc<State>) -> Result<(), StoreError> {
        let now_s = unix_s();
        let number = link.revoked_number().await?;
        if number.is_none() || number < self.number {
            // It has lost what it was told.
            self.told.clear();
            self.epoch = None;
        }
        if number != self.number {
            for text in link.shared_revoked(now_s).await? {
                // What another version wrote and this one cannot read is left to that one.
                let Ok(row) = serde_json::from_str::<Shared>(&text) else { continue };
                if !state.revoked.is_revoked(&row.provider, &row.jti) {
                    take_up(state, &row);
                }
                self.told.insert(row);
            }
            self.number = number;
        }
        let epoch = state.revoked.epoch();
        if self.epoch != Some(epoch) {
            let Ok(rows) = state.directory(|directory| directory.revoked(now_s)) else { return Ok(()) };
            let rows = rows.into_iter().map(Shared::from).filter(|row| !self.told.contains(row));
            let rows: Vec<Shared> = rows.collect();
            let texts = rows.iter().filter_map(|row| Some((serde_json::to_string(row).ok()?, row.expires_s)));
            let texts: Vec<_> = texts.collect();
            link.share_revoked(&texts, now_s).await?;
            self.told.extend(rows);
            self.epoch = Some(epoch);
        }
        self.told.retain(|row| row.expires_s > now_s);
        Ok(())
    }
}

fn take_up(state: &State, row: &Shared) {
    let row = RevokedRow {
        provider: row.provider.clone(),
        jti: row.jti.clone(),
        expires_s: row.expires_s,
        revoked_s: row.revoked_s,
        by: row.by.clone(),
    };
    if let Err(error) = state.token_revoke(&row) {
        tracing::warn!(%error, "a token that was revoked elsewhere cannot be kept");
    }
}

impl From<RevokedRow> for Shared {
    fn from(row: RevokedRow) -> Self {
        let RevokedRow { provider, jti, expires_s, revoked_s, by } = row;
        Self { provider, jti, expires_s, revoked_s, by }
    }
}
