//! Sessions in a store: on this proxy's disk, or in Redis. Under the hash of their ids, sealed: whoever reads the store learns
//! of no token and can take no session over.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use super::earlier::Earlier;
use super::marks::Marks;
use super::place::{Found, Held, Lock, Place, Way, Whose};
use super::{KeepError, Session, SessionId};
use crate::exchange::Ledger;
use crate::fleet::Engine;
use crate::identity::seal::{Purpose, Seals};

/// How long a session that was read is not read again: so long another proxy's logout may go unnoticed here. As long nobody
/// asks again for one that there is not.
const KNOWN_S: i64 = 1;

/// Apart from each other, so that two workers rarely want the same lock.
const SHARDS: usize = 64;

/// Sessions that are remembered in one of them.
const MOST_KNOWN: usize = 128;

/// Ids that nobody has, likewise.
const MOST_UNKNOWN: usize = 64;

/// The id's hash.
pub(super) type Hash = [u8; 32];

/// Sessions in a store.
pub(super) struct Kept {
    seals: Arc<Seals>,
    pub(super) place: Place,
    pub(super) idle_s: i64,
    /// Shared by all configs with this place: what ends by one of them is known to the others.
    pub(super) memories: Arc<Memories>,
    /// Where they were before, as long as some may be there.
    earlier: Option<Arc<Earlier>>,
}

/// What is known of the sessions of one place.
pub(super) struct Memories {
    shards: Box<[Mutex<Memory>]>,
    were_here: Marks,
}

impl Default for Memories {
    fn default() -> Self {
        let shards = std::iter::repeat_with(Mutex::default).take(SHARDS).collect();
        Self { shards, were_here: Marks::default() }
    }
}

/// What was read a moment ago: as long as there is room.
#[derive(Default)]
struct Memory {
    known: HashMap<Hash, Known>,
    /// Until when nobody asks for them again.
    unknown: HashMap<Hash, i64>,
    /// Those that somebody here changes, where there is nobody else, and until when at most.
    locked: HashMap<Hash, Instant>,
    /// How many sessions were ended: what was read before another one ended may be of that one, and is not remembered.
    ended: u64,
}

struct Known {
    session: Arc<Session>,
    until_s: i64,
}

impl Memories {
    /// Where this one is remembered. Ids are random, and so are the first bytes of their hashes.
    fn memory(&self, hash: &Hash) -> Option<MutexGuard<'_, Memory>> {
        let [first, ..] = *hash;
        let shard = self.shards.get(usize::from(first) % SHARDS)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a session with this hash was here before.
    pub(super) fn was_here(&self, hash: &Hash) -> bool {
        self.were_here.is_set(hash)
    }

    /// Takes a session of this place for oneself, for so long at most; none while somebody else has it.
    pub(super) async fn lock(
        &self,
        place: &Place,
        id: &SessionId,
        lasts: Duration,
        way: &Way,
    ) -> Result<Option<Lock>, KeepError> {
        if matches!(place, Place::Redis(_)) {
            return place.lock(id, lasts, way).await;
        }
        let (hash, now) = (id.hash(), Instant::now());
        let Some(mut memory) = self.memory(&hash) else { return Ok(None) };
        if memory.locked.get(&hash).is_some_and(|until| now < *until) {
            return Ok(None);
        }
        let until = now + lasts;
        memory.locked.insert(hash, until);
        Ok(Some(Lock::Here(hash, until)))
    }

    /// Gives it back.
    pub(super) async fn unlock(&self, place: &Place, lock: Lock, way: &Way) {
        let Lock::Here(hash, until) = lock else { return place.unlock(lock, way).await };
        if let Some(mut memory) = self.memory(&hash)
            && memory.locked.get(&hash) == Some(&until)
        {
            memory.locked.remove(&hash);
        }
    }
}

impl Kept {
    /// What those of the config before know is taken over, where their place is the same; where it is another one, so are their
    /// sessions, one by one.
    pub(super) fn new(
        seals: Arc<Seals>,
        place: Place,
        idle_s: i64,
        engine: Option<&Arc<Engine>>,
        before: Option<&Self>,
        now_s: i64,
    ) -> Self {
        let same = before.filter(|before| before.place.is_same(&place));
        let earlier = match (same, before) {
            (Some(same), _) => same.earlier.as_ref().map(Arc::clone),
            (None, Some(before)) => Earlier::of(before, engine, now_s),
            (None, None) => None,
        };
        let earlier = earlier
            .filter(|earlier| earlier.lasts(now_s) && earlier.is_there(engine) && !earlier.place().is_same(&place));
        let memories = same.map(|same| Arc::clone(&same.memories)).unwrap_or_default();
        Self { seals, place, idle_s, memories, earlier }
    }

