//! The operator's doors: the socket's lines, the HTTP mirror, roles, and what strangers and mistakes meet there.

use serde_json::{Value, json};
use tests::{Control, Home, PATIENCE, Proxyd, Request, Start, Wire, eventually};

const PLAIN: &str = "routes:\n  - {name: all, path: /, respond: {status: 200}}\n";

/// A hash of the password `correct horse`, made by `proxyctl hash-password`.
fn hashed() -> String {
    let home = Home::default();
    let mut command = tests::ctl::command(home.path(), &["hash-password"]);
    home.write("password", "correct horse\n");
    command.stdin(std::fs::File::open(home.file("password")).unwrap());
    let ran = tests::ctl::finish(&mut command);
    ran.exits(0);
    let hash = ran.stdout.lines().find(|line| line.starts_with("$argon2id$"));
    hash.unwrap_or_else(|| panic!("no hash: {}", ran.stdout)).trim().to_owned()
}

#[test]
fn every_reading_command_answers_through_both_doors() {
    let proxyd = Proxyd::start(PLAIN);
    for (command, path) in
        [("status", "/admin/status"), ("config", "/admin/config"), ("audit_head", "/admin/audit/head")]
    {
        let over_socket = proxyd.ask(command, &json!({}));
        let over_http = proxyd.admin_get(path);
        assert_eq!(over_http.status, 200, "{command}");
        let keys = |value: &Value| -> Vec<String> { value.as_object().expect(command).keys().cloned().collect() };
        assert_eq!(keys(&over_http.json()), keys(&over_socket), "{command}: the same body");
    }
    for (command, path) in [
        ("routes", "/admin/routes"),
        ("history", "/admin/history"),
        ("audit", "/admin/audit"),
        ("upstreams", "/admin/upstreams"),
        ("limits", "/admin/limits"),
    ] {
        proxyd.stream(command, &json!({}));
        let over_http = proxyd.admin_get(path);
        assert_eq!(over_http.status, 200, "{command}");
        let last = over_http.text().lines().last().map(str::to_owned).expect("a line");
        let last: Value = serde_json::from_str(&last).expect("JSON lines");
        assert!(last["end"].is_object(), "{command}: {last}");
    }
    let explained = Request::post("/admin/explain", json!({"method": "GET", "url": "/x"}).to_string());
    assert_eq!(proxyd.admin_send(&explained).json()["verdict"]["route"], "all");
    let verified = proxyd.admin_send(&Request::post("/admin/audit/verify", ""));
    assert_eq!(verified.json()["intact"], true, "{}", verified.text());
    let validated = proxyd.admin_send(&Request::post("/admin/validate", "routes: 7\n"));
    assert_eq!((validated.status, &validated.json()["valid"]), (200, &json!(false)), "{}", validated.text());
}

#[test]
fn proxyctl_speaks_to_the_socket_and_to_the_url_alike() {
    let proxyd = Proxyd::start(PLAIN);
    let url = format!("http://{}", proxyd.admin());
    for command in [&["status"][..], &["routes"], &["history"], &["upstreams"], &["config", "show"]] {
        let mut json = command.to_vec();
        json.extend(["--output", "json"]);
        let over_socket = proxyd.ctl(&json);
        let mut remote = vec!["--url", &url];
        remote.extend(&json);
        let over_url = tests::proxyctl(proxyd.home().path(), &remote);
        over_url.exits(0);
        let keys = |ran: &tests::Ran| match ran.json_lines().first() {
            Some(Value::Object(map)) => map.keys().cloned().collect::<Vec<_>>(),
            _ => Vec::new(),
        };
        if ran_is_lines(&over_socket) {
            assert_eq!(keys(&over_url), keys(&over_socket), "{command:?}");
        }
    }
    // Global flags stand before or after the subcommand.
    let socket = proxyd.socket().display().to_string();
    tests::proxyctl(proxyd.home().path(), &["status", "--socket", &socket]).exits(0).says(&["serving"]);
    let refused = tests::proxyctl(proxyd.home().path(), &["--url", &url, "shutdown"]);
    refused.exits(4);
    let mut by_environment = tests::ctl::command(proxyd.home().path(), &["status"]);
    tests::ctl::finish(by_environment.env("PROXYD_SOCKET", &socket)).exits(0);
}

