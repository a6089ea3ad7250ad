//! One daemon without workers, asked everything that can be asked.

use std::path::Path;
use std::time::Duration;

use shared::audit::{AuditQuery, Row as AuditRow};
use shared::config::Sources;
use shared::control::{Nothing, RollbackArgs};
use tokio::sync::watch;

use super::*;
use crate::control::Row;
use crate::daemon::{ConfigSource, Parts};
use crate::identity::State;
use crate::registry::Registry;
use crate::reload::history::{History, KEPT};
use crate::reload::{self, load};
use crate::snapshot::Amid;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::diagnostics::Diagnostics;
use crate::telemetry::metrics::Metrics;
use crate::upstream::StickyKey;

/// A daemon whose config is the file in `folder`.
struct Fixture {
    folder: tempfile::TempDir,
    control: Control,
}

const ROUTE: &str = "routes: [{name: a, path: /a, respond: {status: 200}}]\n";

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fixture = Self::write(folder.path(), ROUTE);
        let source = ConfigSource::Files(Sources { config: fixture, env: None, set: Vec::new() });
        let loaded = load::read(&source, None).unwrap_or_else(|problems| panic!("{problems:?}"));
        let config = Arc::clone(&loaded.checked.config);
        let history = History::open(&config.server.state_dir).unwrap();
        let mut first = reload::begin(history, loaded, "test");
        first.keep();
        let registry = Arc::new(Registry::open(config.server.state_dir.join("registry.json")));
        let amid = Amid { workers: 1, registry, sticky_key: StickyKey::of(b"test"), identity: State::in_memory() };
        let (audit, _recorders) = crate::audit::start(&config.audit, 1).unwrap();
        let daemon = Arc::new(Daemon::new(Parts {
            source,
            socket: folder.path().join("s"),
            audit,
            metrics: Metrics::new(1),
            access_log: AccessLog::start(&config.log).unwrap(),
            diagnostics: Diagnostics::start(&config.log).unwrap(),
            workers: Box::default(),
            snapshot: first.compile(&amid).unwrap(),
            amid,
            wishes: tokio::sync::mpsc::channel(1).0,
        }));
        daemon.enter(Life::Serving);
        let reload = Arc::new(Reload::new(Arc::clone(&daemon), first, watch::channel(None).0));
        Self { folder, control: Control::new(daemon, reload) }
    }

    /// Writes the config file: what every test needs, and `rest`.
    fn write(folder: &Path, rest: &str) -> PathBuf {
        let file = folder.join("config.yaml");
        let state = folder.join("state");
        let text = format!(
            "server: {{listen: 127.0.0.1:0, state_dir: {}}}\nadmin: {{listen: off}}\nlog: {{access: off}}\n{rest}",
            state.display()
        );
        std::fs::write(&file, text).unwrap();
        file
    }

    fn rewrite(&self, rest: &str) {
        Self::write(self.folder.path(), rest);
    }

    async fn ask(&self, name: &str, args: Value, caller: &Caller) -> Result<Value, ControlError> {
        let command = Command::parse(name, args)?;
        match self.control.run(command, caller).await? {
            Reply::One(value) => Ok(value),
            Reply::Stream(mut rows) => {
                let mut all = Vec::new();
                while let Some(row) = rows.next().await {
                    match row {
                        Row::Event(value) => all.push(value),
                        Row::End(end) => return Ok(json!({ "rows": all, "end": end })),
                        Row::Failed(error) => return Err(error),
                    }
                }
                panic!("{name}: the stream has no end");
            }
        }
    }

    async fn check(&self, name: &str, args: Value, caller: &Caller, expected: Result<(&str, Value), ErrorCode>) {
        let got = self.ask(name, args.clone(), caller).await;
        match (got, expected) {
            (Ok(got), Ok((pointer, value))) => assert_eq!(got.pointer(pointer), Some(&value), "{name} {args}: {got}"),
            (Err(got), Err(code)) => assert_eq!(got.code, code, "{name} {args}: {got}"),
            (got, expected) => panic!("{name} {args}: {got:?}, not {expected:?}"),
        }
    }
}

fn caller(door: Door, access: Option<Access>) -> Caller {
    Caller { door, actor: "tester (uid 1)".to_owned(), access, address: None }
}

