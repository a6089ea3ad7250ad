//! The shapes of arguments and answers, for the `OpenAPI` document: one line a field, in the notation of [`of`]. A test
//! holds them against what is really sent.

mod identity;

use serde_json::{Map, Value, json};

/// A named shape and its fields.
pub(super) type Shape = (&'static str, &'static [(&'static str, &'static str)]);

/// Every shape but the union of audit rows.
pub(super) fn shapes() -> impl Iterator<Item = &'static Shape> {
    SHAPES.iter().chain(identity::SHAPES)
}

const SHAPES: &[Shape] = &[
    (
        "Status",
        &[
            ("version", "string"),
            ("pid", "integer"),
            ("uptime", "integer"),
            ("started", "time"),
            ("state", "starting|serving|draining"),
            ("generation", "integer"),
            ("applied", "time"),
            ("applied_by", "string"),
            ("config", "string"),
            ("drift", "boolean"),
            ("listeners", "[string]"),
            ("admin", "string?"),
            ("socket", "string"),
            ("workers", "integer"),
            ("routes", "integer"),
            ("upstreams", "integer"),
            ("connections", "integer"),
            ("in_flight", "integer"),
            ("requests", "integer"),
            ("log_level", "string"),
            ("last_reload", "LastReload?"),
            ("audit", "AuditState"),
        ],
    ),
    (
        "LastReload",
        &[("time", "time"), ("door", "string"), ("actor", "string"), ("outcome", "string"), ("message", "string")],
    ),
    (
        "AuditState",
        &[
            ("path", "string"),
            ("writable", "boolean"),
            ("trouble", "string?"),
            ("seq", "integer"),
            ("queued", "integer"),
            ("shed", "integer"),
            ("segments", "integer"),
            ("size_bytes", "integer"),
        ],
    ),
    (
        "RouteLine",
        &[
            ("name", "string"),
            ("hosts", "[string]"),
            ("path", "string"),
            ("methods", "[string]"),
            ("conditions", "[string]"),
            ("priority", "integer"),
            ("action", "string"),
            ("policies", "[string]"),
            ("origin", "string"),
        ],
    ),
    (
        "Explanation",
        &[
            ("generation", "integer?"),
            ("method", "string"),
            ("host", "string"),
            ("path", "string"),
            ("query", "string"),
            ("client", "string"),
            ("candidates", "[Candidate]"),
            ("unlisted", "integer"),
            ("verdict", "Verdict"),
            ("policies", "[PolicyLine]"),
        ],
    ),
    ("Candidate", &[("route", "string"), ("origin", "string"), ("won", "boolean"), ("reason", "string")]),
    (
        "Verdict",
        &[
            ("kind", "forward|redirect|respond|reject"),
            ("route", "string?"),
            ("targets", "[Target]?"),
            ("status", "integer?"),
            ("location", "string?"),
            ("code", "string?"),
            ("message", "string?"),
        ],
    ),
    ("Target", &[("upstream", "string"), ("share", "string"), ("urls", "[string]"), ("host", "string")]),
    ("PolicyLine", &[("policy", "string"), ("scope", "string"), ("origin", "string"), ("effect", "string")]),
    (
        "Reloaded",
        &[
            ("generation", "integer"),
            ("applied", "boolean"),
            ("dry_run", "boolean"),
            ("changes", "Changes"),
            ("warnings", "[Problem]"),
            ("took_ms", "integer"),
            ("overrode_drift", "boolean?"),
            ("audited", "boolean"),
        ],
    ),
    (
        "Changes",
        &[
            ("routes", "Delta"),
            ("upstreams", "Delta"),
            ("listeners", "Delta"),
            ("sections", "[string]"),
            ("kept", "[string]"),
        ],
    ),
    ("Delta", &[("added", "[string]"), ("changed", "[string]"), ("removed", "[string]")]),
    (
        "Problem",
        &[
            ("code", "string"),
            ("severity", "error|warning"),
            ("path", "string"),
            ("origin", "string"),
            ("line", "integer?"),
            ("column", "integer?"),
            ("message", "string"),
            ("hint", "string?"),
            ("excerpt", "Excerpt?"),
        ],
    ),
    ("Excerpt", &[("line_text", "string"), ("start", "integer"), ("length", "integer")]),
    ("Validated", &[("valid", "boolean"), ("problems", "[Problem]"), ("routes", "integer"), ("upstreams", "integer")]),
    ("ConfigShown", &[("generation", "integer?"), ("config", "object"), ("origins", "[[string]]?")]),
    (
        "GenerationLine",
        &[
            ("generation", "integer"),
            ("time", "time"),
            ("actor", "string"),
            ("door", "string"),
            ("hash", "string"),
            ("summary", "string"),
            ("current", "boolean"),
            ("rollback_of", "integer?"),
            ("sources", "[[string]]?"),
        ],
    ),
    ("AuditEnd", &[("rows", "integer"), ("complete", "boolean"), ("reached", "integer?")]),
    ("AuditHead", &[("seq", "integer"), ("link", "string"), ("head", "string")]),
    (
        "AuditVerified",
        &[
            ("intact", "boolean"),
            ("rows", "integer"),
            ("first_seq", "integer"),
            ("last_seq", "integer"),
            ("head", "string"),
            ("gaps", "[GapRow]"),
            ("broken", "Broken?"),
        ],
    ),
    ("Broken", &[("seq", "integer"), ("segment", "string"), ("reason", "string")]),
    (
        "UpstreamLine",
        &[
            ("name", "string"),
            ("balance", "string"),
            ("panic", "boolean"),
            ("tier", "string?"),
            ("waiting", "integer"),
            ("endpoints", "[EndpointLine]"),
        ],
    ),
    (
        "EndpointLine",
        &[
            ("address", "string"),
            ("weight", "integer"),
            ("state", "string"),
            ("why", "string?"),
            ("since", "time?"),
            ("backup", "boolean"),
            ("origin", "file|registered|dns"),
            ("expires", "time?"),
            ("in_flight", "integer"),
            ("requests", "integer"),
            ("failures", "integer"),
            ("rate", "number?"),
            ("errors", "number?"),
            ("latency", "Latency?"),
            ("breaker", "string?"),
            ("probe", "ProbeLine?"),
            ("ejections", "integer"),
            ("retries", "integer?"),
            ("connections", "integer"),
            ("idle", "integer"),
            ("last_failure", "string?"),
        ],
    ),
    ("Latency", &[("p50_us", "integer"), ("p90_us", "integer"), ("p99_us", "integer")]),
    ("ProbeLine", &[("ok", "boolean"), ("text", "string"), ("at", "time"), ("took_us", "integer")]),
    (
        "EndpointSet",
        &[("upstream", "string"), ("endpoint", "string"), ("changes", "SettingChange"), ("audited", "boolean")],
    ),
    ("SettingChange", &[("before", "EndpointSetting"), ("after", "EndpointSetting")]),
    ("EndpointSetting", &[("state", "ready|drain|down"), ("weight", "integer")]),
    (
        "EndpointRegistered",
        &[
            ("upstream", "string"),
            ("endpoint", "string"),
            ("renewed", "boolean"),
            ("expires", "time?"),
            ("changes", "RegistrationChange?"),
            ("audited", "boolean"),
        ],
    ),
    ("RegistrationChange", &[("before", "RegistrationFacts?"), ("after", "RegistrationFacts?")]),
    ("RegistrationFacts", &[("weight", "integer"), ("backup", "boolean"), ("ttl", "string?")]),
    (
        "EndpointGone",
        &[("upstream", "string"), ("endpoint", "string"), ("changes", "RegistrationChange"), ("audited", "boolean")],
    ),
    (
        "LimitLine",
        &[
            ("rule", "string"),
            ("scope", "string"),
            ("key", "string"),
            ("provider", "string?"),
            ("limit", "string"),
            ("remaining", "integer"),
            ("reset", "integer"),
            ("keys", "integer"),
            ("max_keys", "integer"),
            ("shadow", "boolean"),
            ("store_silent", "boolean"),
        ],
    ),
    (
        "LimitTop",
        &[
            ("rule", "string"),
            ("scope", "string"),
            ("key", "string"),
            ("used", "integer"),
            ("limit", "string"),
            ("remaining", "integer"),
            ("resets_in", "integer"),
        ],
    ),
    ("LimitsReset", &[("reset", "integer"), ("running", "integer"), ("failed", "[string]"), ("audited", "boolean")]),
    ("LogLevel", &[("level", "string"), ("before", "string"), ("audited", "boolean")]),
    (
        "Upgraded",
        &[
            ("pid", "integer"),
            ("version", "string"),
            ("pid_before", "integer"),
            ("version_before", "string"),
            ("took_ms", "integer"),
            ("in_flight", "integer"),
            ("connections", "integer"),
            ("audited", "boolean"),
        ],
    ),
    ("Stopping", &[("drain", "integer"), ("in_flight", "integer"), ("audited", "boolean")]),
    (
        "RequestRow",
        &[
            ("seq", "integer"),
            ("time_us", "integer"),
            ("request_id", "string"),
            ("client", "string"),
            ("method", "string"),
            ("scheme", "string"),
            ("listener", "string"),
            ("host", "string"),
            ("path", "string"),
            ("query", "string"),
            ("protocol", "string"),
            ("route", "string"),
            ("upstream", "string"),
            ("endpoint", "string"),
            ("status", "integer"),
            ("outcome", "string"),
            ("bytes_in", "integer"),
            ("bytes_out", "integer"),
            ("duration_us", "integer"),
            ("upstream_us", "integer"),
            ("attempts", "integer"),
            ("tries", "string"),
            ("principal", "string"),
            ("credential", "string"),
            ("generation", "integer"),
            ("user_agent", "string"),
            ("matched", "string"),
        ],
    ),
    (
        "ActionRow",
        &[
            ("seq", "integer"),
            ("time_us", "integer"),
            ("door", "socket|http|signal|start"),
            ("actor", "string"),
            ("command", "string"),
            ("arguments", "string"),
            ("outcome", "string"),
            ("message", "string"),
            ("generation_before", "integer"),
            ("generation_after", "integer"),
            ("changes", "string"),
        ],
    ),
    (
        "GapRow",
        &[
            ("seq", "integer"),
            ("time_us", "integer"),
            ("missing", "integer?"),
            ("from_us", "integer?"),
            ("until_us", "integer?"),
            ("reason", "string"),
        ],
    ),
    ("Error", &[("code", "string"), ("message", "string"), ("problems", "[Problem]?"), ("audited", "boolean?")]),
    ("ErrorBody", &[("error", "Error")]),
    ("ExplainArgs", &[("method", "string"), ("url", "string"), ("headers", "[string]?"), ("from", "string?")]),
    ("ReloadArgs", &[("dry_run", "boolean?"), ("config", "string?")]),
    ("RollbackArgs", &[("generation", "integer"), ("write", "boolean?")]),
    ("VerifyArgs", &[("head", "string?")]),
    ("UpstreamsSetBody", &[("state", "ready|drain|down?"), ("weight", "integer?")]),
    (
        "UpstreamsRegisterBody",
        &[("endpoint", "string"), ("weight", "integer?"), ("backup", "boolean?"), ("ttl", "string?")],
    ),
    ("LogLevelArgs", &[("level", "error|warn|info|debug")]),
];

