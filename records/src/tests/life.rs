//! Opening, ending, crashing, rotating, running out of room, and what is in the way.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use shared::audit::Row;
use shared::config::Keep;

use super::{BEGIN_US, KEEP_ALL, LIMITS, action, all, fill, fill_segments, open, requests, sql};
use crate::{Entry, Limits, Store, StoreError, segments, sweep, verify};

/// The reasons of all gap rows.
fn gaps(dir: &Path) -> Vec<String> {
    let reason = |row| match row {
        Row::Gap(row) => Some(row.gap.reason),
        Row::Request(_) | Row::Action(_) => None,
    };
    all(dir).into_iter().filter_map(reason).collect()
}

#[test]
fn a_clean_end_leaves_nothing_to_report() {
    let dir = tempfile::tempdir().unwrap();
    for round in 1..=3 {
        let mut store = open(dir.path());
        fill(&mut store, 100);
        assert_eq!(store.head().seq, round * 101);
        store.close().unwrap();
    }
    assert_eq!(gaps(dir.path()), [""; 0]);
    assert!(verify(dir.path(), &[], &|| true).unwrap().intact);
}

#[test]
fn files_copied_in_the_middle_of_writing_open_with_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    fill(&mut store, 500);
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if !path.to_string_lossy().ends_with("-shm") {
            std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    let again = open(copy.path());
    assert_eq!(again.head().seq, 506);
    assert_eq!(gaps(copy.path()), ["unclean_stop"]);
    let verified = verify(copy.path(), &[store.head()], &|| true).unwrap();
    assert!(verified.intact && verified.gaps.len() == 1, "{verified:?}");
    assert_eq!(verified.gaps[0].gap.from_us, Some(BEGIN_US + 500_000_000));
}

/// The name of the variable by which the test below knows that it is the one to be killed.
const VICTIM: &str = "RECORDS_TEST_VICTIM";

/// Writes until it is killed, telling the number of each action whose row it was told is on disk.
#[test]
fn victim() {
    let Ok(dir) = std::env::var(VICTIM) else { return };
    let mut store = open(Path::new(&dir));
    store.set_limits(Limits { segment_bytes: 1 << 18, ..LIMITS });
    for round in 0.. {
        store.write(&[Entry::Requests(&requests(round * 200, 200))], false).unwrap();
        let seq = store.write(&[Entry::Action(&action(round))], true).unwrap().last;
        std::fs::write(Path::new(&dir).join("told"), seq.to_string()).unwrap();
        store.rotate_if_due(BEGIN_US).unwrap();
    }
}

#[test]
fn a_killed_process_loses_no_row_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    for round in 1..=3 {
        let mut child = spawn_victim(dir.path());
        let told = || std::fs::read_to_string(dir.path().join("told")).ok().and_then(|told| told.parse::<u64>().ok());
        let before = told();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while told().is_none_or(|seq| seq < before.unwrap_or(0) + 4000) {
            assert!(std::time::Instant::now() < deadline, "the victim writes nothing");
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let acknowledged = told().unwrap();
        let store = open(dir.path());
        assert!(store.head().seq > acknowledged);
        assert_eq!(gaps(dir.path()).len(), round);
        let verified = verify(dir.path(), &[], &|| true).unwrap();
        assert!(verified.intact, "{:?}", verified.broken);
        assert_eq!(verified.rows, store.head().seq);
        store.close().unwrap();
    }
}

fn spawn_victim(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["tests::life::victim", "--exact", "--test-threads=1"])
        .env(VICTIM, dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn what_is_not_ours_is_named_and_left_alone() {
    let check = |content: &[u8], expected: &str| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("segment-00000000000000000001.sqlite");
        std::fs::write(&path, content).unwrap();
        let error = Store::open(dir.path(), LIMITS, BEGIN_US).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains(path.to_str().unwrap()), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), content);
        assert!(verify(dir.path(), &[], &|| true).is_err());
    };
    check(b"hello, this is no database", "not an SQLite database");
    check(&[b"SQLite format 3\0".as_slice(), &[0; 200]].concat(), "no audit segment");
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).close().unwrap();
    sql(dir.path(), 0, "PRAGMA user_version = 99");
    let newer = std::fs::read(&segments(dir.path()).unwrap()[0].path).unwrap();
    check(&newer, "newer version (schema 99; this version knows up to 3)");
}