/// Diagnostics belong to the process, so there is one daemon, and one test that asks it everything in turn.
#[tokio::test]
async fn commands_are_permitted_done_and_put_on_record() {
    let fixture = Fixture::new();
    let operator = caller(Door::Socket, Some(Access::Role(Role::Operator)));
    let reader = caller(Door::Socket, Some(Access::Role(Role::Reader)));
    let local = caller(Door::Http, Some(Access::Local));
    let web = caller(Door::Http, Some(Access::Role(Role::Operator)));
    let nobody = caller(Door::Socket, None);
    may(&fixture, &operator, &reader, &local, &web, &nobody).await;
    reloads(&fixture, &operator, &local).await;
    rollbacks(&fixture, &operator, &reader).await;
    reads(&fixture, &operator).await;
    record(&fixture, &operator).await;
    endpoints(&fixture, &operator).await;
    generations_are_bounded(&fixture, &operator).await;
    stops(&fixture, &operator).await;
}

async fn may(fixture: &Fixture, operator: &Caller, reader: &Caller, local: &Caller, web: &Caller, nobody: &Caller) {
    let refused = || Err(ErrorCode::NotPermitted);
    let level = json!({ "level": "warn" });
    fixture.check("status", json!({}), nobody, refused()).await;
    fixture.check("status", json!({}), reader, Ok(("/state", json!("serving")))).await;
    fixture.check("log_level", level.clone(), reader, refused()).await;
    fixture.check("log_level", level.clone(), local, refused()).await;
    fixture.check("log_level", level, operator, Ok(("/before", json!("info")))).await;
    fixture.check("reload", json!({}), reader, refused()).await;
    fixture.check("reload", json!({}), local, Ok(("/applied", json!(false)))).await;
    let path = json!({ "config": "/nowhere/config.yaml", "dry_run": true });
    fixture.check("reload", path.clone(), local, refused()).await;
    fixture.check("reload", path.clone(), web, refused()).await;
    fixture.check("reload", path, operator, Err(ErrorCode::ConfigInvalid)).await;
    fixture.check("reload", json!({ "config": "x.yaml" }), operator, Err(ErrorCode::InvalidArguments)).await;
}

async fn reloads(fixture: &Fixture, operator: &Caller, local: &Caller) {
    fixture.rewrite("routes: [{name: a, path: /a, respond: {status: 204}}]\n");
    fixture.check("status", json!({}), operator, Ok(("/drift", json!(true)))).await;
    fixture.check("reload", json!({ "dry_run": true }), operator, Ok(("/generation", json!(2)))).await;
    fixture.check("status", json!({}), operator, Ok(("/generation", json!(1)))).await;
    fixture.check("reload", json!({}), operator, Ok(("/changes/routes/changed", json!(["a"])))).await;
    fixture.check("status", json!({}), operator, Ok(("/generation", json!(2)))).await;
    fixture.check("status", json!({}), operator, Ok(("/drift", json!(false)))).await;
    fixture.check("reload", json!({}), operator, Ok(("/applied", json!(false)))).await;
    fixture.rewrite("routes: [{name: a, path: /a, respond: {status: 9}}]\nx: 1\n");
    let error = fixture.ask("reload", json!({}), operator).await.unwrap_err();
    assert!(error.problems.len() >= 2 && error.problems.iter().any(|problem| problem.excerpt.is_some()), "{error:?}");
    let error = fixture.ask("reload", json!({}), local).await.unwrap_err();
    assert!(error.problems.iter().all(|problem| problem.excerpt.is_none()), "lines of a file are for operators");
    fixture.check("status", json!({}), operator, Ok(("/last_reload/outcome", json!("config_invalid")))).await;
    fixture.check("status", json!({}), operator, Ok(("/generation", json!(2)))).await;
    fixture.rewrite(&format!("audit: {{path: /elsewhere}}\n{ROUTE}"));
    let error = fixture.ask("reload", json!({}), operator).await.unwrap_err();
    assert!(error.code == ErrorCode::RestartRequired && error.message.contains("audit.path"), "{error:?}");
}

