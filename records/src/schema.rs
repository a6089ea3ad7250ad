//! The tables of a segment, and how a connection to one is opened. docs/reference/audit.md explains the columns.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use shared::audit::Link;

use crate::StoreError;
use crate::meta;
use crate::segment::{Nature, Segment, recognise};

/// `PRAGMA application_id` of a segment: "pxad".
pub(crate) const APPLICATION_ID: u32 = 0x7078_6164;

/// `PRAGMA user_version`: the schema below. A change of it comes with the steps from every older one.
///
/// | version | what it added |
/// |---|---|
/// | 2 | `tries`, the last column of `requests` |
/// | 3 | `credential`, the last column of `requests` |
pub(crate) const VERSION: u32 = 3;

/// How long a connection waits for another's lock.
const BUSY: Duration = Duration::from_secs(5);

/// Prepared statements that a connection keeps: more than there are.
const STATEMENTS: usize = 32;

macro_rules! request_columns {
    ($added:literal) => {
        concat!(
            "seq, time_us, status, method, path, query, client, request_id, scheme, listener, host, protocol, route, \
             upstream, endpoint, outcome, principal, user_agent, matched, bytes_in, bytes_out, duration_us, upstream_us, \
             attempts, generation, link, ",
            $added
        )
    };
}

/// The columns of `requests`, in the table's order.
pub(crate) const REQUEST_COLUMNS: &str = request_columns!("tries, credential");
pub(crate) const REQUEST_COLUMN_COUNT: usize = 28;

/// The interned columns hold either the number of a text in `texts` or the text itself; an empty text is NULL. Most columns of
/// `requests` have no type, and there are no constraints: checking what is only ever written by one piece of code costs a
/// sixth of a row's writing. No secondary index: a segment gets those when it is closed, so that they never slow writing.
const TABLES: &str = "
CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
CREATE TABLE texts (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;
CREATE TABLE requests (
  seq INTEGER PRIMARY KEY, time_us INTEGER, status INTEGER, method, path, query, client, request_id, scheme, listener, host,
  protocol, route, upstream, endpoint, outcome, principal, user_agent, matched, bytes_in, bytes_out, duration_us, upstream_us,
  attempts, generation, link, tries, credential);
CREATE TABLE actions (
  seq INTEGER PRIMARY KEY, time_us INTEGER NOT NULL, door TEXT NOT NULL, actor TEXT NOT NULL, command TEXT NOT NULL,
  arguments TEXT NOT NULL, outcome TEXT NOT NULL, message TEXT NOT NULL, generation_before INTEGER NOT NULL,
  generation_after INTEGER NOT NULL, changes TEXT NOT NULL, link BLOB NOT NULL) STRICT;
CREATE TABLE gaps (
  seq INTEGER PRIMARY KEY, time_us INTEGER NOT NULL, missing INTEGER, from_us INTEGER, until_us INTEGER,
  reason TEXT NOT NULL, link BLOB NOT NULL) STRICT;
CREATE TABLE spans (
  last_seq INTEGER PRIMARY KEY, first_seq INTEGER NOT NULL, oldest_us INTEGER NOT NULL, newest_us INTEGER NOT NULL) STRICT;
";

/// The interned columns in the order of [`crate::texts::Column`], but for `credential`.
const INTERNED: &[&str] =
    &["scheme", "listener", "host", "protocol", "route", "upstream", "endpoint", "outcome", "principal", "user_agent"];

/// One of them, as people want to see it.
const INTERNED_TEXT: &str =
    "CASE typeof($) WHEN 'integer' THEN (SELECT text FROM texts WHERE id = $) ELSE $ END AS $, ";

/// `readable`: the requests with their texts in place, for people and their tools.
fn view() -> String {
    let text = |name: &str| INTERNED_TEXT.replace('$', name);
    let (texts, credential) = (INTERNED.iter().map(|name| text(name)).collect::<String>(), text("credential"));
    format!(
        "CREATE VIEW readable AS SELECT seq, strftime('%Y-%m-%dT%H:%M:%fZ', time_us / 1e6, 'unixepoch') AS time, time_us, \
         status, method, path, query, client, \
         CASE typeof(request_id) WHEN 'blob' THEN lower(hex(request_id)) ELSE request_id END AS request_id, \
         {texts}matched, bytes_in, bytes_out, duration_us / 1000.0 AS duration_ms, upstream_us / 1000.0 AS upstream_ms, \
         attempts, tries, {credential}generation, lower(hex(link)) AS link FROM requests;"
    )
}

/// Makes a segment of an older version one of this, within the caller's transaction. The rows there read as if they had nothing in
/// the columns that are added, and so do their links.
pub(crate) fn step(conn: &Connection) -> rusqlite::Result<()> {
    for (column, is_present) in ADDED.into_iter().zip(added(conn)?) {
        if !is_present {
            conn.execute_batch(&format!("ALTER TABLE requests ADD COLUMN {column}"))?;
        }
    }
    conn.execute_batch("DROP VIEW IF EXISTS readable")?;
    conn.execute_batch(&view())?;
    conn.pragma_update(None, "user_version", VERSION)
}

/// The columns that later versions added to `requests`, in their order.
const ADDED: [&str; 2] = ["tries", "credential"];

/// Which of them are there. By what the table has, not by the version that stands in the file: a value that was put there by hand
/// must not be passed over.
fn added(conn: &Connection) -> rusqlite::Result<[bool; ADDED.len()]> {
    let mut present = [false; ADDED.len()];
    let mut statement = conn.prepare_cached("SELECT name FROM pragma_table_info('requests')")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let name = row.get_ref(0)?.as_str().unwrap_or_default();
        for (column, is_present) in ADDED.into_iter().zip(&mut present) {
            *is_present |= column == name;
        }
    }
    Ok(present)
}

