//! The config language as operators meet it: `proxyctl validate`, layers, references, starting with mistakes.

use serde_json::{Value, json};
use tests::{Home, Proxyd, Ran, Start, Upstream, proxyctl};

fn validate(home: &Home, text: &str) -> Ran {
    home.write("config.yaml", text);
    proxyctl(home.path(), &["validate", "config.yaml"])
}

fn problems(home: &Home, text: &str) -> Vec<Value> {
    home.write("config.yaml", text);
    let ran = proxyctl(home.path(), &["validate", "config.yaml", "--output", "json"]);
    ran.json()["problems"].as_array().unwrap_or_else(|| panic!("no problems: {}", ran.stdout)).clone()
}

#[test]
fn the_specification_s_example_is_valid_word_for_word() {
    let home = Home::default();
    validate(&home, include_str!("../../fixtures/specification.yaml")).exits(0);
}

#[test]
fn the_repository_s_own_config_is_valid() {
    let path = tests::binaries::repository().join("config.yaml");
    let home = Home::default();
    let ran = proxyctl(home.path(), &["validate", &path.display().to_string(), "--output", "json"]);
    ran.exits(0);
    assert_eq!(ran.json()["valid"], true);
}

#[test]
fn the_smallest_config_is_a_list_of_routes() {
    let home = Home::default();
    validate(&home, "routes:\n  - {path: /, respond: {status: 200}}\n").exits(0);
    validate(&home, r#"{"routes": [{"path": "/", "respond": {"status": 200}}]}"#).exits(0);
}

#[test]
fn every_mistake_is_told_at_once() {
    let home = Home::default();
    let text = "server:\n  listne: 127.0.0.1:1\n  timeouts:\n    drain: 30\nrate_limit:\n  requests_per_minute: many\nroutes:\n  - {path: /a, target: 'ftp://x'}\n  - {path: /b, upstream: nobody}\n  - {path: /c}\n  - path: relative\n    respond: {status: 999}\n";
    let ran = validate(&home, text);
    ran.exits(1).says(&[
        "config.yaml:2:3",
        "listne",
        "listen",
        "config.yaml:4:12",
        "30s",
        "config.yaml:6:24",
        "config.yaml:8",
        "nobody",
        "config.yaml:10",
        "config.yaml:11",
        "config.yaml:12",
        "routes[1].upstream",
    ]);
    let found = problems(&home, text);
    assert!(found.len() >= 8, "{found:#?}");
    for problem in &found {
        assert!(problem["code"].is_string() && problem["line"].as_u64() > Some(0), "{problem}");
        assert!(problem["message"].as_str().is_some_and(|text| text.len() > 10), "{problem}");
        assert!(problem["excerpt"]["line_text"].is_string(), "{problem}");
    }
    let unknown = found.iter().find(|problem| problem["code"] == "unknown_key").expect("an unknown key");
    assert_eq!(
        (&unknown["path"], &unknown["line"], &unknown["column"]),
        (&json!("server.listne"), &json!(2), &json!(3))
    );
    assert!(unknown["hint"].as_str().is_some_and(|hint| hint.contains("listen")), "{unknown}");
}

#[test]
fn mistakes_have_their_codes() {
    let home = Home::default();
    let check = |text: &str, code: &str| {
        let found = problems(&home, text);
        assert!(found.iter().any(|problem| problem["code"] == code), "{text}: {found:#?}");
    };
    check("routes: [", "syntax");
    check("routes:\n  - {path: /, respond: {status: 200}, colour: red}\n", "unknown_key");
    check("routes:\n  - {path: /, path: /b, respond: {status: 200}}\n", "duplicate_key");
    check("routes: 7\n", "wrong_type");
    check("routes:\n  - {path: /}\n", "missing_key");
    check("server: {listen: here}\nroutes: []\n", "invalid_value");
}

#[test]
fn hostile_texts_are_refused_in_time() {
    let home = Home::default();
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        let ten = vec![before; 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{ten}]\n"));
    }
    let deep = format!("routes: {}{}", "[".repeat(50_000), "]".repeat(50_000));
    for text in [bomb, deep, format!("# {}\nroutes: []\n", "x".repeat(50 << 20)), "\0\u{1}".to_owned()] {
        let begun = std::time::Instant::now();
        let ran = validate(&home, &text);
        ran.exits(1);
        assert!(begun.elapsed() < tests::PATIENCE, "{:?}", begun.elapsed());
        assert!(ran.stderr.len() + ran.stdout.len() < 20_000, "an error as long as the input");
    }
    std::fs::write(home.file("config.yaml"), [0xff, 0xfe, 0x00]).unwrap();
    proxyctl(home.path(), &["validate", "config.yaml"]).exits(1).says(&["config.yaml", "UTF-8"]);
    proxyctl(home.path(), &["validate", "missing.yaml"]).exits(1).says(&["missing.yaml"]);
}

