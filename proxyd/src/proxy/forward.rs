//! Forwarding: the upstream's share, the endpoint's turn, a connection, the request, the answer; and, where that is safe,
//! once more on a new connection when the one that was idle had died.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http1::{Framing, HeadError, HeadLimits, HeadParser, Incoming, is_target, persists, response_framing};
use shared::config::{ForwardHost, Share};
use shared::routing::rewrite::{pick_share, upstream_path};
use tokio::time::Instant;

use super::{Answer, headers, upgrade};
use crate::exchange::body::{BodyError, Gap};
use crate::exchange::{
    Alarm, Body, Exchange, Headers, Link, Rejection, Request, RequestBody, RequestHead, Response, ResponseHead, Upload,
    Value, name,
};
use crate::snapshot::{Forward, Timeouts};
use crate::upstream::pump::{PumpError, Sent};
use crate::upstream::{AttemptError, InFlight, Lease, LocalUpstream, Pool, Pump, Relay, room};
use crate::worker::{Local, Worker};

/// How large the head of an answer may be.
const HEAD_LIMITS: HeadLimits = HeadLimits { start_line: 8 * 1024, fields: 120 * 1024, count: 256 };
/// The most interim answers before the final one.
const MAX_INTERIM: u32 = 32;

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
    let timeouts = onward.timeouts(&upstream.upstream.timeouts);
    let attempt = Attempt::prepare(onward, share, upstream, exchange, &mut request.head)?;
    let until = timeouts.total.map(|total| Instant::now() + total);
    attempt.run(request, exchange, &timeouts, until, worker).await
}

/// What is needed to send a request to one endpoint, once or again.
struct Attempt<'a> {
    onward: &'a Forward,
    pool: Rc<Pool>,
    /// Path and query, where they are not those that came.
    target: Option<String>,
    /// The protocol that the client asks to change to.
    wanted: Option<Value>,
}

/// An answer's head, and the connection that its body comes on.
struct Received {
    head: ResponseHead,
    lease: Lease,
    /// What is still to be sent of the request.
    pump: Option<Pump>,
}

impl<'a> Attempt<'a> {
    /// Chooses the endpoint, and makes the head one of our own hop.
    fn prepare(
        onward: &'a Forward,
        share: &Share,
        upstream: &Rc<LocalUpstream>,
        exchange: &mut Exchange,
        head: &mut RequestHead,
    ) -> Result<Self, Rejection> {
        let pool = upstream.next().ok_or(Rejection::Internal)?;
        exchange.finish.forwarded(&pool.tag);
        let target = target(onward, share, exchange, head)?;
        let wanted = headers::upgrade_wanted(head);
        headers::upstream(exchange, head, wanted.as_ref());
        Ok(Self { onward, pool: Rc::clone(pool), target, wanted })
    }

    async fn run(
        self,
        request: &mut Request,
        exchange: &mut Exchange,
        timeouts: &Timeouts,
        until: Option<Instant>,
        worker: &Rc<Worker>,
    ) -> Result<Answer, Rejection> {
        let upload = request.body.upload().cloned();
        let repeatable = request.body.is_empty() && self.wanted.is_none() && is_idempotent(exchange.method());
        let mut fresh = false;
        let sent = loop {
            let sent = self.send(request, exchange, timeouts, until, fresh, worker).await;
            let stale = matches!(sent, Err(Failure { error: AttemptError::Reset, stale: true }));
            if fresh || !repeatable || !stale {
                break sent;
            }
            fresh = true;
        };
        let received = sent.map_err(|failure| match upload.and_then(|upload| upload.failure()) {
            Some(BodyError::TooLarge) => Rejection::BodyTooLarge,
            Some(BodyError::TooSlow) => Rejection::BodyTimeout,
            Some(BodyError::OutOfTime | BodyError::BrokenOff) => Rejection::BadBody,
            None => rejection(failure.error),
        })?;
        self.answer(received, exchange, Gap::new(timeouts.idle, until))
    }

    /// One attempt: a connection, the request, the answer's head.
    async fn send(
        &self,
        request: &mut Request,
        exchange: &mut Exchange,
        timeouts: &Timeouts,
        until: Option<Instant>,
        fresh: bool,
        worker: &Rc<Worker>,
    ) -> Result<Received, Failure> {
        exchange.finish.attempts += 1;
        let pool = &self.pool;
        let counted = Counted::new(pool, worker);
        let mut lease = match pool.lease(timeouts.connect, until, fresh).await {
            Ok(lease) => lease,
            Err(error) => return Err(counted.failed(error, false)),
        };
        let Request { head, body, link, .. } = request;
        set_host(&self.onward.host, pool, head);
        let upload = body.upload().cloned();
        let body = std::mem::replace(body, RequestBody::empty());
        let mut pump = Some(Pump::start(body, |out| head.write(self.target.as_deref(), out)));
        // On a connection that was there, nothing was waited for since the request was opened.
        let clock = &worker.ledger.clock;
        let sent = if lease.reused { clock.latest() } else { clock.now() };
        let patience = Patience {
            since: Some(worker.daemon.instant(sent)),
            longest: timeouts.response_headers,
            until,
            upload: upload.as_deref(),
            bytes: 0,
        };
        let interim = (head.version() == http1::Version::Http11).then_some(&**link);
        let received = receive(&mut lease, &mut pump, patience, interim, exchange, room(pool.expected())).await;
        let took_us = clock.now().since_us(sent);
        exchange.finish.upstream_us += took_us;
        match received {
            Ok(head) => {
                pool.cells.responded(took_us);
                lease.counts(counted.in_flight);
                Ok(Received { head, lease, pump })
            }
            Err((error, stale)) => Err(counted.failed(error, stale && lease.reused)),
        }
    }