/// Whether each line of the output is a JSON document.
fn ran_is_lines(ran: &tests::Ran) -> bool {
    ran.stdout.lines().all(|line| serde_json::from_str::<Value>(line).is_ok())
}

#[test]
fn bad_lines_are_answered_and_the_connection_stays() {
    let proxyd = Proxyd::start(PLAIN);
    let mut control = proxyd.control();
    for (line, id, code) in [
        ("hello", Value::Null, "malformed_request"),
        ("[1,2]", Value::Null, "malformed_request"),
        (r#"{"v":1,"command":"status"}"#, Value::Null, "malformed_request"),
        (r#"{"v":9,"id":1,"command":"status"}"#, json!(1), "unsupported_version"),
        (r#"{"v":1,"id":"a","command":"fly"}"#, json!("a"), "unknown_command"),
        (r#"{"v":1,"id":2,"command":"status","args":{"x":1}}"#, json!(2), "invalid_arguments"),
        (r#"{"v":1,"id":3,"command":"audit","args":{"last":"many"}}"#, json!(3), "invalid_arguments"),
        (r#"{"v":1,"id":4,"command":"audit","args":{"since":"yesterdayish"}}"#, json!(4), "invalid_arguments"),
        (r#"{"v":1,"id":5,"command":"explain","args":{"method":"GET","url":"::"}}"#, json!(5), "invalid_arguments"),
    ] {
        control.send_bytes(format!("{line}\n").as_bytes());
        let answer = control.line().unwrap_or_else(|| panic!("closed after {line:?}"));
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&id, &json!(code)), "{line}: {answer}");
    }
    control.send_bytes(b"\xff\xfe\n");
    assert_eq!(control.line().unwrap()["error"]["code"], "malformed_request");
    assert_eq!(control.try_ask("status", &json!({})).unwrap()["state"], "serving");
}

#[test]
fn a_line_over_the_limit_is_refused_and_the_connection_closed() {
    let proxyd = Proxyd::start(PLAIN);
    let mut control = proxyd.control();
    let line = format!(r#"{{"v":1,"id":1,"command":"status","args":{{"x":"{}"}}}}"#, "x".repeat(2 << 20));
    control.try_send_bytes(line.as_bytes());
    control.try_send_bytes(b"\n");
    let answer = control.line().expect("it is said why");
    assert_eq!(answer["error"]["code"], "request_too_large", "{answer}");
    assert_eq!(control.line(), None);
    assert_eq!(proxyd.status()["state"], "serving");
}

#[test]
fn requests_may_be_pipelined() {
    let proxyd = Proxyd::start(PLAIN);
    let mut control = proxyd.control();
    let ids: Vec<i64> = (0..20).map(|_| control.send("status", &json!({}))).collect();
    let mut answered: Vec<i64> = ids.iter().map(|_| control.line().unwrap()["id"].as_i64().unwrap()).collect();
    answered.sort_unstable();
    assert_eq!(answered, ids);
}

#[test]
fn half_a_line_is_no_command() {
    let proxyd = Proxyd::start(PLAIN);
    let mut control = proxyd.control();
    control.send_bytes(br#"{"v":1,"id":1,"command":"shutdown""#);
    drop(control);
    assert_eq!(proxyd.get("/").status, 200);
    assert_eq!(proxyd.status()["state"], "serving");
}

#[test]
fn a_caller_that_does_not_read_blocks_nobody() {
    let proxyd = Proxyd::start(PLAIN);
    for _ in 0..200 {
        proxyd.get("/x");
    }
    proxyd.audit(&json!({"last": 200, "path": "/x"}), 200);
    let mut deaf = proxyd.control();
    for _ in 0..50 {
        deaf.send("audit", &json!({"last": 10000}));
    }
    for _ in 0..5 {
        assert_eq!(proxyd.status()["state"], "serving");
        assert_eq!(proxyd.get("/").status, 200);
    }
}

#[test]
fn the_socket_belongs_to_its_owner() {
    use std::os::unix::fs::PermissionsExt;
    let proxyd = Proxyd::start(PLAIN);
    let mode = std::fs::metadata(proxyd.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{mode:o}");
    proxyd.ask("log_level", &json!({"level": "debug"}));
    let row = proxyd.audit(&json!({"kind": "actions", "last": 1}), 1).remove(0);
    let actor = row["actor"].as_str().unwrap();
    let uid = nix::unistd::getuid();
    let name = nix::unistd::User::from_uid(uid).ok().flatten().map(|user| user.name).unwrap_or_default();
    assert!(actor.contains(&format!("uid {uid}")) && actor.contains(&name), "{actor}");
    assert!(actor.contains(&format!("pid {}", std::process::id())), "{actor}");
}

#[test]
fn log_level_is_changed_and_said() {
    let proxyd = Proxyd::start(PLAIN);
    let told = proxyd.ask("log_level", &json!({"level": "debug"}));
    assert_eq!((&told["before"], &told["level"]), (&json!("info"), &json!("debug")));
    assert_eq!(proxyd.status()["log_level"], "debug");
    proxyd.ctl(&["log-level", "warn"]).exits(0).says(&["warn"]);
    proxyd.ctl(&["log-level", "loud"]).exits(2);
}

#[test]
fn a_second_daemon_is_told_who_is_there() {
    let proxyd = Proxyd::start(PLAIN);
    let socket = proxyd.socket().display().to_string();
    let second = Start::new(PLAIN).set("admin.socket", &socket).ends();
    assert_eq!(second.code, Some(1), "{second:?}");
    second.says(&[&socket, &proxyd.pid().to_string()]);

    let same_state = proxyd.home().file("data").display().to_string();
    let third = Start::new(PLAIN).set("server.state_dir", &same_state).ends();
    assert_eq!(third.code, Some(1), "{third:?}");
    third.says(&[&same_state]);

    let same_port = Start::new(PLAIN).set("server.listen", &proxyd.address().to_string()).ends();
    assert_eq!(same_port.code, Some(1), "{same_port:?}");
    same_port.says(&[&proxyd.address().to_string(), "in use"]);
    assert_eq!(proxyd.get("/").status, 200);
}

#[test]
fn a_stale_socket_is_replaced_and_anything_else_is_not() {
    let proxyd = Proxyd::start(PLAIN);
    let home = proxyd.kill_nine();
    assert!(home.file("proxyd.sock").exists(), "a killed daemon leaves its socket");
    let proxyd = Start::in_home(&home, PLAIN).run();
    assert_eq!(proxyd.get("/").status, 200);

    let home = Home::default();
    std::fs::create_dir(home.file("proxyd.sock")).unwrap();
    Start::in_home(&home, PLAIN).ends().says(&["proxyd.sock", "directory"]);
    let home = Home::default();
    home.write("proxyd.sock", "precious");
    let ran = Start::in_home(&home, PLAIN).ends();
    assert_eq!(ran.code, Some(1));
    assert_eq!(home.read("proxyd.sock"), "precious", "a file that is no socket is nobody's to remove");
}

#[test]
fn a_stop_takes_its_socket_away() {
    let proxyd = Proxyd::start(PLAIN);
    let home = proxyd.stop();
    assert!(!home.file("proxyd.sock").exists());
}

#[test]
fn shutdown_stops() {
    let mut proxyd = Proxyd::start(PLAIN);
    let told = proxyd.ask("shutdown", &json!({}));
    assert_eq!(told["audited"], true, "{told}");
    assert!(proxyd.wait_exit(PATIENCE).success());
    let again = tests::proxyctl(proxyd.home().path(), &["--socket", "proxyd.sock", "status"]);
    again.exits(3);
}

#[test]
fn strangers_pages_may_not_speak_to_the_admin_listener() {
    let proxyd = Start::new(&format!("admin: {{hosts: [gate.internal]}}\n{PLAIN}")).run();
    let port = proxyd.admin().port();
    let status = |host: &str| Request::get("/admin/status").host(host).send(proxyd.admin()).status;
    for own in [format!("127.0.0.1:{port}"), format!("localhost:{port}"), "gate.internal".to_owned()] {
        assert_eq!(status(&own), 200, "{own}");
    }
    for rebound in ["evil.example", "evil.example:9900", "127.0.0.1.evil.example"] {
        let refused = Request::get("/admin/status").host(rebound).send(proxyd.admin());
        assert!(matches!(refused.status, 403 | 421), "{rebound}: {}", refused.status);
    }
    let cross = proxyd.admin_send(&Request::post("/admin/reload", "").header("Origin", "https://evil.example"));
    assert_eq!(cross.status, 403);
    assert_eq!(cross.header("access-control-allow-origin"), None);
    let site = proxyd.admin_send(&Request::post("/admin/reload", "").header("Sec-Fetch-Site", "cross-site"));
    assert_eq!(site.status, 403);
}

#[test]
fn the_admin_is_on_its_own_listener_alone() {
    let proxyd = Proxyd::start("routes:\n  - {exact: /here, respond: {status: 200}}\n");
    for path in ["/admin/status", "/metrics", "/health"] {
        assert_eq!(proxyd.get(path).status, 404, "{path}");
    }
    assert_eq!(proxyd.admin_get("/nothing").status, 404);
    let wrong = proxyd.admin_send(&Request::new("DELETE", "/admin/status"));
    assert_eq!(wrong.status, 405);
    assert!(wrong.headers.has("allow", "GET"));
    let broken = proxyd.admin_send(&Request::post("/admin/reload", "{"));
    assert_eq!((broken.status, broken.error_code().as_str()), (400, "malformed_request"));
    let unknown = proxyd.admin_send(&Request::get("/admin/audit?lats=5"));
    assert_eq!((unknown.status, unknown.error_code().as_str()), (400, "invalid_arguments"));
}

#[test]
fn without_auth_a_loopback_caller_may_only_read_and_reload() {
    let proxyd = Proxyd::start(PLAIN);
    for request in [
        Request::post("/admin/shutdown", ""),
        Request::post("/admin/rollback", r#"{"generation":1}"#),
        Request::new("PUT", "/admin/log-level").body(r#"{"level":"debug"}"#),
        Request::new("DELETE", "/admin/limits/127.0.0.1"),
    ] {
        let refused = proxyd.admin_send(&request);
        assert_eq!((refused.status, refused.error_code().as_str()), (403, "not_permitted"), "{request:?}");
    }
    assert_eq!(proxyd.admin_send(&Request::post("/admin/reload", "")).status, 200);
    let rows = proxyd.audit(&json!({"kind": "actions", "outcome": "not_permitted"}), 4);
    assert!(rows.iter().all(|row| row["door"] == "http"), "{rows:#?}");
    assert_eq!(proxyd.status()["state"], "serving");
}

#[test]
fn roles_decide_who_may_do_what() {
    let home = Home::default();
    let text = format!(
        "admin:\n  auth:\n    basic: [{{user: anna, password_hash: '{}', role: operator}}]\n    tokens:\n      - {{name: ci, token: operator-token-4711, role: operator}}\n      - {{name: graph, token: reader-token-4712, role: reader}}\n{PLAIN}",
        hashed()
    );
    let proxyd = Start::in_home(&home, &text).run();
    let level = |credentials: &str| {
        let mut request = Request::new("PUT", "/admin/log-level").body(r#"{"level":"debug"}"#);
        if !credentials.is_empty() {
            request = request.header("Authorization", credentials);
        }
        proxyd.admin_send(&request)
    };
    let read = |credentials: &str| {
        let request = Request::get("/admin/status");
        let request = if credentials.is_empty() { request } else { request.header("Authorization", credentials) };
        proxyd.admin_send(&request).status
    };
    let none = level("");
    assert_eq!((none.status, none.error_code().as_str()), (401, "unauthenticated"));
    assert!(none.header("www-authenticate").is_some());
    assert_eq!((level("Bearer wrong").status, read("Bearer wrong"), read("")), (401, 401, 401));
    assert_eq!((read("Bearer reader-token-4712"), level("Bearer reader-token-4712").status), (200, 403));
    assert_eq!(level("Bearer operator-token-4711").status, 200);
    // anna:correct horse
    assert_eq!(level("Basic YW5uYTpjb3JyZWN0IGhvcnNl").status, 200);
    assert_eq!(level("Basic YW5uYTp3cm9uZw==").status, 401);

    let url = format!("http://{}", proxyd.admin());
    tests::proxyctl(home.path(), &["--url", &url, "status"]).exits(4);
    tests::proxyctl(home.path(), &["--url", &url, "--token", "reader-token-4712", "status"]).exits(0);

    let rows = proxyd.stream("audit", &json!({"kind": "actions", "last": 100}));
    let text = Value::Array(rows.clone()).to_string();
    assert!(text.contains("token ci") && text.contains("anna"), "{text}");
    assert!(rows.iter().any(|row| row["outcome"] == "unauthenticated"), "refused attempts are on record: {text}");
    assert!(!format!("{text}{}", proxyd.output()).contains("token-471"), "a token is shown");
}

#[test]
fn off_loopback_auth_is_required() {
    let ran = Start::new(&format!("admin: {{listen: '0.0.0.0:0'}}\n{PLAIN}")).leave("admin.listen").ends();
    assert_eq!(ran.code, Some(1));
    ran.says(&["admin.auth"]);
}

#[test]
fn guessing_is_slowed_down() {
    let text =
        format!("admin: {{auth: {{tokens: [{{name: ci, token: operator-token-4711, role: operator}}]}}}}\n{PLAIN}");
    let proxyd = Proxyd::start(&text);
    let mut wire = Wire::connect(proxyd.admin());
    let mut statuses = Vec::new();
    for _ in 0..200 {
        let request = Request::get("/admin/status").header("Authorization", "Bearer guess");
        wire.try_send(request.host(&proxyd.admin().to_string()).bytes());
        match wire.try_response("GET") {
            Some(response) => statuses.push(response.status),
            None => wire = Wire::connect(proxyd.admin()),
        }
    }
    assert!(statuses.iter().any(|status| matches!(status, 429 | 503)), "two hundred guesses and none refused");
}

#[test]
fn the_openapi_document_knows_every_path() {
    let proxyd = Proxyd::start(PLAIN);
    let document = proxyd.admin_get("/admin/openapi.json").json();
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.")), "{document}");
    let paths = document["paths"].as_object().expect("paths");
    for path in [
        "/admin/status",
        "/admin/routes",
        "/admin/reload",
        "/admin/validate",
        "/admin/config",
        "/admin/audit",
        "/admin/audit/stream",
        "/admin/upstreams",
        "/admin/upstreams/{name}/endpoints",
        "/admin/upstreams/{name}/endpoints/{id}",
        "/admin/limits",
        "/admin/limits/{key}",
        "/admin/log-level",
        "/admin/shutdown",
        "/admin/history",
        "/admin/rollback",
        "/admin/explain",
    ] {
        assert!(paths.contains_key(path), "{path} is missing: {:?}", paths.keys());
    }
}

#[test]
fn doctor_looks_at_the_usual_causes() {
    let proxyd = Proxyd::start(PLAIN);
    let ran = proxyd.ctl(&["doctor"]);
    assert!(matches!(ran.code, Some(0 | 1)), "{ran:?}");
    ran.says(&["socket"]);
    let home = Home::default();
    let alone = tests::proxyctl(home.path(), &["--socket", "nowhere.sock", "doctor"]);
    assert_ne!(alone.code, Some(0));
    alone.says(&["nowhere.sock"]);
}

#[test]
fn many_callers_at_once_are_served() {
    let proxyd = Proxyd::start(PLAIN);
    let mut open: Vec<Control> = (0..50).map(|_| proxyd.control()).collect();
    for control in &mut open {
        assert_eq!(control.try_ask("status", &json!({})).unwrap()["state"], "serving");
    }
    drop(open);
    eventually("they are gone again", || (proxyd.status()["state"] == "serving").then_some(()));
}
