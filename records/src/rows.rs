//! How rows are read back: as borrowed facts, so that proving a chain allocates nothing per row.

use std::collections::HashMap;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row as SqlRow};
use shared::audit::chain::{Held, HeldRequest, INTERNED as INTERNED_TEXTS};
use shared::audit::{ActionFacts, ActionRow, Door, Gap, GapRow, Link, RequestFacts};

/// Where the interned columns stand in [`crate::schema::REQUEST_COLUMNS`].
const INTERNED: [usize; INTERNED_TEXTS] = [8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 27];

/// Texts held at once; beyond that they are looked up again.
const HELD: usize = 65_536;

/// A segment's interned texts, looked up as they are met.
#[derive(Debug, Default)]
pub(crate) struct Lookup {
    texts: HashMap<i64, String>,
}

impl Lookup {
    fn learn(&mut self, conn: &Connection, row: &SqlRow<'_>) -> rusqlite::Result<()> {
        if self.texts.len() + INTERNED.len() > HELD {
            self.texts.clear();
        }
        for column in INTERNED {
            if let ValueRef::Integer(number) = row.get_ref(column)?
                && !self.texts.contains_key(&number)
            {
                let mut statement = conn.prepare_cached("SELECT text FROM texts WHERE id = ?1")?;
                let mut found = statement.query([number])?;
                // A number without a text was tampered with: it reads as empty, and the chain tells.
                let text = found.next()?.map(|row| row.get(0)).transpose()?.unwrap_or_default();
                self.texts.insert(number, text);
            }
        }
        Ok(())
    }

    fn text<'a>(&'a self, row: &'a SqlRow<'_>, column: usize) -> rusqlite::Result<&'a str> {
        Ok(match row.get_ref(column)? {
            ValueRef::Integer(number) => self.texts.get(&number).map_or("", String::as_str),
            value @ (ValueRef::Text(_) | ValueRef::Null | ValueRef::Real(_) | ValueRef::Blob(_)) => plain(value),
        })
    }
}

/// A text that may be absent. What is no text was put there by hand: it reads as empty, and the chain tells.
fn plain(value: ValueRef<'_>) -> &str {
    value.as_str_or_null().ok().flatten().unwrap_or_default()
}

/// A number. What is none was put there by hand: it reads as nothing, and the chain tells.
fn whole(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get_ref(column)?.as_i64().unwrap_or_default() as u64)
}

