//! How rows are written: one batch, one transaction, every row numbered and chained.

use rusqlite::Connection;
use shared::audit::chain::{self, Held, HeldRequest, INTERNED, canonical_action, canonical_gap, canonical_request};
use shared::audit::{ActionFacts, Chunk, Gap, Link};

use crate::insert::Inserts;
use crate::schema::Predecessor;
use crate::texts::Texts;

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
    /// The newest row of the table `requests`.
    pub(crate) newest_request: Option<u64>,
}

impl Appender<'_> {
    /// Writes a batch inside a transaction that the caller began.
    pub(crate) fn append(&mut self, batch: &Batch<'_>) -> rusqlite::Result<()> {
        let mut inserts = Inserts::new(self.conn, self.newest_request);
        for entry in batch {
            match entry {
                Entry::Requests(chunk) => self.requests(chunk, &mut inserts)?,
                Entry::Action(facts) => self.action(facts)?,
                Entry::Gap(gap) => self.gap(gap)?,
            }
        }
        self.newest_request = inserts.newest();
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

    fn requests(&mut self, chunk: &Chunk, inserts: &mut Inserts<'_>) -> rusqlite::Result<()> {
        let mut rows = chunk.repeating();
        let mut left = chunk.len();
        let mut interned = [Held::Empty; INTERNED];
        while left > 0 {
            left -= inserts.write(self.head.seq + 1, left, |values| {
                let Some((facts, repeats)) = rows.next() else { return Ok(()) };
                let seq = self.head.seq + 1;
                let packed_id = packed_id(facts.request_id);
                if repeats {
                    interned.iter_mut().for_each(Held::repeat);
                } else {
                    interned = self.texts.store_all(self.conn, &facts)?;
                }
                let held = HeldRequest { facts: &facts, packed_id: packed_id.as_ref(), interned: &interned };
                canonical_request(&self.head.link, seq, &held, self.canonical);
                let link = chain::link(self.canonical);
                values.row(&held, &link)?;
                self.advance(seq, link, facts.time_us);
                Ok(())
            })?;
        }
        Ok(())
    }

    fn action(&mut self, facts: &ActionFacts) -> rusqlite::Result<()> {
        let seq = self.head.seq + 1;
        canonical_action(&self.head.link, seq, facts, self.canonical);
        let link = chain::link(self.canonical);
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
        canonical_gap(&self.head.link, seq, gap, self.canonical);
        let link = chain::link(self.canonical);
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

/// Our own request ids, 32 lower-case hex digits, as the 16 bytes they stand for.
pub(crate) fn packed_id(id: &str) -> Option<[u8; 16]> {
    let digits: &[u8; 32] = id.as_bytes().try_into().ok()?;
    // All digits at once, without a branch for each: the compiler turns this into vector instructions.
    let nibbles = digits.map(|byte| match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        _ => 0x80,
    });
    if nibbles.iter().fold(0, |all, nibble| all | nibble) & 0x80 != 0 {
        return None;
    }
    let mut packed = [0; 16];
    for (to, [high, low]) in packed.iter_mut().zip(nibbles.as_chunks().0) {
        *to = high << 4 | low;
    }
    Some(packed)
}
