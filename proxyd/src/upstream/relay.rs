//! An upstream's answer on its way back: its body, and what is still to be sent of the request meanwhile.

use std::rc::Rc;
use std::task::{Context, Poll};

use http1::{Headers, Incoming, Pipe, Ready};
use tokio::net::TcpStream;

use super::Lease;
use super::pump::{Pump, PumpError, Sent};
use crate::exchange::body::{BodyError, Gap, Source, Spliced};
use crate::exchange::{Alarm, clean_trailers};

/// From so many bytes on, what is left of a body goes from socket to socket (docs/performance.md has what that gains).
const SPLICED_FROM: u64 = 32 * 1024;

/// Room for the head of an answer that is expected to have a body.
const HEAD_ROOM: usize = 2 * 1024;

/// How much to read at once of an answer whose body is expected to be so large: all of it, unless most of it need not be read.
pub fn room(expected: usize) -> usize {
    HEAD_ROOM + if (expected as u64) < SPLICED_FROM { expected } else { 0 }
}

/// See the module.
pub struct Relay {
    lease: Lease,
    /// None once the request is sent whole, or cannot be.
    pump: Option<Pump>,
    incoming: Incoming,
    gap: Gap,
    alarm: Rc<Alarm>,
    /// Whether the upstream lets the connection serve again.
    keeps: bool,
    /// What is on its way from socket to socket.
    pipe: Option<Pipe>,
    /// There was no pipe to be had: the body is read as it comes.
    reads: bool,
}

impl Relay {
    /// An answer whose head came. Where nothing is left to do in either direction the connection is free at once, and there
    /// is no body to relay.
    pub fn start(
        lease: Lease,
        pump: Option<Pump>,
        incoming: Incoming,
        keeps: bool,
        gap: Gap,
        alarm: &Rc<Alarm>,
    ) -> Option<Self> {
        let mut relay = Self { lease, pump, incoming, gap, alarm: Rc::clone(alarm), keeps, pipe: None, reads: false };
        if relay.incoming.is_done() {
            relay.ended();
            return None;
        }
        Some(relay)
    }

    /// The answer has ended: the connection may serve again, unless the request is still being sent.
    fn ended(&mut self) {
        let clean = self.lease.wire().is_some_and(|wire| wire.input.is_empty() && !wire.has_ended());
        if self.keeps && self.pump.is_none() && clean {
            self.lease.give_back();
        }
    }

    fn poll_pump(&mut self, cx: &mut Context<'_>) -> Result<(), BodyError> {
        let (Some(pump), Some(wire)) = (&mut self.pump, self.lease.wire_mut()) else { return Ok(()) };
        match pump.poll(cx, wire) {
            Ok(Sent::Whole) => self.pump = None,
            Ok(Sent::AwaitsClient | Sent::AwaitsUpstream) => {}
            // It does not want the rest, and has answered: the answer counts. The connection is not used again.
            Err(PumpError::Upstream) => {
                self.pump = None;
                self.keeps = false;
            }
            Err(PumpError::Client(error)) => return Err(error),
        }
        Ok(())
    }
}

impl Source for Relay {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<Ready, BodyError>> {
        if self.pump.is_some() {
            self.poll_pump(cx)?;
        }
        let Some(wire) = self.lease.wire_mut() else { return Poll::Ready(Ok(Ready::End)) };
        match self.incoming.poll_ready(cx, wire) {
            Poll::Ready(Ok(Ready::Data)) => {
                self.gap.moved();
                Poll::Ready(Ok(Ready::Data))
            }
            Poll::Ready(Ok(Ready::End)) => {
                self.ended();
                Poll::Ready(Ok(Ready::End))
            }
            Poll::Ready(Err(_)) => Poll::Ready(Err(BodyError::BrokenOff)),
            Poll::Pending => self.gap.poll_expired(cx, &self.alarm).map(Err),
        }
    }

    fn chunk(&self) -> &[u8] {
        self.lease.wire().map_or(&[], |wire| self.incoming.chunk(wire))
    }

    fn advance(&mut self, bytes: usize) {
        if let Some(wire) = self.lease.wire_mut() {
            self.incoming.advance(wire, bytes);
        }
    }

    fn is_over(&self) -> bool {
        self.incoming.is_done()
    }

    fn splices(&self) -> bool {
        if let Some(pipe) = &self.pipe
            && !pipe.is_empty()
        {
            return true;
        }
        // While the request is still being sent, both connections are looked after here.
        !self.reads
            && self.pump.is_none()
            && self.incoming.left().is_some_and(|left| left >= if self.pipe.is_some() { 1 } else { SPLICED_FROM })
            && self.lease.wire().is_some_and(|wire| wire.input.is_empty() && wire.stream.plain().is_some())
    }

    fn splice(&mut self, cx: &mut Context<'_>, to: &TcpStream) -> Spliced {
        let from = self.lease.wire().and_then(|wire| wire.stream.plain());
        let Some(from) = from else { return Spliced::Failed(BodyError::BrokenOff) };
        let pipe = match &mut self.pipe {
            Some(pipe) => pipe,
            none => {
                let Ok(pipe) = Pipe::take() else {
                    self.reads = true;
                    return Spliced::Sent(0);
                };
                none.insert(pipe)
            }
        };
        if pipe.is_empty() {
            match pipe.poll_fill(cx, from, self.incoming.left().unwrap_or(0)) {
                Poll::Ready(Ok(bytes)) if bytes > 0 => {
                    self.gap.moved();
                    self.incoming.passed(bytes as u64);
                }
                Poll::Ready(_) => return Spliced::Failed(BodyError::BrokenOff),
                Poll::Pending => {
                    return match self.gap.poll_expired(cx, &self.alarm) {
                        Poll::Ready(error) => Spliced::Failed(error),
                        Poll::Pending => Spliced::SourceWaits,
                    };
                }
            }
        }
        match pipe.poll_drain(cx, to) {
            Poll::Ready(Ok(bytes)) => Spliced::Sent(bytes),
            Poll::Ready(Err(_)) => Spliced::ClientGone,
            Poll::Pending => Spliced::ClientWaits,
        }
    }

    fn left(&self) -> Option<u64> {
        self.incoming.left()
    }

    fn take_trailers(&mut self) -> Option<Box<Headers>> {
        let mut trailers = self.incoming.take_trailers()?;
        clean_trailers(&mut trailers);
        Some(trailers)
    }
}
