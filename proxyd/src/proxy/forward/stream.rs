//! A request on a stream of HTTP/2, and the head of its answer.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, ready};

use h2::client::ResponseFuture;
use h2::ext::Protocol;
use h2::{Reason, RecvStream};
use http::{Method, Request as HttpRequest, StatusCode};

use super::attempt::{Attempt, Counted, Failure, Received};
use super::patience::Patience;
use super::{MAX_INTERIM, relay_interim};
use crate::exchange::body::Gap;
use crate::exchange::{
    Alarm, Body, End, Interim, Rejection, Request, RequestBody, RequestHead, Response, ResponseHead, StreamBody, Value,
    name, translate,
};
use crate::proxy::{Answer, headers, websocket};
use crate::upstream::pump::{PumpError, Sent};
use crate::upstream::{AttemptError, Held, StreamLease, StreamPump, StreamRelay};
use crate::worker::Worker;

/// An answer's head, and the stream that its body comes on.
pub(super) struct OnStream {
    pub(super) head: ResponseHead,
    body: StreamBody,
    lease: StreamLease,
    /// What is still to be sent of the request.
    pump: Option<StreamPump>,
    tunnel: Option<Asked>,
}

/// A tunnel that was asked for.
struct Asked {
    /// The client's key, where it is to be a WebSocket.
    key: Option<Box<str>>,
}

/// Sends the request and waits for the answer's head.
pub(super) async fn send(
    attempt: &Attempt<'_>,
    mut lease: StreamLease,
    request: &mut Request,
    upstream_us: &mut u64,
    mut patience: Patience,
    counted: Counted<'_>,
    worker: &Worker,
) -> Result<Received, Failure> {
    let key = || request.head.headers().text(&websocket::KEY).map(Into::into);
    let tunnel = attempt.sending.wanted.is_some().then(|| Asked { key: key() });
    if tunnel.is_some() && !lease.takes_tunnels().await {
        return Err(counted.untold(AttemptError::NoTunnel));
    }
    // The client's doing: no failure of the endpoint.
    let Some(outgoing) = translated(attempt, &request.head) else {
        return Err(counted.untold(AttemptError::Untranslatable));
    };
    let ends = request.body.is_empty() && tunnel.is_none();
    let clock = &worker.ledger.clock;
    let began = clock.now();
    patience.begins(worker.daemon.instant(began));
    let (response, stream) = match lease.send.send_request(outgoing, ends) {
        Ok(sent) => sent,
        Err(error) => {
            // The connection has ended, or takes no more: nothing went out.
            lease.close();
            tracing::debug!(%error, "a request could not go out on a stream");
            return Err(counted.failed(AttemptError::Unprocessed, true));
        }
    };
    let Request { body, interim, alarm, .. } = request;
    let mut pump = Some(StreamPump::new(body.lend(), stream));
    let received = receive(response, &mut pump, body, tunnel.is_some(), patience, interim, alarm).await;
    let took_us = clock.now().since_us(began);
    *upstream_us += took_us;
    match received {
        Ok((head, body)) => {
            attempt.pool.cells.responded(took_us);
            lease.counts(counted.in_flight);
            Ok(Received::Stream(OnStream { head, body, lease, pump, tunnel }))
        }
        Err(error) => {
            if let Some(pump) = pump {
                *body = pump.into_body();
            }
            let stale = error == AttemptError::Unprocessed || (lease.reused && error == AttemptError::Reset);
            Err(counted.broke(error, stale, body))
        }
    }
}

/// The request as HTTP/2 has it (RFC 9113 section 8.3.1); none where it has no such form.
fn translated(attempt: &Attempt<'_>, head: &RequestHead) -> Option<HttpRequest<()>> {
    let authority = head.headers().text(&name::HOST)?;
    let own;
    let target = match (attempt.target, head.query()) {
        (Some(target), _) => target,
        (None, None) => head.path(),
        (None, Some(query)) => {
            own = format!("{}?{query}", head.path());
            &own
        }
    };
    let uri = translate::uri(attempt.pool.way.scheme(), authority, target)?;
    let mut request = HttpRequest::new(());
    *request.uri_mut() = uri;
    *request.method_mut() = Method::from_bytes(head.method().as_bytes()).ok()?;
    *request.headers_mut() = translate::fields(head.headers(), "host");
    request.headers_mut().remove(http::header::CONNECTION);
    if let Some(protocol) = &attempt.sending.wanted {
        *request.method_mut() = Method::CONNECT;
        request.extensions_mut().insert(Protocol::from(std::str::from_utf8(protocol.as_bytes()).ok()?));
        for gone in [http::header::UPGRADE, http::header::SEC_WEBSOCKET_KEY] {
            request.headers_mut().remove(gone);
        }
    }
    Some(request)
}

