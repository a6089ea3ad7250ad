//! `/admin/openapi.json`: the HTTP door described in `OpenAPI` 3.1, made from the table of forms that it is routed by.

use serde_json::{Map, Value, json};
use shared::control::http::{BodyForm, FORMS, HttpForm, Param, ParamKind, ReplyForm};

use super::schemas::{answer, arguments, components, reference};

/// The document.
#[must_use]
pub fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for form in FORMS {
        let path = paths.entry(form.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(form.method.to_ascii_lowercase(), operation(form));
        }
    }
    for (path, summary, kind) in PAGES {
        paths.insert((*path).to_owned(), json!({ "get": page(summary, kind) }));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "proxyd admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The commands of proxyctl over HTTP. Every error has the same body and a stable code.",
        },
        "paths": paths,
        "components": {
            "schemas": components(),
            "securitySchemes": {
                "basic": { "type": "http", "scheme": "basic" },
                "token": { "type": "http", "scheme": "bearer" },
            },
        },
        "security": [{}, { "basic": [] }, { "token": [] }],
    })
}

/// Pages that are no commands: path, what it is, and its kind.
const PAGES: &[(&str, &str, &str)] = &[
    ("/health", "Whether traffic should come here; 503 if not", "application/json"),
    ("/health/live", "Whether the daemon answers at all", "application/json"),
    (
        "/health/ready",
        "Whether traffic should come here; 503 while starting, draining or unable to audit",
        "application/json",
    ),
    ("/health/info", "Name, version, uptime and generation", "application/json"),
    ("/metrics", "Metrics in the Prometheus text format", "text/plain"),
    ("/admin/openapi.json", "This document", "application/json"),
];

fn page(summary: &str, kind: &str) -> Value {
    json!({ "summary": summary, "responses": { "200": { "description": "The page", "content": { kind: {} } } } })
}

fn operation(form: &HttpForm) -> Value {
    let parameters: Vec<Value> = form.params.iter().map(|param| parameter(form, *param)).collect();
    let mut operation = json!({
        "operationId": operation_id(form),
        "summary": summary(form),
        "parameters": parameters,
        "responses": {
            "200": { "description": "Done", "content": content(form) },
            "default": {
                "description": "Refused or failed",
                "content": { "application/json": { "schema": reference("ErrorBody") } },
            },
        },
    });
    if let (Some(body), Some(operation)) = (body(form), operation.as_object_mut()) {
        operation.insert("requestBody".to_owned(), body);
    }
    operation
}

fn operation_id(form: &HttpForm) -> String {
    match (form.reply, form.path.contains('{') && form.method == "GET") {
        (ReplyForm::Events, _) => format!("{}_stream", form.command),
        (_, true) => format!("{}_one", form.command),
        (_, false) => form.command.to_owned(),
    }
}

/// What a command does, in a line.
fn summary(form: &HttpForm) -> &'static str {
    match (form.command, form.reply) {
        ("status", _) => "Who runs, since when, which generation, and how it goes",
        ("routes", _) => "The routes in force, in order of precedence",
        ("explain", _) => "What would become of a request, without sending it",
        ("reload", _) => "Read the config again and apply it",
        ("validate", _) => "Check a config without applying it; references to files and variables are not resolved",
        ("config", _) => "The effective config, secrets masked",
        ("history", _) => "The generations kept, oldest first",
        ("rollback", _) => "Apply a kept generation again, as a new one",
        ("audit", ReplyForm::Events) => "Audit rows as they are written; Last-Event-ID goes on after a row",
        ("audit", _) => "The newest audit rows that match, oldest first",
        ("audit_head", _) => "The newest row's number and link, to be kept elsewhere",
        ("audit_verify", _) => "Prove that no row was changed, removed or added",
        ("upstreams", _) => "The upstreams and their endpoints",
        ("upstreams_set", _) => {
            "Say what an endpoint may do (ready, drain, down), or its weight; it holds over restarts"
        }
        ("upstreams_register", _) => "Add an endpoint, or say that it is still there",
        ("upstreams_deregister", _) => "Take a registered endpoint away",
        ("keys", _) => "The API keys, without their secrets",
        ("keys_create", _) => "Make an API key; the answer is the only place that ever has it",
        ("keys_revoke", _) => "Make an API key good no longer, at once",
        ("keys_rotate", _) => "Give an API key a new secret; the earlier one stays good for the overlap",
        ("tokens", _) => "The revoked tokens that are not forgotten yet",
        ("tokens_revoke", _) => "Make a token good no longer, by itself or by its jti; its signature is not looked at",
        ("users", _) => "The accounts",
        ("users_add", _) => "Make an account",
        ("users_set", _) => "Change an account; what is not given stays",
        ("users_password", _) => "Give an account a new password; what it was logged in with ends",
        ("users_remove", _) => "Take an account away",
        ("bans", _) => "The bans in force",
        ("bans_add", _) => "Refuse an address or a network for a while",
        ("bans_lift", _) => "End a ban",
        ("limits_top", _) => "The keys that have used most of their limits",
        ("limits", _) => "Rate limits and their counters",
        ("limits_reset", _) => "Forget a key's counts",
        ("log_level", _) => "Change how much the diagnostics say, until the next start",
        ("upgrade", _) => "Start the binary on disk in this process's place, without losing a connection",
        ("shutdown", _) => "Let requests under way end, then stop",
        _ => "",
    }
}

