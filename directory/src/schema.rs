//! The tables, and how a connection is opened. docs/reference/identity-store.md explains the columns.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::DirectoryError;

/// `PRAGMA application_id`: "pxid".
const APPLICATION_ID: u32 = 0x7078_6964;

/// `PRAGMA user_version`: the schema below. A change of it comes with the step from the version before, and only adds: while one
/// process takes over from another, the older goes on with what the newer has made of the file.
pub(crate) const VERSION: u32 = 2;

/// How long a connection waits for another's lock.
const BUSY: Duration = Duration::from_secs(5);

/// Prepared statements that a connection keeps: more than there are.
const STATEMENTS: usize = 64;

/// Names and addresses are kept as they were written, and once more as they are compared (`*_key`). Roles and scopes are JSON
/// arrays. Times are seconds since the epoch.
const TABLES: &str = "
CREATE TABLE sizes (name TEXT PRIMARY KEY, rows INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE api_keys (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, name_key TEXT NOT NULL, prefix TEXT NOT NULL,
  hash BLOB NOT NULL CHECK (length(hash) = 32), earlier_prefix TEXT,
  earlier_hash BLOB CHECK (earlier_hash IS NULL OR length(earlier_hash) = 32), earlier_until_s INTEGER, user TEXT,
  roles TEXT NOT NULL, scopes TEXT NOT NULL, limit_requests INTEGER, limit_per_s INTEGER, created_s INTEGER NOT NULL,
  expires_s INTEGER, revoked_s INTEGER, used_s INTEGER, by TEXT NOT NULL) STRICT;
CREATE INDEX api_keys_name ON api_keys (name_key);
CREATE INDEX api_keys_prefix ON api_keys (prefix);
CREATE INDEX api_keys_earlier ON api_keys (earlier_prefix) WHERE earlier_prefix IS NOT NULL;
CREATE TABLE revoked_tokens (
  provider TEXT NOT NULL, jti TEXT NOT NULL, expires_s INTEGER NOT NULL, revoked_s INTEGER NOT NULL, by TEXT NOT NULL,
  PRIMARY KEY (provider, jti)) STRICT, WITHOUT ROWID;
CREATE INDEX revoked_tokens_expiry ON revoked_tokens (expires_s);
CREATE TABLE users (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, name_key TEXT NOT NULL UNIQUE, email TEXT, email_key TEXT UNIQUE,
  password_hash TEXT, roles TEXT NOT NULL, verified INTEGER NOT NULL, disabled INTEGER NOT NULL, created_s INTEGER NOT NULL,
  changed_s INTEGER NOT NULL, login_s INTEGER, epoch INTEGER NOT NULL) STRICT;
CREATE TABLE refresh_tokens (
  hash BLOB PRIMARY KEY CHECK (length(hash) = 32), family TEXT NOT NULL,
  user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE, issued_s INTEGER NOT NULL, expires_s INTEGER NOT NULL,
  used_s INTEGER) STRICT;
CREATE INDEX refresh_tokens_family ON refresh_tokens (family);
CREATE INDEX refresh_tokens_user ON refresh_tokens (user_id);
CREATE INDEX refresh_tokens_expiry ON refresh_tokens (expires_s);
CREATE TABLE one_time_tokens (
  hash BLOB PRIMARY KEY CHECK (length(hash) = 32), kind TEXT NOT NULL,
  user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE, expires_s INTEGER NOT NULL) STRICT;
CREATE INDEX one_time_tokens_user ON one_time_tokens (user_id, kind);
CREATE INDEX one_time_tokens_expiry ON one_time_tokens (expires_s);
CREATE TABLE sessions (
  id BLOB PRIMARY KEY CHECK (length(id) = 32), payload BLOB NOT NULL, idle_until_s INTEGER NOT NULL,
  ends_s INTEGER NOT NULL, seen_s INTEGER) STRICT;
CREATE INDEX sessions_idle ON sessions (idle_until_s);
CREATE INDEX sessions_end ON sessions (ends_s);
CREATE TABLE bans (
  network TEXT PRIMARY KEY, until_s INTEGER NOT NULL, since_s INTEGER NOT NULL, reason TEXT NOT NULL, times INTEGER NOT NULL,
  by TEXT NOT NULL) STRICT;
";

/// Since version 2: accounts that go, unless somebody shows before that they are used. Not counted: no more than there are accounts.
const LAPSES: &str = "
CREATE TABLE lapses (
  user_id TEXT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE, lapses_s INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX lapses_end ON lapses (lapses_s);
";

/// Tables whose rows are counted as they come and go: counting a million at each insertion would take its time.
const COUNTED: &[&str] =
    &["api_keys", "revoked_tokens", "users", "refresh_tokens", "one_time_tokens", "sessions", "bans"];

/// Opens the file, and makes it or brings it up to date.
pub(crate) fn open(path: &Path) -> Result<Connection, DirectoryError> {
    let is_new = private(path)?;
    let lift = |error: DirectoryError| {
        if error.is_not_sqlite() { DirectoryError::NotSqlite { path: path.to_owned() } } else { error.at(path) }
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(path, flags).map_err(|error| lift(error.into()))?;
    prepare(&mut conn, path).map_err(lift)?;
    if is_new && let Some(folder) = path.parent() {
        // The name must survive a power cut as the content does.
        let synced = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|error| DirectoryError::io(folder, error))?;
    }
    Ok(conn)
}

/// One without a file.
pub(crate) fn open_in_memory() -> Result<Connection, DirectoryError> {
    let mut conn = Connection::open_in_memory()?;
    prepare(&mut conn, Path::new(":memory:"))?;
    Ok(conn)
}

/// Makes the file first, readable by its owner only: `SQLite` gives its companions the same mode. Whether it is new.
fn private(path: &Path) -> Result<bool, DirectoryError> {
    use std::os::unix::fs::OpenOptionsExt;
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match made {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(DirectoryError::io(path, error)),
    }
}

fn prepare(conn: &mut Connection, path: &Path) -> Result<(), DirectoryError> {
    conn.busy_timeout(BUSY)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    // The file may have been touched by others: what stands in its schema is not trusted with more than it needs.
    conn.pragma_update(None, "trusted_schema", "OFF")?;
    conn.pragma_update(None, "cell_size_check", "ON")?;
    conn.pragma_update(None, "foreign_keys", "ON")?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    // In one transaction: between two questions somebody else may make the tables, and half of each answer looks foreign.
    if version(&*conn.transaction()?, path)? < VERSION {
        let tx = conn.transaction_with_behavior(TransactionBehavior::Exclusive)?;
        // Somebody else may have been quicker.
        let found = version(&tx, path)?;
        match found {
            0 => create(&tx)?,
            1 => tx.execute_batch("ALTER TABLE sessions ADD COLUMN seen_s INTEGER")?,
            _ => {}
        }
        if found < 2 {
            tx.execute_batch(LAPSES)?;
        }
        if found < VERSION {
            tx.pragma_update(None, "user_version", VERSION)?;
        }
        tx.commit()?;
    }
    log_ahead(conn)?;
    conn.pragma_update_and_check(None, "journal_size_limit", 16 << 20, |_| Ok(()))?;
    Ok(())
}

/// The schema's version; 0: there is none yet.
fn version(conn: &Connection, path: &Path) -> Result<u32, DirectoryError> {
    let number = |name: &str| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (application, found) = (number("application_id")?, number("user_version")?);
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let is_empty = application == 0 && found == 0 && tables == 0;
    if is_empty {
        return Ok(0);
    }
    if application != i64::from(APPLICATION_ID) || found < 1 {
        return Err(DirectoryError::Foreign { path: path.to_owned() });
    }
    match u32::try_from(found) {
        Ok(found) if found <= VERSION => Ok(found),
        _ => Err(DirectoryError::Newer { path: path.to_owned(), found: found as u32, known: VERSION }),
    }
}

fn create(conn: &Connection) -> rusqlite::Result<()> {
    conn.pragma_update(None, "application_id", APPLICATION_ID)?;
    conn.execute_batch(TABLES)?;
    for table in COUNTED {
        conn.execute_batch(&format!(
            "INSERT INTO sizes VALUES ('{table}', 0);
             CREATE TRIGGER {table}_more AFTER INSERT ON {table}
               BEGIN UPDATE sizes SET rows = rows + 1 WHERE name = '{table}'; END;
             CREATE TRIGGER {table}_less AFTER DELETE ON {table}
               BEGIN UPDATE sizes SET rows = rows - 1 WHERE name = '{table}'; END;"
        ))?;
    }
    Ok(())
}

/// Switches to the write-ahead log. Where two do so at once, `SQLite` refuses one of them without waiting.
fn log_ahead(conn: &Connection) -> rusqlite::Result<()> {
    let mut left = 100;
    loop {
        match conn.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && left > 0 => {
                left -= 1;
                std::thread::sleep(Duration::from_millis(20));
            }
            outcome => return outcome,
        }
    }
}
