//! What is asked: said so that it can be said again.

use redis::aio::MultiplexedConnection;
use redis::{Arg, Cmd, FromRedisValue, Pipeline, RedisError, Script, cmd};

/// Whether it may be asked a second time where nobody knows whether the first was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// Twice is like once, or near enough.
    Yes,
    /// Its answer would say something else then.
    No,
}

/// See the module.
pub(super) enum Question {
    Command(Cmd),
    /// A script by its hash, and its text.
    Script(Cmd, &'static str),
    Several(Pipeline),
}

impl From<Cmd> for Question {
    fn from(command: Cmd) -> Self {
        Self::Command(command)
    }
}

impl From<Pipeline> for Question {
    fn from(several: Pipeline) -> Self {
        Self::Several(several)
    }
}

impl Question {
    /// A script about one key; what it is given is added to the command.
    pub(super) fn script(script: &Script, key: &str) -> Cmd {
        Self::script_of(script, &[key])
    }

    /// The same about several keys.
    pub(super) fn script_of<K: AsRef<str>>(script: &Script, keys: &[K]) -> Cmd {
        let mut command = cmd("EVALSHA");
        command.arg(script.get_hash()).arg(keys.len());
        for key in keys {
            command.arg(key.as_ref());
        }
        command
    }

    pub(super) async fn ask<T: FromRedisValue>(&self, connection: &mut MultiplexedConnection) -> Result<T, RedisError> {
        match self {
            Self::Command(command) => command.query_async(connection).await,
            Self::Several(several) => several.query_async(connection).await,
            Self::Script(command, text) => match command.query_async(connection).await {
                // It has forgotten the script, or never knew it; told in full, it keeps it.
                Err(error) if error.code() == Some("NOSCRIPT") => in_full(command, text).query_async(connection).await,
                answer => answer,
            },
        }
    }
}

fn in_full(by_hash: &Cmd, text: &str) -> Cmd {
    let mut command = cmd("EVAL");
    command.arg(text);
    for argument in by_hash.args_iter().skip(2) {
        if let Arg::Simple(argument) = argument {
            command.arg(argument);
        }
    }
    command
}
