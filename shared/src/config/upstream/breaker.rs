//! `upstreams.NAME.breaker`: an endpoint that fails too often gets nothing for a while, then a few trials.

use std::time::Duration;

use super::eject::{MIN_REQUESTS, SHARE};
use crate::config::Percent;
use crate::config::field::{Field, Kind, Section};
use crate::config::fields::Fields;
use crate::config::problem::Code;
use crate::config::report::Fault;
use crate::config::statuses::{self, STATUSES, Statuses};

/// `upstreams.NAME.breaker`. At least one of `error_rate` and `slow` is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// This share of failures in the window opens it.
    pub error_rate: Option<Percent>,
    /// Calls that take longer count as slow.
    pub slow: Option<Duration>,
    /// This share of slow calls in the window opens it; of a meaning only with `slow`.
    pub slow_rate: Percent,
    pub window: Duration,
    /// Below so many requests in the window, the shares say nothing.
    pub min_requests: u32,
    /// How long it stays open.
    pub open_for: Duration,
    /// Requests that are let through after that: if all succeed it closes, if one fails it opens again.
    pub trials: u32,
    /// Answers that count as failures.
    pub statuses: Statuses,
}

const TIME: Kind = Kind::Duration { min: "100ms", max: "24h" };

/// The declaration of the section.
pub(super) static BREAKER: Section = Section {
    name: "upstreams.NAME.breaker",
    doc: "A circuit breaker for each endpoint: one that fails too often gets nothing for a while, then a few trials. A failure is an attempt that got no answer, or one of `statuses`.",
    fields: &[&[
        Field::new(
            "error_rate",
            Kind::Or("off", &SHARE),
            "This share of failures within `window` opens it; `off` needs `slow`.",
        )
        .default("50%"),
        Field::new(
            "slow",
            Kind::Or("off", &Kind::Duration { min: "1ms", max: "24h" }),
            "Calls that take longer than this count as slow.",
        )
        .default("off"),
        Field::new("slow_rate", SHARE, "With `slow`: this share of slow calls within `window` opens it.")
            .default("50%"),
        Field::new("window", TIME, "The time that is looked back.").default("10s"),
        Field::new("min_requests", MIN_REQUESTS, "With fewer requests within `window`, the shares say nothing.")
            .default("20"),
        Field::new("open_for", TIME, "How long it stays open.").default("5s"),
        Field::new(
            "trials",
            Kind::Integer { min: 1, max: 1000 },
            "Requests that are let through after that; if all of them succeed it closes, if one fails it opens again.",
        )
        .default("3"),
        Field::new("statuses", STATUSES, "Which answers count as failures.").default("500-599"),
    ]],
};

/// Reads the section.
pub(super) fn read(fields: &mut Fields<'_, '_>) -> Option<Breaker> {
    let error_rate = fields.percent_or_off("error_rate");
    let slow = fields.duration_or_off("slow");
    let slow_rate = fields.percent("slow_rate");
    let window = fields.duration("window");
    let min_requests = fields.count("min_requests");
    let open_for = fields.duration("open_for");
    let trials = fields.count("trials");
    let statuses = statuses::read(fields, "statuses");
    if let (Some(None), Some(None)) = (&error_rate, &slow) {
        let fault = Fault::invalid("nothing opens this breaker: `error_rate` and `slow` are both off")
            .hint("give one of them a value, or write `breaker: off`");
        fields.fault("error_rate", fault);
        return None;
    }
    if let (Some(None), Some(_)) = (&slow, fields.written("slow_rate")) {
        let fault = Fault::new(Code::MissingKey, "`slow_rate` says nothing without `slow`: no call counts as slow")
            .hint("add `slow: 500ms`, or remove `slow_rate`");
        fields.fault("slow_rate", fault);
        return None;
    }
    Some(Breaker {
        error_rate: error_rate?,
        slow: slow?,
        slow_rate: slow_rate?,
        window: window?,
        min_requests: min_requests?,
        open_for: open_for?,
        trials: trials?,
        statuses: statuses?,
    })
}
