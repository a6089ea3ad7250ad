//! The policy `fallback`: what a client gets where the upstream has failed for good.

use crate::config::Respond;
use crate::config::action::read_respond;
use crate::config::cause::{self, Causes, FALLEN_BACK};
use crate::config::field::{Field, Kind, Section};
use crate::config::problem::Code;
use crate::config::reader::Reader;
use crate::config::report::Fault;
use crate::config::routes::RESPOND;
use crate::config::surroundings::{Surroundings, UPSTREAM_NAME};
use crate::config::tree::Node;

/// `fallback`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallback {
    pub on: Causes,
    pub to: FallbackTo,
}

/// What stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FallbackTo {
    Respond(Respond),
    /// Index into `Config::upstreams`.
    Upstream(usize),
}

/// The declaration of the policy.
pub(super) static FALLBACK: Section = Section {
    name: "fallback",
    doc: "What a client gets where the upstream has failed, after all retries: exactly one of `respond` and `upstream`. It acts on requests that are forwarded. An upstream does not stand in for itself: a request that failed there stays failed.",
    fields: &[&[
        Field::new("on", FALLEN_BACK, "On which failures: as in `retry`, and `unavailable`: no endpoint may be chosen (all are down or left out, all breakers are open, the queue is full or the wait in it is over).")
            .default("[connect, refused_stream, reset, timeout, protocol, unavailable, 502, 503, 504]"),
        Field::new("respond", Kind::Section(&RESPOND), "This answer."),
        Field::new("upstream", UPSTREAM_NAME, "What this upstream answers, whatever it is."),
    ]],
};

/// Reads the policy.
pub(super) fn read<'a>(reader: &mut Reader<'a>, node: &'a Node<'a>, around: &mut Surroundings) -> Option<Fallback> {
    let mut fields = reader.section(node, &FALLBACK)?;
    let on = cause::read(&mut fields, true);
    let written = (fields.written("respond").is_some(), fields.written("upstream").is_some());
    let respond = fields.get("respond", |reader, node, _| read_respond(reader, node, around));
    let upstream = fields.get("upstream", |reader, node, _| around.upstream(reader, node));
    let to = match written {
        (true, false) => FallbackTo::Respond(respond?),
        (false, true) => FallbackTo::Upstream(upstream?),
        (true, true) => {
            let fault = Fault::new(Code::Conflict, "a fallback has exactly one of `respond` and `upstream`");
            fields.fault("upstream", fault);
            return None;
        }
        (false, false) => {
            let fault = Fault::new(Code::MissingKey, "this fallback does not say what stands in")
                .hint("fallback: {respond: {status: 503, body: \"Back soon.\\n\"}}, or {upstream: NAME}");
            let place = fields.place;
            fields.reader().error(place, fault);
            return None;
        }
    };
    Some(Fallback { on: on?, to })
}
