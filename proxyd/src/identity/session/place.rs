//! Where sessions are kept, and how each place is asked: this proxy's disk, or Redis. Knows them sealed, and by the hash of
//! their ids.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use directory::{Directory, DirectoryError, SessionRow};

use super::{KeepError, Session, SessionId, random};
use crate::exchange::Ledger;
use crate::fleet::{Engine, Link, StoreError};
use crate::identity::accounts;
use crate::identity::state::State;

/// Where they are.
#[derive(Clone)]
pub(super) enum Place {
    Local(Arc<State>),
    /// None: there is none, and every question fails.
    Redis(Option<Arc<Engine>>),
}

/// How a request reaches the store.
#[derive(Clone, Default)]
pub struct Way {
    link: Option<Rc<Link>>,
    /// The network that it comes from, where the disk is asked: one of them must not take all turns.
    from: Option<IpAddr>,
}

impl Way {
    /// Of somebody of this network.
    #[cfg(test)]
    pub(super) fn from(network: IpAddr) -> Self {
        Self { link: None, from: Some(network) }
    }

    /// This one, and to where it does not lead the other.
    pub(super) fn or(self, other: Self) -> Self {
        Self { link: self.link.or(other.link), from: self.from.or(other.from) }
    }

    fn link(&self) -> Result<&Rc<Link>, KeepError> {
        self.link.as_ref().ok_or(KeepError::Store)
    }
}

impl From<StoreError> for KeepError {
    fn from(_: StoreError) -> Self {
        Self::Store
    }
}

/// A session that is to be kept.
pub(super) struct Held {
    pub sealed: Vec<u8>,
    /// Unless it is used again.
    pub idle_until_s: i64,
}

/// A session as it was kept.
pub(super) struct Found {
    pub sealed: Vec<u8>,
    /// When it was used last, as far as that was noted.
    pub seen_s: i64,
}

/// Whose question it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// Anybody's: the id may be made up.
    Anybody,
    /// Of a session that was here before.
    Known,
}

/// The right to change a session, of one among all who share the store.
pub enum Lock {
    /// Nobody shares anything.
    None,
    /// Of this process alone, of the session with this hash.
    Here([u8; 32], Instant),
    /// Of all with one engine.
    There { key: String, text: String, until: Instant },
}

