//! The proof: every row's link follows from the row before it and from what the row says.
//!
//! It streams: what it holds does not grow with the store. It reads only, also while the store is written.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use rusqlite::fallible_streaming_iterator::FallibleStreamingIterator;
use rusqlite::{Connection, Rows};
use shared::audit::chain::{self, canonical_action, canonical_gap, canonical_request};
use shared::audit::{GapRow, Link};
use shared::control::report::{AuditVerified, Broken};

use crate::rows::{self, Spelled};
use crate::schema::Predecessor;
use crate::segment::{Segment, segments};
use crate::{StoreError, meta, schema};

/// A row's number and link: a statement about everything up to it. Written `SEQ:LINK`, the link in hex.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    pub seq: u64,
    pub link: Link,
}

impl Head {
    /// The link in hex.
    #[must_use]
    pub fn link_hex(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.link))
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.link_hex())
    }
}

impl FromStr for Head {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let read = || {
            let (seq, link) = text.trim().split_once(':')?;
            let link = crate::append::packed_id(&link.to_ascii_lowercase())?;
            Some(Self { seq: seq.parse().ok()?, link })
        };
        read().ok_or_else(|| StoreError::Head("a head is SEQ:LINK, as `proxyctl audit head` prints it".to_owned()))
    }
}

/// Gap rows that a report lists, at most.
const MOST_GAPS: usize = 10_000;

/// How often a proof begins again because retention got in its way.
const ATTEMPTS: u32 = 5;

/// Rows that are read in one go: a longer reading would keep the writer from folding its log into the file.
const STRETCH: u64 = 65_536;

/// Proves the whole store in `dir`, and that it still holds each of `heads`. `goes_on` is asked now and then; when it says no,
/// the proof is given up.
pub fn verify(dir: &Path, heads: &[Head], goes_on: &dyn Fn() -> bool) -> Result<AuditVerified, StoreError> {
    // Retention may take a segment between listing and opening it: then it all begins again, a few times at most.
    for attempt in 0.. {
        let mut proof = Proof::new(heads, goes_on);
        match proof.run(dir) {
            Ok(()) => return proof.conclude(),
            Err(error) if error.is_absent() && dir.exists() && attempt < ATTEMPTS => {}
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::Cancelled)
}

struct Proof<'a> {
    heads: &'a [Head],
    goes_on: &'a dyn Fn() -> bool,
    at: Predecessor,
    report: AuditVerified,
    canonical: Vec<u8>,
    /// The newest row before the oldest kept one.
    start: Predecessor,
}

impl<'a> Proof<'a> {
    fn new(heads: &'a [Head], goes_on: &'a dyn Fn() -> bool) -> Self {
        let nothing = Predecessor { seq: 0, link: [0; 16] };
        let report = AuditVerified { intact: true, ..AuditVerified::default() };
        Self { heads, goes_on, at: nothing, report, canonical: Vec::with_capacity(1024), start: nothing }
    }

    fn run(&mut self, dir: &Path) -> Result<(), StoreError> {
        let mut segment = String::new();
        for (index, found) in segments(dir)?.iter().enumerate() {
            if !(self.goes_on)() {
                return Err(StoreError::Cancelled);
            }
            let Some(conn) = schema::read(found)? else { continue };
            segment = found.name();
            self.segment(found, &conn, index == 0).map_err(|error| match error {
                Trouble::Sqlite(error) => StoreError::sqlite(&found.path, error),
                Trouble::Cancelled => StoreError::Cancelled,
            })?;
            if self.report.broken.is_some() {
                return Ok(());
            }
        }
        let newest = self.heads.iter().max_by_key(|head| head.seq).filter(|head| head.seq > self.at.seq);
        if let Some(head) = newest {
            let reason = format!("cut off: the rows from here to {} were removed", head.seq);
            self.broken(self.at.seq + 1, segment, reason);
        }
        Ok(())
    }

