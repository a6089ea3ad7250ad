//! `upstreams.NAME.in_flight`: how many requests an upstream gets at once.

use std::time::Duration;

use crate::config::field::{Field, Kind, Section};
use crate::config::fields::Fields;
use crate::config::report::Fault;

/// `upstreams.NAME.in_flight`. At least one of the two bounds is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InFlight {
    /// Requests under way at once, over all endpoints.
    pub total: Option<u32>,
    /// Requests under way at once at one endpoint.
    pub endpoint: Option<u32>,
    /// Requests that may wait for a place; 0: none waits.
    pub queue: u32,
    /// How long one waits at most.
    pub wait: Duration,
}

const COUNT_OR_OFF: Kind = Kind::Or("off", &Kind::Integer { min: 1, max: 1_000_000 });

/// The declaration of the section.
pub(super) static IN_FLIGHT: Section = Section {
    name: "upstreams.NAME.in_flight",
    doc: "How many requests are under way at once, over all workers, from the choice of an endpoint to the end of the response body. At least one of `total` and `endpoint` is not `off`.",
    fields: &[&[
        Field::new("total", COUNT_OR_OFF, "For the whole upstream.").default("off"),
        Field::new("endpoint", COUNT_OR_OFF, "For each endpoint.").default("off"),
        Field::new("queue", Kind::Integer { min: 0, max: 1_000_000 }, "Requests that may wait for a place; those beyond are answered with 503 and Retry-After at once. 0: none waits.").default("100"),
        Field::new("wait", Kind::Duration { min: "1ms", max: "10m" }, "How long a request waits at most (503 after it).").default("1s"),
    ]],
};

/// Reads the section.
pub(super) fn read(fields: &mut Fields<'_, '_>) -> Option<InFlight> {
    let total = fields.count_or_off("total");
    let endpoint = fields.count_or_off("endpoint");
    let queue = fields.count("queue");
    let wait = fields.duration("wait");
    if let (Some(None), Some(None)) = (&total, &endpoint) {
        let fault = Fault::invalid("this limits nothing: `total` and `endpoint` are both off")
            .hint("in_flight: {total: 200}, or {endpoint: 50}, or `in_flight: off`");
        let key = if fields.written("total").is_some() { "total" } else { "endpoint" };
        fields.fault(key, fault);
        return None;
    }
    Some(InFlight { total: total?, endpoint: endpoint?, queue: queue?, wait: wait? })
}