    /// A request's way to the store.
    pub(super) fn way(&self, ledger: &Ledger, client: IpAddr) -> Way {
        let way = self.place.way(ledger, client);
        match &self.earlier {
            None => way,
            Some(earlier) => way.or(earlier.place().way(ledger, client)),
        }
    }

    /// A session that was read a moment ago.
    pub(super) fn known(&self, id: &SessionId, now_s: i64) -> Option<Arc<Session>> {
        let hash = id.hash();
        let memory = self.memory(&hash)?;
        let known = memory.known.get(&hash)?;
        (now_s < known.until_s).then(|| Arc::clone(&known.session))
    }

    fn memory(&self, hash: &Hash) -> Option<MutexGuard<'_, Memory>> {
        self.memories.memory(hash)
    }

    /// What [`Kept::remember`] is told of a session that is read from now on.
    fn ended(&self, hash: &Hash) -> u64 {
        self.memory(hash).map_or(0, |memory| memory.ended)
    }

    /// Remembers a session that was read or written since then, unless one has ended in the meantime.
    fn remember(&self, hash: Hash, session: &Arc<Session>, since: u64, now_s: i64) {
        self.memories.were_here.set(&hash);
        let Some(mut memory) = self.memory(&hash) else { return };
        if memory.ended != since {
            return;
        }
        let Memory { known, unknown, .. } = &mut *memory;
        unknown.remove(&hash);
        if let Some(before) = known.get(&hash) {
            session.take_over(&before.session);
        } else if known.len() >= MOST_KNOWN {
            known.retain(|_, known| now_s < known.until_s);
        }
        if known.len() < MOST_KNOWN || known.contains_key(&hash) {
            known.insert(hash, Known { session: Arc::clone(session), until_s: now_s.saturating_add(KNOWN_S) });
        }
    }

    /// Remembers that nobody has this id.
    fn note_unknown(&self, hash: Hash, now_s: i64) {
        self.memories.were_here.take_away(&hash);
        let Some(mut memory) = self.memory(&hash) else { return };
        memory.known.remove(&hash);
        let unknown = &mut memory.unknown;
        if unknown.len() >= MOST_UNKNOWN {
            unknown.retain(|_, until_s| now_s < *until_s);
        }
        if unknown.len() < MOST_UNKNOWN {
            unknown.insert(hash, now_s.saturating_add(KNOWN_S));
        }
    }

    fn forget(&self, hash: &Hash) {
        self.memories.were_here.take_away(hash);
        if let Some(mut memory) = self.memory(hash) {
            memory.ended += 1;
            memory.known.remove(hash);
        }
    }

    /// Finds a session, unless it was looked for a moment ago and there was none.
    pub(super) async fn get(
        self: &Arc<Self>,
        id: &SessionId,
        way: &Way,
        now_s: i64,
    ) -> Result<Option<Arc<Session>>, KeepError> {
        let hash = id.hash();
        let memory = self.memory(&hash);
        if memory.is_some_and(|memory| memory.unknown.get(&hash).is_some_and(|until_s| now_s < *until_s)) {
            return Ok(None);
        }
        let whose = if self.memories.were_here.is_set(&hash) { Whose::Known } else { Whose::Anybody };
        let found = match self.earlier.as_ref().filter(|earlier| earlier.lasts(now_s)) {
            Some(earlier) => self.find(earlier, id, whose, way, now_s).await?,
            None => self.read(id, whose, way, now_s).await?,
        };
        if found.is_none() {
            self.note_unknown(hash, now_s);
        }
        Ok(found)
    }

    /// Finds a session here or in the store of before.
    async fn find(
        self: &Arc<Self>,
        earlier: &Arc<Earlier>,
        id: &SessionId,
        whose: Whose,
        way: &Way,
        now_s: i64,
    ) -> Result<Option<Arc<Session>>, KeepError> {
        let moved = earlier.moved();
        if let Some(session) = self.read(id, whose, way, now_s).await? {
            return Ok(Some(session));
        }
        if earlier.holds(id, whose, way, now_s).await? {
            // A task of its own: whoever leaves must not stop halfway.
            let moving = Arc::clone(self).take_over(Arc::clone(earlier), id.clone(), way.clone(), now_s);
            tokio::task::spawn_local(moving).await.unwrap_or(Err(KeepError::Store))?;
        } else if earlier.moved() == moved {
            return Ok(None);
        }
        // It may have been moved between the two questions, too.
        self.read(id, Whose::Known, way, now_s).await
    }

    /// Reads a session that is known to be good, as it is now.
    pub(super) async fn again(&self, id: &SessionId, way: &Way, now_s: i64) -> Result<Option<Arc<Session>>, KeepError> {
        let found = self.read(id, Whose::Known, way, now_s).await?;
        if found.is_none() {
            self.note_unknown(id.hash(), now_s);
        }
        Ok(found)
    }

    async fn read(
        &self,
        id: &SessionId,
        whose: Whose,
        way: &Way,
        now_s: i64,
    ) -> Result<Option<Arc<Session>>, KeepError> {
        let hash = id.hash();
        let since = self.ended(&hash);
        let Some(found) = self.place.get(id, whose, way, self.idle_s, now_s).await? else { return Ok(None) };
        let Some(session) = self.opened(id, &found, now_s).map(Arc::new) else { return Ok(None) };
        self.remember(hash, &session, since, now_s);
        Ok(Some(session))
    }

    /// A session as it was kept.
    pub(super) fn opened(&self, id: &SessionId, found: &Found, now_s: i64) -> Option<Session> {
        let text = self.seals.open(Purpose::Stored, &id.name(), &found.sealed)?;
        let mut session = serde_json::from_slice::<Session>(&text).ok().filter(|session| session.id == *id)?;
        // The store is told when it is used; what was sealed stays as it was.
        session.seen_s = session.seen_s.max(found.seen_s).min(now_s);
        Some(session)
    }

    /// Writes a session that is new.
    pub(super) async fn put(
        &self,
        session: &Session,
        idle_until_s: i64,
        way: &Way,
        now_s: i64,
    ) -> Result<(), KeepError> {
        let hash = session.id.hash();
        let (held, since) = (self.held(session, idle_until_s)?, self.ended(&hash));
        self.place.put(session, held, way, now_s).await?;
        self.remember(hash, &Arc::new(session.clone()), since, now_s);
        Ok(())
    }

    /// Writes a session over an earlier one with this id. False: that one has ended, and stays so.
    pub(super) async fn replace(
        &self,
        session: &Session,
        idle_until_s: i64,
        way: &Way,
        now_s: i64,
    ) -> Result<bool, KeepError> {
        let hash = session.id.hash();
        let (held, since) = (self.held(session, idle_until_s)?, self.ended(&hash));
        let is_there = self.place.replace(session, held, way, now_s).await?;
        if is_there {
            self.remember(hash, &Arc::new(session.clone()), since, now_s);
        } else {
            self.forget(&hash);
        }
        Ok(is_there)
    }

    fn held(&self, session: &Session, idle_until_s: i64) -> Result<Held, KeepError> {
        let text = serde_json::to_vec(session).map_err(|_| KeepError::TooLarge)?;
        let sealed = self.seals.seal(Purpose::Stored, &session.id.name(), &text).ok_or(KeepError::Randomness)?;
        Ok(Held { sealed: sealed.into_bytes(), idle_until_s })
    }

    /// Notes its use, by a task. A session that has ended in the meantime stays so.
    pub(super) fn touch(self: &Arc<Self>, seen: Session, idle_until_s: i64, way: Way, now_s: i64) {
        let hash = seen.id.hash();
        let seen = Arc::new(seen);
        // At once: the next request needs no task of its own. Unless it is gone from here since it was opened.
        if let Some(mut memory) = self.memory(&hash)
            && let Some(known) = memory.known.get_mut(&hash)
            && known.session.tokens == seen.tokens
        {
            seen.take_over(&known.session);
            known.session = Arc::clone(&seen);
        }
        let kept = Arc::clone(self);
        tokio::task::spawn_local(async move {
            match kept.place.touch(&seen.id, idle_until_s, &way, now_s).await {
                Ok(true) => {}
                Ok(false) => kept.forget(&hash),
                Err(error) => tracing::warn!(%error, "the use of a session is not noted"),
            }
        });
    }

    /// Takes the session for oneself, for so long at most; none while another proxy has it.
    pub(super) async fn lock(&self, id: &SessionId, lasts: Duration, way: &Way) -> Result<Option<Lock>, KeepError> {
        self.memories.lock(&self.place, id, lasts, way).await
    }

    /// Gives it back.
    pub(super) async fn unlock(&self, lock: Lock, way: &Way) {
        self.memories.unlock(&self.place, lock, way).await;
    }

    /// Ends a session.
    pub(super) async fn remove(&self, id: &SessionId, way: &Way) -> Result<(), KeepError> {
        let hash = id.hash();
        self.forget(&hash);
        let removed = self.place.remove(id, way).await.map(drop);
        // Once more: it may have been read again before it was gone.
        self.forget(&hash);
        removed
    }
}
