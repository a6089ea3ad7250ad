//! API keys.

use rusqlite::{Connection, Row, params};

use crate::secret::{self, KeyText};
use crate::{Directory, DirectoryError, bounds};

/// How long a key that has ended is still listed, and still told apart from one that never was: 90 days.
const REMEMBERED_S: i64 = 90 * 86_400;

/// The longest that an old key may go on beside the new one: 90 days.
const LONGEST_OVERLAP_S: i64 = 90 * 86_400;

/// A key, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// 16 hexadecimal digits; never changes.
    pub id: String,
    /// No other key that is still good has it.
    pub name: String,
    /// `pk_xxxxxxxx`: what may be seen of it.
    pub prefix: String,
    /// SHA-256 of the whole text.
    pub hash: [u8; 32],
    /// Its text before the last rotation, while that is still good.
    pub earlier: Option<Earlier>,
    /// For whom it acts; none: for itself.
    pub user: Option<String>,
    pub roles: Vec<String>,
    pub scopes: Vec<String>,
    /// So many requests in so many seconds.
    pub limit: Option<(u32, u64)>,
    pub created_s: i64,
    pub expires_s: Option<i64>,
    pub revoked_s: Option<i64>,
    pub used_s: Option<i64>,
    /// Who made it.
    pub by: String,
}

/// A key's text before its rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    pub prefix: String,
    pub hash: [u8; 32],
    pub until_s: i64,
}

/// A key to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewKey {
    pub name: String,
    pub user: Option<String>,
    pub roles: Vec<String>,
    pub scopes: Vec<String>,
    pub limit: Option<(u32, u64)>,
    pub expires_s: Option<i64>,
    /// Who makes it.
    pub by: String,
}

const COLUMNS: &str = "id, name, prefix, hash, earlier_prefix, earlier_hash, earlier_until_s, user, roles, scopes, \
                       limit_requests, limit_per_s, created_s, expires_s, revoked_s, used_s, by";

/// Not revoked, and not expired at `?1`.
const IS_LIVE: &str = "revoked_s IS NULL AND (expires_s IS NULL OR expires_s > ?1)";

impl KeyRow {
    /// Whether it is neither revoked nor expired.
    pub fn is_live(&self, now_s: i64) -> bool {
        self.revoked_s.is_none() && self.expires_s.is_none_or(|expires_s| expires_s > now_s)
    }

    fn read(row: &Row<'_>) -> Result<Self, DirectoryError> {
        let earlier =
            (row.get::<_, Option<String>>(4)?, row.get::<_, Option<[u8; 32]>>(5)?, row.get::<_, Option<i64>>(6)?);
        let earlier = match earlier {
            (Some(prefix), Some(hash), Some(until_s)) => Some(Earlier { prefix, hash, until_s }),
            _ => None,
        };
        let limit = row.get::<_, Option<u32>>(10)?.zip(row.get::<_, Option<i64>>(11)?);
        Ok(Self {
            id: row.get(0)?,
            name: row.get(1)?,
            prefix: row.get(2)?,
            hash: row.get(3)?,
            earlier,
            user: row.get(7)?,
            roles: bounds::read("api_keys", row.get_ref(8)?.as_str().map_err(rusqlite::Error::from)?)?,
            scopes: bounds::read("api_keys", row.get_ref(9)?.as_str().map_err(rusqlite::Error::from)?)?,
            limit: limit.map(|(requests, per_s)| (requests, per_s.max(1) as u64)),
            created_s: row.get(12)?,
            expires_s: row.get(13)?,
            revoked_s: row.get(14)?,
            used_s: row.get(15)?,
            by: row.get(16)?,
        })
    }
}

impl Directory {
    /// All keys, the oldest first; those that ended too, for a while.
    pub fn keys(&self) -> Result<Vec<KeyRow>, DirectoryError> {
        self.read(|conn| {
            let mut keys = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM api_keys ORDER BY created_s, id"))?;
            let mut rows = keys.query([])?;
            let mut all = Vec::new();
            while let Some(row) = rows.next()? {
                all.push(KeyRow::read(row)?);
            }
            Ok(all)
        })
    }

    /// One key: by its id, its name or its prefix.
    pub fn key(&self, which: &str, now_s: i64) -> Result<KeyRow, DirectoryError> {
        self.read(|conn| find(conn, which, now_s))
    }

