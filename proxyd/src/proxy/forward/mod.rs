//! Forwarding: the upstream's share, the endpoint's turn, a connection, the request, the answer; and, where that is safe,
//! once more on a new connection when the one that was idle had died.

mod deadline;
mod stream;
mod wire;

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http1::is_target;
use shared::config::{ForwardHost, Share};
use shared::routing::rewrite::{pick_share, upstream_path};
use tokio::time::Instant;

use super::{Answer, headers, upgrade, websocket};
use crate::exchange::body::{BodyError, Gap};
use crate::exchange::{
    Alarm, Body, End, Exchange, Headers, Interim, Rejection, Request, RequestHead, Response, ResponseHead, Upload,
    Value, name,
};
use crate::snapshot::{Forward, Timeouts};
use crate::upstream::pump::Sent;
use crate::upstream::{Asks, AttemptError, Held, InFlight, Leased, LocalUpstream, Pool};
use crate::worker::{Local, Worker};

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
    let attempt = Attempt::prepare(onward, share, upstream, exchange, request)?;
    let total = deadline::shorter(timeouts.total, request.head.headers());
    let until = total.map(|total| Instant::now() + total);
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
    /// What the endpoint must prove to have read, where a client of HTTP/2 cannot look itself (RFC 6455 section 4.1).
    key: Option<Box<str>>,
    asks: Asks,
}

/// An answer whose head came.
enum Received {
    Wire(wire::OnWire),
    Stream(stream::OnStream),
}

impl Received {
    /// Whether the endpoint has changed to the protocol that was asked for.
    fn has_switched(&self) -> bool {
        match self {
            Self::Wire(answer) => answer.head.status() == 101,
            Self::Stream(answer) => answer.has_switched(),
        }
    }
}

impl<'a> Attempt<'a> {
    /// Chooses the endpoint, and makes the head one of our own hop.
    fn prepare(
        onward: &'a Forward,
        share: &Share,
        upstream: &Rc<LocalUpstream>,
        exchange: &mut Exchange,
        request: &mut Request,
    ) -> Result<Self, Rejection> {
        let pool = upstream.next().ok_or(Rejection::Internal)?;
        exchange.finish.forwarded(&pool.tag);
        let target = target(onward, share, exchange, &request.head)?;
        let wanted = headers::upgrade_wanted(&request.head, request.extended);
        let key = request.extended.then(|| request.head.headers().text(&websocket::KEY).map(Into::into)).flatten();
        headers::upstream(exchange, &mut request.head, wanted.as_ref());
        let peer = &exchange.peer;
        let client = if exchange.client == peer.ip { peer.address } else { (exchange.client, 0).into() };
        let asks = Asks { upgrades: wanted.is_some(), client, local: peer.local };
        Ok(Self { onward, pool: Rc::clone(pool), target, wanted, key, asks })
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
            let Err(failure) = &sent else { break sent };
            // Where nothing was done with it any request may be sent again, as long as all of it is still here.
            let unharmed =
                failure.error == AttemptError::Unprocessed || (failure.error == AttemptError::Reset && repeatable);
            let again = failure.stale && unharmed;
            if fresh || !again {
                break sent;
            }
            fresh = true;
        };
        let received = sent.map_err(|failure| match upload.and_then(|upload| upload.failure()) {
            Some(BodyError::TooLarge) => Rejection::BodyTooLarge,
            Some(BodyError::TooSlow) => Rejection::BodyTimeout,
            Some(BodyError::OutOfTime | BodyError::BrokenOff | BodyError::Reset(_)) => Rejection::BadBody,
            None => rejection(failure.error),
        })?;
        if received.has_switched() {
            return self.switched(received, timeouts);
        }
        let gap = Gap::new(timeouts.idle, until);
        match received {
            Received::Wire(answer) => answer.answer(&self, exchange, gap),
            Received::Stream(answer) => Ok(answer.answer(exchange, gap)),
        }
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
        let counted = Counted::new(&self.pool, worker);
        let leased = match self.pool.lease(&self.asks, timeouts.connect, until, fresh).await {
            Ok(leased) => leased,
            Err(error) => return Err(counted.failed(error, false)),
        };
        set_host(&self.onward.host, &self.pool, &mut request.head);
        let upload = request.body.upload().cloned();
        let patience = Patience { since: None, longest: timeouts.response_headers, until, upload, bytes: 0 };
        match leased {
            Leased::Wire(lease) => wire::send(self, lease, request, exchange, patience, counted, worker).await,
            Leased::Stream(lease) => {
                Box::pin(stream::send(self, lease, request, exchange, patience, counted, worker)).await
            }
        }
    }

    /// The answer that begins a tunnel, told as HTTP/1.1 tells it.
    fn switched(&self, received: Received, timeouts: &Timeouts) -> Result<Answer, Rejection> {
        let wanted = self.wanted.as_ref().ok_or(Rejection::UpstreamProtocol)?;
        let (mut head, upstream, held): (ResponseHead, End, Held) = match received {
            Received::Wire(mut answer) => {
                let head = std::mem::replace(&mut answer.head, ResponseHead::new(101));
                if let Some(key) = &self.key
                    && head.headers().get(&websocket::ACCEPT) != Some(websocket::accept(key).as_bytes())
                {
                    return Err(Rejection::UpstreamProtocol);
                }
                let (end, held) = answer.into_end()?;
                (head, end, held)
            }
            Received::Stream(answer) => answer.into_end()?,
        };
        let protocol = head.headers().get(&name::UPGRADE).and_then(Value::from_bytes);
        headers::from_upstream(&mut head);
        head.headers_mut().set(&name::CONNECTION, Value::known("upgrade"));
        head.headers_mut().set(&name::UPGRADE, protocol.as_ref().unwrap_or(wanted));
        let is_websocket = wanted.as_bytes().eq_ignore_ascii_case(b"websocket");
        let tunnel = upgrade::Tunnel { upstream, held, idle: timeouts.tunnel, is_websocket };
        Ok(Answer { response: Response::new(head, Body::empty()), tunnel: Some(tunnel) })
    }
}