#[test]
fn warnings_do_not_refuse() {
    let home = Home::default();
    let ran = validate(
        &home,
        "routes:\n  - {name: wide, path: /a, respond: {status: 200}, priority: 5}\n  - {name: hidden, path: /a/b, respond: {status: 200}}\n",
    );
    ran.exits(0).says(&["hidden", "wide"]);
    // An error where it is one: credentials for everybody.
    validate(&home, "cors: {allow_origins: ['*'], credentials: true}\nroutes: []\n").exits(1);
    validate(&home, "routes:\n  - {path: /a, respond: {status: 200}}\n  - {path: /a, respond: {status: 201}}\n")
        .exits(1);
}

#[test]
fn layers_have_their_precedence() {
    let home = Home::default();
    home.write("config.production.yaml", "log: {slow_request: 3s}\nserver: {timeouts: {drain: 3s, keep_alive: 3s}}\n");
    let text = "server: {timeouts: {drain: 2s, keep_alive: 2s, request_body: 2s}}\nroutes:\n  - {path: /, respond: {status: 200}}\n";
    let proxyd = Start::in_home(&home, text)
        .args(&["--env", "production"])
        .env("PROXYD__SERVER__TIMEOUTS__DRAIN", "4s")
        .env("PROXYD__SERVER__TIMEOUTS__REQUEST_BODY", "4s")
        .set("server.timeouts.drain", "5s")
        .run();
    let shown = proxyd.ask("config", &json!({"origin": true}));
    let value = |path: &str| shown["config"].pointer(path).unwrap_or_else(|| panic!("{path}: {shown}")).clone();
    assert_eq!(value("/server/timeouts/drain"), "5s");
    assert_eq!(value("/server/timeouts/request_body"), "4s");
    assert_eq!(value("/server/timeouts/keep_alive"), "3s");
    assert_eq!(value("/server/timeouts/request_headers"), "10s");
    assert_eq!(value("/log/slow_request"), "3s");
    let origin = |path: &str| {
        let origins = shown["origins"].as_array().expect("origins");
        let pair = origins.iter().find(|pair| pair[0] == path).unwrap_or_else(|| panic!("{path}: {origins:#?}"));
        pair[1].as_str().unwrap().to_owned()
    };
    assert!(origin("server.timeouts.drain").contains("--set"));
    assert!(origin("server.timeouts.request_body").contains("PROXYD__SERVER__TIMEOUTS__REQUEST_BODY"));
    assert!(origin("server.timeouts.keep_alive").contains("config.production.yaml:2"));
    assert!(origin("server.timeouts.request_headers").contains("default"));
    proxyd.ctl(&["config", "show", "--origin"]).exits(0).says(&["config.production.yaml", "--set", "default"]);
}

#[test]
fn a_directory_is_read_in_name_order() {
    let home = Home::default();
    home.write("conf/10-a.yaml", "routes:\n  - {name: a, path: /a, respond: {body: a}}\n");
    home.write("conf/20-b.yaml", "routes:\n  - {name: b, path: /b, respond: {body: b}}\n");
    let proxyd = Start::in_home(&home, "").config("conf").run();
    assert_eq!((proxyd.get("/a").text(), proxyd.get("/b").text()), ("a".to_owned(), "b".to_owned()));
    home.write("conf/30-c.yaml", "routes:\n  - {name: a, path: /c, respond: {body: c}}\n");
    let error = proxyd.try_ask("reload", &json!({})).unwrap_err();
    assert_eq!(error["code"], "config_invalid", "a name given twice: {error}");
}