/// Whether `requests` has all of [`REQUEST_COLUMNS`].
pub(crate) fn is_current(conn: &Connection) -> rusqlite::Result<bool> {
    Ok(added(conn)?.iter().all(|is_present| *is_present))
}

/// The columns of `requests` as this segment has them. While the segment may be written: to be asked for after the number of the last
/// row that is to be read, so that all rows up to that one were written before the answer.
pub(crate) fn request_columns(conn: &Connection) -> rusqlite::Result<&'static str> {
    Ok(match added(conn)? {
        [true, true] => REQUEST_COLUMNS,
        [true, false] => request_columns!("tries, NULL AS credential"),
        [false, true] => request_columns!("NULL AS tries, credential"),
        [false, false] => request_columns!("NULL AS tries, NULL AS credential"),
    })
}

/// Whether there is more than nothing to read as a credential among these columns.
pub(crate) fn has_credentials(columns: &str) -> bool {
    !columns.ends_with("NULL AS credential")
}

/// What a new segment follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Predecessor {
    pub(crate) seq: u64,
    pub(crate) link: Link,
}

/// Makes the segment's file, with its tables and the mark of what it follows, durable before it is used.
pub(crate) fn create(dir: &Path, before: Predecessor, now_us: i64) -> Result<(Segment, Connection), StoreError> {
    let segment = Segment::at(dir, before.seq + 1);
    let path = segment.path.as_path();
    let lift = |error| StoreError::sqlite(path, error);
    private(path)?;
    let mut conn = Connection::open(path).map_err(lift)?;
    let make = |conn: &mut Connection| -> rusqlite::Result<()> {
        conn.pragma_update(None, "synchronous", "FULL")?;
        // In the rollback journal's mode still, so that the file's own header says what it is from its first commit on.
        let tx = conn.transaction_with_behavior(TransactionBehavior::Exclusive)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.pragma_update(None, "user_version", VERSION)?;
        tx.execute_batch(TABLES)?;
        tx.execute_batch(&view())?;
        meta::set(&tx, "first_seq", segment.first_seq as i64)?;
        meta::set(&tx, "previous_seq", before.seq as i64)?;
        meta::set(&tx, "previous_link", before.link)?;
        meta::set(&tx, "created_us", now_us)?;
        meta::set(&tx, "clean", 0)?;
        tx.commit()
    };
    make(&mut conn).map_err(lift)?;
    settings(&conn).map_err(lift)?;
    // The name must survive a power cut as the content does.
    std::fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| StoreError::io(dir, error))?;
    Ok((segment, conn))
}

/// Makes the file first, readable by its owner only: `SQLite` gives its companions the same mode.
fn private(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::OpenOptionsExt;
    let open = std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    open.map(drop).map_err(|error| StoreError::io(path, error))
}

/// Opens an existing segment for writing.
pub(crate) fn open(segment: &Segment) -> Result<Connection, StoreError> {
    let lift = |error| StoreError::sqlite(&segment.path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(&segment.path, flags).map_err(lift)?;
    settings(&conn).map_err(lift)?;
    Ok(conn)
}

fn settings(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(BUSY)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    conn.pragma_update(None, "synchronous", "NORMAL")?;
    conn.pragma_update_and_check(None, "wal_autocheckpoint", 6000, |_| Ok(()))?;
    conn.pragma_update_and_check(None, "journal_size_limit", 64 << 20, |_| Ok(()))?;
    // In KiB: rows are appended, so more than a few transactions' pages would never be looked at again.
    conn.pragma_update(None, "cache_size", -4096)
}

/// Opens a segment for reading. None: nothing was ever committed to it.
pub(crate) fn read(segment: &Segment) -> Result<Option<Connection>, StoreError> {
    if recognise(&segment.path)? == Nature::Empty {
        return Ok(None);
    }
    let lift = |error| StoreError::sqlite(&segment.path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(&segment.path, flags).map_err(lift)?;
    conn.busy_timeout(BUSY).map_err(lift)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    let opened = conn.query_row("SELECT count(*) FROM meta", [], |_| Ok(()));
    if opened.is_ok() {
        return Ok(Some(conn));
    }
    // A log needs a file beside it to be shared through. Where none can be made (a read-only place) and there is no log
    // to read, the file alone is the whole truth.
    let no_log = std::fs::metadata(segment.companion("-wal")).map_or(true, |log| log.len() == 0);
    if !no_log {
        return opened.map(|()| None).map_err(lift);
    }
    let mut uri = String::from("file:");
    for byte in segment.path.as_os_str().as_encoded_bytes() {
        // Every byte as its code, so that none means something else in a URI.
        let _ = write!(uri, "%{byte:02x}");
    }
    uri.push_str("?immutable=1");
    let conn = Connection::open_with_flags(&uri, flags | OpenFlags::SQLITE_OPEN_URI).map_err(lift)?;
    conn.query_row("SELECT count(*) FROM meta", [], |_| Ok(())).map_err(lift)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(Some(conn))
}
