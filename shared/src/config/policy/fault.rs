//! The policy `fault`: failures on purpose, to see what becomes of them.

use std::time::Duration;

use crate::config::field::{Field, Kind, Section};
use crate::config::fields::Fields;
use crate::config::matching::read_conditions;
use crate::config::problem::Code;
use crate::config::reader::{Read, Reader};
use crate::config::report::Fault as Mistake;
use crate::config::routes::CONDITION;
use crate::config::tree::Node;
use crate::config::{HeaderMatch, Percent};

/// `fault`. At least one of the two is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// All of these.
    pub headers: Vec<HeaderMatch>,
    pub delay: Option<FaultDelay>,
    pub abort: Option<FaultAbort>,
}

/// The request waits before it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultDelay {
    pub time: Duration,
    pub percent: Percent,
}

/// The request is answered here. The delay comes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultAbort {
    pub status: u16,
    pub percent: Percent,
}

const SHARE: Kind = Kind::Percent { min: "0.01%", max: "100%" };

static DELAY: Section = Section {
    name: "fault.delay",
    doc: "Requests wait before they go on.",
    fields: &[&[
        Field::new("time", Kind::Duration { min: "1ms", max: "10m" }, "How long.").required(),
        Field::new("percent", SHARE, "How many of the requests.").default("100%"),
    ]],
};

static ABORT: Section = Section {
    name: "fault.abort",
    doc: "Requests are answered here; the delay comes before it.",
    fields: &[&[
        Field::new("status", Kind::Integer { min: 400, max: 599 }, "With this status.").required(),
        Field::new("percent", SHARE, "How many of the requests.").default("100%"),
    ]],
};

/// The declaration of the policy.
pub(super) static FAULT: Section = Section {
    name: "fault",
    doc: "Failures on purpose, for tests: at least one of `delay` and `abort`, each for a share of the requests that chance picks. It acts on requests that would be forwarded.",
    fields: &[&[
        Field::new(
            "headers",
            Kind::Map(&CONDITION),
            "Only requests with all of these headers: an exact value, or `{present: true}`, `{regex: …}`.",
        ),
        Field::new("delay", Kind::Section(&DELAY), "Requests wait."),
        Field::new("abort", Kind::Section(&ABORT), "Requests are answered here."),
    ]],
};

/// Reads the policy.
pub(super) fn read<'a>(reader: &mut Reader<'a>, node: &'a Node<'a>) -> Option<Fault> {
    let mut fields = reader.section(node, &FAULT)?;
    let headers = read_conditions(&mut fields);
    let delay = part(&mut fields, "delay", |fields| {
        let time = fields.get("time", |reader, node, field| reader.duration(node, &field.kind));
        let percent = fields.percent("percent");
        Some(FaultDelay { time: time?, percent: percent? })
    });
    let abort = part(&mut fields, "abort", |fields| {
        let status = fields.get("status", |reader, node, field| reader.integer(node, &field.kind));
        let percent = fields.percent("percent");
        Some(FaultAbort { status: u16::try_from(status?).ok()?, percent: percent? })
    });
    if let (Some(None), Some(None)) = (&delay, &abort) {
        let mistake = Mistake::new(Code::MissingKey, "this fault does nothing: it has neither `delay` nor `abort`")
            .hint("fault: {delay: {time: 100ms, percent: 10%}}, or {abort: {status: 503}}, or `fault: off`");
        let place = fields.place;
        fields.reader().error(place, mistake);
        return None;
    }
    Some(Fault { headers: headers?, delay: delay?, abort: abort? })
}

fn part<'a, T>(
    fields: &mut Fields<'_, 'a>,
    key: &'static str,
    read: impl FnOnce(&mut Fields<'_, 'a>) -> Option<T>,
) -> Read<Option<T>> {
    if fields.written(key).is_none() { Some(None) } else { fields.section(key, read).map(Some) }
}
