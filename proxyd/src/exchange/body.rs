//! Message bodies: streamed in both directions, never gathered. Each knows when it ended and how.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http1::{Framing, Headers, Incoming, Ready};
use thiserror::Error;
use tokio::time::Instant;

use super::{Alarm, Finish, Link, Socket};

/// Why a body broke off. The connection is closed then, so that the other side sees it.
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

/// The gap between two reads, watched.
#[derive(Debug)]
pub struct Gap {
    longest: Duration,
    /// When the present gap is too long; none while something comes.
    end: Option<Instant>,
    /// When the whole is over, whatever the gaps.
    until: Option<Instant>,
}

impl Gap {
    /// No gap longer than this, and nothing later than `until`.
    pub fn new(longest: Duration, until: Option<Instant>) -> Self {
        Self { longest, end: None, until }
    }

    /// Something came.
    pub fn moved(&mut self) {
        self.end = None;
    }

    /// Nothing came: the error once that lasts too long.
    pub fn poll_expired(&mut self, cx: &mut Context<'_>, alarm: &Alarm) -> Poll<BodyError> {
        let longest = self.longest;
        let gap = *self.end.get_or_insert_with(|| Instant::now() + longest);
        let end = self.until.map_or(gap, |until| until.min(gap));
        ready!(alarm.poll_at(cx, end));
        Poll::Ready(if end < gap { BodyError::OutOfTime } else { BodyError::TooSlow })
    }
}

/// How a request's body went so far: read by the exchange while the body goes upstream.
#[derive(Debug, Default)]
pub struct Upload {
    bytes: Cell<u64>,
    failure: Cell<Option<BodyError>>,
    ended: Cell<bool>,
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

    /// Why it broke off, if it did.
    pub fn failure(&self) -> Option<BodyError> {
        self.failure.get()
    }
}

/// A request's body, on its way upstream.
pub struct RequestBody(Option<Box<Inbound>>);

/// A body that is there.
struct Inbound {
    link: Rc<Link>,
    alarm: Rc<Alarm>,
    incoming: Incoming,
    upload: Rc<Upload>,
    limit: u64,
    gap: Gap,
    /// The client waits to be asked for it (RFC 9110 section 10.1.1).
    awaits_continue: bool,
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "RequestBody" } else { "RequestBody(none)" })
    }
}

impl RequestBody {
    /// What comes on the client's connection, with the longest gap between two reads.
    pub fn new(link: &Rc<Link>, alarm: &Rc<Alarm>, framing: Framing, longest_gap: Duration, awaits: bool) -> Self {
        if framing == Framing::None {
            return Self::empty();
        }
        Self(Some(Box::new(Inbound {
            link: Rc::clone(link),
            alarm: Rc::clone(alarm),
            incoming: Incoming::new(framing),
            upload: Rc::default(),
            limit: u64::MAX,
            gap: Gap::new(longest_gap, None),
            awaits_continue: awaits,
        })))
    }

    /// No body at all.
    pub fn empty() -> Self {
        Self(None)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The length announced, if one was.
    pub fn announced(&self) -> Option<u64> {
        self.0.as_ref().map_or(Some(0), |inbound| inbound.incoming.left())
    }

    /// How it goes; none where there is no body.
    pub fn upload(&self) -> Option<&Rc<Upload>> {
        self.0.as_ref().map(|inbound| &inbound.upload)
    }

    /// Breaks off when more than this comes.
    pub fn set_limit(&mut self, bytes: u64) {
        if let Some(inbound) = &mut self.0 {
            inbound.limit = bytes;
        }
    }

    /// Whether more is at hand, or the end was reached.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<Ready, BodyError>> {
        let Some(inbound) = &mut self.0 else { return Poll::Ready(Ok(Ready::End)) };
        inbound.poll_ready(cx).map_err(|error| {
            inbound.upload.failure.set(Some(error));
            error
        })
    }

