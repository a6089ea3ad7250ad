//! The appender: the one owner of the open segment, of the sequence and of the chain's newest link.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use shared::audit::Gap;
use shared::config::Keep;

use crate::append::{Appender, Batch, Entry, Span, Written};
use crate::schema::{self, Predecessor};
use crate::segment::{Nature, Segment, recognise, segments};
use crate::texts::Texts;
use crate::verify::Head;
use crate::{StoreError, meta};

/// When a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub segment_bytes: u64,
    pub segment_us: i64,
    /// Makes `SQLite` itself refuse to let a segment grow beyond so many pages of 4096 bytes: how a full disk is tried.
    pub max_pages: Option<u32>,
}

const HOUR_US: i64 = 3_600_000_000;

impl Limits {
    /// Segments so small that letting the oldest one go is a small step: a twentieth of the size, a thirtieth of the time.
    #[must_use]
    pub fn of(keep: &Keep) -> Self {
        let segment_us = keep.days.map_or(24 * HOUR_US, |days| i64::from(days) * 24 * HOUR_US / 30);
        let segment_bytes = keep.size_bytes.map_or(512 << 20, |size| size / 20);
        Self {
            segment_bytes: segment_bytes.clamp(1 << 20, 512 << 20),
            segment_us: segment_us.clamp(HOUR_US, 24 * HOUR_US),
            max_pages: None,
        }
    }
}

/// The store, open for writing. Only one process has it at a time.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    limits: Limits,
    open: Open,
    head: Predecessor,
    /// What the newest row would be if the last failed commit reached the disk after all.
    doubtful: Option<Predecessor>,
    canonical: Vec<u8>,
    lock: Option<File>,
}

/// The open segment.
#[derive(Debug)]
struct Open {
    segment: Segment,
    /// Device and inode: what the path must still lead to.
    identity: (u64, u64),
    conn: Connection,
    texts: Texts,
    span: Option<Span>,
    newest_request: Option<u64>,
    /// Its schema is of an older version.
    is_older: bool,
    created_us: i64,
    is_full_sync: bool,
}

