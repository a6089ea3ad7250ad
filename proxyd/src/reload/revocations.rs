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
                take_up(state, &row);
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

/// A token that was revoked elsewhere is revoked here, unless it is already, and for as long.
fn take_up(state: &State, row: &Shared) {
    if state.revoked.until_s(&row.provider, &row.jti).is_some_and(|until_s| until_s >= row.expires_s) {
        return;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_revoked_for_as_long_as_anybody_says() {
        let state = State::in_memory();
        let check = |provider: &str, expires_s: i64, expected: i64| {
            let row = Shared { provider: provider.into(), jti: "a".into(), expires_s, revoked_s: 0, by: "test".into() };
            let epoch = state.revoked.epoch();
            let is_news = state.revoked.until_s(provider, "a").is_none_or(|until_s| until_s < expires_s);
            take_up(&state, &row);
            assert_eq!(state.revoked.until_s(provider, "a"), Some(expected), "{provider} {expires_s}");
            // What is no news is not told on: proxies would tell each other for ever.
            assert_eq!(state.revoked.epoch() != epoch, is_news, "{provider} {expires_s}");
        };
        check("jwt.main", 100, 100);
        check("jwt.main", 50, 100);
        check("jwt.main", 200, 200);
        check("jwt.main", 200, 200);
        check("*", 150, 150);
        check("jwt.other", 120, 150);
        let kept = state.directory(|directory| directory.revoked(0)).unwrap();
        let kept: Vec<_> = kept.iter().map(|row| (row.provider.as_str(), row.expires_s)).collect();
        assert_eq!(kept, [("*", 150), ("jwt.main", 200)]);
    }
}
