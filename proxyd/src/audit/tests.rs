//! The whole path: from a worker's recorder through the thread to rows that are read back.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use records::Limits;
use shared::audit::{ActionFacts, AuditQuery, Door, RequestFacts, Row};
use shared::config::{Audit, Keep, RequestAudit, WhenFull};

use super::recorder::ROWS;
use super::{NotAudited, Recorder, Writer, start, start_with};

fn config(path: &Path, when_full: WhenFull) -> Audit {
    Audit {
        requests: RequestAudit::All,
        path: path.to_owned(),
        flush: Duration::from_millis(20),
        when_full,
        keep: Keep { days: Some(30), size_bytes: Some(1 << 30) },
    }
}

fn facts() -> RequestFacts<'static> {
    RequestFacts { time_us: super::now_us(), path: "/x", status: 200, outcome: "served", ..RequestFacts::default() }
}

fn action(command: &str) -> ActionFacts {
    ActionFacts {
        time_us: super::now_us(),
        door: Door::Socket,
        actor: "root (uid 0, pid 1)".to_owned(),
        command: command.to_owned(),
        arguments: "{}".to_owned(),
        outcome: "done".to_owned(),
        message: String::new(),
        generation_before: 1,
        generation_after: 2,
        changes: String::new(),
    }
}

/// Runs an audit with one worker, on a runtime such as a worker's.
fn run<T>(when_full: WhenFull, rows: u64, test: impl AsyncFnOnce(&Path, &Writer, Recorder) -> T) -> T {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("audit");
    let config = config(&place, when_full);
    let (writer, mut recorders) = start_with(&config, 1, Limits::of(&config.keep), rows).unwrap();
    let recorder = recorders.pop().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test(&place, &writer, recorder))
}

/// Waits until a condition holds, ten seconds at most.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn rows(writer: &Writer) -> Vec<Row> {
    let query = AuditQuery { last: Some(10_000), ..AuditQuery::default() };
    writer.search(Writer::filter(&query).unwrap()).await.unwrap().rows
}

/// The gap rows: reason, and how many are missing.
async fn gaps(writer: &Writer) -> Vec<(String, Option<u64>)> {
    let gap = |row| match row {
        Row::Gap(row) => Some((row.gap.reason, row.gap.missing)),
        Row::Request(_) | Row::Action(_) => None,
    };
    rows(writer).await.into_iter().filter_map(gap).collect()
}

#[test]
fn requests_and_actions_are_written_in_order_and_prove() {
    run(WhenFull::Wait, ROWS, async |_, writer, recorder| {
        for _ in 0..1000 {
            let place = recorder.try_reserve().unwrap();
            recorder.record(place, &facts());
        }
        recorder.flush();
        assert_eq!(writer.act(action("reload")).await, Ok(1001));
        assert_eq!(rows(writer).await.len(), 1001);
        let head = writer.head();
        assert_eq!(head.seq, 1001);
        let verified = writer.verify(Some(&head.head)).await.unwrap();
        assert!(verified.intact && verified.rows == 1001, "{verified:?}");
        let (after, at) = writer.after(1000, Writer::filter(&AuditQuery::default()).unwrap()).await.unwrap();
        assert!(after.len() == 1 && at == 1001);
        let numbers = writer.numbers();
        assert_eq!((numbers.rows, numbers.actions, numbers.queued, numbers.shed), (1000, 1, 0, 0));
        assert_eq!(numbers.commits, numbers.commit_buckets.iter().sum::<u64>());
        assert!(writer.stop(Duration::from_secs(5)).await);
        assert_eq!(writer.act(action("late")).await, Err(NotAudited));
    });
}

#[test]
fn rows_are_committed_within_the_flush_time_without_more_traffic() {
    run(WhenFull::Wait, ROWS, async |_, writer, recorder| {
        recorder.record(recorder.try_reserve().unwrap(), &facts());
        recorder.flush();
        until("the row is written", || writer.head().seq == 1).await;
    });
}

