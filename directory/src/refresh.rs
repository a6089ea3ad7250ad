//! Refresh tokens: each is good once, and one that is used twice gives its whole family away (RFC 9700 section 4.14.2).

use rusqlite::{Connection, OptionalExtension, params};

use crate::{Directory, DirectoryError, bounds, secret, users};

/// Families of one account: who logs in once more ends the oldest login.
const FAMILIES: i64 = 100;

/// Tokens of one family that are remembered as used; older ones are unknown.
const REMEMBERED: i64 = 2_000;

/// What became of a refresh token that was presented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefreshUse {
    /// It was good, and is used now.
    Good {
        user_id: String,
        family: String,
    },
    /// It was used before: somebody else has it too. Its family is gone.
    Reused {
        user_id: String,
        family: String,
    },
    Unknown,
    Expired,
}

impl Directory {
    /// A new login of an account, and its first token, by its SHA-256. The family. Refused where the account is not what it was
    /// when its `epoch` was read: what was proved of it then says nothing of it now.
    pub fn refresh_begin(
        &mut self,
        user_id: &str,
        epoch: u32,
        hash: &[u8; 32],
        expires_s: i64,
        now_s: i64,
    ) -> Result<String, DirectoryError> {
        self.write(|tx| {
            users::unchanged(tx, user_id, epoch)?;
            let family = issue(tx, user_id, None, hash, expires_s, now_s)?;
            tx.prepare_cached("UPDATE users SET login_s = max(coalesce(login_s, ?2), ?2) WHERE id = ?1")?
                .execute(params![user_id, now_s])?;
            Ok(family)
        })
    }

    /// Uses a token up and, where it was good, keeps the next one in the same step: nobody is logged out by a crash in between.
    /// One that was used before takes its family with it.
    pub fn refresh_rotate(
        &mut self,
        hash: &[u8; 32],
        next: &[u8; 32],
        expires_s: i64,
        now_s: i64,
    ) -> Result<RefreshUse, DirectoryError> {
        self.write(|tx| {
            let used = spend(tx, hash, now_s)?;
            if let RefreshUse::Good { user_id, family } = &used {
                issue(tx, user_id, Some(family), next, expires_s, now_s)?;
            }
            Ok(used)
        })
    }

    /// Which login the token with this SHA-256 is of, used or not.
    pub fn refresh_family(&self, hash: &[u8; 32]) -> Result<Option<String>, DirectoryError> {
        self.read(|conn| {
            let mut family = conn.prepare_cached("SELECT family FROM refresh_tokens WHERE hash = ?1")?;
            Ok(family.query_row([hash], |row| row.get(0)).optional()?)
        })
    }

    /// Which login the token with this SHA-256 is of, where it was used already.
    pub fn refresh_used(&self, hash: &[u8; 32]) -> Result<Option<String>, DirectoryError> {
        self.read(|conn| {
            let sql = "SELECT family FROM refresh_tokens WHERE hash = ?1 AND used_s IS NOT NULL";
            Ok(conn.prepare_cached(sql)?.query_row([hash], |row| row.get(0)).optional()?)
        })
    }
}

fn issue(
    conn: &Connection,
    user_id: &str,
    family: Option<&str>,
    hash: &[u8; 32],
    expires_s: i64,
    now_s: i64,
) -> Result<String, DirectoryError> {
    bounds::room(conn, "refresh_tokens", "refresh tokens")?;
    let mut user = conn.prepare_cached("SELECT 1 FROM users WHERE id = ?1 AND disabled = 0")?;
    if !user.exists([user_id])? {
        return Err(DirectoryError::unknown("user", user_id));
    }
    let family = if let Some(family) = family {
        // Not one that was dropped in the meantime: it must not come back.
        let mut there = conn.prepare_cached("SELECT 1 FROM refresh_tokens WHERE family = ?1 AND user_id = ?2")?;
        if !there.exists([family, user_id])? {
            return Err(DirectoryError::unknown("family of refresh tokens", family));
        }
        conn.prepare_cached(
            "DELETE FROM refresh_tokens WHERE family = ?1 AND used_s IS NOT NULL AND rowid <= \
             (SELECT rowid FROM refresh_tokens WHERE family = ?1 ORDER BY rowid DESC LIMIT 1 OFFSET ?2)",
        )?
        .execute(params![family, REMEMBERED])?;
        family.to_owned()
    } else {
        conn.prepare_cached(
            "DELETE FROM refresh_tokens WHERE user_id = ?1 AND family IN (SELECT family FROM refresh_tokens \
             WHERE user_id = ?1 GROUP BY family ORDER BY max(rowid) DESC LIMIT -1 OFFSET ?2)",
        )?
        .execute(params![user_id, FAMILIES - 1])?;
        secret::id()?
    };
    conn.prepare_cached(
        "INSERT INTO refresh_tokens (hash, family, user_id, issued_s, expires_s) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![hash, family, user_id, now_s, expires_s])?;
    Ok(family)
}

/// Uses a token up.
pub(crate) fn spend(conn: &Connection, hash: &[u8; 32], now_s: i64) -> Result<RefreshUse, DirectoryError> {
    let mut found = conn
        .prepare_cached("SELECT user_id, family, expires_s, used_s IS NOT NULL FROM refresh_tokens WHERE hash = ?1")?;
    let token = found
        .query_row([hash], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?, row.get::<_, bool>(3)?))
        })
        .optional()?;
    let Some((user_id, family, expires_s, is_used)) = token else { return Ok(RefreshUse::Unknown) };
    if is_used {
        drop_family(conn, &family)?;
        return Ok(RefreshUse::Reused { user_id, family });
    }
    if expires_s <= now_s {
        return Ok(RefreshUse::Expired);
    }
    conn.prepare_cached("UPDATE refresh_tokens SET used_s = ?2 WHERE hash = ?1")?.execute(params![hash, now_s])?;
    Ok(RefreshUse::Good { user_id, family })
}

/// Ends one login. Whether there was one.
pub(crate) fn drop_family(conn: &Connection, family: &str) -> Result<bool, DirectoryError> {
    Ok(conn.prepare_cached("DELETE FROM refresh_tokens WHERE family = ?1")?.execute([family])? > 0)
}

/// Removes what has expired.
pub(crate) fn sweep(conn: &Connection, now_s: i64) -> Result<usize, DirectoryError> {
    Ok(conn.prepare_cached("DELETE FROM refresh_tokens WHERE expires_s <= ?1")?.execute([now_s])?)
}
