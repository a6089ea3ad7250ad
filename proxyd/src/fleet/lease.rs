//! Places among so many at the same time: a script takes them for a while, and whoever goes on renews them. Keys are whole, prefix
//! and all.

use std::sync::OnceLock;
use std::time::Duration;

use redis::Script;

use super::question::{Again, Question};
use super::{Link, StoreError};

/// So long a place is held by whoever says nothing more: it may have died.
pub(super) const LEASE: Duration = Duration::from_secs(30);

/// The most that is said of at once.
pub(super) const BATCH: usize = 500;

const TEXT: &str = include_str!("lease.lua");

fn script() -> &'static Script {
    static SCRIPT: OnceLock<Script> = OnceLock::new();
    SCRIPT.get_or_init(|| Script::new(TEXT))
}

impl Link {
    /// Takes a place for somebody, if fewer than so many are held. Who asks twice has one. What
    /// `shared::decide::limit::Meter` is to be told.
    ///
    /// # Errors
    ///
    /// Where nobody answers.
    pub async fn take_place(&self, key: &str, most: u32, who: &str) -> Result<String, StoreError> {
        self.places(key, "take", most, &[who]).await
    }

    /// How many are held: in the same words. Takes none.
    ///
    /// # Errors
    ///
    /// Where nobody answers.
    pub async fn places_held(&self, key: &str, most: u32) -> Result<String, StoreError> {
        self.places(key, "look", most, &[]).await
    }

    /// Holds these places on, or again.
    ///
    /// # Errors
    ///
    /// Where nobody answers.
    pub async fn hold_places(&self, key: &str, all: &[&str]) -> Result<(), StoreError> {
        for batch in all.chunks(BATCH) {
            self.places(key, "renew", 0, batch).await?;
        }
        Ok(())
    }

    /// Gives places back: each a key, and who held it.
    ///
    /// # Errors
    ///
    /// Where nobody answers.
    pub async fn free_places(&self, all: &[(&str, &str)]) -> Result<(), StoreError> {
        for batch in all.chunks(BATCH) {
            let mut pipe = redis::pipe();
            for (key, who) in batch {
                pipe.cmd("ZREM").arg(*key).arg(*who).ignore();
            }
            self.ask::<()>(pipe, Again::Yes).await?;
        }
        Ok(())
    }

    async fn places(&self, key: &str, aim: &str, most: u32, all: &[&str]) -> Result<String, StoreError> {
        let lease_ms = LEASE.as_millis() as u64;
        let mut question = Question::script(script(), key);
        question.arg(aim).arg(most).arg(lease_ms).arg(all);
        self.ask(Question::Script(question, TEXT), Again::Yes).await
    }
}
