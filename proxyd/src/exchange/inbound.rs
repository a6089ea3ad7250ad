//! A request's body, on its way upstream: off the client's connection, or off its stream of HTTP/2.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http1::{Framing, Headers, Incoming, Ready};
use shared::decide::threats::Misfit;

use super::body::{BodyError, Gap};
use super::json::JsonBounds;
use super::kept::Kept;
use super::{Alarm, Interim, Link, Name, ResponseHead, StreamBody};

/// How a request's body went so far: read by the exchange while the body goes upstream.
#[derive(Debug, Default)]
pub struct Upload {
    bytes: Cell<u64>,
    failure: Cell<Option<BodyError>>,
    ended: Cell<bool>,
    misfit: Cell<Option<Misfit>>,
}

impl Upload {
    /// Whether it went out whole.
    pub fn ended(&self) -> bool {
        self.ended.get()
    }

    /// Bytes that came.
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// How it does not look as it must, be it refused for that or not.
    pub fn misfit(&self) -> Option<Misfit> {
        self.misfit.get()
    }

    /// Why it broke off, if it did.
    pub fn failure(&self) -> Option<BodyError> {
        self.failure.get()
    }
}

/// A request's body, on its way upstream.
pub struct RequestBody {
    inbound: Option<Box<Inbound>>,
    /// It is being sent: what is here stands in for it.
    is_lent: bool,
}

/// A body that is there.
struct Inbound {
    coming: Coming,
    interim: Interim,
    alarm: Rc<Alarm>,
    upload: Rc<Upload>,
    limit: u64,
    json: Option<Box<JsonBounds>>,
    gap: Gap,
    /// The client waits to be asked for it (RFC 9110 section 10.1.1).
    awaits_continue: bool,
    /// What came so far, where it may have to be sent again.
    kept: Option<Rc<RefCell<Kept>>>,
    /// Fields that only we may set, behind a body too.
    barred: Option<Arc<[Name]>>,
}

/// Where it comes from.
enum Coming {
    /// The client's connection, in HTTP/1.1.
    Wire { link: Rc<Link>, incoming: Incoming },
    /// A stream of HTTP/2.
    Stream(StreamBody),
    /// Nowhere: all of it is here.
    Kept,
}

impl Coming {
    fn left(&self) -> Option<u64> {
        match self {
            Self::Wire { incoming, .. } => incoming.left(),
            Self::Stream(stream) => stream.left(),
            Self::Kept => Some(0),
        }
    }

    fn is_done(&self) -> bool {
        match self {
            Self::Wire { incoming, .. } => incoming.is_done(),
            Self::Stream(stream) => stream.has_ended(),
            Self::Kept => true,
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Self::Wire { incoming, .. } => incoming.is_done(),
            Self::Stream(stream) => stream.is_over(),
            Self::Kept => true,
        }
    }

    /// Whether nothing came of it yet.
    fn is_awaited(&self) -> bool {
        match self {
            Self::Wire { link, .. } => link.wire.borrow().input.is_empty(),
            Self::Stream(stream) => stream.chunk().is_empty() && !stream.has_ended(),
            Self::Kept => false,
        }
    }

    /// With the data at hand, how much it is.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Ready, usize), BodyError>> {
        match self {
            Self::Wire { link, incoming } => {
                let mut wire = link.wire.borrow_mut();
                let ready = ready!(incoming.poll_ready(cx, &mut wire)).map_err(|_| BodyError::BrokenOff)?;
                Poll::Ready(Ok((ready, incoming.chunk(&wire).len())))
            }
            Self::Stream(stream) => {
                let ready = ready!(stream.poll_ready(cx))?;
                Poll::Ready(Ok((ready, stream.chunk().len())))
            }
            Self::Kept => Poll::Ready(Ok((Ready::End, 0))),
        }
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.inbound.is_some() { "RequestBody" } else { "RequestBody(none)" })
    }
}

impl RequestBody {
    /// What comes on the client's connection, with the longest gap between two reads.
    pub fn new(link: &Rc<Link>, alarm: &Rc<Alarm>, framing: Framing, longest_gap: Duration, awaits: bool) -> Self {
        if framing == Framing::None {
            return Self::empty();
        }
        let coming = Coming::Wire { link: Rc::clone(link), incoming: Incoming::new(framing) };
        Self::coming(coming, Interim::Link(Rc::clone(link)), alarm, longest_gap, awaits)
    }

    /// What comes on a stream of HTTP/2.
    pub fn streamed(
        stream: StreamBody,
        interim: Interim,
        alarm: &Rc<Alarm>,
        longest_gap: Duration,
        awaits: bool,
    ) -> Self {
        if stream.has_ended() {
            return Self::empty();
        }
        Self::coming(Coming::Stream(stream), interim, alarm, longest_gap, awaits)
    }