async fn rollbacks(fixture: &Fixture, operator: &Caller, reader: &Caller) {
    fixture.rewrite("routes: [{name: b, path: /b, respond: {status: 204}}]\n");
    fixture.check("rollback", json!({ "generation": 1 }), reader, Err(ErrorCode::NotPermitted)).await;
    fixture.check("rollback", json!({ "generation": 99 }), operator, Err(ErrorCode::NotFound)).await;
    fixture.check("rollback", json!({ "generation": 1 }), operator, Ok(("/generation", json!(3)))).await;
    fixture.check("status", json!({}), operator, Ok(("/drift", json!(true)))).await;
    fixture.check("reload", json!({}), operator, Ok(("/overrode_drift", json!(true)))).await;
    let write = json!({ "generation": 1, "write": true });
    fixture.check("rollback", write, operator, Ok(("/generation", json!(5)))).await;
    fixture.check("status", json!({}), operator, Ok(("/drift", json!(false)))).await;
    let text = std::fs::read_to_string(fixture.folder.path().join("config.yaml")).unwrap();
    assert!(text.ends_with(ROUTE), "{text}");
    fixture.check("history", json!({}), operator, Ok(("/rows/4/rollback_of", json!(1)))).await;
    fixture.check("history", json!({}), operator, Ok(("/rows/4/current", json!(true)))).await;
    fixture.check("history", json!({ "generation": 1 }), operator, Ok(("/rows/0/sources/0/1", json!(text)))).await;
    fixture.check("history", json!({ "generation": 99 }), operator, Err(ErrorCode::NotFound)).await;
}

async fn reads(fixture: &Fixture, operator: &Caller) {
    fixture.check("routes", json!({}), operator, Ok(("/rows/0/action", json!("respond 200")))).await;
    fixture.check("routes", json!({ "name": "zzz" }), operator, Ok(("/rows", json!([])))).await;
    fixture.check("upstreams", json!({}), operator, Ok(("/rows", json!([])))).await;
    fixture.check("limits", json!({ "rule": "none" }), operator, Err(ErrorCode::NotFound)).await;
    fixture.check("limits_reset", json!({ "key": "10.0.0.1" }), operator, Ok(("/reset", json!(0)))).await;
    fixture.check("config", json!({}), operator, Ok(("/generation", json!(5)))).await;
    fixture.check("validate", json!({ "text": ROUTE }), operator, Ok(("/valid", json!(true)))).await;
    fixture.check("validate", json!({ "text": "routes: 1" }), operator, Ok(("/valid", json!(false)))).await;
    let reference = json!({ "text": ROUTE.replace("/a", "${file:/etc/passwd}") });
    fixture.check("validate", reference, operator, Ok(("/valid", json!(false)))).await;
    fixture.check("audit_verify", json!({}), operator, Ok(("/intact", json!(true)))).await;
    fixture.check("audit_verify", json!({ "head": "x" }), operator, Err(ErrorCode::InvalidArguments)).await;
    fixture.check("audit", json!({ "status": "xx" }), operator, Err(ErrorCode::InvalidArguments)).await;
    fixture.check("audit", json!({ "after": 1 }), operator, Err(ErrorCode::InvalidArguments)).await;
    assert!(fixture.control.metrics().contains("proxyd_generation 5"));
    assert_eq!(fixture.control.health("/ready").map(|(status, _)| status), Some(200));
}

