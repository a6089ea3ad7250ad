//! Segments of versions 1 and 2, which had no `tries` or no `credential`: they are read, proven and gone on in.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use shared::audit::{Chunk, Filter, RequestFacts, Row};

use super::{BEGIN_US, KEEP_ALL, LIMITS, action, all, fill, open, requests, sql};
use crate::{Entry, Head, Limits, Reader, Store, segments, sweep, verify};

/// What an older version made a segment with: version 1 without ADDED.
const STATEMENTS: &str = "
PRAGMA application_id = 0x70786164;
PRAGMA user_version = VERSION;
CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
CREATE TABLE texts (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;
CREATE TABLE requests (
  seq INTEGER PRIMARY KEY, time_us INTEGER, status INTEGER, method, path, query, client, request_id, scheme, listener, host,
  protocol, route, upstream, endpoint, outcome, principal, user_agent, matched, bytes_in, bytes_out, duration_us, upstream_us,
  attempts, generation, link ADDED);
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

/// The columns that rows of version 1 had. What they hold, and how it is chained, is what rows without the later ones hold today.
const COLUMNS: &str = "seq, time_us, status, method, path, query, client, request_id, scheme, listener, host, protocol, route, \
    upstream, endpoint, outcome, principal, user_agent, matched, bytes_in, bytes_out, duration_us, upstream_us, attempts, \
    generation, link";

const TRIES: &str = "127.0.0.1:8001 connect, 127.0.0.1:8002 503";

/// What is recognised at once, and after others.
const CREDENTIALS: [&str; 2] = ["jwt.main", "api_key pk_ab12cd34"];

/// A folder as an older version left it after 200 requests and two actions, and its head. Of version 2 with one more row, which
/// tells of tries.
fn folder(of_version: u32) -> (tempfile::TempDir, Head) {
    let source = tempfile::tempdir().unwrap();
    let mut store = open(source.path());
    fill(&mut store, 200);
    if of_version > 1 {
        let mut chunk = Chunk::default();
        chunk.push(&RequestFacts { time_us: BEGIN_US, attempts: 2, tries: "older", ..RequestFacts::default() });
        store.write(&[Entry::Requests(&chunk)], false).unwrap();
    }
    let head = store.head();
    store.close().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let name = segments(source.path()).unwrap()[0].name();
    let conn = Connection::open(dir.path().join(&name)).unwrap();
    let added = if of_version > 1 { ", tries" } else { "" };
    conn.execute_batch(&STATEMENTS.replace("VERSION", &of_version.to_string()).replace(" ADDED", added)).unwrap();
    conn.execute("ATTACH ? AS source", [source.path().join(&name).to_str().unwrap()]).unwrap();
    for table in ["meta", "texts", "actions", "gaps", "spans"] {
        conn.execute_batch(&format!("INSERT INTO {table} SELECT * FROM source.{table}")).unwrap();
    }
    conn.execute_batch(&format!("INSERT INTO requests SELECT {COLUMNS}{added} FROM source.requests")).unwrap();
    (dir, head)
}

fn version(dir: &Path, segment: usize) -> u32 {
    let conn = Connection::open(&segments(dir).unwrap()[segment].path).unwrap();
    conn.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
}

/// One request that was tried again, of somebody who was recognised; before and after it others that were not tried again, the last
/// of somebody too.
fn tried() -> Chunk {
    let mut chunk = requests(201, 1);
    let [one, other] = CREDENTIALS;
    let of =
        |principal, credential| RequestFacts { time_us: BEGIN_US, principal, credential, ..RequestFacts::default() };
    chunk.push(&RequestFacts { attempts: 2, tries: TRIES, ..of("alice", one) });
    chunk.push(&of("", ""));
    chunk.push(&of("ci", other));
    chunk
}

/// The numbers, tries and credentials of the rows that have some.
fn told(dir: &Path) -> Vec<(u64, String, String)> {
    let of = |row| match row {
        Row::Request(row) if !row.tries.is_empty() || !row.credential.is_empty() => {
            Some((row.seq, row.tries, row.credential))
        }
        Row::Request(_) | Row::Action(_) | Row::Gap(_) => None,
    };
    all(dir).into_iter().filter_map(of).collect()
}

/// What the rows of [`tried`] tell, the first of which has the number `first`; behind what the folder of that version told.
fn expected(of_version: u32, first: u64) -> Vec<(u64, String, String)> {
    let [one, other] = CREDENTIALS;
    let before = (of_version > 1).then(|| (203, "older".to_owned(), String::new()));
    let after = [(first + 1, TRIES.to_owned(), one.to_owned()), (first + 3, String::new(), other.to_owned())];
    before.into_iter().chain(after).collect()
}

fn prove(dir: &Path, heads: &[Head], rows: u64) {
    let verified = verify(dir, heads, &|| true).unwrap();
    assert!(verified.intact && verified.rows == rows, "{verified:?}");
}

#[test]
fn a_segment_is_read_and_proven_as_it_is() {
    for of_version in [1, 2] {
        let (dir, head) = folder(of_version);
        let path = &segments(dir.path()).unwrap()[0].path;
        let before = std::fs::read(path).unwrap();
        prove(dir.path(), &[head], head.seq);
        assert_eq!(all(dir.path()).len() as u64, head.seq);
        assert_eq!(told(dir.path()), expected(of_version, 0)[..(of_version - 1) as usize]);
        assert_eq!(std::fs::read(path).unwrap(), before);
        let (after, _) = Reader::new(dir.path())
            .after(190, &Filter { last: 100, requests: true, actions: true, ..Filter::default() })
            .unwrap();
        assert_eq!(after.len() as u64, head.seq - 190);
    }
}

#[test]
fn a_segment_is_gone_on_in_and_becomes_the_newer_with_its_first_request() {
    for of_version in [1, 2] {
        let (dir, head) = folder(of_version);
        let mut store = open(dir.path());
        store.write(&[Entry::Action(&action(1))], true).unwrap();
        let at = head.seq + 1;
        assert_eq!((store.head().seq, version(dir.path(), 0)), (at, of_version), "an older process can still go on");
        prove(dir.path(), &[head], at);
        store.write(&[Entry::Action(&action(2)), Entry::Requests(&tried())], false).unwrap();
        assert_eq!(version(dir.path(), 0), 3);
        assert_eq!(told(dir.path()), expected(of_version, at + 2));
        prove(dir.path(), &[head, store.head()], at + 5);
        store.close().unwrap();
        let conn = Connection::open(&segments(dir.path()).unwrap()[0].path).unwrap();
        let readable = "SELECT group_concat(seq || ' ' || coalesce(tries, '-') || ' ' || credential, '; ') FROM readable \
                        WHERE credential IS NOT NULL AND method IS NULL";
        let [one, other] = CREDENTIALS;
        let expected = format!("{} {TRIES} {one}; {} - {other}", at + 3, at + 5);
        assert_eq!(conn.query_row(readable, [], |row| row.get::<_, String>(0)).unwrap(), expected);
        drop(conn);
        let mut store = open(dir.path());
        store.write(&[Entry::Requests(&tried())], false).unwrap();
        prove(dir.path(), &[head, store.head()], at + 9);
        assert_eq!(segments(dir.path()).unwrap().len(), 1);
    }
}

#[test]
fn a_step_that_fails_is_taken_with_the_next_write() {
    for of_version in [1, 2] {
        let (dir, head) = folder(of_version);
        let mut store = Store::open(dir.path(), Limits { max_pages: Some(1), ..LIMITS }, BEGIN_US).unwrap();
        let many = requests(201, 3000);
        assert!(store.write(&[Entry::Requests(&many)], false).is_err());
        assert_eq!((store.head(), version(dir.path(), 0)), (head, of_version));
        prove(dir.path(), &[head], head.seq);
        store.set_limits(LIMITS);
        assert!(!store.recover(BEGIN_US).unwrap());
        store.write(&[Entry::Requests(&many), Entry::Requests(&tried())], false).unwrap();
        assert_eq!(version(dir.path(), 0), 3);
        prove(dir.path(), &[head, store.head()], head.seq + 3004);
    }
}

#[test]
fn a_closed_segment_stays_what_it_is_beside_newer_ones() {
    for of_version in [1, 2] {
        let (dir, head) = folder(of_version);
        let mut store = open(dir.path());
        store.set_limits(Limits { segment_bytes: 0, ..LIMITS });
        drop(store.rotate_if_due(BEGIN_US).unwrap().unwrap());
        store.set_limits(LIMITS);
        store.write(&[Entry::Requests(&tried())], false).unwrap();
        sweep(dir.path(), &KEEP_ALL, BEGIN_US).unwrap();
        assert_eq!((version(dir.path(), 0), version(dir.path(), 1)), (of_version, 3));
        let at = head.seq + 1;
        prove(dir.path(), &[head, store.head()], at + 3);
        assert_eq!((all(dir.path()).len() as u64, told(dir.path())), (at + 3, expected(of_version, at)));
        let found = |filter: Filter| {
            let filter = Filter { last: 10, requests: true, ..filter };
            let found = Reader::new(dir.path()).search(&filter, Duration::from_mins(1)).unwrap().rows;
            found.iter().map(Row::seq).collect::<Vec<_>>()
        };
        let by_id = |id: u64| Filter { request_id: Some(format!("{id:032x}")), ..Filter::default() };
        assert_eq!(found(by_id(77)), [77]);
        let mut retried = vec![50, 100, 151, 201, at + 1];
        if of_version > 1 {
            retried.insert(4, 203);
        }
        assert_eq!(found(Filter { retried: true, ..Filter::default() }), retried);
        let credential = |text: &str| found(Filter { credential: Some(text.to_owned()), ..Filter::default() });
        assert_eq!((credential("pk_ab12cd34"), credential("jwt.main")), (vec![at + 3], vec![at + 1]));
    }
}

#[test]
fn a_column_that_is_put_there_by_hand_is_found() {
    let check = |of_version, column: &str| {
        let (dir, head) = folder(of_version);
        sql(dir.path(), 0, &format!("ALTER TABLE requests ADD COLUMN {column}"));
        prove(dir.path(), &[], head.seq);
        sql(dir.path(), 0, &format!("UPDATE requests SET {column} = 'x' WHERE seq = 10"));
        let broken = verify(dir.path(), &[], &|| true).unwrap().broken.unwrap();
        assert!(broken.seq == 10 && broken.reason.starts_with("changed"), "{column}: {broken:?}");
    };
    check(1, "tries");
    check(1, "credential");
    check(2, "credential");
}

#[test]
fn a_text_that_is_changed_or_taken_away_is_found() {
    let check = |statements: &str| {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path());
        store.write(&[Entry::Requests(&requests(1, 30)), Entry::Requests(&tried())], false).unwrap();
        store.close().unwrap();
        prove(dir.path(), &[], 34);
        sql(dir.path(), 0, statements);
        let broken = verify(dir.path(), &[], &|| true).unwrap().broken.expect(statements);
        assert!(broken.seq == 32 && broken.reason.starts_with("changed"), "{statements}: {broken:?}");
    };
    for column in ["tries", "credential"] {
        for value in ["NULL", "''", "'x'", "$ || ' '", "CAST($ AS BLOB)", "700", "2.5"] {
            check(&format!("UPDATE requests SET {column} = {} WHERE seq = 32", value.replace('$', column)));
        }
        check(&format!("DROP VIEW readable; ALTER TABLE requests DROP COLUMN {column}"));
        check(&format!(
            "DROP VIEW readable; ALTER TABLE requests RENAME COLUMN {column} TO once; PRAGMA user_version = 1"
        ));
    }
    check("UPDATE texts SET text = 'jwt.other' WHERE text = 'jwt.main'");
    // The same text, in the row instead of by its number; and one column's text in the other.
    check("UPDATE requests SET credential = 'jwt.main' WHERE seq = 32");
    check("UPDATE requests SET tries = 'jwt.main', credential = NULL WHERE seq = 32");
}
