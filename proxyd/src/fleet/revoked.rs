//! Revoked tokens that several proxies know of: a set sorted by when each may be forgotten, a number that changes with it, and
//! what the last of those numbers brought, so that a change costs nobody all that there is.

use std::sync::OnceLock;

use redis::{Script, cmd};

use super::question::{Again, Question};
use super::{Link, StoreError};

const SET: &str = "revoked";
const NUMBER: &str = "revoked:number";
const NEWS: &str = "revoked:news";

/// The most that is sent, or read, at once.
const BATCH: usize = 1000;

/// News that are read at once: of one number there are no more than half of it.
const PAGE: usize = 2 * BATCH;

/// So many numbers back it is known what they brought.
const REMEMBERED: u64 = 1000;

const TEXT: &str = include_str!("revoked.lua");

fn script() -> &'static Script {
    static SCRIPT: OnceLock<Script> = OnceLock::new();
    SCRIPT.get_or_init(|| Script::new(TEXT))
}

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
    /// goes, and what they know already is no news to them.
    ///
    /// # Errors
    ///
    /// Where nobody answers.
    pub async fn share_revoked(&self, rows: &[(String, i64)], now_s: i64) -> Result<(), StoreError> {
        let keys = [SET, NUMBER, NEWS].map(|key| self.full_key(key));
        for batch in rows.chunks(BATCH) {
            let mut question = Question::script_of(script(), &keys);
            question.arg(now_s).arg(REMEMBERED);
            for (row, until_s) in batch {
                question.arg(until_s).arg(row);
            }
            self.ask::<()>(Question::Script(question, TEXT), Again::Yes).await?;
        }
        Ok(())
    }

    /// What was shared after the number `since` up to `number`. None: it is not known for each of the numbers between what it brought:
    /// too long ago, lost, or told by a proxy of before that kept no news.
    ///
    /// # Errors
    ///
    /// Where nobody answers.
    pub async fn revoked_since(&self, since: u64, number: u64) -> Result<Option<Vec<String>>, StoreError> {
        if number.saturating_sub(since) > REMEMBERED {
            return Ok(None);
        }
        let (mut rows, mut at) = (Vec::new(), since);
        while at < number {
            let mut question = cmd("ZRANGEBYSCORE");
            question.arg(self.full_key(NEWS)).arg(format!("({at}")).arg(number).arg("WITHSCORES");
            question.arg("LIMIT").arg(0).arg(PAGE);
            let page: Vec<(String, f64)> = self.ask(question, Again::Yes).await?;
            // Of the last number of a page there may be more on the next one.
            let is_whole = page.len() < PAGE;
            let last = page.last().map_or(at, |(_, number)| *number as u64);
            let before = at;
            for (row, number) in page {
                let of = number as u64;
                if of > at.saturating_add(1) {
                    return Ok(None);
                }
                if of < last || is_whole {
                    at = of;
                    rows.push(row);
                }
            }
            if at == before {
                return Ok(None);
            }
        }
        Ok(Some(rows))
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
