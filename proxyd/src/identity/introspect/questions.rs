//! Questions under way: one at a time about one token, however many requests bring it, and no more than so many in all. Whoever
//! makes tokens up must not have us ask the issuer without end.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use hashbrown::HashMap;
use tokio::sync::Semaphore;

use super::answers::Answered;
use crate::identity::cache::TokenHash;

/// Questions that an issuer is asked at once, by the whole process.
const MOST: usize = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Questions {
    under_way: Mutex<HashMap<TokenHash, Arc<Question>>>,
    room: Semaphore,
}

#[derive(Debug)]
struct Question {
    turn: Semaphore,
    /// None: there is no answer to be had, and whoever waited must not wait as long again.
    answer: OnceLock<Option<Answered>>,
}

/// A request that waits for a question's answer; the last one to leave takes the question away.
struct Waiting<'a> {
    questions: &'a Questions,
    token: TokenHash,
    question: Arc<Question>,
}

impl Default for Questions {
    fn default() -> Self {
        Self { under_way: Mutex::default(), room: Semaphore::new(MOST) }
    }
}

impl Questions {
    /// Asks, or waits for whoever is asking the same. None: there is no answer, or no room to ask.
    pub(super) async fn ask(&self, token: TokenHash, ask: impl Future<Output = Option<Answered>>) -> Option<Answered> {
        let waiting = self.wait(token);
        let question = &waiting.question;
        // Where the one who asks goes away, the next asks in its place.
        let _turn = question.turn.acquire().await.ok()?;
        if let Some(answer) = question.answer.get() {
            return answer.clone();
        }
        let answer = self.ask_alone(ask).await;
        question.answer.get_or_init(|| answer).clone()
    }

    /// Asks whoever else does: nobody gets an answer that is older than the request.
    pub(super) async fn ask_alone(&self, ask: impl Future<Output = Option<Answered>>) -> Option<Answered> {
        let Ok(_room) = self.room.try_acquire() else { return None };
        ask.await
    }

    fn wait(&self, token: TokenHash) -> Waiting<'_> {
        let new = || Arc::new(Question { turn: Semaphore::new(1), answer: OnceLock::new() });
        let question = Arc::clone(self.all().entry(token).or_insert_with(new));
        Waiting { questions: self, token, question }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<TokenHash, Arc<Question>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut all = self.questions.all();
        // Ours and the map's: others join under this lock alone. Once it is answered, whoever comes later finds what is remembered.
        if self.question.answer.get().is_some() || Arc::strong_count(&self.question) <= 2 {
            let is_this = all.get(&self.token).is_some_and(|known| Arc::ptr_eq(known, &self.question));
            if is_this {
                all.remove(&self.token);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::task::JoinSet;

    use super::*;
    use crate::exchange::Denial;

    fn denied() -> Answered {
        Answered { until_s: 0, jti: None, verdict: Err(Denial::TokenInactive) }
    }

    /// An issuer that says nothing until it is let, and then always the same.
    struct Issuer {
        questions: Questions,
        asked: AtomicUsize,
        lets: Semaphore,
        answer: Option<Answered>,
    }

    impl Issuer {
        fn new(answer: Option<Answered>) -> Arc<Self> {
            let (questions, asked, lets) = (Questions::default(), AtomicUsize::new(0), Semaphore::new(0));
            Arc::new(Self { questions, asked, lets, answer })
        }

        async fn ask(self: Arc<Self>, token: u128) -> Option<Answered> {
            let question = async {
                self.asked.fetch_add(1, Ordering::SeqCst);
                let _let = self.lets.acquire().await.ok()?;
                self.answer.clone()
            };
            self.questions.ask(TokenHash(token), question).await
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }
    }

    /// Lets everything that can go on do so.
    async fn rest() {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn one_question_serves_all_who_bring_the_same_token() {
        for answer in [Some(denied()), None] {
            let issuer = Issuer::new(answer.clone());
            let all: JoinSet<_> = (0..100).map(|_| Arc::clone(&issuer).ask(1)).collect();
            rest().await;
            issuer.lets.add_permits(1);
            let told = all.join_all().await;
            assert!(told.iter().all(|told| told.is_some() == answer.is_some()));
            assert_eq!(issuer.asked(), 1);
            assert!(issuer.questions.all().is_empty());
            // The next asks anew.
            Arc::clone(&issuer).ask(1).await;
            assert_eq!(issuer.asked(), 2);
        }
    }

    #[tokio::test]
    async fn whoever_goes_away_leaves_the_question_to_the_next() {
        let issuer = Issuer::new(Some(denied()));
        let first = tokio::spawn(Arc::clone(&issuer).ask(1));
        rest().await;
        let second = tokio::spawn(Arc::clone(&issuer).ask(1));
        rest().await;
        assert_eq!(issuer.asked(), 1);
        first.abort();
        issuer.lets.add_permits(1);
        assert!(second.await.unwrap().is_some());
        assert_eq!(issuer.asked(), 2);
        assert!(issuer.questions.all().is_empty());
        assert_eq!(issuer.questions.room.available_permits(), MOST);
    }

    #[tokio::test]
    async fn an_issuer_is_not_asked_without_end() {
        let issuer = Issuer::new(Some(denied()));
        let all: JoinSet<_> = (0..3 * MOST as u128).map(|token| Arc::clone(&issuer).ask(token)).collect();
        rest().await;
        issuer.lets.add_permits(1);
        let told = all.join_all().await;
        assert_eq!((told.iter().flatten().count(), issuer.asked()), (MOST, MOST));
        assert!(issuer.questions.all().is_empty());
    }
}
