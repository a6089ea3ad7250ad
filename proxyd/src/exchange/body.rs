//! Message bodies: streamed in both directions, never gathered. Each knows when it ended and how.

use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use thiserror::Error;
use tokio::time::{Instant, Sleep};

use super::{Finish, Part};

/// Why a body broke off. It reaches the engine, which then closes the connection so that the other side sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BodyError {
    #[error("the body is over its limit")]
    TooLarge,
    #[error("the body came too slowly")]
    TooSlow,
    #[error("the time for the whole request is up")]
    OutOfTime,
    #[error("the body broke off")]
    BrokenOff,
}

/// The gap between two reads, watched. The timer is made when a read first has to wait, and moved, not remade.
#[derive(Debug)]
struct Gap {
    longest: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
    /// When the whole is over, whatever the gaps.
    until: Option<Instant>,
}

impl Gap {
    fn new(longest: Duration, until: Option<Instant>) -> Self {
        Self { longest, timer: None, waiting: false, until }
    }

    /// Something came.
    fn moved(&mut self) {
        self.waiting = false;
    }

    /// Nothing came: the error once that lasts too long.
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        let timer = match &mut self.timer {
            Some(timer) if self.waiting => timer,
            Some(timer) => {
                timer.as_mut().reset(Self::end(self.longest, self.until));
                timer
            }
            none => none.insert(Box::pin(tokio::time::sleep_until(Self::end(self.longest, self.until)))),
        };
        self.waiting = true;
        ready!(timer.as_mut().poll(cx));
        let out_of_time = self.until.is_some_and(|until| until <= Instant::now());
        Poll::Ready(if out_of_time { BodyError::OutOfTime } else { BodyError::TooSlow })
    }

    fn end(longest: Duration, until: Option<Instant>) -> Instant {
        let gap = Instant::now() + longest;
        until.map_or(gap, |until| until.min(gap))
    }
}

/// How a request's body went so far: read by the exchange while the engine reads the body.
#[derive(Debug, Default)]
pub struct Upload {
    bytes: Cell<u64>,
    failure: Cell<Option<BodyError>>,
    /// When the engine let go of it, and whether it was whole.
    ended: Cell<Option<(Instant, bool)>>,
}

impl Upload {
    /// Whether it went out whole.
    pub fn ended(&self) -> bool {
        self.ended.get().is_some_and(|(_, whole)| whole)
    }

    /// When the last of it went out; none while it goes out.
    pub fn ended_at(&self) -> Option<Instant> {
        self.ended.get().map(|(at, _)| at)
    }

    /// Bytes that came.
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Why it broke off, if it did.
    pub fn failure(&self) -> Option<BodyError> {
        self.failure.get()
    }
}

/// A request's body, on its way upstream.
#[derive(Debug)]
pub struct RequestBody {
    incoming: Option<Incoming>,
    /// None where there is no body.
    upload: Option<Rc<Upload>>,
    limit: u64,
    gap: Gap,
}

impl RequestBody {
    /// What the engine received, with the longest gap between two reads.
    pub(crate) fn from_engine(incoming: Incoming, longest_gap: Duration) -> Self {
        let incoming = (!incoming.is_end_stream()).then_some(incoming);
        let upload = incoming.is_some().then(Rc::default);
        Self { incoming, upload, limit: u64::MAX, gap: Gap::new(longest_gap, None) }
    }

    /// No body at all.
    pub fn empty() -> Self {
        Self { incoming: None, upload: None, limit: u64::MAX, gap: Gap::new(Duration::ZERO, None) }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.incoming.is_none()
    }

    /// The length announced, if one was.
    pub fn announced(&self) -> Option<u64> {
        self.incoming.as_ref().map_or(Some(0), |incoming| HttpBody::size_hint(incoming).exact())
    }

    /// How it goes; none where there is no body.
    pub fn upload(&self) -> Option<&Rc<Upload>> {
        self.upload.as_ref()
    }

    /// Breaks off when more than this comes.
    pub fn set_limit(&mut self, bytes: u64) {
        self.limit = bytes;
    }

    fn failure(&self) -> Option<BodyError> {
        self.upload.as_ref().and_then(|upload| upload.failure())
    }

    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(upload) = &self.upload {
            upload.failure.set(Some(error));
        }
        self.incoming = None;
        Poll::Ready(Some(Err(error)))
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let Some(upload) = &this.upload else { return Poll::Ready(None) };
        if let Some(error) = upload.failure.get() {
            return Poll::Ready(Some(Err(error)));
        }
        let Some(incoming) = &mut this.incoming else { return Poll::Ready(None) };
        match Pin::new(incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.gap.moved();
                if let Some(data) = frame.data_ref() {
                    let bytes = upload.bytes.get() + data.len() as u64;
                    upload.bytes.set(bytes);
                    if bytes > this.limit {
                        return this.fail(BodyError::TooLarge);
                    }
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_))) => this.fail(BodyError::BrokenOff),
            Poll::Ready(None) => {
                this.incoming = None;
                Poll::Ready(None)
            }
            Poll::Pending => match this.gap.poll_expired(cx) {
                Poll::Ready(error) => this.fail(error),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.failure().is_none() && self.incoming.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(upload) = &self.upload {
            upload.ended.set(Some((Instant::now(), self.is_end_stream())));
        }
    }
}

