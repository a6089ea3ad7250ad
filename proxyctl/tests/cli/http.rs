//! The same commands over the HTTP mirror of a daemon that is far away.

use crate::fake::{Fake, run_with};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json";
const ROW: &str =
    r#"{"kind":"gap","seq":43,"time_us":1795348802000000,"missing":7,"from_us":null,"until_us":null,"reason":"shed"}"#;

fn run(url: &str, args: &[&str], variables: &[(&str, &str)]) -> crate::fake::Run {
    let dir = tempfile::tempdir().unwrap();
    run_with(&[&["--url", url], args].concat(), variables, dir.path(), "")
}

/// What each command line sends: method and target, and the body.
fn check(args: &[&str], expected: &str, body: &str) {
    let (fake, url) =
        Fake::http("HTTP/1.1 404 Not Found", r#"{"error":{"code":"not_found","message":"no such thing"}}"#);
    let run = run(&url, args, &[]);
    assert_eq!((run.code, run.err.as_str()), (1, "error: no such thing\n"), "{args:?}");
    let asked = fake.asked();
    let (head, sent) = asked[0].split_once("\r\n\r\n").unwrap();
    assert_eq!(head.lines().next(), Some(format!("{expected} HTTP/1.1").as_str()), "{args:?}");
    assert_eq!(sent, body, "{args:?}");
}

#[test]
fn every_command_line_sends_what_it_says() {
    check(&["status"], "GET /admin/status", "");
    check(&["routes", "a b"], "GET /admin/routes?name=a%20b", "");
    check(&["explain", "GET", "/x"], "POST /admin/explain", r#"{"method":"GET","url":"/x"}"#);
    check(&["reload", "--dry-run"], "POST /admin/reload", r#"{"dry_run":true}"#);
    check(&["config", "show", "--origin"], "GET /admin/config?origin=true", "");
    check(&["history"], "GET /admin/history", "");
    check(&["history", "3"], "GET /admin/history/3", "");
    check(&["rollback", "3"], "POST /admin/rollback", r#"{"generation":3}"#);
    check(&["audit", "--last", "2", "--status", "5xx"], "GET /admin/audit?last=2&status=5xx", "");
    check(&["audit", "tail"], "GET /admin/audit/stream?last=10", "");
    check(&["audit", "head"], "GET /admin/audit/head", "");
    check(&["audit", "verify", "--head", "1:ab"], "POST /admin/audit/verify", r#"{"head":"1:ab"}"#);
    check(&["upstreams"], "GET /admin/upstreams", "");
    check(&["upstreams", "us"], "GET /admin/upstreams?name=us", "");
    let place = "/admin/upstreams/users/endpoints/127.0.0.1%3A8001";
    let drain = format!("PUT {place}");
    check(&["upstreams", "drain", "users", "127.0.0.1:8001"], &drain, r#"{"state":"drain"}"#);
    check(&["upstreams", "weight", "users", "127.0.0.1:8001", "0"], &drain, r#"{"weight":0}"#);
    check(
        &["upstreams", "register", "users", "h:1", "--ttl", "30s"],
        "POST /admin/upstreams/users/endpoints",
        r#"{"endpoint":"h:1","ttl":"30s"}"#,
    );
    check(&["upstreams", "deregister", "users", "127.0.0.1:8001"], &format!("DELETE {place}"), "");
    check(&["limits", "::1"], "GET /admin/limits?key=%3A%3A1", "");
    check(&["limits", "reset", "::1", "--rule", "r"], "DELETE /admin/limits/%3A%3A1?rule=r", "");
    check(&["log-level", "debug"], "PUT /admin/log-level", r#"{"level":"debug"}"#);
    check(&["shutdown"], "POST /admin/shutdown", "");
}

#[test]
fn credentials_travel_in_the_header_alone() {
    let (fake, url) = Fake::http(OK, r#"{"seq":1,"link":"ab","head":"1:ab"}"#);
    let told = run(&url, &["audit", "head"], &[("PROXYD_ADMIN_TOKEN", "t0p")]);
    assert_eq!((told.code, told.out.as_str(), told.err.as_str()), (0, "1:ab\n", ""));
    run(&url, &["audit", "head", "--user", "me:pw"], &[]);
    run(&url.replace("http://", "http://me:pw@"), &["audit", "head"], &[]);
    let asked = fake.asked();
    assert!(asked[0].contains("authorization: Bearer t0p\r\n"), "{asked:?}");
    assert!(asked[1].contains("authorization: Basic bWU6cHc=\r\n"), "{asked:?}");
    assert!(asked[2].contains("authorization: Basic bWU6cHc=\r\n"), "{asked:?}");
    let help = run(&url, &["status", "--help"], &[("PROXYD_ADMIN_TOKEN", "t0p")]);
    assert!(!help.out.contains("t0p"), "{help:?}");
}

#[test]
fn lines_are_rows_until_the_end() {
    let body = format!("{ROW}\n{ROW}\n{{\"end\":{{\"rows\":2,\"complete\":true}}}}\n");
    let (_fake, url) = Fake::http("HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson", &body);
    let told = run(&url, &["audit", "--output", "json"], &[]);
    assert_eq!((told.code, told.out.lines().count()), (0, 2), "{told:?}");
    let (_fake, url) = Fake::http("HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson", &format!("{ROW}\n"));
    let cut = run(&url, &["audit", "--output", "json"], &[]);
    assert_eq!((cut.code, cut.out.lines().count()), (3, 1), "{cut:?}");
    let failing = format!("{ROW}\n{{\"error\":{{\"code\":\"failed\",\"message\":\"disk\"}}}}\n");
    let (_fake, url) = Fake::http("HTTP/1.1 200 OK", &failing);
    let failed = run(&url, &["audit", "--output", "csv"], &[]);
    assert_eq!((failed.code, failed.err.as_str()), (1, "error: disk\n"), "{failed:?}");
}

#[test]
fn events_are_followed() {
    let body = format!(": hello\n\nid: 1\ndata: {ROW}\n\ndata:{ROW}\r\n\r\nevent: end\ndata: {{}}\n\n");
    let (_fake, url) = Fake::http("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream", &body);
    let told = run(&url, &["audit", "--follow"], &[]);
    assert_eq!((told.code, told.out.lines().count()), (0, 2), "{told:?}");
    assert!(told.out.contains("7 rows are missing"), "{told:?}");
}

#[test]
fn what_is_not_proxyd_is_told_of() {
    for (head, code) in [("401 Unauthorized", 4), ("403 Forbidden", 4), ("502 Bad Gateway", 1), ("302 Found", 1)] {
        let (_fake, url) = Fake::http(&format!("HTTP/1.1 {head}\r\nlocation: http://127.0.0.1:1/"), "<html>");
        let told = run(&url, &["status"], &[]);
        assert!(told.code == code && told.err.contains("not in proxyd's words"), "{head}: {told:?}");
    }
    let (_fake, url) = Fake::http(OK, "<html>");
    let told = run(&url, &["status"], &[]);
    assert!(told.code == 1 && told.err.contains("does not speak proxyd's protocol"), "{told:?}");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let told = run(&format!("http://{free}"), &["status"], &[]);
    assert!(told.code == 3 && told.err.contains(&free.to_string()) && told.err.contains("admin.listen"), "{told:?}");
}