#[test]
fn a_row_that_somebody_else_wrote_in_between_is_not_overtaken() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    fill(&mut store, 50);
    sql(dir.path(), 0, "INSERT INTO requests (seq) VALUES (60)");
    assert!(store.write(&[Entry::Requests(&requests(51, 1))], false).is_err());
    assert_eq!(store.head().seq, 50);
    assert!(!store.recover(BEGIN_US).unwrap());
    store.write(&[Entry::Requests(&requests(51, 40))], false).unwrap();
    assert_eq!(gaps(dir.path()), ["store_replaced"]);
    assert_eq!(verify(dir.path(), &[], &|| true).unwrap().broken.unwrap().seq, 51);
}

#[test]
fn a_segment_that_was_never_committed_to_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("segment-00000000000000000001.sqlite"), b"").unwrap();
    let store = open(dir.path());
    assert_eq!(store.head().seq, 0);
    store.close().unwrap();
}

#[test]
fn a_folder_that_is_a_file_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit");
    std::fs::write(&path, b"").unwrap();
    let error = Store::open(&path, LIMITS, BEGIN_US).unwrap_err();
    assert!(matches!(&error, StoreError::Io { .. }) && error.to_string().contains("audit"), "{error}");
}

#[test]
fn a_folder_that_cannot_be_made_is_told() {
    let error = Store::open(Path::new("/proc/nowhere/audit"), LIMITS, BEGIN_US).unwrap_err().to_string();
    assert!(error.starts_with("/proc/nowhere/audit: "), "{error}");
}

#[test]
fn a_store_whose_rows_were_all_taken_still_opens() {
    let dir = tempfile::tempdir().unwrap();
    fill_segments(dir.path(), 100);
    std::fs::remove_file(&segments(dir.path()).unwrap()[3].path).unwrap();
    sql(dir.path(), 2, "DELETE FROM requests; DELETE FROM meta WHERE name IN ('last_seq', 'last_link')");
    let mut store = open(dir.path());
    fill(&mut store, 100);
    store.close().unwrap();
}

#[test]
fn a_second_writer_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert!(matches!(Store::open(dir.path(), LIMITS, BEGIN_US), Err(StoreError::Held { .. })));
    drop(store);
    assert!(Store::open(dir.path(), LIMITS, BEGIN_US).is_ok());
}

#[test]
fn a_full_store_takes_nothing_half_and_goes_on_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    fill(&mut store, 100);
    store.set_limits(Limits { max_pages: Some(1), ..LIMITS });
    let chunk = requests(101, 3000);
    let head = store.head();
    assert!(store.write(&[Entry::Requests(&chunk)], false).is_err());
    assert_eq!(store.head(), head);
    assert!(store.write(&[Entry::Requests(&chunk)], false).is_err());
    store.set_limits(LIMITS);
    assert!(!store.recover(BEGIN_US).unwrap());
    store.write(&[Entry::Requests(&chunk)], false).unwrap();
    assert_eq!(store.head().seq, head.seq + 3000);
    let verified = verify(dir.path(), &[head, store.head()], &|| true).unwrap();
    assert!(verified.intact && verified.gaps.is_empty(), "{verified:?}");
}

#[test]
fn a_store_that_is_taken_away_is_noticed_and_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("audit");
    let mut store = open(&place);
    fill(&mut store, 100);
    std::fs::rename(&place, dir.path().join("moved")).unwrap();
    assert!(matches!(store.check(), Err(StoreError::Removed { .. })));
    assert!(matches!(store.write(&[Entry::Action(&action(1))], true), Err(StoreError::Removed { .. })));
    std::fs::write(&place, b"in the way").unwrap();
    assert!(store.recover(BEGIN_US).is_err());
    std::fs::remove_file(&place).unwrap();
    assert!(!store.recover(BEGIN_US).unwrap());
    store.write(&[Entry::Action(&action(1))], true).unwrap();
    assert_eq!(store.head().seq, 103);
    assert_eq!(gaps(&place), ["store_removed"]);
    let broken = verify(&place, &[], &|| true).unwrap().broken.unwrap();
    assert!(broken.seq == 1 && broken.reason.contains("1 to 101"), "{broken:?}");
}

