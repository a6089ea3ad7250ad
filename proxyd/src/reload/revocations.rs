//! Revoked tokens go from proxy to proxy by the shared store, where the config says so: what was revoked here is told there, what
//! others revoked is taken up here, and kept on disk too, though it holds before. Off the control thread, for it has no link of its own.

use std::collections::HashMap;
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

/// Rows that are read from the file at once.
const PAGE: usize = 5000;

/// A revoked token on its way.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
    /// Whether it was told all that is known here. From then on it is told what is new.
    is_told: bool,
    /// Whether something that was revoked elsewhere does not hold here for good yet.
    is_behind: bool,
}

/// By provider and `jti`: until when the store remembers it.
type Remembered = HashMap<(String, String), i64>;

impl Known {
    async fn exchange(&mut self, link: &Link, state: &Arc<State>) -> Result<(), StoreError> {
        let now_s = unix_s();
        let number = link.revoked_number().await?;
        if number.is_none() || number < self.number {
            // It has lost what it was told.
            self.number = None;
            self.is_told = false;
        }
        let mut remembered = Remembered::new();
        if let Some(now) = number
            && number != self.number
        {
            let news = match self.number {
                Some(since) if !self.is_behind => link.revoked_since(since, now).await?,
                Some(_) | None => None,
            };
            let rows = if let Some(texts) = news {
                read(&texts)
            } else {
                let rows = read(&link.shared_revoked(now_s).await?);
                if !self.is_told {
                    remembered = rows.iter().map(|row| (whose(row), row.expires_s)).collect();
                }
                rows
            };
            if self.take_up_all(state, rows) {
                self.number = number;
            }
        }
        self.tell(link, state, &remembered, now_s).await
    }

    async fn tell(
        &mut self,
        link: &Link,
        state: &State,
        remembered: &Remembered,
        now_s: i64,
    ) -> Result<(), StoreError> {
        // Before everything is read: what comes in between is told twice rather than never.
        let news = state.revoked.take_news();
        // Until the store has taken it.
        let was_told = std::mem::take(&mut self.is_told);
        match news {
            Some(news) if was_told => {
                share(link, news, now_s).await?;
                self.is_told = true;
            }
            Some(_) | None => self.is_told = tell_all(link, state, remembered, now_s).await?,
        }
        Ok(())
    }

    /// Whether all of them hold now, and go on to. If not, they are to be read again.
    fn take_up_all(&mut self, state: &State, rows: Vec<Shared>) -> bool {
        let holds = |row: &RevokedRow| {
            state.revoked.until_s(&row.provider, &row.jti).is_some_and(|until_s| until_s >= row.expires_s)
        };
        let rows = rows.into_iter().map(RevokedRow::from);
        // One that can be nobody's is passed over.
        let rows: Vec<_> = rows.filter(|row| row.check().is_ok() && (self.is_behind || !holds(row))).collect();
        let taken = state.tokens_take_up(&rows);
        if let Err(error) = &taken
            && !self.is_behind
        {
            tracing::warn!(%error, "tokens that were revoked elsewhere cannot be kept yet: it is tried again");
        }
        self.is_behind = taken.is_err();
        taken.is_ok()
    }
}

/// What another version wrote and this one cannot read is left to that one.
fn read(texts: &[String]) -> Vec<Shared> {
    texts.iter().filter_map(|text| serde_json::from_str(text).ok()).collect()
}

fn whose(row: &Shared) -> (String, String) {
    (row.provider.clone(), row.jti.clone())
}

/// Tells all that is known here and that the store does not remember as long. Whether that was all: the disk may not have said it.
async fn tell_all(link: &Link, state: &State, remembered: &Remembered, now_s: i64) -> Result<bool, StoreError> {
    let is_news = |row: &RevokedRow| {
        let known_s = remembered.get(&(row.provider.clone(), row.jti.clone()));
        known_s.is_none_or(|known_s| *known_s < row.expires_s)
    };
    // What no disk has taken yet is told too.
    let unkept = state.revoked.unkept(usize::MAX);
    share(link, unkept.into_iter().filter(|row| is_news(row)), now_s).await?;
    let mut after = (String::new(), String::new());
    loop {
        // By the page: nobody has the file meanwhile.
        let page = state.directory(|directory| directory.revoked_after(&after.0, &after.1, now_s, PAGE));
        let Ok(page) = page else { return Ok(false) };
        let Some(last) = page.last() else { return Ok(true) };
        after = (last.provider.clone(), last.jti.clone());
        share(link, page.into_iter().filter(|row| is_news(row)), now_s).await?;
    }
}

