//! A message's body on a stream of HTTP/2, as it comes: flow control gives the sender room again as bytes are used.

use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use h2::{Reason, RecvStream};
use http1::Ready;

use super::Headers;
use super::body::BodyError;
use super::translate;

/// See the module.
#[derive(Debug)]
pub struct StreamBody {
    stream: RecvStream,
    chunk: Bytes,
    /// Bytes announced and not yet used.
    left: Option<u64>,
    ended: bool,
    trailers: Option<Box<Headers>>,
}

impl StreamBody {
    /// What comes on the stream, with the length that its head announced.
    pub fn new(stream: RecvStream, announced: Option<u64>) -> Self {
        let ended = stream.is_end_stream();
        let left = if ended { Some(0) } else { announced };
        Self { stream, chunk: Bytes::new(), left, ended, trailers: None }
    }

    /// Whether the end was reached.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Bytes still to come, where that is known.
    pub fn left(&self) -> Option<u64> {
        self.left
    }

    /// Whether nothing can come any more: no data, and no trailer fields.
    pub fn is_over(&self) -> bool {
        self.chunk.is_empty() && self.trailers.is_none() && (self.ended || self.stream.is_end_stream())
    }

    /// Whether more is at hand, or the end was reached.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<Ready, BodyError>> {
        loop {
            if !self.chunk.is_empty() {
                return Poll::Ready(Ok(Ready::Data));
            }
            if self.ended {
                return Poll::Ready(Ok(Ready::End));
            }
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(chunk)) => self.chunk = chunk,
                // All that was announced has come: it is whole, however its sender leaves the stream.
                Some(Err(_)) if self.left == Some(0) => self.ended = true,
                Some(Err(error)) => return Poll::Ready(Err(broken(&error))),
                None => {
                    let fields = ready!(self.stream.poll_trailers(cx)).map_err(|error| broken(&error))?;
                    self.trailers = match fields {
                        Some(fields) => Some(translate::trailers(&fields).ok_or(BodyError::BrokenOff)?),
                        None => None,
                    };
                    self.ended = true;
                }
            }
        }
    }

    /// The data at hand.
    pub fn chunk(&self) -> &[u8] {
        &self.chunk
    }

    /// Takes so many bytes of the data at hand, without a copy.
    pub fn take(&mut self, bytes: usize) -> Bytes {
        let taken = self.chunk.split_to(bytes.min(self.chunk.len()));
        self.used(taken.len());
        taken
    }

    /// So many bytes of the data at hand were used.
    pub fn advance(&mut self, bytes: usize) {
        let bytes = bytes.min(self.chunk.len());
        self.chunk.advance(bytes);
        self.used(bytes);
    }

    fn used(&mut self, bytes: usize) {
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(bytes as u64);
        }
        // Refused only for more than came.
        let _ = self.stream.flow_control().release_capacity(bytes);
    }

    /// The fields behind the body, once.
    pub fn take_trailers(&mut self) -> Option<Box<Headers>> {
        self.trailers.take()
    }
}

/// How a stream's end is told to the other side: with its own code, where the sender gave one.
pub fn broken(error: &h2::Error) -> BodyError {
    match error.reason() {
        Some(reason) if error.is_reset() && reason != Reason::NO_ERROR => BodyError::Reset(reason.into()),
        _ => BodyError::BrokenOff,
    }
}