/// Every action and every refused question has its row, before its answer; following tells of new ones.
async fn record(fixture: &Fixture, operator: &Caller) {
    let nobody = caller(Door::Http, None);
    let error = ControlError::new(ErrorCode::Unauthenticated, "no");
    fixture.control.turned_away(&nobody, "GET /admin/status", &error).await;
    let rows = fixture.ask("audit", json!({ "kind": "actions", "last": 1000 }), operator).await.unwrap();
    let told: Vec<(&str, &str)> = rows["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["command"].as_str().unwrap_or_default(), row["outcome"].as_str().unwrap_or_default()))
        .collect();
    let expected = [
        ("status", "not_permitted"),
        ("log_level", "not_permitted"),
        ("log_level", "not_permitted"),
        ("log_level", "done"),
        ("reload", "not_permitted"),
        ("reload", "done"),
        ("reload", "not_permitted"),
        ("reload", "not_permitted"),
        ("reload", "config_invalid"),
        ("reload", "invalid_arguments"),
        ("reload", "done"),
        ("reload", "done"),
        ("reload", "done"),
        ("reload", "config_invalid"),
        ("reload", "config_invalid"),
        ("reload", "restart_required"),
        ("rollback", "not_permitted"),
        ("rollback", "not_found"),
        ("rollback", "done"),
        ("reload", "done"),
        ("rollback", "done"),
        ("limits_reset", "done"),
        ("authenticate", "unauthenticated"),
    ];
    assert_eq!(told, expected);

    let follow = AuditQuery { follow: true, last: Some(1), ..AuditQuery::default() };
    let Ok(Reply::Stream(mut rows)) = fixture.control.run(Command::Audit(follow), operator).await else {
        panic!("following is a stream")
    };
    assert_eq!(next(&mut rows).await.map(|row| row.seq()), Some(expected.len() as u64));
    fixture.ask("log_level", json!({ "level": "error" }), operator).await.unwrap();
    assert_eq!(next(&mut rows).await.map(|row| row.seq()), Some(expected.len() as u64 + 1));
}

async fn next(rows: &mut crate::control::Rows) -> Option<AuditRow> {
    match tokio::time::timeout(Duration::from_secs(10), rows.next()).await.expect("a row in time")? {
        Row::Event(value) => serde_json::from_value(value).ok(),
        Row::End(_) | Row::Failed(_) => None,
    }
}

/// Endpoints are set, registered and taken away, by those who may; renewals leave no row, the end of a time does.
async fn endpoints(fixture: &Fixture, operator: &Caller) {
    let registrar = caller(Door::Http, Some(Access::Role(Role::Registrar)));
    fixture.rewrite(concat!(
        "upstreams: {users: {endpoints: [http://127.0.0.1:8001, {url: http://127.0.0.1:8002, weight: 3}]}, ",
        "safe: {endpoints: [https://127.0.0.1:8003]}}\n",
        "routes: [{name: a, path: /a, upstream: users}, {name: b, path: /b, upstream: safe}]\n"
    ));
    fixture.ask("reload", json!({}), operator).await.unwrap();
    let rows = async || {
        let rows = fixture.ask("audit", json!({ "kind": "actions", "last": 1000 }), operator).await.unwrap();
        rows["rows"].as_array().cloned().unwrap()
    };
    let before = rows().await.len();
    let of = |endpoint: &str, more: Value| {
        let mut args = json!({ "upstream": "users", "endpoint": endpoint });
        args.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        args
    };

    // What is named must be there, and what is said must make sense.
    let unknown = json!({ "upstream": "usres", "endpoint": "127.0.0.1:8001", "state": "down" });
    let error = fixture.ask("upstreams_set", unknown, operator).await.unwrap_err();
    assert!(error.code == ErrorCode::NotFound && error.message.contains("`users`"), "{error}");
    let error =
        fixture.ask("upstreams_set", of("127.0.0.1:9", json!({ "state": "down" })), operator).await.unwrap_err();
    assert!(error.code == ErrorCode::NotFound && error.message.contains("127.0.0.1:8002"), "{error}");
    for (command, args, code) in [
        ("upstreams_set", of("127.0.0.1:8001", json!({})), ErrorCode::InvalidArguments),
        ("upstreams_set", of("127.0.0.1:8001", json!({ "weight": 65_536 })), ErrorCode::InvalidArguments),
        ("upstreams_set", of("https://127.0.0.1:8001", json!({ "weight": 1 })), ErrorCode::InvalidArguments),
        ("upstreams_register", of("127.0.0.1:8001", json!({})), ErrorCode::InvalidArguments),
        ("upstreams_register", of("127.0.0.1:9", json!({ "ttl": "30" })), ErrorCode::InvalidArguments),
        ("upstreams_register", of("127.0.0.1:9", json!({ "ttl": "25h" })), ErrorCode::InvalidArguments),
        ("upstreams_register", of("127.0.0.1:9", json!({ "weight": 0 })), ErrorCode::InvalidArguments),
        ("upstreams_deregister", of("127.0.0.1:8001", json!({})), ErrorCode::NotFound),
        ("upstreams_deregister", of("127.0.0.1:9", json!({})), ErrorCode::NotFound),
    ] {
        fixture.check(command, args, operator, Err(code)).await;
    }

    let drain = of("http://127.0.0.1:8002", json!({ "state": "drain" }));
    fixture.check("upstreams_set", drain.clone(), &registrar, Err(ErrorCode::NotPermitted)).await;
    let changes = json!({ "before": { "state": "ready", "weight": 3 }, "after": { "state": "drain", "weight": 3 } });
    fixture.check("upstreams_set", drain, operator, Ok(("/changes", changes.clone()))).await;
    fixture.check("upstreams", json!({}), operator, Ok(("/rows/0/endpoints/1/state", json!("drain")))).await;
    assert_eq!(rows().await.last().unwrap()["changes"], changes.to_string());
    let weight = of("127.0.0.1:8002", json!({ "weight": 0, "state": "ready" }));
    fixture.check("upstreams_set", weight, operator, Ok(("/changes/after/weight", json!(0)))).await;

    let register = of("127.0.0.1:9", json!({ "ttl": "30s", "backup": true }));
    let after = json!({ "weight": 1, "backup": true, "ttl": "30s" });
    fixture.check("upstreams_register", register.clone(), &registrar, Ok(("/changes/after", after.clone()))).await;
    let told = rows().await.len();
    fixture.check("upstreams_register", register.clone(), &registrar, Ok(("/renewed", json!(true)))).await;
    assert_eq!(rows().await.len(), told, "a renewal is no action");
    fixture.check("upstreams", json!({ "name": "afe" }), operator, Ok(("/end/upstreams", json!(1)))).await;
    let line = fixture.ask("upstreams", json!({ "name": "users" }), operator).await.unwrap();
    let line = &line["rows"][0]["endpoints"][2];
    assert_eq!((&line["origin"], &line["backup"]), (&json!("registered"), &json!(true)), "{line}");
    assert!(line["expires"].is_string(), "{line}");

    // Its time is over: gone, and on record.
    let daemon = &fixture.control.daemon;
    crate::control::expiry::expire(daemon, daemon.now_us().cast_signed() + 29_000_000).await;
    assert_eq!(daemon.amid.registry.overlay("users").registered.len(), 1);
    crate::control::expiry::expire(daemon, daemon.now_us().cast_signed() + 31_000_000).await;
    assert_eq!(daemon.amid.registry.overlay("users").registered.len(), 0);
    let last = rows().await.pop().unwrap();
    assert_eq!((&last["command"], &last["door"]), (&json!("upstreams_deregister"), &json!("start")), "{last}");
    assert_eq!(last["actor"], "proxyd (time to live is over)");
    assert_eq!(last["changes"], json!({ "before": after, "after": null }).to_string());

    fixture.ask("upstreams_register", register, &registrar).await.unwrap();
    fixture.ask("upstreams_deregister", of("127.0.0.1:9", json!({})), &registrar).await.unwrap();
    // What cannot be kept does not hold.
    let in_the_way = fixture.folder.path().join("state/registry.json.unfinished");
    std::fs::create_dir(&in_the_way).unwrap();
    let down = of("127.0.0.1:8001", json!({ "state": "down" }));
    fixture.check("upstreams_set", down, operator, Err(ErrorCode::Failed)).await;
    std::fs::remove_dir(&in_the_way).unwrap();
    fixture.check("upstreams", json!({}), operator, Ok(("/rows/0/endpoints/0/state", json!("ready")))).await;
    // Twelve refusals, two settings, two registrations, an end, a deregistration, a failure.
    assert_eq!(rows().await.len(), before + 19);
}

async fn generations_are_bounded(fixture: &Fixture, operator: &Caller) {
    for number in 0..KEPT {
        fixture.rewrite(&format!("routes: [{{name: a{number}, path: /a, respond: {{status: 200}}}}]\n"));
        fixture.check("reload", json!({}), operator, Ok(("/applied", json!(true)))).await;
    }
    let kept = fixture.ask("history", json!({}), operator).await.unwrap();
    assert_eq!(kept["rows"].as_array().map(Vec::len), Some(KEPT));
    fixture.check("rollback", json!({ "generation": 1 }), operator, Err(ErrorCode::NotFound)).await;
}

async fn stops(fixture: &Fixture, operator: &Caller) {
    let rollback = Command::Rollback(RollbackArgs { generation: 100, write: false });
    assert!(fixture.control.run(rollback, operator).await.is_ok());
    let shutdown = fixture.control.run(Command::Shutdown(Nothing {}), operator).await;
    assert!(matches!(shutdown, Ok(Reply::One(answer)) if answer["audited"] == true));
    assert_eq!(fixture.control.daemon.life(), Life::Draining);
    fixture.check("reload", json!({}), operator, Err(ErrorCode::Stopping)).await;
    assert_eq!(fixture.control.health("/ready").map(|(status, _)| status), Some(503));
    assert!(fixture.control.daemon.audit.stop(Duration::from_secs(10)).await);
    // Without a store, what must work works, and says that its row waits.
    fixture.check("log_level", json!({ "level": "info" }), operator, Ok(("/audited", json!(false)))).await;
}
