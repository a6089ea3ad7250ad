//! What people see, kept as it is: each answer as a terminal of 100 columns shows it.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use shared::audit::AuditQuery;
use shared::control::{
    Command, ConfigArgs, ExplainArgs, HistoryArgs, LimitsArgs, LimitsResetArgs, LogLevelArgs, Nothing, ReloadArgs,
    RoutesArgs, UpstreamsArgs, UpstreamsDeregisterArgs, UpstreamsRegisterArgs, UpstreamsSetArgs, VerifyArgs,
};

use super::*;
use crate::cli::Format;

mod identity;

/// 2026-11-22 13:30 in Berlin, on a terminal without colour.
pub(crate) fn look() -> Look {
    Look {
        format: Format::Table,
        colour: false,
        width: Some(100),
        now: "2026-11-22T12:30:00Z".parse::<Timestamp>().unwrap(),
        zone: TimeZone::get("Europe/Berlin").unwrap(),
    }
}

fn check(name: &str, command: &Command, replies: Vec<Value>) {
    let shown = rows(command, replies, &look()).unwrap();
    assert!(shown.lines().all(|line| line.chars().count() <= 100), "{shown}");
    assert!(!shown.contains('\x1b'), "{shown}");
    insta::assert_snapshot!(name, shown);
}

#[test]
fn status() {
    let status = json!({
        "version": "0.1.0", "pid": 4711, "uptime": 7500, "started": "2026-11-22T10:25:00Z", "state": "serving",
        "generation": 3, "applied": "2026-11-22T12:25:00Z", "applied_by": "root (uid 0)",
        "config": "/etc/proxyd/config.yaml", "drift": true, "listeners": ["0.0.0.0:8000", "[::]:8000"],
        "admin": "127.0.0.1:9900", "socket": "/run/proxyd/proxyd.sock", "workers": 2, "routes": 12, "upstreams": 1,
        "connections": 14, "in_flight": 3, "requests": 1_234_567, "log_level": "info",
        "last_reload": { "time": "2026-11-22T12:28:00Z", "door": "socket", "actor": "ada (uid 1000, pid 1)",
            "outcome": "config_invalid", "message": "2 problems" },
        "audit": { "path": "/var/lib/proxyd/audit", "writable": false, "trouble": "disk full", "seq": 1042,
            "queued": 7, "shed": 2, "segments": 3, "size_bytes": 1_572_864 }
    });
    check("status", &Command::Status(Nothing {}), vec![status]);
}

#[test]
fn routes() {
    let route = |name: &str, host: &[&str], action: &str, methods: &[&str], origin: &str| {
        json!({ "name": name, "hosts": host, "path": "/api/", "methods": methods, "conditions": [], "priority": 0,
            "action": action, "policies": ["rate_limit", "cors", "headers"], "origin": origin })
    };
    let lines = vec![
        route("users", &["api.example.com", "*.example.org"], "→ users", &["GET", "POST"], "config.yaml:12:5"),
        route("all\u{1b}[31m", &[], "redirect 308", &[], "config.yaml:20:5"),
    ];
    check("routes", &Command::Routes(RoutesArgs::default()), lines);
    check("routes_none", &Command::Routes(RoutesArgs::default()), vec![]);
}

#[test]
fn explain() {
    let explanation = |verdict: Value| {
        json!({
            "generation": 3, "method": "GET", "host": "h", "path": "/api/x", "query": "a=1", "client": "10.1.2.3",
            "candidates": [
                { "route": "users", "origin": "config.yaml:2:5", "won": true, "reason": "longest prefix" },
                { "route": "all", "origin": "config.yaml:4:5", "won": false, "reason": "shorter prefix than users" }
            ],
            "unlisted": 7, "verdict": verdict,
            "policies": [{ "policy": "rate_limit", "scope": "top level", "origin": "config.yaml:6:1",
                "effect": "100/1m by ip 10.1.2.3" }]
        })
    };
    let command = Command::Explain(ExplainArgs::default());
    let target = json!({ "upstream": "users", "share": "100", "urls": ["http://127.0.0.1:8001/x?a=1"], "host": "h" });
    check(
        "explain_forward",
        &command,
        vec![explanation(json!({ "kind": "forward", "route": "users",
        "targets": [target] }))],
    );
    check(
        "explain_reject",
        &command,
        vec![explanation(json!({ "kind": "reject", "code": "access_denied",
        "status": 403, "message": "10.1.2.3 is denied" }))],
    );
}

