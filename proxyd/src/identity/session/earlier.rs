//! Sessions in the store of before: a reload that names another one ends none. Each is moved when it is first asked for: put here
//! first, and then taken away there, so that whoever asks meanwhile finds it in one of the two.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::kept::{Kept, Memories};
use super::place::{Lock, Place, Way, Whose};
use super::{KeepError, Session, SessionId};
use crate::fleet::Engine;

/// How long one waits for whoever moves or refreshes the session just now, …
const WAITS: Duration = Duration::from_secs(5);

/// … and how often one looks.
const LOOKS: Duration = Duration::from_millis(10);

/// How long a session is locked while it is moved.
const LASTS: Duration = Duration::from_secs(10);

/// A request that began before the reload may put a session there still.
const LATE_S: i64 = 60;

/// See the module.
pub(super) struct Earlier {
    place: Place,
    /// What is known of its sessions: who was in, and who is being refreshed by those who began before the reload.
    memories: Arc<Memories>,
    idle_s: i64,
    /// Until when it may hold any: there nobody uses them any more.
    until_s: i64,
    /// How many were moved.
    moved: AtomicU64,
}

impl Earlier {
    /// The store of before, where it is another one. An engine is asked as long as the config names it.
    pub(super) fn of(before: &Kept, engine: Option<&Arc<Engine>>, now_s: i64) -> Option<Arc<Self>> {
        let until_s = now_s.saturating_add(before.idle_s).saturating_add(LATE_S);
        let Kept { place, memories, idle_s, .. } = before;
        let (place, memories) = (place.clone(), Arc::clone(memories));
        let earlier = Self { place, memories, idle_s: *idle_s, until_s, moved: AtomicU64::new(0) };
        earlier.is_there(engine).then(|| Arc::new(earlier))
    }

    /// Whether it can be asked.
    pub(super) fn is_there(&self, engine: Option<&Arc<Engine>>) -> bool {
        match &self.place {
            Place::Local(_) => true,
            Place::Redis(own) => own.as_ref().zip(engine).is_some_and(|(own, engine)| Arc::ptr_eq(own, engine)),
        }
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Whether it may still hold any.
    pub(super) fn lasts(&self, now_s: i64) -> bool {
        now_s < self.until_s
    }

    pub(super) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Acquire)
    }

    /// Whether this session is there.
    pub(super) async fn holds(&self, id: &SessionId, whose: Whose, way: &Way, now_s: i64) -> Result<bool, KeepError> {
        let whose = if self.memories.was_here(&id.hash()) { Whose::Known } else { whose };
        Ok(self.place.get(id, whose, way, self.idle_s, now_s).await?.is_some())
    }

    async fn lock(&self, id: &SessionId, way: &Way) -> Result<Option<Lock>, KeepError> {
        self.memories.lock(&self.place, id, LASTS, way).await
    }
}

impl Kept {
    /// Moves a session here. Whoever refreshes it is waited for, for what that one brings would be lost.
    pub(super) async fn take_over(
        self: Arc<Self>,
        earlier: Arc<Earlier>,
        id: SessionId,
        way: Way,
        now_s: i64,
    ) -> Result<(), KeepError> {
        let began = Instant::now();
        let lock = loop {
            if let Some(lock) = earlier.lock(&id, &way).await? {
                break lock;
            }
            if began.elapsed() >= WAITS {
                return Err(KeepError::Store);
            }
            sleep(LOOKS).await;
            if self.known(&id, now_s).is_some() {
                return Ok(());
            }
        };
        let moved = self.move_one(&earlier, &id, &way, now_s).await;
        earlier.memories.unlock(&earlier.place, lock, &way).await;
        moved
    }

    async fn move_one(&self, earlier: &Earlier, id: &SessionId, way: &Way, now_s: i64) -> Result<(), KeepError> {
        let found = earlier.place.get(id, Whose::Known, way, earlier.idle_s, now_s).await?;
        let Some(session) = found.and_then(|found| self.opened(id, &found, now_s)) else { return Ok(()) };
        let Session { seen_s, ends_s, .. } = session;
        let idle_until_s = seen_s.saturating_add(self.idle_s).min(ends_s);
        if idle_until_s <= now_s {
            return Ok(());
        }
        self.put(&session, idle_until_s, way, now_s).await?;
        let taken = earlier.place.remove(id, way).await;
        earlier.moved.fetch_add(1, Ordering::AcqRel);
        // It has ended there since it was read, or it would be in both: one that ends here must be nowhere.
        if taken != Ok(true) {
            self.remove(id, way).await?;
        }
        taken.map(drop)
    }
}