    /// The answer, as one of our own hop.
    fn answer(&self, received: Received, exchange: &Exchange, gap: Gap) -> Result<Answer, Rejection> {
        let Received { mut head, lease, pump } = received;
        if head.status() == 101 {
            return self.switched(head, lease);
        }
        let to_head = exchange.method() == "HEAD";
        let framing = response_framing(&head, to_head).map_err(|fault| {
            tracing::debug!(endpoint = %self.pool.endpoint.address, %fault, "an upstream's answer is malformed");
            Rejection::UpstreamProtocol
        })?;
        let keeps = framing != Framing::Close && persists(head.headers(), head.version()) && !owes_more(&head);
        headers::from_upstream(head.headers_mut());
        let incoming = Incoming::new(framing);
        self.pool.note_answer(incoming.left().map_or(0, |left| usize::try_from(left).unwrap_or(usize::MAX)));
        let relay = Relay::start(lease, pump, incoming, keeps, gap, &exchange.alarm);
        let body = relay.map_or_else(Body::absent, |relay| Body::relayed(Box::new(relay)));
        Ok(Response::new(head, body).into())
    }

    fn switched(&self, mut head: ResponseHead, lease: Lease) -> Result<Answer, Rejection> {
        if self.wanted.is_none() {
            return Err(Rejection::UpstreamProtocol);
        }
        let (upstream, lease) = lease.into_tunnel().ok_or(Rejection::Internal)?;
        let protocol = head.headers().get(&name::UPGRADE).and_then(Value::from_bytes);
        headers::from_upstream(head.headers_mut());
        head.headers_mut().set(&name::CONNECTION, Value::known("upgrade"));
        if let Some(protocol) = protocol {
            head.headers_mut().set(&name::UPGRADE, protocol);
        }
        let tunnel = upgrade::Tunnel { upstream, lease };
        Ok(Answer { response: Response::new(head, Body::empty()), tunnel: Some(tunnel) })
    }
}

/// How long an upstream may be silent: so long after it has taken the last of the request. While the client is slow with
/// its body, that time has not begun.
struct Patience<'a> {
    since: Option<Instant>,
    longest: Duration,
    /// When the whole request's time is up.
    until: Option<Instant>,
    upload: Option<&'a Upload>,
    bytes: u64,
}

impl Patience<'_> {
    /// The error once there is none left, as things stand.
    fn poll_ended(&mut self, cx: &mut Context<'_>, sent: Sent, alarm: &Alarm) -> Poll<AttemptError> {
        let bytes = self.upload.map_or(0, Upload::bytes);
        if sent == Sent::AwaitsClient || bytes > self.bytes {
            self.since = None;
        }
        self.bytes = bytes;
        if let Some(until) = self.until
            && alarm.poll_at(cx, until).is_ready()
        {
            return Poll::Ready(AttemptError::OutOfTime);
        }
        if sent == Sent::AwaitsClient {
            return Poll::Pending;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        alarm.poll_at(cx, since + self.longest).map(|()| AttemptError::Silent)
    }
}

/// Sends the request and waits for the final answer's head. An error tells beside it whether the connection ended before
/// anything was answered.
async fn receive(
    lease: &mut Lease,
    pump: &mut Option<Pump>,
    mut patience: Patience<'_>,
    client: Option<&Link>,
    exchange: &Exchange,
    wanted: usize,
) -> Result<ResponseHead, (AttemptError, bool)> {
    let mut parser = HeadParser::response();
    let mut interim = 0;
    let mut broke_off = false;
    let received = poll_fn(|cx| {
        let Some(wire) = lease.wire_mut() else { return Poll::Ready(Err((AttemptError::Reset, false))) };
        let mut sent = Sent::Whole;
        if let Some(pumping) = pump {
            match pumping.poll(cx, wire) {
                Ok(Sent::Whole) => *pump = None,
                Ok(partly) => sent = partly,
                // It may have answered all the same: with that it is over, and without it the connection broke.
                Err(PumpError::Upstream) => {
                    *pump = None;
                    broke_off = true;
                }
                Err(PumpError::Client(_)) => return Poll::Ready(Err((AttemptError::Reset, false))),
            }
        }
        loop {
            return match wire.poll_response(cx, &mut parser, &HEAD_LIMITS, wanted) {
                Poll::Ready(Ok(head)) if head.status() < 200 && head.status() != 101 => {
                    interim += 1;
                    if interim > MAX_INTERIM {
                        return Poll::Ready(Err((AttemptError::Protocol, false)));
                    }
                    if let Some(client) = client {
                        relay_interim(head, client);
                    }
                    continue;
                }
                Poll::Ready(Ok(head)) => Poll::Ready(Ok(head)),
                Poll::Ready(Err(HeadError::Malformed(fault))) => {
                    tracing::debug!(%fault, "an upstream's answer is malformed");
                    Poll::Ready(Err((AttemptError::Protocol, false)))
                }
                Poll::Ready(Err(HeadError::Closed | HeadError::Io(_))) => {
                    Poll::Ready(Err((AttemptError::Reset, parser.is_untouched() && interim == 0)))
                }
                Poll::Ready(Err(HeadError::ClosedEarly)) => Poll::Ready(Err((AttemptError::Reset, false))),
                Poll::Pending => {
                    let error = ready!(patience.poll_ended(cx, sent, &exchange.alarm));
                    Poll::Ready(Err((error, false)))
                }
            };
        }
    })
    .await;
    if broke_off {
        lease.spoil();
    }
    received
}

