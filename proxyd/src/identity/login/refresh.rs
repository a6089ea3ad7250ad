//! Sessions whose provider must be asked whether they go on, or that were let in by other rules than those of now: once for
//! each, however many requests come at the same time, and to however many proxies that share a store.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use super::allow::{self, Times};
use super::provider::{Provider, Refreshed};
use super::{Logins, Reach};
use crate::exchange::Denial;
use crate::identity::session::{Answered, KeepError, Lock, Session};

/// How long an answer is remembered that does not say itself how long it holds.
const KEPT_S: i64 = 60;

/// How long a provider that did not answer is not asked again for one session.
const PAUSE_S: i64 = 10;

/// How long a session goes on while its provider does not answer.
const GRACE_S: i64 = 300;

/// Sessions whose questions are remembered.
const MOST: usize = 16_384;

/// Calls that a refresh takes one after the other, at most: with GitHub eight (tokens, the person, addresses, five pages of
/// organisations), with `OpenID` Connect ten (discovery and keys, twice, each time perhaps behind somebody else who asks for them;
/// tokens, userinfo).
const CALLS: u32 = 10;

/// How long it takes to write down what the provider said, or to find out that another proxy has asked.
const NOTED: Duration = Duration::from_secs(10);

/// How often one looks whether another proxy has done: …
const LOOKS: Duration = Duration::from_millis(50);

/// … at first, and less and less often.
const LOOKS_LAST: Duration = Duration::from_millis(500);

/// A provider may refuse a token because another process has just spent it, and is about to write down what it got.
const CROSSED: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(100), Duration::from_millis(300), Duration::from_millis(600)];

/// Questions that a request waits for one after the other: those of requests that began before a reload judge by other rules.
const ASKED_BY_OTHERS: usize = 3;

/// Questions under way and answered, by session.
#[derive(Default)]
pub(super) struct Refreshes(Mutex<HashMap<[u8; 32], Arc<Question>>>);

struct Question {
    asked_s: i64,
    /// Until when its answer may take: whoever asked once more before would spend the same token.
    due_s: i64,
    turn: Semaphore,
    answer: OnceLock<Told>,
    /// What came of the question before this one. Whoever brings a cookie of before brings tokens that are spent.
    before: Option<Arc<Session>>,
    /// The same, where the store did not take it.
    unwritten: Option<Unwritten>,
}

#[derive(Clone)]
struct Told {
    answered: Answered,
    until_s: i64,
    unwritten: Option<Unwritten>,
}

/// A session that was refreshed, and that the store did not take: its own tokens are spent.
#[derive(Clone)]
struct Unwritten {
    session: Arc<Session>,
    /// As it stands in the store.
    over: Arc<Session>,
}

/// How long a refresh takes at most: one bound, from which the others follow.
struct Bounds {
    /// Waiting for another proxy that asks.
    waiting: Duration,
    /// Asking the provider.
    asking: Duration,
}

impl Bounds {
    /// With calls that may take so long each.
    fn of(timeout: Duration) -> Self {
        Self { waiting: timeout, asking: timeout.saturating_mul(CALLS) }
    }

    /// How long a session is locked: nobody else may ask before what was given is written down.
    fn lock(&self) -> Duration {
        self.asking.saturating_add(NOTED)
    }

    /// How long a question waits for its answer, in seconds.
    fn question_s(&self) -> i64 {
        let whole = self.waiting.saturating_add(self.lock()).saturating_add(NOTED);
        i64::try_from(whole.as_secs()).unwrap_or(i64::MAX)
    }
}

impl Question {
    fn is_good(&self, now_s: i64) -> bool {
        match self.answer.get() {
            Some(told) => now_s < told.until_s,
            None => now_s < self.due_s,
        }
    }

    /// Whether its answer lets somebody in by other rules than this provider's.
    fn is_of_other_rules(&self, provider: &Provider) -> bool {
        match self.answer.get() {
            Some(Told { answered: Answered::Good(session), .. }) => provider.judges_anew(session),
            Some(_) | None => false,
        }
    }

