//! One connection's bytes: read into a buffer that exists only while it holds something, and taken out as heads.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::poll_read_buf;

use crate::buffer::Buffer;
use crate::headers::Headers;
use crate::parse::{HeadLimits, HeadParser, StartLine};
use crate::{Fault, buffer};

/// A head of either direction.
pub(crate) trait Head: Sized {
    fn parser() -> HeadParser;
    fn of(start: Option<StartLine>, headers: Headers) -> Result<Self, Fault>;
}

/// Why no head came.
#[derive(Debug, Error)]
pub enum HeadError {
    /// The other side ended the connection where a head could have begun.
    #[error("the connection ended")]
    Closed,
    /// It ended it within a head.
    #[error("the connection ended within a head")]
    ClosedEarly,
    /// What came is no head.
    #[error("{0}")]
    Malformed(#[from] Fault),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// A connection with what came and is not yet used.
#[derive(Debug)]
pub struct Wire<S> {
    pub stream: S,
    pub input: Buffer,
    ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Nothing came yet.
    pub fn new(stream: S) -> Self {
        Self { stream, input: Buffer::default(), ended: false }
    }

    /// Whether the other side said that it sends no more.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Reads once: how many bytes came, and none where the other side has ended. `wanted` is the room asked for where the
    /// buffer must be taken first.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        let room = self.input.room(wanted);
        let polled = poll_read_buf(Pin::new(&mut self.stream), cx, room);
        match polled {
            Poll::Pending => {
                self.input.release();
                Poll::Pending
            }
            Poll::Ready(Ok(0)) => {
                self.ended = true;
                self.input.release();
                Poll::Ready(Ok(0))
            }
            Poll::Ready(outcome) => Poll::Ready(outcome),
        }
    }

    /// The next head.
    pub(crate) fn poll_head<H: Head>(
        &mut self,
        cx: &mut Context<'_>,
        parser: &mut HeadParser,
        limits: &HeadLimits,
        wanted: usize,
    ) -> Poll<Result<H, HeadError>> {
        loop {
            if !self.input.is_empty()
                && let Some(head) = take_head(&mut self.input, parser, limits)?
            {
                return Poll::Ready(Ok(head));
            }
            if ready!(self.poll_fill(cx, wanted))? == 0 {
                return Poll::Ready(Err(if self.input.is_empty() {
                    HeadError::Closed
                } else {
                    HeadError::ClosedEarly
                }));
            }
        }
    }

    /// The next request's head. `parser` keeps what was seen of it. One empty line before it is passed over (RFC 9112
    /// section 2.2).
    ///
    /// # Errors
    ///
    /// See [`HeadError`].
    pub fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
        parser: &mut HeadParser,
        limits: &HeadLimits,
    ) -> Poll<Result<crate::RequestHead, HeadError>> {
        while parser.is_untouched() && self.input.len() < 3 {
            match self.input.bytes() {
                [] | [b'\r'] | [b'\r', b'\n'] => {
                    if ready!(self.poll_fill(cx, buffer::SMALL))? == 0 {
                        return Poll::Ready(Err(HeadError::Closed));
                    }
                }
                _ => break,
            }
        }
        if parser.is_untouched() && self.input.bytes().starts_with(b"\r\n") {
            self.input.consume(2);
        }
        self.poll_head(cx, parser, limits, buffer::SMALL)
    }

    /// The next response's head. `wanted` is how much is likely to come with it.
    ///
    /// # Errors
    ///
    /// See [`HeadError`].
    pub fn poll_response(
        &mut self,
        cx: &mut Context<'_>,
        parser: &mut HeadParser,
        limits: &HeadLimits,
        wanted: usize,
    ) -> Poll<Result<crate::ResponseHead, HeadError>> {
        self.poll_head(cx, parser, limits, wanted)
    }
}

fn take_head<H: Head>(input: &mut Buffer, parser: &mut HeadParser, limits: &HeadLimits) -> Result<Option<H>, Fault> {
    let Some(parsed) = parser.parse(input.bytes(), limits)? else { return Ok(None) };
    let text = input.take(parsed.end);
    H::of(parsed.start, Headers::parsed(text, parsed.lines, parsed.present)).map(Some)
}

/// The head that `bytes` begin with, and its length.
pub(crate) fn parse_whole<H: Head>(bytes: &[u8], limits: &HeadLimits) -> Result<Option<(H, usize)>, Fault> {
    let Some(parsed) = H::parser().parse(bytes, limits)? else { return Ok(None) };
    let text = bytes.get(..parsed.end).unwrap_or_default().to_vec();
    let head = H::of(parsed.start, Headers::parsed(text, parsed.lines, parsed.present))?;
    Ok(Some((head, parsed.end)))
}

#[cfg(test)]
mod tests;