/// What a command answers, or each row of it.
pub(super) fn answer(command: &str) -> &'static str {
    match command {
        "status" => "Status",
        "routes" => "RouteLine",
        "explain" => "Explanation",
        "reload" | "rollback" => "Reloaded",
        "validate" => "Validated",
        "config" => "ConfigShown",
        "history" => "GenerationLine",
        "audit" => "AuditRow",
        "audit_head" => "AuditHead",
        "audit_verify" => "AuditVerified",
        "upstreams" => "UpstreamLine",
        "upstreams_set" => "EndpointSet",
        "upstreams_register" => "EndpointRegistered",
        "upstreams_deregister" => "EndpointGone",
        "keys" => "KeyLine",
        "keys_create" | "keys_rotate" => "KeyMade",
        "keys_revoke" => "KeyRevoked",
        "tokens" => "TokenLine",
        "tokens_revoke" => "TokenRevoked",
        "users" => "UserLine",
        "users_add" | "users_set" | "users_password" | "users_remove" => "UserChanged",
        "bans" => "BanLine",
        "bans_add" | "bans_lift" => "BanChanged",
        "limits" => "LimitLine",
        "limits_top" => "LimitTop",
        "limits_reset" => "LimitsReset",
        "log_level" => "LogLevel",
        "upgrade" => "Upgraded",
        "shutdown" => "Stopping",
        _ => "Error",
    }
}

