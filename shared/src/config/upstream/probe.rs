//! `upstreams.NAME.probe`: endpoints are asked whether they are well.

use std::sync::Arc;
use std::time::Duration;

use crate::config::field::{Field, Kind, Section};
use crate::config::fields::Fields;
use crate::config::policy::headers::is_clear_secret;
use crate::config::problem::Code;
use crate::config::reader::Read;
use crate::config::report::Fault;
use crate::config::statuses::{self, STATUSES, Statuses};
use crate::config::{Percent, action, name, path, show_duration};

/// `upstreams.NAME.probe`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub kind: ProbeKind,
    /// Between two probes of an endpoint that is well.
    pub interval: Duration,
    /// Between two probes of one that is not.
    pub down_interval: Duration,
    /// How long an answer may take; at most the interval.
    pub timeout: Duration,
    /// How far chance moves each pause, in both directions.
    pub jitter: Percent,
    /// Good answers in a row that make an endpoint well.
    pub healthy_after: u32,
    /// Bad answers in a row that make it unwell.
    pub unhealthy_after: u32,
    pub initial: Initial,
    /// Another port than the one that is served.
    pub port: Option<u16>,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    /// Whether a connection comes about.
    Tcp,
    Http(HttpProbe),
}

/// A request and the answer that is a good one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpProbe {
    pub method: ProbeMethod,
    /// With its query, where it has one.
    pub path: Arc<str>,
    /// The `Host`; none: the endpoint's address.
    pub host: Option<Arc<str>>,
    /// Lower-case names; values are checked header values.
    pub headers: Vec<(Arc<str>, Arc<str>)>,
    pub expect: Statuses,
    /// Text that must stand in the first 64 KiB of the body.
    pub body: Option<Arc<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeMethod {
    Get,
    Head,
}

/// What an endpoint is taken for before its first probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initial {
    Healthy,
    /// It is not chosen until a probe has succeeded.
    Unknown,
}

const PAUSE: Kind = Kind::Duration { min: "10ms", max: "24h" };
const TIMES: Kind = Kind::Integer { min: 1, max: 100 };
const HEADER_VALUE: Kind = Kind::Word { what: "the value of a header", sample: "sample" };
const HEADERS: Kind = Kind::Map(&HEADER_VALUE);

/// The declaration of the section.
pub(super) static PROBE: Section = Section {
    name: "upstreams.NAME.probe",
    doc: "Endpoints are asked now and then whether they are well; one that is not is not chosen. `path`, `method`, `host`, `headers`, `expect` and `body` belong to `kind: http`.",
    fields: &[&[
        Field::new(
            "kind",
            Kind::Choice(&["http", "tcp"]),
            "A request with its answer (`http`, over TLS where the endpoints are `https://`), or only a connection (`tcp`).",
        )
        .default("http"),
        Field::new("path", Kind::Text { what: "a path such as `/health`", sample: "/health" }, "What is asked for; it may have a query.").default("/"),
        Field::new("method", Kind::Choice(&["GET", "HEAD"]), "How it is asked for.").default("GET"),
        Field::new("host", Kind::Text { what: "a host name", sample: "sample.internal" }, "The `Host` of the request; the default is the endpoint's address."),
        Field::new("headers", HEADERS, "Further headers of the request."),
        Field::new("port", Kind::Integer { min: 1, max: 65_535 }, "Another port to ask than the one that is served."),
        Field::new("interval", PAUSE, "The pause between two probes of an endpoint that is well.").default("5s"),
        Field::new("down_interval", PAUSE, "The pause between two probes of an endpoint that is not.").default("1s"),
        Field::new("timeout", PAUSE, "How long an answer may take; at most `interval`.").default("1s"),
        Field::new("jitter", Kind::Percent { min: "0%", max: "100%" }, "How far chance moves each pause, in both directions; `0%`: not at all.").default("20%"),
        Field::new("healthy_after", TIMES, "Good answers in a row that bring an endpoint back.").default("2"),
        Field::new("unhealthy_after", TIMES, "Bad answers in a row that take it away.").default("3"),
        Field::new("expect", STATUSES, "Which statuses are good.").default("200-399"),
        Field::new("body", Kind::Word { what: "text", sample: "sample" }, "Text that must stand in the first 64 KiB of the body; not with `method: HEAD`."),
        Field::new("initial", Kind::Choice(&["healthy", "unknown"]), "What an endpoint is taken for before its first probe; `unknown`: it is not chosen until a probe has succeeded.").default("healthy"),
    ]],
};

const OF_HTTP: [&str; 6] = ["path", "method", "host", "headers", "expect", "body"];

