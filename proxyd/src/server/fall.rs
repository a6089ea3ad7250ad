//! A connection's task that panics takes down no other: each connection is a task, and the runtime ends a task that panics by
//! itself. Here it is counted.

use std::rc::Rc;

use crate::telemetry::metrics::WorkerMetrics;
use crate::worker::Worker;

/// Counts a connection whose task panics.
pub(super) struct Fall(Rc<WorkerMetrics>);

impl Fall {
    pub(super) fn of(worker: &Worker) -> Self {
        Self(Rc::clone(&worker.ledger.metrics))
    }
}

impl Drop for Fall {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.connection_error("panic");
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::LocalSet;

    use super::*;
    use crate::telemetry::metrics::{Gauges, Metrics};

    #[tokio::test]
    async fn a_panic_ends_its_own_connection_only() {
        let metrics = Metrics::new(1);
        let worker = metrics.worker(0);
        let tasks = LocalSet::new();
        let (fall, other) = (Fall(Rc::clone(&worker)), Fall(worker));
        let falls = tasks.spawn_local(async move {
            let _fall = fall;
            tokio::task::yield_now().await;
            panic!("a fault of ours");
        });
        let lives = tasks.spawn_local(async move {
            let _fall = other;
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            "served"
        });
        tasks.await;
        assert!(falls.await.is_err_and(|error| error.is_panic()));
        assert_eq!(lives.await.ok(), Some("served"));
        let page = metrics.page(&Gauges::default());
        assert!(page.contains("proxyd_connection_errors_total{kind=\"panic\"} 1\n"), "{page}");
    }
}