#[test]
fn retention_drops_whole_segments_and_the_rest_still_proves() {
    let dir = tempfile::tempdir().unwrap();
    fill_segments(dir.path(), 2000);
    let sizes: Vec<u64> =
        segments(dir.path()).unwrap().iter().map(|segment| std::fs::metadata(&segment.path).unwrap().len()).collect();
    let two = sizes[2] + sizes[3];
    let swept = sweep(dir.path(), &Keep { days: None, size_bytes: Some(two) }, BEGIN_US).unwrap();
    assert_eq!((swept.dropped, swept.segments), (2, 2));
    let verified = verify(dir.path(), &[], &|| true).unwrap();
    assert!(verified.intact && verified.first_seq == 4001 && verified.rows == 4000, "{verified:?}");
    let old = crate::Head { seq: 5, link: [0; 16] };
    assert!(matches!(verify(dir.path(), &[old], &|| true), Err(StoreError::Head(_))));
    let meta = "SELECT value FROM meta WHERE name = 'retired_first_seq'";
    let conn = rusqlite::Connection::open(&segments(dir.path()).unwrap()[0].path).unwrap();
    assert_eq!(conn.query_row(meta, [], |row| row.get::<_, i64>(0)).unwrap(), 1);
    // The rest is two hours old, then two days.
    let day = Keep { days: Some(1), size_bytes: None };
    let last_us = BEGIN_US + 8000 * 1_000_000;
    assert_eq!(sweep(dir.path(), &day, last_us).unwrap().dropped, 0);
    assert_eq!(sweep(dir.path(), &day, last_us + 2 * 86_400_000_000).unwrap().dropped, 1);
    assert!(verify(dir.path(), &[], &|| true).unwrap().intact);
}

#[test]
fn segments_end_by_time_and_by_size_but_never_empty() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let later = BEGIN_US + LIMITS.segment_us;
    assert!(store.rotate_if_due(later).unwrap().is_none());
    fill(&mut store, 100);
    assert!(store.rotate_if_due(later - 1).unwrap().is_none());
    assert!(store.rotate_if_due(later).unwrap().is_some());
    assert_eq!(store.segment_first_seq(), 102);
    fill(&mut store, 3000);
    store.set_limits(Limits { segment_bytes: 100_000, ..LIMITS });
    assert!(store.rotate_if_due(later).unwrap().is_some());
    drop(store);
    // A crash before the old segments were closed properly is mended by the next sweep.
    let store = open(dir.path());
    sweep(dir.path(), &KEEP_ALL, later).unwrap();
    assert!(verify(dir.path(), &[store.head()], &|| true).unwrap().intact);
    let indexes = "SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND name LIKE 'requests_by_%'";
    let conn = rusqlite::Connection::open(&segments(dir.path()).unwrap()[0].path).unwrap();
    assert_eq!(conn.query_row(indexes, [], |row| row.get::<_, i64>(0)).unwrap(), 2);
}

#[test]
fn limits_follow_from_what_is_kept() {
    let limits = |days, size_bytes| Limits::of(&Keep { days, size_bytes });
    let hour = 3_600_000_000;
    assert_eq!(limits(Some(30), Some(10 << 30)).segment_bytes, 512 << 20);
    assert_eq!(limits(Some(30), None).segment_us, 24 * hour);
    assert_eq!(limits(Some(3), Some(1 << 30)).segment_us, 2 * hour + hour * 2 / 5);
    assert_eq!(limits(Some(1), Some(1)).segment_us, hour);
    assert_eq!(limits(None, Some(1)).segment_bytes, 1 << 20);
}
