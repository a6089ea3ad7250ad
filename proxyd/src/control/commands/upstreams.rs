//! `upstreams`: each with its endpoints, and how they do.

use std::sync::Arc;

use shared::control::report::{EndpointLine, UpstreamLine};

use super::rfc3339;
use crate::control::Reply;
use crate::daemon::Daemon;
use crate::upstream::Upstream;

pub(super) fn list(daemon: &Arc<Daemon>) -> Reply {
    let daemon = Arc::clone(daemon);
    Reply::stream(false, |sink| async move {
        let snapshot = daemon.snapshot();
        for upstream in &snapshot.upstreams {
            if !sink.event(&line(&daemon, upstream)).await {
                return;
            }
        }
        sink.end(&serde_json::json!({ "upstreams": snapshot.upstreams.len() })).await;
    })
}

fn line(daemon: &Daemon, upstream: &Upstream) -> UpstreamLine {
    let endpoints = upstream.endpoints.iter().zip(&upstream.weights).map(|(endpoint, weight)| {
        let totals = daemon.metrics.endpoint_totals(&upstream.name, &endpoint.address);
        EndpointLine {
            address: endpoint.address.to_string(),
            weight: *weight,
            in_flight: totals.in_flight,
            requests: totals.requests,
            failures: totals.failures,
            connections: totals.connections,
            idle: totals.idle,
            last_failure: endpoint.last_failure().map(|(time_us, error)| format!("{} {error}", rfc3339(time_us))),
        }
    });
    UpstreamLine { name: upstream.name.to_string(), balance: "round_robin".to_owned(), endpoints: endpoints.collect() }
}
