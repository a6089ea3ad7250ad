//! What never became a request: counted and recorded all the same, with what is known of it.

use std::rc::Rc;

use http1::HeadLimits;
use shared::config;

use crate::exchange::finish::Opening;
use crate::exchange::{ErrorForm, Finish, Peer, Rejection, Response, Trail, name};
use crate::proxy::bans;
use crate::telemetry::ids::RequestId;
use crate::worker::Worker;

/// A connection that ended before it asked for anything that could be answered.
pub(super) fn cut(peer: &Rc<Peer>, outcome: &'static str, protocol: &'static str, worker: &Worker) {
    record(&worker.ledger.ids.next(), peer, protocol, worker, |finish| finish.cut_short(outcome));
}

/// Bytes that are no request, and the answer to them.
pub(super) fn refuse(peer: &Rc<Peer>, rejection: &Rejection, protocol: &'static str, worker: &Worker) -> Response {
    let id = worker.ledger.ids.next();
    record(&id, peer, protocol, worker, |finish| {
        finish.rejected(rejection);
        finish.answered(rejection.status());
        // Else it would be one whose client left before it was answered.
        finish.body_ended();
    });
    worker.ledger.metrics.connection_error(rejection.code());
    bans::note(rejection.code(), peer.ip, &worker.local(), worker);
    let mut response = rejection.response(id.as_str(), ErrorForm::Json);
    response.head.headers_mut().set_text(&name::X_REQUEST_ID, id.as_str().as_bytes());
    response
}

fn record(id: &RequestId, peer: &Rc<Peer>, protocol: &'static str, worker: &Worker, tell: impl FnOnce(&mut Finish)) {
    let ledger = &worker.ledger;
    let opening = Opening {
        trail: Trail::open([id.as_str(), &peer.ip_text, "", "", "", "", ""], ""),
        terms: Rc::clone(&worker.local().terms),
        started: ledger.clock.now(),
        protocol,
        https: peer.tls,
    };
    let mut finish = Finish::open(opening, ledger, peer);
    tell(&mut finish);
    if let Some(place) = ledger.audit.try_reserve() {
        finish.reserve(place);
    }
}

/// How large heads may be, whichever protocol they come in.
pub(super) fn head_limits(limits: &config::Limits) -> HeadLimits {
    HeadLimits { start_line: limits.request_line, fields: limits.headers, count: limits.header_count }
}
