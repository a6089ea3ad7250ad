//! Forwarding: the upstream's share, the endpoint's turn, a connection, the request, the answer; and, where that is safe,
//! once more on a new connection when the one that was idle had died.

use std::borrow::Cow;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http::uri::PathAndQuery;
use hyper::body::Incoming;
use shared::config::{ForwardHost, Share};
use shared::routing::rewrite::{pick_share, upstream_path};
use tokio::time::Instant;

use super::{Answer, headers, upgrade};
use crate::exchange::body::BodyError;
use crate::exchange::{
    Body, Exchange, Headers, Rejection, Request, RequestBody, RequestHead, Response, ResponseHead, Upload, Value, name,
};
use crate::snapshot::{Forward, Timeouts};
use crate::upstream::{AttemptError, InFlight, Lease, LocalUpstream, Pool};
use crate::worker::{Local, Worker};

/// Forwards a request.
pub(super) async fn forward(
    onward: &Forward,
    exchange: &mut Exchange,
    request: Request,
    local: &Local,
    worker: &Rc<Worker>,
) -> Result<Answer, Rejection> {
    let share = match &*onward.shares {
        [only] => only,
        shares => pick_share(shares, worker.ledger.random.next_u64()).ok_or(Rejection::Internal)?,
    };
    let upstream = local.upstream(share.upstream, worker).ok_or(Rejection::Internal)?;
    let timeouts = onward.timeouts(&upstream.upstream.timeouts);
    let attempt = Attempt::prepare(onward, share, upstream, exchange, &request.head)?;
    let within = timeouts.total.map(|total| Instant::now() + total);
    match within {
        None => attempt.run(request, exchange, &timeouts, None, worker).await,
        Some(until) => {
            match tokio::time::timeout_at(until, attempt.run(request, exchange, &timeouts, within, worker)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(Rejection::TotalTimeout),
            }
        }
    }
}

/// What is needed to send a request to one endpoint, once or again.
struct Attempt<'a> {
    onward: &'a Forward,
    pool: Rc<Pool>,
    uri: Uri,
    /// The protocol that the client asks to change to.
    wanted: Option<Value>,
}

impl<'a> Attempt<'a> {
    fn prepare(
        onward: &'a Forward,
        share: &Share,
        upstream: &Rc<LocalUpstream>,
        exchange: &mut Exchange,
        head: &RequestHead,
    ) -> Result<Self, Rejection> {
        let pool = upstream.next().ok_or(Rejection::Internal)?;
        exchange.finish.forwarded(&pool.tag);
        let uri = target(onward, share, exchange, head)?;
        Ok(Self { onward, pool: Rc::clone(pool), uri, wanted: headers::upgrade_wanted(head) })
    }

    async fn run(
        self,
        request: Request,
        exchange: &mut Exchange,
        timeouts: &Timeouts,
        until: Option<Instant>,
        worker: &Rc<Worker>,
    ) -> Result<Answer, Rejection> {
        let Request { mut head, body } = request;
        let upload = body.upload().cloned();
        let upgrade = self.wanted.is_some().then(|| head.take_upgrade()).flatten();
        let repeatable = body.is_empty() && upgrade.is_none() && is_idempotent(head.method());
        let again = repeatable.then(|| head.duplicate());
        let first = self.send(head, body, exchange, timeouts, false, worker).await;
        let sent = match (first, again) {
            (Err(Failure { error: AttemptError::Reset, reused: true }), Some(head)) => {
                self.send(head, RequestBody::empty(), exchange, timeouts, true, worker).await
            }
            (first, _) => first,
        };
        let (response, lease) = sent.map_err(|failure| match upload.and_then(|upload| upload.failure()) {
            Some(BodyError::TooLarge) => Rejection::BodyTooLarge,
            Some(BodyError::TooSlow) => Rejection::BodyTimeout,
            Some(BodyError::OutOfTime | BodyError::BrokenOff) => Rejection::BadBody,
            None => rejection(failure.error),
        })?;
        answer(response, lease, upgrade, timeouts.idle, until)
    }

    /// One attempt: a connection, the request, the answer's head.
    async fn send(
        &self,
        mut head: RequestHead,
        body: RequestBody,
        exchange: &mut Exchange,
        timeouts: &Timeouts,
        fresh: bool,
        worker: &Rc<Worker>,
    ) -> Result<(http::Response<Incoming>, Lease), Failure> {
        exchange.finish.attempts += 1;
        let pool = &self.pool;
        let counted = Counted::new(pool, worker);
        let mut lease = match pool.lease(timeouts.connect, fresh).await {
            Ok(lease) => lease,
            Err(error) => return Err(counted.failed(error, false)),
        };
        let reused = lease.reused;
        let upload = body.upload().cloned();
        if let Some(upload) = &upload {
            lease.carries(upload);
        }
        headers::upstream(exchange, &mut head, self.wanted.clone());
        set_host(&self.onward.host, pool, &mut head);
        let request = head.into_request(self.uri.clone(), body);
        let sent = worker.ledger.clock.now();
        let Some(sender) = lease.sender() else { return Err(counted.failed(AttemptError::Reset, reused)) };
        let answered = within(timeouts.response_headers, upload.as_deref(), sender.send_request(request)).await;
        let took_us = worker.ledger.clock.now().since_us(sent);
        exchange.finish.upstream_us += took_us;
        match answered {
            Some(Ok(response)) => {
                pool.cells.responded(took_us);
                lease.counts(counted.in_flight);
                Ok((response, lease))
            }
            Some(Err(error)) => {
                let error = if error.is_parse() { AttemptError::Protocol } else { AttemptError::Reset };
                Err(counted.failed(error, reused))
            }
            None => Err(counted.failed(AttemptError::Silent, reused)),
        }
    }
}

