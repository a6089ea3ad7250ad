//! The engine as a config names it: where it is, and how it does. Shared by all workers, and kept over reloads that say the same.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::RedisError;
use shared::config::Redis;

use super::StoreError;
use super::breaker::{Breaker, Pass, State};
use super::connect::Target;

/// See the module.
#[derive(Debug)]
pub struct Engine {
    settings: Redis,
    /// None: the address is none, and every question fails.
    target: Option<Target>,
    breaker: Breaker,
    /// What the breaker's times count from.
    began: Instant,
}

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
        Some(Arc::new(Self { settings: settings.clone(), target, breaker, began: Instant::now() }))
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

    /// Where it is, without anything secret.
    fn place(&self) -> String {
        self.target.as_ref().map(Target::place).unwrap_or_default()
    }
}

/// A question that may be asked. Dropped without a word, it says nothing of the engine.
pub(super) struct Attempt<'a> {
    engine: &'a Engine,
    is_trial: bool,
}

impl Attempt<'_> {
    pub(super) fn ended(self, outcome: Result<(), StoreError>) {
        let Engine { settings, breaker, .. } = self.engine;
        match outcome {
            Ok(()) => {
                if breaker.succeeded() {
                    tracing::info!(engine = self.engine.place(), "the shared store answers again");
                }
            }
            Err(error) => {
                if breaker.failed(settings.failures, settings.open_for, self.engine.now_us()) {
                    let engine = self.engine.place();
                    tracing::warn!(engine, kind = error.kind(), "the shared store does not answer");
                }
            }
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

/// The engine's own word for an error, where that is one: letters of its protocol, never what it says about it.
pub(super) fn code(error: &RedisError) -> Option<&str> {
    error.code().filter(|code| code.len() <= 32 && code.bytes().all(|byte| byte.is_ascii_uppercase()))
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
            engine.attempt().unwrap().ended(Err(StoreError::Connect));
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
}
