//! What needs no daemon: validate, explain, config, init, hash-password, completions, version, and the doctor.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::fake::{Fake, Run, run_with};

const GOOD: &str = "routes:\n  - path: /api/\n    target: http://127.0.0.1:8001\n";

fn run(dir: &Path, args: &[&str]) -> Run {
    run_with(args, &[], dir, "")
}

fn with(config: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("config.yaml"), config).unwrap();
    dir
}

#[test]
fn a_good_config_is_valid() {
    let dir = with(GOOD);
    let told = run(dir.path(), &["validate"]);
    assert_eq!(
        (told.code, told.out.as_str(), told.err.as_str()),
        (0, "config.yaml is valid: 1 route, 1 upstream\n", "")
    );
    let told = run(dir.path(), &["validate", "config.yaml", "--output", "json"]);
    let page: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!((told.code, &page["valid"], &page["routes"]), (0, &json!(true), &json!(1)));
}

#[test]
fn a_bad_config_is_reported_whole() {
    let dir = with("routs: []\nserver:\n  workers: many\n  \"a\\e[2J\": 1\n");
    let told = run(dir.path(), &["validate"]);
    assert_eq!((told.code, told.out.as_str()), (1, ""), "{told:?}");
    for part in ["config.yaml:1:1", "config.yaml:3:", "routs", "routes", "config.yaml is invalid"] {
        assert!(told.err.contains(part), "{part}: {told:?}");
    }
    assert!(!told.err.contains('\x1b'), "{told:?}");
    let told = run(dir.path(), &["validate", "--output", "json"]);
    let page: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!((told.code, &page["valid"]), (1, &json!(false)));
    assert!(page["problems"].as_array().unwrap().len() >= 2, "{page}");
    let told = run(dir.path(), &["validate", "nowhere.yaml"]);
    assert!(told.code == 1 && told.err.contains("nowhere.yaml"), "{told:?}");
}

#[test]
fn layers_are_laid_over() {
    let dir = with(GOOD);
    fs::write(dir.path().join("config.production.yaml"), "server: {workers: 3}\n").unwrap();
    let shown =
        run(dir.path(), &["config", "show", "--env", "production", "--set", "log.level=debug", "--output", "json"]);
    let page: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!((&page["config"]["server"]["workers"], &page["config"]["log"]["level"]), (&json!(3), &json!("debug")));
    let told = run(dir.path(), &["validate", "--set", "server.workers=none"]);
    assert!(told.code == 1 && told.err.contains("--set server.workers"), "{told:?}");
}

#[test]
fn unset_references_are_errors_only_when_resolved() {
    let dir = with("routes:\n  - path: /\n    respond: {status: 200, body: \"${env:PROXYCTL_TEST_UNSET}\"}\n");
    let told = run(dir.path(), &["validate"]);
    assert!(told.code == 0 && told.err.contains("PROXYCTL_TEST_UNSET"), "{told:?}");
    let told = run(dir.path(), &["validate", "--resolve"]);
    assert!(told.code == 1 && told.err.contains("PROXYCTL_TEST_UNSET"), "{told:?}");
}

#[test]
fn the_effective_config_loads_again() {
    let dir = with(GOOD);
    let shown = run(dir.path(), &["config", "show", "--config", "config.yaml", "--origin"]);
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(shown.out.contains("# config.yaml:2:"), "{shown:?}");
    assert!(shown.out.contains("# default"), "{shown:?}");
    fs::write(dir.path().join("again.yaml"), &shown.out).unwrap();
    let told = run(dir.path(), &["validate", "again.yaml"]);
    assert_eq!(told.code, 0, "{told:?}\n{}", shown.out);
    let again = run(dir.path(), &["config", "show", "--config", "again.yaml", "--output", "json"]);
    let first = run(dir.path(), &["config", "show", "--config", "config.yaml", "--output", "json"]);
    assert_eq!(again.out, first.out);
}

