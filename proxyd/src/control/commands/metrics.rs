//! `/metrics`: what the workers count, and beside it what only the control side knows.

use crate::daemon::{Daemon, Life};
use crate::reload::Reload;
use crate::telemetry::metrics::{Audit, Certificate, Gauges, LastReload, Limiter};
use crate::telemetry::process::Process;
use crate::tls::Facts;

pub(super) fn page(daemon: &Daemon, reload: &Reload) -> String {
    let snapshot = daemon.snapshot();
    let numbers = daemon.audit.numbers();
    let limiters = snapshot.limiters.iter().map(|limiter| Limiter {
        scope: limiter.scope_name().to_string(),
        rule: limiter.rule.name.to_string(),
        keys: limiter.keys(),
        max_keys: limiter.rule.max_keys as u64,
        evictions: limiter.evicted(),
    });
    let certificates = snapshot.tls.listeners().flat_map(|(address, tls)| {
        let of = move |facts: Facts| Certificate {
            listener: address.to_string(),
            path: facts.path,
            not_after: facts.not_after,
        };
        tls.facts().into_iter().map(of)
    });
    daemon.metrics.page(&Gauges {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        generation: snapshot.generation(),
        uptime: daemon.started_at.elapsed(),
        ready: daemon.life() == Life::Serving && numbers.is_writable,
        reloads: reload.outcomes(),
        last_reload: reload.last().map(|last| LastReload { succeeded: last.outcome == "done", unix_us: last.time_us }),
        audit: Audit {
            writable: numbers.is_writable,
            queued: numbers.queued,
            written: numbers.rows + numbers.actions + numbers.gaps,
            shed: numbers.shed,
            commits: numbers.commits,
            commit_us: numbers.commit_us,
        },
        limiters: limiters.collect(),
        certificates: certificates.collect(),
        access_log_dropped: daemon.access_log.dropped(),
        process: Process::read(),
    })
}
