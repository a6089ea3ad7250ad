//! What a query finds, in one segment and over several, with and without indexes.

use std::path::Path;
use std::time::Duration;

use shared::audit::{AuditQuery, Chunk, Filter, Kind, RequestFacts, Row};

use super::{BEGIN_US, fill, fill_segments, open};
use crate::{Entry, Limits, Reader};

const SECOND_US: i64 = 1_000_000;

/// The numbers of the rows that a query finds. "Now" is a thousand seconds after the first row.
fn found(dir: &Path, build: impl FnOnce(&mut AuditQuery)) -> Vec<u64> {
    let mut query = AuditQuery::default();
    build(&mut query);
    let filter = Filter::read(&query, BEGIN_US + 1000 * SECOND_US).unwrap();
    let found = Reader::new(dir).search(&filter, Duration::from_mins(1)).unwrap();
    assert_eq!(found.reached, None);
    found.rows.iter().map(Row::seq).collect()
}

/// A thousand requests and ten actions in one open segment.
fn one_segment() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    fill(&mut store, 1000);
    store.close().unwrap();
    dir
}

#[test]
fn the_newest_come_oldest_first_and_can_be_paged() {
    let dir = one_segment();
    assert_eq!(found(dir.path(), |_| ()), (961..=1010).collect::<Vec<_>>());
    assert_eq!(found(dir.path(), |query| (query.last, query.before) = (Some(3), Some(961))), [958, 959, 960]);
    assert_eq!(found(dir.path(), |query| query.before = Some(1)), [0; 0]);
    assert_eq!(found(dir.path(), |query| query.last = Some(0)), [0; 0]);
    assert_eq!(found(dir.path(), |query| query.last = Some(10_000)).len(), 1010);
}

#[test]
fn kinds_are_told_apart() {
    let dir = one_segment();
    let actions: Vec<u64> = (1..=10).map(|hundred| hundred * 101).collect();
    assert_eq!(found(dir.path(), |query| query.kind = Some(Kind::Actions)), actions);
    assert_eq!(found(dir.path(), |query| query.actor = Some("pid 300)".into())), [303]);
    let requests = found(dir.path(), |query| (query.kind, query.last) = (Some(Kind::Requests), Some(10_000)));
    assert_eq!(requests.len(), 1000);
}

#[test]
fn every_filter_of_requests_lets_through_what_it_says() {
    for dir in [one_segment(), several_segments()] {
        let count = |build: &dyn Fn(&mut AuditQuery)| {
            found(dir.path(), |query| {
                query.last = Some(10_000);
                build(query);
            })
            .len()
        };
        assert_eq!(count(&|query| query.status = Some("404".into())), 100);
        assert_eq!(count(&|query| query.status = Some("4xx".into())), 100);
        assert_eq!(count(&|query| query.status = Some("100-399".into())), 900);
        assert_eq!(count(&|query| query.route = Some("odd".into())), 500);
        assert_eq!(count(&|query| query.route = Some("strange".into())), 0);
        assert_eq!(count(&|query| query.upstream = Some("shop".into())), 1000);
        assert_eq!(count(&|query| query.outcome = Some("served".into()).filter(|_| query.kind.is_none())), 1000);
        assert_eq!(count(&|query| query.method = Some("post".into())), 200);
        assert_eq!(count(&|query| query.path = Some("/items/7".into())), 1);
        assert_eq!(count(&|query| query.path = Some("/items/7*".into())), 111);
        assert_eq!(count(&|query| query.path = Some("/it_ms/%*".into())), 0);
        assert_eq!(count(&|query| query.client = Some("10.0.1.5".into())), 1);
        assert_eq!(count(&|query| query.client = Some("10.0.1.0/24".into())), 256);
        assert_eq!(count(&|query| query.request_id = Some(format!("{:032x}", 250))), 1);
        assert_eq!(count(&|query| query.request_id = Some("250".into())), 0);
        assert_eq!(count(&|query| query.retried = true), 20);
        assert_eq!(
            count(&|query| (query.status, query.route) = (Some("404".into()), Some("odd".into()))),
            0,
            "filters are joined by and"
        );
    }
}

#[test]
fn who_was_recognised_is_found_by_name_and_by_a_part_of_what_by() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    // Too long for the table of texts: it stands in its row.
    let long = format!("{}, api_key pk_long", "x".repeat(300));
    let mut chunk = Chunk::default();
    for (principal, credential) in
        [("alice", "jwt.main"), ("alice", "api_key pk_ab12cd34"), ("", ""), ("jwt.main", "basic"), ("bob", &long)]
    {
        chunk.push(&RequestFacts { time_us: BEGIN_US, principal, credential, ..RequestFacts::default() });
    }
    store.write(&[Entry::Requests(&chunk)], false).unwrap();
    store.close().unwrap();
    let check = |principal: Option<&str>, credential: Option<&str>, expected: &[u64]| {
        let found = found(dir.path(), |query| {
            (query.principal, query.credential) = (principal.map(str::to_owned), credential.map(str::to_owned));
        });
        assert_eq!(found, expected, "{principal:?} {credential:?}");
    };
    check(Some("alice"), None, &[1, 2]);
    check(Some("ali"), None, &[]);
    check(None, Some("jwt.main"), &[1]);
    check(None, Some("api_key"), &[2, 5]);
    check(None, Some("pk_long"), &[5]);
    check(None, Some("nothing"), &[]);
    check(Some("alice"), Some("api_key pk_ab12cd34"), &[2]);
}

