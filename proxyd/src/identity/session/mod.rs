//! Login sessions: opened from a cookie, kept in it or in a store, ended. Knows no provider: who may have a session is
//! decided in `login`.

pub(in crate::identity) mod cookie;
mod earlier;
mod kept;
mod marks;
mod place;
mod record;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ::directory::RevokedRow;
use shared::config::identity::{Session as Config, SessionStore};

pub(in crate::identity) use record::random;
pub use record::{Session, SessionId, Tokens};

use self::cookie::{Found, Jar};
use self::kept::Kept;
use self::place::Place;
pub use self::place::{Lock, Way};
use super::cache::Cache;
use super::seal::{Purpose, Seals};
use super::state::State;
use crate::exchange::{Denial, Ground, Headers, Ledger, Value};
use crate::fleet::Engine;
use crate::telemetry::clock;

/// How much of the idle time goes by before a session's use is written down again.
const TOUCHES: i64 = 10;

/// What sessions that were ended are called among revoked tokens.
const ENDED: &str = "session";

/// How long it is kept of a session in a store that it was ended: its tunnels look every second, and those of a process that was
/// replaced every ten.
const HEARD_S: i64 = 3600;

/// A thousand years: no sum of times overflows.
const MOST_S: i64 = 1000 * 366 * 86_400;

/// What a request's cookie stands for.
pub enum Opened {
    /// There is none.
    None,
    Good(Arc<Session>),
    Denied(Denial),
    /// Somebody must be asked first.
    Ask(Asking),
}

/// A question about a session; it owns what it needs.
pub type Asking = Pin<Box<dyn Future<Output = Answered>>>;

/// What is known once somebody was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    Good(Arc<Session>),
    Denied(Denial),
    /// Whoever would know does not answer.
    Unavailable,
}

/// Why a session cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeepError {
    #[error("the session does not fit into a cookie; `identity.session.store: local` keeps it here")]
    TooLarge,
    #[error("the store of sessions does not answer")]
    Store,
    #[error("the system has no randomness to give")]
    Randomness,
}

/// A cookie that was opened.
#[derive(Clone)]
struct Unsealed {
    session: Arc<Session>,
    /// Under which of its two names.
    https: bool,
    /// The revocations that it was looked for in.
    epoch: u64,
}

/// The sessions of one config.
pub struct Sessions {
    idle_s: i64,
    absolute_s: i64,
    jar: Jar,
    seals: Arc<Seals>,
    /// None: in the cookies themselves.
    kept: Option<Arc<Kept>>,
    /// Cookies that were opened lately. None: each is opened anew.
    unsealed: Option<Cache<Unsealed>>,
    /// Knows which sessions in cookies have ended before their time.
    state: Arc<State>,
}