    /// The session as it is known to go on.
    fn latest(&self) -> Option<&Arc<Session>> {
        match self.answer.get() {
            Some(Told { answered: Answered::Good(session), .. }) => Some(session),
            Some(_) | None => self.before.as_ref(),
        }
    }

    /// What the store did not take, neither then nor since.
    fn unwritten(&self) -> Option<&Unwritten> {
        self.answer.get().map_or(&self.unwritten, |told| &told.unwritten).as_ref()
    }
}

impl Refreshes {
    /// The question about this session; none where there are too many. One under way is waited for, by whichever rules it
    /// is judged: two at once would spend the same token.
    fn about(&self, session: &Session, provider: &Provider, bounds: &Bounds, now_s: i64) -> Option<Arc<Question>> {
        let mut questions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = session.id.hash();
        let earlier = questions.get(&key);
        let is_good = |question: &&Arc<Question>| question.is_good(now_s) && !question.is_of_other_rules(provider);
        if let Some(question) = earlier.filter(is_good) {
            return Some(Arc::clone(question));
        }
        let before = earlier.and_then(|question| question.latest()).map(Arc::clone);
        let unwritten = earlier.and_then(|question| question.unwritten()).cloned();
        if questions.len() >= MOST {
            make_room(&mut questions, now_s);
        }
        if questions.len() >= MOST {
            return None;
        }
        let (turn, answer, due_s) = (Semaphore::new(1), OnceLock::new(), now_s.saturating_add(bounds.question_s()));
        let question = Arc::new(Question { asked_s: now_s, due_s, turn, answer, before, unwritten });
        questions.insert(key, Arc::clone(&question));
        Some(question)
    }

    /// The same session as it was refreshed since, if it was.
    pub(super) fn latest(&self, session: &Session, now_s: i64) -> Option<Arc<Session>> {
        let questions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let question = questions.get(&session.id.hash())?;
        let latest = question.unwritten().map(|unwritten| &unwritten.session).or_else(|| question.latest())?;
        (is_later(latest, session) && now_s < latest.ends_s).then(|| Arc::clone(latest))
    }
}

/// Lets go of what is over and written down, and where that is not enough of the older half of what was answered.
fn make_room(questions: &mut HashMap<[u8; 32], Arc<Question>>, now_s: i64) {
    questions.retain(|_, question| question.is_good(now_s) || question.unwritten().is_some());
    if questions.len() < MOST {
        return;
    }
    let answered = questions.values().filter(|question| question.answer.get().is_some());
    let mut ages: Vec<i64> = answered.map(|question| question.asked_s).collect();
    let middle = ages.len() / 2;
    if middle < ages.len() {
        let (_, oldest_s, _) = ages.select_nth_unstable(middle);
        let oldest_s = *oldest_s;
        questions.retain(|_, question| question.answer.get().is_none() || question.asked_s > oldest_s);
    }
}

/// Whether a session has tokens that were given after the other's.
fn is_later(one: &Session, other: &Session) -> bool {
    let until_s = |session: &Session| session.tokens.until_s.unwrap_or(i64::MAX);
    one.tokens != other.tokens && until_s(one) >= until_s(other)
}

/// Whether the session does not go on as it is: its provider must be asked, or it is over.
pub(super) fn is_due(provider: &Provider, session: &Session, now_s: i64) -> bool {
    let has_lapsed = session.tokens.until_s.is_some_and(|until_s| now_s >= until_s);
    provider.judges_anew(session) || session.tokens.refresh.is_some() && has_lapsed
}

