//! The filter `fault`: delays and errors on purpose, to test what follows from them. Decided here, carried out when all filters
//! have passed.

use shared::config::policy::Fault;
use shared::routing::headers_hold;

use crate::exchange::{Exchange, Injected, Ledger, Looked, Request};

/// Draws what this request is to suffer.
pub(super) fn on_request(policy: &Fault, exchange: &mut Exchange, request: &Request, ledger: &Ledger) {
    let headers = Looked(request.head.headers());
    if !headers_hold(&policy.headers, &headers) {
        return;
    }
    let delay = policy.delay.as_ref().filter(|delay| delay.percent.takes(ledger.random.next_u64()));
    let abort = policy.abort.as_ref().filter(|abort| abort.percent.takes(ledger.random.next_u64()));
    if delay.is_some() {
        ledger.metrics.fault("delay");
    }
    if abort.is_some() {
        ledger.metrics.fault("abort");
    }
    if delay.is_some() || abort.is_some() {
        let (delay, abort) = (delay.map(|delay| delay.time), abort.map(|abort| abort.status));
        exchange.notes.injected = Some(Injected { delay, abort });
    }
}