    /// Makes a key. Its text is in the answer, and nowhere else.
    pub fn key_create(&mut self, new: NewKey, now_s: i64) -> Result<(KeyRow, KeyText), DirectoryError> {
        bounds::name("an API key's name", &new.name)?;
        if new.name.starts_with("pk_") {
            return Err(DirectoryError::invalid("an API key's name", "must not look like a key (pk_…)"));
        }
        if let Some(user) = &new.user {
            bounds::text("a user", user, bounds::NAME)?;
        }
        bounds::text("the actor", &new.by, bounds::TEXT)?;
        bounds::grants(&new.roles, &new.scopes)?;
        if new.limit.is_some_and(|(requests, per_s)| requests == 0 || per_s == 0 || i64::try_from(per_s).is_err()) {
            return Err(DirectoryError::invalid("an API key's limit", "must be at least one request in one second"));
        }
        if new.expires_s.is_some_and(|expires_s| expires_s <= now_s) {
            return Err(DirectoryError::invalid("an API key's expiry", "is in the past"));
        }
        let text = KeyText::draw()?;
        let row = KeyRow {
            id: secret::id()?,
            prefix: text.prefix().to_owned(),
            hash: secret::digest(text.reveal().as_bytes()),
            earlier: None,
            name: new.name,
            user: new.user,
            roles: new.roles,
            scopes: new.scopes,
            limit: new.limit,
            created_s: now_s,
            expires_s: new.expires_s,
            revoked_s: None,
            used_s: None,
            by: new.by,
        };
        self.write(|tx| {
            bounds::room(tx, "api_keys", "API keys")?;
            let same = format!("SELECT 1 FROM api_keys WHERE {IS_LIVE} AND name_key = ?2");
            if tx.prepare_cached(&same)?.exists(params![now_s, bounds::fold(&row.name)])? {
                return Err(DirectoryError::taken("API key", &row.name));
            }
            tx.prepare_cached(
                "INSERT INTO api_keys (id, name, name_key, prefix, hash, user, roles, scopes, limit_requests, limit_per_s, \
                 created_s, expires_s, by) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            )?
            .execute(params![
                row.id,
                row.name,
                bounds::fold(&row.name),
                row.prefix,
                row.hash,
                row.user,
                bounds::written(&row.roles),
                bounds::written(&row.scopes),
                row.limit.map(|limit| limit.0),
                row.limit.map(|limit| limit.1 as i64),
                row.created_s,
                row.expires_s,
                row.by,
            ])?;
            Ok(())
        })?;
        Ok((row, text))
    }

    /// Ends a key, and its text before the last rotation with it. One that was revoked already stays as it is.
    pub fn key_revoke(&mut self, which: &str, now_s: i64) -> Result<KeyRow, DirectoryError> {
        self.write(|tx| {
            let row = find(tx, which, now_s)?;
            tx.prepare_cached("UPDATE api_keys SET revoked_s = coalesce(revoked_s, ?2) WHERE id = ?1")?
                .execute(params![row.id, now_s])?;
            find(tx, &row.id, now_s)
        })
    }

    /// Gives a key another text; the old one goes on for `overlap_s`. Of two rotations in that time only the later one's overlap
    /// counts: a key never has more than two texts.
    pub fn key_rotate(&mut self, which: &str, overlap_s: u64, now_s: i64) -> Result<(KeyRow, KeyText), DirectoryError> {
        let overlap_s = i64::try_from(overlap_s).unwrap_or(i64::MAX);
        if overlap_s > LONGEST_OVERLAP_S {
            return Err(DirectoryError::invalid("the overlap", "is longer than 90 days"));
        }
        let text = KeyText::draw()?;
        self.write(|tx| {
            let row = find(tx, which, now_s)?;
            if !row.is_live(now_s) {
                return Err(DirectoryError::Ended { which: which.to_owned() });
            }
            tx.prepare_cached(
                "UPDATE api_keys SET prefix = ?2, hash = ?3, earlier_prefix = ?4, earlier_hash = ?5, earlier_until_s = ?6 \
                 WHERE id = ?1",
            )?
            .execute(params![
                row.id,
                text.prefix(),
                secret::digest(text.reveal().as_bytes()),
                (overlap_s > 0).then_some(&row.prefix),
                (overlap_s > 0).then_some(row.hash),
                (overlap_s > 0).then(|| now_s.saturating_add(overlap_s)),
            ])?;
            Ok((find(tx, &row.id, now_s)?, text))
        })
    }

    /// Notes when keys were last used: id and time. Never back in time, so that two processes may both write.
    pub fn keys_used(&mut self, used: &[(String, i64)]) -> Result<(), DirectoryError> {
        self.write(|tx| {
            let mut note =
                tx.prepare_cached("UPDATE api_keys SET used_s = max(coalesce(used_s, ?2), ?2) WHERE id = ?1")?;
            for (id, used_s) in used {
                note.execute(params![id, used_s])?;
            }
            Ok(())
        })
    }
}

/// By id, else by the name of one that is good, else by prefix, else by the name of the newest that ended.
fn find(conn: &Connection, which: &str, now_s: i64) -> Result<KeyRow, DirectoryError> {
    let all = |condition: &str, value: &str| -> Result<Vec<KeyRow>, DirectoryError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM api_keys WHERE ?1 IS NOT NULL AND {condition} ORDER BY created_s DESC, rowid DESC LIMIT 2"
        );
        let mut keys = conn.prepare_cached(&sql)?;
        let mut rows = keys.query(params![now_s, value])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(KeyRow::read(row)?);
        }
        Ok(found)
    };
    let folded = bounds::fold(which);
    if let Some(row) = all("id = ?2", which)?.into_iter().next() {
        return Ok(row);
    }
    if let Some(row) = all(&format!("name_key = ?2 AND {IS_LIVE}"), &folded)?.into_iter().next() {
        return Ok(row);
    }
    let mut of_prefix = all("(prefix = ?2 OR earlier_prefix = ?2)", which)?;
    if of_prefix.len() > 1 {
        return Err(DirectoryError::Ambiguous { which: which.to_owned() });
    }
    if let Some(row) = of_prefix.pop() {
        return Ok(row);
    }
    all("name_key = ?2", &folded)?.into_iter().next().ok_or_else(|| DirectoryError::unknown("API key", which))
}

/// Removes keys that ended long ago, and texts whose overlap is over.
pub(crate) fn sweep(conn: &Connection, now_s: i64) -> Result<usize, DirectoryError> {
    conn.prepare_cached(
        "UPDATE api_keys SET earlier_prefix = NULL, earlier_hash = NULL, earlier_until_s = NULL \
         WHERE earlier_prefix IS NOT NULL AND earlier_until_s <= ?1",
    )?
    .execute([now_s])?;
    let mut ended = conn.prepare_cached("DELETE FROM api_keys WHERE revoked_s <= ?1 OR expires_s <= ?1")?;
    Ok(ended.execute([now_s.saturating_sub(REMEMBERED_S)])?)
}
