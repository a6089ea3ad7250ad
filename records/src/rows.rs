//! How rows are read back: as borrowed facts, so that proving a chain allocates nothing per row.

use std::collections::HashMap;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row as SqlRow};
use shared::audit::{ActionFacts, ActionRow, Door, Gap, GapRow, Link, RequestFacts};

/// The columns of `requests`, in the order in which [`request`] reads them.
pub(crate) const REQUEST_COLUMNS: &str = "seq, time_us, status, method, path, query, client, request_id, scheme, \
    listener, host, protocol, route, upstream, endpoint, outcome, principal, user_agent, matched, bytes_in, bytes_out, \
    duration_us, upstream_us, attempts, generation, link";

/// Where the interned columns stand in it.
const INTERNED: std::ops::Range<usize> = 8..18;

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
    let number = |column: usize| row.get::<_, i64>(column).map(|number| number as u64);
    let facts = RequestFacts {
        time_us: row.get(1)?,
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
    };
    Ok(visit(number(0)?, &facts, link(row, 25)?))
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
