//! The section `log`: diagnostics, the access log and what both must hide.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::field::{Field, Kind, Section};
use super::fields::Fields;
use super::name;
use super::reader::is_word;

/// `log`.
#[derive(Clone, Debug)]
pub struct Log {
    pub level: Level,
    pub format: LogFormat,
    pub access: AccessLog,
    /// Requests that took longer are logged on their own; none: off.
    pub slow_request: Option<Duration>,
    pub redact: Redact,
}

/// How much the diagnostics say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

impl Level {
    /// The word users type.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// The form of both logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Json,
    Text,
}

/// Where access log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    Stdout,
    Off,
    File(PathBuf),
}

/// Names added to the built-in list of what is masked; lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redact {
    pub headers: Vec<String>,
    pub query: Vec<String>,
}

static REDACT: Section = Section {
    name: "log.redact",
    doc: "Names whose values are masked in logs and the audit, added to the built-in list and to the places where `identity` looks for credentials.",
    fields: &[&[
        Field::new("headers", Kind::List(&HEADER), "Names of headers.").default("[]"),
        Field::new(
            "query",
            Kind::List(&Kind::Word { what: "the name of a query parameter", sample: "code" }),
            "Names of query parameters.",
        )
        .default("[]"),
    ]],
};

/// A header's name.
pub(super) const HEADER: Kind = Kind::Text { what: "the name of a header", sample: "x-sample" };

/// The declaration of the section.
pub(super) static LOG: Section = Section {
    name: "log",
    doc: "Diagnostics, the access log, and what both hide.",
    fields: &[&[
        Field::new("level", Kind::Choice(&["error", "warn", "info", "debug"]), "How much the diagnostics say.")
            .default("info"),
        Field::new("format", Kind::Choice(&["json", "text"]), "The form of both logs.").default("json"),
        Field::new(
            "access",
            Kind::Text { what: "`stdout`, `off` or a path", sample: "stdout" },
            "Where access log lines go: `stdout`, `off`, or a file, which is opened anew on SIGUSR1.",
        )
        .default("stdout"),
        Field::new(
            "slow_request",
            Kind::Or("off", &Kind::Duration { min: "1ms", max: "24h" }),
            "Requests that take longer get a line of their own.",
        )
        .default("1s"),
        Field::new("redact", Kind::Section(&REDACT), "What is masked besides the built-in list.").filled(),
    ]],
};

/// Reads the section.
pub(super) fn read(fields: &mut Fields<'_, '_>) -> Option<Log> {
    let levels = [("error", Level::Error), ("warn", Level::Warn), ("info", Level::Info), ("debug", Level::Debug)];
    let level = fields.choice("level", &levels);
    let format = fields.choice("format", &[("json", LogFormat::Json), ("text", LogFormat::Text)]);
    let access = fields.scalar("access", |reader, node, field| {
        if is_word(node, "stdout") {
            return Some(AccessLog::Stdout);
        }
        if is_word(node, "off") {
            return Some(AccessLog::Off);
        }
        reader.file_path(node, &field.kind).map(AccessLog::File)
    });
    let slow_request = fields.duration_or_off("slow_request");
    let redact = fields.section("redact", |fields| {
        let headers = fields.list_of("headers", |reader, node, kind| {
            reader.parse(node, kind, |text| name::header(text).map(|name| name.to_string()))
        });
        let query =
            fields.list_of("query", |reader, node, kind| reader.parse(node, kind, |text| Ok(text.to_lowercase())));
        Some(Redact { headers: headers?, query: query? })
    });
    Some(Log { level: level?, format: format?, access: access?, slow_request: slow_request?, redact: redact? })
}