fn parameter(form: &HttpForm, param: Param) -> Value {
    let in_path = form.path.contains(&format!("{{{}}}", param.name));
    let kind = match param.kind {
        ParamKind::Text => "string",
        ParamKind::Number => "integer",
        ParamKind::Flag => "boolean",
    };
    json!({
        "name": param.name,
        "in": if in_path { "path" } else { "query" },
        "required": in_path,
        "schema": { "type": kind },
    })
}

fn body(form: &HttpForm) -> Option<Value> {
    match form.body {
        BodyForm::None => None,
        BodyForm::Config => Some(json!({
            "description": "The config's text, in YAML or JSON",
            "required": true,
            "content": { "application/yaml": { "schema": { "type": "string" } }, "application/json": {} },
        })),
        BodyForm::Arguments => {
            let schema = arguments(form.command).map(reference);
            Some(json!({ "content": { "application/json": { "schema": schema } } }))
        }
    }
}

fn content(form: &HttpForm) -> Value {
    let schema = reference(answer(form.command));
    match form.reply {
        ReplyForm::Document => json!({ "application/json": { "schema": schema } }),
        ReplyForm::Lines => json!({ "application/x-ndjson": { "schema": schema } }),
        ReplyForm::Events => json!({ "text/event-stream": { "schema": schema } }),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use shared::audit::{ActionFacts, ActionRow, Door, Gap, GapRow, RequestRow};
    use shared::control::report;
    use shared::control::{Command, ControlError, ErrorCode};

    use super::super::schemas::shapes;
    use super::*;

    /// The document in the reference. Written anew by `UPDATE_GOLDEN=1 cargo test`.
    #[test]
    fn the_reference_has_the_document() {
        let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/openapi.json");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            let text = serde_json::to_string_pretty(&document()).unwrap() + "\n";
            std::fs::write(&place, &text).unwrap();
        }
        let kept = std::fs::read_to_string(&place).unwrap_or_default();
        let is_fresh = serde_json::from_str::<Value>(&kept).is_ok_and(|kept| kept == document());
        assert!(is_fresh, "{} is out of date: run UPDATE_GOLDEN=1 cargo test -p proxyd openapi", place.display());
    }

    #[test]
    fn every_command_has_its_place_everywhere() {
        let document = document();
        for name in Command::NAMES {
            let forms: Vec<_> = FORMS.iter().filter(|form| form.command == *name).collect();
            assert!(!forms.is_empty(), "{name} has no HTTP form");
            for form in forms {
                let operation = &document["paths"][form.path][form.method.to_ascii_lowercase()];
                assert_ne!(operation["summary"].as_str().unwrap_or_default(), "", "{name} is not described");
            }
            assert_ne!(answer(name), "Error", "{name} has no described answer");
            let line = format!("{{\"v\":1,\"id\":1,\"command\":\"{name}\",\"args\":{{}}}}");
            match shared::control::Ask::parse(line.as_bytes()) {
                Ok(ask) => assert_eq!(ask.command.name(), *name),
                Err((_, error)) => assert_eq!(error.code, ErrorCode::InvalidArguments, "{name} has no socket form"),
            }
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let text = document.to_string();
        for part in text.split("\"#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap_or_default();
            assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
        }
    }

    /// What is really sent has exactly the fields that are described.
    pub(in crate::control::http) fn check(name: &str, sent: &impl serde::Serialize) {
        let fields = shapes().find(|shape| shape.0 == name).unwrap_or_else(|| panic!("no shape {name}")).1;
        let sent = serde_json::to_value(sent).unwrap();
        let sent = sent.as_object().unwrap();
        for key in sent.keys() {
            assert!(fields.iter().any(|(field, _)| field == key), "{name}.{key} is not described");
        }
        for (field, kind) in fields.iter().filter(|(_, kind)| !kind.ends_with('?')) {
            assert!(sent.contains_key(*field), "{name}.{field} ({kind}) is not sent");
        }
    }

    #[test]
    fn shapes_are_what_is_sent() {
        check("AuditState", &report::AuditState::default());
        check("Reloaded", &report::Reloaded { overrode_drift: true, ..report::Reloaded::default() });
        check("Changes", &report::Changes::default());
        check("Delta", &report::Delta::default());
        check("Validated", &report::Validated::default());
        check("ConfigShown", &report::ConfigShown::default());
        let sources = vec![("a".to_owned(), "b".to_owned())];
        check("GenerationLine", &report::GenerationLine { rollback_of: Some(1), sources, ..Default::default() });
        check("AuditEnd", &report::AuditEnd { reached: Some(1), ..Default::default() });
        check("AuditHead", &report::AuditHead::default());
        check(
            "AuditVerified",
            &report::AuditVerified { broken: Some(report::Broken::default()), ..Default::default() },
        );
        check("Broken", &report::Broken::default());
        check("UpstreamLine", &report::UpstreamLine::default());
        let tier = Some(String::new());
        check("UpstreamLine", &report::UpstreamLine { tier, ..Default::default() });
        check("EndpointLine", &report::EndpointLine::default());
        let whole = report::EndpointLine {
            why: Some(String::new()),
            since: Some(String::new()),
            expires: Some(String::new()),
            rate: Some(1.5),
            errors: Some(0.0),
            latency: Some(report::Latency::default()),
            breaker: Some(String::new()),
            probe: Some(report::ProbeLine::default()),
            retries: Some(0),
            last_failure: Some(String::new()),
            ..Default::default()
        };
        check("EndpointLine", &whole);
        check("Latency", &report::Latency::default());
        check("ProbeLine", &report::ProbeLine::default());
        check("EndpointSet", &report::EndpointSet::default());
        check("SettingChange", &report::SettingChange::default());
        check("EndpointSetting", &report::EndpointSetting::default());
        let changes = Some(report::RegistrationChange::default());
        let expires = Some(String::new());
        check("EndpointRegistered", &report::EndpointRegistered { expires, changes, ..Default::default() });
        check("RegistrationChange", &report::RegistrationChange::default());
        check("RegistrationFacts", &report::RegistrationFacts { ttl: Some(String::new()), ..Default::default() });
        check("EndpointGone", &report::EndpointGone::default());
        check("LimitLine", &report::LimitLine::default());
        check("LimitsReset", &report::LimitsReset::default());
        check("LogLevel", &report::LogLevel::default());
        check("Upgraded", &report::Upgraded::default());
        check("Stopping", &report::Stopping::default());
        check("RequestRow", &RequestRow::default());
        let gap = Gap { time_us: 0, missing: None, from_us: None, until_us: None, reason: String::new() };
        check("GapRow", &GapRow { seq: 0, gap });
        let facts = ActionFacts {
            time_us: 0,
            door: Door::Start,
            actor: String::new(),
            command: String::new(),
            arguments: String::new(),
            outcome: String::new(),
            message: String::new(),
            generation_before: 0,
            generation_after: 0,
            changes: String::new(),
        };
        check("ActionRow", &ActionRow { seq: 0, facts });
        check("Error", &ControlError { audited: false, ..ControlError::new(ErrorCode::Busy, "") });
    }
}