async fn share(link: &Link, rows: impl IntoIterator<Item = RevokedRow>, now_s: i64) -> Result<(), StoreError> {
    let rows = rows.into_iter().filter(|row| row.expires_s > now_s).map(Shared::from);
    let texts = rows.filter_map(|row| Some((serde_json::to_string(&row).ok()?, row.expires_s)));
    link.share_revoked(&texts.collect::<Vec<_>>(), now_s).await
}

impl From<Shared> for RevokedRow {
    fn from(row: Shared) -> Self {
        let Shared { provider, jti, expires_s, revoked_s, by } = row;
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
    fn all_of_them_hold_before_the_disk_has_taken_any() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path(), 0).unwrap();
        let rows: Vec<_> = (0..3_000).map(|number| shared("*", &number.to_string(), 100)).collect();
        let mut known = Known::default();
        // Somebody has the file: none can be written.
        let (free, held) = std::sync::mpsc::sync_channel::<()>(0);
        let state = &state;
        std::thread::scope(|scope| {
            let disk = scope.spawn(move || state.directory(|_| Ok(held.recv())));
            while !state.is_directory_busy() {
                std::thread::yield_now();
            }
            let taking = scope.spawn(|| known.take_up_all(state, rows));
            let began = std::time::Instant::now();
            while !state.revoked.is_revoked("jwt.main", "2999") {
                assert!(began.elapsed().as_secs() < 20, "the last one waits for the disk");
                std::thread::yield_now();
            }
            drop(free);
            let _ = disk.join().unwrap();
            assert!(taking.join().unwrap());
        });
        assert!(state.revoked.unkept(1).is_empty());
        assert_eq!(state.directory(|directory| directory.revoked(0)).unwrap().len(), 3_000);
        // Nor is it anything to tell those who said it.
        state.revoked.take_news();
        assert!(known.take_up_all(state, vec![shared("*", "more", 100)]));
        assert_eq!(state.revoked.take_news(), Some(Vec::new()));
    }

    #[test]
    fn what_cannot_be_kept_yet_is_read_again_and_holds() {
        let state = State::in_memory();
        state.directory(|directory| directory.refuse_writes(true)).unwrap();
        let mut known = Known::default();
        // The disk takes none: they hold here.
        assert!(known.take_up_all(&state, vec![shared("*", "a", 100), shared("*", " b", 100)]));
        assert!(state.revoked.is_revoked("jwt.main", "a") && state.revoked.is_unkept("*", "a"));
        assert_eq!(state.revoked.len(), 1, "one that can be nobody's is passed over");
        // No more can wait for the disk: it holds, and is not as if it had been taken up.
        while state.revoked.hold(&RevokedRow::from(shared("session", &state.revoked.len().to_string(), 100))) {}
        assert!(!known.take_up_all(&state, vec![shared("*", "c", 100)]) && known.is_behind);
        assert!(state.revoked.is_revoked("jwt.main", "c"));
        state.directory(|directory| directory.refuse_writes(false)).unwrap();
        assert!(known.take_up_all(&state, vec![shared("*", "c", 100)]) && !known.is_behind);
        let kept = state.directory(|directory| directory.revoked_one("*", "c", 0)).unwrap();
        assert!(kept.is_some() && state.revoked.is_revoked("jwt.main", "c"));
        assert_eq!(read(&["{".to_owned()]).len(), 0);
    }

    #[test]
    fn a_token_is_revoked_for_as_long_as_anybody_says() {
        let state = State::in_memory();
        let mut known = Known::default();
        let mut check = |provider: &str, expires_s: i64, expected: i64| {
            assert!(known.take_up_all(&state, vec![shared(provider, "a", expires_s)]));
            assert_eq!(state.revoked.until_s(provider, "a"), Some(expected), "{provider} {expires_s}");
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
