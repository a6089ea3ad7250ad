//! Accounts.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::{Directory, DirectoryError, bounds, one_time, secret};

/// Bytes of a password's hash (PHC or modular crypt form).
const PASSWORD_HASH: usize = 512;

/// Accounts that go at a time: others wait for the file meanwhile.
pub(crate) const LAPSES: usize = 1000;

/// An account, as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct UserRow {
    /// 16 hexadecimal digits; never changes.
    pub id: String,
    /// As it was written; compared without case.
    pub name: String,
    /// As it was written; compared without case.
    pub email: Option<String>,
    /// In PHC form; none: nobody can log in with a password.
    pub password_hash: Option<String>,
    pub roles: Vec<String>,
    /// Whether the e-mail address is known to be theirs.
    pub verified: bool,
    pub disabled: bool,
    pub created_s: i64,
    pub changed_s: i64,
    /// The newest login.
    pub login_s: Option<i64>,
    /// Tokens of an earlier epoch are not good any more.
    pub epoch: u32,
}

impl std::fmt::Debug for UserRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the password's hash.
        f.debug_struct("UserRow")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("roles", &self.roles)
            .field("verified", &self.verified)
            .field("disabled", &self.disabled)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// An account to be made.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct NewUser {
    pub name: String,
    pub email: Option<String>,
    pub password_hash: Option<String>,
    pub roles: Vec<String>,
    pub verified: bool,
    /// It goes then, unless its address was verified or somebody logged in before; none: it stays.
    pub lapses_s: Option<i64>,
}

impl std::fmt::Debug for NewUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewUser").field("name", &self.name).field("roles", &self.roles).finish_non_exhaustive()
    }
}

/// What is to become of an account; what is not named stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserChange {
    /// An empty one: none any more. Another one is not verified, unless `verified` says so.
    pub email: Option<String>,
    /// Other ones end access tokens, which say the roles of before; a refresh brings one that says the new.
    pub roles: Option<Vec<String>>,
    pub verified: Option<bool>,
    /// An account that is disabled loses its tokens.
    pub disabled: Option<bool>,
}

const COLUMNS: &str = "id, name, email, password_hash, roles, verified, disabled, created_s, changed_s, login_s, epoch";

impl UserRow {
    fn read(row: &Row<'_>) -> Result<Self, DirectoryError> {
        Ok(Self {
            id: row.get(0)?,
            name: row.get(1)?,
            email: row.get(2)?,
            password_hash: row.get(3)?,
            roles: bounds::read("users", row.get_ref(4)?.as_str().map_err(rusqlite::Error::from)?)?,
            verified: row.get(5)?,
            disabled: row.get(6)?,
            created_s: row.get(7)?,
            changed_s: row.get(8)?,
            login_s: row.get(9)?,
            epoch: row.get(10)?,
        })
    }
}

impl Directory {
    /// All accounts, by name.
    pub fn users(&self) -> Result<Vec<UserRow>, DirectoryError> {
        self.read(|conn| {
            let mut users = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM users ORDER BY name_key"))?;
            let mut rows = users.query([])?;
            let mut all = Vec::new();
            while let Some(row) = rows.next()? {
                all.push(UserRow::read(row)?);
            }
            Ok(all)
        })
    }

    /// One account: by its name, its e-mail address or its id. No name is another's address or looks like an id.
    pub fn user(&self, which: &str) -> Result<Option<UserRow>, DirectoryError> {
        self.read(|conn| find(conn, which))
    }

    /// Makes an account.
    pub fn user_add(&mut self, new: NewUser, now_s: i64) -> Result<UserRow, DirectoryError> {
        bounds::name("a user's name", &new.name)?;
        bounds::grants(&new.roles, &[])?;
        if let Some(email) = &new.email {
            bounds::email(email)?;
        }
        if let Some(hash) = &new.password_hash {
            bounds::text("a password's hash", hash, PASSWORD_HASH)?;
        }
        let id = secret::id()?;
        self.write(|tx| {
            bounds::room(tx, "users", "accounts")?;
            free(tx, "user", &new.name, &id)?;
            if let Some(email) = &new.email {
                free(tx, "e-mail address", email, &id)?;
            }
            tx.prepare_cached(
                "INSERT INTO users (id, name, name_key, email, email_key, password_hash, roles, verified, disabled, \
                 created_s, changed_s, epoch) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, ?9, ?9, 0)",
            )?
            .execute(params![
                id,
                new.name,
                bounds::fold(&new.name),
                new.email,
                new.email.as_deref().map(bounds::fold),
                new.password_hash,
                bounds::written(&new.roles),
                new.verified,
                now_s,
            ])?;
            if let Some(lapses_s) = new.lapses_s {
                tx.prepare_cached("INSERT INTO lapses (user_id, lapses_s) VALUES (?1, ?2)")?
                    .execute(params![id, lapses_s])?;
            }
            known(tx, &id)
        })
    }

