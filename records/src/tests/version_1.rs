//! Segments of version 1, which had no `tries`: they are read, proven and gone on in.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use shared::audit::{Chunk, Filter, RequestFacts, Row};

use super::{BEGIN_US, KEEP_ALL, LIMITS, action, all, fill, open, requests, sql};
use crate::{Entry, Head, Limits, Reader, Store, segments, sweep, verify};

/// What version 1 made a segment with.
const STATEMENTS: &str = "
PRAGMA application_id = 0x70786164;
PRAGMA user_version = 1;
CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
CREATE TABLE texts (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;
CREATE TABLE requests (
  seq INTEGER PRIMARY KEY, time_us INTEGER, status INTEGER, method, path, query, client, request_id, scheme, listener, host,
  protocol, route, upstream, endpoint, outcome, principal, user_agent, matched, bytes_in, bytes_out, duration_us, upstream_us,
  attempts, generation, link);
CREATE TABLE actions (
  seq INTEGER PRIMARY KEY, time_us INTEGER NOT NULL, door TEXT NOT NULL, actor TEXT NOT NULL, command TEXT NOT NULL,
  arguments TEXT NOT NULL, outcome TEXT NOT NULL, message TEXT NOT NULL, generation_before INTEGER NOT NULL,
  generation_after INTEGER NOT NULL, changes TEXT NOT NULL, link BLOB NOT NULL) STRICT;
CREATE TABLE gaps (
  seq INTEGER PRIMARY KEY, time_us INTEGER NOT NULL, missing INTEGER, from_us INTEGER, until_us INTEGER,
  reason TEXT NOT NULL, link BLOB NOT NULL) STRICT;
CREATE TABLE spans (
  last_seq INTEGER PRIMARY KEY, first_seq INTEGER NOT NULL, oldest_us INTEGER NOT NULL, newest_us INTEGER NOT NULL) STRICT;
CREATE VIEW readable AS SELECT seq, time_us, status, method, path, attempts, generation, lower(hex(link)) AS link FROM requests;
PRAGMA journal_mode = WAL;
";

/// The columns that its rows had. What they hold, and how it is chained, is what rows without `tries` hold today.
const COLUMNS: &str = "seq, time_us, status, method, path, query, client, request_id, scheme, listener, host, protocol, route, \
    upstream, endpoint, outcome, principal, user_agent, matched, bytes_in, bytes_out, duration_us, upstream_us, attempts, \
    generation, link";

const TRIES: &str = "127.0.0.1:8001 connect, 127.0.0.1:8002 503";

/// A folder as version 1 left it after 200 requests and two actions, and its head.
fn folder() -> (tempfile::TempDir, Head) {
    let source = tempfile::tempdir().unwrap();
    let mut store = open(source.path());
    fill(&mut store, 200);
    let head = store.head();
    store.close().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let name = segments(source.path()).unwrap()[0].name();
    let conn = Connection::open(dir.path().join(&name)).unwrap();
    conn.execute_batch(STATEMENTS).unwrap();
    conn.execute("ATTACH ? AS source", [source.path().join(&name).to_str().unwrap()]).unwrap();
    for table in ["meta", "texts", "actions", "gaps", "spans"] {
        conn.execute_batch(&format!("INSERT INTO {table} SELECT * FROM source.{table}")).unwrap();
    }
    conn.execute_batch(&format!("INSERT INTO requests SELECT {COLUMNS} FROM source.requests")).unwrap();
    (dir, head)
}

fn version(dir: &Path, segment: usize) -> u32 {
    let conn = Connection::open(&segments(dir).unwrap()[segment].path).unwrap();
    conn.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
}

/// One request that was tried again, between two that were not.
fn tried() -> Chunk {
    let mut chunk = requests(201, 1);
    chunk.push(&RequestFacts { time_us: BEGIN_US, attempts: 2, tries: TRIES, ..RequestFacts::default() });
    chunk.push(&RequestFacts { time_us: BEGIN_US, ..RequestFacts::default() });
    chunk
}

/// The numbers and texts of the rows that have some.
fn tries(dir: &Path) -> Vec<(u64, String)> {
    let of = |row| match row {
        Row::Request(row) if !row.tries.is_empty() => Some((row.seq, row.tries)),
        Row::Request(_) | Row::Action(_) | Row::Gap(_) => None,
    };
    all(dir).into_iter().filter_map(of).collect()
}

fn prove(dir: &Path, heads: &[Head], rows: u64) {
    let verified = verify(dir, heads, &|| true).unwrap();
    assert!(verified.intact && verified.rows == rows, "{verified:?}");
}

#[test]
fn a_segment_is_read_and_proven_as_it_is() {
    let (dir, head) = folder();
    let path = &segments(dir.path()).unwrap()[0].path;
    let before = std::fs::read(path).unwrap();
    prove(dir.path(), &[head], 202);
    assert_eq!((all(dir.path()).len(), tries(dir.path()).len()), (202, 0));
    assert_eq!(std::fs::read(path).unwrap(), before);
    let (after, _) = Reader::new(dir.path())
        .after(190, &Filter { last: 100, requests: true, actions: true, ..Filter::default() })
        .unwrap();
    assert_eq!(after.len(), 12);
}

#[test]
fn a_segment_is_gone_on_in_and_becomes_the_newer_with_its_first_request() {
    let (dir, head) = folder();
    let mut store = open(dir.path());
    store.write(&[Entry::Action(&action(1))], true).unwrap();
    assert_eq!((store.head().seq, version(dir.path(), 0)), (203, 1), "an older process can still go on");
    prove(dir.path(), &[head], 203);
    store.write(&[Entry::Action(&action(2)), Entry::Requests(&tried())], false).unwrap();
    assert_eq!(version(dir.path(), 0), 2);
    assert_eq!(tries(dir.path()), [(206, TRIES.to_owned())]);
    prove(dir.path(), &[head, store.head()], 207);
    store.close().unwrap();
    let conn = Connection::open(&segments(dir.path()).unwrap()[0].path).unwrap();
    let readable = "SELECT group_concat(seq || ' ' || tries) FROM readable WHERE tries IS NOT NULL AND method IS NULL";
    assert_eq!(conn.query_row(readable, [], |row| row.get::<_, String>(0)).unwrap(), format!("206 {TRIES}"));
    drop(conn);
    let mut store = open(dir.path());
    store.write(&[Entry::Requests(&tried())], false).unwrap();
    prove(dir.path(), &[head, store.head()], 210);
    assert_eq!(segments(dir.path()).unwrap().len(), 1);
}

#[test]
fn a_step_that_fails_is_taken_with_the_next_write() {
    let (dir, head) = folder();
    let mut store = Store::open(dir.path(), Limits { max_pages: Some(1), ..LIMITS }, BEGIN_US).unwrap();
    let many = requests(201, 3000);
    assert!(store.write(&[Entry::Requests(&many)], false).is_err());
    assert_eq!((store.head(), version(dir.path(), 0)), (head, 1));
    prove(dir.path(), &[head], 202);
    store.set_limits(LIMITS);
    assert!(!store.recover(BEGIN_US).unwrap());
    store.write(&[Entry::Requests(&many), Entry::Requests(&tried())], false).unwrap();
    assert_eq!(version(dir.path(), 0), 2);
    prove(dir.path(), &[head, store.head()], 3205);
}

#[test]
fn a_closed_segment_stays_what_it_is_beside_newer_ones() {
    let (dir, head) = folder();
    let mut store = open(dir.path());
    store.set_limits(Limits { segment_bytes: 0, ..LIMITS });
    drop(store.rotate_if_due(BEGIN_US).unwrap().unwrap());
    store.set_limits(LIMITS);
    store.write(&[Entry::Requests(&tried())], false).unwrap();
    sweep(dir.path(), &KEEP_ALL, BEGIN_US).unwrap();
    assert_eq!((version(dir.path(), 0), version(dir.path(), 1)), (1, 2));
    prove(dir.path(), &[head, store.head()], 205);
    assert_eq!((all(dir.path()).len(), tries(dir.path())), (205, vec![(204, TRIES.to_owned())]));
    let by_id = Filter {
        last: 10,
        requests: true,
        request_id: Some(format!("{:032x}", 77)),
        retried: false,
        ..Filter::default()
    };
    assert_eq!(Reader::new(dir.path()).search(&by_id, Duration::from_mins(1)).unwrap().rows.len(), 1);
    let retried = Filter { request_id: None, retried: true, ..by_id };
    let found = Reader::new(dir.path()).search(&retried, Duration::from_mins(1)).unwrap().rows;
    assert_eq!(found.iter().map(Row::seq).collect::<Vec<_>>(), [50, 100, 151, 201, 204]);
}

#[test]
fn a_column_that_is_put_there_by_hand_is_found() {
    let (dir, _) = folder();
    sql(dir.path(), 0, "ALTER TABLE requests ADD COLUMN tries");
    prove(dir.path(), &[], 202);
    sql(dir.path(), 0, "UPDATE requests SET tries = 'x' WHERE seq = 10");
    let broken = verify(dir.path(), &[], &|| true).unwrap().broken.unwrap();
    assert!(broken.seq == 10 && broken.reason.starts_with("changed"), "{broken:?}");
}

#[test]
fn a_text_that_is_changed_or_taken_away_is_found() {
    let check = |statements: &str| {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path());
        store.write(&[Entry::Requests(&requests(1, 30)), Entry::Requests(&tried())], false).unwrap();
        store.close().unwrap();
        prove(dir.path(), &[], 33);
        sql(dir.path(), 0, statements);
        let broken = verify(dir.path(), &[], &|| true).unwrap().broken.expect(statements);
        assert!(broken.seq == 32 && broken.reason.starts_with("changed"), "{statements}: {broken:?}");
    };
    for value in ["NULL", "''", "'x'", "tries || ' '", "CAST(tries AS BLOB)", "7", "2.5"] {
        check(&format!("UPDATE requests SET tries = {value} WHERE seq = 32"));
    }
    check("DROP VIEW readable; ALTER TABLE requests DROP COLUMN tries");
    check("DROP VIEW readable; ALTER TABLE requests RENAME COLUMN tries TO attempted; PRAGMA user_version = 1");
}