#[test]
fn a_stop_writes_what_was_handed_over_and_the_next_start_has_nothing_to_report() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), WhenFull::Wait);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for round in 1..=2 {
        let (writer, recorders) = start(&config, 3).unwrap();
        for recorder in recorders {
            std::thread::spawn(move || {
                for _ in 0..5000 {
                    recorder.record(recorder.try_reserve().unwrap(), &facts());
                }
            })
            .join()
            .unwrap();
        }
        runtime.block_on(async {
            assert!(writer.stop(Duration::from_secs(10)).await);
            assert_eq!(writer.head().seq, round * 15_000);
            assert_eq!(gaps(&writer).await, []);
        });
    }
}

#[test]
fn places_come_back_when_rows_are_written_released_or_dropped() {
    run(WhenFull::Wait, 10, async |_, writer, recorder| {
        let mut places: Vec<_> = (0..10).map(|_| recorder.try_reserve().unwrap()).collect();
        assert!(recorder.try_reserve().is_none());
        recorder.release(places.pop().unwrap());
        drop(places.pop());
        places.extend((0..2).map(|_| recorder.try_reserve().unwrap()));
        assert!(recorder.try_reserve().is_none());
        for place in places {
            recorder.record(place, &facts());
        }
        // Nobody flushed: waiting for room does.
        let place = recorder.reserve().await.unwrap();
        recorder.record(place, &facts());
        recorder.flush();
        until("all rows are written", || writer.head().seq == 11).await;
        assert!((0..10).map(|_| recorder.try_reserve()).all(|place| place.is_some()));
    });
}

#[test]
fn texts_are_bounded_too() {
    run(WhenFull::Shed, ROWS, async |_, _, recorder| {
        let long = "x".repeat(1 << 20);
        let mut taken = 0;
        while let Some(place) = recorder.try_reserve() {
            recorder.record(place, &RequestFacts { path: &long, ..facts() });
            taken += 1;
            assert!(taken < 1000 || recorder.reserve().await.is_ok());
            if taken > 64 {
                break;
            }
        }
        assert!(taken >= 64);
    });
}

/// Makes the store unwritable: its folder is moved away and a file put in its place.
fn take_away(place: &Path) {
    std::fs::rename(place, place.with_extension("away")).unwrap();
    std::fs::write(place, b"in the way").unwrap();
}

fn bring_back(place: &Path) {
    std::fs::remove_file(place).unwrap();
    std::fs::rename(place.with_extension("away"), place).unwrap();
}

#[test]
fn without_a_store_requests_wait_and_are_refused_and_all_is_told_afterwards() {
    run(WhenFull::Wait, 10, async |place, writer, recorder| {
        take_away(place);
        for _ in 0..10 {
            recorder.record(recorder.try_reserve().unwrap(), &facts());
        }
        recorder.flush();
        until("the trouble is seen", || !writer.is_writable()).await;
        assert!(writer.state().trouble.is_some());
        let begun = Instant::now();
        assert!(recorder.reserve().await.is_err());
        assert!(begun.elapsed() >= Duration::from_millis(900) && begun.elapsed() < Duration::from_secs(3));
        let begun = Instant::now();
        assert_eq!(writer.act(action("reload")).await, Err(NotAudited));
        assert!(begun.elapsed() < Duration::from_secs(2));
        bring_back(place);
        until("it is written again", || writer.is_writable() && writer.numbers().rows == 10).await;
        until("the refusal is written down", || writer.numbers().gaps == 1).await;
        let rows = rows(writer).await;
        assert!(matches!(&rows[0], Row::Action(row) if row.facts.command == "reload"), "actions come first");
        assert_eq!(gaps(writer).await, [("refused".to_owned(), Some(1))]);
        let place = recorder.reserve().await.unwrap();
        recorder.record(place, &facts());
        assert_eq!(writer.act(action("status")).await.map(|seq| seq > 12), Ok(true));
        assert!(writer.verify(None).await.unwrap().intact);
        drop(recorder);
        assert!(writer.stop(Duration::from_secs(5)).await);
    });
}