    /// Removes accounts whose time is over and that nobody used: neither verified nor logged in to, nor disabled by somebody who
    /// wants them kept so. A part of them at a time; their ids.
    pub fn users_lapse(&mut self, now_s: i64) -> Result<Vec<String>, DirectoryError> {
        self.write(|tx| {
            let mut over = tx.prepare_cached(
                "SELECT id FROM lapses JOIN users ON id = user_id WHERE lapses_s <= ?1 AND verified = 0 \
                 AND login_s IS NULL AND disabled = 0 LIMIT ?2",
            )?;
            let gone =
                over.query_map(params![now_s, LAPSES as i64], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
            for id in &gone {
                tx.prepare_cached("DELETE FROM users WHERE id = ?1")?.execute([id])?;
            }
            if gone.len() < LAPSES {
                // The others are used, and stay.
                tx.prepare_cached("DELETE FROM lapses WHERE lapses_s <= ?1")?.execute([now_s])?;
            }
            Ok(gone)
        })
    }

    /// Changes an account.
    pub fn user_set(&mut self, which: &str, change: UserChange, now_s: i64) -> Result<UserRow, DirectoryError> {
        let email = change.email.as_deref().filter(|email| !email.is_empty());
        if let Some(email) = email {
            bounds::email(email)?;
        }
        bounds::grants(change.roles.as_deref().unwrap_or_default(), &[])?;
        self.write(|tx| {
            let before = known(tx, which)?;
            if let Some(email) = email {
                free(tx, "e-mail address", email, &before.id)?;
            }
            let key = |email: Option<&str>| email.map(bounds::fold);
            let is_moved = change.email.is_some() && key(email) != key(before.email.as_deref());
            let email = if change.email.is_some() { email } else { before.email.as_deref() };
            let verified = change.verified.unwrap_or(before.verified && !is_moved) && email.is_some();
            let disabled = change.disabled.unwrap_or(before.disabled);
            let ends = disabled && !before.disabled;
            let is_regraded = change.roles.as_deref().is_some_and(|roles| set_of(roles) != set_of(&before.roles));
            tx.prepare_cached(
                "UPDATE users SET email = ?2, email_key = ?3, roles = ?4, verified = ?5, disabled = ?6, changed_s = ?7 \
                 WHERE id = ?1",
            )?
            .execute(params![
                before.id,
                email,
                key(email),
                bounds::written(change.roles.as_ref().unwrap_or(&before.roles)),
                verified,
                disabled,
                now_s,
            ])?;
            if ends || is_moved {
                // Letters that are under way went to somebody else.
                tx.prepare_cached("DELETE FROM one_time_tokens WHERE user_id = ?1")?.execute([&before.id])?;
            }
            if ends {
                sign_out(tx, &before.id)?;
            } else if is_regraded {
                raise_epoch(tx, &before.id)?;
            }
            known(tx, &before.id)
        })
    }

    /// Gives an account another password. Every token from before is not good any more.
    pub fn user_password(&mut self, which: &str, hash: &str, now_s: i64) -> Result<UserRow, DirectoryError> {
        bounds::text("a password's hash", hash, PASSWORD_HASH)?;
        self.write(|tx| {
            let before = known(tx, which)?;
            set_password(tx, &before.id, hash, now_s)
        })
    }

    /// The same by the account itself, which proved the password that it had when its `epoch` was read. Refused where the account
    /// is another since: else who knows the password of before could take a new one away.
    pub fn user_password_since(
        &mut self,
        id: &str,
        epoch: u32,
        hash: &str,
        now_s: i64,
    ) -> Result<UserRow, DirectoryError> {
        bounds::text("a password's hash", hash, PASSWORD_HASH)?;
        self.write(|tx| {
            unchanged(tx, id, epoch)?;
            set_password(tx, id, hash, now_s)
        })
    }

    /// The same by whoever has a token that was sent to the account's address, which is theirs then. In one step: the token is good
    /// until the password is set, and not a moment longer.
    pub fn user_reset(
        &mut self,
        kind: &str,
        token: &[u8; 32],
        hash: &str,
        now_s: i64,
    ) -> Result<UserRow, DirectoryError> {
        bounds::text("a password's hash", hash, PASSWORD_HASH)?;
        self.write(|tx| {
            let id = one_time::take(tx, kind, token, now_s)?;
            if known(tx, &id)?.disabled {
                return Err(DirectoryError::unknown("user", &id));
            }
            note_verified(tx, &id, now_s)?;
            set_password(tx, &id, hash, now_s)
        })
    }

    /// Uses up a token that was sent to an account's address: the address is its own.
    pub fn user_verify(&mut self, kind: &str, token: &[u8; 32], now_s: i64) -> Result<UserRow, DirectoryError> {
        self.write(|tx| {
            let id = one_time::take(tx, kind, token, now_s)?;
            note_verified(tx, &id, now_s)?;
            known(tx, &id)
        })
    }

    /// Ends every token of an account: the epoch is raised, and refresh tokens go.
    pub fn user_sign_out(&mut self, which: &str) -> Result<UserRow, DirectoryError> {
        self.write(|tx| {
            let before = known(tx, which)?;
            sign_out(tx, &before.id)?;
            known(tx, &before.id)
        })
    }

    /// Removes an account and all that belongs to it, and says what it was.
    pub fn user_remove(&mut self, which: &str) -> Result<UserRow, DirectoryError> {
        self.write(|tx| {
            let before = known(tx, which)?;
            tx.prepare_cached("DELETE FROM users WHERE id = ?1")?.execute([&before.id])?;
            Ok(before)
        })
    }
}

fn find(conn: &Connection, which: &str) -> Result<Option<UserRow>, DirectoryError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM users WHERE id = ?1 OR name_key = ?2 OR email_key = ?2 \
         ORDER BY id = ?1 DESC, name_key = ?2 DESC LIMIT 1"
    );
    let mut users = conn.prepare_cached(&sql)?;
    let mut rows = users.query(params![which, bounds::fold(which)])?;
    rows.next()?.map(UserRow::read).transpose()
}

