//! Interned texts: what repeats in many rows is stored once per segment and named by its number.
//!
//! Bounded: a peer that sends a new user agent with every request fills its share of the table and no more; what finds
//! no room is stored in the row itself.

use std::collections::HashMap;

use rusqlite::Connection;
use shared::audit::RequestFacts;
use shared::audit::chain::{Held, INTERNED};

/// The columns that hold numbers of texts, in the order of the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Scheme,
    Listener,
    Host,
    Protocol,
    Route,
    Upstream,
    Endpoint,
    Outcome,
    Principal,
    UserAgent,
    Credential,
}

impl Column {
    /// Whether its texts are made by those who send requests, not by the config.
    fn is_of_peers(self) -> bool {
        match self {
            Self::Host | Self::Principal | Self::UserAgent => true,
            Self::Scheme
            | Self::Listener
            | Self::Protocol
            | Self::Route
            | Self::Upstream
            | Self::Endpoint
            | Self::Outcome
            | Self::Credential => false,
        }
    }
}

/// Texts of peers that a segment interns, at most.
const PEERS: usize = 65_536;
/// Texts that a segment interns, at most.
const ALL: usize = 262_144;
/// A longer text is stored in its row: memory for the table stays below `ALL` times this.
const LONGEST_BYTES: usize = 256;

/// The open segment's interned texts.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    numbers: HashMap<Box<str>, u64>,
    peers: usize,
    /// Numbers are given out without a hole, so that a higher one is one that no row has used yet.
    newest: u64,
    /// Since the transaction began: texts and whether they count as peers'.
    fresh: Vec<(Box<str>, bool)>,
    /// What each column held last, as most rows repeat it.
    last: [(String, u64); INTERNED],
}

impl Texts {
    /// The texts that the segment holds already. All of them count as peers': after a restart nobody knows.
    pub(crate) fn load(conn: &Connection) -> rusqlite::Result<Self> {
        let mut texts = Self::default();
        let mut statement = conn.prepare("SELECT id, text FROM texts ORDER BY id LIMIT ?1")?;
        let mut rows = statement.query([ALL as i64])?;
        while let Some(row) = rows.next()? {
            texts.numbers.insert(row.get::<_, String>(1)?.into_boxed_str(), row.get::<_, i64>(0)? as u64);
        }
        texts.peers = texts.numbers.len();
        let newest: i64 = conn.query_row("SELECT coalesce(max(id), 0) FROM texts", [], |row| row.get(0))?;
        texts.newest = newest as u64;
        Ok(texts)
    }

    /// How `text` is to be stored; a new one is written to the table `texts`.
    pub(crate) fn store<'a>(&mut self, conn: &Connection, column: Column, text: &'a str) -> rusqlite::Result<Held<'a>> {
        if text.is_empty() {
            return Ok(Held::Empty);
        }
        if let Some((last, number)) = self.last.get(column as usize)
            && last == text
        {
            return Ok(Held::Known(*number));
        }
        let held = match self.numbers.get(text) {
            Some(&number) => Held::Known(number),
            None => match self.add(conn, column, text)? {
                Some(number) => Held::First(number, text),
                None => return Ok(Held::Inline(text)),
            },
        };
        if let Some((last, of_last)) = self.last.get_mut(column as usize)
            && let Held::Known(number) | Held::First(number, _) = held
        {
            last.clear();
            last.push_str(text);
            *of_last = number;
        }
        Ok(held)
    }

    /// As [`Texts::store`], for all the texts of a row that may be interned.
    pub(crate) fn store_all<'a>(
        &mut self,
        conn: &Connection,
        facts: &RequestFacts<'a>,
    ) -> rusqlite::Result<[Held<'a>; INTERNED]> {
        Ok([
            self.store(conn, Column::Scheme, facts.scheme)?,
            self.store(conn, Column::Listener, facts.listener)?,
            self.store(conn, Column::Host, facts.host)?,
            self.store(conn, Column::Protocol, facts.protocol)?,
            self.store(conn, Column::Route, facts.route)?,
            self.store(conn, Column::Upstream, facts.upstream)?,
            self.store(conn, Column::Endpoint, facts.endpoint)?,
            self.store(conn, Column::Outcome, facts.outcome)?,
            self.store(conn, Column::Principal, facts.principal)?,
            self.store(conn, Column::UserAgent, facts.user_agent)?,
            self.store(conn, Column::Credential, facts.credential)?,
        ])
    }

    fn add(&mut self, conn: &Connection, column: Column, text: &str) -> rusqlite::Result<Option<u64>> {
        let of_peers = column.is_of_peers();
        if text.len() > LONGEST_BYTES || self.numbers.len() >= ALL || (of_peers && self.peers >= PEERS) {
            return Ok(None);
        }
        let number = self.newest + 1;
        conn.prepare_cached("INSERT INTO texts (id, text) VALUES (?1, ?2)")?.execute((number as i64, text))?;
        self.newest = number;
        self.peers += usize::from(of_peers);
        self.numbers.insert(text.into(), number);
        self.fresh.push((text.into(), of_peers));
        Ok(Some(number))
    }

    /// The transaction is on disk.
    pub(crate) fn committed(&mut self) {
        self.fresh.clear();
    }

    /// The transaction is undone, and its texts with it.
    pub(crate) fn rolled_back(&mut self) {
        for (text, of_peers) in self.fresh.drain(..) {
            self.numbers.remove(&text);
            self.newest -= 1;
            self.peers -= usize::from(of_peers);
        }
        self.last = Default::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE texts (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT").unwrap();
        conn
    }

    #[test]
    fn a_flood_of_user_agents_stays_within_its_share() {
        let conn = table();
        let mut texts = Texts::default();
        conn.execute_batch("BEGIN").unwrap();
        for number in 0..PEERS + 10 {
            texts.store(&conn, Column::UserAgent, &format!("bot {number}")).unwrap();
        }
        assert_eq!(texts.store(&conn, Column::UserAgent, "one more").unwrap(), Held::Inline("one more"));
        assert_eq!(texts.store(&conn, Column::UserAgent, "bot 7").unwrap(), Held::Known(8));
        assert_eq!(texts.store(&conn, Column::Route, "users").unwrap(), Held::First(PEERS as u64 + 1, "users"));
        let long = "x".repeat(LONGEST_BYTES + 1);
        assert_eq!(texts.store(&conn, Column::Route, &long).unwrap(), Held::Inline(&long));
    }

    #[test]
    fn what_was_rolled_back_is_interned_again() {
        let conn = table();
        let mut texts = Texts::default();
        conn.execute_batch("BEGIN").unwrap();
        assert_eq!(texts.store(&conn, Column::Host, "a").unwrap(), Held::First(1, "a"));
        conn.execute_batch("COMMIT").unwrap();
        texts.committed();
        conn.execute_batch("BEGIN").unwrap();
        assert_eq!(texts.store(&conn, Column::Host, "b").unwrap(), Held::First(2, "b"));
        conn.execute_batch("ROLLBACK").unwrap();
        texts.rolled_back();
        assert_eq!(texts.store(&conn, Column::Host, "c").unwrap(), Held::First(2, "c"));
        let loaded = Texts::load(&conn).unwrap();
        assert_eq!(loaded.numbers.len(), 2);
        assert_eq!(texts.store(&conn, Column::Host, "a").unwrap(), Held::Known(1));
    }
}
