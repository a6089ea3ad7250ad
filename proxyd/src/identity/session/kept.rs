//! Sessions in a store: on this proxy's disk, or in Redis. Under the hash of their ids, sealed: whoever reads the store learns
//! of no token and can take no session over.

use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use directory::{Directory, DirectoryError, SessionRow};
use hashbrown::HashMap;

use super::{KeepError, Session, SessionId};
use crate::exchange::Ledger;
use crate::fleet::{Engine, Link, StoreError};
use crate::identity::seal::{Purpose, Seals};
use crate::identity::state::State;

/// How long a session that was read is not read again: so long another proxy's logout may go unnoticed here.
const KNOWN_S: i64 = 1;

/// Sessions that are remembered.
const MOST_KNOWN: usize = 8192;

/// The id's hash.
type Hash = [u8; 32];

/// Sessions in a store.
pub(super) struct Kept {
    seals: Arc<Seals>,
    place: Place,
    idle_s: i64,
    memory: Mutex<Memory>,
}

/// What was read a moment ago.
#[derive(Default)]
struct Memory {
    known: HashMap<Hash, Known>,
    /// How many sessions were ended: what was read before another one ended may be of that one, and is not remembered.
    ended: u64,
}

struct Known {
    session: Arc<Session>,
    until_s: i64,
}

/// Where they are.
#[derive(Clone)]
pub(super) enum Place {
    Local(Arc<State>),
    /// None: there is none, and every question fails.
    Redis(Option<Arc<Engine>>),
}

/// How a worker reaches the store.
#[derive(Clone, Default)]
pub struct Way(Option<Rc<Link>>);

impl Way {
    fn link(&self) -> Result<&Rc<Link>, KeepError> {
        self.0.as_ref().ok_or(KeepError::Store)
    }
}

impl From<StoreError> for KeepError {
    fn from(_: StoreError) -> Self {
        Self::Store
    }
}

/// A session as the store has it.
struct Held {
    sealed: Vec<u8>,
    /// Unless it is used again.
    idle_until_s: i64,
}

impl Kept {
    pub(super) fn new(seals: Arc<Seals>, place: Place, idle_s: i64) -> Self {
        Self { seals, place, idle_s, memory: Mutex::default() }
    }

    /// A worker's way to the store.
    pub(super) fn way(&self, ledger: &Ledger) -> Way {
        match &self.place {
            Place::Redis(Some(engine)) => Way(Some(ledger.fleet.link(engine))),
            Place::Redis(None) | Place::Local(_) => Way(None),
        }
    }

    /// A session that was read a moment ago.
    pub(super) fn known(&self, id: &SessionId, now_s: i64) -> Option<Arc<Session>> {
        let memory = self.memory();
        let known = memory.known.get(&id.hash())?;
        (now_s < known.until_s).then(|| Arc::clone(&known.session))
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What [`Kept::remember`] is told of a session that is read from now on.
    fn ended(&self) -> u64 {
        self.memory().ended
    }

    /// Remembers a session that was read or written since then, unless one has ended in the meantime.
    fn remember(&self, session: &Arc<Session>, since: u64, now_s: i64) {
        let mut memory = self.memory();
        if memory.ended != since {
            return;
        }
        let known = &mut memory.known;
        if known.len() >= MOST_KNOWN {
            known.retain(|_, known| now_s < known.until_s);
        }
        if known.len() < MOST_KNOWN {
            known.insert(session.id.hash(), Known { session: Arc::clone(session), until_s: now_s + KNOWN_S });
        }
    }

    fn forget(&self, hash: &Hash) {
        let mut memory = self.memory();
        memory.ended += 1;
        memory.known.remove(hash);
    }

    /// Reads a session.
    pub(super) async fn get(&self, id: &SessionId, way: &Way, now_s: i64) -> Result<Option<Arc<Session>>, KeepError> {
        let since = self.ended();
        let Some(held) = self.place.get(id, way, self.idle_s, now_s).await? else { return Ok(None) };
        let text = self.seals.open(Purpose::Stored, &id.name(), &held.sealed);
        let session = text.and_then(|text| serde_json::from_slice::<Session>(&text).ok());
        let Some(mut session) = session.filter(|session| session.id == *id) else { return Ok(None) };
        // The store is told when it is used; what was sealed stays as it was.
        session.seen_s = session.seen_s.max(held.idle_until_s.saturating_sub(self.idle_s)).min(now_s);
        let session = Arc::new(session);
        self.remember(&session, since, now_s);
        Ok(Some(session))
    }

    /// Writes a session that is new.
    pub(super) async fn put(
        &self,
        session: &Session,
        idle_until_s: i64,
        way: &Way,
        now_s: i64,
    ) -> Result<(), KeepError> {
        let (held, since) = (self.held(session, idle_until_s)?, self.ended());
        self.place.put(session, held, way, now_s).await?;
        self.remember(&Arc::new(session.clone()), since, now_s);
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
        let (held, since) = (self.held(session, idle_until_s)?, self.ended());
        let is_there = self.place.replace(session, held, way, now_s).await?;
        if is_there {
            self.remember(&Arc::new(session.clone()), since, now_s);
        }
        Ok(is_there)
    }

    fn held(&self, session: &Session, idle_until_s: i64) -> Result<Held, KeepError> {
        let text = serde_json::to_vec(session).map_err(|_| KeepError::TooLarge)?;
        let sealed = self.seals.seal(Purpose::Stored, &session.id.name(), &text).ok_or(KeepError::Randomness)?;
        Ok(Held { sealed: sealed.into_bytes(), idle_until_s })
    }

    /// Notes its use, by a task. A session that has ended in the meantime stays so.
    pub(super) fn touch(self: &Arc<Self>, seen: Session, way: Way, now_s: i64) {
        let seen = Arc::new(seen);
        // At once: the next request needs no task of its own. Unless it is gone from here since it was opened.
        if let Some(known) = self.memory().known.get_mut(&seen.id.hash()) {
            known.session = Arc::clone(&seen);
        }
        let kept = Arc::clone(self);
        tokio::task::spawn_local(async move {
            let until_s = seen.ends_s.min(now_s.saturating_add(kept.idle_s));
            match kept.place.touch(&seen.id, until_s, &way, now_s).await {
                Ok(true) => {}
                Ok(false) => kept.forget(&seen.id.hash()),
                Err(error) => tracing::warn!(%error, "the use of a session is not noted"),
            }
        });
    }

    /// Ends a session.
    pub(super) async fn remove(&self, id: &SessionId, way: &Way) -> Result<(), KeepError> {
        self.forget(&id.hash());
        let removed = self.place.remove(id, way).await;
        // Once more: it may have been read again before it was gone.
        self.forget(&id.hash());
        removed
    }
}

impl Place {
    async fn get(&self, id: &SessionId, way: &Way, idle_s: i64, now_s: i64) -> Result<Option<Held>, KeepError> {
        match self {
            Self::Local(state) => {
                let hash = id.hash();
                let row = ask(state, move |directory| directory.session_get(&hash, now_s)).await?;
                Ok(row.map(|row| Held { sealed: row.payload, idle_until_s: row.idle_until_s }))
            }
            Self::Redis(_) => {
                let (link, key) = (way.link()?, key(id));
                let Some(sealed) = link.get(&key).await? else { return Ok(None) };
                // It does not say how long a value stays: reading it counts as a use.
                let is_there = link.keep(&key, seconds(idle_s)).await?;
                Ok(is_there.then_some(Held { sealed, idle_until_s: now_s.saturating_add(idle_s) }))
            }
        }
    }

