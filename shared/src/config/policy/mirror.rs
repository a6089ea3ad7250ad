//! The policy `mirror`: copies of requests go to another upstream, whose answers nobody waits for.

use crate::config::Percent;
use crate::config::field::{Field, Kind, Section};
use crate::config::reader::Reader;
use crate::config::surroundings::{Surroundings, UPSTREAM_NAME};
use crate::config::tree::Node;

/// `mirror`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Index into `Config::upstreams`.
    pub upstream: usize,
    /// The share of the requests that is copied.
    pub percent: Percent,
    /// Requests with a larger body are not copied; none: those with any.
    pub body: Option<u64>,
    /// Copies under way at once; beyond it none is made.
    pub in_flight: u32,
}

/// The declaration of the policy.
pub(super) static MIRROR: Section = Section {
    name: "mirror",
    doc: "Copies of requests go to another upstream. Nobody waits for its answers, and what becomes of them changes nothing for the client. It acts on requests that are forwarded. A request that goes to this very upstream is not copied.",
    fields: &[&[
        Field::new("upstream", UPSTREAM_NAME, "Where the copies go.").required(),
        Field::new("percent", Kind::Percent { min: "0.01%", max: "100%" }, "How many of the requests are copied.")
            .default("100%"),
        Field::new(
            "body",
            Kind::Or("off", &Kind::Size { min: "1B", max: "16MiB" }),
            "Requests with a larger body are not copied; `off`: none with a body is.",
        )
        .default("64KiB"),
        Field::new(
            "in_flight",
            Kind::Integer { min: 1, max: 1_000_000 },
            "Copies under way at once, over all workers; beyond it none is made.",
        )
        .default("100"),
    ]],
};

/// Reads the policy.
pub(super) fn read<'a>(reader: &mut Reader<'a>, node: &'a Node<'a>, around: &mut Surroundings) -> Option<Mirror> {
    let mut fields = reader.section(node, &MIRROR)?;
    let upstream = fields.get("upstream", |reader, node, _| around.upstream(reader, node));
    let percent = fields.percent("percent");
    let body = fields.size_or_off("body");
    let in_flight = fields.count("in_flight");
    Some(Mirror { upstream: upstream?, percent: percent?, body: body?, in_flight: in_flight? })
}