/// A segment that was closed by rotation. Dropping it folds its log into its file, which takes a moment: best done off
/// the writing thread.
#[derive(Debug)]
pub struct Retired(#[expect(dead_code, reason = "held for what dropping it does")] Connection);

/// The rows that an unclean end may have cost, or that something outside took away.
fn gap(reason: &str, from_us: Option<i64>, now_us: i64) -> Gap {
    Gap { time_us: now_us, missing: None, from_us, until_us: Some(now_us), reason: reason.to_owned() }
}

impl Store {
    /// Opens the store in `dir`, which is made if need be. After an unclean end a gap row is written at once.
    pub fn open(dir: &Path, limits: Limits, now_us: i64) -> Result<Self, StoreError> {
        prepare(dir)?;
        let lock = lock(dir)?;
        let mut gaps = Vec::new();
        let (open, head) = match newest(dir)? {
            None => {
                let head = Predecessor { seq: 0, link: [0; 16] };
                (Open::create(dir, head, limits, now_us)?, head)
            }
            Some(segment) => {
                let found = Open::existing(segment, limits)?;
                let left = found.left()?;
                if !left.is_clean {
                    gaps.push(gap("unclean_stop", left.newest_us, now_us));
                } else if left.closing.is_some_and(|closing| closing.seq > left.head.seq) {
                    // The numbers that were cut off are not given out again: `verify` shall see that they are missing.
                    gaps.push(gap("rows_removed", left.newest_us, now_us));
                }
                let head =
                    left.closing.filter(|closing| left.is_clean && closing.seq > left.head.seq).unwrap_or(left.head);
                let next = found.next_after(&left, head, dir, limits, now_us)?;
                (next.unwrap_or(found), head)
            }
        };
        let canonical = Vec::with_capacity(1024);
        let mut store = Self { dir: dir.to_owned(), limits, open, head, doubtful: None, canonical, lock: Some(lock) };
        store.begin_use(&gaps)?;
        Ok(store)
    }

    /// Marks the segment as in use and says what is missing, durably.
    fn begin_use(&mut self, gaps: &[Gap]) -> Result<(), StoreError> {
        let path = self.open.segment.path.clone();
        self.open.full_sync(true).map_err(|error| StoreError::sqlite(&path, error))?;
        meta::set(&self.open.conn, "clean", 0).map_err(|error| StoreError::sqlite(&path, error))?;
        let entries: Vec<_> = gaps.iter().map(Entry::Gap).collect();
        if entries.is_empty() { Ok(()) } else { self.write(&entries, true).map(drop) }
    }

    /// Writes a batch in one transaction: all of it or nothing. `durable` waits until it is on the disk itself, so that
    /// not even a power cut takes it back; otherwise a crash of the process loses nothing, a power cut the newest rows.
    pub fn write(&mut self, batch: &Batch<'_>, durable: bool) -> Result<Written, StoreError> {
        self.check()?;
        let first = self.head.seq + 1;
        match self.try_write(batch, durable) {
            Ok(()) => {
                self.open.texts.committed();
                Ok(Written { first, last: self.head.seq })
            }
            Err(error) => {
                self.open.texts.rolled_back();
                Err(StoreError::sqlite(&self.open.segment.path, error))
            }
        }
    }

    /// Whether the open segment is still where it was: `SQLite` would go on writing into a file that has no name any more.
    pub fn check(&self) -> Result<(), StoreError> {
        let path = self.open.segment.path.as_path();
        if identity(path).ok() == Some(self.open.identity) {
            Ok(())
        } else {
            Err(StoreError::Removed { path: path.to_owned() })
        }
    }

    fn try_write(&mut self, batch: &Batch<'_>, durable: bool) -> rusqlite::Result<()> {
        self.open.full_sync(durable)?;
        let Open { conn, texts, span, newest_request, is_older, .. } = &mut self.open;
        conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        // Not before it must: until then a process of the older version, to which an upgrade that fails gives the store back, goes on.
        let steps = *is_older && batch.iter().any(|entry| matches!(entry, Entry::Requests(_)));
        let stepped = if steps { schema::step(conn) } else { Ok(()) };
        let mut appender = Appender {
            conn,
            texts,
            canonical: &mut self.canonical,
            head: self.head,
            span: *span,
            newest_request: *newest_request,
        };
        let appended = stepped.and_then(|()| appender.append(batch));
        let (head, new_span, newest) = (appender.head, appender.span, appender.newest_request);
        let committed = appended.and_then(|()| {
            let committed = conn.prepare_cached("COMMIT")?.execute([]);
            if committed.is_err() {
                self.doubtful = Some(head);
            }
            committed
        });
        if let Err(error) = committed {
            // Where the failure has ended the transaction already, this fails, and nothing is lost by that.
            let _ = conn.execute_batch("ROLLBACK");
            return Err(error);
        }
        self.head = head;
        *span = new_span;
        *newest_request = newest;
        *is_older &= !steps;
        Ok(())
    }

    /// After a failed write: opens the segment again, whatever became of it. True: the failed batch had reached the disk
    /// after all and must not be written again.
    pub fn recover(&mut self, now_us: i64) -> Result<bool, StoreError> {
        prepare(&self.dir)?;
        self.lock = None;
        self.lock = Some(lock(&self.dir)?);
        let mut gaps = Vec::new();
        let mut landed = false;
        match newest(&self.dir)? {
            None => {
                gaps.push(gap("store_removed", None, now_us));
                self.open = Open::create(&self.dir, self.head, self.limits, now_us)?;
            }
            Some(segment) => {
                let found = Open::existing(segment, self.limits)?;
                let left = found.left()?;
                if self.doubtful == Some(left.head) {
                    landed = true;
                    self.head = left.head;
                } else if left.head != self.head {
                    gaps.push(gap("store_replaced", None, now_us));
                    if left.head.seq > self.head.seq {
                        self.head = left.head;
                    }
                }
                let next = found.next_after(&left, self.head, &self.dir, self.limits, now_us)?;
                self.open = next.unwrap_or(found);
            }
        }
        self.doubtful = None;
        self.begin_use(&gaps)?;
        Ok(landed)
    }

    /// Ends the segment and begins the next, when it is large or old enough.
    pub fn rotate_if_due(&mut self, now_us: i64) -> Result<Option<Retired>, StoreError> {
        let lift = |error| StoreError::sqlite(&self.open.segment.path, error);
        let has_rows = self.head.seq >= self.open.segment.first_seq;
        let is_old = now_us.saturating_sub(self.open.created_us) >= self.limits.segment_us;
        if !has_rows || !(is_old || self.size_bytes().map_err(lift)? >= self.limits.segment_bytes) {
            return Ok(None);
        }
        // The next one first: if it cannot be made, this one simply goes on.
        let next = Open::create(&self.dir, self.head, self.limits, now_us)?;
        let mut ended = std::mem::replace(&mut self.open, next);
        // A segment that is not marked as closed is marked by `sweep`: a failure here costs nothing.
        let _ = ended.end(self.head, &mut self.canonical, Some(now_us));
        Ok(Some(Retired(ended.conn)))
    }

    /// What the open segment holds, without its log.
    fn size_bytes(&self) -> rusqlite::Result<u64> {
        let pages: i64 = self.open.conn.prepare_cached("PRAGMA page_count")?.query_row([], |row| row.get(0))?;
        Ok(pages as u64 * 4096)
    }

    /// The newest row.
    #[must_use]
    pub fn head(&self) -> Head {
        Head { seq: self.head.seq, link: self.head.link }
    }

    /// The number of the open segment's first row.
    #[must_use]
    pub fn segment_first_seq(&self) -> u64 {
        self.open.segment.first_seq
    }

    /// Other limits from now on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        // Only a test sets it, and one that fails shows there.
        let _ = self.open.limit_pages(limits);
    }

    /// Ends cleanly: the next start has nothing to report.
    pub fn close(mut self) -> Result<(), StoreError> {
        let path = self.open.segment.path.clone();
        self.open.end(self.head, &mut self.canonical, None).map_err(|error| StoreError::sqlite(&path, error))
    }
}