/// Reads the section.
pub(super) fn read(fields: &mut Fields<'_, '_>) -> Option<Probe> {
    let is_http = fields.choice("kind", &[("http", true), ("tcp", false)]);
    let http = read_http(fields);
    let port = if fields.written("port").is_some() { fields.count("port").map(Some) } else { Some(None) };
    let interval = fields.duration("interval");
    let down_interval = fields.duration("down_interval");
    let timeout = fields.duration("timeout");
    let jitter = fields.percent("jitter");
    let healthy_after = fields.count("healthy_after");
    let unhealthy_after = fields.count("unhealthy_after");
    let initial = fields.choice("initial", &[("healthy", Initial::Healthy), ("unknown", Initial::Unknown)]);
    if is_http == Some(false) {
        let written: Vec<&'static str> = OF_HTTP.into_iter().filter(|key| fields.written(key).is_some()).collect();
        for key in written {
            let fault = Fault::new(Code::Conflict, format!("`{key}` says nothing to a probe that only connects"))
                .hint(format!("write `kind: http`, or remove `{key}`"));
            fields.fault(key, fault);
        }
    }
    check_times(fields, interval, timeout);
    Some(Probe {
        kind: if is_http? { ProbeKind::Http(http?) } else { ProbeKind::Tcp },
        interval: interval?,
        down_interval: down_interval?,
        timeout: timeout?,
        jitter: jitter?,
        healthy_after: healthy_after?,
        unhealthy_after: unhealthy_after?,
        initial: initial?,
        port: port?,
    })
}

/// A probe must have ended before the next one begins.
fn check_times(fields: &mut Fields<'_, '_>, interval: Option<Duration>, timeout: Option<Duration>) {
    let (Some(interval), Some(timeout)) = (interval, timeout) else { return };
    if timeout <= interval {
        return;
    }
    let key = if fields.written("timeout").is_some() { "timeout" } else { "interval" };
    let (interval, timeout) = (show_duration(interval), show_duration(timeout));
    let fault = Fault::new(
        Code::Conflict,
        format!("an answer may take longer (`timeout`, {timeout}) than the pause between two probes (`interval`, {interval})"),
    )
    .hint(format!("write `timeout: {interval}`, or `interval: {timeout}`"));
    fields.fault(key, fault);
}

fn read_http(fields: &mut Fields<'_, '_>) -> Option<HttpProbe> {
    let path = fields.scalar("path", |reader, node, field| reader.parse(node, &field.kind, target));
    let method = fields.choice("method", &[("GET", ProbeMethod::Get), ("HEAD", ProbeMethod::Head)]);
    let host = match fields.written("host") {
        None => Some(None),
        Some(_) => {
            fields.get("host", |reader, node, field| reader.parse(node, &field.kind, action::authority)).map(Some)
        }
    };
    let headers = read_headers(fields);
    let expect = statuses::read(fields, "expect");
    let body = read_body(fields);
    if let (Some(ProbeMethod::Head), Some(_)) = (method, fields.written("body")) {
        let fault = Fault::new(Code::Conflict, "the answer to HEAD has no body to look into")
            .hint("write `method: GET`, or remove `body`");
        fields.fault("body", fault);
    }
    Some(HttpProbe { method: method?, path: path?, host: host?, headers: headers?, expect: expect?, body: body? })
}

/// A path, with a query where there is one.
fn target(text: &str) -> Result<Arc<str>, Fault> {
    let Some((path, query)) = text.split_once('?') else { return path::literal(text) };
    if !query.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        return Err(Fault::invalid("this query has spaces, a fragment, or characters that are not ASCII")
            .hint("percent-encode them: `%20` is a space"));
    }
    Ok(format!("{}?{query}", path::literal(path)?).into())
}

fn read_headers(fields: &mut Fields<'_, '_>) -> Option<Vec<(Arc<str>, Arc<str>)>> {
    if fields.written("headers").is_none() {
        return Some(Vec::new());
    }
    fields.get("headers", |reader, node, field| {
        reader.map(node, &field.kind, |reader, entry| {
            let name = match name::editable_header(&entry.key) {
                Ok(name) => name,
                Err(fault) if entry.key.eq_ignore_ascii_case("host") => {
                    let fault = Fault { hint: None, ..fault };
                    reader.error(entry.key_place, fault.hint("`host` beside `headers` says which Host is sent"));
                    return None;
                }
                Err(fault) => {
                    reader.error(entry.key_place, fault);
                    return None;
                }
            };
            if is_clear_secret(&name, &entry.value) {
                let fault = Fault::new(Code::ClearSecret, "this secret is written in clear")
                    .hint("take it from outside: `${env:NAME}` or `${file:/run/secrets/name}`");
                reader.warn(entry.value.place, fault);
            }
            let value = reader.parse(&entry.value, &HEADER_VALUE, name::header_value)?;
            Some((name, value))
        })
    })
}

fn read_body(fields: &mut Fields<'_, '_>) -> Read<Option<Arc<str>>> {
    const MAX_BYTES: usize = 4 << 10;
    if fields.written("body").is_none() {
        return Some(None);
    }
    fields.get("body", |reader, node, field| {
        reader.parse(node, &field.kind, |text| match text.len() {
            1..=MAX_BYTES => Ok(Some(text.into())),
            0 => Err(Fault::invalid("an empty text stands in every body").hint("remove `body`, or name a text")),
            _ => Err(Fault::new(Code::OutOfRange, format!("this text must have at most {MAX_BYTES} bytes"))),
        })
    })
}
