//! Login sessions that are kept here, not in their cookie.

use rusqlite::{Connection, OptionalExtension, params};

use crate::{Directory, DirectoryError, bounds};

/// Bytes of what a session holds.
const PAYLOAD: usize = 64 << 10;

/// A session, as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// SHA-256 of the id that its cookie holds.
    pub id: [u8; 32],
    pub payload: Vec<u8>,
    /// Without a request until then it ends.
    pub idle_until_s: i64,
    /// It ends then in any case.
    pub ends_s: i64,
    /// When it was used last; none of what an earlier version has written.
    pub seen_s: Option<i64>,
}

impl std::fmt::Debug for SessionRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionRow")
            .field("idle_until_s", &self.idle_until_s)
            .field("ends_s", &self.ends_s)
            .finish_non_exhaustive()
    }
}

impl Directory {
    /// Keeps a session, in place of what was kept under its id.
    pub fn session_put(&mut self, row: &SessionRow) -> Result<(), DirectoryError> {
        fits(row)?;
        self.write(|tx| {
            bounds::room(tx, "sessions", "sessions")?;
            tx.prepare_cached(
                "INSERT INTO sessions (id, payload, idle_until_s, ends_s, seen_s) VALUES (?1, ?2, ?3, ?4, ?5) \
                 ON CONFLICT DO UPDATE SET payload = excluded.payload, idle_until_s = excluded.idle_until_s, \
                 ends_s = excluded.ends_s, seen_s = excluded.seen_s",
            )?
            .execute(params![row.id, row.payload, row.idle_until_s, row.ends_s, row.seen_s])?;
            Ok(())
        })
    }

    /// Keeps a session in place of the one that there is under its id. False: that one has ended, and stays so.
    pub fn session_replace(&mut self, row: &SessionRow, now_s: i64) -> Result<bool, DirectoryError> {
        fits(row)?;
        self.write(|tx| {
            let sql = "UPDATE sessions SET payload = ?2, idle_until_s = ?3, ends_s = ?4, seen_s = ?5 \
                       WHERE id = ?1 AND idle_until_s > ?6 AND ends_s > ?6";
            let values = params![row.id, row.payload, row.idle_until_s, row.ends_s, row.seen_s, now_s];
            Ok(tx.prepare_cached(sql)?.execute(values)? > 0)
        })
    }

    /// A session that has not ended.
    pub fn session_get(&self, id: &[u8; 32], now_s: i64) -> Result<Option<SessionRow>, DirectoryError> {
        self.read(|conn| {
            let mut session = conn.prepare_cached(
                "SELECT id, payload, idle_until_s, ends_s, seen_s FROM sessions \
                 WHERE id = ?1 AND idle_until_s > ?2 AND ends_s > ?2",
            )?;
            let found = session.query_row(params![id, now_s], |row| {
                Ok(SessionRow {
                    id: row.get(0)?,
                    payload: row.get(1)?,
                    idle_until_s: row.get(2)?,
                    ends_s: row.get(3)?,
                    seen_s: row.get(4)?,
                })
            });
            Ok(found.optional()?)
        })
    }

    /// Notes now as the last use of a session that has not ended, and lets it go on until then; never shorter. Whether there is
    /// one. To be called now and then, not with each request: it waits for the disk.
    pub fn session_touch(&mut self, id: &[u8; 32], idle_until_s: i64, now_s: i64) -> Result<bool, DirectoryError> {
        self.write(|tx| {
            let sql = "UPDATE sessions SET idle_until_s = max(idle_until_s, ?2), seen_s = max(coalesce(seen_s, ?3), ?3) \
                       WHERE id = ?1 AND idle_until_s > ?3 AND ends_s > ?3";
            Ok(tx.prepare_cached(sql)?.execute(params![id, idle_until_s, now_s])? > 0)
        })
    }

    /// Ends a session. Whether there was one.
    pub fn session_remove(&mut self, id: &[u8; 32]) -> Result<bool, DirectoryError> {
        self.write(|tx| Ok(tx.prepare_cached("DELETE FROM sessions WHERE id = ?1")?.execute([id])? > 0))
    }
}

fn fits(row: &SessionRow) -> Result<(), DirectoryError> {
    if row.payload.len() > PAYLOAD {
        return Err(DirectoryError::invalid("a session", format!("holds more than {PAYLOAD} bytes")));
    }
    Ok(())
}

/// Removes what has ended.
pub(crate) fn sweep(conn: &Connection, now_s: i64) -> Result<usize, DirectoryError> {
    Ok(conn.prepare_cached("DELETE FROM sessions WHERE idle_until_s <= ?1 OR ends_s <= ?1")?.execute([now_s])?)
}
