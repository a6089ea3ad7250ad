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
    /// Whether the engine may have heard what was asked.
    #[must_use]
    pub fn may_be_heard(self) -> bool {
        !matches!(self, Self::Open | Self::Connect | Self::Settings)
    }

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

/// A question that came to nothing, with what the engine's answer says of why, as far as that holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) error: StoreError,
    /// The engine's own word for it, as its protocol has it.
    pub(super) code: Option<Box<str>>,
    /// What we have no right to: a command, or `keys`.
    pub(super) right: Option<Box<str>>,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self { error, code: None, right: None }
    }
}

impl From<&RedisError> for Failure {
    fn from(error: &RedisError) -> Self {
        // A transaction only says that it was not carried out; the error of one of its parts says why.
        let parts = error.clone().into_server_errors().unwrap_or_default();
        let part = parts.iter().map(|(_, part)| part).find(|part| part.code() != "EXECABORT");
        let said = part.map_or_else(|| error.code(), |part| Some(part.code()));
        let detail = part.map_or_else(|| error.detail(), |part| part.details());
        let right = detail.and_then(missing_right);
        // Up to Redis 6.2 an error in a script is only quoted.
        let is_demoted = said == Some("ERR") && detail.is_some_and(|detail| detail.contains("-READONLY "));
        let code = match right {
            Some(_) => Some("NOPERM"),
            None if is_demoted => Some("READONLY"),
            None => said,
        };
        let code = code.filter(|code| code.len() <= 32 && code.bytes().all(|byte| byte.is_ascii_uppercase()));
        let is_refused = error.kind() == ErrorKind::AuthenticationFailed
            || code.is_some_and(|code| matches!(code, "WRONGPASS" | "NOAUTH" | "NOPERM"));
        let kind = if is_refused {
            StoreError::Refused
        } else if error.is_timeout() {
            StoreError::Timeout
        } else if error.is_io_error() || error.is_connection_dropped() || error.is_unrecoverable_error() {
            StoreError::Broken
        } else {
            StoreError::Answer
        };
        Self { error: kind, code: code.map(Into::into), right: right.map(Into::into) }
    }
}

impl Failure {
    /// Whether the engine answered, if only with an error: it is there.
    pub(super) fn is_answer(&self) -> bool {
        matches!(self.error, StoreError::Answer | StoreError::Refused)
    }

    /// Whether the other end is no longer the one to ask, or has forgotten who we are: a new connection leads elsewhere, or logs
    /// in again. Nothing was carried out.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.code.as_deref().is_some_and(|code| matches!(code, "READONLY" | "MASTERDOWN" | "NOAUTH"))
    }
}

/// The right that an engine says is missing. Of its words only the name of a command is passed on.
fn missing_right(detail: &str) -> Option<&str> {
    if let Some((_, rest)) = detail.split_once("permissions to run the '") {
        let (command, _) = rest.split_once('\'')?;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'|' | b'-' | b'_');
        return (command.len() <= 32 && command.bytes().all(is_name)).then_some(command);
    }
    if detail.contains("permissions to access one of the keys") {
        return Some("keys");
    }
    let in_script =
        detail.contains("executing the script can't run this command") || detail.contains("ACL failure in script");
    in_script.then_some("a command of a script")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn errors_have_a_kind() {
        let check = |error: RedisError, expected| assert_eq!(Failure::from(&error).error, expected, "{error}");
        let server = |code: &str| redis::make_extension_error(code.to_owned(), None);
        check(io::Error::from(io::ErrorKind::ConnectionReset).into(), StoreError::Broken);
        check(io::Error::from(io::ErrorKind::TimedOut).into(), StoreError::Timeout);
        check((ErrorKind::AuthenticationFailed, "no").into(), StoreError::Refused);
        check(server("WRONGPASS"), StoreError::Refused);
        check(server("NOPERM"), StoreError::Refused);
        check(server("OOM"), StoreError::Answer);
        check((ErrorKind::UnexpectedReturnType, "no").into(), StoreError::Answer);
    }

    #[test]
    fn of_what_an_engine_says_only_words_of_the_protocol_are_kept() {
        let check = |code: &str, detail: &str, expected: (Option<&str>, Option<&str>)| {
            let failure = Failure::from(&redis::make_extension_error(code.to_owned(), Some(detail.to_owned())));
            assert_eq!((failure.code.as_deref(), failure.right.as_deref()), expected, "{code} {detail}");
        };
        check("OOM", "s3cret", (Some("OOM"), None));
        check("S3CRET-x", "", (None, None));
        let missing = |right| (Some("NOPERM"), Some(right));
        check("NOPERM", "this user has no permissions to run the 'zadd' command", missing("zadd"));
        check("NOPERM", "User ann has no permissions to run the 'client|setinfo' command", missing("client|setinfo"));
        check("NOPERM", "no permissions to run the 'a b' command", (Some("NOPERM"), None));
        check("NOPERM", "this user has no permissions to access one of the keys used as arguments", missing("keys"));
        let script =
            "The user executing the script can't run this command or subcommand script: 104a, on @user_script:1.";
        check("ERR", script, missing("a command of a script"));
    }

    #[test]
    fn an_end_that_is_not_the_one_to_ask_is_known() {
        let is_elsewhere =
            |code: &str| Failure::from(&redis::make_extension_error(code.to_owned(), None)).is_elsewhere();
        assert!(["READONLY", "MASTERDOWN", "NOAUTH"].into_iter().all(is_elsewhere));
        assert!(!["OOM", "NOPERM", "LOADING", "WRONGPASS"].into_iter().any(is_elsewhere));
        let in_script = |detail: &str| {
            Failure::from(&redis::make_extension_error("ERR".to_owned(), Some(detail.to_owned()))).is_elsewhere()
        };
        let script = "Error running script (call to f_104a): @user_script:38: @user_script: 38:";
        assert!(
            in_script(&format!("{script} -READONLY You can't write against a read only replica.")),
            "up to Redis 6.2"
        );
        assert!(!in_script(&format!("{script} WRONGTYPE Operation against a key")));
    }
}
