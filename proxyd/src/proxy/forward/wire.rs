//! A request on a connection of HTTP/1.1, and the head of its answer.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, ready};

use http1::{Framing, HeadError, HeadLimits, HeadParser, Incoming, persists, response_framing};

use super::attempt::{Attempt, Counted, Failure, Received};
use super::patience::Patience;
use super::{MAX_INTERIM, relay_interim};
use crate::exchange::body::Gap;
use crate::exchange::{Alarm, Body, End, Interim, Rejection, Request, RequestBody, Response, ResponseHead, name};
use crate::proxy::{Answer, headers};
use crate::upstream::pump::{PumpError, Sent};
use crate::upstream::{AttemptError, Held, Lease, Pump, Relay, room};
use crate::worker::Worker;

/// How large the head of an answer may be.
const HEAD_LIMITS: HeadLimits = HeadLimits { start_line: 8 * 1024, fields: 120 * 1024, count: 256 };

/// An answer's head, and the connection that its body comes on.
pub(super) struct OnWire {
    pub(super) head: ResponseHead,
    framing: Framing,
    lease: Lease,
    /// What is still to be sent of the request.
    pump: Option<Pump>,
}

/// Sends the request and waits for the answer's head. Where none comes, the body is the request's again, so far as it was not
/// sent.
pub(super) async fn send(
    attempt: &Attempt<'_>,
    mut lease: Lease,
    request: &mut Request,
    upstream_us: &mut u64,
    mut patience: Patience,
    counted: Counted<'_>,
    worker: &Worker,
) -> Result<Received, Failure> {
    let Request { head, body, interim, alarm, .. } = request;
    let going = body.lend();
    let tells_length = head.headers().has(&name::CONTENT_LENGTH);
    let mut pump = Some(Pump::start(going, tells_length, |out| head.write(attempt.target, out)));
    // On a connection that was there, nothing was waited for since the request was opened.
    let clock = &worker.ledger.clock;
    let sent = if lease.reused { clock.latest() } else { clock.now() };
    patience.begins(worker.daemon.instant(sent));
    let wanted = room(attempt.pool.expected());
    let to_head = head.method() == "HEAD";
    let received = receive(&mut lease, &mut pump, body, patience, interim, alarm, wanted).await;
    let took_us = clock.now().since_us(sent);
    *upstream_us += took_us;
    let framed = received.and_then(|head| match response_framing(&head, to_head) {
        // What follows it is another protocol.
        _ if head.status() == 101 => Ok((head, Framing::None)),
        Ok(framing) => Ok((head, framing)),
        Err(fault) => {
            tracing::debug!(endpoint = %attempt.pool.endpoint.address, %fault, "an upstream's answer is malformed");
            Err((AttemptError::Protocol, false))
        }
    });
    match framed {
        Ok((head, framing)) => {
            attempt.pool.cells.responded(took_us);
            lease.counts(counted.in_flight);
            Ok(Received::Wire(OnWire { head, framing, lease, pump }))
        }
        Err((error, stale)) => {
            if let Some(pump) = pump {
                *body = pump.into_body();
            }
            Err(counted.broke(error, stale && lease.reused, body))
        }
    }
}

impl OnWire {
    /// The request's body, where the answer came before all of it was sent.
    pub(super) fn unsent(&self) -> Option<&RequestBody> {
        self.pump.as_ref().map(Pump::body)
    }

    /// Takes it back: nothing more is sent of it here.
    pub(super) fn take_back(&mut self) -> Option<RequestBody> {
        let pump = self.pump.take()?;
        self.lease.spoil();
        Some(pump.into_body())
    }

    /// The answer, as one of our own hop.
    pub(super) fn answer(self, attempt: &Attempt<'_>, gap: Gap, alarm: &Rc<Alarm>) -> Answer {
        let Self { mut head, framing, lease, pump } = self;
        let keeps = framing != Framing::Close && persists(head.headers(), head.version()) && !owes_more(&head);
        headers::from_upstream(&mut head);
        let incoming = Incoming::new(framing);
        attempt.pool.note_answer(incoming.left().map_or(0, |left| usize::try_from(left).unwrap_or(usize::MAX)));
        let relay = Relay::start(lease, pump, incoming, keeps, gap, alarm);
        let body = relay.map_or_else(Body::absent, |relay| Body::relayed(Box::new(relay)));
        Response::new(head, body).into()
    }

    /// The connection, once its endpoint has changed the protocol.
    pub(super) fn into_end(self) -> Result<(End, Held), Rejection> {
        let (wire, lease) = self.lease.into_tunnel().ok_or(Rejection::Internal)?;
        Ok((End::Wire(wire), Held::Connection(lease)))
    }
}

/// Sends the request and waits for the final answer's head. An error tells beside it whether the connection ended before
/// anything was answered.
async fn receive(
    lease: &mut Lease,
    pump: &mut Option<Pump>,
    spent: &mut RequestBody,
    mut patience: Patience,
    client: &Interim,
    alarm: &Alarm,
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
                Ok(Sent::Whole) => put_back(pump, spent),
                Ok(partly) => sent = partly,
                // It may have answered all the same: with that it is over, and without it the connection broke.
                Err(PumpError::Upstream) => {
                    put_back(pump, spent);
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
                    relay_interim(head, client);
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
                    let error = ready!(patience.poll_ended(cx, sent, alarm));
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

/// Nothing more is sent of the body: it is the request's again.
fn put_back(pump: &mut Option<Pump>, body: &mut RequestBody) {
    if let Some(pump) = pump.take() {
        *body = pump.into_body();
    }
}

/// Whether a body may follow that is none: a 204 has no body (RFC 9110 section 15.3.5), and what it announces all the same
/// would be taken for the next answer.
fn owes_more(head: &ResponseHead) -> bool {
    let headers = head.headers();
    head.status() == 204
        && (headers.has(&name::TRANSFER_ENCODING)
            || headers.get(&name::CONTENT_LENGTH).is_some_and(|length| length != b"0"))
}