#[test]
fn reload() {
    let reloaded = |dry_run: bool, applied: bool, changes: Value| {
        json!({ "generation": 4, "applied": applied, "dry_run": dry_run, "changes": changes, "warnings": [],
            "took_ms": 12, "overrode_drift": applied, "audited": true })
    };
    let delta = |added: &[&str], changed: &[&str], removed: &[&str]| json!({ "added": added, "changed": changed, "removed": removed });
    let none = delta(&[], &[], &[]);
    let nothing = json!({ "routes": none, "upstreams": none, "listeners": none, "sections": [], "kept": [] });
    let some = json!({
        "routes": delta(&["a", "b"], &["c"], &["d"]), "upstreams": delta(&["u"], &[], &[]),
        "listeners": delta(&[], &[], &["0.0.0.0:81"]), "sections": ["log"], "kept": ["3 limiters"]
    });
    let command = Command::Reload(ReloadArgs::default());
    check("reload_applied", &command, vec![reloaded(false, true, some.clone())]);
    check("reload_same", &command, vec![reloaded(false, false, nothing.clone())]);
    check("reload_dry", &command, vec![reloaded(true, false, some)]);
    check("reload_dry_same", &command, vec![reloaded(true, false, nothing)]);
}

#[test]
fn history() {
    let line = |generation: u64, current: bool| {
        json!({ "generation": generation, "time": "2026-11-22T12:00:00Z", "actor": "root (uid 0, pid 7)",
            "door": "socket", "hash": "0123456789abcdef", "summary": "2 routes added", "current": current })
    };
    let mut again = line(3, true);
    again["rollback_of"] = json!(1);
    check("history", &Command::History(HistoryArgs::default()), vec![line(1, false), again]);
    let mut one = line(1, false);
    one["sources"] = json!([["config.yaml", "routes:\n\t- x\u{1b}\n"], ["overlay.yaml", "log: {}"]]);
    check("history_one", &Command::History(HistoryArgs { generation: Some(1) }), vec![one]);
}

#[test]
fn audit() {
    let request = json!({ "kind": "request", "seq": 41, "time_us": 1_795_348_800_123_456_i64, "request_id": "r",
        "client": "10.1.2.3", "method": "GET", "scheme": "http", "listener": "0.0.0.0:8000", "host": "h",
        "path": "/api/a-rather-long-path/that/must/wrap/somewhere", "query": "token=[present, masked, 43 bytes]",
        "protocol": "HTTP/1.1", "route": "users", "upstream": "u", "endpoint": "127.0.0.1:8001", "status": 200,
        "outcome": "served", "bytes_in": 0, "bytes_out": 12, "duration_us": 12_345, "upstream_us": 0, "attempts": 1,
        "principal": "ada", "generation": 3, "user_agent": "curl", "matched": "" });
    let action = json!({ "kind": "action", "seq": 42, "time_us": 1_795_348_801_000_000_i64, "door": "http",
        "actor": "token ci at 127.0.0.1", "command": "reload", "arguments": "{\"dry_run\":true}", "outcome": "busy",
        "message": "another reload", "generation_before": 3, "generation_after": 3, "changes": "" });
    let gap = json!({ "kind": "gap", "seq": 43, "time_us": 1_795_348_802_000_000_i64, "missing": null,
        "from_us": null, "until_us": 1_795_348_801_000_000_i64, "reason": "unclean_stop" });
    check("audit", &Command::Audit(AuditQuery::default()), vec![request.clone(), action.clone(), gap.clone()]);
    let none = json!({ "added": [], "changed": [], "removed": [] });
    let routes = json!({ "added": ["a", "b", "c", "d", "e"], "changed": [], "removed": ["f"] });
    let changes =
        json!({ "routes": routes, "upstreams": none, "listeners": none, "sections": ["auth"], "kept": ["1 listener"] });
    let mut reloaded = action.clone();
    reloaded["changes"] = json!(changes.to_string());
    reloaded["message"] = json!("");
    check("audit_reload", &Command::Audit(AuditQuery::default()), vec![reloaded]);
    let mut retried = request.clone();
    retried["attempts"] = json!(2);
    retried["tries"] = json!("127.0.0.1:8001 connect, 127.0.0.1:8002 503; not retried: budget");
    check("audit_tries", &Command::Audit(AuditQuery::default()), vec![request.clone(), retried.clone(), gap.clone()]);
    let mut recognised = request.clone();
    recognised["credential"] = json!("api_key pk_ab12cd34");
    let mut nameless = recognised.clone();
    nameless["principal"] = json!("");
    check("audit_credential", &Command::Audit(AuditQuery::default()), vec![recognised.clone(), nameless]);
    let lines: String = [request, retried, recognised, action, gap]
        .map(|row| super::audit::line(&serde_json::from_value(row).unwrap(), &look()))
        .concat();
    insta::assert_snapshot!("audit_lines", lines);
}

