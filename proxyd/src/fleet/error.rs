//! Why a question was not answered, in our own words: what the engine or its address said may hold secrets.

use redis::{ErrorKind, RedisError};

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// It was not asked: too many questions before were not answered.
    Open,
    Timeout,
    /// No connection came about.
    Connect,
    /// It does not let us in, or not do this.
    Refused,
    /// The connection broke.
    Broken,
    /// It answered with an error, or with something else than was asked.
    Answer,
    /// Its address is none.
    Settings,
}

impl StoreError {
    /// One word, for metrics and the log.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Timeout => "timeout",
            Self::Connect => "connect",
            Self::Refused => "refused",
            Self::Broken => "broken",
            Self::Answer => "answer",
            Self::Settings => "settings",
        }
    }
}

impl From<&RedisError> for StoreError {
    fn from(error: &RedisError) -> Self {
        let refused = |code: &str| matches!(code, "WRONGPASS" | "NOAUTH" | "NOPERM");
        if error.kind() == ErrorKind::AuthenticationFailed || error.code().is_some_and(refused) {
            Self::Refused
        } else if error.is_timeout() {
            Self::Timeout
        } else if error.is_io_error() || error.is_connection_dropped() || error.is_unrecoverable_error() {
            Self::Broken
        } else {
            Self::Answer
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn errors_have_a_kind() {
        let check = |error: RedisError, expected| assert_eq!(StoreError::from(&error), expected, "{error}");
        let server = |code: &str| redis::make_extension_error(code.to_owned(), None);
        check(io::Error::from(io::ErrorKind::ConnectionReset).into(), StoreError::Broken);
        check(io::Error::from(io::ErrorKind::TimedOut).into(), StoreError::Timeout);
        check((ErrorKind::AuthenticationFailed, "no").into(), StoreError::Refused);
        check(server("WRONGPASS"), StoreError::Refused);
        check(server("NOPERM"), StoreError::Refused);
        check(server("OOM"), StoreError::Answer);
        check((ErrorKind::UnexpectedReturnType, "no").into(), StoreError::Answer);
    }
}