    async fn put(&self, session: &Session, held: Held, way: &Way, now_s: i64) -> Result<(), KeepError> {
        let Held { sealed, idle_until_s } = held;
        match self {
            Self::Local(state) => {
                let row = SessionRow { id: session.id.hash(), payload: sealed, idle_until_s, ends_s: session.ends_s };
                ask(state, move |directory| directory.session_put(&row)).await
            }
            Self::Redis(_) => Ok(way.link()?.set(&key(&session.id), &sealed, seconds(idle_until_s - now_s)).await?),
        }
    }

    async fn replace(&self, session: &Session, held: Held, way: &Way, now_s: i64) -> Result<bool, KeepError> {
        let Held { sealed, idle_until_s } = held;
        match self {
            Self::Local(state) => {
                let row = SessionRow { id: session.id.hash(), payload: sealed, idle_until_s, ends_s: session.ends_s };
                ask(state, move |directory| directory.session_replace(&row, now_s)).await
            }
            Self::Redis(_) => {
                Ok(way.link()?.replace(&key(&session.id), &sealed, seconds(idle_until_s - now_s)).await?)
            }
        }
    }

    async fn touch(&self, id: &SessionId, until_s: i64, way: &Way, now_s: i64) -> Result<bool, KeepError> {
        match self {
            Self::Local(state) => {
                let hash = id.hash();
                ask(state, move |directory| directory.session_touch(&hash, until_s, now_s)).await
            }
            Self::Redis(_) => Ok(way.link()?.keep(&key(id), seconds(until_s - now_s)).await?),
        }
    }

    async fn remove(&self, id: &SessionId, way: &Way) -> Result<(), KeepError> {
        match self {
            Self::Local(state) => {
                let hash = id.hash();
                ask(state, move |directory| directory.session_remove(&hash)).await.map(drop)
            }
            Self::Redis(_) => Ok(way.link()?.remove(&key(id)).await.map(drop)?),
        }
    }
}

fn key(id: &SessionId) -> String {
    format!("session:{}", id.name())
}

fn seconds(count: i64) -> Duration {
    Duration::from_secs(u64::try_from(count).unwrap_or(0).max(1))
}

/// Asks the disk, off the worker's thread.
async fn ask<T: Send + 'static>(
    state: &Arc<State>,
    question: impl FnOnce(&mut Directory) -> Result<T, DirectoryError> + Send + 'static,
) -> Result<T, KeepError> {
    let state = Arc::clone(state);
    match tokio::task::spawn_blocking(move || state.directory(question)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the store of sessions");
            Err(KeepError::Store)
        }
        Err(_) => Err(KeepError::Store),
    }
}