#[test]
fn verify() {
    let gap = json!({ "seq": 3, "time_us": 0, "missing": 4, "from_us": null, "until_us": null, "reason": "shed" });
    let verified = json!({ "intact": true, "rows": 1500, "first_seq": 1, "last_seq": 1500, "head": "1500:ab",
        "gaps": [gap] });
    check("audit_verify", &Command::AuditVerify(VerifyArgs::default()), vec![verified]);
}

#[test]
fn upstreams() {
    let endpoint = |address: &str, failure: Option<&str>| {
        json!({ "address": address, "weight": 1, "in_flight": 2, "requests": 12_345, "failures": 1, "connections": 5,
            "idle": 3, "last_failure": failure })
    };
    let upstream = json!({ "name": "users", "balance": "round_robin", "endpoints":
        [endpoint("127.0.0.1:8001", None), endpoint("127.0.0.1:8002", Some("5s ago: connection refused"))] });
    check("upstreams", &Command::Upstreams(UpstreamsArgs::default()), vec![upstream]);
}

/// Everything that can be told of endpoints.
#[test]
fn upstreams_in_trouble() {
    let endpoint = |address: &str, more: Value| {
        let mut endpoint = json!({ "address": address, "weight": 2, "state": "ready", "backup": false, "origin": "file",
            "in_flight": 2, "requests": 12_345, "failures": 1, "rate": 12.34, "errors": 0.0, "ejections": 0,
            "latency": { "p50_us": 840, "p90_us": 2_000, "p99_us": 12_345 }, "breaker": "closed",
            "connections": 5, "idle": 3 });
        endpoint.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        endpoint
    };
    let failing = json!({ "state": "unhealthy", "since": "2026-11-22T12:25:00Z", "errors": 12.5, "breaker": "open",
        "why": "3 probes failed: the connection was refused, and then it was refused again",
        "probe": { "ok": false, "text": "refused\u{1b}[2J", "at": "2026-11-22T12:29:59Z", "took_us": 100 },
        "ejections": 2, "last_failure": "2026-11-22T12:29:58Z the connection was refused" });
    let probed = json!({ "probe": { "ok": true, "text": "200", "at": "2026-11-22T12:29:59Z", "took_us": 1_500 },
        "last_failure": "2026-11-22T12:00:00Z no answer in time" });
    let registered = json!({ "origin": "registered", "expires": "2026-11-22T12:30:25Z", "backup": true, "weight": 1 });
    let users = json!({ "name": "users", "balance": "least_busy", "panic": true, "tier": "panic", "waiting": 12,
        "endpoints": [endpoint("127.0.0.1:8001", failing), endpoint("127.0.0.1:8002", probed)] });
    let orders = json!({ "name": "orders", "balance": "round_robin", "panic": false, "tier": "backup", "waiting": 0,
        "endpoints": [endpoint("10.0.0.7:8001", registered)] });
    let command = Command::Upstreams(UpstreamsArgs::default());
    let quiet = json!({ "name": "quiet", "balance": "round_robin", "endpoints": [endpoint("h:1", json!({}))] });
    check("upstreams_in_trouble", &command, vec![users.clone(), orders.clone()]);
    check("upstreams_quiet", &command, vec![quiet]);
    let wide = Look { width: Some(240), ..look() };
    insta::assert_snapshot!("upstreams_in_trouble_wide", rows(&command, vec![users, orders], &wide).unwrap());
}