/// Sends the request's body and waits for the final answer's head.
async fn receive(
    mut response: ResponseFuture,
    pump: &mut Option<StreamPump>,
    spent: &mut RequestBody,
    tunnels: bool,
    mut patience: Patience,
    client: &Interim,
    alarm: &Alarm,
) -> Result<(ResponseHead, StreamBody), AttemptError> {
    let mut interim = 0;
    poll_fn(|cx| {
        let mut sent = Sent::Whole;
        // Of a tunnel nothing goes out before it is one.
        if let (Some(pumping), false) = (&mut *pump, tunnels) {
            match pumping.poll(cx) {
                // It may have answered all the same, or says now why it takes no more.
                Ok(Sent::Whole) | Err(PumpError::Upstream) => put_back(pump, spent),
                Ok(partly) => sent = partly,
                Err(PumpError::Client(_)) => {
                    pumping.reset();
                    return Poll::Ready(Err(AttemptError::Reset));
                }
            }
        }
        while let Poll::Ready(Some(hint)) = response.poll_informational(cx) {
            let hint = hint.map_err(|error| failure(&error))?;
            interim += 1;
            // No protocol is changed on a stream (RFC 9113 section 8.6).
            if interim > MAX_INTERIM || hint.status() == StatusCode::SWITCHING_PROTOCOLS {
                return Poll::Ready(Err(AttemptError::Protocol));
            }
            if let Some(head) = translate::response_head(hint.status(), hint.headers()) {
                relay_interim(head, client);
            }
        }
        match std::pin::Pin::new(&mut response).poll(cx) {
            Poll::Ready(Ok(answer)) => Poll::Ready(head_of(answer)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(failure(&error))),
            Poll::Pending => {
                let error = ready!(patience.poll_ended(cx, sent, alarm));
                Poll::Ready(Err(error))
            }
        }
    })
    .await
}

/// Nothing more is sent of the body: it is the request's again.
fn put_back(pump: &mut Option<StreamPump>, body: &mut RequestBody) {
    if let Some(pump) = pump.take() {
        *body = pump.into_body();
    }
}

fn head_of(answer: http::Response<RecvStream>) -> Result<(ResponseHead, StreamBody), AttemptError> {
    let (parts, stream) = answer.into_parts();
    let head = translate::response_head(parts.status, &parts.headers).ok_or(AttemptError::Protocol)?;
    let announced = match head.headers().only(&name::CONTENT_LENGTH) {
        Some(length) => std::str::from_utf8(length).ok().and_then(|length| length.parse().ok()),
        None => None,
    };
    Ok((head, StreamBody::new(stream, announced)))
}

fn failure(error: &h2::Error) -> AttemptError {
    match error.reason() {
        Some(Reason::REFUSED_STREAM) if error.is_reset() && error.is_remote() => AttemptError::Unprocessed,
        // Streams above the last one that the endpoint names are told so; those below it end with the connection.
        Some(_) if error.is_go_away() && error.is_remote() => AttemptError::Unprocessed,
        Some(Reason::PROTOCOL_ERROR) if error.is_library() => AttemptError::Protocol,
        _ => AttemptError::Reset,
    }
}

impl OnStream {
    /// The request's body, where the answer came before all of it was sent.
    pub(super) fn unsent(&self) -> Option<&RequestBody> {
        self.pump.as_ref().map(StreamPump::body)
    }

    /// Takes it back: nothing more is sent of it here.
    pub(super) fn take_back(&mut self) -> Option<RequestBody> {
        let mut pump = self.pump.take()?;
        pump.reset();
        Some(pump.into_body())
    }

    /// Whether a tunnel begins (RFC 8441 section 5).
    pub(super) fn has_switched(&self) -> bool {
        self.tunnel.is_some() && (200..300).contains(&self.head.status())
    }

    /// The answer, as one of our own hop.
    pub(super) fn answer(self, to_head: bool, gap: Gap, alarm: &Rc<Alarm>) -> Answer {
        let Self { mut head, body, lease, pump, tunnel: _ } = self;
        headers::from_upstream(&mut head);
        // What follows such a head all the same is nothing, or is not meant (RFC 9110 section 6.4.1).
        let has_none = to_head || matches!(head.status(), 204 | 304);
        let relay = if has_none { None } else { StreamRelay::start(lease, pump, body, gap, alarm) };
        let body = relay.map_or_else(Body::absent, |relay| Body::relayed(Box::new(relay)));
        Response::new(head, body).into()
    }

    /// The stream as a tunnel's side, with the head that a client of HTTP/1.1 would be answered with.
    pub(super) fn into_end(self) -> Result<(ResponseHead, End, Held), Rejection> {
        let Self { head, body, lease, pump, tunnel } = self;
        let mut switched = ResponseHead::new(101);
        for (field, value) in head.headers().iter() {
            let _ = switched.headers_mut().push(field.as_bytes(), value);
        }
        if let Some(Asked { key: Some(key) }) = tunnel
            && let Some(accept) = Value::parse(&websocket::accept(&key))
        {
            switched.headers_mut().set(&websocket::ACCEPT, accept);
        }
        let send = pump.ok_or(Rejection::Internal)?.into_send();
        Ok((switched, End::Stream { body, send, seat: None }, Held::Stream(lease)))
    }
}