/// A link; none: the column holds no such thing.
fn link(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Option<Link>> {
    Ok(row.get_ref(column)?.as_blob_or_null().ok().flatten().and_then(|bytes| bytes.try_into().ok()))
}

/// Hands a row of `requests` to `visit`.
pub(crate) fn request<T>(
    conn: &Connection,
    lookup: &mut Lookup,
    row: &SqlRow<'_>,
    visit: impl FnOnce(u64, &RequestFacts<'_>, Option<Link>) -> T,
) -> rusqlite::Result<T> {
    lookup.learn(conn, row)?;
    let mut hex = [0; 32];
    let id = row.get_ref(7)?;
    let request_id = match id {
        ValueRef::Blob(packed) if packed.len() == 16 => {
            for (to, byte) in hex.chunks_exact_mut(2).zip(packed) {
                to.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
            }
            std::str::from_utf8(&hex).unwrap_or_default()
        }
        ValueRef::Blob(_) | ValueRef::Text(_) | ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => plain(id),
    };
    let number = |column: usize| whole(row, column);
    let facts = RequestFacts {
        time_us: number(1)? as i64,
        status: number(2)? as u16,
        method: plain(row.get_ref(3)?),
        path: plain(row.get_ref(4)?),
        query: plain(row.get_ref(5)?),
        client: plain(row.get_ref(6)?),
        request_id,
        scheme: lookup.text(row, 8)?,
        listener: lookup.text(row, 9)?,
        host: lookup.text(row, 10)?,
        protocol: lookup.text(row, 11)?,
        route: lookup.text(row, 12)?,
        upstream: lookup.text(row, 13)?,
        endpoint: lookup.text(row, 14)?,
        outcome: lookup.text(row, 15)?,
        principal: lookup.text(row, 16)?,
        user_agent: lookup.text(row, 17)?,
        matched: plain(row.get_ref(18)?),
        bytes_in: number(19)?,
        bytes_out: number(20)?,
        duration_us: number(21)?,
        upstream_us: number(22)?,
        attempts: number(23)? as u32,
        generation: number(24)?,
        tries: plain(row.get_ref(26)?),
        credential: lookup.text(row, 27)?,
    };
    Ok(visit(number(0)?, &facts, link(row, 25)?))
}

/// The texts that the rows of a segment have spelled out so far, as a proof goes through them.
#[derive(Debug, Default)]
pub(crate) struct Spelled {
    /// The highest number met.
    newest: u64,
    /// Those that the present row spells out.
    fresh: [String; INTERNED_TEXTS],
}

/// Hands a row of `requests` to `visit` as it is held, for its proof. A value of another kind than is ever written is an
/// error: nothing that a reader would see differently may read the same here.
pub(crate) fn held<T>(
    conn: &Connection,
    spelled: &mut Spelled,
    row: &SqlRow<'_>,
    visit: impl FnOnce(u64, &HeldRequest<'_>, Option<Link>) -> T,
) -> rusqlite::Result<T> {
    let mut numbers = [0; INTERNED_TEXTS];
    let before = spelled.newest;
    for ((column, number), text) in INTERNED.into_iter().zip(&mut numbers).zip(&mut spelled.fresh) {
        if let ValueRef::Integer(found) = row.get_ref(column)? {
            *number = found as u64;
            if *number == spelled.newest + 1 {
                spelled.newest = *number;
                *text = conn
                    .prepare_cached("SELECT text FROM texts WHERE id = ?1")?
                    .query_row([found], |row| row.get(0))
                    .map_err(|_| odd(column, row))?;
            } else if !(1..=spelled.newest).contains(number) {
                return Err(odd(column, row));
            }
        }
    }
    let mut interned = [Held::Empty; INTERNED_TEXTS];
    let mut newest = before;
    for (((held, number), text), column) in interned.iter_mut().zip(numbers).zip(&spelled.fresh).zip(INTERNED) {
        *held = if number > newest {
            newest = number;
            Held::First(number, text)
        } else if number > 0 {
            Held::Known(number)
        } else {
            match exact(row, column)? {
                "" => Held::Empty,
                text => Held::Inline(text),
            }
        };
    }
    let packed_id = match row.get_ref(7)? {
        ValueRef::Blob(packed) => Some(packed.try_into().map_err(|_| odd(7, row))?),
        ValueRef::Text(_) | ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => None,
    };
    let number = |column: usize| row.get::<_, i64>(column).map(|number| number as u64);
    let facts = RequestFacts {
        time_us: row.get(1)?,
        status: row.get(2)?,
        method: exact(row, 3)?,
        path: exact(row, 4)?,
        query: exact(row, 5)?,
        client: exact(row, 6)?,
        request_id: if packed_id.is_some() { "" } else { exact(row, 7)? },
        matched: exact(row, 18)?,
        bytes_in: number(19)?,
        bytes_out: number(20)?,
        duration_us: number(21)?,
        upstream_us: number(22)?,
        attempts: row.get(23)?,
        generation: number(24)?,
        tries: exact(row, 26)?,
        ..RequestFacts::default()
    };
    let held = HeldRequest { facts: &facts, packed_id, interned: &interned };
    Ok(visit(number(0)?, &held, link(row, 25)?))
}

/// A text, or NULL for the empty one, and nothing else.
fn exact<'a>(row: &'a SqlRow<'_>, column: usize) -> rusqlite::Result<&'a str> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(""),
        value @ (ValueRef::Text(_) | ValueRef::Blob(_) | ValueRef::Integer(_) | ValueRef::Real(_)) => {
            value.as_str().ok().filter(|text| !text.is_empty()).ok_or_else(|| odd(column, row))
        }
    }
}

fn odd(column: usize, row: &SqlRow<'_>) -> rusqlite::Error {
    let kind = row.get_ref(column).map_or(rusqlite::types::Type::Null, |value| value.data_type());
    rusqlite::Error::InvalidColumnType(column, String::new(), kind)
}

fn digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

/// Reads a row of `SELECT * FROM actions`.
pub(crate) fn action(row: &SqlRow<'_>) -> rusqlite::Result<(ActionRow, Option<Link>)> {
    let number = |column: usize| row.get::<_, i64>(column).map(|number| number as u64);
    let facts = ActionFacts {
        time_us: row.get(1)?,
        // No word is stored that is not a door's; one put there by hand reads as another, and the chain tells.
        door: Door::of(plain(row.get_ref(2)?)).unwrap_or(Door::Start),
        actor: row.get(3)?,
        command: row.get(4)?,
        arguments: row.get(5)?,
        outcome: row.get(6)?,
        message: row.get(7)?,
        generation_before: number(8)?,
        generation_after: number(9)?,
        changes: row.get(10)?,
    };
    Ok((ActionRow { seq: number(0)?, facts }, link(row, 11)?))
}

/// Reads a row of `SELECT * FROM gaps`.
pub(crate) fn gap(row: &SqlRow<'_>) -> rusqlite::Result<(GapRow, Option<Link>)> {
    let gap = Gap {
        time_us: row.get(1)?,
        missing: row.get::<_, Option<i64>>(2)?.map(|missing| missing as u64),
        from_us: row.get(3)?,
        until_us: row.get(4)?,
        reason: row.get(5)?,
    };
    Ok((GapRow { seq: row.get::<_, i64>(0)? as u64, gap }, link(row, 6)?))
}
