//! Looks after the endpoints of the generation in force: who belongs to each upstream, whose probes run, whose names are looked
//! up. On the control thread.

use std::net::IpAddr;
use std::sync::{Arc, Weak};

use hashbrown::HashMap;
use shared::config;
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::identity_keys::KeyFetches;
use crate::daemon::Daemon;
use crate::telemetry::metrics::SAMPLED_EVERY;
use crate::upstream::resolve::{self, Resolver};
use crate::upstream::{Upstream, Way, probe};

/// Looks after them until `stop`.
pub async fn tend(daemon: Arc<Daemon>, stop: CancellationToken) {
    let mut tended = Tended::default();
    let mut fetches = KeyFetches::default();
    let mut generation = None;
    let mut samples = tokio::time::interval(SAMPLED_EVERY);
    samples.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let snapshot = daemon.snapshot();
        let is_new = generation.replace(snapshot.generation()) != Some(snapshot.generation());
        for upstream in &snapshot.upstreams {
            let now_us = daemon.now_us();
            upstream.gather(&daemon.amid.registry.overlay(&upstream.config.name), now_us, None);
            if is_new {
                upstream.settle();
            }
        }
        tended.follow(&snapshot.upstreams, &daemon);
        fetches.follow(snapshot.identities.jwt.iter());
        drop(snapshot);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = daemon.endpoints_change() => break,
                _ = samples.tick() => daemon.metrics.take_sample(daemon.now_us()),
            }
        }
    }
}

/// What runs for endpoints; it stops with this.
#[derive(Default)]
struct Tended {
    /// By the endpoint's id.
    probes: HashMap<u64, Running<config::Probe>>,
    /// By the upstream's place in memory, which is another one after each change of it, and the endpoint as it is written.
    names: HashMap<(usize, Arc<str>), Running<config::Resolve>>,
    /// One for each way to ask.
    resolvers: Vec<(Arc<config::Resolve>, Result<Resolver, String>)>,
}

/// A task, and what it was begun with.
struct Running<S> {
    settings: Arc<S>,
    task: AbortHandle,
}

impl<S> Drop for Running<S> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Tended {
    /// Begins what is missing, and ends what nobody needs.
    fn follow(&mut self, upstreams: &[Arc<Upstream>], daemon: &Arc<Daemon>) {
        self.follow_probes(upstreams, daemon);
        self.follow_names(upstreams, daemon);
    }

    fn follow_probes(&mut self, upstreams: &[Arc<Upstream>], daemon: &Daemon) {
        let mut before = std::mem::take(&mut self.probes);
        for upstream in upstreams {
            let Some(probe) = &upstream.config.probe else { continue };
            for member in upstream.members().list.iter().filter(|member| member.resolved) {
                let id = member.endpoint.id;
                let same = before.remove(&id).filter(|running| *running.settings == **probe);
                let running = same.unwrap_or_else(|| {
                    let (endpoint, way): (Weak<_>, Way) = (Arc::downgrade(&member.endpoint), upstream.way.clone());
                    let task = tokio::spawn(probe::tend(endpoint, way, Arc::clone(probe), daemon.started_at));
                    Running { settings: Arc::clone(probe), task: task.abort_handle() }
                });
                self.probes.insert(id, running);
            }
        }
    }

    fn follow_names(&mut self, upstreams: &[Arc<Upstream>], daemon: &Arc<Daemon>) {
        let mut before = std::mem::take(&mut self.names);
        for upstream in upstreams {
            let Some(resolve) = &upstream.config.resolve else { continue };
            for endpoint in &upstream.config.endpoints {
                if endpoint.host.parse::<IpAddr>().is_ok() {
                    continue;
                }
                let key = (Arc::as_ptr(upstream).addr(), Arc::clone(&endpoint.address));
                let running = before.remove(&key).unwrap_or_else(|| {
                    let resolver = self.resolver(resolve);
                    let daemon = Arc::clone(daemon);
                    let name = Arc::clone(&upstream.config.name);
                    let changed = move || daemon.gather(&name);
                    let weak = Arc::downgrade(upstream);
                    let task =
                        tokio::spawn(resolve::tend(weak, endpoint.clone(), Arc::clone(resolve), resolver, changed));
                    Running { settings: Arc::clone(resolve), task: task.abort_handle() }
                });
                self.names.insert(key, running);
            }
        }
        let in_use = |config: &config::Resolve| self.names.values().any(|running| *running.settings == *config);
        self.resolvers.retain(|(config, _)| in_use(config));
    }

    fn resolver(&mut self, config: &Arc<config::Resolve>) -> Result<Resolver, String> {
        if let Some((_, resolver)) = self.resolvers.iter().find(|(known, _)| **known == **config) {
            return resolver.clone();
        }
        let resolver = Resolver::new(config);
        self.resolvers.push((Arc::clone(config), resolver.clone()));
        resolver
    }
}
