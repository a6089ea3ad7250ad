//! A request on its way to an upstream: its head, and its body as it comes from the client.

use std::task::{Context, Poll};

use http1::{Outgoing, Ready, Shape, Wire};

use crate::exchange::body::BodyError;
use crate::exchange::{RequestBody, Socket, clean_trailers};

/// How far a request has gone out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// All of it.
    Whole,
    /// What the client has yet to send.
    AwaitsClient,
    /// What the upstream has yet to take.
    AwaitsUpstream,
}

/// Why it cannot go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PumpError {
    /// The client's body broke off.
    Client(BodyError),
    /// The upstream takes no more; it may have answered all the same.
    Upstream,
}

/// See the module.
pub struct Pump {
    body: RequestBody,
    out: Outgoing,
    body_ended: bool,
}

impl Pump {
    /// A request whose head is given by `write`: start line and fields, but for those that frame the body. `tells_length`:
    /// that the client's `Content-Length` is among them.
    pub fn start(body: RequestBody, tells_length: bool, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let shape = body.announced().map_or(Shape::Chunked, Shape::Length);
        let out = Outgoing::start(
            |out| {
                write(out);
                match shape {
                    Shape::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
                    // It came by chunks and is sent again now that all of it is here. Without a word about its length it would
                    // be taken for the next request.
                    Shape::Length(length) if !tells_length && !body.is_empty() => {
                        out.extend_from_slice(format!("content-length: {length}\r\n").as_bytes());
                    }
                    Shape::Length(_) | Shape::Close => {}
                }
            },
            shape,
        );
        Self { body_ended: body.is_empty(), body, out }
    }

    /// Whether nothing is left to send.
    pub fn is_done(&self) -> bool {
        self.body_ended && self.out.is_flushed()
    }

    /// The body, that is still being sent.
    pub fn body(&self) -> &RequestBody {
        &self.body
    }

    /// The body, so far as it was not sent.
    pub fn into_body(self) -> RequestBody {
        self.body
    }

    /// Sends on.
    pub fn poll(&mut self, cx: &mut Context<'_>, wire: &mut Wire<Socket>) -> Result<Sent, PumpError> {
        while !self.body_ended {
            match self.body.poll_ready(cx) {
                Poll::Pending => {
                    return Ok(if self.flush(cx, wire)? { Sent::AwaitsClient } else { Sent::AwaitsUpstream });
                }
                Poll::Ready(Err(error)) => return Err(PumpError::Client(error)),
                Poll::Ready(Ok(Ready::Data)) => {
                    let out = &mut self.out;
                    let sent = self.body.with_chunk(|chunk| {
                        if out.put(chunk) {
                            return Poll::Ready(Ok(chunk.len()));
                        }
                        out.poll_send(cx, &mut wire.stream, chunk)
                    });
                    match sent {
                        Poll::Ready(Ok(bytes)) => self.body.advance(bytes),
                        Poll::Ready(Err(_)) => return Err(PumpError::Upstream),
                        Poll::Pending => return Ok(Sent::AwaitsUpstream),
                    }
                }
                Poll::Ready(Ok(Ready::End)) => {
                    let mut trailers = self.body.take_trailers();
                    if let Some(trailers) = &mut trailers {
                        clean_trailers(trailers);
                    }
                    if !self.out.finish(trailers.as_deref()) {
                        return Err(PumpError::Client(BodyError::BrokenOff));
                    }
                    self.body_ended = true;
                }
            }
        }
        Ok(if self.flush(cx, wire)? { Sent::Whole } else { Sent::AwaitsUpstream })
    }

    fn flush(&mut self, cx: &mut Context<'_>, wire: &mut Wire<Socket>) -> Result<bool, PumpError> {
        match self.out.poll_flush(cx, &mut wire.stream) {
            Poll::Ready(Ok(())) => Ok(true),
            Poll::Ready(Err(_)) => Err(PumpError::Upstream),
            Poll::Pending => Ok(false),
        }
    }
}
