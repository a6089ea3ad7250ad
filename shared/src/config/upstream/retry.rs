//! `retry`, on an upstream or a route: requests that failed are sent again, where that is safe.

use std::time::Duration;

use super::eject::{SHARE, check_order};
use crate::config::Percent;
use crate::config::cause::{self, Causes, RETRIED};
use crate::config::field::{Field, Kind, Section};
use crate::config::fields::Fields;
use crate::config::problem::Code;
use crate::config::report::Fault;

/// `retry`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The first one counts.
    pub attempts: u32,
    /// Never `unavailable`.
    pub on: Causes,
    /// Before the second attempt; twice as long before each further one.
    pub backoff: Duration,
    pub max_backoff: Duration,
    /// Retries as a share of the upstream's requests; none: no bound.
    pub budget: Option<Percent>,
    /// Bytes of a request body that are kept to be sent again; none: none are.
    pub body: Option<u64>,
}

/// The declaration of the section.
pub(in crate::config) static RETRY: Section = Section {
    name: "upstreams.NAME.retry",
    doc: "Requests that failed are sent again, to another endpoint first. Only where that is safe: the method is idempotent, or nothing of the request was sent, or the endpoint said that it did nothing, or the client sent `Idempotency-Key`; never once a byte of the response went out.",
    fields: &[&[
        Field::new("attempts", Kind::Integer { min: 1, max: 10 }, "How often a request is sent at most; the first time counts.").default("2"),
        Field::new("on", RETRIED, "What is tried again: `connect` (no connection), `refused_stream` (the endpoint said that it has not begun), `reset` (the connection broke before an answer), `timeout` (no answer in time), `protocol` (the answer is not HTTP), statuses from 400 on, ranges such as `500-599`.")
            .default("[connect, refused_stream, reset, timeout, 502, 503, 504]"),
        Field::new("backoff", Kind::Duration { min: "0s", max: "1m" }, "The pause before the second attempt, twice as long before each further one; chance takes up to half of it away. `0s`: at once.").default("25ms"),
        Field::new("max_backoff", Kind::Duration { min: "0s", max: "1m" }, "No pause is longer.").default("1s"),
        Field::new("budget", Kind::Or("off", &SHARE), "How many retries there may be for the upstream's requests; one each second is always allowed. `off`: no bound.").default("20%"),
        Field::new("body", Kind::Or("off", &Kind::Size { min: "1B", max: "16MiB" }), "Request bodies up to this size are kept, so that they can be sent again; `off`: none is.").default("64KiB"),
    ]],
};

/// Reads the section.
pub(in crate::config) fn read(fields: &mut Fields<'_, '_>) -> Option<Retry> {
    let attempts = fields.count("attempts");
    let on = cause::read(fields, false);
    let backoff = fields.duration("backoff");
    let max_backoff = fields.duration("max_backoff");
    let budget = fields.percent_or_off("budget");
    let body = fields.size_or_off("body");
    check_order(fields, ("backoff", backoff), ("max_backoff", max_backoff));
    if attempts == Some(1) {
        let fault = Fault::new(Code::Unused, "one attempt is the first one: nothing is tried again")
            .hint("write `attempts: 2`, or `retry: off`");
        fields.warn("attempts", fault);
    }
    Some(Retry {
        attempts: attempts?,
        on: on?,
        backoff: backoff?,
        max_backoff: max_backoff?,
        budget: budget?,
        body: body?,
    })
}
