//! What the store promises, tried from outside: each test has a folder of its own.

mod life;
mod older;
mod round_trip;
mod searches;
mod tampering;

use std::path::Path;

use rusqlite::Connection;
use shared::audit::{ActionFacts, Chunk, Door, Filter, RequestFacts, Row};

use crate::{Entry, Limits, Reader, Store, segments};

/// The time of the first row: each later one is a second younger.
pub(super) const BEGIN_US: i64 = 1_790_000_000_000_000;

pub(super) const LIMITS: Limits = Limits { segment_bytes: 512 << 20, segment_us: 86_400_000_000, max_pages: None };

pub(super) fn open(dir: &Path) -> Store {
    Store::open(dir, LIMITS, BEGIN_US).unwrap()
}

/// Requests numbered from `from`, in chunks as workers make them.
pub(super) fn requests(from: u64, count: u64) -> Chunk {
    let mut chunk = Chunk::with_capacity(count as usize);
    for number in from..from + count {
        let id = format!("{number:032x}");
        let path = format!("/items/{number}");
        let client = format!("10.0.{}.{}", number / 256 % 256, number % 256);
        chunk.push(&RequestFacts {
            time_us: BEGIN_US + number as i64 * 1_000_000,
            request_id: &id,
            client: &client,
            method: if number.is_multiple_of(5) { "POST" } else { "GET" },
            scheme: "http",
            host: "shop.example",
            path: &path,
            protocol: "HTTP/1.1",
            route: if number.is_multiple_of(2) { "even" } else { "odd" },
            upstream: "shop",
            endpoint: "127.0.0.1:8001",
            status: if number.is_multiple_of(10) { 404 } else { 200 },
            outcome: "served",
            duration_us: number,
            attempts: if number.is_multiple_of(50) { 2 } else { 1 },
            user_agent: "curl/8",
            ..RequestFacts::default()
        });
    }
    chunk
}

pub(super) fn action(number: u64) -> ActionFacts {
    ActionFacts {
        time_us: BEGIN_US + number as i64 * 1_000_000,
        door: Door::Socket,
        actor: format!("root (uid 0, pid {number})"),
        command: "reload".to_owned(),
        arguments: "{}".to_owned(),
        outcome: "done".to_owned(),
        message: String::new(),
        generation_before: number,
        generation_after: number + 1,
        changes: String::new(),
    }
}

/// `count` requests and, after every hundredth of them, an action: rows 1 to `count + count / 100`.
pub(super) fn fill(store: &mut Store, count: u64) {
    for from in (0..count).step_by(100) {
        let chunk = requests(from + 1, 100.min(count - from));
        store.write(&[Entry::Requests(&chunk)], false).unwrap();
        if chunk.len() == 100 {
            store.write(&[Entry::Action(&action(from + 100))], true).unwrap();
        }
    }
}

/// Segments of about `rows` requests each, three and the open one, with their indexes.
pub(super) fn fill_segments(dir: &Path, rows: u64) {
    let mut store = open(dir);
    for segment in 0..4 {
        store.write(&[Entry::Requests(&requests(segment * rows + 1, rows))], false).unwrap();
        if segment < 3 {
            store.set_limits(Limits { segment_bytes: 0, ..LIMITS });
            assert!(store.rotate_if_due(BEGIN_US).unwrap().is_some());
            store.set_limits(LIMITS);
        }
    }
    store.close().unwrap();
    crate::sweep(dir, &KEEP_ALL, BEGIN_US).unwrap();
}

pub(super) const KEEP_ALL: shared::config::Keep = shared::config::Keep { days: None, size_bytes: None };

/// Every row, oldest first.
pub(super) fn all(dir: &Path) -> Vec<Row> {
    let everything = Filter { last: usize::MAX >> 1, requests: true, actions: true, ..Filter::default() };
    Reader::new(dir).search(&everything, std::time::Duration::from_mins(1)).unwrap().rows
}

/// Changes a closed store by hand.
pub(super) fn sql(dir: &Path, segment: usize, statements: &str) {
    let path = &segments(dir).unwrap()[segment].path;
    Connection::open(path).unwrap().execute_batch(statements).unwrap();
}
