//! How rows are written: one batch, one transaction, every row numbered and chained.

use rusqlite::{Connection, Statement};
use shared::audit::chain::{canonical_action, canonical_gap, canonical_request};
use shared::audit::{ActionFacts, Chunk, Gap, Link, RequestFacts, chain};

use crate::schema::Predecessor;
use crate::texts::{Column, Stored, Texts};

/// Rows for one transaction, in the order in which they are numbered.
pub type Batch<'a> = [Entry<'a>];

/// A part of a batch.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'a> {
    Requests(&'a Chunk),
    Action(&'a ActionFacts),
    Gap(&'a Gap),
}

/// The sequence numbers that a batch was given; `last` is `first - 1` when it was empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    pub first: u64,
    pub last: u64,
}

/// A stretch of rows and the range of their times: lets a search by time pass over rows that cannot match.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) first_seq: u64,
    pub(crate) oldest_us: i64,
    pub(crate) newest_us: i64,
}

/// Rows of a span, at least.
const SPAN_ROWS: u64 = 4096;

/// The place after the newest row, as a transaction moves it.
pub(crate) struct Appender<'a> {
    pub(crate) conn: &'a Connection,
    pub(crate) texts: &'a mut Texts,
    pub(crate) canonical: &'a mut Vec<u8>,
    pub(crate) head: Predecessor,
    pub(crate) span: Option<Span>,
}

/// Columns of `requests`, in the order in which they are bound.
const COLUMNS: &str = "seq, time_us, status, method, path, query, client, request_id, scheme, listener, host, protocol, \
                       route, upstream, endpoint, outcome, principal, user_agent, matched, bytes_in, bytes_out, \
                       duration_us, upstream_us, attempts, generation, link";
const COLUMN_COUNT: usize = 26;

/// Rows of one INSERT: more gain nothing, and fewer cost.
const ROWS: usize = 16;

/// The two INSERTs, made once.
static INSERTS: std::sync::LazyLock<[String; 2]> = std::sync::LazyLock::new(|| [insert(1), insert(ROWS)]);

/// `OR FAIL`, because any failure undoes the whole transaction: with the usual `OR ABORT`, pages would be copied aside for
/// undoing the one statement.
fn insert(rows: usize) -> String {
    let row = format!("({})", ["?"; COLUMN_COUNT].join(","));
    format!("INSERT OR FAIL INTO requests ({COLUMNS}) VALUES {}", vec![row; rows].join(","))
}

