//! A worker's half of an upstream: its connections and its turn.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::balance::RoundRobin;
use super::{Pool, Upstream};
use crate::exchange::Ledger;

/// See the module.
pub struct LocalUpstream {
    pub upstream: Arc<Upstream>,
    pools: Box<[Rc<Pool>]>,
    turns: RefCell<RoundRobin>,
}

impl LocalUpstream {
    /// This worker's half of `upstream`, with the pools of those endpoints that its predecessor had too.
    pub fn new(
        upstream: &Arc<Upstream>,
        predecessor: Option<&Self>,
        worker: usize,
        workers: usize,
        ledger: &Rc<Ledger>,
    ) -> Self {
        let pools = upstream.endpoints.iter().map(|endpoint| {
            let pool = predecessor.and_then(|before| before.pools.iter().find(|pool| pool.endpoint.id == endpoint.id));
            match pool {
                Some(pool) => {
                    pool.resize(&upstream.pool, workers);
                    Rc::clone(pool)
                }
                None => Rc::new(Pool::new(endpoint, &upstream.way, &upstream.pool, workers, ledger)),
            }
        });
        Self {
            pools: pools.collect(),
            turns: RefCell::new(RoundRobin::new(&upstream.weights, worker)),
            upstream: Arc::clone(upstream),
        }
    }

    /// The pool of the endpoint whose turn it is.
    pub fn next(&self) -> Option<&Rc<Pool>> {
        let index = self.turns.borrow_mut().take()?;
        self.pools.get(index)
    }

    /// Closes connections that were idle for too long.
    pub fn sweep(&self, now_us: u64) {
        for pool in &self.pools {
            pool.sweep(now_us);
        }
    }
}