    fn coming(coming: Coming, interim: Interim, alarm: &Rc<Alarm>, longest_gap: Duration, awaits: bool) -> Self {
        Self::of(Some(Box::new(Inbound {
            barred: None,
            coming,
            interim,
            alarm: Rc::clone(alarm),
            upload: Rc::default(),
            limit: u64::MAX,
            json: None,
            gap: Gap::new(longest_gap, None),
            awaits_continue: awaits,
            kept: None,
        })))
    }

    /// A copy of one that came.
    pub fn copied(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            return Self::empty();
        }
        // Nothing is waited for.
        let mut body = Self::coming(Coming::Kept, Interim::Nowhere, &Rc::default(), Duration::ZERO, false);
        if let Some(inbound) = &mut body.inbound {
            inbound.upload.bytes.set(bytes.len() as u64);
            inbound.kept = Some(Rc::new(RefCell::new(Kept::of(bytes))));
        }
        body
    }

    fn of(inbound: Option<Box<Inbound>>) -> Self {
        Self { inbound, is_lent: false }
    }

    /// Gives it away, to be sent. What stays stands in for it, and cannot be sent again, until it is put back.
    #[must_use]
    pub fn lend(&mut self) -> Self {
        let is_lent = self.inbound.is_some();
        std::mem::replace(self, Self { inbound: None, is_lent })
    }

    /// No body at all.
    pub fn empty() -> Self {
        Self::of(None)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.inbound.is_none()
    }

    /// The length of what is to come, if one was announced.
    pub fn announced(&self) -> Option<u64> {
        self.inbound.as_ref().map_or(Some(0), |inbound| inbound.coming.left().map(|left| left + inbound.again() as u64))
    }

    /// Whether it is known that nothing more comes, though its end was not reached yet.
    pub fn is_over(&self) -> bool {
        self.inbound.as_ref().is_none_or(|inbound| inbound.again() == 0 && inbound.coming.is_over())
    }

    /// Keeps what comes, as long as it is not more than so many bytes, so that it can be sent again.
    pub fn keep(&mut self, limit: usize) {
        if let Some(inbound) = &mut self.inbound {
            match &inbound.kept {
                Some(kept) => kept.borrow_mut().allow(limit),
                None => inbound.kept = Some(Rc::new(RefCell::new(Kept::new(limit)))),
            }
        }
    }

    /// What is kept of it, to be looked at when it has ended.
    pub fn kept(&self) -> Option<Rc<RefCell<Kept>>> {
        self.inbound.as_ref().and_then(|inbound| inbound.kept.clone())
    }

    /// Whether it can be sent again from its start: nothing of it was used, or all that was is kept.
    pub fn is_repeatable(&self) -> bool {
        !self.is_lent
            && self.inbound.as_ref().is_none_or(|inbound| {
                inbound.upload.failure().is_none()
                    && match &inbound.kept {
                        Some(kept) => kept.borrow().is_whole(),
                        None => inbound.upload.bytes() == 0 && !inbound.upload.ended(),
                    }
            })
    }

    /// Begins again with what was kept. Only where it is repeatable.
    pub fn rewind(&mut self) {
        if let Some(kept) = self.inbound.as_ref().and_then(|inbound| inbound.kept.as_ref()) {
            kept.borrow_mut().rewind();
        }
    }

    /// How it goes; none where there is no body.
    pub fn upload(&self) -> Option<&Rc<Upload>> {
        self.inbound.as_ref().map(|inbound| &inbound.upload)
    }

    /// Takes these off its trailers.
    pub fn bar(&mut self, names: &Arc<[Name]>) {
        if let Some(inbound) = &mut self.inbound {
            inbound.barred = Some(Arc::clone(names));
        }
    }

    /// Breaks off when more than this comes.
    pub fn set_limit(&mut self, bytes: u64) {
        if let Some(inbound) = &mut self.inbound {
            inbound.limit = bytes;
        }
    }

    /// Looks at it as JSON, as it comes.
    pub fn set_json(&mut self, bounds: JsonBounds) {
        if let Some(inbound) = &mut self.inbound {
            inbound.json = Some(Box::new(bounds));
        }
    }

    /// Whether more is at hand, or the end was reached.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<Ready, BodyError>> {
        let Some(inbound) = &mut self.inbound else { return Poll::Ready(Ok(Ready::End)) };
        inbound.poll_ready(cx).map_err(|error| {
            inbound.upload.failure.set(Some(error));
            error
        })
    }

    /// Lets `use_it` see the data at hand.
    pub fn with_chunk<R>(&self, use_it: impl FnOnce(&[u8]) -> R) -> R {
        match &self.inbound {
            Some(inbound) => inbound.with_chunk(use_it),
            None => use_it(&[]),
        }
    }

    /// Takes so many bytes of the data at hand: without a copy, where they came on a stream.
    pub fn take(&mut self, bytes: usize) -> Bytes {
        if let Some(inbound) = &mut self.inbound
            && inbound.kept.as_ref().is_none_or(|kept| kept.borrow().is_over())
            && let Coming::Stream(stream) = &mut inbound.coming
        {
            let taken = stream.take(bytes);
            inbound.came(taken.len());
            return taken;
        }
        let taken = self.with_chunk(|chunk| Bytes::copy_from_slice(chunk.get(..bytes).unwrap_or(chunk)));
        self.advance(taken.len());
        taken
    }

    /// So many bytes of the data at hand went upstream.
    pub fn advance(&mut self, bytes: usize) {
        if let Some(inbound) = &mut self.inbound {
            inbound.advance(bytes);
        }
    }

    /// The fields behind it.
    pub fn take_trailers(&mut self) -> Option<Box<Headers>> {
        let inbound = self.inbound.as_mut()?;
        let mut trailers = match &mut inbound.coming {
            Coming::Wire { incoming, .. } => incoming.take_trailers(),
            Coming::Stream(stream) => stream.take_trailers(),
            Coming::Kept => None,
        };
        if let (Some(trailers), Some(barred)) = (&mut trailers, &inbound.barred) {
            trailers.remove_alike(barred);
        }
        if trailers.is_some()
            && let Some(kept) = &inbound.kept
        {
            // They are not kept, and without them it is another request.
            kept.borrow_mut().give_up();
        }
        trailers
    }
}