#[test]
fn endpoints() {
    let set = |before: Value, after: Value| {
        json!({ "upstream": "users", "endpoint": "127.0.0.1:8001", "changes": { "before": before, "after": after },
            "audited": true })
    };
    let (ready, drain) = (json!({ "state": "ready", "weight": 1 }), json!({ "state": "drain", "weight": 1 }));
    let command = Command::UpstreamsSet(UpstreamsSetArgs::default());
    check("upstreams_set", &command, vec![set(ready, drain.clone()), set(drain.clone(), drain)]);
    let light = json!({ "weight": 1, "backup": false });
    let heavy = json!({ "weight": 5, "backup": true, "ttl": "30s" });
    let registered = |expires: Value, changes: Value| {
        json!({ "upstream": "users", "endpoint": "h:1", "renewed": changes.is_null(), "expires": expires,
            "changes": changes, "audited": true })
    };
    let lines = vec![
        registered(Value::Null, json!({ "before": null, "after": light })),
        registered(json!("2026-11-22T12:30:30Z"), json!({ "before": light, "after": heavy })),
        registered(json!("2026-11-22T12:30:30Z"), Value::Null),
    ];
    check("upstreams_register", &Command::UpstreamsRegister(UpstreamsRegisterArgs::default()), lines);
    let gone = set(light, Value::Null);
    check("upstreams_deregister", &Command::UpstreamsDeregister(UpstreamsDeregisterArgs::default()), vec![gone]);
}

#[test]
fn limits() {
    let line = |key: &str| {
        json!({ "rule": "default", "scope": "top level", "key": key, "limit": "100/1m", "remaining": 40, "reset": 61,
            "keys": 2, "max_keys": 100_000, "shadow": false })
    };
    check("limits", &Command::Limits(LimitsArgs::default()), vec![line(""), line("10.1.2.3")]);
    let of_provider = |provider: &str| {
        let mut line = line("ann");
        line["provider"] = json!(provider);
        line
    };
    check(
        "limits_of_two",
        &Command::Limits(LimitsArgs::default()),
        vec![of_provider("basic"), of_provider("jwt.main")],
    );
    let reset = Command::LimitsReset(LimitsResetArgs::default());
    check("limits_reset", &reset, vec![json!({ "reset": 2, "audited": true })]);
    let failed = ["keys (top level): the shared store does not answer (connect)"];
    let part = json!({ "reset": 1, "running": 2, "failed": failed, "audited": true });
    check("limits_reset_in_part", &reset, vec![part]);
}

#[test]
fn short_answers() {
    let level = LogLevelArgs { level: shared::config::Level::Debug };
    check("log_level", &Command::LogLevel(level), vec![json!({ "level": "debug", "before": "info", "audited": true })]);
    let upgraded = json!({ "pid": 4712, "version": "0.2.0", "pid_before": 4711, "version_before": "0.1.0", "took_ms": 180,
        "in_flight": 2, "connections": 14, "audited": true });
    check("upgrade", &Command::Upgrade(Nothing {}), vec![upgraded]);
    let stopping = json!({ "drain": 30, "in_flight": 2, "audited": true });
    check("shutdown", &Command::Shutdown(Nothing {}), vec![stopping]);
    let shown = json!({ "generation": 3, "config": { "server": { "listen": ["0.0.0.0:8000"] } },
        "origins": [["server.listen[0]", "default"]] });
    check("config", &Command::Config(ConfigArgs { origin: true }), vec![shown]);
}
