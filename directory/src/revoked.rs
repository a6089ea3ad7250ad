//! Tokens that are not good any more, though they have not expired.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::{Directory, DirectoryError, bounds, refresh};

/// The provider of logins that have ended: their `jti` is the family of their refresh tokens.
pub const LOGINS: &str = "accounts.login";

/// A revoked token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedRow {
    /// Whose it is: `jwt.main`, `accounts`, or `*` for every provider.
    pub provider: String,
    pub jti: String,
    /// When it would have expired: it need not be remembered longer.
    pub expires_s: i64,
    pub revoked_s: i64,
    /// Who revoked it.
    pub by: String,
}

impl RevokedRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            provider: row.get(0)?,
            jti: row.get(1)?,
            expires_s: row.get(2)?,
            revoked_s: row.get(3)?,
            by: row.get(4)?,
        })
    }

    /// Whether it can be kept at all: what its texts may hold.
    pub fn check(&self) -> Result<(), DirectoryError> {
        bounds::text("a provider", &self.provider, bounds::NAME)?;
        jti(&self.jti)?;
        bounds::text("the actor", &self.by, bounds::TEXT)
    }
}

/// Whether a token with this `jti` can be revoked: whoever takes tokens takes no others.
pub fn is_revocable(jti: &str) -> bool {
    self::jti(jti).is_ok()
}

fn jti(jti: &str) -> Result<(), DirectoryError> {
    bounds::text("a token's jti", jti, bounds::TEXT)
}

impl Directory {
    /// What is revoked and has not expired.
    pub fn revoked(&self, now_s: i64) -> Result<Vec<RevokedRow>, DirectoryError> {
        self.read(|conn| {
            let mut revoked = conn.prepare_cached(
                "SELECT provider, jti, expires_s, revoked_s, by FROM revoked_tokens WHERE expires_s > ?1 \
                 ORDER BY revoked_s, provider, jti",
            )?;
            let rows = revoked.query_map([now_s], RevokedRow::read)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Those that come after this one, by provider and `jti`; no more than `most`.
    pub fn revoked_after(
        &self,
        provider: &str,
        jti: &str,
        now_s: i64,
        most: usize,
    ) -> Result<Vec<RevokedRow>, DirectoryError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        self.read(|conn| {
            let mut revoked = conn.prepare_cached(
                "SELECT provider, jti, expires_s, revoked_s, by FROM revoked_tokens \
                 WHERE (provider, jti) > (?1, ?2) AND expires_s > ?3 ORDER BY provider, jti LIMIT ?4",
            )?;
            let rows = revoked.query_map(params![provider, jti, now_s, most], RevokedRow::read)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// One of them, if it has not expired.
    pub fn revoked_one(&self, provider: &str, jti: &str, now_s: i64) -> Result<Option<RevokedRow>, DirectoryError> {
        self.read(|conn| {
            let mut one = conn.prepare_cached(
                "SELECT provider, jti, expires_s, revoked_s, by FROM revoked_tokens \
                 WHERE provider = ?1 AND jti = ?2 AND expires_s > ?3",
            )?;
            Ok(one.query_row(params![provider, jti, now_s], RevokedRow::read).optional()?)
        })
    }

    /// Revokes a token. Once more: it is remembered until the later of the two expiries. A login that ends so takes its refresh
    /// tokens along.
    pub fn revoke(&mut self, row: &RevokedRow) -> Result<(), DirectoryError> {
        row.check()?;
        self.write(|tx| put(tx, row))
    }

    /// Revokes these tokens in one step, as far as there is room: how many of them, from the first on.
    pub fn revoke_all(&mut self, rows: &[RevokedRow]) -> Result<usize, DirectoryError> {
        rows.iter().try_for_each(RevokedRow::check)?;
        self.write(|tx| {
            for (before, row) in rows.iter().enumerate() {
                match put(tx, row) {
                    Ok(()) => {}
                    Err(DirectoryError::Full { .. }) if before > 0 => return Ok(before),
                    Err(error) => return Err(error),
                }
            }
            Ok(rows.len())
        })
    }
}

fn put(tx: &Connection, row: &RevokedRow) -> Result<(), DirectoryError> {
    // What is there already needs no room.
    let again = "UPDATE revoked_tokens SET expires_s = max(expires_s, ?3) WHERE provider = ?1 AND jti = ?2";
    if tx.prepare_cached(again)?.execute(params![row.provider, row.jti, row.expires_s])? == 0 {
        bounds::room(tx, "revoked_tokens", "revoked tokens")?;
        tx.prepare_cached(
            "INSERT INTO revoked_tokens (provider, jti, expires_s, revoked_s, by) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![row.provider, row.jti, row.expires_s, row.revoked_s, row.by])?;
    }
    if row.provider == LOGINS {
        refresh::drop_family(tx, &row.jti)?;
    }
    Ok(())
}

/// Removes what has expired.
pub(crate) fn sweep(conn: &Connection, now_s: i64) -> Result<usize, DirectoryError> {
    Ok(conn.prepare_cached("DELETE FROM revoked_tokens WHERE expires_s <= ?1")?.execute([now_s])?)
}
