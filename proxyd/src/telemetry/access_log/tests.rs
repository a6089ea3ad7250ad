//! The access log from outside: what lands in its target, and what happens when that does not take it.

use std::fs::{self, File};
use std::io::{PipeReader, Read};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread;
use std::time::Instant;

use serde_json::Value;
use shared::config::{Level, Redact};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn config(access: config::AccessLog) -> Log {
    Log { level: Level::Info, format: LogFormat::Json, access, slow_request: None, redact: Redact::default() }
}

fn to_file(path: &Path) -> Log {
    config(config::AccessLog::File(path.to_path_buf()))
}

/// Logs the paths and hands them over.
fn say(worker: &WorkerLog, paths: &[&str]) {
    for path in paths {
        worker.line(&RequestFacts { path, ..RequestFacts::default() }, LogFormat::Json);
    }
    worker.flush();
}

/// The paths in a log; `+N` where it tells of lost lines.
fn told(log: &str) -> Vec<String> {
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .map(|line| match line["dropped_lines"].as_u64() {
            Some(dropped) => format!("+{dropped}"),
            None => line["path"].as_str().unwrap().to_owned(),
        })
        .collect()
}

fn wait_for(file: &Path, expected: &[&str]) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = told(&fs::read_to_string(file).unwrap_or_default());
        if seen == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{seen:?} instead of {expected:?} in {file:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A log that writes to a pipe which blocks when it is full.
fn into_pipe() -> (Arc<AccessLog>, PipeReader) {
    let (reader, writer) = io::pipe().unwrap();
    let target = Target::of_file(File::from(OwnedFd::from(writer)));
    let prepared = Prepared { access: config::AccessLog::Stdout, format: LogFormat::Json, target: Some(target) };
    (AccessLog::start_with(prepared).unwrap(), reader)
}

#[test]
fn a_file_is_appended_to_and_reopened_by_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let (path, old) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    fs::write(&path, "{\"path\":\"before\"}\n").unwrap();
    let log = AccessLog::start(&to_file(&path)).unwrap();
    let (one, two) = (log.worker(), log.worker());
    say(&one, &["a", "b"]);
    wait_for(&path, &["before", "a", "b"]);
    say(&two, &["c"]);
    wait_for(&path, &["before", "a", "b", "c"]);

    fs::rename(&path, &old).unwrap();
    say(&one, &["d"]);
    wait_for(&old, &["before", "a", "b", "c", "d"]);
    log.reopen().unwrap();
    say(&one, &["e"]);
    wait_for(&path, &["e"]);
    wait_for(&old, &["before", "a", "b", "c", "d"]);
}

#[test]
fn stop_writes_all_that_was_handed_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let log = AccessLog::start(&to_file(&path)).unwrap();
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                let worker = log.worker();
                for _ in 0..1_000 {
                    worker.line(&RequestFacts { path: "x", ..RequestFacts::default() }, LogFormat::Json);
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    assert!(log.stop(PATIENCE));
    assert_eq!(told(&fs::read_to_string(&path).unwrap()).len(), 4_000);
    assert_eq!(log.dropped(), 0);
    assert!(log.stop(PATIENCE), "again");
}

#[test]
fn a_target_that_cannot_be_opened_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let log = AccessLog::start(&to_file(&path)).unwrap();
    for wrong in [folder.path().join("absent/access.log"), folder.path().to_path_buf()] {
        let error = AccessLog::prepare(&to_file(&wrong)).unwrap_err().to_string();
        assert!(error.contains(wrong.to_str().unwrap()), "{error}");
    }
    say(&log.worker(), &["a"]);
    wait_for(&path, &["a"]);

    let moved = folder.path().join("sub");
    fs::create_dir(&moved).unwrap();
    fs::rename(&path, moved.join("access.log")).unwrap();
    fs::create_dir(&path).unwrap();
    log.reopen().unwrap_err();
    say(&log.worker(), &["b"]);
    wait_for(&moved.join("access.log"), &["a", "b"]);
}

