//! The record: every request and every action exactly once, queryable, masked, and proof against quiet edits.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rusqlite::Connection;
use serde_json::{Value, json};
use tests::config::forward_all;
use tests::{Home, Proxyd, Request, Start, Upstream, Wire, eventually, proxyctl};

#[test]
fn a_request_is_one_row_with_everything_about_it() {
    let upstream = Upstream::echo();
    let proxyd = Proxyd::start(&format!(
        "upstreams: {{u: {{endpoints: ['{}']}}}}\nroutes:\n  - {{name: all, path: /, upstream: u}}\n",
        upstream.url()
    ));
    let response = Request::post("/a/b?x=1&token=geheim&y=2", "12345")
        .host("shop.example:80")
        .header("X-Request-ID", "row-1")
        .header("User-Agent", "tester/1.0")
        .send(proxyd.address());
    let rows = proxyd.audit(&json!({"request_id": "row-1"}), 1);
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    for (field, expected) in [
        ("kind", json!("request")),
        ("client", json!("127.0.0.1")),
        ("method", json!("POST")),
        ("scheme", json!("http")),
        ("path", json!("/a/b")),
        ("query", json!("x=1&token=[present, masked, 6 bytes]&y=2")),
        ("protocol", json!("HTTP/1.1")),
        ("route", json!("all")),
        ("upstream", json!("u")),
        ("endpoint", json!(upstream.address().to_string())),
        ("status", json!(200)),
        ("outcome", json!("served")),
        ("bytes_in", json!(5)),
        ("bytes_out", json!(response.body.len())),
        ("attempts", json!(1)),
        ("generation", json!(1)),
        ("user_agent", json!("tester/1.0")),
    ] {
        assert_eq!(row[field], expected, "{field}: {row}");
    }
    assert!(row["host"].as_str().is_some_and(|host| host.starts_with("shop.example")), "{row}");
    assert_eq!(row["listener"], proxyd.address().to_string());
    let number = |field: &str| row[field].as_u64().unwrap_or_else(|| panic!("{field}: {row}"));
    assert!(number("duration_us") >= number("upstream_us") && number("upstream_us") > 0, "{row}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros();
    assert!(u128::from(number("time_us")).abs_diff(now) < 60_000_000, "{row}");
}

#[test]
fn every_request_is_there_exactly_once_and_none_is_skipped() {
    let upstream = Upstream::saying("hello");
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut wires: Vec<Wire> = (0..4).map(|_| Wire::connect(proxyd.address())).collect();
    for number in 0..300 {
        let wire = &mut wires[number % 4];
        Request::get("/counted").header("X-Request-ID", &format!("n-{number}")).send_on(wire);
    }
    let rows = proxyd.audit(&json!({"path": "/counted", "last": 1000}), 300);
    let mut ids: Vec<&str> = rows.iter().filter_map(|row| row["request_id"].as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((rows.len(), ids.len()), (300, 300));
    let all = proxyd.stream("audit", &json!({"last": 1000}));
    let seqs: Vec<u64> = all.iter().filter_map(|row| row["seq"].as_u64()).collect();
    let first = seqs[0];
    assert_eq!(seqs, (first..first + seqs.len() as u64).collect::<Vec<_>>(), "no number is skipped");
}

#[test]
fn answers_without_a_body_are_whole() {
    let upstream = Upstream::echo();
    let proxyd = Proxyd::start(&format!(
        "server: {{workers: 1}}\nroutes:\n  - {{path: /own, respond: {{body: text}}}}\n  - {{path: /up, target: '{}'}}\n",
        upstream.url()
    ));
    for path in ["/own", "/none", "/up"] {
        Request::new("HEAD", path).send(proxyd.address());
    }
    let rows = proxyd.audit(&json!({"method": "HEAD"}), 3);
    let outcomes: Vec<_> =
        rows.iter().map(|row| (row["status"].as_u64().unwrap(), row["outcome"].as_str().unwrap())).collect();
    assert_eq!(outcomes, [(200, "answered"), (404, "route_not_found"), (200, "served")]);
}

#[test]
fn answers_of_our_own_say_why() {
    let proxyd = Proxyd::start(
        "server: {workers: 1}\nrate_limit: {limits: [{requests: 3, per: 1h}]}\nroutes:\n  - {name: fixed, path: /fixed, respond: {status: 200}}\n  - {path: /post, methods: [POST], respond: {status: 200}}\n",
    );
    for path in ["/fixed", "/post", "/nowhere", "/fixed"] {
        proxyd.get(path);
    }
    let rows = proxyd.audit(&json!({"kind": "requests"}), 4);
    let told: Vec<(u64, &str)> =
        rows.iter().map(|row| (row["status"].as_u64().unwrap(), row["outcome"].as_str().unwrap())).collect();
    assert_eq!(told, [(200, "answered"), (405, "method_not_allowed"), (404, "route_not_found"), (429, "rate_limited")]);
}

#[test]
fn filters_find_what_they_say() {
    let upstream = Upstream::saying("hello");
    let proxyd = Proxyd::start(&format!(
        "server: {{workers: 1, trusted_proxies: [127.0.0.1]}}\nroutes:\n  - {{name: a, path: /a, target: '{}'}}\n  - {{name: b, path: /b, respond: {{status: 503}}}}\n",
        upstream.url()
    ));
    Request::get("/a/1").header("X-Forwarded-For", "10.1.1.1").send(proxyd.address());
    Request::post("/a/2", "").header("X-Forwarded-For", "10.2.2.2").send(proxyd.address());
    Request::get("/b").header("X-Request-ID", "the-b").send(proxyd.address());
    proxyd.ask("log_level", &json!({"level": "info"}));
    proxyd.audit(&json!({"kind": "requests"}), 3);
    let check = |query: Value, paths: &[&str]| {
        let rows = proxyd.stream("audit", &query);
        let found: Vec<&str> = rows.iter().filter_map(|row| row["path"].as_str()).collect();
        assert_eq!(found, paths, "{query}");
    };
    check(json!({"status": "5xx"}), &["/b"]);
    check(json!({"status": "200"}), &["/a/1", "/a/2"]);
    check(json!({"status": "200-299"}), &["/a/1", "/a/2"]);
    check(json!({"route": "b"}), &["/b"]);
    check(json!({"client": "10.2.2.2"}), &["/a/2"]);
    check(json!({"client": "10.0.0.0/8"}), &["/a/1", "/a/2"]);
    check(json!({"path": "/a/*"}), &["/a/1", "/a/2"]);
    check(json!({"path": "/a/1"}), &["/a/1"]);
    check(json!({"method": "POST"}), &["/a/2"]);
    check(json!({"request_id": "the-b"}), &["/b"]);
    check(json!({"outcome": "answered"}), &["/b"]);
    check(json!({"since": "1h", "until": "2099-01-01T00:00:00Z", "kind": "requests", "last": 1}), &["/b"]);
    check(json!({"until": "2001-01-01T00:00:00Z"}), &[]);
    let actions = proxyd.stream("audit", &json!({"kind": "actions", "actor": "uid"}));
    assert_eq!(actions.iter().map(|row| &row["command"]).collect::<Vec<_>>(), ["start", "log_level"]);
    assert!(proxyd.stream("audit", &json!({"kind": "actions", "actor": "nobody at all"})).is_empty());
    let all = proxyd.stream("audit", &json!({}));
    let last = all.last().unwrap()["seq"].as_u64().unwrap();
    let before = proxyd.stream("audit", &json!({"before": last, "last": 2}));
    assert_eq!(before.last().unwrap()["seq"].as_u64(), Some(last - 1));
}

#[test]
fn proxyctl_prints_tables_json_and_csv() {
    let upstream = Upstream::saying("hello");
    let proxyd = Proxyd::start(&format!("server: {{workers: 1}}\n{}", forward_all(upstream.address())));
    for number in 0..5 {
        proxyd.get(&format!("/row/{number}"));
    }
    proxyd.audit(&json!({"path": "/row/*"}), 5);
    let table = proxyd.ctl(&["audit", "--last", "50"]);
    table.exits(0).says(&["/row/0", "/row/4", "200"]);
    assert!(table.stdout.find("/row/0") < table.stdout.find("/row/4"), "oldest first");
    let json = proxyd.ctl(&["audit", "--last", "3", "--requests", "--output", "json"]);
    assert_eq!(json.exits(0).json_lines().iter().filter(|row| row["kind"] == "request").count(), 3);
    let csv = proxyd.ctl(&["audit", "--requests", "--output", "csv"]);
    let lines: Vec<&str> = csv.exits(0).stdout.lines().collect();
    assert!(lines[0].contains("request_id") && lines[0].contains("status"), "{}", lines[0]);
    assert_eq!(lines.len(), 6);
    let http = proxyd.admin_get("/admin/audit?last=2&kind=requests").text();
    assert_eq!(http.lines().filter(|line| line.contains("/row/")).count(), 2, "{http}");
}

#[test]
fn new_rows_are_followed() {
    let upstream = Upstream::saying("hello");
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut control = proxyd.control();
    control.send("audit", &json!({"follow": true, "kind": "requests"}));
    let mut events = Wire::connect(proxyd.admin());
    events.send(Request::get("/admin/audit/stream?kind=requests").host(&proxyd.admin().to_string()).bytes());
    let head = events.head().expect("an answer");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"), "{head}");
    let mut follower = tests::ctl::command(
        proxyd.home().path(),
        &["--socket", &proxyd.socket().display().to_string(), "audit", "--follow", "--output", "json"],
    )
    .stdout(Stdio::piped())
    .spawn()
    .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    // The follower has caught up once it has shown the start.
    assert!(lines.next().unwrap().unwrap().contains("\"start\""));

    proxyd.get("/followed");
    let line = control.line().expect("an event");
    assert_eq!(line["event"]["path"], "/followed", "{line}");
    let mut got = String::new();
    while !got.contains("/followed") {
        let more = events.some();
        assert!(!more.is_empty(), "the stream ended after {got:?}");
        got.push_str(&String::from_utf8_lossy(&more));
    }
    assert!(got.contains("data:"), "{got}");
    assert!(lines.any(|line| line.is_ok_and(|line| line.contains("/followed"))), "the follower saw its end");
    follower.kill().unwrap();
    follower.wait().unwrap();
}

#[test]
fn secrets_are_in_no_sink() {
    let upstream = Upstream::echo();
    let proxyd = Proxyd::start(&format!(
        "log: {{level: debug, redact: {{headers: [x-internal], query: [pin]}}}}\n{}",
        forward_all(upstream.address())
    ));
    let response = Request::get("/s?password=sesame1&pin=sesame2&api_key=sesame3&ok=visible")
        .header("Authorization", "Bearer sesame4")
        .header("Cookie", "id=sesame5")
        .header("X-API-Key", "sesame6")
        .header("X-Internal", "sesame7")
        .send(proxyd.address());
    assert!(response.text().contains("sesame4"), "the upstream gets what is its");
    proxyd.audit(&json!({"path": "/s"}), 1);
    let home = proxyd.stop();
    let everything = format!("{}{}{}", home.read("stdout.log"), home.read("stderr.log"), home.read("access.log"));
    assert!(everything.contains("ok=visible"), "{everything}");
    let stored: String = home
        .segments()
        .iter()
        .map(|path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned())
        .collect();
    assert!(stored.contains("ok=visible"), "the store holds the row");
    assert!(!everything.contains("sesame") && !stored.contains("sesame"), "a secret is on record");
}

#[test]
fn the_store_can_be_read_with_any_tool_while_it_is_written() {
    let upstream = Upstream::saying("hello");
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    for _ in 0..10 {
        proxyd.get("/sql");
    }
    proxyd.audit(&json!({"path": "/sql"}), 10);
    let segment = proxyd.home().segments().pop().expect("a segment");
    let reader = Connection::open_with_flags(segment, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let count: i64 =
        reader.query_row("SELECT count(*) FROM requests WHERE status = 200", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 10);
    for table in ["actions", "gaps"] {
        reader.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0)).unwrap();
    }
    let head = proxyd.ctl(&["audit", "head"]);
    assert!(head.exits(0).stdout.contains(':'), "{}", head.stdout);
}

/// A stopped daemon's folder with twenty requests on record, and the head noted then.
fn recorded() -> (Home, String) {
    let upstream = Upstream::saying("hello");
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    for number in 0..20 {
        proxyd.get(&format!("/proof/{number}"));
    }
    proxyd.audit(&json!({"path": "/proof/*"}), 20);
    let verified = proxyd.ask("audit_verify", &json!({}));
    assert_eq!((&verified["intact"], &verified["gaps"]), (&json!(true), &json!([])), "{verified}");
    proxyd.ctl(&["audit", "verify"]).exits(0);
    let head = proxyd.ask("audit_head", &json!({}))["head"].as_str().unwrap().to_owned();
    (proxyd.stop(), head)
}

/// Runs a statement on the newest segment, and verifies offline.
fn after(home: &Home, sql: &str, head: Option<&str>) -> (Option<i32>, Value) {
    let segment = home.segments().pop().expect("a segment");
    let writer = Connection::open(segment).unwrap();
    assert!(writer.execute(sql, []).unwrap() > 0, "{sql} changes nothing");
    drop(writer);
    offline(home, head)
}

fn offline(home: &Home, head: Option<&str>) -> (Option<i32>, Value) {
    let folder = home.file("data/audit").display().to_string();
    let mut args = vec!["audit", "verify", "--path", &folder, "--output", "json"];
    if let Some(head) = head {
        args.extend(["--head", head]);
    }
    let ran = proxyctl(home.path(), &args);
    (ran.code, ran.json())
}

#[test]
fn an_untouched_record_is_intact() {
    let (home, head) = recorded();
    let (code, told) = offline(&home, Some(&head));
    assert_eq!((code, &told["intact"]), (Some(0), &json!(true)), "{told}");
}

#[test]
fn a_changed_row_is_named() {
    let (home, _) = recorded();
    let (code, told) = after(&home, "UPDATE requests SET status = 204 WHERE seq = 7", None);
    assert_eq!((code, &told["intact"], &told["broken"]["seq"]), (Some(1), &json!(false), &json!(7)), "{told}");
    // It is said, and it stops nobody from starting.
    let proxyd = Start::in_home(&home, "routes: [{path: /, respond: {status: 200}}]").run();
    assert_eq!(proxyd.ask("audit_verify", &json!({}))["broken"]["seq"], 7);
    proxyd.ctl(&["audit", "verify"]).exits(1).says(&["7"]);
}

#[test]
fn a_removed_row_is_named() {
    let (home, _) = recorded();
    let (code, told) = after(&home, "DELETE FROM requests WHERE seq = 9", None);
    assert_eq!((code, &told["broken"]["seq"]), (Some(1), &json!(9)), "{told}");
}

#[test]
fn a_row_put_in_by_hand_is_named() {
    let (home, _) = recorded();
    let segment = home.segments().pop().unwrap();
    let reader = Connection::open(&segment).unwrap();
    let columns: Vec<String> = reader
        .prepare("SELECT name FROM pragma_table_info('requests') WHERE name <> 'seq'")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let columns = columns.join(", ");
    let last: i64 = reader.query_row("SELECT max(seq) FROM requests", [], |row| row.get(0)).unwrap();
    drop(reader);
    let added = last + 3;
    let (code, told) = after(
        &home,
        &format!("INSERT INTO requests (seq, {columns}) SELECT {added}, {columns} FROM requests WHERE seq = 5"),
        None,
    );
    assert_eq!((code, &told["intact"]), (Some(1), &json!(false)), "{told}");
}

#[test]
fn a_cut_tail_shows_against_a_head_kept_elsewhere() {
    let (home, head) = recorded();
    let seq: u64 = head.split(':').next().unwrap().parse().unwrap();
    let segment = home.segments().pop().unwrap();
    let writer = Connection::open(segment).unwrap();
    for table in ["requests", "actions", "gaps"] {
        writer.execute(&format!("DELETE FROM {table} WHERE seq >= {}", seq - 2), []).unwrap();
    }
    drop(writer);
    let (code, told) = offline(&home, Some(&head));
    assert_eq!((code, &told["intact"]), (Some(1), &json!(false)), "{told}");
}

#[test]
fn actions_are_on_record_with_their_actor_done_or_refused() {
    let proxyd = Proxyd::start("routes:\n  - {path: /, respond: {status: 200}}\n");
    proxyd.ask("log_level", &json!({"level": "warn"}));
    // Committed before its reply: no waiting here.
    let rows = proxyd.stream("audit", &json!({"kind": "actions"}));
    let row = rows.last().expect("a row");
    assert_eq!(
        (&row["kind"], &row["command"], &row["outcome"]),
        (&json!("action"), &json!("log_level"), &json!("done"))
    );
    assert!(row["arguments"].to_string().contains("warn"), "{row}");
    assert!(rows.iter().any(|row| row["door"] == "start"), "{rows:#?}");
    proxyd.try_ask("rollback", &json!({"generation": 77})).unwrap_err();
    let rows = proxyd.stream("audit", &json!({"kind": "actions"}));
    assert_eq!(rows.last().unwrap()["outcome"], "not_found");
    let before = rows.len();
    proxyd.status();
    proxyd.stream("routes", &json!({}));
    assert_eq!(proxyd.stream("audit", &json!({"kind": "actions"})).len(), before, "reads are no actions");
}

#[test]
fn a_store_that_is_none_is_said() {
    let home = Home::default();
    let proxyd = Start::in_home(&home, "routes: []").run();
    drop(proxyd.stop());
    let segment = home.segments().pop().unwrap();
    std::fs::write(&segment, "this is no database at all, but somebody's notes\n".repeat(100)).unwrap();
    for ending in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{ending}", segment.display()));
    }
    let before = std::fs::read(&segment).unwrap();
    let mut started = Start::in_home(&home, "routes: []").spawn();
    // Either it refuses to start and says why, or it goes on in a new segment; the file is nobody's to destroy.
    eventually("it is said", || {
        home.read("stderr.log").contains(&*segment.file_name().unwrap().to_string_lossy()).then_some(())
    });
    assert_eq!(std::fs::read(&segment).unwrap(), before);
    started.end();
}

