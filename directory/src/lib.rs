//! Who is known: API keys, accounts, revoked tokens, sessions and bans, in one file of `SQLite`.
//!
//! Every write is one immediate transaction that is on disk when its method returns. No clock and no threads: whoever calls says
//! what time it is, in seconds since the epoch. No secret is kept, only what it can be recognised by: API keys and tokens as
//! SHA-256 (they are random, and long), passwords as their caller hashed them.
//!
//! Two processes may have the file open at once: while one takes over from another.

mod bans;
mod bounds;
mod error;
mod keys;
mod one_time;
mod refresh;
mod revoked;
mod schema;
mod secret;
mod sessions;
#[cfg(test)]
mod tests;
mod users;

use std::path::{Path, PathBuf};

use rusqlite::{Connection, Transaction, TransactionBehavior};

pub use bans::BanRow;
pub use bounds::is_id;
pub use error::DirectoryError;
pub use keys::{Earlier, KeyRow, NewKey};
pub use refresh::RefreshUse;
pub use revoked::{LOGINS, RevokedRow, is_revocable};
pub use secret::{KeyText, TEXT_BYTES, digest, prefix_of};
pub use sessions::SessionRow;
pub use users::{NewUser, UserChange, UserRow};

/// The file, open. See the crate.
#[derive(Debug)]
pub struct Directory {
    conn: Connection,
    path: PathBuf,
    /// What `PRAGMA data_version` said last.
    seen: i64,
}

impl Directory {
    /// Opens the file, and makes it where it is missing: for its owner alone.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, DirectoryError> {
        let path = path.as_ref();
        Self::new(schema::open(path)?, path)
    }

    /// One that is gone when it is dropped.
    pub fn open_in_memory() -> Result<Self, DirectoryError> {
        Self::new(schema::open_in_memory()?, Path::new(":memory:"))
    }

    fn new(conn: Connection, path: &Path) -> Result<Self, DirectoryError> {
        let mut directory = Self { conn, path: path.to_owned(), seen: 0 };
        directory.changed_elsewhere()?;
        Ok(directory)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Refuses every write, as a full disk does: for tests of what holds then.
    #[doc(hidden)]
    pub fn refuse_writes(&mut self, now: bool) -> Result<(), DirectoryError> {
        self.read(|conn| Ok(conn.pragma_update(None, "query_only", now)?))
    }

    /// Whether somebody else has written since this was last asked.
    pub fn changed_elsewhere(&mut self) -> Result<bool, DirectoryError> {
        let now = self.read(|conn| Ok(conn.pragma_query_value(None, "data_version", |row| row.get(0))?))?;
        Ok(std::mem::replace(&mut self.seen, now) != now)
    }

    /// Removes what nobody can use any more: whatever has expired, keys that ended long ago, bans that are forgotten. How many
    /// rows went.
    pub fn sweep(&mut self, now_s: i64) -> Result<usize, DirectoryError> {
        self.write(|tx| {
            Ok(keys::sweep(tx, now_s)?
                + revoked::sweep(tx, now_s)?
                + refresh::sweep(tx, now_s)?
                + one_time::sweep(tx, now_s)?
                + sessions::sweep(tx, now_s)?
                + bans::sweep(tx, now_s)?)
        })
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, DirectoryError>) -> Result<T, DirectoryError> {
        work(&self.conn).map_err(|error| error.at(&self.path))
    }

    /// All of it, or nothing.
    fn write<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, DirectoryError>,
    ) -> Result<T, DirectoryError> {
        let Self { conn, path, .. } = self;
        let run = || {
            let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let made = work(&tx)?;
            tx.commit()?;
            Ok(made)
        };
        run().map_err(|error: DirectoryError| error.at(path))
    }
}