/// The session as it goes on.
pub(super) async fn ask(logins: Arc<Logins>, session: Arc<Session>, reach: Reach, now_s: i64) -> Answered {
    let Some(provider) = logins.provider(session.login()).map(Arc::clone) else {
        return Answered::Denied(Denial::SessionInvalid);
    };
    if let Some((denial, why)) = is_over(&provider, &session) {
        tracing::info!(login = session.login(), user = &*session.user, why, "a session has ended");
        if let Err(error) = logins.sessions.end(&session, &reach.store, now_s).await {
            tracing::warn!(%error, "a session that the config has ended is not removed");
        }
        return Answered::Denied(denial);
    }
    for _ in 0..ASKED_BY_OTHERS {
        let answered = asked(&logins, &provider, &session, &reach, now_s).await;
        match answered {
            Answered::Good(session) if provider.judges_anew(&session) => {}
            answered @ (Answered::Good(_) | Answered::Denied(_) | Answered::Unavailable) => return answered,
        }
    }
    Answered::Unavailable
}

/// Why a session cannot go on under the config of now, whatever its provider would say.
fn is_over(provider: &Provider, session: &Session) -> Option<(Denial, &'static str)> {
    if provider.is_foreign_to(session) {
        return Some((Denial::SessionInvalid, "its login is another provider's or client's now"));
    }
    let is_stuck = session.tokens.refresh.is_none() && provider.judges_anew(session);
    is_stuck.then_some((Denial::SessionExpired, "other rules hold now, and its provider cannot be asked"))
}

/// What comes of one question. It is a task of its own: a client that leaves must not lose the answer, for the provider gives
/// it once.
async fn asked(
    logins: &Arc<Logins>,
    provider: &Arc<Provider>,
    session: &Arc<Session>,
    reach: &Reach,
    now_s: i64,
) -> Answered {
    let bounds = Bounds::of(provider.config.timeout);
    let Some(question) = logins.refreshes.about(session, provider, &bounds, now_s) else {
        return Answered::Unavailable;
    };
    let (logins, provider, session, reach) =
        (Arc::clone(logins), Arc::clone(provider), Arc::clone(session), reach.clone());
    let task = tokio::task::spawn_local(async move {
        let Ok(_turn) = question.turn.acquire().await else { return Answered::Unavailable };
        if let Some(told) = question.answer.get() {
            return told.answered.clone();
        }
        let before = question.before.as_ref().filter(|before| is_later(before, &session));
        let asking = Refresh { logins: &logins, provider: &provider, reach: &reach, bounds, now_s };
        let told = asking.answer(before.unwrap_or(&session), question.unwritten.as_ref()).await;
        question.answer.get_or_init(|| told).answered.clone()
    });
    task.await.unwrap_or(Answered::Unavailable)
}

impl Told {
    fn for_now(answered: Answered, now_s: i64) -> Self {
        Self { answered, until_s: now_s.saturating_add(1), unwritten: None }
    }

    fn denied(denial: Denial, now_s: i64) -> Self {
        Self { answered: Answered::Denied(denial), until_s: now_s.saturating_add(KEPT_S), unwritten: None }
    }

    /// Remembered for as long as its tokens are good, for cookies of before may be sent so long; where there is a store it tells
    /// more.
    fn good(session: Arc<Session>, is_kept: bool, now_s: i64) -> Self {
        let until_s = session.tokens.until_s.unwrap_or(session.ends_s).min(session.ends_s);
        let most_s = if is_kept { KEPT_S } else { i64::MAX };
        let until_s = until_s.min(now_s.saturating_add(most_s)).max(now_s.saturating_add(PAUSE_S));
        Self { answered: Answered::Good(session), until_s, unwritten: None }
    }

    /// The provider, or another proxy that asks it, says nothing: the session goes on for a while.
    fn waiting(provider: &Provider, session: &Arc<Session>, until_s: i64, now_s: i64) -> Self {
        let ends_s = session.tokens.until_s.unwrap_or(i64::MIN).saturating_add(GRACE_S);
        // Nobody is let in by rules that hold no more.
        let lasts = now_s < ends_s && !provider.judges_anew(session);
        let answered = if lasts { Answered::Good(Arc::clone(session)) } else { Answered::Unavailable };
        Self { answered, until_s, unwritten: None }
    }
}

