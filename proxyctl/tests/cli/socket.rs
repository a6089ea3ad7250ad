//! Every command over a socket: what is asked, what is shown, and the exit code.

use std::io::Read;
use std::time::{Duration, Instant};

use crate::fake::{Fake, command, run_with};
use serde_json::json;

const REQUEST: &str = r#"{"v":1,"id":ID,"event":{"kind":"request","seq":41,"time_us":1795348800123456,"request_id":"r1","client":"10.1.2.3","method":"GET","scheme":"http","listener":"0.0.0.0:8000","host":"h","path":"/a\u001b[2J","query":"","protocol":"HTTP/1.1","route":"users","upstream":"u","endpoint":"127.0.0.1:8001","status":502,"outcome":"upstream_refused","bytes_in":0,"bytes_out":12,"duration_us":12345,"upstream_us":0,"attempts":1,"tries":"127.0.0.1:8001 connect","principal":"ada","credential":"jwt.main","generation":3,"user_agent":"=cmd \"x\", y","matched":""}}"#;
const ACTION: &str = r#"{"v":1,"id":ID,"event":{"kind":"action","seq":42,"time_us":1795348801000000,"door":"socket","actor":"root (uid 0, pid 7)","command":"reload","arguments":"{}","outcome":"done","message":"","generation_before":3,"generation_after":4,"changes":"{\"routes\":1}"}}"#;
const GAP: &str = r#"{"v":1,"id":ID,"event":{"kind":"gap","seq":43,"time_us":1795348802000000,"missing":7,"from_us":1795348801000000,"until_us":null,"reason":"shed"}}"#;
const END: &str = r#"{"v":1,"id":ID,"end":{"rows":3,"complete":true}}"#;

