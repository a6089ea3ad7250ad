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

/// What was counted elsewhere until now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brings {
    /// A whole key: where it is noted that it was added.
    pub noted_at: String,
    /// Three for each limit.
    pub numbers: Vec<u64>,
}

const TEXT: &str = include_str!("limit.lua");

fn script() -> &'static Script {
    static SCRIPT: OnceLock<Script> = OnceLock::new();
    SCRIPT.get_or_init(|| Script::new(TEXT))
}

impl Link {
    /// Asks the script about a whole key, prefix and all: what `shared::decide::limit::Meter` is to be told. What is brought is
    /// added once, and kept where the aim is to take.
    ///
    /// # Errors
    ///
    /// Where nobody answers.
    pub async fn count(
        &self,
        key: &str,
        form: &str,
        aim: Aim,
        arguments: &[u64],
        brings: Option<&Brings>,
    ) -> Result<String, StoreError> {
        let aim = match aim {
            Aim::Take => "take",
            Aim::Look => "look",
        };
        let mut question = match brings {
            None => Question::script(script(), key),
            Some(brings) => Question::script_of(script(), &[key, &brings.noted_at]),
        };
        question.arg(form).arg(aim).arg(arguments).arg(brings.map_or(&[][..], |brings| &brings.numbers));
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