    fn segment(&mut self, segment: &Segment, conn: &Connection, is_oldest: bool) -> Result<(), Trouble> {
        let name = segment.name();
        let before = meta::predecessor(conn)?;
        if is_oldest {
            self.start = before;
            self.at = before;
            self.report.first_seq = before.seq + 1;
            let retired = meta::seq(conn, "retired_last_seq")?.unwrap_or_default();
            if retired != before.seq {
                let reason = format!("missing: the rows {} to {} were removed", retired + 1, before.seq);
                self.broken(retired + 1, name, reason);
                return Ok(());
            }
        }
        if before != self.at || segment.first_seq != before.seq + 1 {
            let reason = match before.seq.cmp(&self.at.seq) {
                std::cmp::Ordering::Greater => {
                    format!("missing: the rows {} to {} were removed", self.at.seq + 1, before.seq)
                }
                std::cmp::Ordering::Less => format!("added: the rows from {} on were there already", before.seq + 1),
                std::cmp::Ordering::Equal => {
                    "changed: the segment follows another row than the one before it".to_owned()
                }
            };
            self.broken(self.at.seq + 1, name, reason);
            return Ok(());
        }
        if let Some(seq) = meta::oldest(conn)?.filter(|seq| *seq < segment.first_seq as i64) {
            self.broken(
                segment.first_seq,
                name,
                format!("added: there is a row numbered {seq} before the segment's first"),
            );
            return Ok(());
        }
        // What was committed before these were read is there when the rows are read.
        let is_clean = meta::get::<i64>(conn, "clean")? == Some(1);
        let closing = meta::seq(conn, "last_seq")?.filter(|_| is_clean);
        let last = meta::newest(conn)?.map_or(before.seq, |(seq, _)| seq);
        let mut texts = Spelled::default();
        while self.at.seq < last && self.report.broken.is_none() {
            if !(self.goes_on)() {
                return Err(Trouble::Cancelled);
            }
            let until = last.min(self.at.seq.saturating_add(STRETCH));
            self.stretch(conn, &mut texts, &name, until)?;
        }
        if let Some(closing) = closing.filter(|closing| self.report.broken.is_none() && *closing > self.at.seq) {
            self.broken(self.at.seq + 1, name, format!("cut off: the rows from here to {closing} were removed"));
        }
        Ok(())
    }