/// Whether a body may follow that is none: a 204 has no body (RFC 9110 section 15.3.5), and what it announces all the same
/// would be taken for the next answer.
fn owes_more(head: &ResponseHead) -> bool {
    let headers = head.headers();
    head.status() == 204
        && (headers.has(&name::TRANSFER_ENCODING)
            || headers.get(&name::CONTENT_LENGTH).is_some_and(|length| length != b"0"))
}

/// Hands an interim answer on (RFC 9110 section 15.2). A 100 is ours to give: the client's expectation was not sent on.
fn relay_interim(mut head: ResponseHead, client: &Link) {
    if head.status() != 100 {
        headers::from_upstream(head.headers_mut());
        head.headers_mut().remove(&name::CONTENT_LENGTH);
        client.interim(|out| {
            head.write(out);
            out.extend_from_slice(b"\r\n");
        });
    }
}

struct Failure {
    error: AttemptError,
    /// A connection that had served before ended before anything was answered: it may have died while it was idle.
    stale: bool,
}

/// Counts an attempt with its endpoint, however it ends.
struct Counted<'a> {
    pool: &'a Rc<Pool>,
    worker: &'a Worker,
    in_flight: InFlight,
}

impl<'a> Counted<'a> {
    fn new(pool: &'a Rc<Pool>, worker: &'a Worker) -> Self {
        Self { pool, worker, in_flight: InFlight::start(pool) }
    }

    fn failed(&self, error: AttemptError, stale: bool) -> Failure {
        let now_us = self.worker.ledger.clock.now().unix_us;
        self.pool.cells.failed(error.kind(), now_us);
        // An idle connection's death is how keep-alive ends, not a fault of the endpoint.
        if error.blames_endpoint() && !(stale && error == AttemptError::Reset) {
            self.pool.endpoint.failed(now_us, error);
        }
        Failure { error, stale }
    }
}

fn rejection(error: AttemptError) -> Rejection {
    match error {
        AttemptError::Refused => Rejection::UpstreamConnect,
        AttemptError::ConnectTimeout => Rejection::UpstreamConnectTimeout,
        AttemptError::Unresolved => Rejection::UpstreamUnresolved,
        AttemptError::QueueFull => Rejection::UpstreamQueueFull,
        AttemptError::QueueTimeout => Rejection::UpstreamQueueTimeout,
        AttemptError::Silent => Rejection::UpstreamTimeout,
        AttemptError::OutOfTime => Rejection::TotalTimeout,
        AttemptError::Reset => Rejection::UpstreamReset,
        AttemptError::Protocol => Rejection::UpstreamProtocol,
    }
}

/// Methods that may be sent twice with the effect of once (RFC 9110 section 9.2.2).
fn is_idempotent(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE")
}

/// The path and query that the upstream sees, where they are not what the client sent.
fn target(
    onward: &Forward,
    share: &Share,
    exchange: &Exchange,
    head: &RequestHead,
) -> Result<Option<String>, Rejection> {
    let path = upstream_path(exchange.path(), onward.rewrite.as_ref(), &share.path_prefix);
    if path.as_bytes() == head.path_bytes() {
        return Ok(None);
    }
    let mut target = path.into_owned();
    if let Some(query) = head.query() {
        target.push('?');
        target.push_str(query);
    }
    if is_target(&target) { Ok(Some(target)) } else { Err(Rejection::BadPath("The path cannot be forwarded.")) }
}

fn set_host(host: &ForwardHost, pool: &Pool, head: &mut RequestHead) {
    let host = match host {
        ForwardHost::Keep => match head.authority() {
            Some(authority) => authority.to_owned(),
            None if head.headers().has(&name::HOST) => return,
            None => pool.endpoint.address.to_string(),
        },
        ForwardHost::Target => pool.endpoint.address.to_string(),
        ForwardHost::Name(name) => name.to_string(),
    };
    let headers: &mut Headers = head.headers_mut();
    headers.set_text(&name::HOST, host.as_bytes());
}