#[test]
fn a_full_disk_is_told_and_writing_goes_on_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), WhenFull::Wait);
    let limits = Limits { max_pages: Some(40), ..Limits::of(&config.keep) };
    let (writer, mut recorders) = start_with(&config, 1, limits, ROWS).unwrap();
    let recorder = recorders.pop().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut recorded = 0;
        until("the disk is full", || {
            for _ in 0..256 {
                recorder.record(recorder.try_reserve().unwrap(), &facts());
                recorded += 1;
            }
            recorder.flush();
            !writer.is_writable()
        })
        .await;
        assert!(writer.state().trouble.is_some_and(|trouble| trouble.contains("full")), "{:?}", writer.state());
        let mut acted = 0;
        while writer.act(action("log_level")).await.is_ok() {
            // Room for a last few rows may be left.
            acted += 1;
            assert!(acted < 1000);
        }
        let head = writer.head().head;
        assert!(writer.verify(Some(&head)).await.unwrap().intact);
        writer.reconfigure(&config);
        until("all is written", || writer.is_writable() && writer.numbers().rows == recorded).await;
        let verified = writer.verify(Some(&head)).await.unwrap();
        assert!(verified.intact && verified.gaps.is_empty(), "{verified:?}");
        assert_eq!(verified.rows, recorded + acted + 1);
        assert!(writer.stop(Duration::from_secs(5)).await);
    });
}

#[test]
fn shed_rows_are_served_and_counted_into_a_gap() {
    run(WhenFull::Shed, 10, async |place, writer, recorder| {
        take_away(place);
        for _ in 0..25 {
            let place = recorder.reserve().await.unwrap();
            recorder.record(place, &facts());
        }
        until("the loss is counted", || writer.state().shed == 15).await;
        bring_back(place);
        until("it is written again", || writer.numbers().rows == 10 && writer.numbers().gaps > 0).await;
        assert_eq!(gaps(writer).await, [("shed".to_owned(), Some(15))]);
        assert!(writer.verify(None).await.unwrap().intact);
    });
}

#[test]
fn a_request_that_waits_goes_on_as_soon_as_there_is_room() {
    run(WhenFull::Wait, 10, async |place, _, recorder| {
        take_away(place);
        for _ in 0..10 {
            recorder.record(recorder.try_reserve().unwrap(), &facts());
        }
        let (waited, ()) = tokio::join!(recorder.reserve(), async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            bring_back(place);
        });
        assert!(waited.is_ok());
        recorder.release(waited.unwrap());
    });
}

#[test]
fn settings_change_while_running() {
    run(WhenFull::Wait, 10, async |place, writer, recorder| {
        take_away(place);
        for _ in 0..10 {
            recorder.record(recorder.try_reserve().unwrap(), &facts());
        }
        writer.reconfigure(&config(place, WhenFull::Shed));
        recorder.record(recorder.reserve().await.unwrap(), &facts());
        until("the loss is counted", || writer.numbers().shed == 1).await;
        bring_back(place);
    });
}

#[test]
fn a_stop_without_a_store_ends_in_time_and_says_so() {
    run(WhenFull::Wait, ROWS, async |place, writer, recorder| {
        take_away(place);
        recorder.record(recorder.try_reserve().unwrap(), &facts());
        drop(recorder);
        let begun = Instant::now();
        assert!(!writer.stop(Duration::from_millis(300)).await);
        assert!(begun.elapsed() < Duration::from_secs(3));
    });
}

#[test]
fn a_store_that_cannot_be_opened_is_an_error_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("segment-00000000000000000001.sqlite");
    std::fs::write(&file, b"no database at all").unwrap();
    let error = start(&config(dir.path(), WhenFull::Wait), 1).map(drop).unwrap_err().to_string();
    assert!(error.contains("not an SQLite database"), "{error}");
}

fn record(recorder: &Recorder, rows: usize) {
    for _ in 0..rows {
        recorder.record(recorder.try_reserve().unwrap(), &facts());
    }
    recorder.flush();
}

#[test]
fn a_store_that_is_let_go_of_is_free_and_what_comes_meanwhile_is_held() {
    run(WhenFull::Wait, ROWS, async |place, writer, recorder| {
        record(&recorder, 10);
        writer.let_go().await.unwrap();
        let seq = writer.head().seq;
        assert_eq!(seq, 10, "what was there is written first");
        record(&recorder, 20);
        let (other, _recorders) = start(&config(place, WhenFull::Wait), 1).unwrap();
        assert!(other.stop(Duration::from_secs(5)).await);
        assert_eq!(rows(writer).await.len(), 10);
        writer.take_back().await;
        until("what was held is written", || writer.head().seq == 30).await;
        assert_eq!(writer.act(action("reload")).await, Ok(31));
        assert_eq!(gaps(writer).await, []);
        assert!(writer.verify(None).await.unwrap().intact);
    });
}

