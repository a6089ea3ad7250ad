//! Revoked tokens go from proxy to proxy by the shared store, where the config says so: what was revoked here is told there, what
//! others revoked is taken up here, and kept on disk too, though it holds before. Off the control thread, for it has no link of its own.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use directory::{DirectoryError, RevokedRow};
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
    /// Whether something that was revoked elsewhere does not hold here yet.
    is_behind: bool,
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
            let texts = link.shared_revoked(now_s).await?;
            if self.take_up_all(state, &texts) {
                self.number = number;
            }
        }
        let epoch = state.revoked.epoch();
        if self.epoch != Some(epoch) {
            let kept = state.directory(|directory| directory.revoked(now_s));
            let is_all = kept.is_ok();
            // What no disk has taken yet is told too.
            let rows = kept.unwrap_or_default().into_iter().chain(state.revoked.unkept(usize::MAX));
            let rows = rows.map(Shared::from).filter(|row| !self.told.contains(row));
            let rows: Vec<Shared> = rows.collect();
            let texts = rows.iter().filter_map(|row| Some((serde_json::to_string(row).ok()?, row.expires_s)));
            let texts: Vec<_> = texts.collect();
            link.share_revoked(&texts, now_s).await?;
            self.told.extend(rows);
            if is_all {
                self.epoch = Some(epoch);
            }
        }
        self.told.retain(|row| row.expires_s > now_s);
        Ok(())
    }

    /// Whether all of them hold now. If not, they are to be read again.
    fn take_up_all(&mut self, state: &State, texts: &[String]) -> bool {
        let mut all = true;
        for text in texts {
            // What another version wrote and this one cannot read is left to that one.
            let Ok(row) = serde_json::from_str::<Shared>(text) else { continue };
            match take_up(state, &row) {
                Ok(()) => {
                    self.told.insert(row);
                }
                Err(error) => {
                    if !self.is_behind && all {
                        tracing::warn!(%error, "a token that was revoked elsewhere cannot be taken up yet: it is tried again");
                    }
                    all = false;
                }
            }
        }
        self.is_behind = !all;
        all
    }
}

/// A token that was revoked elsewhere is revoked here, unless it is already, and for as long. It fails where it does not hold now.
fn take_up(state: &State, row: &Shared) -> Result<(), DirectoryError> {
    let holds = || state.revoked.until_s(&row.provider, &row.jti).is_some_and(|until_s| until_s >= row.expires_s);
    if holds() {
        return Ok(());
    }
    let row = RevokedRow::from(row);
    match state.token_revoke(&row) {
        // One that can be nobody's is passed over; one that the disk does not take holds, and the state tries again.
        Err(error) if row.check().is_ok() && !holds() => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

impl From<&Shared> for RevokedRow {
    fn from(row: &Shared) -> Self {
        let Shared { provider, jti, expires_s, revoked_s, by } = row.clone();
        Self { provider, jti, expires_s, revoked_s, by }
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

    fn shared(provider: &str, jti: &str, expires_s: i64) -> Shared {
        Shared { provider: provider.into(), jti: jti.into(), expires_s, revoked_s: 0, by: "test".into() }
    }

    #[test]
    fn what_cannot_hold_yet_is_read_again_and_the_rest_holds() {
        let state = State::in_memory();
        state.directory(|directory| directory.refuse_writes(true)).unwrap();
        let text = |row: &Shared| serde_json::to_string(row).unwrap();
        let texts = [text(&shared("*", "a", 100)), text(&shared("*", " b", 100)), "{".to_owned()];
        let mut known = Known::default();
        // The disk takes none: it holds here, and nobody is told what they said.
        assert!(known.take_up_all(&state, &texts));
        assert!(state.revoked.is_revoked("jwt.main", "a") && state.revoked.is_unkept("*", "a"));
        assert!(known.told.contains(&shared("*", "a", 100)));
        // No more can wait for the disk: then it is not as if it had been taken up.
        while state.revoked.hold(&RevokedRow::from(&shared("session", &state.revoked.len().to_string(), 100))) {}
        assert!(!known.take_up_all(&state, &[text(&shared("*", "c", 100))]) && known.is_behind);
        assert!(!known.told.contains(&shared("*", "c", 100)));
        state.directory(|directory| directory.refuse_writes(false)).unwrap();
        assert!(known.take_up_all(&state, &[text(&shared("*", "c", 100))]) && !known.is_behind);
        assert!(state.revoked.is_revoked("jwt.main", "c"));
    }

    #[test]
    fn a_token_is_revoked_for_as_long_as_anybody_says() {
        let state = State::in_memory();
        let check = |provider: &str, expires_s: i64, expected: i64| {
            let row = shared(provider, "a", expires_s);
            let epoch = state.revoked.epoch();
            let is_news = state.revoked.until_s(provider, "a").is_none_or(|until_s| until_s < expires_s);
            take_up(&state, &row).unwrap();
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
