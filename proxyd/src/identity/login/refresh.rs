//! Sessions whose provider must be asked whether they go on: once for each, however many requests come at the same time.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use hashbrown::HashMap;
use tokio::sync::Semaphore;

use super::allow::{self, Times};
use super::provider::Refreshed;
use super::{Logins, Reach};
use crate::exchange::Denial;
use crate::identity::session::{Answered, Session};

/// How long an answer is remembered: as long as a browser may go on sending the cookie of before.
const KEPT_S: i64 = 60;

/// How long a provider that did not answer is not asked again for one session.
const PAUSE_S: i64 = 10;

/// How long a session goes on while its provider does not answer.
const GRACE_S: i64 = 300;

/// Sessions that are refreshed within [`KEPT_S`].
const MOST: usize = 16_384;

/// Questions under way and answered, by session.
#[derive(Default)]
pub(super) struct Refreshes(Mutex<HashMap<[u8; 32], Arc<Question>>>);

struct Question {
    asked_s: i64,
    turn: Semaphore,
    answer: OnceLock<Told>,
}

#[derive(Clone)]
struct Told {
    answered: Answered,
    until_s: i64,
}

impl Refreshes {
    /// The question about this session; none where there are too many.
    fn about(&self, session: &Session, now_s: i64) -> Option<Arc<Question>> {
        let is_good = |question: &Question| match question.answer.get() {
            Some(told) => now_s < told.until_s,
            None => now_s < question.asked_s + KEPT_S,
        };
        let mut questions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = session.id.hash();
        if let Some(question) = questions.get(&key).filter(|question| is_good(question)) {
            return Some(Arc::clone(question));
        }
        if questions.len() >= MOST {
            questions.retain(|_, question| is_good(question));
        }
        if questions.len() >= MOST {
            return None;
        }
        let question = Arc::new(Question { asked_s: now_s, turn: Semaphore::new(1), answer: OnceLock::new() });
        questions.insert(key, Arc::clone(&question));
        Some(question)
    }
}

/// Whether the provider must be asked.
pub(super) fn is_due(session: &Session, now_s: i64) -> bool {
    session.tokens.refresh.is_some() && session.tokens.until_s.is_some_and(|until_s| now_s >= until_s)
}

/// The session as it goes on. The question is a task of its own: a client that leaves must not lose the answer, for the
/// provider gives it once.
pub(super) async fn ask(logins: Arc<Logins>, session: Arc<Session>, reach: Reach, now_s: i64) -> Answered {
    let Some(question) = logins.refreshes.about(&session, now_s) else { return Answered::Unavailable };
    let task = tokio::task::spawn_local(async move {
        let Ok(_turn) = question.turn.acquire().await else { return Answered::Unavailable };
        if let Some(told) = question.answer.get() {
            return told.answered.clone();
        }
        let told = answer(&logins, &session, &reach, now_s).await;
        question.answer.get_or_init(|| told).answered.clone()
    });
    task.await.unwrap_or(Answered::Unavailable)
}

async fn answer(logins: &Logins, session: &Arc<Session>, reach: &Reach, now_s: i64) -> Told {
    let for_good = |answered| Told { answered, until_s: now_s + KEPT_S };
    let Some(provider) = logins.provider(session.login()) else {
        return for_good(Answered::Denied(Denial::SessionInvalid));
    };
    let refreshed = provider.refresh(&session.tokens, &provider.calls(&reach.client, now_s)).await;
    let renewed = match refreshed {
        Refreshed::Ended => None,
        Refreshed::Unavailable => {
            let until_s = session.tokens.until_s.unwrap_or(i64::MIN);
            let lasts = now_s < until_s.saturating_add(GRACE_S);
            let answered = if lasts { Answered::Good(Arc::clone(session)) } else { Answered::Unavailable };
            return Told { answered, until_s: now_s + PAUSE_S };
        }
        Refreshed::Good(tokens, None) => Some(Session { tokens, ..(**session).clone() }),
        Refreshed::Good(tokens, Some(recognised)) => {
            let times = Times { started_s: session.started_s, ends_s: session.ends_s, seen_s: now_s };
            let renewed = allow::session(&provider.config, session.id.clone(), *recognised, &logins.sent(), times);
            renewed.ok().map(|renewed| Session { tokens, ..renewed })
        }
    };
    let Some(renewed) = renewed else {
        if let Err(error) = logins.sessions.end(session, &reach.store, now_s).await {
            tracing::warn!(%error, "a session that its provider has ended is not removed");
        }
        return for_good(Answered::Denied(Denial::SessionExpired));
    };
    let renewed = Session { seen_s: now_s, is_fresh: true, ..renewed };
    match logins.sessions.change(&renewed, &reach.store, now_s).await {
        Ok(true) => for_good(Answered::Good(Arc::new(renewed))),
        // Somebody logged out while the provider was asked.
        Ok(false) => for_good(Answered::Denied(Denial::SessionInvalid)),
        Err(error) => {
            tracing::warn!(%error, "a session that was refreshed is not kept");
            for_good(Answered::Unavailable)
        }
    }
}