/// What a command's body holds, where it has one.
pub(super) fn arguments(command: &str) -> Option<&'static str> {
    match command {
        "explain" => Some("ExplainArgs"),
        "reload" => Some("ReloadArgs"),
        "rollback" => Some("RollbackArgs"),
        "audit_verify" => Some("VerifyArgs"),
        "upstreams_set" => Some("UpstreamsSetBody"),
        "upstreams_register" => Some("UpstreamsRegisterBody"),
        "keys_create" => Some("KeysCreateArgs"),
        "keys_rotate" => Some("KeysRotateBody"),
        "tokens_revoke" => Some("TokensRevokeArgs"),
        "users_add" => Some("UsersAddArgs"),
        "users_set" => Some("UsersSetBody"),
        "users_password" => Some("UsersPasswordBody"),
        "bans_add" => Some("BansAddArgs"),
        "log_level" => Some("LogLevelArgs"),
        _ => None,
    }
}

/// The components of the document.
pub(super) fn components() -> Value {
    let mut all: Map<String, Value> = shapes().map(|shape| (shape.0.to_owned(), object(shape))).collect();
    let kinds = [("request", "RequestRow"), ("action", "ActionRow"), ("gap", "GapRow")];
    let row = kinds.map(|(kind, name)| {
        let tag = json!({ "type": "object", "properties": { "kind": { "const": kind } }, "required": ["kind"] });
        json!({ "allOf": [tag, reference(name)] })
    });
    all.insert("AuditRow".to_owned(), json!({ "oneOf": row }));
    Value::Object(all)
}

