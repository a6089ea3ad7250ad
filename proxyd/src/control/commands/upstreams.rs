//! `upstreams`: each with its endpoints, and how they do.

use std::sync::Arc;

use shared::control::UpstreamsArgs;
use shared::control::report::{EndpointLine, EndpointOrigin, Latency, ProbeLine, UpstreamLine};
use shared::decide::eligible::Tier;

use super::rfc3339;
use crate::control::Reply;
use crate::daemon::Daemon;
use crate::telemetry::clock::unix_us;
use crate::upstream::{Member, Origin, Upstream};

pub(super) fn list(daemon: &Arc<Daemon>, args: UpstreamsArgs) -> Reply {
    let daemon = Arc::clone(daemon);
    Reply::stream(false, move |sink| async move {
        let snapshot = daemon.snapshot();
        let wanted = |name: &str| args.name.as_deref().is_none_or(|part| name.contains(part));
        let mut count = 0u64;
        for upstream in snapshot.upstreams.iter().filter(|upstream| wanted(&upstream.config.name)) {
            count += 1;
            if !sink.event(&line(&daemon, upstream)).await {
                return;
            }
        }
        sink.end(&serde_json::json!({ "upstreams": count })).await;
    })
}

fn line(daemon: &Daemon, upstream: &Upstream) -> UpstreamLine {
    let now_us = daemon.now_us();
    let members = upstream.members();
    let eligible = upstream.eligible(&members, now_us);
    let tier = match eligible.tier {
        _ if eligible.chosen.is_empty() => "none",
        Tier::Primary => "primary",
        Tier::Backup => "backup",
        Tier::Panic => "panic",
    };
    UpstreamLine {
        name: upstream.config.name.to_string(),
        balance: upstream.config.balance.to_string(),
        panic: tier == "panic",
        tier: Some(tier.to_owned()),
        waiting: upstream.live.gate.waiting().into(),
        endpoints: members.list.iter().map(|member| endpoint(daemon, upstream, member, now_us)).collect(),
    }
}

fn endpoint(daemon: &Daemon, upstream: &Upstream, member: &Member, now_us: u64) -> EndpointLine {
    let endpoint = &member.endpoint;
    let pair = (Arc::clone(&upstream.config.name), Arc::clone(&endpoint.address));
    let totals = daemon.metrics.endpoint_totals(&pair.0, &pair.1);
    let lately = daemon.metrics.lately(&pair, now_us);
    let standing = upstream.standing(member, now_us);
    let notes = endpoint.health.notes().clone();
    // What the daemon's clock says, as people tell time.
    let wall = |at_us: i64| rfc3339(unix_us().saturating_add(at_us).saturating_sub(now_us.cast_signed()));
    EndpointLine {
        address: endpoint.address.to_string(),
        weight: member.weight,
        state: standing.word.to_owned(),
        why: Some(standing.why).filter(|why| !why.is_empty()),
        since: standing.since_us.map(rfc3339),
        backup: member.backup,
        origin: match &member.origin {
            Origin::File => EndpointOrigin::File,
            Origin::Dns(_) => EndpointOrigin::Dns,
            Origin::Registered { .. } => EndpointOrigin::Registered,
        },
        expires: match &member.origin {
            Origin::Registered { expires_us } => expires_us.map(wall),
            Origin::File | Origin::Dns(_) => None,
        },
        in_flight: totals.in_flight,
        requests: totals.requests,
        failures: totals.failures,
        rate: lately.map(|lately| tenths(lately.rate)),
        errors: lately.map(|lately| tenths(lately.errors)),
        latency: lately.and_then(|lately| lately.latency_us).map(|(p50_us, p90_us, p99_us)| Latency {
            p50_us,
            p90_us,
            p99_us,
        }),
        breaker: standing.breaker.map(str::to_owned),
        probe: notes.probe.map(|probe| ProbeLine {
            ok: probe.ok,
            text: probe.text,
            at: rfc3339(probe.at_us),
            took_us: probe.took_us,
        }),
        ejections: notes.ejections,
        retries: Some(totals.retries),
        connections: totals.connections,
        idle: totals.idle,
        last_failure: endpoint.last_failure().map(|(time_us, error)| format!("{} {error}", rfc3339(time_us))),
    }
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
