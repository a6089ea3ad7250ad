//! Request rows on their way into the table: what is bound once stays bound, and only what differs is bound again.
//!
//! Most of a row's values are those of the rows before it. To compare a value with what its parameter holds already costs a
//! fraction of binding it.

use std::slice::IterMut;

use rusqlite::{CachedStatement, Connection, Error};
use shared::audit::Link;
use shared::audit::chain::{Held, HeldRequest};

use crate::schema::{REQUEST_COLUMN_COUNT, REQUEST_COLUMNS};

/// Rows of one INSERT: more gain nothing, and fewer cost.
pub(crate) const ROWS: usize = 16;

/// The two INSERTs, made once. All columns in the table's own order, so that `SQLite` writes a row from where its values are.
/// `OR FAIL`, because any failure undoes the whole transaction: with the usual `OR ABORT`, pages would be copied aside for
/// undoing the one statement.
static INSERTS: std::sync::LazyLock<[String; 2]> = std::sync::LazyLock::new(|| [insert(1), insert(ROWS)]);

fn insert(rows: usize) -> String {
    let row = format!("({})", ["?"; REQUEST_COLUMN_COUNT].join(","));
    format!("INSERT OR FAIL INTO requests ({REQUEST_COLUMNS}) VALUES {}", vec![row; rows].join(","))
}

/// What a parameter holds. Bytes are never the same twice, and not remembered.
#[derive(Clone, Debug, Default)]
enum Bound {
    #[default]
    Unknown,
    Null,
    Number(i64),
    Text(String),
}

/// The INSERTs of one transaction.
pub(crate) struct Inserts<'a> {
    conn: &'a Connection,
    /// Made when first used: for one row, and for [`ROWS`].
    single: Option<Insert<'a>>,
    many: Option<Insert<'a>>,
    newest: Option<u64>,
}

impl<'a> Inserts<'a> {
    /// For a table whose newest row is `newest`.
    pub(crate) fn new(conn: &'a Connection, newest: Option<u64>) -> Self {
        Self { conn, single: None, many: None, newest }
    }

    /// The table's newest row.
    pub(crate) fn newest(&self) -> Option<u64> {
        self.newest
    }

    /// Writes up to [`ROWS`] of `left` rows, the first of which is to have the number `seq`; `rows` sets the values of each in
    /// turn. Says how many were written.
    pub(crate) fn write(
        &mut self,
        seq: u64,
        left: usize,
        mut rows: impl FnMut(&mut Values<'_, 'a>) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<usize> {
        let [one, sixteen] = &*INSERTS;
        let (place, sql, count) =
            if left >= ROWS { (&mut self.many, sixteen, ROWS) } else { (&mut self.single, one, 1) };
        let insert = match place {
            Some(insert) => insert,
            none => none.insert(Insert {
                statement: self.conn.prepare_cached(sql)?,
                bound: vec![Bound::Unknown; count * REQUEST_COLUMN_COUNT],
            }),
        };
        // Without a number SQLite gives the one after the table's last, and appends without looking for its place.
        let mut number = (self.newest != Some(seq - 1)).then_some(seq);
        let mut values = Values { statement: &mut insert.statement, bound: insert.bound.iter_mut(), at: 0 };
        for _ in 0..count {
            match number.take() {
                Some(number) => values.number(number)?,
                None => values.null()?,
            }
            rows(&mut values)?;
        }
        insert.statement.raw_execute()?;
        let given = self.conn.last_insert_rowid();
        let last = seq + count as u64 - 1;
        if given as u64 != last {
            // Somebody else has written to the table.
            return Err(Error::IntegralValueOutOfRange(0, given));
        }
        self.newest = Some(last);
        Ok(count)
    }
}

/// A statement, and what its parameters hold.
struct Insert<'a> {
    statement: CachedStatement<'a>,
    bound: Vec<Bound>,
}

/// The parameters of a statement, set one after the other.
pub(crate) struct Values<'i, 'a> {
    statement: &'i mut CachedStatement<'a>,
    bound: IterMut<'i, Bound>,
    at: usize,
}

impl Values<'_, '_> {
    /// A row's values, but for its number.
    pub(crate) fn row(&mut self, row: &HeldRequest<'_>, link: &Link) -> rusqlite::Result<()> {
        let facts = row.facts;
        self.number(facts.time_us as u64)?;
        self.number(u64::from(facts.status))?;
        self.text(facts.method)?;
        self.text(facts.path)?;
        self.text(facts.query)?;
        self.text(facts.client)?;
        match row.packed_id {
            Some(packed) => self.bytes(packed)?,
            None => self.text(facts.request_id)?,
        }
        let [always @ .., credential] = row.interned;
        for held in always {
            self.held(*held)?;
        }
        self.text(facts.matched)?;
        self.number(facts.bytes_in)?;
        self.number(facts.bytes_out)?;
        self.number(facts.duration_us)?;
        self.number(facts.upstream_us)?;
        self.number(u64::from(facts.attempts))?;
        self.number(facts.generation)?;
        self.bytes(link)?;
        self.text(facts.tries)?;
        self.held(*credential)
    }

    #[inline]
    fn held(&mut self, text: Held<'_>) -> rusqlite::Result<()> {
        match text {
            Held::Empty => self.null(),
            Held::Known(number) | Held::First(number, _) => self.number(number),
            Held::Inline(text) => self.text(text),
        }
    }

    /// Above 2^63 it is stored as the negative number of the same bits.
    #[inline]
    fn number(&mut self, value: u64) -> rusqlite::Result<()> {
        let value = value as i64;
        let Some(bound) = self.next() else { return Ok(()) };
        match bound {
            Bound::Number(held) if *held == value => return Ok(()),
            // In place: what is replaced as a whole is looked through for a text to free.
            Bound::Number(held) => *held = value,
            Bound::Unknown | Bound::Null | Bound::Text(_) => *bound = Bound::Number(value),
        }
        self.statement.raw_bind_parameter(self.at, value)
    }

    #[inline]
    fn null(&mut self) -> rusqlite::Result<()> {
        let Some(bound) = self.next() else { return Ok(()) };
        if matches!(bound, Bound::Null) {
            return Ok(());
        }
        *bound = Bound::Null;
        self.statement.raw_bind_parameter(self.at, rusqlite::types::Null)
    }

    /// An empty one is NULL.
    fn text(&mut self, text: &str) -> rusqlite::Result<()> {
        if text.is_empty() {
            return self.null();
        }
        let Some(bound) = self.next() else { return Ok(()) };
        if let Bound::Text(held) = bound {
            if held == text {
                return Ok(());
            }
            held.clear();
            held.push_str(text);
        } else {
            *bound = Bound::Text(text.to_owned());
        }
        self.statement.raw_bind_parameter(self.at, text)
    }

    fn bytes(&mut self, bytes: &[u8]) -> rusqlite::Result<()> {
        let Some(bound) = self.next() else { return Ok(()) };
        if !matches!(bound, Bound::Unknown) {
            *bound = Bound::Unknown;
        }
        self.statement.raw_bind_parameter(self.at, bytes)
    }

    #[inline]
    fn next(&mut self) -> Option<&mut Bound> {
        self.at += 1;
        self.bound.next()
    }
}
