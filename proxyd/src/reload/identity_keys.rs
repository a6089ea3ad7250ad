//! Looks after the keys that providers show at URLs: fetches run for the verifiers in force, on the control thread, and end
//! with them.

use std::sync::Arc;

use tokio::task::AbortHandle;

use crate::identity::jwt::{self, KeySource, Verifier};
use crate::outside::Outside;

/// The fetches that run; they end with this.
#[derive(Default)]
pub struct KeyFetches {
    running: Vec<Running>,
    /// The control thread's own: none of a worker's connections is used here.
    outside: Arc<Outside>,
}

struct Running {
    source: Arc<KeySource>,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl KeyFetches {
    /// Begins what is missing, and ends what nobody needs. A source that is still in force goes on undisturbed.
    pub fn follow<'a>(&mut self, verifiers: impl Iterator<Item = &'a Arc<Verifier>>) {
        let mut before = std::mem::take(&mut self.running);
        for source in verifiers.filter_map(|verifier| verifier.source()) {
            let running = match before.iter().position(|running| Arc::ptr_eq(&running.source, source)) {
                Some(same) => before.swap_remove(same),
                None => {
                    let task = tokio::spawn(jwt::tend(Arc::clone(source), Arc::clone(&self.outside)));
                    Running { source: Arc::clone(source), task: task.abort_handle() }
                }
            };
            self.running.push(running);
        }
    }
}