/// A reference to a shape.
pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn object((_, fields): &Shape) -> Value {
    let properties: Map<String, Value> = fields.iter().map(|(name, kind)| ((*name).to_owned(), of(kind))).collect();
    let required: Vec<&str> = fields.iter().filter(|(_, kind)| !kind.ends_with('?')).map(|(name, _)| *name).collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

/// The schema of a field: `string`, `integer`, `number`, `boolean`, `object`, `time`, `[…]` a list, `a|b` one of these words, `Name`
/// another shape; with `?` behind it, it may be absent or null.
fn of(kind: &str) -> Value {
    if let Some(kind) = kind.strip_suffix('?') {
        return json!({ "anyOf": [of(kind), { "type": "null" }] });
    }
    if let Some(kind) = kind.strip_prefix('[').and_then(|kind| kind.strip_suffix(']')) {
        return json!({ "type": "array", "items": of(kind) });
    }
    match kind {
        "integer" => json!({ "type": "integer", "format": "int64" }),
        "string" | "boolean" | "object" | "number" => json!({ "type": kind }),
        "time" => json!({ "type": "string", "format": "date-time" }),
        words if words.contains('|') => json!({ "type": "string", "enum": words.split('|').collect::<Vec<_>>() }),
        name => reference(name),
    }
}