impl Appender<'_> {
    /// Writes a batch inside a transaction that the caller began.
    pub(crate) fn append(&mut self, batch: &Batch<'_>) -> rusqlite::Result<()> {
        for entry in batch {
            match entry {
                Entry::Requests(chunk) => self.requests(chunk)?,
                Entry::Action(facts) => self.action(facts)?,
                Entry::Gap(gap) => self.gap(gap)?,
            }
        }
        match self.span {
            Some(span) if self.head.seq + 1 - span.first_seq >= SPAN_ROWS => self.end_span(),
            Some(_) | None => Ok(()),
        }
    }

    /// Writes down the range of the times since the last span.
    pub(crate) fn end_span(&mut self) -> rusqlite::Result<()> {
        let Some(span) = self.span.take() else { return Ok(()) };
        self.conn
            .prepare_cached("INSERT INTO spans (last_seq, first_seq, oldest_us, newest_us) VALUES (?1, ?2, ?3, ?4)")?
            .execute((self.head.seq as i64, span.first_seq as i64, span.oldest_us, span.newest_us))
            .map(drop)
    }

    fn requests(&mut self, chunk: &Chunk) -> rusqlite::Result<()> {
        let [single, many] = &*INSERTS;
        let conn = self.conn;
        let mut rows = chunk.iter();
        let mut left = chunk.len();
        while left > 0 {
            let (sql, count) = if left >= ROWS { (many, ROWS) } else { (single, 1) };
            let mut statement = conn.prepare_cached(sql)?;
            for (row, facts) in rows.by_ref().take(count).enumerate() {
                let seq = self.head.seq + 1;
                canonical_request(seq, &facts, self.canonical);
                let link = chain(&self.head.link, self.canonical);
                let mut bind = Binder { statement: &mut statement, at: row * COLUMN_COUNT };
                self.bind(&mut bind, seq, &facts, link)?;
                self.advance(seq, link, facts.time_us);
            }
            statement.raw_execute()?;
            left -= count;
        }
        Ok(())
    }

    fn bind(
        &mut self,
        bind: &mut Binder<'_, '_>,
        seq: u64,
        facts: &RequestFacts<'_>,
        link: Link,
    ) -> rusqlite::Result<()> {
        bind.number(seq)?;
        bind.number(facts.time_us as u64)?;
        bind.number(u64::from(facts.status))?;
        bind.text(facts.method)?;
        bind.text(facts.path)?;
        bind.text(facts.query)?;
        bind.text(facts.client)?;
        match packed_id(facts.request_id) {
            Some(packed) => bind.blob(&packed)?,
            None => bind.text(facts.request_id)?,
        }
        for (column, text) in [
            (Column::Scheme, facts.scheme),
            (Column::Listener, facts.listener),
            (Column::Host, facts.host),
            (Column::Protocol, facts.protocol),
            (Column::Route, facts.route),
            (Column::Upstream, facts.upstream),
            (Column::Endpoint, facts.endpoint),
            (Column::Outcome, facts.outcome),
            (Column::Principal, facts.principal),
            (Column::UserAgent, facts.user_agent),
        ] {
            match self.texts.store(self.conn, column, text)? {
                Stored::Empty => bind.null()?,
                Stored::Number(number) => bind.number(number as u64)?,
                Stored::Inline(text) => bind.text(text)?,
            }
        }
        bind.text(facts.matched)?;
        bind.number(facts.bytes_in)?;
        bind.number(facts.bytes_out)?;
        bind.number(facts.duration_us)?;
        bind.number(facts.upstream_us)?;
        bind.number(u64::from(facts.attempts))?;
        bind.number(facts.generation)?;
        bind.blob(&link)
    }

    fn action(&mut self, facts: &ActionFacts) -> rusqlite::Result<()> {
        let seq = self.head.seq + 1;
        canonical_action(seq, facts, self.canonical);
        let link = chain(&self.head.link, self.canonical);
        self.conn
            .prepare_cached("INSERT INTO actions VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)")?
            .execute((
                seq as i64,
                facts.time_us,
                facts.door.as_str(),
                &facts.actor,
                &facts.command,
                &facts.arguments,
                &facts.outcome,
                &facts.message,
                facts.generation_before as i64,
                facts.generation_after as i64,
                &facts.changes,
                link,
            ))?;
        self.advance(seq, link, facts.time_us);
        Ok(())
    }

    fn gap(&mut self, gap: &Gap) -> rusqlite::Result<()> {
        let seq = self.head.seq + 1;
        canonical_gap(seq, gap, self.canonical);
        let link = chain(&self.head.link, self.canonical);
        let missing = gap.missing.map(|missing| missing as i64);
        self.conn.prepare_cached("INSERT INTO gaps VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?.execute((
            seq as i64,
            gap.time_us,
            missing,
            gap.from_us,
            gap.until_us,
            &gap.reason,
            link,
        ))?;
        self.advance(seq, link, gap.time_us);
        Ok(())
    }

    fn advance(&mut self, seq: u64, link: Link, time_us: i64) {
        self.head = Predecessor { seq, link };
        let span = self.span.get_or_insert(Span { first_seq: seq, oldest_us: time_us, newest_us: time_us });
        span.oldest_us = span.oldest_us.min(time_us);
        span.newest_us = span.newest_us.max(time_us);
    }
}

/// Binds a row's values one after the other.
struct Binder<'s, 'c> {
    statement: &'s mut Statement<'c>,
    at: usize,
}

impl Binder<'_, '_> {
    fn value(&mut self, value: impl rusqlite::ToSql) -> rusqlite::Result<()> {
        self.at += 1;
        self.statement.raw_bind_parameter(self.at, value)
    }

    /// Above 2^63 it is stored as the negative number of the same bits.
    fn number(&mut self, value: u64) -> rusqlite::Result<()> {
        self.value(value as i64)
    }

    fn null(&mut self) -> rusqlite::Result<()> {
        self.value(rusqlite::types::Null)
    }

    fn text(&mut self, text: &str) -> rusqlite::Result<()> {
        if text.is_empty() { self.null() } else { self.value(text) }
    }

    fn blob(&mut self, bytes: &[u8]) -> rusqlite::Result<()> {
        self.value(bytes)
    }
}

/// Our own request ids, 32 lower-case hex digits, as the 16 bytes they stand for.
pub(crate) fn packed_id(id: &str) -> Option<[u8; 16]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut packed = [0; 16];
    if id.len() != 32 {
        return None;
    }
    for (to, pair) in packed.iter_mut().zip(id.as_bytes().chunks_exact(2)) {
        let &[high, low] = pair else { return None };
        *to = digit(high)? << 4 | digit(low)?;
    }
    Some(packed)
}
