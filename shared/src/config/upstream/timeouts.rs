//! `upstreams.NAME.timeouts`: how long each phase of a forwarded request may take.

use std::time::Duration;

use crate::config::field::{Field, Kind, Section};
use crate::config::fields::Fields;

/// `upstreams.NAME.timeouts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTimeouts {
    /// To an established TCP connection.
    pub connect: Duration,
    /// From there to the end of the TLS handshake.
    pub tls: Duration,
    /// The longest time in which the endpoint takes nothing of the request.
    pub write: Duration,
    /// From the request sent to the response head received.
    pub response_headers: Duration,
    /// The longest gap between two reads of a response body.
    pub idle: Duration,
    /// From the start of the first attempt to the end of the body; none: off.
    pub total: Option<Duration>,
    /// How long a tunnel (WebSocket) may be silent in both directions; none: for as long as both sides live.
    pub tunnel: Option<Duration>,
}

const TIME: Kind = Kind::Duration { min: "1ms", max: "24h" };
const TIME_OR_OFF: Kind = Kind::Or("off", &TIME);

/// The declaration of the section.
pub(super) static TIMEOUTS: Section = Section {
    name: "upstreams.NAME.timeouts",
    doc: "How long the upstream may take, phase by phase. What takes longer is answered with 504, and the code of the rejection names the phase.",
    fields: &[&[
        Field::new("connect", TIME, "To an established TCP connection.").default("1s"),
        Field::new("tls", TIME, "From the TCP connection to the end of the TLS handshake.").default("5s"),
        Field::new("write", TIME, "The longest time in which the endpoint takes nothing of the request.").default("30s"),
        Field::new("response_headers", TIME, "From the request sent to the head of the response.").default("30s"),
        Field::new("idle", TIME, "The longest gap between two reads of a response body.").default("60s"),
        Field::new("total", TIME_OR_OFF, "From the start of the first attempt to the end of the body.").default("off"),
        Field::new(
            "tunnel",
            TIME_OR_OFF,
            "How long a tunnel such as a WebSocket may be silent in both directions; `off`: for as long as both sides live.",
        )
        .default("1h"),
    ]],
};

/// Reads the section.
pub(super) fn read(fields: &mut Fields<'_, '_>) -> Option<UpstreamTimeouts> {
    let connect = fields.duration("connect");
    let tls = fields.duration("tls");
    let write = fields.duration("write");
    let response_headers = fields.duration("response_headers");
    let idle = fields.duration("idle");
    let total = fields.duration_or_off("total");
    let tunnel = fields.duration_or_off("tunnel");
    Some(UpstreamTimeouts {
        connect: connect?,
        tls: tls?,
        write: write?,
        response_headers: response_headers?,
        idle: idle?,
        total: total?,
        tunnel: tunnel?,
    })
}
