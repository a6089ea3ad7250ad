//! One decision of a rate limit: one script, which the engine runs as a whole and by its own clock.

use std::sync::OnceLock;

use redis::{Script, cmd};

use super::question::{Again, Question};
use super::{Link, StoreError};

/// What a decision is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    Take,
    /// Changes nothing.
    Look,
}

const TEXT: &str = include_str!("limit.lua");

fn script() -> &'static Script {
    static SCRIPT: OnceLock<Script> = OnceLock::new();
    SCRIPT.get_or_init(|| Script::new(TEXT))
}

impl Link {
    /// Asks the script about a whole key, prefix and all: what `shared::decide::limit::Meter` is to be told.
    ///
    /// # Errors
    ///
    /// Where nobody answers.
    pub async fn count(&self, key: &str, form: &str, aim: Aim, arguments: &[u64]) -> Result<String, StoreError> {
        let aim = match aim {
            Aim::Take => "take",
            Aim::Look => "look",
        };
        let mut question = Question::script(script(), key);
        question.arg(form).arg(aim).arg(arguments);
        // Where a connection breaks nobody knows whether the request was counted. Once too many costs a client one request; to
        // ask nobody would refuse it, or let it pass uncounted.
        self.ask(Question::Script(question, TEXT), Again::Yes).await
    }

    /// Forgets what was counted for a whole key. Whether anything was.
    ///
    /// # Errors
    ///
    /// Where nobody answers.
    pub async fn forget(&self, key: &str) -> Result<bool, StoreError> {
        let mut question = cmd("DEL");
        question.arg(key);
        self.ask(question, Again::Yes).await
    }
}
