//! Addresses that are kept out for a while, and those that earn it.

use std::net::IpAddr;

use crate::exchange::{Exchange, Rejection};
use crate::identity::bans::Terms;
use crate::telemetry::clock::Now;
use crate::worker::{Local, Worker};

/// Whether the client's address is kept out.
pub(super) fn check(exchange: &Exchange, local: &Local, worker: &Worker) -> Result<(), Rejection> {
    let now_s = seconds(exchange.finish.started);
    let bans = &worker.daemon.amid.identity.bans;
    if bans.check(exchange.client, now_s).is_none() {
        return Ok(());
    }
    match bans.check_now(exchange.client, now_s, &Terms::of(&local.snapshot.checked.config)) {
        None => Ok(()),
        Some(until_s) => Err(Rejection::Banned { retry_after_s: u64::try_from(until_s - now_s).unwrap_or(1).max(1) }),
    }
}

/// Counts a refusal of a client's address; enough of them keep it out, over a restart too.
pub(crate) fn note(code: &'static str, client: IpAddr, local: &Local, worker: &Worker) {
    let terms = Terms::of(&local.snapshot.checked.config);
    let state = &worker.daemon.amid.identity;
    if let Some(ban) = state.bans.note(client, code, &terms, seconds(worker.ledger.clock.latest())) {
        state.keep_ban(ban);
    }
}

fn seconds(now: Now) -> i64 {
    now.unix_us.div_euclid(1_000_000)
}
