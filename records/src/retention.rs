//! What is done to segments that are closed: they get their indexes, and the oldest go when they are due.
//!
//! It runs beside the writer, on closed segments only; its cost does not depend on how many rows a dropped segment has.

use std::fs;
use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};
use shared::config::Keep;

use crate::segment::{Segment, recognise, segments};
use crate::{StoreError, meta, schema};

/// How the store is after a sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    pub segments: u64,
    pub size_bytes: u64,
    pub dropped: u64,
}

const DAY_US: i64 = 86_400_000_000;

/// Finishes closed segments and drops those that `keep` does not cover. The newest segment is never touched.
pub fn sweep(dir: &Path, keep: &Keep, now_us: i64) -> Result<Swept, StoreError> {
    let all = segments(dir)?;
    let Some((_, closed)) = all.split_last() else { return Ok(Swept::default()) };
    let mut trouble = None;
    for segment in closed {
        // One segment that cannot be finished does not keep the others.
        trouble = finish(segment, now_us).err().or(trouble);
    }
    let mut swept = Swept { segments: all.len() as u64, ..Swept::default() };
    swept.size_bytes = all.iter().map(Segment::size_bytes).sum();
    for pair in all.windows(2) {
        let [oldest, next] = pair else { break };
        let is_too_much = keep.size_bytes.is_some_and(|size| swept.size_bytes > size);
        // What is not ours is never removed, and what cannot be read has no age.
        let is_ours = recognise(&oldest.path).is_ok();
        if !is_ours || !(is_too_much || is_too_old(oldest, keep, now_us).unwrap_or(false)) {
            break;
        }
        let size_bytes = oldest.size_bytes();
        retire(oldest, next, now_us)?;
        swept.size_bytes -= size_bytes.min(swept.size_bytes);
        swept.segments -= 1;
        swept.dropped += 1;
    }
    trouble.map_or(Ok(swept), Err)
}

fn is_too_old(segment: &Segment, keep: &Keep, now_us: i64) -> Result<bool, StoreError> {
    let Some(days) = keep.days else { return Ok(false) };
    let Some(conn) = schema::read(segment)? else { return Ok(true) };
    let newest = meta::get::<i64>(&conn, "newest_us").map_err(|error| StoreError::sqlite(&segment.path, error))?;
    Ok(newest.is_some_and(|newest| now_us.saturating_sub(newest) > i64::from(days) * DAY_US))
}

/// Indexes a closed segment, notes the range of its times, and turns it into a single file without a log.
fn finish(segment: &Segment, now_us: i64) -> Result<(), StoreError> {
    let lift = |error| StoreError::sqlite(&segment.path, error);
    let Some(conn) = schema::read(segment)? else { return Ok(()) };
    let is_indexed = meta::get::<i64>(&conn, "indexed").map_err(lift)? == Some(1);
    drop(conn);
    if is_indexed && !segment.companion("-wal").exists() {
        return Ok(());
    }
    let mut conn = schema::open(segment)?;
    if !is_indexed {
        index(&mut conn, segment, now_us).map_err(lift)?;
    }
    // Readers in the way: the next sweep tries again.
    let _ = conn.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()));
    Ok(())
}

fn index(conn: &mut Connection, segment: &Segment, now_us: i64) -> rusqlite::Result<()> {
    let times = meta::times(conn, segment.first_seq)?;
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch(
        "CREATE INDEX IF NOT EXISTS requests_by_request_id ON requests (request_id);
         CREATE INDEX IF NOT EXISTS requests_by_client ON requests (client);",
    )?;
    if let Some((oldest_us, newest_us)) = times {
        meta::set(&tx, "oldest_us", oldest_us)?;
        meta::set(&tx, "newest_us", newest_us)?;
    }
    if meta::get::<i64>(&tx, "closed_us")?.is_none() {
        meta::set(&tx, "closed_us", now_us)?;
    }
    meta::set(&tx, "indexed", 1)?;
    tx.commit()
}

/// Lets a segment go. Its span is noted in the next one first, so that the chain's start stays explained.
fn retire(oldest: &Segment, next: &Segment, now_us: i64) -> Result<(), StoreError> {
    let lift = |error| StoreError::sqlite(&next.path, error);
    let mut conn = Connection::open(&next.path).map_err(lift)?;
    conn.busy_timeout(std::time::Duration::from_secs(5)).map_err(lift)?;
    let first = first_ever(oldest).unwrap_or(oldest.first_seq);
    let note = |conn: &mut Connection| -> rusqlite::Result<()> {
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        meta::set(&tx, "retired_first_seq", first as i64)?;
        meta::set(&tx, "retired_last_seq", next.first_seq as i64 - 1)?;
        meta::set(&tx, "retired_us", now_us)?;
        tx.commit()
    };
    note(&mut conn).map_err(lift)?;
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(oldest.companion(suffix));
    }
    fs::remove_file(&oldest.path).map_err(|error| StoreError::io(&oldest.path, error))
}

/// The first of all rows that retention has let go, this segment's included.
fn first_ever(oldest: &Segment) -> Result<u64, StoreError> {
    let Some(conn) = schema::read(oldest)? else { return Ok(oldest.first_seq) };
    let noted = meta::seq(&conn, "retired_first_seq").map_err(|error| StoreError::sqlite(&oldest.path, error))?;
    Ok(noted.unwrap_or(oldest.first_seq))
}
