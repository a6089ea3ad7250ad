//! A worker's half of an upstream: its connections, its view of the endpoints, its share of the retries.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use hashbrown::HashSet;
use shared::config::Percent;
use shared::decide::budget::Budget;

use super::choose::View;
use super::{Members, Pool, Upstream};
use crate::exchange::Ledger;

/// See the module.
pub struct LocalUpstream {
    pub upstream: Arc<Upstream>,
    pub(super) view: RefCell<View>,
    pub(super) ledger: Rc<Ledger>,
    /// Of the traffic that passes here, so much may be sent again. One for all generations: what began before a reload and is
    /// sent again after it is paid for here.
    budget: Rc<RefCell<Budget>>,
    /// Copies of other upstreams' requests that are under way here.
    copies: Rc<Cell<u32>>,
    worker: usize,
    workers: usize,
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
        let now_us = ledger.clock.latest_us();
        let before = predecessor.map(|before| before.view.borrow().pools.clone()).unwrap_or_default();
        let make = |members: &Members| pools(upstream, members, &before, worker, workers, ledger);
        let budget = predecessor.map(|before| Rc::clone(&before.budget));
        Self {
            view: RefCell::new(View::new(upstream, make, now_us, ledger.random.next_u64())),
            upstream: Arc::clone(upstream),
            ledger: Rc::clone(ledger),
            budget: budget.unwrap_or_else(|| Rc::new(RefCell::new(Budget::one_of(now_us, workers)))),
            copies: predecessor.map(|before| Rc::clone(&before.copies)).unwrap_or_default(),
            worker,
            workers,
        }
    }

    /// How many copies of requests are under way here, on this worker.
    pub fn copies(&self) -> u32 {
        self.copies.get()
    }

    /// One more, for as long as the value lives.
    pub fn copy_begins(&self) -> Copying {
        self.copies.set(self.copies.get() + 1);
        Copying(Rc::clone(&self.copies))
    }

    /// Whether one that was not tried may be chosen.
    pub fn has_other(&self, tried: &[u64]) -> bool {
        self.view.borrow().has_other(tried, self.now_us())
    }

    /// A number that nobody can foresee.
    pub fn random(&self) -> u64 {
        self.ledger.random.next_u64()
    }

    pub(super) fn now_us(&self) -> u64 {
        self.ledger.clock.latest_us()
    }

    /// The pools of these members, with those that are there already.
    pub(super) fn pools(&self, members: &Members, before: &[Rc<Pool>]) -> Box<[Rc<Pool>]> {
        let name = &self.upstream.config.name;
        let pools = pools(&self.upstream, members, before, self.worker, self.workers, &self.ledger);
        // Those that come and go without a reload are not counted for ever.
        let stays: HashSet<u64> = pools.iter().map(|pool| pool.endpoint.id).collect();
        let gone = before.iter().map(|pool| &pool.endpoint).filter(|endpoint| !stays.contains(&endpoint.id));
        let gone: HashSet<&str> = gone.map(|endpoint| &*endpoint.address).collect();
        if !gone.is_empty() {
            self.ledger.metrics.retain_endpoints(|upstream, address| *upstream != **name || !gone.contains(address));
        }
        pools
    }

    /// A request begins, that may earn its retry.
    pub fn request_begins(&self) {
        self.budget.borrow_mut().request(self.now_us());
    }

    /// Whether one more may be sent again.
    pub fn spends_retry(&self, share: Percent) -> bool {
        self.budget.borrow_mut().try_retry(share, self.now_us())
    }

    /// Closes connections that were idle for too long.
    pub fn sweep(&self, now_us: u64) {
        for pool in &self.view.borrow().pools {
            pool.sweep(now_us);
        }
    }
}

/// A copy of a request that is under way.
pub struct Copying(Rc<Cell<u32>>);

impl Drop for Copying {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

fn pools(
    upstream: &Upstream,
    members: &Members,
    before: &[Rc<Pool>],
    worker: usize,
    workers: usize,
    ledger: &Rc<Ledger>,
) -> Box<[Rc<Pool>]> {
    let config = &upstream.config.pool;
    let pools = members.list.iter().map(|member| {
        let endpoint = &member.endpoint;
        match before.iter().find(|pool| pool.endpoint.id == endpoint.id) {
            Some(pool) => {
                pool.resize(config, workers);
                Rc::clone(pool)
            }
            None => Rc::new(Pool::new(endpoint, &upstream.way, config, worker, workers, ledger)),
        }
    });
    pools.collect()
}
