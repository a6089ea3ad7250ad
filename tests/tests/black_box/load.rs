//! Under load: reloads that fail nobody, and kills after which the record is true. Seconds here; minutes with FULL=1.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::load::Load;
use tests::{Proxyd, Request, Upstream};

use super::websocket;

fn length() -> Duration {
    Duration::from_secs(if std::env::var_os("FULL").is_some() { 180 } else { 15 })
}

#[test]
fn reloads_under_load_fail_nobody() {
    let upstream = Upstream::saying("hello");
    let sockets = websocket::repeater();
    let text = |number: usize| {
        format!(
            "server: {{timeouts: {{drain: 1s}}}}\nheaders: {{response: {{set: {{x-number: '{number}'}}}}}}\nupstreams:\n  hello: {{endpoints: ['{}']}}\nroutes:\n  - {{path: /socket, target: '{}'}}\n  - {{name: load, path: /load, upstream: hello}}\n  - {{name: extra-{}, path: /extra, respond: {{status: 204}}}}\n",
            upstream.url(),
            sockets.url(),
            number % 7,
        )
    };
    let proxyd = Proxyd::start(&text(0));
    let mut tunnels: Vec<_> = (0..4).map(|_| websocket::open(&proxyd)).collect();
    let load = Load::start(proxyd.address(), "/load", 4, "load");

    let begun = Instant::now();
    let (mut applied, mut refused) = (0_u64, 0_u64);
    let mut memory_early = 0;
    let mut number = 0;
    while begun.elapsed() < length() {
        let next = Instant::now() + Duration::from_millis(100);
        number += 1;
        if number % 2 == 0 {
            let told = proxyd.reload_with(&text(number));
            assert_eq!(told["applied"], true, "{told}");
            applied += 1;
        } else {
            proxyd.write_config("routes:\n  - {path: broken, nonsense: true}\n");
            let error = proxyd.try_ask("reload", &json!({})).unwrap_err();
            assert_eq!(error["code"], "config_invalid");
            refused += 1;
        }
        for (index, tunnel) in tunnels.iter_mut().enumerate() {
            websocket::repeats(tunnel, &format!("{index}: {number}"));
        }
        if memory_early == 0 && begun.elapsed() > length() / 3 {
            memory_early = proxyd.memory_kib();
        }
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let tally = load.stop();
    let memory_late = proxyd.memory_kib();
    assert!(applied > 10 && refused > 10, "{applied} applied, {refused} refused");
    assert!(tally.failed.is_empty(), "{} failed, such as {:?}", tally.failed.len(), tally.failed.first());
    assert_eq!(tally.statuses.keys().collect::<Vec<_>>(), [&200], "{:?}", tally.statuses);
    assert_eq!(tally.connections, 4, "no connection was closed that need not be");
    assert!(
        memory_late < memory_early + memory_early / 2 + 8 * 1024,
        "memory grew from {memory_early} to {memory_late} KiB"
    );
    assert_eq!(proxyd.generation(), applied + 1);

    // Every request of the load is on record exactly once.
    let home = proxyd.stop();
    let proxyd = tests::Start::in_home(&home, &text(0)).run();
    let verified = proxyd.ask("audit_verify", &json!({}));
    assert_eq!((&verified["intact"], &verified["gaps"]), (&json!(true), &json!([])), "{verified}");
    let mut seen: HashSet<String> = HashSet::new();
    let mut rows = 0;
    let mut before = json!(null);
    loop {
        let mut query = json!({"path": "/load", "last": 10_000});
        if !before.is_null() {
            query["before"] = before;
        }
        let page: Vec<Value> = proxyd.stream("audit", &query);
        let Some(first) = page.first() else { break };
        before = first["seq"].clone();
        rows += page.len();
        seen.extend(page.iter().filter_map(|row| row["request_id"].as_str().map(str::to_owned)));
    }
    assert_eq!((rows, seen.len()), (tally.answered(), tally.answered()));
    assert!(tally.ids.iter().all(|id| seen.contains(id)));
}

#[test]
fn connections_that_come_and_go_leave_nothing_behind() {
    let upstream = Upstream::saying("hello");
    let proxyd = Proxyd::start(&tests::config::forward_all(upstream.address()));
    let round = |count: usize| {
        for _ in 0..count {
            assert_eq!(Request::get("/").send(proxyd.address()).status, 200);
        }
    };
    let open = || std::fs::read_dir(format!("/proc/{}/fd", proxyd.pid())).unwrap().count();
    round(300);
    let (files, memory) = (open(), proxyd.memory_kib());
    round(1500);
    tests::eventually("all are closed", || (open() <= files + 5).then_some(()));
    assert!(proxyd.memory_kib() < memory + 8 * 1024, "{memory} KiB grew to {}", proxyd.memory_kib());
}