    /// Lets `use_it` see the data at hand.
    pub fn with_chunk<R>(&self, use_it: impl FnOnce(&[u8]) -> R) -> R {
        match &self.0 {
            Some(inbound) => use_it(inbound.incoming.chunk(&inbound.link.wire.borrow())),
            None => use_it(&[]),
        }
    }

    /// So many bytes of the data at hand went upstream.
    pub fn advance(&mut self, bytes: usize) {
        if let Some(inbound) = &mut self.0 {
            inbound.upload.bytes.set(inbound.upload.bytes.get() + bytes as u64);
            inbound.incoming.advance(&mut inbound.link.wire.borrow_mut(), bytes);
        }
    }

    /// The fields behind it.
    pub fn take_trailers(&mut self) -> Option<Box<Headers>> {
        self.0.as_mut()?.incoming.take_trailers()
    }
}

impl Inbound {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<Ready, BodyError>> {
        if let Some(error) = self.upload.failure() {
            return Poll::Ready(Err(error));
        }
        let mut wire = self.link.wire.borrow_mut();
        if std::mem::take(&mut self.awaits_continue) && wire.input.is_empty() {
            self.link.interim(|out| out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n"));
        }
        match self.incoming.poll_ready(cx, &mut wire) {
            Poll::Ready(Ok(Ready::Data)) => {
                self.gap.moved();
                let bytes = self.upload.bytes() + self.incoming.chunk(&wire).len() as u64;
                Poll::Ready(if bytes > self.limit { Err(BodyError::TooLarge) } else { Ok(Ready::Data) })
            }
            Poll::Ready(Ok(Ready::End)) => {
                self.upload.ended.set(true);
                Poll::Ready(Ok(Ready::End))
            }
            Poll::Ready(Err(_)) => Poll::Ready(Err(BodyError::BrokenOff)),
            Poll::Pending => self.gap.poll_expired(cx, &self.alarm).map(Err),
        }
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        if self.incoming.is_done() {
            self.upload.ended.set(self.upload.failure().is_none());
        } else if self.upload.failure().is_none() {
            self.link.leave_unread(std::mem::replace(&mut self.incoming, Incoming::new(Framing::None)));
        }
    }
}

/// What became of an attempt to pass a body on without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spliced {
    /// So many bytes went to the client.
    Sent(usize),
    /// The client takes nothing just now.
    ClientWaits,
    /// The client has left.
    ClientGone,
    /// Nothing came just now.
    SourceWaits,
    /// The body broke off.
    Failed(BodyError),
}

/// Where a response's body comes from: an upstream's connection.
pub trait Source {
    /// Whether more is at hand, or the end was reached; the connection is free again then.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<Ready, BodyError>>;
    /// The data at hand.
    fn chunk(&self) -> &[u8];
    /// So many bytes of it were used.
    fn advance(&mut self, bytes: usize);
    /// Whether what comes next may go from socket to socket: nothing is at hand, and much is to come.
    fn splices(&self) -> bool;
    /// Passes on what comes, where [`Source::splices`] says so.
    fn splice(&mut self, cx: &mut Context<'_>, to: &Socket) -> Spliced;
    /// Bytes still to come, where that is known.
    fn left(&self) -> Option<u64>;
    /// The fields behind the body, once.
    fn take_trailers(&mut self) -> Option<Box<Headers>>;
}

/// A response's body, on its way to the client.
pub struct Body {
    from: From,
    finish: Option<Box<Finish>>,
}

enum From {
    Empty,
    /// An upstream's answer without a body, such as to HEAD: what its head says of one stands.
    Absent,
    Bytes(Bytes),
    Source(Box<dyn Source>),
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.from {
            From::Empty | From::Absent => "Body(empty)",
            From::Bytes(_) => "Body(bytes)",
            From::Source(_) => "Body(relayed)",
        })
    }
}

impl Body {
    /// No body.
    pub fn empty() -> Self {
        Self { from: From::Empty, finish: None }
    }

