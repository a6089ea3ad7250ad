//! One attempt: a request to one endpoint, on one connection; and on a new one, where one that was idle had died.

use std::rc::Rc;

use super::patience::Patience;
use super::{Sending, stream, wire};
use crate::exchange::body::Gap;
use crate::exchange::{
    Alarm, Body, End, Headers, Rejection, Request, RequestBody, RequestHead, Response, ResponseHead, Value, name,
};
use crate::proxy::{Answer, headers, upgrade, websocket};
use crate::snapshot::Timeouts;
use crate::upstream::{AttemptError, Held, InFlight, Leased, Pool, Seat, Within};
use crate::worker::Worker;
use shared::config::ForwardHost;

/// What is needed to send a request to one endpoint.
pub(super) struct Attempt<'a> {
    pub(super) sending: &'a Sending<'a>,
    pub(super) pool: Rc<Pool>,
    /// Path and query, where they are not those that came.
    pub(super) target: Option<&'a str>,
    pub(super) timeouts: &'a Timeouts,
}

/// An answer whose head came.
pub(super) enum Received {
    Wire(wire::OnWire),
    Stream(stream::OnStream),
}

/// Why none came.
pub(super) struct Failure {
    pub(super) error: AttemptError,
    /// A connection that had served before ended before anything was answered: it may have died while it was idle. Or the
    /// endpoint has not begun with the request.
    pub(super) stale: bool,
    in_flight: InFlight,
}

/// What an attempt cost.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    /// How often it was sent: twice where an idle connection had died.
    pub(super) times: u32,
    /// From the request sent to the head received.
    pub(super) upstream_us: u64,
}

/// Counts an attempt with its endpoint, however it ends.
pub(super) struct Counted<'a> {
    pool: &'a Rc<Pool>,
    worker: &'a Worker,
    pub(super) in_flight: InFlight,
}

impl Counted<'_> {
    pub(super) fn failed(self, error: AttemptError, stale: bool) -> Failure {
        let now_us = self.worker.ledger.clock.now().unix_us;
        self.pool.cells.failed(error.kind(), now_us);
        // An idle connection's death is how keep-alive ends, not a fault of the endpoint.
        if error.blames_endpoint() && !(stale && error == AttemptError::Reset) {
            self.pool.endpoint.failed(now_us, error);
        }
        Failure { error, stale, in_flight: self.in_flight }
    }

    /// It broke off: by the endpoint's fault, unless it was the client's, whose body broke off.
    pub(super) fn broke(self, error: AttemptError, stale: bool, body: &RequestBody) -> Failure {
        let is_clients = body.upload().is_some_and(|upload| upload.failure().is_some());
        if is_clients { self.untold(error) } else { self.failed(error, stale) }
    }

    /// It could not be sent at all, which is not the endpoint's fault.
    pub(super) fn untold(self, error: AttemptError) -> Failure {
        Failure { error, stale: false, in_flight: self.in_flight }
    }
}

impl Received {
    fn head(&self) -> &ResponseHead {
        match self {
            Self::Wire(answer) => &answer.head,
            Self::Stream(answer) => &answer.head,
        }
    }

    /// The request's body, where the answer came before all of it was sent.
    pub(super) fn unsent(&self) -> Option<&RequestBody> {
        match self {
            Self::Wire(answer) => answer.unsent(),
            Self::Stream(answer) => answer.unsent(),
        }
    }

    /// Takes it back, to be sent to somebody else.
    pub(super) fn take_back(&mut self) -> Option<RequestBody> {
        match self {
            Self::Wire(answer) => answer.take_back(),
            Self::Stream(answer) => answer.take_back(),
        }
    }

    /// The answer's status.
    pub(super) fn status(&self) -> u16 {
        self.head().status()
    }

    /// Its headers.
    pub(super) fn headers(&self) -> &Headers {
        self.head().headers()
    }

    /// Whether the endpoint has changed to the protocol that was asked for.
    pub(super) fn has_switched(&self) -> bool {
        match self {
            Self::Wire(answer) => answer.head.status() == 101,
            Self::Stream(answer) => answer.has_switched(),
        }
    }
}

impl Attempt<'_> {
    /// Sends the request and waits for the answer's head. `seat`: its place among those under way.
    pub(super) async fn send(
        &self,
        request: &mut Request,
        seat: Option<Seat>,
        cost: &mut Cost,
        worker: &Rc<Worker>,
    ) -> Result<Received, AttemptError> {
        let Sending { host, asks, until, .. } = self.sending;
        let within = Within { connect: self.timeouts.connect, tls: self.timeouts.tls };
        let mut in_flight = InFlight::start(&self.pool, seat);
        loop {
            cost.times += 1;
            let fresh = cost.times > 1;
            let counted = Counted { pool: &self.pool, worker, in_flight };
            let leased = match self.pool.lease(asks, within, *until, fresh).await {
                Ok(leased) => leased,
                Err(error) => return Err(counted.failed(error, false).error),
            };
            set_host(host, &self.pool, &mut request.head);
            let patience = Patience::new(self.timeouts, *until, request.body.upload().cloned());
            let us = &mut cost.upstream_us;
            let received = match leased {
                Leased::Wire(lease) => wire::send(self, lease, request, us, patience, counted, worker).await,
                Leased::Stream(lease) => {
                    Box::pin(stream::send(self, lease, request, us, patience, counted, worker)).await
                }
            };
            let failure = match received {
                Ok(received) => return Ok(received),
                Err(failure) => failure,
            };
            // Where nothing was done with it any request may be sent again, as long as all of it is still here.
            let unharmed = failure.error == AttemptError::Unprocessed
                || (failure.error == AttemptError::Reset
                    && self.sending.is_idempotent
                    && self.sending.wanted.is_none());
            if fresh || !failure.stale || !unharmed || !request.body.is_repeatable() {
                return Err(failure.error);
            }
            request.body.rewind();
            in_flight = failure.in_flight;
        }
    }

    /// The answer, as one of our own hop.
    pub(super) fn answer(&self, received: Received, to_head: bool, alarm: &Rc<Alarm>) -> Result<Answer, Rejection> {
        if received.has_switched() {
            return self.switched(received);
        }
        let gap = Gap::new(self.timeouts.idle, self.sending.until);
        Ok(match received {
            Received::Wire(answer) => answer.answer(self, gap, alarm),
            Received::Stream(answer) => answer.answer(to_head, gap, alarm),
        })
    }

    /// The answer that begins a tunnel, told as HTTP/1.1 tells it.
    fn switched(&self, received: Received) -> Result<Answer, Rejection> {
        let wanted = self.sending.wanted.as_ref().ok_or(Rejection::UpstreamProtocol)?;
        let (mut head, upstream, held): (ResponseHead, End, Held) = match received {
            Received::Wire(mut answer) => {
                let head = std::mem::replace(&mut answer.head, ResponseHead::new(101));
                if let Some(key) = &self.sending.key
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
        let tunnel = upgrade::Tunnel { upstream, held, idle: self.timeouts.tunnel, is_websocket };
        Ok(Answer { response: Response::new(head, Body::empty()), tunnel: Some(Box::new(tunnel)) })
    }
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
