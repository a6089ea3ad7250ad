//! Looks after the endpoints of the generation in force: who belongs to each upstream, whose probes run, whose names are looked
//! up. On the control thread.

use std::sync::{Arc, Weak};

use hashbrown::HashMap;
use shared::config;
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::daemon::Daemon;
use crate::telemetry::metrics::SAMPLED_EVERY;
use crate::upstream::{Upstream, Way, probe};

/// Looks after them until `stop`.
pub async fn tend(daemon: Arc<Daemon>, stop: CancellationToken) {
    let mut tended = Tended::default();
    let mut generation = None;
    let mut samples = tokio::time::interval(SAMPLED_EVERY);
    samples.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let snapshot = daemon.snapshot();
        let is_new = generation.replace(snapshot.generation()) != Some(snapshot.generation());
        for upstream in &snapshot.upstreams {
            let now_us = daemon.now_us();
            upstream.gather(&daemon.amid.registry.overlay(&upstream.config.name), now_us);
            if is_new {
                upstream.settle();
            }
        }
        tended.follow(&snapshot.upstreams, &daemon);
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
    fn follow(&mut self, upstreams: &[Arc<Upstream>], daemon: &Daemon) {
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
}