#[test]
fn references_are_resolved_and_never_shown() {
    let home = Home::default();
    home.write("token.txt", "file-secret-4711\n");
    let upstream = Upstream::echo();
    let text = format!(
        "admin: {{auth: {{tokens: [{{name: ci, token: '${{env:TEST_TOKEN}}', role: operator}}]}}}}\nheaders: {{request: {{set: {{authorization: '${{file:token.txt}}'}}}}}}\nroutes:\n  - {{path: /, target: '{}'}}\n",
        upstream.url()
    );
    let proxyd = Start::in_home(&home, &text).env("TEST_TOKEN", "env-secret-4712-and-more").run();
    assert!(proxyd.get("/").text().contains("file-secret-4711"));
    let shown = proxyd.ctl(&["config", "show", "--origin"]);
    shown.exits(0);
    let everything =
        format!("{}{}{}{}", shown.stdout, proxyd.ask("config", &json!({})), proxyd.output(), home.read("access.log"));
    assert!(!everything.contains("secret-471"), "a secret is shown");

    home.write("config.yaml", &text);
    proxyctl(home.path(), &["validate", "config.yaml"]).exits(0).says(&["TEST_TOKEN"]);
    proxyctl(home.path(), &["validate", "config.yaml", "--resolve"]).exits(1).says(&["TEST_TOKEN"]);
    let refused = Start::in_home(&Home::default(), &text).ends();
    refused.says(&["TEST_TOKEN"]);
    assert_ne!(refused.code, Some(0));
}

#[test]
fn a_daemon_refuses_a_bad_config_with_everything_that_is_wrong() {
    let ran = Start::new("servre: {}\nroutes:\n  - {path: x, respond: {status: 1}}\n").ends();
    assert_eq!(ran.code, Some(1), "{ran:?}");
    ran.says(&["config.yaml:1:1", "servre", "server", "config.yaml:3"]);
}

#[test]
fn a_starter_file_a_schema_and_the_rest_of_the_offline_commands() {
    let home = Home::default();
    proxyctl(home.path(), &["init"]).exits(0);
    let made: Vec<_> = std::fs::read_dir(home.path()).unwrap().filter_map(Result::ok).collect();
    assert_eq!(made.len(), 1, "{made:?}");
    let name = made[0].file_name().to_string_lossy().into_owned();
    proxyctl(home.path(), &["validate", &name]).exits(0);
    assert!(home.read(&name).contains('#'), "it is commented");
    let again = proxyctl(home.path(), &["init"]);
    assert_ne!(again.code, Some(0), "it overwrites nothing");

    let schema = proxyctl(home.path(), &["config", "schema"]);
    assert_eq!(schema.exits(0).json()["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(schema.json()["properties"]["routes"].is_object());
    proxyctl(home.path(), &["version"]).exits(0).says(&["0.1.0"]);
    for shell in ["bash", "zsh", "fish"] {
        assert!(proxyctl(home.path(), &["completions", shell]).exits(0).stdout.contains("proxyctl"), "{shell}");
    }
    proxyctl(home.path(), &["fly"]).exits(2);
    proxyctl(home.path(), &["status", "--socket", "/nowhere/at/all.sock"]).exits(3).says(&["/nowhere/at/all.sock"]);
}

#[test]
fn every_subcommand_helps_with_examples() {
    let home = Home::default();
    let top = proxyctl(home.path(), &["--help"]);
    for command in [
        "status",
        "routes",
        "explain",
        "reload",
        "validate",
        "config",
        "history",
        "rollback",
        "audit",
        "upstreams",
        "limits",
        "log-level",
        "shutdown",
        "doctor",
        "init",
        "completions",
    ] {
        top.says(&[command]);
        let help = proxyctl(home.path(), &[command, "--help"]);
        help.exits(0);
        assert!(help.stdout.matches(&format!("proxyctl {command}")).count() >= 2, "two examples: {}", help.stdout);
    }
}

#[test]
fn posted_text_resolves_nothing() {
    let proxyd = Proxyd::start("routes:\n  - {path: /, respond: {status: 200}}\n");
    let posted = tests::Request::post(
        "/admin/validate",
        "headers: {request: {set: {x: '${file:/etc/passwd}'}}}\nroutes:\n  - {path: /, respond: {status: 200}}\n",
    );
    let answer = proxyd.admin_send(&posted);
    assert!(!answer.text().contains("root:"), "{}", answer.text());
}
