//! An upstream's answer on its way back: its body, and what is still to be sent of the request meanwhile.

use std::rc::Rc;
use std::task::{Context, Poll};

use http1::{Headers, Incoming, Ready};

use super::Lease;
use super::pump::{Pump, PumpError, Sent};
use crate::exchange::body::{BodyError, Gap, Source};
use crate::exchange::{Alarm, clean_trailers};

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
        let mut relay = Self { lease, pump, incoming, gap, alarm: Rc::clone(alarm), keeps };
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

    fn left(&self) -> Option<u64> {
        self.incoming.left()
    }

    fn take_trailers(&mut self) -> Option<Box<Headers>> {
        let mut trailers = self.incoming.take_trailers()?;
        clean_trailers(&mut trailers);
        Some(trailers)
    }
}