impl Sessions {
    /// Those of one config. What the config before knew of who is in is taken over.
    pub(in crate::identity) fn compile(
        config: &Config,
        seals: Seals,
        state: &Arc<State>,
        engine: Option<&Arc<Engine>>,
        before: Option<&Self>,
    ) -> Self {
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX).clamp(1, MOST_S);
        let seals = Arc::new(seals);
        let idle_s = seconds(config.idle);
        let place = match config.store {
            SessionStore::Cookie => None,
            SessionStore::Local => Some(Place::Local(Arc::clone(state))),
            SessionStore::Redis => Some(Place::Redis(engine.map(Arc::clone))),
        };
        Self {
            idle_s,
            absolute_s: seconds(config.absolute),
            jar: Jar::of(config),
            kept: place.map(|place| {
                let before = before.and_then(|before| before.kept.as_deref());
                let now_s = clock::unix_us().div_euclid(1_000_000);
                Arc::new(Kept::new(Arc::clone(&seals), place, idle_s, engine, before, now_s))
            }),
            // Without randomness for its hash there is none.
            unsealed: (config.store == SessionStore::Cookie).then(|| Cache::new().ok()).flatten(),
            seals,
            state: Arc::clone(state),
        }
    }

    /// A request's way to the store.
    pub fn way(&self, ledger: &Ledger, client: IpAddr) -> Way {
        self.kept.as_ref().map(|kept| kept.way(ledger, client)).unwrap_or_default()
    }

    /// Whether they are in a store, and not in their cookies.
    pub fn are_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// What this request's cookie stands for.
    pub fn open(&self, headers: &Headers, https: bool, way: &Way, now_s: i64) -> Opened {
        let name = self.jar.session(https);
        let value = match cookie::find(headers, name) {
            Found::None | Found::One(b"") => return Opened::None,
            Found::Several => return Opened::Denied(Denial::Ambiguous),
            Found::One(value) => value,
        };
        if value.len() > cookie::LONGEST {
            return Opened::Denied(Denial::TooLarge);
        }
        let Some(kept) = &self.kept else {
            return match self.unseal(name, value, https) {
                Some(session) => self.judge(session, now_s).into(),
                None => Opened::Denied(Denial::SessionInvalid),
            };
        };
        let Some(id) = SessionId::parse(value) else { return Opened::Denied(Denial::SessionInvalid) };
        if let Some(session) = kept.known(&id, now_s) {
            return self.judge(session, now_s).into();
        }
        let (kept, way, idle_s, absolute_s) = (Arc::clone(kept), way.clone(), self.idle_s, self.absolute_s);
        Opened::Ask(Box::pin(async move {
            match kept.get(&id, &way, now_s).await {
                Ok(Some(session)) => judge(session, idle_s, absolute_s, now_s),
                Ok(None) => Answered::Denied(Denial::SessionInvalid),
                Err(error) => {
                    // The store's trouble is told where it is met; each such request is on record as `auth_unavailable`.
                    tracing::debug!(%error, "a session cannot be read");
                    Answered::Unavailable
                }
            }
        }))
    }

    /// The session that a cookie holds, unless it has ended. The same cookie comes with each request: what was opened, and who it is,
    /// is remembered.
    fn unseal(&self, name: &str, value: &[u8], https: bool) -> Option<Arc<Session>> {
        // Before anything is looked up: a session that is ended meanwhile is looked for again at the next hit.
        let epoch = self.state.revoked.epoch();
        let remembered = self.unsealed.as_ref().map(|cache| (cache, cache.hash(value)));
        let known = remembered.and_then(|(cache, hash)| cache.find(hash, |known| known.https == https));
        let session = match known {
            Some(known) if known.epoch == epoch => return Some(known.session),
            Some(known) => known.session,
            None => {
                let text = self.seals.open(Purpose::Session, name, value)?;
                Arc::new(serde_json::from_slice(&text).ok()?)
            }
        };
        if self.has_ended(&session) {
            return None;
        }
        if let Some((cache, hash)) = remembered {
            cache.keep(hash, Unsealed { session: Arc::clone(&session), https, epoch });
        }
        Some(session)
    }

    fn judge(&self, session: Arc<Session>, now_s: i64) -> Answered {
        judge(session, self.idle_s, self.absolute_s, now_s)
    }

    /// When a session that begins now ends in any case.
    pub fn ends_s(&self, now_s: i64) -> i64 {
        now_s.saturating_add(self.absolute_s)
    }

    /// When a session ends however much it is used.
    pub fn last_s(&self, session: &Session) -> i64 {
        last_s(session, self.absolute_s)
    }

    /// Keeps a session that is new. The cookie that its owner gets.
    pub async fn keep(&self, session: &Session, https: bool, way: &Way, now_s: i64) -> Result<Value, KeepError> {
        let text = match &self.kept {
            None => self.sealed(session, https)?,
            Some(kept) => {
                kept.put(session, self.until_s(session), way, now_s).await?;
                session.id.reveal().to_owned()
            }
        };
        self.jar.set_session(https, &text, self.last_s(session) - now_s).ok_or(KeepError::TooLarge)
    }

    /// Notes what has become of a session, where it has a store. False: it has ended in the meantime.
    pub async fn change(&self, session: &Session, way: &Way, now_s: i64) -> Result<bool, KeepError> {
        match &self.kept {
            None => Ok(!self.has_ended(session)),
            Some(kept) => kept.replace(session, self.until_s(session), way, now_s).await,
        }
    }

    /// A session as it stands in its store now, whatever is remembered of it; one that is in its cookie is as it came. None: it
    /// has ended.
    pub async fn again(
        &self,
        session: &Arc<Session>,
        way: &Way,
        now_s: i64,
    ) -> Result<Option<Arc<Session>>, KeepError> {
        match &self.kept {
            None => Ok((!self.has_ended(session)).then(|| Arc::clone(session))),
            Some(kept) => kept.again(&session.id, way, now_s).await,
        }
    }

    /// Takes a session for oneself, among all proxies that share its store and for so long at most; none while another has it.
    pub async fn lock(&self, session: &Session, lasts: Duration, way: &Way) -> Result<Option<Lock>, KeepError> {
        match &self.kept {
            None => Ok(Some(Lock::None)),
            Some(kept) => kept.lock(&session.id, lasts, way).await,
        }
    }

    /// Gives it back.
    pub async fn unlock(&self, lock: Option<Lock>, way: &Way) {
        if let (Some(kept), Some(lock)) = (&self.kept, lock) {
            kept.unlock(lock, way).await;
        }
    }

    /// A cookie's text. Where not all of it fits, what can be done without is left out: first what tells the provider who
    /// logs out, then what refreshes.
    fn sealed(&self, session: &Session, https: bool) -> Result<String, KeepError> {
        let name = self.jar.session(https);
        let room = cookie::LONGEST - name.len().min(cookie::LONGEST);
        let mut session = session.clone();
        for attempt in 0..3 {
            let text = serde_json::to_vec(&session).map_err(|_| KeepError::TooLarge)?;
            if Seals::length(text.len()) <= room {
                return self.seals.seal(Purpose::Session, name, &text).ok_or(KeepError::Randomness);
            }
            match attempt {
                0 => session.tokens.id_token = None,
                _ => session.tokens = Tokens::default(),
            }
        }
        Err(KeepError::TooLarge)
    }

    /// The cookie that a good session's answer must set, where there is one: its use is noted once in a while. Sessions in a
    /// store are noted there, by a task.
    pub fn renew(&self, session: &Arc<Session>, https: bool, way: &Way, now_s: i64) -> Option<Value> {
        let is_due = self.is_due(session, now_s);
        if !is_due && !session.is_fresh || self.kept.is_none() && self.has_ended(session) {
            return None;
        }
        let seen = Session { seen_s: now_s, is_fresh: false, ..(**session).clone() };
        match &self.kept {
            None => {
                let text = self.sealed(&seen, https).ok()?;
                self.jar.set_session(https, &text, self.last_s(session) - now_s)
            }
            Some(kept) => {
                if is_due {
                    let until_s = self.until_s(&seen);
                    kept.touch(seen, until_s, way.clone(), now_s);
                }
                None
            }
        }
    }

    /// Whether its use must be noted, or its owner told that it was refreshed.
    pub fn is_news(&self, session: &Session, now_s: i64) -> bool {
        session.is_fresh || self.is_due(session, now_s)
    }

    fn is_due(&self, session: &Session, now_s: i64) -> bool {
        now_s.saturating_sub(session.seen_s) >= (self.idle_s / TOUCHES).max(1)
    }

    /// Ends a session where it is kept, and tunnels that were opened with it.
    pub async fn end(&self, session: &Session, way: &Way, now_s: i64) -> Result<(), KeepError> {
        let Some(kept) = &self.kept else {
            // Its cookie may have been copied: what is sealed is good wherever it comes from.
            return self.revoke(session, session.ends_s, now_s).await;
        };
        // Tunnels hear of it so. Once it is removed it opens nothing, whether or not this could be noted.
        let heard_s = session.ends_s.min(now_s.saturating_add(HEARD_S));
        if let Err(error) = self.revoke(session, heard_s, now_s).await {
            tracing::warn!(%error, "tunnels of a session that is ended may not hear of it");
        }
        kept.remove(&session.id, way).await
    }

    /// What a tunnel that is opened with a session rests on.
    pub fn ground(&self, session: &Session) -> Ground {
        Ground::Token { provider: ENDED.into(), jti: Some(session.id.name().into()), until_s: self.until_s(session) }
    }

    /// When a session is over unless it is used again.
    pub fn until_s(&self, session: &Session) -> i64 {
        until_s(session, self.idle_s, self.absolute_s)
    }

    fn has_ended(&self, session: &Session) -> bool {
        let revoked = &self.state.revoked;
        !revoked.is_empty() && revoked.is_revoked(ENDED, &session.id.name())
    }

    async fn revoke(&self, session: &Session, expires_s: i64, now_s: i64) -> Result<(), KeepError> {
        let row = RevokedRow {
            provider: ENDED.to_owned(),
            jti: session.id.name(),
            expires_s,
            revoked_s: now_s,
            by: session.provider.to_string(),
        };
        let state = Arc::clone(&self.state);
        match tokio::task::spawn_blocking(move || state.token_revoke(&row)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(KeepError::Store),
        }
    }

    /// Takes the cookie back.
    pub fn forget(&self, https: bool) -> Option<Value> {
        self.jar.set_session(https, "", 0)
    }

    /// How cookies are written.
    pub(in crate::identity) fn jar(&self) -> &Jar {
        &self.jar
    }

    /// What cookies are sealed with.
    pub(in crate::identity) fn seals(&self) -> &Seals {
        &self.seals
    }
}

/// Both ends are judged by the session's own times and by the config of now, whichever is sooner.
fn until_s(session: &Session, idle_s: i64, absolute_s: i64) -> i64 {
    last_s(session, absolute_s).min(session.seen_s.saturating_add(idle_s))
}

fn last_s(session: &Session, absolute_s: i64) -> i64 {
    session.ends_s.min(session.started_s.saturating_add(absolute_s))
}

fn judge(session: Arc<Session>, idle_s: i64, absolute_s: i64, now_s: i64) -> Answered {
    if now_s >= until_s(&session, idle_s, absolute_s) {
        return Answered::Denied(Denial::SessionExpired);
    }
    Answered::Good(session)
}

impl From<Answered> for Opened {
    fn from(answered: Answered) -> Self {
        match answered {
            Answered::Good(session) => Self::Good(session),
            Answered::Denied(denial) => Self::Denied(denial),
            Answered::Unavailable => Self::Ask(Box::pin(std::future::ready(Answered::Unavailable))),
        }
    }
}
