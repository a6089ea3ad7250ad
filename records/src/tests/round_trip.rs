//! Whatever facts are written come back as they were, and prove.

use proptest::prelude::*;
use shared::audit::{ActionFacts, Chunk, Door, Gap, RequestFacts, RequestRow, Row};

use super::{all, open};
use crate::{Entry, verify};

/// Texts of every kind: empty, plain, long, with NUL, with quotes; ids in the packed form and nearly so.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[a-z]{1,8}",
        "\\PC{0,40}",
        "[\\x00-\\x1f'\"%]{1,10}",
        "[0-9a-f]{32}",
        "[0-9A-F]{32}",
        "x{250,260}",
        "[0-9]{1,9}"
    ]
}

prop_compose! {
    fn request()(
        texts in prop::collection::vec(text(), 18),
        numbers in prop::array::uniform5(any::<u64>()),
        time_us in any::<i64>(), status in any::<u16>(), attempts in any::<u32>()
    ) -> RequestRow {
        let mut texts = texts.into_iter();
        let mut next = || texts.next().unwrap_or_default();
        RequestRow {
            seq: 0, time_us, request_id: next(), client: next(), method: next(), scheme: next(), listener: next(),
            host: next(), path: next(), query: next(), protocol: next(), route: next(), upstream: next(),
            endpoint: next(), status, outcome: next(), bytes_in: numbers[0], bytes_out: numbers[1],
            duration_us: numbers[2], upstream_us: numbers[3], attempts, principal: next(), generation: numbers[4],
            user_agent: next(), matched: next(), tries: next(), credential: next(),
        }
    }
}

prop_compose! {
    fn action()(texts in prop::collection::vec(text(), 6), numbers in prop::array::uniform2(any::<u64>()),
                time_us in any::<i64>(), door in prop::sample::select(vec![Door::Socket, Door::Http, Door::Signal, Door::Start]))
                -> ActionFacts {
        let mut texts = texts.into_iter();
        let mut next = || texts.next().unwrap_or_default();
        ActionFacts {
            time_us, door, actor: next(), command: next(), arguments: next(), outcome: next(), message: next(),
            generation_before: numbers[0], generation_after: numbers[1], changes: next(),
        }
    }
}

prop_compose! {
    fn gap()(time_us in any::<i64>(), missing in any::<Option<u64>>(), from_us in any::<Option<i64>>(),
             until_us in any::<Option<i64>>(), reason in text()) -> Gap {
        Gap { time_us, missing, from_us, until_us, reason }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_row_comes_back_and_proves(
        requests in prop::collection::vec(request(), 0..40), action in action(), gap in gap()
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path());
        let mut chunk = Chunk::default();
        for row in &requests {
            chunk.push(&row.facts());
        }
        let written =
            store.write(&[Entry::Gap(&gap), Entry::Requests(&chunk), Entry::Action(&action)], true).unwrap();
        prop_assert_eq!((written.first, written.last), (1, requests.len() as u64 + 2));
        let rows = all(dir.path());
        prop_assert_eq!(rows.len(), requests.len() + 2);
        for (index, (row, seq)) in rows.iter().zip(1..).enumerate() {
            prop_assert_eq!(row.seq(), seq);
            match row {
                Row::Gap(row) => prop_assert_eq!(&row.gap, &gap),
                Row::Action(row) => prop_assert_eq!(&row.facts, &action),
                Row::Request(row) => prop_assert_eq!(row, &RequestRow { seq, ..requests[index - 1].clone() }),
            }
        }
        let head = store.head();
        let verified = verify(dir.path(), &[head], &|| true).unwrap();
        prop_assert!(verified.intact, "{:?}", verified.broken);
        prop_assert_eq!(verified.rows, rows.len() as u64);
        prop_assert_eq!(verified.head, head.to_string());
    }
}

#[test]
fn people_can_read_the_view() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let facts =
        RequestFacts { request_id: "0123456789abcdef0123456789abcdef", route: "users", ..RequestFacts::default() };
    let mut chunk = Chunk::default();
    chunk.push(&RequestFacts { time_us: 1_500_000, status: 200, duration_us: 1500, ..facts });
    store.write(&[Entry::Requests(&chunk)], false).unwrap();
    store.close().unwrap();
    let conn = rusqlite::Connection::open(&crate::segments(dir.path()).unwrap()[0].path).unwrap();
    let row = conn
        .query_row("SELECT time, status, route, request_id, duration_ms, upstream FROM readable", [], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, u16>(1)?,
                row.get::<_, String>(2)?,
                row.get::<_, String>(3)?,
                row.get::<_, f64>(4)?,
                row.get::<_, Option<String>>(5)?,
            ))
        })
        .unwrap();
    let id = facts.request_id.to_owned();
    assert_eq!(row, ("1970-01-01T00:00:01.500Z".to_owned(), 200, "users".to_owned(), id, 1.5, None));
}
