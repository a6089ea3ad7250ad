//! The table `meta`: what a segment says of itself.

use rusqlite::types::FromSql;
use rusqlite::{Connection, OptionalExtension, ToSql};
use shared::audit::Link;

use crate::schema::Predecessor;

/// Writes one value.
pub(crate) fn set(conn: &Connection, name: &str, value: impl ToSql) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)")?.execute((name, value)).map(drop)
}

/// Reads one value; absent and of another type are the same.
pub(crate) fn get<T: FromSql>(conn: &Connection, name: &str) -> rusqlite::Result<Option<T>> {
    let row = conn
        .prepare_cached("SELECT value FROM meta WHERE name = ?1")?
        .query_row([name], |row| Ok(row.get::<_, T>(0).ok()))
        .optional()?;
    Ok(row.flatten())
}

/// A sequence number.
pub(crate) fn seq(conn: &Connection, name: &str) -> rusqlite::Result<Option<u64>> {
    Ok(get::<i64>(conn, name)?.map(|seq| seq as u64))
}

/// What the segment follows.
pub(crate) fn predecessor(conn: &Connection) -> rusqlite::Result<Predecessor> {
    Ok(Predecessor {
        seq: seq(conn, "previous_seq")?.unwrap_or_default(),
        link: get::<Link>(conn, "previous_link")?.unwrap_or_default(),
    })
}

/// The segment's newest row, by its tables. None: it has no rows.
pub(crate) fn newest(conn: &Connection) -> rusqlite::Result<Option<(u64, Option<Link>)>> {
    let sql = "SELECT seq, link FROM (SELECT * FROM (SELECT seq, link FROM requests ORDER BY seq DESC LIMIT 1) \
               UNION ALL SELECT * FROM (SELECT seq, link FROM actions ORDER BY seq DESC LIMIT 1) \
               UNION ALL SELECT * FROM (SELECT seq, link FROM gaps ORDER BY seq DESC LIMIT 1)) ORDER BY seq DESC LIMIT 1";
    conn.prepare_cached(sql)?
        .query_row([], |row| Ok((row.get::<_, i64>(0)? as u64, row.get::<_, Link>(1).ok())))
        .optional()
}

/// The earliest and latest time of the rows from `first_seq` on. None: there are none.
pub(crate) fn times(conn: &Connection, first_seq: u64) -> rusqlite::Result<Option<(i64, i64)>> {
    let sql = "SELECT min(a), max(b) FROM (SELECT min(time_us) a, max(time_us) b FROM requests WHERE seq >= ?1 \
               UNION ALL SELECT min(time_us), max(time_us) FROM actions WHERE seq >= ?1 \
               UNION ALL SELECT min(time_us), max(time_us) FROM gaps WHERE seq >= ?1)";
    conn.query_row(sql, [first_seq as i64], |row| Ok(row.get::<_, Option<i64>>(0)?.zip(row.get::<_, Option<i64>>(1)?)))
}

/// The smallest sequence number of the segment's tables.
pub(crate) fn oldest(conn: &Connection) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT min(seq) FROM (SELECT min(seq) AS seq FROM requests UNION ALL SELECT min(seq) FROM actions \
               UNION ALL SELECT min(seq) FROM gaps)";
    conn.query_row(sql, [], |row| row.get(0))
}
