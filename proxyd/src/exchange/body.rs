//! Message bodies: streamed in both directions, never gathered. Each knows when it ended and how. Here that of an answer.

use std::fmt;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http1::{Headers, Ready};
use shared::decide::threats::Misfit;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{Alarm, Finish};

/// Why a body broke off. The connection is closed then, so that the other side sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BodyError {
    #[error("the body is over its limit")]
    TooLarge,
    /// It does not look as bodies must here.
    #[error("the body is not taken as it is")]
    Unfit(Misfit),
    #[error("the body came too slowly")]
    TooSlow,
    #[error("the time for the whole request is up")]
    OutOfTime,
    #[error("the body broke off")]
    BrokenOff,
    /// Its sender reset the stream, with this code of HTTP/2 (RFC 9113 section 7).
    #[error("the stream was reset")]
    Reset(u32),
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
    /// Takes so many bytes of it.
    fn take(&mut self, bytes: usize) -> Bytes {
        let chunk = self.chunk();
        let taken = Bytes::copy_from_slice(chunk.get(..bytes).unwrap_or(chunk));
        self.advance(taken.len());
        taken
    }
    /// Whether it is known that nothing more comes, though its end was not reached yet.
    fn is_over(&self) -> bool;
    /// Whether what comes next may go from socket to socket: nothing is at hand, and much is to come.
    fn splices(&self) -> bool;
    /// Passes on what comes, where [`Source::splices`] says so.
    fn splice(&mut self, cx: &mut Context<'_>, to: &TcpStream) -> Spliced;
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

    /// Whether it is known that nothing more comes: no data, and no trailer fields.
    pub fn is_over(&self) -> bool {
        match &self.from {
            From::Empty | From::Absent => true,
            From::Bytes(bytes) => bytes.is_empty(),
            From::Source(source) => source.is_over(),
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

    /// Takes so many bytes of the data at hand: they go to the client.
    pub fn take(&mut self, bytes: usize) -> Bytes {
        let taken = match &mut self.from {
            From::Empty | From::Absent => Bytes::new(),
            From::Bytes(held) => {
                let taken = held.split_to(bytes.min(held.len()));
                if held.is_empty() {
                    self.from = From::Empty;
                }
                taken
            }
            From::Source(source) => source.take(bytes),
        };
        if let Some(finish) = &mut self.finish {
            finish.sent(taken.len() as u64);
        }
        taken
    }

    /// Whether what comes next may go from socket to socket.
    pub fn splices(&self) -> bool {
        matches!(&self.from, From::Source(source) if source.splices())
    }

    /// Passes on what comes, where [`Body::splices`] says so.
    pub fn splice(&mut self, cx: &mut Context<'_>, to: &TcpStream) -> Spliced {
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

    /// The client took nothing of it for too long, and was given up.
    pub fn stalled(&mut self) {
        if let Some(finish) = &mut self.finish {
            finish.cut_short("write_timeout");
        }
    }

    /// The answer has gone out whole, or broke off: the request is recorded. Dropped without this, the client has left.
    pub fn end(&mut self, outcome: Result<(), BodyError>) {
        let Some(mut finish) = self.finish.take() else { return };
        match outcome {
            Ok(()) => finish.body_ended(),
            Err(BodyError::TooSlow) => finish.cut_short("upstream_idle_timeout"),
            Err(BodyError::OutOfTime) => finish.cut_short("total_timeout"),
            Err(BodyError::Reset(_)) => finish.cut_short("upstream_reset"),
            Err(BodyError::TooLarge | BodyError::Unfit(_) | BodyError::BrokenOff) => {
                finish.cut_short("upstream_truncated");
            }
        }
    }
}