#[test]
fn times_bound_the_search() {
    let dir = one_segment();
    // A request's second is its number: "300s ago" is the seven hundredth.
    let seqs = found(dir.path(), |query| (query.since, query.until) = (Some("300s".into()), Some("298s".into())));
    assert_eq!(seqs, [706, 707, 708, 709]);
    let dir = several_segments();
    let seqs = found(dir.path(), |query| (query.since, query.until) = (Some("300s".into()), Some("298s".into())));
    assert_eq!(seqs, [700, 701, 702]);
}

/// The same thousand requests in four segments.
fn several_segments() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fill_segments(dir.path(), 250);
    dir
}

#[test]
fn segments_are_searched_as_one() {
    let dir = several_segments();
    assert_eq!(found(dir.path(), |query| query.last = Some(300)), (701..=1000).collect::<Vec<_>>());
    assert_eq!(found(dir.path(), |query| (query.before, query.last) = (Some(252), Some(3))), [249, 250, 251]);
}

#[test]
fn following_goes_on_where_it_was() {
    for dir in [one_segment(), several_segments()] {
        let reader = Reader::new(dir.path());
        let odd = Filter { last: 70, requests: true, route: Some("odd".into()), ..Filter::default() };
        let (mut at, mut seqs) = (0, Vec::new());
        loop {
            let (rows, reached) = reader.after(at, &odd).unwrap();
            if reached == at {
                break;
            }
            assert!(rows.len() <= 70 && reached > at);
            at = reached;
            seqs.extend(rows.iter().map(Row::seq));
        }
        assert_eq!(seqs.len(), 500);
        assert!(seqs.is_sorted());
        assert_eq!(at, reader.head().unwrap().seq);
    }
}

#[test]
fn a_search_that_runs_out_of_time_says_how_far_it_got() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.write(&[Entry::Requests(&super::requests(1, 30_000))], false).unwrap();
    let nothing = Filter { last: 50, requests: true, route: Some("none".into()), ..Filter::default() };
    let reader = Reader::new(dir.path());
    let first = reader.search(&nothing, Duration::ZERO).unwrap();
    let reached = first.reached.expect("no time at all");
    assert!(reached > 1 && reached < 30_000);
    let rest = reader.search(&Filter { before: Some(reached), ..nothing.clone() }, Duration::from_mins(1)).unwrap();
    assert_eq!(rest.reached, None);
    // Enough is found in the first stretch: that is a whole answer.
    assert_eq!(reader.search(&Filter { route: None, ..nothing }, Duration::ZERO).unwrap().reached, None);
}

#[test]
fn a_search_by_time_passes_over_what_cannot_match() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    for from in (1..=40_000).step_by(4000) {
        store.write(&[Entry::Requests(&super::requests(from, 4000))], false).unwrap();
    }
    let second = |number: i64| Some(BEGIN_US + number * SECOND_US);
    let early = Filter { last: 50, requests: true, since_us: second(1), until_us: second(20), ..Filter::default() };
    let found = Reader::new(dir.path()).search(&early, Duration::from_mins(1)).unwrap();
    assert_eq!(found.rows.iter().map(Row::seq).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
    // With no time to spare it gets as far: the spans between are never read.
    let hasty = Reader::new(dir.path()).search(&early, Duration::ZERO).unwrap();
    assert!(hasty.reached.is_none_or(|reached| reached > 32_000), "{:?}", hasty.reached);
}

#[test]
fn reading_goes_on_while_rows_are_written_and_segments_change() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.set_limits(Limits { segment_bytes: 256 << 10, ..super::LIMITS });
    let path = dir.path().to_owned();
    std::thread::scope(|scope| {
        let writing = scope.spawn(move || {
            for from in (1..=20_000).step_by(500) {
                store.write(&[Entry::Requests(&super::requests(from, 500))], false).unwrap();
                store.rotate_if_due(BEGIN_US).unwrap();
            }
            store.close().unwrap();
        });
        let newest = Filter { last: 50, requests: true, actions: true, ..Filter::default() };
        while !writing.is_finished() {
            let rows = Reader::new(&path).search(&newest, Duration::from_secs(10)).unwrap().rows;
            let seqs: Vec<u64> = rows.iter().map(Row::seq).collect();
            assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "{seqs:?}");
            assert!(crate::verify(&path, &[], &|| true).unwrap().intact);
            crate::sweep(&path, &super::KEEP_ALL, BEGIN_US).unwrap();
        }
        writing.join().unwrap();
    });
    assert!(crate::segments(dir.path()).unwrap().len() > 3);
    assert_eq!(found(dir.path(), |query| query.last = Some(10_000)).len(), 10_000);
}
