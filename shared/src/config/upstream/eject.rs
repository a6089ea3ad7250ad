//! `upstreams.NAME.eject`: endpoints that fail requests are left out for a while.

use std::time::Duration;

use crate::config::field::{Field, Kind, Section};
use crate::config::fields::Fields;
use crate::config::problem::Code;
use crate::config::report::Fault;
use crate::config::statuses::{self, STATUSES, Statuses};
use crate::config::{Percent, show_duration};

/// `upstreams.NAME.eject`. At least one of the three signs is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eject {
    /// So many failures in a row.
    pub consecutive_errors: Option<u32>,
    /// This share of failures in the window.
    pub error_rate: Option<Percent>,
    /// Answers that take longer than this on average in the window.
    pub latency: Option<Duration>,
    /// Below so many requests in the window, neither rate nor latency says anything.
    pub min_requests: u32,
    pub window: Duration,
    /// Answers that count as failures.
    pub statuses: Statuses,
    /// How long the first ejection lasts; the n-th lasts n times as long.
    pub lasts: Duration,
    /// No ejection lasts longer.
    pub max_for: Duration,
    /// No more of the endpoints are ejected at once.
    pub max_percent: Percent,
}

const TIME: Kind = Kind::Duration { min: "100ms", max: "24h" };
/// A share that is more than nothing.
pub(super) const SHARE: Kind = Kind::Percent { min: "0.01%", max: "100%" };
/// How many requests must have been seen.
pub(super) const MIN_REQUESTS: Kind = Kind::Integer { min: 1, max: 1_000_000_000 };

/// The declaration of the section.
pub(super) static EJECT: Section = Section {
    name: "upstreams.NAME.eject",
    doc: "Endpoints that fail requests are left out for a while. A failure is an attempt that got no answer, or one of `statuses`. At least one of `consecutive_errors`, `error_rate` and `latency` is not `off`.",
    fields: &[&[
        Field::new("consecutive_errors", Kind::Or("off", &Kind::Integer { min: 1, max: 1_000_000 }), "So many failures in a row eject an endpoint; after its ejection the row goes on until it does well once, so that one more is enough.").default("5"),
        Field::new("error_rate", Kind::Or("off", &SHARE), "This share of failures within `window` ejects it.").default("off"),
        Field::new("latency", Kind::Or("off", &Kind::Duration { min: "1ms", max: "24h" }), "Answers that take longer than this, on average within `window`, eject it.").default("off"),
        Field::new("min_requests", MIN_REQUESTS, "With fewer requests within `window`, `error_rate` and `latency` say nothing.").default("20"),
        Field::new("window", TIME, "The time that is looked back.").default("10s"),
        Field::new("statuses", STATUSES, "Which answers count as failures.").default("500-599"),
        Field::new("for", TIME, "How long the first ejection lasts; the second lasts twice as long, and so on. Each such time spent in service forgives one.").default("30s"),
        Field::new("max_for", TIME, "No ejection lasts longer.").default("5m"),
        Field::new("max_percent", SHARE, "No more of the endpoints are ejected at once, rounded down.").default("50%"),
    ]],
};

/// Reads the section.
pub(super) fn read(fields: &mut Fields<'_, '_>) -> Option<Eject> {
    let consecutive_errors = fields.count_or_off("consecutive_errors");
    let error_rate = fields.percent_or_off("error_rate");
    let latency = fields.duration_or_off("latency");
    let min_requests = fields.count("min_requests");
    let window = fields.duration("window");
    let statuses = statuses::read(fields, "statuses");
    let lasts = fields.duration("for");
    let max_for = fields.duration("max_for");
    let max_percent = fields.percent("max_percent");
    check_order(fields, ("for", lasts), ("max_for", max_for));
    if let (Some(None), Some(None), Some(None)) = (&consecutive_errors, &error_rate, &latency) {
        let fault = Fault::invalid(
            "nothing ejects an endpoint here: `consecutive_errors`, `error_rate` and `latency` are all off",
        )
        .hint("give one of them a value, or write `eject: off`");
        fields.fault("consecutive_errors", fault);
        return None;
    }
    Some(Eject {
        consecutive_errors: consecutive_errors?,
        error_rate: error_rate?,
        latency: latency?,
        min_requests: min_requests?,
        window: window?,
        statuses: statuses?,
        lasts: lasts?,
        max_for: max_for?,
        max_percent: max_percent?,
    })
}

/// The longest of some times must not be shorter than the first of them.
pub(super) fn check_order(
    fields: &mut Fields<'_, '_>,
    (first_key, first): (&'static str, Option<Duration>),
    (most_key, most): (&'static str, Option<Duration>),
) {
    let (Some(first), Some(most)) = (first, most) else { return };
    if first <= most {
        return;
    }
    let key = if fields.written(most_key).is_some() { most_key } else { first_key };
    let (first, most) = (show_duration(first), show_duration(most));
    let fault = Fault::new(Code::Conflict, format!("`{most_key}` ({most}) is shorter than `{first_key}` ({first})"))
        .hint(format!("write `{most_key}: {first}`, or a shorter `{first_key}`"));
    fields.fault(key, fault);
}