#[test]
fn a_request_is_explained_offline() {
    let dir = with(GOOD);
    let told = run(dir.path(), &["explain", "GET", "http://h/api/x", "--config", "config.yaml"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.out.contains("http://127.0.0.1:8001/api/x"), "{told:?}");
    let told = run(dir.path(), &["explain", "GET", "http://h/nothing", "--config", "config.yaml", "--output", "json"]);
    let page: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!((told.code, &page["verdict"]["status"]), (0, &json!(404)));
    let told = run(dir.path(), &["explain", "GET", "http://h/x", "--config", "config.yaml", "--from", "nobody"]);
    assert_eq!((told.code, told.out.as_str()), (2, ""), "{told:?}");
}

#[test]
fn a_schema_is_printed() {
    let dir = tempfile::tempdir().unwrap();
    let schema = run(dir.path(), &["config", "schema"]);
    let page: Value = serde_json::from_str(&schema.out).unwrap();
    assert!(page["properties"]["routes"].is_object(), "{schema:?}");
}

#[test]
fn a_starter_is_written_once_and_is_valid() {
    let dir = tempfile::tempdir().unwrap();
    let told = run(dir.path(), &["init"]);
    assert!(told.code == 0 && told.out.starts_with("wrote config.yaml\n"), "{told:?}");
    let told = run(dir.path(), &["validate", "--resolve"]);
    assert_eq!((told.code, told.err.as_str()), (0, ""), "{told:?}");
    fs::write(dir.path().join("config.yaml"), "mine").unwrap();
    let told = run(dir.path(), &["init"]);
    assert!(told.code == 1 && told.err.contains("--force"), "{told:?}");
    assert_eq!(fs::read_to_string(dir.path().join("config.yaml")).unwrap(), "mine");
    assert_eq!(run(dir.path(), &["init", "--force"]).code, 0);
    assert_eq!(run(dir.path(), &["init", "no/such/folder.yaml"]).code, 1);
}

#[test]
fn a_password_is_hashed() {
    let dir = tempfile::tempdir().unwrap();
    let hash = |input: &str| run_with(&["hash-password"], &[], dir.path(), input);
    let (one, two) = (hash("correct horse battery\n"), hash("correct horse battery"));
    assert!(one.out.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one:?}");
    assert_ne!(one.out, two.out, "each has a salt of its own");
    assert_eq!((one.err.as_str(), one.out.lines().count()), ("", 1));
    assert!(hash("short\n").err.contains("12 characters"));
    assert_eq!((hash("").code, hash("\n").code, hash("a\nb\n").code, hash(&"x".repeat(2000)).code), (1, 1, 1, 1));
}

#[test]
fn completions_and_version_need_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for (shell, mark) in [("bash", "complete -F"), ("zsh", "#compdef proxyctl"), ("fish", "complete -c proxyctl")] {
        let script = run(dir.path(), &["completions", shell]);
        assert!(script.code == 0 && script.out.contains(mark) && script.out.contains("hash-password"), "{shell}");
    }
    assert_eq!(run(dir.path(), &["completions", "tcsh"]).code, 2);
    let version = run(dir.path(), &["version"]).out;
    assert_eq!(version, format!("proxyctl {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(run(dir.path(), &["--version"]).out, version);
}

#[test]
fn a_chain_is_proved_from_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let told = run(dir.path(), &["audit", "verify", "--path", "nowhere"]);
    assert!(told.code == 1 && told.err.contains("nowhere"), "{told:?}");
    let told = run(dir.path(), &["audit", "verify", "--path", ".", "--head", "nonsense"]);
    assert!(told.code == 2 && told.err.contains("--head"), "{told:?}");
}

#[test]
fn the_doctor_names_what_is_wrong() {
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dir = with(&format!(
        "server: {{listen: \"{address}\"}}\nadmin: {{listen: off}}\nroutes:\n  - path: /\n    target: http://{free}\n"
    ));
    let told = run(dir.path(), &["doctor"]);
    assert_eq!(told.code, 1, "{told:?}");
    let line = |check: &str| told.out.lines().find(|line| line.contains(check)).unwrap_or_default().to_owned();
    assert!(line("daemon").starts_with("fail"), "{told:?}");
    assert!(line("config.yaml is valid").starts_with("ok"), "{told:?}");
    assert!(line(&address.to_string()).contains(&std::process::id().to_string()), "{told:?}");
    assert!(line(&free.to_string()).starts_with("fail"), "{told:?}");
    for check in ["disk", "open files", "clock", "state_dir"] {
        assert!(!line(check).is_empty(), "{check}: {told:?}");
    }
    let told = run(dir.path(), &["doctor", "--output", "json"]);
    let page: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!((told.code, &page["healthy"]), (1, &json!(false)));
}

#[test]
fn the_doctor_repeats_what_the_daemon_complains_of() {
    let status = r#"{"v":1,"id":ID,"ok":{"version":"9.9.9","pid":1,"uptime":1,"started":"2026-11-01T00:00:00Z","state":"serving","generation":1,"applied":"","applied_by":"","config":"config.yaml","drift":true,"listeners":[],"admin":null,"socket":"","workers":1,"routes":0,"upstreams":0,"connections":0,"in_flight":0,"requests":0,"log_level":"info","last_reload":{"time":"","door":"http","actor":"","outcome":"config_invalid","message":"1 problem"},"audit":{"path":"/a","writable":false,"trouble":"disk full","seq":1,"queued":0,"shed":0,"segments":1,"size_bytes":1}}}"#;
    let fake = Fake::socket(&[status]);
    fs::write(fake.dir.path().join("config.yaml"), GOOD).unwrap();
    let told = fake.run(&["doctor"]);
    assert_eq!(told.code, 1);
    for part in ["proxyd 9.9.9 answers", "warn  version", "warn  drift", "warn  reload", "disk full"] {
        assert!(told.out.contains(part), "{part}: {told:?}");
    }
}

#[test]
fn the_files_are_looked_at_where_asked() {
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let dir = with(
        "server:\n  listen:\n    - address: 127.0.0.1:0\n      tls: {certificates: [{cert: tls/site.pem, key: tls/site.key}]}\nroutes: []\n",
    );
    assert_eq!(run(dir.path(), &["validate"]).code, 0, "files are not opened unless asked for");
    let told = run(dir.path(), &["validate", "--check-files"]);
    assert_eq!((told.code, told.out.as_str()), (1, ""), "{told:?}");
    for part in [
        "error[unreadable]: tls/site.pem cannot be read",
        "config.yaml:4:35 (server.listen[0].tls.certificates[0].cert)",
        "cert: tls/site.pem",
        "config.yaml is invalid: 2 errors",
    ] {
        assert!(told.err.contains(part), "{part}: {told:?}");
    }
    let doctor = run(dir.path(), &["doctor"]).out;
    assert!(doctor.contains("fail  tls        tls/site.key cannot be read"), "{doctor}");
    fs::create_dir(dir.path().join("tls")).unwrap();
    fs::write(dir.path().join("tls/site.pem"), cert.pem()).unwrap();
    fs::write(dir.path().join("tls/site.key"), key.serialize_pem()).unwrap();
    let told = run(dir.path(), &["validate", "--check-files"]);
    assert_eq!(
        (told.code, told.out.as_str(), told.err.as_str()),
        (0, "config.yaml is valid: 0 routes, 0 upstreams\n", "")
    );
    let doctor = run(dir.path(), &["doctor"]).out;
    assert!(doctor.contains("ok    tls        2 files are sound; the first expires "), "{doctor}");
}