/// Whose turn it is to ask the provider.
enum Turn {
    /// Ours, with the session as it is now.
    Ours(Lock, Arc<Session>),
    /// Nobody's, any more.
    Told(Told),
}

/// One refresh of one session.
struct Refresh<'a> {
    logins: &'a Logins,
    provider: &'a Arc<Provider>,
    reach: &'a Reach,
    bounds: Bounds,
    now_s: i64,
}

impl Refresh<'_> {
    fn is_due(&self, session: &Session) -> bool {
        is_due(self.provider, session, self.now_s)
    }

    async fn answer(&self, session: &Arc<Session>, unwritten: Option<&Unwritten>) -> Told {
        let told = match self.turn(session, unwritten).await {
            Ok(Turn::Told(told)) => Ok(told),
            Ok(Turn::Ours(lock, session)) => {
                let told = self.alone(&session).await;
                self.logins.sessions.unlock(Some(lock), &self.reach.store).await;
                told
            }
            Err(error) => Err(error),
        };
        told.unwrap_or_else(|error| {
            tracing::warn!(%error, "a session is not refreshed");
            Told { unwritten: unwritten.cloned(), ..Told::for_now(Answered::Unavailable, self.now_s) }
        })
    }

    /// Waits until it is ours to ask, or somebody else has asked.
    async fn turn(&self, session: &Arc<Session>, unwritten: Option<&Unwritten>) -> Result<Turn, KeepError> {
        let (sessions, store, now_s) = (&self.logins.sessions, &self.reach.store, self.now_s);
        let began = Instant::now();
        let mut pause = LOOKS;
        loop {
            let lock = sessions.lock(session, self.bounds.lock(), store).await?;
            // Read again with every turn: what was brought or remembered may be of before another's refresh.
            let mut current = sessions.again(session, store, now_s).await;
            if let (Some(_), Some(unwritten), Ok(found)) = (&lock, unwritten, &current) {
                current = self.write_down(unwritten, found.as_ref()).await;
            }
            let current = match current {
                Ok(current) => current,
                Err(error) => {
                    sessions.unlock(lock, store).await;
                    return Err(error);
                }
            };
            match (current, lock) {
                (Some(current), Some(lock)) if self.is_due(&current) => return Ok(Turn::Ours(lock, current)),
                (Some(current), None) if self.is_due(&current) && began.elapsed() < self.bounds.waiting => {
                    sleep(pause).await;
                    pause = (pause * 2).min(LOOKS_LAST);
                }
                (current, lock) => {
                    sessions.unlock(lock, store).await;
                    return Ok(Turn::Told(match current {
                        Some(current) if self.is_due(&current) => {
                            let waiting = Told::waiting(self.provider, &current, now_s.saturating_add(1), now_s);
                            Told { unwritten: unwritten.cloned(), ..waiting }
                        }
                        Some(current) => Told::good(current, sessions.are_kept(), now_s),
                        None => Told::denied(Denial::SessionInvalid, now_s),
                    }));
                }
            }
        }
    }

    /// The session as it goes on, once what the provider gave before is written down: what stands in the store is spent. Unless
    /// somebody else has written since.
    async fn write_down(
        &self,
        unwritten: &Unwritten,
        current: Option<&Arc<Session>>,
    ) -> Result<Option<Arc<Session>>, KeepError> {
        if let Some(current) = current.filter(|current| current.tokens != unwritten.over.tokens) {
            return Ok(Some(Arc::clone(current)));
        }
        if let Some(current) = current {
            let renewed = Session { seen_s: self.now_s, ..Session::clone(&unwritten.session) };
            renewed.take_over(current);
            if self.logins.sessions.change(&renewed, &self.reach.store, self.now_s).await? {
                return Ok(Some(Arc::new(renewed)));
            }
        }
        // It has ended in the meantime.
        self.provider.give_up(&unwritten.session.tokens, &self.provider.calls(&self.reach.client, self.now_s));
        Ok(None)
    }

    /// Asks the provider, and writes down what it says.
    async fn alone(&self, session: &Arc<Session>) -> Result<Told, KeepError> {
        let Self { logins, provider, reach, now_s, .. } = *self;
        let calls = provider.calls(&reach.client, now_s);
        let refreshed = provider.refresh(session, &calls.within(self.bounds.asking)).await;
        let is_open = matches!(refreshed, Refreshed::Open(_));
        let renewed = match refreshed {
            Refreshed::Unavailable => {
                return Ok(Told::waiting(provider, session, now_s.saturating_add(PAUSE_S), now_s));
            }
            Refreshed::Ended => match self.crossed(session).await? {
                Some(told) => return Ok(told),
                None => None,
            },
            // It goes on, and nobody says with whom: there is nothing that other rules could judge.
            Refreshed::Good(tokens, None) if provider.judges_anew(session) => {
                provider.give_up(&tokens, &calls);
                None
            }
            Refreshed::Good(tokens, None) | Refreshed::Open(tokens) => Some(Session { tokens, ..(**session).clone() }),
            Refreshed::Good(tokens, Some(mut recognised)) => {
                let config = &provider.config;
                let is_asked =
                    |scope: &str| session.rules == provider.rules || config.scopes.iter().any(|own| **own == *scope);
                let before = || {
                    session
                        .scopes
                        .iter()
                        .map(|scope| &**scope)
                        .filter(|scope| is_asked(scope))
                        .map(str::to_owned)
                        .collect()
                };
                recognised.scopes.get_or_insert_with(before);
                let times = Times { started_s: session.started_s, ends_s: session.ends_s, seen_s: now_s };
                let renewed = allow::session(config, session.id.clone(), *recognised, &logins.sent(), times);
                if renewed.is_err() {
                    provider.give_up(&tokens, &calls);
                }
                renewed.ok().map(|renewed| Session { tokens, ..renewed })
            }
        };
        let Some(renewed) = renewed else {
            if let Err(error) = logins.sessions.end(session, &reach.store, now_s).await {
                tracing::warn!(%error, "a session that its provider has ended is not removed");
            }
            return Ok(Told::denied(Denial::SessionExpired, now_s));
        };
        let renewed = Session { seen_s: now_s, is_fresh: true, ..renewed };
        renewed.take_over(session);
        // Somebody may have logged out while the provider was asked.
        let changed = logins.sessions.change(&renewed, &reach.store, now_s).await;
        let renewed = Arc::new(renewed);
        Ok(match changed {
            Ok(true) if is_open => Told::waiting(provider, &renewed, now_s.saturating_add(PAUSE_S), now_s),
            Ok(true) => Told::good(renewed, logins.sessions.are_kept(), now_s),
            Ok(false) => {
                provider.give_up(&renewed.tokens, &calls);
                Told::denied(Denial::SessionInvalid, now_s)
            }
            Err(error) => {
                tracing::warn!(%error, "a session that was refreshed is not kept yet");
                let unwritten = Some(Unwritten { session: renewed, over: Arc::clone(session) });
                Told { unwritten, ..Told::for_now(Answered::Unavailable, now_s) }
            }
        })
    }

    /// What there is to say where the provider refuses a token that another process has spent: one of an earlier version, or the
    /// one that we take over from. None: nobody has, and the session is over.
    async fn crossed(&self, session: &Arc<Session>) -> Result<Option<Told>, KeepError> {
        let (sessions, now_s) = (&self.logins.sessions, self.now_s);
        if !sessions.are_kept() {
            return Ok(None);
        }
        for pause in CROSSED {
            sleep(pause).await;
            match sessions.again(session, &self.reach.store, now_s).await? {
                None => return Ok(Some(Told::denied(Denial::SessionInvalid, now_s))),
                Some(current) if current.tokens == session.tokens => {}
                Some(current) if self.is_due(&current) => {
                    return Ok(Some(Told::for_now(Answered::Unavailable, now_s)));
                }
                Some(current) => return Ok(Some(Told::good(current, true, now_s))),
            }
        }
        Ok(None)
    }
}