    /// What an upstream's answer without a body has.
    pub fn absent() -> Self {
        Self { from: From::Absent, finish: None }
    }

    /// A text of ours.
    pub fn text(text: impl Into<Bytes>) -> Self {
        let bytes = text.into();
        Self { from: if bytes.is_empty() { From::Empty } else { From::Bytes(bytes) }, finish: None }
    }

    /// An upstream's body.
    pub fn relayed(source: Box<dyn Source>) -> Self {
        Self { from: From::Source(source), finish: None }
    }

    /// Lets the guard ride on the body: it records the request when the body has gone out.
    pub(crate) fn ride(mut self, finish: Box<Finish>) -> Self {
        self.finish = Some(finish);
        self
    }

    /// Whether it is ours, not an upstream's.
    pub fn is_ours(&self) -> bool {
        matches!(self.from, From::Empty | From::Bytes(_))
    }

    /// Bytes still to come, where that is known.
    pub fn left(&self) -> Option<u64> {
        match &self.from {
            From::Empty | From::Absent => Some(0),
            From::Bytes(bytes) => Some(bytes.len() as u64),
            From::Source(source) => source.left(),
        }
    }

    /// Whether more is at hand, or the end was reached.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<Ready, BodyError>> {
        match &mut self.from {
            From::Empty | From::Absent => Poll::Ready(Ok(Ready::End)),
            From::Bytes(_) => Poll::Ready(Ok(Ready::Data)),
            From::Source(source) => source.poll_ready(cx),
        }
    }

    /// The data at hand.
    pub fn chunk(&self) -> &[u8] {
        match &self.from {
            From::Empty | From::Absent => &[],
            From::Bytes(bytes) => bytes,
            From::Source(source) => source.chunk(),
        }
    }

    /// So many bytes of the data at hand went to the client.
    pub fn advance(&mut self, count: usize) {
        match &mut self.from {
            From::Empty | From::Absent => {}
            From::Bytes(bytes) => {
                bytes::Buf::advance(bytes, count.min(bytes.len()));
                if bytes.is_empty() {
                    self.from = From::Empty;
                }
            }
            From::Source(source) => source.advance(count),
        }
        if let Some(finish) = &mut self.finish {
            finish.sent(count as u64);
        }
    }

    /// Whether what comes next may go from socket to socket.
    pub fn splices(&self) -> bool {
        matches!(&self.from, From::Source(source) if source.splices())
    }

    /// Passes on what comes, where [`Body::splices`] says so.
    pub fn splice(&mut self, cx: &mut Context<'_>, to: &Socket) -> Spliced {
        let From::Source(source) = &mut self.from else { return Spliced::SourceWaits };
        let spliced = source.splice(cx, to);
        if let (Spliced::Sent(bytes), Some(finish)) = (spliced, &mut self.finish) {
            finish.sent(bytes as u64);
        }
        spliced
    }

    /// The fields behind it.
    pub fn take_trailers(&mut self) -> Option<Box<Headers>> {
        match &mut self.from {
            From::Source(source) => source.take_trailers(),
            From::Empty | From::Absent | From::Bytes(_) => None,
        }
    }

    /// It is not sent: the answer ends with its head.
    pub fn skip(&mut self) {
        self.from = From::Empty;
    }

    /// The answer has gone out whole, or broke off: the request is recorded. Dropped without this, the client has left.
    pub fn end(&mut self, outcome: Result<(), BodyError>) {
        let Some(mut finish) = self.finish.take() else { return };
        match outcome {
            Ok(()) => finish.body_ended(),
            Err(BodyError::TooSlow) => finish.cut_short("upstream_idle_timeout"),
            Err(BodyError::OutOfTime) => finish.cut_short("total_timeout"),
            Err(BodyError::TooLarge | BodyError::BrokenOff) => finish.cut_short("upstream_truncated"),
        }
    }
}
