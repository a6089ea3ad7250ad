//! An answer onto a stream: its head, its body as it comes and as the client takes it, its trailer fields.

use std::any::Any;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::{Response as HttpResponse, StatusCode};
use http1::Ready;
use tokio::time::Instant;

use super::Seat;
use crate::exchange::body::BodyError;
use crate::exchange::{
    Alarm, Body, End, Response, ResponseHead, StreamBody, Value, clean_trailers, name, poll_room, translate,
};
use crate::proxy::websocket;
use crate::server::date::date;
use crate::worker::Worker;

/// An answer, and what is needed to send it.
pub(super) struct Answer {
    pub(super) response: Response,
    pub(super) to_head: bool,
    /// What comes on a stream that is to become a tunnel.
    pub(super) tunnel: Option<StreamBody>,
    pub(super) alarm: Rc<Alarm>,
    /// A client that takes nothing for so long has left.
    pub(super) stall: Duration,
    /// Its place among the connection's streams.
    pub(super) seat: Option<Seat>,
}

enum Failure {
    Gone,
    /// It took nothing for too long.
    Stalled,
    Body(BodyError),
}

/// Sends it to its end.
pub(super) async fn respond(mut responding: SendResponse<Bytes>, answer: Answer, worker: &Worker) {
    let Answer { response, to_head, tunnel, alarm, stall, seat } = answer;
    let Response { mut head, mut body, takeover } = response;
    let switches = head.status() == 101;
    frame(&mut head, &mut body, to_head);
    let fields = translated(&head, worker);
    let ends = !switches && body.is_over();
    // It fails where the client is gone.
    let Ok(mut send) = responding.send_response(fields, ends) else { return };
    if let (true, Some(takeover), Some(came)) = (switches, takeover, tunnel) {
        let seat = seat.map(|seat| -> Box<dyn Any> { Box::new(seat) });
        return takeover(End::Stream { body: came, send, seat });
    }
    if ends {
        return finish(&mut body).await;
    }
    // Held to the end: a connection whose streams are all over is idle.
    let _seat = seat;
    let mut writing = Writing { send: &mut send, alarm: &alarm, stall, stalls: None };
    match poll_fn(|cx| writing.poll(cx, &mut body)).await {
        Ok(()) => body.end(Ok(())),
        Err(Failure::Gone) => {}
        Err(Failure::Stalled) => {
            send.send_reset(Reason::CANCEL);
            worker.ledger.metrics.connection_error("write_timeout");
            body.stalled();
        }
        Err(Failure::Body(error)) => {
            send.send_reset(reason(error));
            body.end(Err(error));
        }
    }
}

/// The end of a body of which nothing more comes: its source learns that it is over.
async fn finish(body: &mut Body) {
    let ended = poll_fn(|cx| Poll::Ready(body.poll_ready(cx))).await;
    if !matches!(ended, Poll::Ready(Err(_))) {
        body.end(Ok(()));
    }
}

/// What a client is told of a body that broke off: what the upstream said, where it said something.
fn reason(error: BodyError) -> Reason {
    match error {
        BodyError::Reset(code) => code.into(),
        BodyError::OutOfTime | BodyError::TooSlow => Reason::CANCEL,
        BodyError::TooLarge | BodyError::Unfit(_) | BodyError::BrokenOff => Reason::INTERNAL_ERROR,
    }
}