    /// Proves the rows up to `until`, which the segment is known to reach.
    fn stretch(&mut self, conn: &Connection, texts: &mut Spelled, name: &str, until: u64) -> Result<(), Trouble> {
        let range = (self.at.seq as i64, until as i64);
        let sql = |columns: &str, table: &str| {
            format!("SELECT {columns} FROM {table} WHERE seq > ?1 AND seq <= ?2 ORDER BY seq")
        };
        // All statements before all their rows: those must be dropped first.
        let mut of_requests = conn.prepare_cached(&sql(schema::request_columns(conn)?, "requests"))?;
        let mut of_actions = conn.prepare_cached(&sql("*", "actions"))?;
        let mut of_gaps = conn.prepare_cached(&sql("*", "gaps"))?;
        let (mut requests, mut actions, mut gaps): (Rows<'_>, Rows<'_>, Rows<'_>) =
            (of_requests.query(range)?, of_actions.query(range)?, of_gaps.query(range)?);
        let mut next = [advance(&mut requests)?, advance(&mut actions)?, advance(&mut gaps)?];
        while self.report.broken.is_none() {
            let Some((table, seq)) =
                next.iter().enumerate().filter_map(|(t, seq)| seq.map(|seq| (t, seq))).min_by_key(|n| n.1)
            else {
                if self.at.seq < until {
                    let reason = format!("missing: the rows {} to {until} were removed", self.at.seq + 1);
                    self.broken(self.at.seq + 1, name.to_owned(), reason);
                }
                return Ok(());
            };
            if next.iter().filter(|other| **other == Some(seq)).count() > 1 {
                self.broken(seq, name.to_owned(), "added: there are two rows of this number".to_owned());
                return Ok(());
            }
            if !self.follows(seq, name) {
                return Ok(());
            }
            let rows = match table {
                0 => &mut requests,
                1 => &mut actions,
                _ => &mut gaps,
            };
            let (canonical, before) = (&mut self.canonical, &self.at.link);
            let mut told: Option<GapRow> = None;
            let read = match (table, current(rows)) {
                (_, None) => Ok(None),
                (0, Some(row)) => rows::held(conn, texts, row, |seq, held, link| {
                    canonical_request(before, seq, held, canonical);
                    link
                }),
                (1, Some(row)) => rows::action(row).map(|(row, link)| {
                    canonical_action(before, row.seq, &row.facts, canonical);
                    link
                }),
                (_, Some(row)) => rows::gap(row).map(|(row, link)| {
                    canonical_gap(before, row.seq, &row.gap, canonical);
                    told = Some(row);
                    link
                }),
            };
            match read {
                Ok(link) => self.row(seq, link, name),
                Err(error) if is_of_content(&error) => {
                    self.broken(
                        seq,
                        name.to_owned(),
                        "changed: a value is of another kind than was written".to_owned(),
                    );
                }
                Err(error) => return Err(error.into()),
            }
            if self.report.broken.is_none() && self.report.gaps.len() < MOST_GAPS {
                self.report.gaps.extend(told);
            }
            if let Some(next) = next.get_mut(table) {
                *next = advance(rows)?;
            }
        }
        Ok(())
    }

    /// Whether the next row there is has the next number.
    fn follows(&mut self, seq: u64, name: &str) -> bool {
        let expected = self.at.seq + 1;
        if seq > expected {
            let reason = match seq - expected {
                1 => "missing: the row was removed".to_owned(),
                _ => format!("missing: the rows {expected} to {} were removed", seq - 1),
            };
            self.broken(expected, name.to_owned(), reason);
        }
        seq <= expected
    }

    /// Holds the next row, whose canonical bytes are made, against the one before it.
    fn row(&mut self, seq: u64, link: Option<Link>, name: &str) {
        let Some(link) = link else {
            return self.broken(seq, name.to_owned(), "added: the row has no link".to_owned());
        };
        if link != chain::link(&self.canonical) {
            let reason = "changed: the row is not what was written here, or was added later";
            return self.broken(seq, name.to_owned(), reason.to_owned());
        }
        if self.heads.iter().any(|head| head.seq == seq && head.link != link) {
            let reason = "changed: the chain up to this row is another than the one that the head was taken from";
            return self.broken(seq, name.to_owned(), reason.to_owned());
        }
        self.at = Predecessor { seq, link };
        self.report.rows += 1;
    }

    fn broken(&mut self, seq: u64, segment: String, reason: String) {
        self.report.intact = false;
        self.report.broken = Some(Broken { seq, segment, reason });
    }

    fn conclude(mut self) -> Result<AuditVerified, StoreError> {
        let Predecessor { seq, link } = self.at;
        self.report.last_seq = seq;
        self.report.head = Head { seq, link }.to_string();
        if self.report.intact {
            for head in self.heads.iter().filter(|head| head.seq <= self.start.seq) {
                if head.seq == 0 || (head.seq == self.start.seq && head.link == self.start.link) {
                    continue;
                }
                return Err(StoreError::Head(format!(
                    "row {} is gone by retention (the oldest kept is {}), so that this head proves nothing any more",
                    head.seq,
                    self.start.seq + 1
                )));
            }
        }
        Ok(self.report)
    }
}

enum Trouble {
    Sqlite(rusqlite::Error),
    Cancelled,
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Whether it is the row's content that is wrong, not the reading of it.
fn is_of_content(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::Utf8Error(..)
    )
}

/// Goes to the next row, and says its number.
fn advance(rows: &mut Rows<'_>) -> rusqlite::Result<Option<u64>> {
    rows.advance()?;
    current(rows).map(|row| row.get::<_, i64>(0).map(|seq| seq as u64)).transpose()
}

fn current<'a, 's>(rows: &'a Rows<'s>) -> Option<&'a rusqlite::Row<'s>> {
    rows.get()
}
