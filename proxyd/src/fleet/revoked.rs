//! Revoked tokens that several proxies know of: a set sorted by when each may be forgotten, and a number that changes with it.

use redis::cmd;

use super::question::Again;
use super::{Link, StoreError};

const SET: &str = "revoked";
const NUMBER: &str = "revoked:number";

/// The most that is sent, or read, at once.
const BATCH: usize = 1000;

impl Link {
    /// Another number after each change; none where nobody ever shared one, or the engine has lost it.
    ///
    /// # Errors
    ///
    /// Where nobody answers.
    pub async fn revoked_number(&self) -> Result<Option<u64>, StoreError> {
        let mut question = cmd("GET");
        question.arg(self.full_key(NUMBER));
        self.ask(question, Again::Yes).await
    }

    /// Tells the others of these: each a text, and until when (seconds since the epoch) it is remembered. What has expired
    /// goes.
    ///
    /// # Errors
    ///
    /// Where nobody answers.
    pub async fn share_revoked(&self, rows: &[(String, i64)], now_s: i64) -> Result<(), StoreError> {
        let (set, number) = (self.full_key(SET), self.full_key(NUMBER));
        for batch in rows.chunks(BATCH) {
            // In this order, and no transaction: who reads the new number finds the rows, and what breaks in between is told anew.
            let mut pipe = redis::pipe();
            let mut add = cmd("ZADD");
            add.arg(&set);
            for (row, until_s) in batch {
                add.arg(until_s).arg(row);
            }
            pipe.add_command(add).ignore();
            pipe.cmd("ZREMRANGEBYSCORE").arg(&set).arg("-inf").arg(now_s).ignore();
            pipe.cmd("INCR").arg(&number).ignore();
            self.ask::<()>(pipe, Again::Yes).await?;
        }
        Ok(())
    }

    /// All that is shared and has not expired.
    ///
    /// # Errors
    ///
    /// Where nobody answers.
    pub async fn shared_revoked(&self, now_s: i64) -> Result<Vec<String>, StoreError> {
        let mut rows = Vec::new();
        loop {
            let mut question = cmd("ZRANGEBYSCORE");
            question.arg(self.full_key(SET)).arg(format!("({now_s}")).arg("+inf");
            question.arg("LIMIT").arg(rows.len()).arg(BATCH);
            let more: Vec<String> = self.ask(question, Again::Yes).await?;
            let is_last = more.len() < BATCH;
            rows.extend(more);
            if is_last {
                return Ok(rows);
            }
        }
    }
}
