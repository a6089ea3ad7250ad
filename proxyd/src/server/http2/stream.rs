//! One stream: a request of HTTP/2, told in the terms of the exchange, and its answer.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::ext::Protocol;
use h2::server::SendResponse;
use http::{Method, Request as HttpRequest, Response as HttpResponse};
use http1::{Framing, HeadLimits, request_framing};

use super::Seat;
use super::respond::{Answer, respond};
use crate::exchange::{
    Alarm, Hints, Interim, Name, Peer, Rejection, Request, RequestBody, RequestHead, StreamBody, name, translate,
};
use crate::proxy::{self, websocket};
use crate::server::fall::Fall;
use crate::server::unasked::{self, head_limits};
use crate::worker::Worker;

/// See the module.
pub(super) struct Stream {
    request: HttpRequest<RecvStream>,
    respond: SendResponse<Bytes>,
    peer: Rc<Peer>,
    worker: Rc<Worker>,
    seat: Seat,
}

/// A request, ready to be served.
struct Opened {
    request: Request,
    hints: Rc<Hints>,
    alarm: Rc<Alarm>,
    /// What comes on a stream that is to become a tunnel.
    tunnel: Option<StreamBody>,
}

impl Stream {
    pub(super) fn new(
        request: HttpRequest<RecvStream>,
        respond: SendResponse<Bytes>,
        peer: &Rc<Peer>,
        worker: &Rc<Worker>,
        seat: Seat,
    ) -> Self {
        Self { request, respond, peer: Rc::clone(peer), worker: Rc::clone(worker), seat }
    }

    /// Serves it to its end.
    pub(super) async fn serve(self) {
        let Self { request, respond: mut responding, peer, worker, seat } = self;
        let _fall = Fall::of(&worker);
        let (limits, gap, stall) = bounds(&worker);
        let to_head = request.method() == Method::HEAD;
        let opened = match open(request, &limits, gap, &worker) {
            Ok(opened) => opened,
            Err(rejection) => {
                refuse(responding, &rejection, to_head, &peer, &worker, stall).await;
                return;
            }
        };
        let Opened { request, hints, alarm, tunnel } = opened;
        let answer = {
            // Within this task, which is on the heap: a stream lives for one request.
            let mut answer = pin!(proxy::handle(request, &peer, &worker));
            poll_fn(|cx| {
                if let Poll::Ready(response) = answer.as_mut().poll(cx) {
                    return Poll::Ready(Some(response));
                }
                send_hints(&hints, &mut responding);
                // A client that resets the stream takes the whole exchange along.
                if has_left(&mut responding, cx) { Poll::Ready(None) } else { Poll::Pending }
            })
            .await
        };
        let Some(response) = answer else { return };
        send_hints(&hints, &mut responding);
        let answer = Answer { response, to_head, tunnel, alarm, stall, seat: Some(seat) };
        respond(responding, answer, &worker).await;
    }
}

fn bounds(worker: &Worker) -> (HeadLimits, Duration, Duration) {
    let local = worker.local();
    let server = &local.snapshot.checked.config.server;
    (head_limits(&server.limits), server.timeouts.request_body, server.timeouts.write)
}

fn has_left(responding: &mut SendResponse<Bytes>, cx: &mut Context<'_>) -> bool {
    responding.poll_reset(cx).is_ready()
}

/// Sends the interim answers that the exchange left.
fn send_hints(hints: &Hints, responding: &mut SendResponse<Bytes>) {
    for hint in hints.borrow_mut().drain(..) {
        let mut interim = HttpResponse::new(());
        if let Ok(status) = http::StatusCode::from_u16(hint.status()) {
            *interim.status_mut() = status;
            *interim.headers_mut() = translate::fields(hint.headers(), "");
            let _ = responding.send_informational(interim);
        }
    }
}

fn open(
    request: HttpRequest<RecvStream>,
    limits: &HeadLimits,
    gap: Duration,
    worker: &Worker,
) -> Result<Opened, Rejection> {
    let (mut parts, stream) = request.into_parts();
    let protocol = parts.extensions.remove::<Protocol>();
    if protocol.is_some() {
        // What it asks for is what `Upgrade` asks for with GET (RFC 8441 section 5).
        parts.method = Method::GET;
    }
    let mut head = translate::request_head(&parts, limits).map_err(Rejection::Head)?;
    if let Some(protocol) = &protocol {
        upgrade(&mut head, protocol, worker)?;
    }
    let framing = request_framing(&head).map_err(Rejection::Head)?;
    let awaits_continue =
        head.headers().get(&name::EXPECT).is_some_and(|expects| expects.eq_ignore_ascii_case(b"100-continue"));
    let (hints, alarm) = (Rc::<Hints>::default(), Rc::<Alarm>::default());
    let interim = Interim::Stream(Rc::clone(&hints));
    let announced = if let Framing::Length(length) = framing { Some(length) } else { None };
    let came = StreamBody::new(stream, announced);
    let (body, tunnel) = match protocol {
        Some(_) => (RequestBody::empty(), Some(came)),
        None => (RequestBody::streamed(came, interim.clone(), &alarm, gap, awaits_continue), None),
    };
    let extended = tunnel.is_some();
    let request = Request { head, body, interim, extended, alarm: Rc::clone(&alarm) };
    Ok(Opened { request, hints, alarm, tunnel })
}

/// Makes an extended CONNECT the upgrade that it is in HTTP/1.1.
fn upgrade(head: &mut RequestHead, protocol: &Protocol, worker: &Worker) -> Result<(), Rejection> {
    let headers = head.headers_mut();
    let told = headers.push(b"connection", b"upgrade") && headers.push(b"upgrade", protocol.as_str().as_bytes());
    // What changes nothing must not go on as the GET that it has become.
    if !told || Name::parse(protocol.as_str()).is_none() || proxy::upgrade_wanted(head, true).is_none() {
        return Err(Rejection::Head(http1::Fault::FieldValue));
    }
    let headers = head.headers_mut();
    if protocol.as_str().eq_ignore_ascii_case("websocket") {
        headers.set_text(&websocket::KEY, websocket::key(&worker.ledger.random).as_bytes());
    }
    Ok(())
}

/// Answers what is no request; recorded all the same, with what is known of it.
async fn refuse(
    responding: SendResponse<Bytes>,
    rejection: &Rejection,
    to_head: bool,
    peer: &Rc<Peer>,
    worker: &Rc<Worker>,
    stall: Duration,
) {
    let response = unasked::refuse(peer, rejection, "HTTP/2", worker);
    let answer = Answer { response, to_head, tunnel: None, alarm: Rc::default(), stall, seat: None };
    respond(responding, answer, worker).await;
}
