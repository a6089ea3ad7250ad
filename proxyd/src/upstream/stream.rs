//! A request on a stream of HTTP/2, and its answer on the way back.

use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http1::{Headers, Ready};
use tokio::net::TcpStream;

use super::StreamLease;
use super::pump::{PumpError, Sent};
use crate::exchange::body::{BodyError, Gap, Source, Spliced};
use crate::exchange::{Alarm, RequestBody, StreamBody, clean_trailers, poll_room, translate};

/// A request's body on its way out.
pub struct StreamPump {
    body: RequestBody,
    send: SendStream<Bytes>,
    ended: bool,
}

impl StreamPump {
    /// What follows the head.
    pub fn new(body: RequestBody, send: SendStream<Bytes>) -> Self {
        Self { ended: body.is_empty(), body, send }
    }

    /// Sends on.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Result<Sent, PumpError> {
        while !self.ended {
            match self.body.poll_ready(cx) {
                Poll::Pending => return Ok(Sent::AwaitsClient),
                Poll::Ready(Err(error)) => return Err(PumpError::Client(error)),
                Poll::Ready(Ok(Ready::Data)) => {
                    let at_hand = self.body.with_chunk(<[u8]>::len);
                    match poll_room(&mut self.send, cx, at_hand) {
                        Poll::Ready(Ok(room)) => {
                            let piece = self.body.take(room);
                            let is_last = self.body.is_over();
                            self.send.send_data(piece, is_last).map_err(|_| PumpError::Upstream)?;
                            self.ended = is_last && self.body_ended(cx)?;
                        }
                        Poll::Ready(Err(_)) => return Err(PumpError::Upstream),
                        Poll::Pending => return Ok(Sent::AwaitsUpstream),
                    }
                }
                Poll::Ready(Ok(Ready::End)) => {
                    let trailers = self.body.take_trailers().map(|mut trailers| {
                        clean_trailers(&mut trailers);
                        translate::fields(&trailers, "")
                    });
                    let sent = match trailers.filter(|fields| !fields.is_empty()) {
                        Some(fields) => self.send.send_trailers(fields),
                        None => self.send.send_data(Bytes::new(), true),
                    };
                    sent.map_err(|_| PumpError::Upstream)?;
                    self.ended = true;
                }
            }
        }
        Ok(Sent::Whole)
    }

    /// All that was announced has come. The body is told so, that it be known to be whole.
    fn body_ended(&mut self, cx: &mut Context<'_>) -> Result<bool, PumpError> {
        match self.body.poll_ready(cx) {
            Poll::Ready(Err(error)) => Err(PumpError::Client(error)),
            Poll::Ready(Ok(_)) | Poll::Pending => Ok(true),
        }
    }

    /// The body, that is still being sent.
    pub fn body(&self) -> &RequestBody {
        &self.body
    }

    /// The body, so far as it was not sent.
    pub fn into_body(self) -> RequestBody {
        self.body
    }

    /// The client's body broke off: the endpoint must not take what came for the whole.
    pub fn reset(&mut self) {
        self.send.send_reset(Reason::CANCEL);
    }

    /// The stream, for a tunnel.
    pub fn into_send(self) -> SendStream<Bytes> {
        self.send
    }
}

/// See the module.
pub struct StreamRelay {
    lease: Option<StreamLease>,
    pump: Option<StreamPump>,
    body: StreamBody,
    gap: Gap,
    alarm: Rc<Alarm>,
}

impl StreamRelay {
    /// An answer whose head came; none where that was all of it.
    pub fn start(
        lease: StreamLease,
        pump: Option<StreamPump>,
        body: StreamBody,
        gap: Gap,
        alarm: &Rc<Alarm>,
    ) -> Option<Self> {
        if body.has_ended() {
            return None;
        }
        Some(Self { lease: Some(lease), pump, body, gap, alarm: Rc::clone(alarm) })
    }
}

impl Source for StreamRelay {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<Ready, BodyError>> {
        if let Some(pump) = &mut self.pump {
            match pump.poll(cx) {
                // It does not want the rest, and has answered: the answer counts.
                Ok(Sent::Whole) | Err(PumpError::Upstream) => self.pump = None,
                Ok(Sent::AwaitsClient | Sent::AwaitsUpstream) => {}
                Err(PumpError::Client(error)) => {
                    pump.reset();
                    return Poll::Ready(Err(error));
                }
            }
        }
        match self.body.poll_ready(cx) {
            Poll::Ready(Ok(Ready::Data)) => {
                self.gap.moved();
                Poll::Ready(Ok(Ready::Data))
            }
            Poll::Ready(Ok(Ready::End)) => {
                self.lease = None;
                Poll::Ready(Ok(Ready::End))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.gap.poll_expired(cx, &self.alarm).map(Err),
        }
    }

    fn chunk(&self) -> &[u8] {
        self.body.chunk()
    }

    fn advance(&mut self, bytes: usize) {
        self.body.advance(bytes);
    }

    fn take(&mut self, bytes: usize) -> Bytes {
        self.body.take(bytes)
    }

    fn is_over(&self) -> bool {
        self.body.is_over()
    }

    fn splices(&self) -> bool {
        false
    }

    fn splice(&mut self, _: &mut Context<'_>, _: &TcpStream) -> Spliced {
        Spliced::SourceWaits
    }

    fn left(&self) -> Option<u64> {
        self.body.left()
    }

    fn take_trailers(&mut self) -> Option<Box<Headers>> {
        let mut trailers = self.body.take_trailers()?;
        clean_trailers(&mut trailers);
        Some(trailers)
    }
}
