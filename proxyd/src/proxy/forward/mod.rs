//! Forwarding: the upstream's share, then attempts until one is answered or none may follow, then what the route has for the
//! case that nothing came of it.

mod attempt;
mod deadline;
mod fallback;
mod mirror;
mod patience;
mod sticky;
mod stream;
mod tries;
mod wire;

use std::rc::Rc;

use http1::is_target;
use shared::config::{self, ForwardHost};
use shared::routing::rewrite::{pick_share, upstream_path};
use tokio::time::Instant;

use super::{Answer, headers, websocket};
use crate::exchange::{Exchange, Interim, Rejection, Request, RequestHead, ResponseHead, Value, name};
use crate::snapshot::Forward;
use crate::upstream::Asks;
use crate::worker::{Local, Worker};

/// The most interim answers before the final one.
const MAX_INTERIM: u32 = 32;

/// What is the same for all attempts of one request.
struct Sending<'a> {
    host: &'a ForwardHost,
    /// The protocol that the client asks to change to.
    wanted: Option<Value>,
    /// What the endpoint must prove to have read, where a client of HTTP/2 cannot look itself (RFC 6455 section 4.1).
    key: Option<Box<str>>,
    asks: Asks,
    is_idempotent: bool,
    /// When the time for the whole request is up.
    until: Option<Instant>,
    /// Whether that is as the config says, and not sooner by the client's wish.
    total_is_ours: bool,
}

/// Forwards a request.
pub(super) async fn forward(
    onward: &Forward,
    exchange: &mut Exchange,
    request: &mut Request,
    local: &Local,
    worker: &Rc<Worker>,
) -> Result<Answer, Rejection> {
    let share = match &*onward.shares {
        [only] => only,
        shares => pick_share(shares, worker.ledger.random.next_u64()).ok_or(Rejection::Internal)?,
    };
    let upstream = local.upstream(share.upstream, worker).ok_or(Rejection::Internal)?;
    let sending = prepare(onward, &upstream.upstream.config.timeouts, exchange, request);
    let target = target(onward, &share.path_prefix, exchange, &request.head)?;
    let course = tries::Course { onward, sending: &sending, upstream, target: target.as_deref() };
    if onward.beside.is_none() {
        return course.run(exchange, request, worker).await.map_err(|failed| failed.rejection);
    }
    // Apart on the heap: few routes have any of this.
    Box::pin(accompanied(&course, exchange, request, local, worker)).await
}

/// Forwards with what the route has beside: a shadow that sees the same requests, something for the case that nothing comes.
async fn accompanied(
    course: &tries::Course<'_>,
    exchange: &mut Exchange,
    request: &mut Request,
    local: &Local,
    worker: &Rc<Worker>,
) -> Result<Answer, Rejection> {
    let Some(beside) = course.onward.beside.as_deref() else { return Err(Rejection::Internal) };
    let mirror = beside.mirror.as_ref().filter(|_| course.sending.wanted.is_none());
    let mirrored = mirror.and_then(|mirror| mirror::begin(mirror, course, exchange, request, local, worker));
    if let Some(fallback) = &beside.fallback {
        fallback::prepare(fallback, course, request);
    }
    let outcome = course.run(exchange, request, worker).await;
    if let Some(mirrored) = mirrored {
        mirrored.send(worker);
    }
    match &beside.fallback {
        Some(fallback) => fallback::instead(fallback, outcome, course, exchange, request, local, worker).await,
        None => outcome.map_err(|failed| failed.rejection),
    }
}

/// Makes the head one of our own hop, and notes what attempts need.
fn prepare<'a>(
    onward: &'a Forward,
    timeouts: &config::UpstreamTimeouts,
    exchange: &mut Exchange,
    request: &mut Request,
) -> Sending<'a> {
    let ours = onward.timeouts.total.unwrap_or(timeouts.total);
    let total = deadline::shorter(ours, request.head.headers());
    let until = total.map(|total| Instant::now() + total);
    let wanted = headers::upgrade_wanted(&request.head, request.extended);
    let key = request.extended.then(|| request.head.headers().text(&websocket::KEY).map(Into::into)).flatten();
    headers::upstream(exchange, &mut request.head, wanted.as_ref());
    let peer = &exchange.peer;
    let client = if exchange.client == peer.ip { peer.address } else { (exchange.client, 0).into() };
    let asks = Asks { upgrades: wanted.is_some(), client, local: peer.local };
    Sending {
        host: &onward.host,
        wanted,
        key,
        asks,
        is_idempotent: is_idempotent(exchange.method()),
        until,
        total_is_ours: total == ours,
    }
}

/// Hands an interim answer on (RFC 9110 section 15.2). A 100 is ours to give: the client's expectation was not sent on.
fn relay_interim(mut head: ResponseHead, client: &Interim) {
    if head.status() != 100 {
        headers::from_upstream(&mut head);
        head.headers_mut().remove(&name::CONTENT_LENGTH);
        client.leave(&head);
    }
}

/// Methods that may be sent twice with the effect of once (RFC 9110 section 9.2.2).
fn is_idempotent(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE")
}

/// The path and query that the upstream sees, where they are not what the client sent.
fn target(
    onward: &Forward,
    path_prefix: &str,
    exchange: &Exchange,
    head: &RequestHead,
) -> Result<Option<String>, Rejection> {
    let path = upstream_path(exchange.path(), onward.rewrite.as_ref(), path_prefix);
    if path.as_bytes() == head.path_bytes() && exchange.notes.query.is_none() {
        return Ok(None);
    }
    let mut target = path.into_owned();
    if let Some(query) = exchange.notes.query(head) {
        target.push('?');
        target.push_str(query);
    }
    if is_target(&target) { Ok(Some(target)) } else { Err(Rejection::BadPath("The path cannot be forwarded.")) }
}