/// Makes the lines that tell the body's length true, and takes off those that HTTP/2 has no use for (RFC 9113 section
/// 8.2.2).
fn frame(head: &mut ResponseHead, body: &mut Body, to_head: bool) {
    let status = head.status();
    let headers = head.headers_mut();
    headers.remove(&name::CONNECTION);
    headers.remove(&name::UPGRADE);
    headers.remove(&name::TRANSFER_ENCODING);
    if status == 101 {
        headers.remove(&websocket::ACCEPT);
        return;
    }
    let left = body.left();
    if to_head || matches!(status, 204 | 304) {
        if status == 204 {
            headers.remove(&name::CONTENT_LENGTH);
        } else if status != 304 && body.is_ours() {
            headers.set_number(&name::CONTENT_LENGTH, left.unwrap_or(0));
        }
        body.skip();
        return;
    }
    match left {
        Some(left) if left > 0 || body.is_ours() => {
            if headers.only(&name::CONTENT_LENGTH) != Some(itoa::Buffer::new().format(left).as_bytes()) {
                headers.set_number(&name::CONTENT_LENGTH, left);
            }
        }
        // All of it is the head; what that says of a length can only be nothing.
        Some(_) => {
            if headers.get(&name::CONTENT_LENGTH).is_some_and(|length| length != b"0") {
                headers.set(&name::CONTENT_LENGTH, Value::known("0"));
            }
        }
        None => headers.remove(&name::CONTENT_LENGTH),
    }
}

fn translated(head: &ResponseHead, worker: &Worker) -> HttpResponse<()> {
    let mut response = HttpResponse::new(());
    // A tunnel begins with success (RFC 8441 section 5).
    let status = if head.status() == 101 { 200 } else { head.status() };
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut fields = translate::fields(head.headers(), "");
    if !head.headers().has(&name::DATE)
        && let Ok(now) = http::HeaderValue::from_bytes(&date(worker.ledger.clock.latest_unix_s()))
    {
        fields.insert(http::header::DATE, now);
    }
    *response.headers_mut() = fields;
    response
}

struct Writing<'a> {
    send: &'a mut SendStream<Bytes>,
    alarm: &'a Alarm,
    stall: Duration,
    /// When the client is given up, while it takes nothing.
    stalls: Option<Instant>,
}

impl Writing<'_> {
    fn poll(&mut self, cx: &mut Context<'_>, body: &mut Body) -> Poll<Result<(), Failure>> {
        loop {
            match body.poll_ready(cx) {
                Poll::Ready(Ok(Ready::Data)) => {
                    let room = ready!(self.poll_room(cx, body.chunk().len()))?;
                    let piece = body.take(room);
                    let is_last = body.is_over();
                    self.send.send_data(piece, is_last).map_err(|_| Failure::Gone)?;
                    if is_last {
                        // Its source learns that it is over.
                        let _ = body.poll_ready(cx);
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Ready(Ok(Ready::End)) => {
                    let trailers = body.take_trailers().map(|mut trailers| {
                        clean_trailers(&mut trailers);
                        translate::fields(&trailers, "")
                    });
                    let sent = match trailers.filter(|fields| !fields.is_empty()) {
                        Some(fields) => self.send.send_trailers(fields),
                        None => self.send.send_data(Bytes::new(), true),
                    };
                    return Poll::Ready(sent.map_err(|_| Failure::Gone));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Failure::Body(error))),
                Poll::Pending => {
                    return match self.send.poll_reset(cx) {
                        Poll::Ready(_) => Poll::Ready(Err(Failure::Gone)),
                        Poll::Pending => Poll::Pending,
                    };
                }
            }
        }
    }

    /// How many bytes the client takes now; gives up one that takes none.
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<Result<usize, Failure>> {
        match poll_room(self.send, cx, wanted) {
            Poll::Ready(Ok(room)) => {
                self.stalls = None;
                Poll::Ready(Ok(room))
            }
            Poll::Ready(Err(_)) => Poll::Ready(Err(Failure::Gone)),
            Poll::Pending => {
                if self.send.poll_reset(cx).is_ready() {
                    return Poll::Ready(Err(Failure::Gone));
                }
                let stall = self.stall;
                let end = *self.stalls.get_or_insert_with(|| Instant::now() + stall);
                ready!(self.alarm.poll_at(cx, end));
                Poll::Ready(Err(Failure::Stalled))
            }
        }
    }
}