#[test]
fn a_store_of_a_newer_schema_is_left_alone() {
    let home = Home::default();
    drop(Start::in_home(&home, "routes: []").run().stop());
    let segment = home.segments().pop().unwrap();
    let writer = Connection::open(&segment).unwrap();
    writer.pragma_update(None, "user_version", 9_999).unwrap();
    drop(writer);
    let mut started = Start::in_home(&home, "routes: []").spawn();
    eventually("it is said", || home.read("stderr.log").contains("newer").then_some(()));
    started.end();
}

#[test]
fn a_killed_daemon_starts_clean_and_says_what_may_be_missing() {
    let upstream = Upstream::saying("hello");
    let home = Home::default();
    let text = forward_all(upstream.address());
    for round in 0..3 {
        let proxyd = Start::in_home(&home, &text).run();
        let load = tests::load::Load::start(proxyd.address(), "/load", 2, &format!("kill-{round}"));
        std::thread::sleep(std::time::Duration::from_millis(700));
        proxyd.kill_nine();
        load.stop();
    }
    let proxyd = Start::in_home(&home, &text).run();
    let verified = proxyd.ask("audit_verify", &json!({}));
    assert_eq!(verified["intact"], true, "{verified}");
    let gaps = verified["gaps"].as_array().unwrap();
    assert_eq!(gaps.len(), 3, "one for each kill: {verified}");
    assert!(gaps.iter().all(|gap| gap["reason"] == "unclean_stop"), "{verified}");
    // At most a flush interval is lost: much of three loads is there.
    let rows = proxyd.stream("audit", &json!({"path": "/load", "last": 10_000}));
    assert!(rows.len() > 100, "{}", rows.len());
    let starts = proxyd.stream("audit", &json!({"kind": "actions", "last": 100}));
    assert_eq!(starts.iter().filter(|row| row["command"] == "start").count(), 4, "{starts:#?}");
}

#[test]
fn errors_only_and_off_record_less() {
    let text =
        |mode: &str| format!("audit: {{requests: {mode}}}\nroutes:\n  - {{path: /ok, respond: {{status: 200}}}}\n");
    let proxyd = Proxyd::start(&text("errors"));
    proxyd.get("/ok");
    proxyd.get("/bad");
    let rows = proxyd.audit(&json!({"kind": "requests"}), 1);
    assert_eq!(rows.iter().map(|row| &row["path"]).collect::<Vec<_>>(), ["/bad"]);
    proxyd.reload_with(&text("off"));
    proxyd.get("/bad");
    proxyd.ask("log_level", &json!({"level": "info"}));
    let home = proxyd.stop();
    let proxyd = Start::in_home(&home, &text("off")).run();
    assert_eq!(proxyd.stream("audit", &json!({"kind": "requests"})).len(), 1);
}
