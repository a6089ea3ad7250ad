//! `limits` and what follows it.

use clap::{Args, Subcommand};
use shared::control::{Command, LimitsArgs, LimitsResetArgs, LimitsTopArgs};

use crate::examples;

/// Arguments of `limits`.
#[derive(Debug, Args)]
pub struct Limits {
    #[command(flatten)]
    pub ask: LimitsArgs,
    #[command(subcommand)]
    pub action: Option<LimitsAction>,
}

/// What can be asked of counters, and done to them.
#[derive(Debug, Subcommand)]
pub enum LimitsAction {
    /// List the keys that have used most of their limits
    #[command(after_help = examples::LIMITS_TOP)]
    Top(LimitsTopArgs),
    /// Show what a key has left
    #[command(after_help = examples::LIMITS_SHOW)]
    Show(LimitsShow),
    /// Forget a key's counts
    #[command(after_help = examples::LIMITS_RESET)]
    Reset(LimitsResetArgs),
}

/// Arguments of `limits show`.
#[derive(Clone, Debug, Args)]
pub struct LimitsShow {
    /// The key: an address, a user, an API key, or a header's value
    #[arg(value_name = "KEY")]
    pub key: String,
    /// Only in the rule of this name
    #[arg(long, value_name = "NAME")]
    pub rule: Option<String>,
}

impl Limits {
    pub(super) fn command(&self) -> Result<Command, String> {
        let Some(action) = &self.action else { return Ok(Command::Limits(self.ask.clone())) };
        if self.ask.key.is_some() {
            return Err("the key stands after the word that says what to do, as in `limits reset 10.1.2.3`".to_owned());
        }
        let rule = |own: &Option<String>| own.clone().or_else(|| self.ask.rule.clone());
        Ok(match action {
            LimitsAction::Top(top) => Command::LimitsTop(LimitsTopArgs { rule: rule(&top.rule), last: top.last }),
            LimitsAction::Show(show) => {
                Command::Limits(LimitsArgs { key: Some(show.key.clone()), rule: rule(&show.rule) })
            }
            LimitsAction::Reset(reset) => {
                Command::LimitsReset(LimitsResetArgs { key: reset.key.clone(), rule: rule(&reset.rule) })
            }
        })
    }
}
