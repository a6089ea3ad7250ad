//! Values by key that several proxies share. Every key stands under the config's prefix.

use std::time::Duration;

use redis::{Cmd, cmd};

use super::question::Again;
use super::{Link, StoreError};

/// No value is larger: what is stored here are sessions and marks.
const MAX_VALUE: usize = 64 * 1024;

impl Link {
    /// The value of a key.
    ///
    /// # Errors
    ///
    /// Where nobody answers, or the value is larger than any that we store.
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let value: Option<Vec<u8>> = self.ask(self.about("GET", key), Again::Yes).await?;
        if value.as_ref().is_some_and(|value| value.len() > MAX_VALUE) {
            return Err(StoreError::Answer);
        }
        Ok(value)
    }

    /// Sets the value of a key, for so long.
    ///
    /// # Errors
    ///
    /// Where nobody answers, or the value is too large.
    pub async fn set(&self, key: &str, value: &[u8], ttl: Duration) -> Result<(), StoreError> {
        if value.len() > MAX_VALUE {
            return Err(StoreError::Answer);
        }
        let mut question = self.about("SET", key);
        question.arg(value).arg("PX").arg(milliseconds(ttl));
        self.ask(question, Again::Yes).await
    }

    /// The same where the key has no value yet. Whether it had none.
    ///
    /// # Errors
    ///
    /// Where nobody answers, or the value is too large.
    pub async fn set_new(&self, key: &str, value: &[u8], ttl: Duration) -> Result<bool, StoreError> {
        if value.len() > MAX_VALUE {
            return Err(StoreError::Answer);
        }
        let mut question = self.about("SET", key);
        question.arg(value).arg("NX").arg("PX").arg(milliseconds(ttl));
        Ok(self.ask::<Option<String>>(question, Again::No).await?.is_some())
    }

    /// The same where the key has a value. Whether it had one.
    ///
    /// # Errors
    ///
    /// Where nobody answers, or the value is too large.
    pub async fn replace(&self, key: &str, value: &[u8], ttl: Duration) -> Result<bool, StoreError> {
        if value.len() > MAX_VALUE {
            return Err(StoreError::Answer);
        }
        let mut question = self.about("SET", key);
        question.arg(value).arg("XX").arg("PX").arg(milliseconds(ttl));
        Ok(self.ask::<Option<String>>(question, Again::Yes).await?.is_some())
    }

    /// Lets a key's value stay for so long from now. Whether it has one.
    ///
    /// # Errors
    ///
    /// Where nobody answers.
    pub async fn keep(&self, key: &str, ttl: Duration) -> Result<bool, StoreError> {
        let mut question = self.about("PEXPIRE", key);
        question.arg(milliseconds(ttl));
        self.ask(question, Again::Yes).await
    }

    /// Whether a key has a value.
    ///
    /// # Errors
    ///
    /// Where nobody answers.
    pub async fn contains(&self, key: &str) -> Result<bool, StoreError> {
        self.ask(self.about("EXISTS", key), Again::Yes).await
    }

    /// Forgets a key's value. Whether it had one.
    ///
    /// # Errors
    ///
    /// Where nobody answers.
    pub async fn remove(&self, key: &str) -> Result<bool, StoreError> {
        self.ask(self.about("DEL", key), Again::Yes).await
    }

    fn about(&self, command: &str, key: &str) -> Cmd {
        let mut question = cmd(command);
        question.arg(self.full_key(key));
        question
    }

    pub(super) fn full_key(&self, key: &str) -> String {
        format!("{}{key}", self.engine.prefix())
    }
}

/// At least one: the engine takes no zero.
fn milliseconds(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).clamp(1, i64::MAX as u64 / 2)
}