#[test]
fn the_target_changes_while_workers_write() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("1"), folder.path().join("2"));
    let log = AccessLog::start(&config(config::AccessLog::Off)).unwrap();
    let worker = log.worker();
    say(&worker, &["a"]);
    log.apply(AccessLog::prepare(&to_file(&first)).unwrap());
    say(&worker, &["b"]);
    wait_for(&first, &["b"]);
    log.apply(AccessLog::prepare(&to_file(&second)).unwrap());
    say(&worker, &["c"]);
    wait_for(&second, &["c"]);
    log.apply(AccessLog::prepare(&config(config::AccessLog::Off)).unwrap());
    say(&worker, &["d"]);
    drop(worker);
    assert!(log.stop(PATIENCE));
    wait_for(&first, &["b"]);
    wait_for(&second, &["c"]);
}

#[test]
fn a_target_that_blocks_costs_lines_and_holds_up_nobody() {
    let (log, mut reader) = into_pipe();
    let worker = log.worker();
    let path = "p".repeat(8_000);
    let mut said = 0;
    // The pipe and the queue take some 4.3 MB; the rest must be dropped, not waited for.
    while log.dropped() == 0 {
        worker.line(&RequestFacts { path: &path, ..RequestFacts::default() }, LogFormat::Json);
        said += 1;
        assert!(said < 100_000, "nothing is ever dropped");
    }
    worker.flush();
    assert!(!log.stop(Duration::from_millis(20)), "the target still blocks");
    let dropped = log.dropped();

    let read = thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    });
    assert!(log.stop(PATIENCE));
    let told = told(&read.join().unwrap());
    let lost: u64 = told.iter().filter_map(|line| line.strip_prefix('+')?.parse::<u64>().ok()).sum();
    let kept = told.iter().filter(|line| !line.starts_with('+')).count() as u64;
    assert_eq!((lost, kept), (dropped, said - dropped));
}

#[test]
fn a_reader_that_is_gone_ends_nothing() {
    let (log, reader) = into_pipe();
    drop(reader);
    let worker = log.worker();
    say(&worker, &["a", "b"]);
    say(&worker, &["c"]);
    assert!(log.stop(PATIENCE));
    assert_eq!(log.dropped(), 3);
}

#[test]
fn a_full_disk_is_survived_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let log = AccessLog::start(&to_file(Path::new("/dev/full"))).unwrap();
    let worker = log.worker();
    say(&worker, &["a", "b"]);
    let deadline = Instant::now() + PATIENCE;
    while log.dropped() < 2 {
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(1));
    }
    log.apply(AccessLog::prepare(&to_file(&path)).unwrap());
    say(&worker, &["c"]);
    drop(worker);
    assert!(log.stop(PATIENCE));
    let mut seen = told(&fs::read_to_string(&path).unwrap());
    seen.sort();
    assert_eq!(seen, ["+2", "c"]);
}

#[test]
fn slow_requests_are_told_within_bounds() {
    let (log, _reader) = into_pipe();
    let worker = log.worker();
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&told);
    let subscriber = tracing_subscriber::fmt().json().with_writer(move || Sink(Arc::clone(&sink))).finish();
    tracing::subscriber::with_default(subscriber, || {
        let at = |second: i64, duration_us| RequestFacts {
            time_us: second * 1_000_000,
            duration_us,
            path: "/slow",
            ..RequestFacts::default()
        };
        assert!(!worker.slow(&at(1, 1_000_000), Duration::from_secs(1)));
        for _ in 0..105 {
            assert!(worker.slow(&at(1, 1_000_001), Duration::from_secs(1)));
        }
        assert!(worker.slow(&at(2, 1_000_001), Duration::from_secs(1)));
    });
    let text = String::from_utf8(told.lock().unwrap().clone()).unwrap();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), 101);
    assert_eq!(events[0]["fields"]["path"], "/slow");
    assert_eq!(events[0]["fields"]["suppressed"], 0);
    assert_eq!(events[100]["fields"]["suppressed"], 5);
}

struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
