//! The engine as a config names it: where it is, and how it does. Shared by all workers, and kept over reloads that say the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::cmd;
use shared::config::Redis;
use tokio::time::timeout;

use super::StoreError;
use super::breaker::{Breaker, Pass, State};
use super::connect::Target;
use super::error::Failure;

/// See the module.
#[derive(Debug)]
pub struct Engine {
    settings: Redis,
    /// None: the address is none, and every question fails.
    target: Option<Target>,
    breaker: Breaker,
    /// When an answer that was an error was told of last; 0: never.
    told_error_us: AtomicU64,
    /// What these times count from.
    began: Instant,
}

/// Answers that are errors are told of once in so long: other answers, which are none, may come between them.
const TOLD_EVERY_US: u64 = 60_000_000;

impl Engine {
    /// The engine of a config; the one before, where its settings are the same. Reads the trusted certificates where it is to
    /// be spoken to in TLS. Does not connect.
    pub fn compile(settings: Option<&Redis>, before: Option<&Arc<Self>>) -> Option<Arc<Self>> {
        let settings = settings?;
        if let Some(before) = before.filter(|before| before.settings == *settings) {
            return Some(Arc::clone(before));
        }
        let target = Target::parse(settings.url.reveal());
        if target.is_none() {
            tracing::error!("`redis.url` is no address of an engine: what is to be shared is not");
        }
        let breaker = Breaker::default();
        Some(Arc::new(Self {
            settings: settings.clone(),
            target,
            breaker,
            told_error_us: AtomicU64::new(0),
            began: Instant::now(),
        }))
    }

    /// Whether the same keys are found in another, however long each waits for it.
    pub fn is_same_store(&self, other: &Self) -> bool {
        self.settings.url == other.settings.url && self.settings.prefix == other.settings.prefix
    }

    /// Put before every key.
    pub fn prefix(&self) -> &str {
        &self.settings.prefix
    }

    /// Of each question.
    pub(super) fn timeout(&self) -> Duration {
        self.settings.timeout
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        self.settings.connect_timeout
    }

    pub(super) fn target(&self) -> Result<&Target, StoreError> {
        self.target.as_ref().ok_or(StoreError::Settings)
    }

    /// Whether it answers a question now, on a connection of its own. For operators: the breaker, by which requests go, hears
    /// nothing of it.
    pub async fn answers(&self) -> Result<(), StoreError> {
        let connected = timeout(self.connect_timeout(), async { self.target()?.connect().await });
        let wire = connected.await.unwrap_or(Err(StoreError::Connect.into())).map_err(|failure| failure.error)?;
        let mut connection = wire.connection();
        let mut question = cmd("EXISTS");
        let question = question.arg(format!("{}is-there", self.prefix())).query_async::<i64>(&mut connection);
        match timeout(self.connect_timeout(), question).await {
            Ok(answer) => answer.map(drop).map_err(|error| Failure::from(&error).error),
            Err(_) => Err(StoreError::Timeout),
        }
    }

    /// How the breaker stands.
    pub fn state(&self) -> State {
        self.breaker.state(self.now_us())
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Asks for one question.
    pub(super) fn attempt(&self) -> Result<Attempt<'_>, StoreError> {
        match self.breaker.try_pass(self.now_us()) {
            Pass::Free => Ok(Attempt { engine: self, is_trial: false }),
            Pass::Trial => Ok(Attempt { engine: self, is_trial: true }),
            Pass::No => Err(StoreError::Open),
        }
    }

    fn heard(&self) {
        if self.breaker.succeeded() {
            tracing::info!(engine = self.place(), "the shared store answers again");
        }
    }

    fn heard_error(&self, failure: &Failure) {
        let (now_us, told_us) = (self.now_us().max(1), self.told_error_us.load(Ordering::Relaxed));
        let is_news = told_us == 0 || now_us >= told_us.saturating_add(TOLD_EVERY_US);
        let tells =
            || self.told_error_us.compare_exchange(told_us, now_us, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if is_news && tells() {
            let (engine, kind) = (self.place(), failure.error.kind());
            let Failure { code, right, .. } = failure;
            tracing::warn!(engine, kind, code, right, "the shared store answers with an error");
        }
    }

    /// It was not reached: a connection did not come about, or a question was not answered.
    pub(super) fn failed(&self, failure: &Failure) {
        let Redis { failures, open_for, .. } = self.settings;
        if self.breaker.failed(failures, open_for, self.now_us()) {
            let (engine, kind) = (self.place(), failure.error.kind());
            tracing::warn!(engine, kind, code = failure.code, "the shared store does not answer");
        }
    }

    /// Where it is, without anything secret.
    pub fn place(&self) -> String {
        self.target.as_ref().map(Target::place).unwrap_or_default()
    }
}

/// A question that may be asked. Dropped without a word, it says nothing of the engine.
pub(super) struct Attempt<'a> {
    engine: &'a Engine,
    is_trial: bool,
}

impl Attempt<'_> {
    /// An answer, if only an error, says that the engine is there. A connection that did not come about was counted by whoever
    /// made it, not by each who waited for it.
    pub(super) fn ended(self, outcome: Result<(), &Failure>) {
        match outcome {
            Ok(()) => self.engine.heard(),
            Err(failure) if failure.is_answer() => {
                self.engine.heard();
                self.engine.heard_error(failure);
            }
            Err(failure) => self.engine.failed(failure),
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.is_trial {
            self.engine.breaker.trial_over();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::tests::settings;

    #[test]
    fn settings_that_stay_keep_the_engine() {
        let first = Engine::compile(Some(&settings("redis://:s3cret@127.0.0.1:1/2")), None).unwrap();
        assert!(first.attempt().is_ok());
        let same = Engine::compile(Some(&settings("redis://:s3cret@127.0.0.1:1/2")), Some(&first)).unwrap();
        assert!(Arc::ptr_eq(&first, &same));
        let other = Engine::compile(Some(&settings("redis://127.0.0.1:2")), Some(&first)).unwrap();
        assert!(!Arc::ptr_eq(&first, &other));
        assert!(Engine::compile(None, Some(&first)).is_none());
        assert!(!format!("{first:?} {}", first.place()).contains("s3cret"));
    }

    #[test]
    fn a_trial_that_is_dropped_does_not_hold_up_the_next() {
        let engine = Engine::compile(Some(&settings("redis://127.0.0.1:1")), None).unwrap();
        for _ in 0..3 {
            engine.attempt().unwrap().ended(Err(&StoreError::Broken.into()));
        }
        assert_eq!(engine.attempt().err(), Some(StoreError::Open));
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(engine.state(), State::HalfOpen);
        drop(engine.attempt().unwrap());
        let trial = engine.attempt().unwrap();
        assert_eq!(engine.attempt().err(), Some(StoreError::Open));
        trial.ended(Ok(()));
        assert_eq!(engine.state(), State::Closed);
    }

    #[test]
    fn an_answer_that_is_an_error_is_an_answer() {
        let engine = Engine::compile(Some(&settings("redis://127.0.0.1:1")), None).unwrap();
        for _ in 0..2 {
            engine.attempt().unwrap().ended(Err(&StoreError::Timeout.into()));
        }
        for error in [StoreError::Answer, StoreError::Refused, StoreError::Answer, StoreError::Answer] {
            engine.attempt().unwrap().ended(Err(&error.into()));
        }
        engine.attempt().unwrap().ended(Err(&StoreError::Timeout.into()));
        assert_eq!(engine.state(), State::Closed, "it answers");
    }
}