/// Waits for an answer, so long after the request was sent. While its body still goes out that time has not begun; but an
/// upstream that takes no byte of it for as long is silent too.
async fn within<T>(longest: Duration, upload: Option<&Upload>, answer: impl Future<Output = T>) -> Option<T> {
    let mut answer = pin!(answer);
    let mut timer = pin!(tokio::time::sleep(longest));
    let mut bytes = 0;
    loop {
        tokio::select! {
            biased;
            answer = &mut answer => return Some(answer),
            () = &mut timer => {}
        }
        let upload = upload?;
        match upload.ended_at() {
            Some(ended) if ended + longest > timer.deadline() => timer.as_mut().reset(ended + longest),
            None if upload.bytes() > bytes => {
                bytes = upload.bytes();
                let next = timer.deadline() + longest;
                timer.as_mut().reset(next);
            }
            Some(_) | None => return None,
        }
    }
}

struct Failure {
    error: AttemptError,
    /// On a connection that had served before: it may have died while it was idle.
    reused: bool,
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

    fn failed(&self, error: AttemptError, reused: bool) -> Failure {
        let now_us = self.worker.ledger.clock.now().unix_us;
        self.pool.cells.failed(error.kind(), now_us);
        // An idle connection's death is how keep-alive ends, not a fault of the endpoint.
        if error.blames_endpoint() && !(reused && error == AttemptError::Reset) {
            self.pool.endpoint.failed(now_us, error);
        }
        Failure { error, reused }
    }
}

fn answer(
    response: http::Response<Incoming>,
    lease: Lease,
    upgrade: Option<hyper::upgrade::OnUpgrade>,
    idle: Duration,
    until: Option<Instant>,
) -> Result<Answer, Rejection> {
    let (mut parts, incoming) = response.into_parts();
    let switched = parts.status == http::StatusCode::SWITCHING_PROTOCOLS;
    let theirs = switched.then(|| parts.extensions.remove::<hyper::upgrade::OnUpgrade>()).flatten();
    let mut head = ResponseHead::from_engine(parts);
    if switched {
        let (Some(client), Some(upstream)) = (upgrade, theirs) else { return Err(Rejection::UpstreamProtocol) };
        let protocol = head.headers().get(&name::UPGRADE).and_then(Value::from_bytes);
        headers::from_upstream(head.headers_mut());
        head.headers_mut().set(&name::CONNECTION, Value::known("upgrade"));
        if let Some(protocol) = protocol {
            head.headers_mut().set(&name::UPGRADE, protocol);
        }
        let tunnel = upgrade::Tunnel { client, upstream, lease: lease.into_tunnel() };
        return Ok(Answer { response: Response { head, body: Body::empty() }, tunnel: Some(tunnel) });
    }
    headers::from_upstream(head.headers_mut());
    let body = Body::relayed(incoming, idle, until, Box::new(lease));
    Ok(Response { head, body }.into())
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

/// The target that the upstream sees: what the client sent, where nothing changed it.
fn target(onward: &Forward, share: &Share, exchange: &Exchange, head: &RequestHead) -> Result<Uri, Rejection> {
    let path = upstream_path(exchange.path(), onward.rewrite.as_ref(), &share.path_prefix);
    if *path == *head.raw_path()
        && let Some(unchanged) = head.path_and_query()
    {
        return Ok(Uri::from(unchanged.clone()));
    }
    let target = if head.has_query() { Cow::Owned(format!("{path}?{}", head.query())) } else { path };
    let target = Bytes::from(target.into_owned());
    PathAndQuery::from_maybe_shared(target)
        .map(Uri::from)
        .map_err(|_| Rejection::BadPath("The path cannot be forwarded."))
}

fn set_host(host: &ForwardHost, pool: &Pool, head: &mut RequestHead) {
    let authority = head.authority().map(str::to_owned);
    let headers: &mut Headers = head.headers_mut();
    let host = match host {
        ForwardHost::Keep => match authority {
            Some(authority) => authority,
            None if headers.has(&name::HOST) => return,
            None => pool.endpoint.address.to_string(),
        },
        ForwardHost::Target => pool.endpoint.address.to_string(),
        ForwardHost::Name(name) => name.to_string(),
    };
    if let Some(host) = Value::parse(&host) {
        headers.set(&name::HOST, host);
    }
}