fn known(conn: &Connection, which: &str) -> Result<UserRow, DirectoryError> {
    find(conn, which)?.ok_or_else(|| DirectoryError::unknown("user", which))
}

/// Whether nobody but `id` goes by this name or address. Of both together: whoever took another's address for a name would be
/// found in their place.
fn free(conn: &Connection, what: &'static str, text: &str, id: &str) -> Result<(), DirectoryError> {
    let mut same = conn.prepare_cached("SELECT 1 FROM users WHERE id <> ?1 AND (name_key = ?2 OR email_key = ?2)")?;
    let other = same.query_row(params![id, bounds::fold(text)], |_| Ok(())).optional()?;
    if other.is_none() { Ok(()) } else { Err(DirectoryError::taken(what, text)) }
}

/// Whether an account may be let in, and its tokens are still those of this epoch.
pub(crate) fn unchanged(conn: &Connection, id: &str, epoch: u32) -> Result<(), DirectoryError> {
    let mut user = conn.prepare_cached("SELECT epoch FROM users WHERE id = ?1 AND disabled = 0")?;
    let now: Option<u32> = user.query_row([id], |row| row.get(0)).optional()?;
    match now {
        None => Err(DirectoryError::unknown("user", id)),
        Some(now) if now != epoch => Err(DirectoryError::Changed { which: id.to_owned() }),
        Some(_) => Ok(()),
    }
}

fn note_verified(conn: &Connection, id: &str, now_s: i64) -> Result<(), DirectoryError> {
    conn.prepare_cached("UPDATE users SET verified = email IS NOT NULL, changed_s = ?2 WHERE id = ?1")?
        .execute(params![id, now_s])?;
    Ok(())
}

fn set_password(conn: &Connection, id: &str, hash: &str, now_s: i64) -> Result<UserRow, DirectoryError> {
    conn.prepare_cached("UPDATE users SET password_hash = ?2, changed_s = ?3 WHERE id = ?1")?
        .execute(params![id, hash, now_s])?;
    conn.prepare_cached("DELETE FROM one_time_tokens WHERE user_id = ?1 AND kind <> 'verify'")?.execute([id])?;
    sign_out(conn, id)?;
    known(conn, id)
}

fn set_of(roles: &[String]) -> BTreeSet<&str> {
    roles.iter().map(String::as_str).collect()
}

/// Ends access tokens.
fn raise_epoch(conn: &Connection, id: &str) -> Result<(), DirectoryError> {
    // An epoch that would wrap round would make the oldest tokens good again.
    conn.prepare_cached("UPDATE users SET epoch = min(epoch + 1, 4294967295) WHERE id = ?1")?.execute([id])?;
    Ok(())
}

fn sign_out(conn: &Connection, id: &str) -> Result<(), DirectoryError> {
    raise_epoch(conn, id)?;
    conn.prepare_cached("DELETE FROM refresh_tokens WHERE user_id = ?1")?.execute([id])?;
    Ok(())
}