/// How a segment was left.
struct Left {
    is_clean: bool,
    is_closed: bool,
    head: Predecessor,
    /// What the newest row was when it was closed or the daemon stopped.
    closing: Option<Predecessor>,
    newest_us: Option<i64>,
}

impl Open {
    fn create(dir: &Path, head: Predecessor, limits: Limits, now_us: i64) -> Result<Self, StoreError> {
        let (segment, conn) = schema::create(dir, head, now_us)?;
        Self::new(segment, conn, limits)
    }

    fn existing(segment: Segment, limits: Limits) -> Result<Self, StoreError> {
        let conn = schema::open(&segment)?;
        Self::new(segment, conn, limits)
    }

    fn new(segment: Segment, conn: Connection, limits: Limits) -> Result<Self, StoreError> {
        let lift = |error| StoreError::sqlite(&segment.path, error);
        let identity = identity(&segment.path).map_err(|error| StoreError::io(&segment.path, error))?;
        let texts = Texts::load(&conn).map_err(lift)?;
        let created_us = meta::get(&conn, "created_us").map_err(lift)?.unwrap_or_default();
        let last: i64 =
            conn.query_row("SELECT coalesce(max(last_seq), 0) FROM spans", [], |row| row.get(0)).map_err(lift)?;
        let first_seq = segment.first_seq.max(last as u64 + 1);
        let times = meta::times(&conn, first_seq).map_err(lift)?;
        let span = times.map(|(oldest_us, newest_us)| Span { first_seq, oldest_us, newest_us });
        let newest_request: Option<i64> =
            conn.query_row("SELECT max(seq) FROM requests", [], |row| row.get(0)).map_err(lift)?;
        let newest_request = newest_request.map(|seq| seq as u64);
        let is_older = !schema::is_current(&conn).map_err(lift)?;
        let open =
            Self { segment, identity, conn, texts, span, newest_request, is_older, created_us, is_full_sync: false };
        open.limit_pages(limits).map_err(|error| StoreError::sqlite(&open.segment.path, error))?;
        Ok(open)
    }

    /// The segment to go on in, where this one was closed for good. One from which all rows were taken is gone on in itself:
    /// the next one would have its name.
    fn next_after(
        &self,
        left: &Left,
        head: Predecessor,
        dir: &Path,
        limits: Limits,
        now_us: i64,
    ) -> Result<Option<Self>, StoreError> {
        let is_ended = left.is_closed && head.seq >= self.segment.first_seq;
        is_ended.then(|| Self::create(dir, head, limits, now_us)).transpose()
    }

