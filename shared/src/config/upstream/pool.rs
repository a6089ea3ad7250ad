//! `upstreams.NAME.pool`: the connections to an upstream.

use std::time::Duration;

use crate::config::field::{Field, Kind, Section};
use crate::config::fields::Fields;
use crate::config::server::{STREAM_WINDOW, STREAMS};

/// `upstreams.NAME.pool`. Each bound holds for one endpoint; but for `idle`, over all workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Idle connections that each worker keeps.
    pub idle: usize,
    /// How long an idle connection is kept.
    pub idle_for: Duration,
    /// Connections at once.
    pub connections: usize,
    /// Requests that may wait for a connection.
    pub queue: usize,
    /// HTTP/2 requests at once on one connection.
    pub streams: u32,
    /// Bytes of a response body that one HTTP/2 stream may send ahead of what was taken of it.
    pub stream_window: u32,
}

/// The declaration of the section.
pub(super) static POOL: Section = Section {
    name: "upstreams.NAME.pool",
    doc: "Connections to the upstream. Each bound holds for one endpoint; but for `idle`, over all workers.",
    fields: &[&[
        Field::new(
            "idle",
            Kind::Integer { min: 0, max: 1_000_000 },
            "Idle connections that each worker keeps; 0: none, each request opens its own.",
        )
        .default("64"),
        Field::new("idle_for", Kind::Duration { min: "1s", max: "24h" }, "How long an idle connection is kept.")
            .default("90s"),
        Field::new("connections", Kind::Integer { min: 1, max: 1_000_000 }, "Connections at once.").default("1024"),
        Field::new(
            "queue",
            Kind::Integer { min: 0, max: 1_000_000 },
            "Requests that may wait for a connection; 0: none waits (503).",
        )
        .default("1024"),
        Field::new(
            "streams",
            STREAMS,
            "HTTP/2: requests at once on one connection; fewer where the endpoint takes fewer.",
        )
        .default("100"),
        Field::new(
            "stream_window",
            STREAM_WINDOW,
            "HTTP/2: how much of a response body one stream may send ahead of what was taken of it.",
        )
        .default("256KiB"),
    ]],
};

/// Reads the section.
pub(super) fn read(fields: &mut Fields<'_, '_>) -> Option<Pool> {
    let idle = fields.count("idle");
    let idle_for = fields.duration("idle_for");
    let connections = fields.count("connections");
    let queue = fields.count("queue");
    let streams = fields.count("streams");
    let stream_window = fields.size("stream_window");
    Some(Pool {
        idle: idle?,
        idle_for: idle_for?,
        connections: connections?,
        queue: queue?,
        streams: streams?,
        stream_window: stream_window?,
    })
}