/// What each command line asks.
fn check(args: &[&str], expected: &serde_json::Value) {
    let fake = Fake::socket(&[r#"{"v":1,"id":ID,"error":{"code":"busy","message":"later"}}"#]);
    let run = fake.run(args);
    assert_eq!(run.code, 1, "{args:?}: {run:?}");
    assert_eq!(run.err, "error: later\n  Try again in a moment.\n", "{args:?}");
    let mut expected = expected.clone();
    expected["v"] = json!(1);
    let mut ask = fake.one_ask();
    if ask["args"] == json!({}) {
        ask.as_object_mut().unwrap().remove("args");
    }
    assert_eq!(ask, expected, "{args:?}");
}

#[test]
fn every_command_line_asks_what_it_says() {
    check(&["status"], &json!({ "command": "status" }));
    check(&["routes"], &json!({ "command": "routes" }));
    check(&["routes", "api"], &json!({ "command": "routes", "args": { "name": "api" } }));
    check(
        &["explain", "GET", "http://h/x", "-H", "a: b", "--header", "c: d", "--from", "::1"],
        &json!({ "command": "explain", "args":
            { "method": "GET", "url": "http://h/x", "headers": ["a: b", "c: d"], "from": "::1" } }),
    );
    check(&["reload"], &json!({ "command": "reload" }));
    check(
        &["reload", "--dry-run", "--config", "/etc/x.yaml"],
        &json!({ "command": "reload", "args": { "dry_run": true, "config": "/etc/x.yaml" } }),
    );
    check(&["config", "show", "--origin"], &json!({ "command": "config", "args": { "origin": true } }));
    check(&["history"], &json!({ "command": "history" }));
    check(&["history", "3"], &json!({ "command": "history", "args": { "generation": 3 } }));
    check(&["rollback", "3", "--write"], &json!({ "command": "rollback", "args": { "generation": 3, "write": true } }));
    check(&["audit"], &json!({ "command": "audit" }));
    check(
        &["audit", "--last", "5", "--status", "5xx", "--requests", "--client", "::1", "--before", "9"],
        &json!({ "command": "audit", "args":
            { "last": 5, "status": "5xx", "kind": "requests", "client": "::1", "before": 9 } }),
    );
    check(&["audit", "--actions"], &json!({ "command": "audit", "args": { "kind": "actions" } }));
    check(&["audit", "--follow"], &json!({ "command": "audit", "args": { "follow": true } }));
    check(
        &["audit", "tail", "--route", "r"],
        &json!({ "command": "audit", "args":
        { "follow": true, "last": 10, "route": "r" } }),
    );
    check(&["audit", "--output", "table", "head"], &json!({ "command": "audit_head" }));
    check(&["audit", "verify", "--head", "1:ab"], &json!({ "command": "audit_verify", "args": { "head": "1:ab" } }));
    check(&["upstreams"], &json!({ "command": "upstreams" }));
    check(&["upstreams", "us"], &json!({ "command": "upstreams", "args": { "name": "us" } }));
    for state in ["ready", "drain", "down"] {
        let args = json!({ "upstream": "users", "endpoint": "h:1", "state": state });
        check(&["upstreams", state, "users", "h:1"], &json!({ "command": "upstreams_set", "args": args }));
    }
    let args = json!({ "upstream": "users", "endpoint": "h:1", "weight": 5 });
    check(&["upstreams", "weight", "users", "h:1", "5"], &json!({ "command": "upstreams_set", "args": args }));
    let args = json!({ "upstream": "users", "endpoint": "h:1", "weight": 2, "backup": true, "ttl": "30s" });
    check(
        &["upstreams", "register", "users", "h:1", "--weight", "2", "--backup", "--ttl", "30s"],
        &json!({ "command": "upstreams_register", "args": args }),
    );
    let args = json!({ "upstream": "users", "endpoint": "h:1" });
    check(&["upstreams", "deregister", "users", "h:1"], &json!({ "command": "upstreams_deregister", "args": args }));
    check(&["keys"], &json!({ "command": "keys" }));
    check(
        &["keys", "create", "--name", "ci", "--scopes", "a,b", "--roles", "agent", "--limit", "100/m"],
        &json!({ "command": "keys_create", "args":
            { "name": "ci", "scopes": ["a", "b"], "roles": ["agent"], "limit": "100/m" } }),
    );
    check(&["keys", "revoke", "ci"], &json!({ "command": "keys_revoke", "args": { "key": "ci" } }));
    let args = json!({ "key": "ci", "overlap": "24h" });
    check(&["keys", "rotate", "ci", "--overlap", "24h"], &json!({ "command": "keys_rotate", "args": args }));
    check(&["tokens"], &json!({ "command": "tokens" }));
    check(&["tokens", "revoke", "--jti", "x"], &json!({ "command": "tokens_revoke", "args": { "jti": "x" } }));
    check(&["users", "list"], &json!({ "command": "users" }));
    let args = json!({ "name": "ada", "disabled": true });
    check(&["users", "set", "ada", "--disable"], &json!({ "command": "users_set", "args": args }));
    check(&["users", "remove", "ada"], &json!({ "command": "users_remove", "args": { "name": "ada" } }));
    check(&["bans"], &json!({ "command": "bans" }));
    let args = json!({ "network": "10.0.0.0/8", "for": "1h", "reason": "loud" });
    check(
        &["bans", "add", "10.0.0.0/8", "--for", "1h", "--reason", "loud"],
        &json!({ "command": "bans_add", "args": args }),
    );
    check(&["bans", "lift", "::1"], &json!({ "command": "bans_lift", "args": { "network": "::1" } }));
    check(&["limits", "top", "--last", "5"], &json!({ "command": "limits_top", "args": { "last": 5 } }));
    check(&["limits", "show", "k"], &json!({ "command": "limits", "args": { "key": "k" } }));
    check(&["limits"], &json!({ "command": "limits" }));
    check(
        &["limits", "10.0.0.1", "--rule", "default"],
        &json!({ "command": "limits", "args": { "key": "10.0.0.1", "rule": "default" } }),
    );
    check(&["limits", "reset", "10.0.0.1"], &json!({ "command": "limits_reset", "args": { "key": "10.0.0.1" } }));
    check(&["log-level", "debug"], &json!({ "command": "log_level", "args": { "level": "debug" } }));
    check(&["upgrade"], &json!({ "command": "upgrade" }));
    check(&["shutdown"], &json!({ "command": "shutdown" }));
}

/// Secrets come from standard input, or there are none; never from an argument.
#[test]
fn secrets_are_read_and_never_typed() {
    let run = |args: &[&str], input: &str| {
        let fake = Fake::socket(&[r#"{"v":1,"id":ID,"error":{"code":"busy","message":"later"}}"#]);
        let socket = fake.path();
        let run = run_with(args, &[("PROXYD_SOCKET", socket.to_str().unwrap())], fake.dir.path(), input);
        let asked = fake.asked().first().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        (run, asked.map(|ask| ask["args"].clone()))
    };
    let (_, asked) = run(&["users", "add", "ada", "--password-stdin"], "correct horse\n");
    assert_eq!(asked, Some(json!({ "name": "ada", "password": "correct horse" })));
    let (_, asked) = run(&["users", "add", "ada", "--no-password"], "");
    assert_eq!(asked, Some(json!({ "name": "ada" })));
    let (_, asked) = run(&["users", "password", "ada", "--password-stdin"], "correct horse");
    assert_eq!(asked, Some(json!({ "name": "ada", "password": "correct horse" })));
    let (_, asked) = run(&["tokens", "revoke", "-"], " a.b.c \n");
    assert_eq!(asked, Some(json!({ "token": "a.b.c" })));
    let many = "x".repeat(20_000);
    for (args, input, code, part) in [
        (&["users", "add", "ada"][..], "correct horse\n", 2, "--password-stdin"),
        (&["users", "password", "ada"], "", 2, "--password-stdin"),
        (&["users", "password", "ada", "--password-stdin"], "", 1, "empty password"),
        (&["users", "password", "ada", "--password-stdin"], "one\ntwo\n", 1, "more than one"),
        (&["tokens", "revoke", "-"], "", 1, "one token"),
        (&["tokens", "revoke", "-"], "Bearer a.b.c", 1, "without `Bearer`"),
        (&["tokens", "revoke", "-"], &many, 1, "16 KiB"),
    ] {
        let (run, asked) = run(args, input);
        assert_eq!((run.code, asked), (code, None), "{args:?}: {}", run.err);
        assert!(run.err.contains(part), "{args:?}: {}", run.err);
    }
}

#[test]
fn a_relative_config_is_made_absolute_for_the_daemon() {
    let fake = Fake::socket(&[r#"{"v":1,"id":ID,"error":{"code":"busy","message":"later"}}"#]);
    fake.run(&["reload", "--config", "new.yaml"]);
    let expected = fake.dir.path().canonicalize().unwrap().join("new.yaml");
    assert_eq!(fake.one_ask()["args"]["config"], json!(expected));
}

#[test]
fn codes_become_exit_codes() {
    for (code, exit) in [("not_found", 1), ("failed", 1), ("config_invalid", 1), ("invalid_arguments", 2)] {
        let line = format!(r#"{{"v":1,"id":ID,"error":{{"code":"{code}","message":"m\u001b"}}}}"#);
        let run = Fake::socket(&[&line]).run(&["rollback", "9"]);
        assert_eq!((run.code, run.out.as_str()), (exit, ""), "{code}");
        assert!(run.err.starts_with("error: m\\x1b\n"), "{run:?}");
    }
    let refused = [r#"{"v":1,"id":ID,"error":{"code":"not_permitted","message":"readers may not","audited":false}}"#];
    let run = Fake::socket(&refused).run(&["shutdown"]);
    assert_eq!(run.code, 4);
    assert!(run.err.contains("operator") && run.err.contains("kept aside"), "{run:?}");
    let run = Fake::socket(&refused).run(&["shutdown", "--output", "json"]);
    let error: serde_json::Value = serde_json::from_str(&run.err).unwrap();
    assert_eq!((run.code, &error["error"]["code"]), (4, &json!("not_permitted")));
}

#[test]
fn an_invalid_config_is_reported_as_validate_reports_it() {
    let line = r#"{"v":1,"id":ID,"error":{"code":"config_invalid","message":"1 problem in config.yaml","problems":[{"code":"unknown_key","severity":"error","path":"routs","origin":"config.yaml:1:1","line":1,"column":1,"message":"unknown key `routs`","hint":"did you mean `routes`?"}]}}"#;
    let run = Fake::socket(&[line]).run(&["reload"]);
    assert_eq!((run.code, run.out.as_str()), (1, ""));
    assert!(run.err.contains("config.yaml:1:1") && run.err.contains("unknown key `routs`"), "{run:?}");
    assert!(run.err.ends_with("error: 1 problem in config.yaml\n"), "{run:?}");
}

#[test]
fn audit_rows_come_as_table_json_and_csv() {
    let fake = Fake::socket(&[REQUEST, ACTION, GAP, END]);
    let table = fake.run(&["audit", "--last", "3"]);
    assert_eq!(table.code, 0, "{table:?}");
    assert!(!table.out.contains('\x1b') && table.out.contains("h/a\\x1b[2J"), "{table:?}");
    assert!(table.out.contains("502 upstream_refused") && table.out.contains("12.3ms"), "{table:?}");
    assert!(table.out.contains("7 rows are missing from"), "{table:?}");
    assert!(table.err.contains("--before 41"), "{table:?}");

    let lines = fake.run(&["audit", "--output", "json"]);
    let rows: Vec<serde_json::Value> = lines.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[0]["time"], "2026-11-22T12:00:00.123456Z");
    assert_eq!(rows[0]["path"], "/a\u{1b}[2J");
    assert_eq!(lines.err, "");

    let sheet = fake.run(&["--output", "csv", "audit"]);
    let mut reader = csv::Reader::from_reader(sheet.out.as_bytes());
    let headings = reader.headers().unwrap().clone();
    let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let cell = |row: usize, name: &str| records[row][headings.iter().position(|h| h == name).unwrap()].to_owned();
    assert_eq!((cell(0, "status"), cell(0, "user_agent")), ("502".into(), "=cmd \"x\", y".into()));
    assert_eq!((cell(1, "command"), cell(1, "time")), ("reload".into(), "2026-11-22T12:00:01.000000Z".into()));
    assert_eq!((cell(2, "missing"), cell(2, "outcome")), ("7".into(), "shed".into()));
}

#[test]
fn a_search_that_ran_out_of_time_says_so() {
    let run = Fake::socket(&[r#"{"v":1,"id":ID,"end":{"rows":0,"complete":false,"reached":77}}"#]).run(&["audit"]);
    assert_eq!((run.code, run.out.as_str()), (0, "no rows\n"));
    assert!(run.err.contains("--before 77"), "{run:?}");
}

#[test]
fn followed_rows_are_shown_as_they_come() {
    let fake = Fake::socket(&[REQUEST, ACTION]);
    let socket = fake.path();
    let mut child =
        command(&["audit", "tail"], &[("PROXYD_SOCKET", socket.to_str().unwrap())], fake.dir.path()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    let deadline = Instant::now() + Duration::from_secs(20);
    // No end has come, and yet both rows are there.
    while text.lines().count() < 2 && Instant::now() < deadline {
        let read = out.read(&mut buffer).unwrap();
        text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    assert!(child.try_wait().unwrap().is_none(), "it still follows");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(text.contains("502 upstream_refused") && text.contains("reload"), "{text}");
}

#[test]
fn a_broken_chain_is_exit_code_one() {
    let verified = |intact: bool, broken: &str| {
        format!(
            r#"{{"v":1,"id":ID,"ok":{{"intact":{intact},"rows":5,"first_seq":1,"last_seq":5,"head":"5:ab","gaps":[]{broken}}}}}"#
        )
    };
    let good = Fake::socket(&[&verified(true, "")]).run(&["audit", "verify"]);
    assert_eq!(good.code, 0, "{good:?}");
    assert!(good.out.starts_with("intact: 5 rows, 1 to 5\n  head 5:ab"), "{good:?}");
    let broken = r#","broken":{"seq":3,"segment":"s.db","reason":"the row was changed"}"#;
    let bad = Fake::socket(&[&verified(false, broken)]).run(&["audit", "verify"]);
    assert_eq!((bad.code, bad.err.as_str()), (1, ""));
    assert!(bad.out.starts_with("broken at row 3 in s.db: the row was changed\n"), "{bad:?}");
}

#[test]
fn who_answers_nonsense_or_hangs_up_is_told_of() {
    let run = Fake::socket(&["hello"]).run(&["status"]);
    assert_eq!(run.code, 1);
    assert!(run.err.contains("does not speak proxyd's protocol"), "{run:?}");
    let run = Fake::socket(&[r#"{"v":1,"id":99,"ok":{}}"#]).run(&["status"]);
    assert!(run.code == 1 && run.err.contains("nobody asked"), "{run:?}");
    let run = Fake::socket(&[r#"{"v":1,"id":ID,"ok":{}}"#]).run(&["status"]);
    assert!(run.code == 1 && run.err.contains("not understood"), "{run:?}");
    let run = Fake::socket(&[]).run(&["status", "--timeout", "1"]);
    assert!(run.code == 3 && run.err.contains("said nothing for 1 s"), "{run:?}");
}

#[test]
fn without_a_daemon_the_places_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_with(&["status"], &[("XDG_RUNTIME_DIR", dir.path().to_str().unwrap())], dir.path(), "");
    assert_eq!((run.code, run.out.as_str()), (3, ""));
    for part in ["/run/proxyd/proxyd.sock", "proxyd/proxyd.sock", "/proxyd-", "no such file", "--socket", "--url"] {
        assert!(run.err.contains(part), "{part}: {run:?}");
    }
    let run = run_with(&["status", "--socket", "/nowhere/x.sock"], &[], dir.path(), "");
    assert!(run.code == 3 && run.err.contains("no daemon answers at /nowhere/x.sock"), "{run:?}");
    // A socket that nobody listens on any more.
    let stale = dir.path().join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    let run = run_with(&["status"], &[("PROXYD_SOCKET", stale.to_str().unwrap())], dir.path(), "");
    assert!(run.code == 3 && run.err.contains("nobody listens") && run.err.contains("PROXYD_SOCKET"), "{run:?}");
}

#[test]
fn an_automatic_place_is_found() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("proxyd")).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(dir.path().join("proxyd/proxyd.sock")).unwrap();
    let runtime = dir.path().to_str().unwrap().to_owned();
    let place = dir.path().to_owned();
    let asking = std::thread::spawn(move || {
        run_with(&["shutdown", "--timeout", "1"], &[("XDG_RUNTIME_DIR", &runtime)], &place, "")
    });
    let (stream, _) = listener.accept().unwrap();
    drop(stream);
    let run = asking.join().unwrap();
    assert!(run.code == 3 && run.err.contains("ended before the answer did"), "{run:?}");
}

#[test]
fn whoever_stops_reading_is_no_error() {
    let rows = vec![REQUEST; 20_000];
    let fake = Fake::socket(&rows);
    let socket = fake.path();
    let mut child =
        command(&["audit", "--output", "json"], &[("PROXYD_SOCKET", socket.to_str().unwrap())], fake.dir.path())
            .spawn()
            .unwrap();
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut [0; 100]).unwrap();
    drop(out);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn wrong_usage_is_exit_code_two() {
    let dir = tempfile::tempdir().unwrap();
    for args in [
        &["fly"][..],
        &["status", "--output", "csv"],
        &["status", "--output", "xml"],
        &["audit", "--requests", "--actions"],
        &["audit", "--last", "5", "head"],
        &["limits", "a", "reset", "b"],
        &["--socket", "/x", "--url", "http://h", "status"],
        &["--url", "ftp://h", "status"],
        &["--url", "http://h/x", "status"],
        &["--url", "http://h", "--user", "nocolon", "status"],
        &["log-level", "loud"],
        &[],
    ] {
        let run = run_with(args, &[], dir.path(), "");
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{args:?}: {run:?}");
    }
}