#[test]
fn an_heir_writes_what_its_predecessor_still_records() {
    run(WhenFull::Wait, ROWS, async |place, old, recorder| {
        record(&recorder, 5);
        old.let_go().await.unwrap();
        record(&recorder, 700);
        let (new, recorders) = start(&config(place, WhenFull::Wait), 1).unwrap();
        record(&recorders[0], 7);
        let (near, far) = UnixStream::pair().unwrap();
        old.pass_on(near);
        new.inherit(far).unwrap();
        record(&recorder, 300);
        assert!(old.act(action("stop")).await.is_ok());
        assert!(!new.inherited(Duration::from_millis(50)).await, "it is not over yet");
        drop(recorder);
        assert!(old.stop(Duration::from_secs(5)).await);
        until("all is written", || new.head().seq == 5 + 700 + 7 + 300 + 1).await;
        assert_eq!(new.act(action("later")).await, Ok(1014));
        assert_eq!(gaps(&new).await, []);
        assert!(new.verify(None).await.unwrap().intact);
        assert_eq!(old.numbers().queued, 0);
        assert!(new.stop(Duration::from_secs(5)).await);
    });
}

#[test]
fn an_heir_that_is_gone_leaves_the_store_to_its_predecessor() {
    run(WhenFull::Wait, ROWS, async |_, old, recorder| {
        old.let_go().await.unwrap();
        record(&recorder, 10);
        let (near, far) = UnixStream::pair().unwrap();
        drop(far);
        old.pass_on(near);
        until("the rows are written", || old.head().seq == 10).await;
        record(&recorder, 10);
        drop(recorder);
        assert!(old.stop(Duration::from_secs(5)).await);
        assert_eq!((old.head().seq, gaps(old).await), (20, Vec::new()));
    });
}

#[test]
fn what_a_predecessor_does_not_say_is_a_gap() {
    let check = async |text: &str, expected: &[(&str, Option<u64>)]| {
        let dir = tempfile::tempdir().unwrap();
        let (writer, _recorders) = start(&config(dir.path(), WhenFull::Wait), 1).unwrap();
        let (mut near, far) = UnixStream::pair().unwrap();
        near.write_all(text.as_bytes()).unwrap();
        drop(near);
        writer.inherit(far).unwrap();
        assert!(writer.inherited(Duration::from_secs(10)).await);
        writer.act(action("after")).await.unwrap();
        assert!(writer.stop(Duration::from_secs(5)).await);
        let found = gaps(&writer).await;
        let found: Vec<_> = found.iter().map(|(reason, missing)| (reason.as_str(), *missing)).collect();
        assert_eq!(found, expected, "{text}");
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        check("\"end\"\n", &[]).await;
        check("{\"kind\":\"request\",\"path\":\"/x\",\"newer\":1}\n\"end\"\n", &[]).await;
        check("", &[("upgrade", None)]).await;
        check("nonsense\n{\"kind\":\"fly\"}\n\"end\"\n", &[("upgrade", Some(2))]).await;
        check("{\"kind\":\"requ", &[("upgrade", None)]).await;
        let gap =
            "{\"kind\":\"gap\",\"seq\":0,\"time_us\":1,\"missing\":3,\"from_us\":1,\"until_us\":1,\"reason\":\"shed\"}";
        check(&format!("{gap}\n\"end\"\n"), &[("shed", Some(3))]).await;
    });
}

#[test]
fn questions_are_refused_in_words() {
    let query = AuditQuery { status: Some("6xx".to_owned()), ..AuditQuery::default() };
    let error = shared::control::ControlError::from(Writer::filter(&query).unwrap_err());
    assert_eq!(error.code, shared::control::ErrorCode::InvalidArguments);
    assert!(error.message.contains("6xx"));
}
