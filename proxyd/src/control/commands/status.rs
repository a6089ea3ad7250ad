//! `status`: who runs, since when, which generation, how it goes.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use shared::control::report::{CertificateState, LastReload, State, Status};

use super::rfc3339;
use crate::daemon::{Daemon, Life};
use crate::reload::{Reload, load};
use crate::snapshot::Snapshot;
use crate::telemetry::clock::unix_us;

pub(super) async fn status(daemon: &Daemon, reload: &Arc<Reload>) -> Status {
    let snapshot = daemon.snapshot();
    let config = &snapshot.checked.config;
    let totals = daemon.metrics.totals();
    let stamp = &snapshot.stamp;
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime: daemon.started_at.elapsed().as_secs(),
        started: rfc3339(daemon.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as i64),
        state: match daemon.life() {
            Life::Starting => State::Starting,
            Life::Serving => State::Serving,
            Life::Draining | Life::Stopping => State::Draining,
        },
        generation: snapshot.generation(),
        applied: rfc3339(stamp.applied_us),
        applied_by: format!("{} ({})", stamp.actor, stamp.door.as_str()),
        config: load::name(&daemon.source).to_string(),
        drift: reload.has_drifted().await,
        certificates: certificates(&snapshot),
        outside: super::outside::states(&snapshot).await,
        listeners: daemon.listening().into_iter().map(|(_, real)| real.to_string()).collect(),
        admin: reload.admin_address().map(|address| address.to_string()),
        socket: daemon.socket.display().to_string(),
        workers: daemon.workers.len() as u32,
        routes: config.routes.len() as u64,
        upstreams: config.upstreams.len() as u64,
        connections: daemon.connections() as u64,
        in_flight: totals.in_flight,
        requests: totals.requests,
        log_level: daemon.diagnostics.level().as_str().to_owned(),
        last_reload: reload.last().map(|last| LastReload {
            time: rfc3339(last.time_us),
            door: last.by.door.as_str().to_owned(),
            actor: last.by.actor,
            outcome: last.outcome,
            message: last.message,
        }),
        audit: daemon.audit.state(),
    }
}

/// What every listener shows, and why newer files were not taken up.
fn certificates(snapshot: &Snapshot) -> Vec<CertificateState> {
    let now_s = unix_us() / 1_000_000;
    let mut states = Vec::new();
    for (address, tls) in snapshot.tls.listeners() {
        let problem = tls.problem();
        for facts in tls.facts() {
            states.push(CertificateState {
                listener: address.to_string(),
                path: facts.path,
                subject: facts.subject,
                names: facts.names,
                not_after: rfc3339(facts.not_after.saturating_mul(1_000_000)),
                days_left: (facts.not_after - now_s).div_euclid(86_400),
                problem: problem.clone(),
            });
        }
    }
    states.sort_by(|left, right| left.listener.cmp(&right.listener));
    states
}