/// How long an upstream may be silent: so long after it has taken the last of the request. While the client is slow with
/// its body, that time has not begun.
struct Patience {
    since: Option<Instant>,
    longest: Duration,
    /// When the whole request's time is up.
    until: Option<Instant>,
    upload: Option<Rc<Upload>>,
    bytes: u64,
}

impl Patience {
    /// Nothing was waited for before this.
    fn begins(&mut self, since: Instant) {
        self.since = Some(since);
    }

    /// The error once there is none left, as things stand.
    fn poll_ended(&mut self, cx: &mut Context<'_>, sent: Sent, alarm: &Alarm) -> Poll<AttemptError> {
        let bytes = self.upload.as_ref().map_or(0, |upload| upload.bytes());
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

/// Hands an interim answer on (RFC 9110 section 15.2). A 100 is ours to give: the client's expectation was not sent on.
fn relay_interim(mut head: ResponseHead, client: &Interim) {
    if head.status() != 100 {
        headers::from_upstream(&mut head);
        head.headers_mut().remove(&name::CONTENT_LENGTH);
        client.leave(&head);
    }
}

struct Failure {
    error: AttemptError,
    /// A connection that had served before ended before anything was answered: it may have died while it was idle. Or the
    /// endpoint has not begun with the request, and all of it is still here.
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
        AttemptError::Tls => Rejection::UpstreamTls,
        AttemptError::Unresolved => Rejection::UpstreamUnresolved,
        AttemptError::QueueFull => Rejection::UpstreamQueueFull,
        AttemptError::QueueTimeout => Rejection::UpstreamQueueTimeout,
        AttemptError::Silent => Rejection::UpstreamTimeout,
        AttemptError::OutOfTime => Rejection::TotalTimeout,
        AttemptError::Reset | AttemptError::Unprocessed => Rejection::UpstreamReset,
        AttemptError::Untranslatable => {
            Rejection::BadPath("This request cannot be sent on to the service behind this route.")
        }
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