/// Told when an upstream's body has ended: whether whole, so that its connection may serve again.
pub trait Ended {
    /// Called once.
    fn ended(self: Box<Self>, whole: bool);
}

/// A response's body, on its way to the client.
pub struct Body {
    source: Source,
    finish: Option<Finish>,
    /// The message has none on the wire, whatever its length would be: the engine will not ask for it.
    unsent: bool,
}

enum Source {
    Empty,
    Bytes(Bytes),
    Relayed { incoming: Incoming, gap: Gap, then: Option<Box<dyn Ended>> },
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.source {
            Source::Empty => "Body(empty)",
            Source::Bytes(_) => "Body(bytes)",
            Source::Relayed { .. } => "Body(relayed)",
        })
    }
}

impl Body {
    /// No body.
    pub fn empty() -> Self {
        Self { source: Source::Empty, finish: None, unsent: false }
    }

    /// A text of ours.
    pub fn text(text: impl Into<Bytes>) -> Self {
        let bytes = text.into();
        Self {
            source: if bytes.is_empty() { Source::Empty } else { Source::Bytes(bytes) },
            finish: None,
            unsent: false,
        }
    }

    /// An upstream's body, with the longest gap between two reads and the end of the whole request's time.
    pub(crate) fn relayed(
        incoming: Incoming,
        longest_gap: Duration,
        until: Option<Instant>,
        then: Box<dyn Ended>,
    ) -> Self {
        if incoming.is_end_stream() {
            then.ended(true);
            return Self::empty();
        }
        let gap = Gap::new(longest_gap, until);
        Self { source: Source::Relayed { incoming, gap, then: Some(then) }, finish: None, unsent: false }
    }

    /// Lets the guard ride on the body: it records the request when the body ends. An answer to HEAD, a 204 and a 304 end
    /// with their head (RFC 9112 section 6.3).
    pub(crate) fn ride(mut self, finish: Finish, status: u16) -> Self {
        self.unsent = matches!(status, 204 | 304) || finish.trail.part(Part::Method) == "HEAD";
        self.finish = Some(finish);
        self
    }

    /// Tells everyone who waits for the end how it was.
    fn end(&mut self, outcome: Result<(), BodyError>) {
        if let Source::Relayed { then, .. } = &mut self.source
            && let Some(then) = then.take()
        {
            then.ended(outcome.is_ok());
        }
        if let Some(mut finish) = self.finish.take() {
            match outcome {
                Ok(()) => finish.body_ended(),
                Err(BodyError::TooSlow) => finish.cut_short("upstream_idle_timeout"),
                Err(BodyError::OutOfTime) => finish.cut_short("total_timeout"),
                Err(BodyError::TooLarge | BodyError::BrokenOff) => finish.cut_short("upstream_truncated"),
            }
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let polled = match &mut this.source {
            Source::Empty => Poll::Ready(None),
            Source::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                this.source = Source::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Source::Relayed { incoming, gap, .. } => match Pin::new(incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    gap.moved();
                    Poll::Ready(Some(Ok(frame)))
                }
                Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(BodyError::BrokenOff))),
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Pending => gap.poll_expired(cx).map(|error| Some(Err(error))),
            },
        };
        match ready!(polled) {
            Some(Ok(frame)) => {
                if let (Some(finish), Some(data)) = (&mut this.finish, frame.data_ref()) {
                    finish.sent(data.len() as u64);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                this.end(Err(error));
                Poll::Ready(Some(Err(error)))
            }
            None => {
                this.end(Ok(()));
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Empty => true,
            Source::Bytes(_) => false,
            Source::Relayed { incoming, .. } => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Empty => SizeHint::with_exact(0),
            Source::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Relayed { incoming, .. } => incoming.size_hint(),
        }
    }
}

impl Drop for Body {
    /// The engine drops a body as soon as it has its announced length, without asking for its end.
    fn drop(&mut self) {
        if self.unsent || self.is_end_stream() {
            self.end(Ok(()));
        }
        // Otherwise the client left: `Finish` says so as it drops, and the upstream's connection is not used again.
    }
}
