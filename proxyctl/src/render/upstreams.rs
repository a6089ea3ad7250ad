//! `upstreams`: a line for each endpoint.

use shared::control::report::UpstreamLine;

use super::table::table;
use super::text::grouped;
use crate::screen::Look;

pub(super) fn upstreams(upstreams: &[UpstreamLine], look: &Look) -> String {
    if upstreams.is_empty() {
        return "no upstreams\n".to_owned();
    }
    // Where all weigh the same, nothing is to be told.
    let weighted = upstreams.iter().flat_map(|upstream| &upstream.endpoints).any(|endpoint| endpoint.weight != 1);
    let mut rows = Vec::new();
    for upstream in upstreams {
        for (at, endpoint) in upstream.endpoints.iter().enumerate() {
            let first = |text: &str| if at == 0 { text.to_owned() } else { String::new() };
            rows.push(vec![
                first(&upstream.name),
                first(&upstream.balance),
                endpoint.address.clone(),
                if weighted { endpoint.weight.to_string() } else { String::new() },
                grouped(endpoint.in_flight),
                grouped(endpoint.requests),
                grouped(endpoint.failures),
                format!("{} ({} idle)", grouped(endpoint.connections), grouped(endpoint.idle)),
                endpoint.last_failure.clone().unwrap_or_default(),
            ]);
        }
    }
    let headings = [
        "UPSTREAM",
        "BALANCE",
        "ENDPOINT",
        "WEIGHT",
        "IN FLIGHT",
        "REQUESTS",
        "FAILURES",
        "CONNECTIONS",
        "LAST FAILURE",
    ];
    table(&headings, &rows, look)
}