impl Inbound {
    /// How much is to be sent again, before anything new comes.
    fn again(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.borrow().again().map_or(0, <[u8]>::len))
    }

    fn with_chunk<R>(&self, use_it: impl FnOnce(&[u8]) -> R) -> R {
        if let Some(kept) = &self.kept
            && let Some(again) = kept.borrow().again()
        {
            return use_it(again);
        }
        match &self.coming {
            Coming::Wire { link, incoming } => use_it(incoming.chunk(&link.wire.borrow())),
            Coming::Stream(stream) => use_it(stream.chunk()),
            Coming::Kept => use_it(&[]),
        }
    }

    fn advance(&mut self, bytes: usize) {
        if let Some(kept) = &self.kept {
            if kept.borrow_mut().advance(bytes) {
                return;
            }
            self.with_chunk(|chunk| kept.borrow_mut().append(chunk.get(..bytes).unwrap_or(chunk)));
        }
        self.came(bytes);
        match &mut self.coming {
            Coming::Wire { link, incoming } => incoming.advance(&mut link.wire.borrow_mut(), bytes),
            Coming::Stream(stream) => stream.advance(bytes),
            Coming::Kept => {}
        }
    }

    /// So many bytes came and were used.
    fn came(&self, bytes: usize) {
        self.upload.bytes.set(self.upload.bytes.get() + bytes as u64);
    }

    /// What is at hand and was not looked at yet, as JSON.
    fn look(&mut self) -> Result<(), BodyError> {
        let Some(mut json) = self.json.take() else { return Ok(()) };
        let misfit = self.with_chunk(|chunk| json.look(self.upload.bytes(), chunk));
        let Some(misfit) = misfit else {
            self.json = Some(json);
            return Ok(());
        };
        // Told once: it is not looked at any more.
        self.upload.misfit.set(Some(misfit));
        if json.is_enforced() { Err(BodyError::Unfit(misfit)) } else { Ok(()) }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<Ready, BodyError>> {
        if let Some(error) = self.upload.failure() {
            return Poll::Ready(Err(error));
        }
        if self.again() > 0 {
            return Poll::Ready(Ok(Ready::Data));
        }
        if std::mem::take(&mut self.awaits_continue) && self.coming.is_awaited() {
            self.interim.leave(&ResponseHead::new(100));
        }
        match self.coming.poll_ready(cx) {
            Poll::Ready(Ok((Ready::Data, at_hand))) => {
                self.gap.moved();
                let bytes = self.upload.bytes() + at_hand as u64;
                if bytes > self.limit {
                    return Poll::Ready(Err(BodyError::TooLarge));
                }
                Poll::Ready(self.look().map(|()| Ready::Data))
            }
            Poll::Ready(Ok((Ready::End, _))) => {
                self.upload.ended.set(true);
                Poll::Ready(Ok(Ready::End))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.gap.poll_expired(cx, &self.alarm).map(Err),
        }
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        if self.coming.is_done() {
            self.upload.ended.set(self.upload.failure().is_none());
        } else if self.upload.failure().is_none()
            && let Coming::Wire { link, incoming } = &mut self.coming
        {
            link.leave_unread(std::mem::replace(incoming, Incoming::new(Framing::None)));
        }
    }
}
