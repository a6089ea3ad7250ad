//! Tokens that are sent by mail, and good once: to reset a password, to verify an address.

use rusqlite::{Connection, OptionalExtension, params};

use crate::{Directory, DirectoryError, bounds};

/// Of one kind and account: a further one ends the oldest.
const EACH: i64 = 5;

impl Directory {
    /// Keeps a token by its SHA-256. `kind` says what it is for: `reset`, `verify`.
    pub fn one_time_put(
        &mut self,
        kind: &str,
        hash: &[u8; 32],
        user_id: &str,
        expires_s: i64,
    ) -> Result<(), DirectoryError> {
        bounds::text("a token's kind", kind, bounds::NAME)?;
        self.write(|tx| {
            bounds::room(tx, "one_time_tokens", "tokens of one use")?;
            if !tx.prepare_cached("SELECT 1 FROM users WHERE id = ?1")?.exists([user_id])? {
                return Err(DirectoryError::unknown("user", user_id));
            }
            tx.prepare_cached(
                "DELETE FROM one_time_tokens WHERE rowid IN (SELECT rowid FROM one_time_tokens \
                 WHERE user_id = ?1 AND kind = ?2 ORDER BY rowid DESC LIMIT -1 OFFSET ?3)",
            )?
            .execute(params![user_id, kind, EACH - 1])?;
            tx.prepare_cached("INSERT INTO one_time_tokens (hash, kind, user_id, expires_s) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![hash, kind, user_id, expires_s])?;
            Ok(())
        })
    }

    /// Whose token this is, where it is good. It stays so.
    pub fn one_time_look(&self, kind: &str, hash: &[u8; 32], now_s: i64) -> Result<Option<String>, DirectoryError> {
        self.read(|conn| find(conn, kind, hash, now_s))
    }
}

fn find(conn: &Connection, kind: &str, hash: &[u8; 32], now_s: i64) -> Result<Option<String>, DirectoryError> {
    let sql = "SELECT user_id FROM one_time_tokens WHERE hash = ?1 AND kind = ?2 AND expires_s > ?3";
    Ok(conn.prepare_cached(sql)?.query_row(params![hash, kind, now_s], |row| row.get(0)).optional()?)
}

/// Uses a token up: whose it was, where it was good. All others of its kind and account go with it.
pub(crate) fn take(conn: &Connection, kind: &str, hash: &[u8; 32], now_s: i64) -> Result<String, DirectoryError> {
    let user = find(conn, kind, hash, now_s)?.ok_or_else(|| DirectoryError::unknown("token", kind))?;
    conn.prepare_cached("DELETE FROM one_time_tokens WHERE user_id = ?1 AND kind = ?2")?
        .execute([user.as_str(), kind])?;
    Ok(user)
}

/// Removes what has expired.
pub(crate) fn sweep(conn: &Connection, now_s: i64) -> Result<usize, DirectoryError> {
    Ok(conn.prepare_cached("DELETE FROM one_time_tokens WHERE expires_s <= ?1")?.execute([now_s])?)
}