impl Place {
    /// Whether both are one place.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Local(one), Self::Local(other)) => Arc::ptr_eq(one, other),
            (Self::Redis(Some(one)), Self::Redis(Some(other))) => Arc::ptr_eq(one, other),
            (Self::Local(_) | Self::Redis(_), _) => false,
        }
    }

    pub(super) fn way(&self, ledger: &Ledger, client: IpAddr) -> Way {
        match self {
            Self::Local(_) => Way { link: None, from: Some(accounts::network(client)) },
            Self::Redis(Some(engine)) => Way { link: Some(ledger.fleet.link(engine)), from: None },
            Self::Redis(None) => Way::default(),
        }
    }

    pub(super) async fn get(
        &self,
        id: &SessionId,
        whose: Whose,
        way: &Way,
        idle_s: i64,
        now_s: i64,
    ) -> Result<Option<Found>, KeepError> {
        match self {
            Self::Local(state) => {
                let hash = id.hash();
                let question = move |directory: &mut Directory| directory.session_get(&hash, now_s);
                let row = match whose {
                    Whose::Anybody => ask_for(state, way, question).await?,
                    Whose::Known => ask(state, question).await?,
                };
                Ok(row.map(|row| {
                    let seen_s = row.seen_s.unwrap_or_else(|| row.idle_until_s.saturating_sub(idle_s));
                    Found { sealed: row.payload, seen_s }
                }))
            }
            Self::Redis(_) => {
                let (link, key, used) = (way.link()?, key(id), used_key(id));
                let (sealed, used) = tokio::join!(link.get(&key), link.get(&used));
                let Some(sealed) = sealed? else { return Ok(None) };
                if let Some(seen_s) = used?.and_then(|text| str::from_utf8(&text).ok()?.parse().ok()) {
                    return Ok(Some(Found { sealed, seen_s }));
                }
                // Of an earlier version, which did not say: reading it counts as a use.
                let is_there = self.touch(id, now_s.saturating_add(idle_s), way, now_s).await?;
                Ok(is_there.then_some(Found { sealed, seen_s: now_s }))
            }
        }
    }

    pub(super) async fn put(&self, session: &Session, held: Held, way: &Way, now_s: i64) -> Result<(), KeepError> {
        match self {
            Self::Local(state) => {
                let row = row(session, held);
                ask(state, move |directory| directory.session_put(&row)).await
            }
            Self::Redis(_) => {
                let (link, lasts) = (way.link()?, seconds(held.idle_until_s - now_s));
                let seen = session.seen_s.to_string();
                let (key, used) = (key(&session.id), used_key(&session.id));
                let (put, noted) =
                    tokio::join!(link.set(&key, &held.sealed, lasts), link.set(&used, seen.as_bytes(), lasts));
                put?;
                Ok(noted?)
            }
        }
    }

    /// In one step: what has ended in the meantime is not brought back.
    pub(super) async fn replace(
        &self,
        session: &Session,
        held: Held,
        way: &Way,
        now_s: i64,
    ) -> Result<bool, KeepError> {
        match self {
            Self::Local(state) => {
                let row = row(session, held);
                ask(state, move |directory| directory.session_replace(&row, now_s)).await
            }
            Self::Redis(_) => {
                let (link, lasts) = (way.link()?, seconds(held.idle_until_s - now_s));
                let is_there = link.replace(&key(&session.id), &held.sealed, lasts).await?;
                if is_there {
                    // It is kept whatever comes of this: its use is noted within it too.
                    let _ = link.set(&used_key(&session.id), session.seen_s.to_string().as_bytes(), lasts).await;
                }
                Ok(is_there)
            }
        }
    }

    /// Notes that it is used now.
    pub(super) async fn touch(&self, id: &SessionId, until_s: i64, way: &Way, now_s: i64) -> Result<bool, KeepError> {
        match self {
            Self::Local(state) => {
                let hash = id.hash();
                ask(state, move |directory| directory.session_touch(&hash, until_s, now_s)).await
            }
            Self::Redis(_) => {
                let (link, lasts) = (way.link()?, seconds(until_s - now_s));
                let is_there = link.keep(&key(id), lasts).await?;
                if is_there {
                    link.set(&used_key(id), now_s.to_string().as_bytes(), lasts).await?;
                }
                Ok(is_there)
            }
        }
    }

    /// Ends it. Whether there was one.
    pub(super) async fn remove(&self, id: &SessionId, way: &Way) -> Result<bool, KeepError> {
        match self {
            Self::Local(state) => {
                let hash = id.hash();
                ask(state, move |directory| directory.session_remove(&hash)).await
            }
            Self::Redis(_) => {
                let link = way.link()?;
                let was_there = link.remove(&key(id)).await?;
                // What is left of it opens nothing, and goes by itself.
                let _ = link.remove(&used_key(id)).await;
                Ok(was_there)
            }
        }
    }

    /// Takes the session for oneself, for so long at most; none while somebody else has it. Who shares a disk, the process knows by
    /// itself.
    pub(super) async fn lock(&self, id: &SessionId, lasts: Duration, way: &Way) -> Result<Option<Lock>, KeepError> {
        match self {
            Self::Local(_) => Ok(Some(Lock::None)),
            Self::Redis(_) => {
                let (key, until) = (lock_key(id), Instant::now() + lasts);
                let text = random().ok_or(KeepError::Randomness)?;
                let is_ours = way.link()?.set_new(&key, text.as_bytes(), lasts).await?;
                Ok(is_ours.then_some(Lock::There { key, text, until }))
            }
        }
    }

    /// Gives it back. Where that fails it ends by itself.
    pub(super) async fn unlock(&self, lock: Lock, way: &Way) {
        let (Lock::There { key, text, until }, Ok(link)) = (lock, way.link()) else { return };
        // Afterwards it may be somebody else's.
        let is_ours = Instant::now() < until && link.get(&key).await == Ok(Some(text.into_bytes()));
        if is_ours {
            let _ = link.remove(&key).await;
        }
    }
}

fn row(session: &Session, held: Held) -> SessionRow {
    SessionRow {
        id: session.id.hash(),
        payload: held.sealed,
        idle_until_s: held.idle_until_s,
        ends_s: session.ends_s,
        seen_s: Some(session.seen_s),
    }
}

fn key(id: &SessionId) -> String {
    format!("session:{}", id.name())
}

/// Of its last use: beside it, so that noting it does not write over what somebody else has made of the session.
fn used_key(id: &SessionId) -> String {
    format!("session:{}:used", id.name())
}

fn lock_key(id: &SessionId) -> String {
    format!("session:{}:lock", id.name())
}

fn seconds(count: i64) -> Duration {
    Duration::from_secs(u64::try_from(count).unwrap_or(0).max(1))
}

/// Asks the disk, off the worker's thread, about a session that there is or was.
async fn ask<T: Send + 'static>(
    state: &Arc<State>,
    question: impl FnOnce(&mut Directory) -> Result<T, DirectoryError> + Send + 'static,
) -> Result<T, KeepError> {
    let work = on(state, question);
    told(state.queues.sessions.run(None, work).await)
}

/// The same for anybody who comes with a cookie.
async fn ask_for<T: Send + 'static>(
    state: &Arc<State>,
    way: &Way,
    question: impl FnOnce(&mut Directory) -> Result<T, DirectoryError> + Send + 'static,
) -> Result<T, KeepError> {
    let work = on(state, question);
    told(state.queues.cookies.run(way.from, work).await)
}

fn on<T>(
    state: &Arc<State>,
    question: impl FnOnce(&mut Directory) -> Result<T, DirectoryError> + Send + 'static,
) -> impl FnOnce() -> Result<T, DirectoryError> + Send + 'static {
    let state = Arc::clone(state);
    move || state.directory(question)
}

/// None: too many wait already.
fn told<T>(answer: Option<Result<T, DirectoryError>>) -> Result<T, KeepError> {
    match answer {
        Some(Ok(answer)) => Ok(answer),
        Some(Err(error)) => {
            tracing::warn!(%error, "the store of sessions");
            Err(KeepError::Store)
        }
        None => Err(KeepError::Store),
    }
}
