//! One decision of a rate limit: one script, which the engine runs as a whole and by its own clock.

use std::sync::OnceLock;

use redis::{Cmd, Script, cmd};

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
    /// Asks the script: what `shared::decide::limit::Meter` is to be told.
    ///
    /// # Errors
    ///
    /// Where nobody answers.
    pub async fn count(&self, key: &str, form: &str, aim: Aim, arguments: &[u64]) -> Result<String, StoreError> {
        let question = |command: &str, script: &str| {
            let mut question: Cmd = cmd(command);
            let aim = match aim {
                Aim::Take => "take",
                Aim::Look => "look",
            };
            question.arg(script).arg(1).arg(self.full_key(key)).arg(form).arg(aim).arg(arguments);
            question
        };
        let asked = question("EVALSHA", script().get_hash());
        let in_full = || question("EVAL", TEXT);
        self.converse(async |connection| match asked.query_async(connection).await {
            // It has forgotten the script, or never knew it; told in full, it keeps it.
            Err(error) if error.code() == Some("NOSCRIPT") => in_full().query_async(connection).await,
            answer => answer,
        })
        .await
    }
}
