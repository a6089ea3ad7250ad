//! `/metrics`: what the workers count, and beside it what only the control side knows.

use shared::decide::eligible::Tier;

use crate::daemon::{Daemon, Life};
use crate::identity::jwt;
use crate::reload::Reload;
use crate::telemetry::metrics::{
    Audit, BanGauge, Certificate, EndpointGauge, Gauges, KeyFetches, LastReload, Limiter, MailGauge, StoreGauge,
    UpstreamGauge, Verifier,
};
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
    let now_us = daemon.now_us();
    let (mut upstreams, mut endpoints) = (Vec::new(), Vec::new());
    for upstream in &snapshot.upstreams {
        let members = upstream.members();
        let eligible = upstream.eligible(&members, now_us);
        upstreams.push(UpstreamGauge {
            name: upstream.config.name.to_string(),
            used: eligible.chosen.len() as u64,
            panics: eligible.tier == Tier::Panic && !eligible.chosen.is_empty(),
            waiting: upstream.live.gate.waiting().into(),
        });
        endpoints.extend(members.list.iter().map(|member| {
            let health = &member.endpoint.health;
            let (probes_passed, probes_failed) = health.probes();
            let (ejections, trips) = {
                let notes = health.notes();
                (notes.ejections, notes.trips)
            };
            EndpointGauge {
                upstream: upstream.config.name.to_string(),
                address: member.endpoint.address.to_string(),
                state: upstream.standing(member, now_us).word,
                ejections,
                trips,
                probes_passed,
                probes_failed,
            }
        }));
    }
    let identities = &snapshot.identities;
    let verifiers = identities.jwt.iter().chain(identities.accounts.iter().map(|accounts| accounts.verifier()));
    let bans = &daemon.amid.identity.bans;
    let mails = identities.accounts.as_ref().and_then(|accounts| accounts.mails());
    daemon.metrics.page(&Gauges {
        upstreams,
        endpoints,
        store: snapshot.redis.as_ref().map(|engine| StoreGauge { breaker: engine.state().word() }),
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
        verifiers: verifiers.map(|verifier| about(verifier)).collect(),
        bans: BanGauge { active: bans.active() as u64, missed: bans.missed() },
        mails: mails.map(|(sent, failed)| MailGauge { sent, failed }),
        limiters: limiters.collect(),
        certificates: certificates.collect(),
        access_log_dropped: daemon.access_log.dropped(),
        process: Process::read(),
    })
}

fn about(verifier: &jwt::Verifier) -> Verifier {
    let counts = verifier.counts();
    Verifier {
        provider: verifier.provider().to_string(),
        hits: counts.hits,
        misses: counts.misses,
        keys: counts.keys,
        fetches: counts.fetches.map(|fetches| KeyFetches {
            done: fetches.succeeded,
            failed: fetches.failed,
            fresh_s: fetches.fresh_s,
        }),
    }
}