    fn limit_pages(&self, limits: Limits) -> rusqlite::Result<()> {
        match limits.max_pages {
            Some(pages) => self.conn.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())),
            None => Ok(()),
        }
    }

    fn left(&self) -> Result<Left, StoreError> {
        let conn = &self.conn;
        let read = || -> rusqlite::Result<Left> {
            let closing = meta::seq(conn, "last_seq")?.zip(meta::get(conn, "last_link")?);
            let before = meta::predecessor(conn)?;
            let head = match meta::newest(conn)? {
                Some((seq, link)) => Predecessor { seq, link: link.unwrap_or_default() },
                None => before,
            };
            Ok(Left {
                is_clean: meta::get::<i64>(conn, "clean")? == Some(1),
                is_closed: meta::get::<i64>(conn, "closed_us")?.is_some(),
                head,
                closing: closing.map(|(seq, link)| Predecessor { seq, link }),
                newest_us: self.span.map(|span| span.newest_us),
            })
        };
        read().map_err(|error| StoreError::sqlite(&self.segment.path, error))
    }

    /// `SQLite` waits for the disk at the end of a transaction, or only when it folds its log into the file.
    fn full_sync(&mut self, full: bool) -> rusqlite::Result<()> {
        if self.is_full_sync != full {
            self.conn
                .prepare_cached(if full { "PRAGMA synchronous=FULL" } else { "PRAGMA synchronous=NORMAL" })?
                .execute([])?;
            self.is_full_sync = full;
        }
        Ok(())
    }

    /// Marks the segment as complete up to `head`, and as closed for good where `closed_us` is given.
    fn end(&mut self, head: Predecessor, canonical: &mut Vec<u8>, closed_us: Option<i64>) -> rusqlite::Result<()> {
        self.full_sync(true)?;
        let Self { conn, texts, span, .. } = self;
        let tx = rusqlite::Transaction::new(conn, rusqlite::TransactionBehavior::Immediate)?;
        Appender { conn: &tx, texts, canonical, head, span: span.take(), newest_request: None }.end_span()?;
        meta::set(&tx, "last_seq", head.seq as i64)?;
        meta::set(&tx, "last_link", head.link)?;
        meta::set(&tx, "clean", 1)?;
        if let Some(closed_us) = closed_us {
            meta::set(&tx, "closed_us", closed_us)?;
        }
        tx.commit()
    }
}

/// The newest segment; one to which nothing was ever committed is removed. Every file is looked at, so that one that is
/// not ours is told of at once.
fn newest(dir: &Path) -> Result<Option<Segment>, StoreError> {
    let mut newest = None;
    for segment in segments(dir)? {
        match recognise(&segment.path)? {
            Nature::Segment => newest = Some(segment),
            Nature::Empty => {
                let _ = fs::remove_file(segment.companion("-journal"));
                fs::remove_file(&segment.path).map_err(|error| StoreError::io(&segment.path, error))?;
            }
        }
    }
    Ok(newest)
}

fn prepare(dir: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| StoreError::io(dir, error))
}

/// Holds the store against other processes for as long as the file is open.
fn lock(dir: &Path) -> Result<File, StoreError> {
    use std::os::unix::fs::OpenOptionsExt;
    let path = dir.join("lock");
    let open = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = open.map_err(|error| StoreError::io(&path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Held { path }),
        Err(TryLockError::Error(error)) => Err(StoreError::io(&path, error)),
    }
}

fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use shared::audit::{Chunk, RequestFacts};

    use super::*;

    #[test]
    fn a_commit_that_failed_and_yet_reached_the_disk_is_not_written_twice() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits::of(&Keep { days: None, size_bytes: None });
        let mut store = Store::open(dir.path(), limits, 0).unwrap();
        let mut chunk = Chunk::default();
        chunk.push(&RequestFacts::default());
        store.write(&[Entry::Requests(&chunk)], false).unwrap();
        let before = store.head;
        store.write(&[Entry::Requests(&chunk)], false).unwrap();
        // As it is remembered when the commit has reported a failure.
        store.doubtful = Some(std::mem::replace(&mut store.head, before));
        assert!(store.recover(0).unwrap());
        assert_eq!(store.head.seq, 2);
        assert!(!store.recover(0).unwrap());
        store.write(&[Entry::Requests(&chunk)], false).unwrap();
        let verified = crate::verify(dir.path(), &[store.head()], &|| true).unwrap();
        assert!(verified.intact && verified.rows == 3 && verified.gaps.is_empty(), "{verified:?}");
    }
}
