//! A body as it comes: told piece by piece where it lies in the wire's buffer, in constant memory.

use std::io;
use std::task::{Context, Poll, ready};

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::Fault;
use crate::buffer::{LARGE, SMALL};
use crate::chunked::{ChunkStep, ChunkedDecoder};
use crate::framing::Framing;
use crate::headers::Headers;
use crate::wire::Wire;

/// Why a body is not whole.
#[derive(Debug, Error)]
pub enum BodyFault {
    #[error("{0}")]
    Malformed(#[from] Fault),
    /// The other side ended the connection before the body's end.
    #[error("the connection ended within a body")]
    Ended,
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// What [`Incoming::poll_ready`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// [`Incoming::chunk`] has some bytes.
    Data,
    /// The body was whole.
    End,
}

#[derive(Debug)]
enum Reading {
    Length(u64),
    Chunked(ChunkedDecoder),
    Close,
    Done,
}

/// See the module. The bytes stay in the wire: the same one must be given each time.
#[derive(Debug)]
pub struct Incoming {
    reading: Reading,
    /// Bytes of data at the front of the wire's buffer.
    at_hand: usize,
    /// Whether the last read filled its room: the next may be larger.
    flows: bool,
    trailers: Option<Box<Headers>>,
}

impl Incoming {
    /// A body of this framing.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        let reading = match framing {
            Framing::None => Reading::Done,
            Framing::Length(bytes) => Reading::Length(bytes),
            Framing::Chunked => Reading::Chunked(ChunkedDecoder::default()),
            Framing::Close => Reading::Close,
        };
        Self { reading, at_hand: 0, flows: false, trailers: None }
    }

    /// Whether the end was reached.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.reading, Reading::Done)
    }

    /// Bytes still to come, where that is known.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        match self.reading {
            Reading::Done => Some(0),
            Reading::Length(left) => Some(left),
            Reading::Chunked(_) | Reading::Close => None,
        }
    }

    /// So many bytes that were read past the wire's buffer, which is empty, were of the body.
    pub fn passed(&mut self, bytes: u64) {
        if let Reading::Length(left) = &mut self.reading {
            *left = left.saturating_sub(bytes);
            if *left == 0 {
                self.reading = Reading::Done;
            }
        }
    }

    /// The fields behind a chunked body, once.
    pub fn take_trailers(&mut self) -> Option<Box<Headers>> {
        self.trailers.take()
    }

    /// Looks at what is there, and reads where that is not enough.
    ///
    /// # Errors
    ///
    /// See [`BodyFault`].
    pub fn poll_ready<S>(&mut self, cx: &mut Context<'_>, wire: &mut Wire<S>) -> Poll<Result<Ready, BodyFault>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            if let Some(ready) = self.look(wire)? {
                return Poll::Ready(Ok(ready));
            }
            let wanted = match self.reading {
                Reading::Length(left) => usize::try_from(left).unwrap_or(LARGE).min(LARGE),
                Reading::Chunked(_) | Reading::Close if self.flows => LARGE,
                Reading::Chunked(_) | Reading::Close | Reading::Done => SMALL,
            };
            let read = ready!(wire.poll_fill(cx, wanted))?;
            self.flows = read >= SMALL / 2;
            if read == 0 {
                return Poll::Ready(match self.reading {
                    Reading::Close => {
                        self.reading = Reading::Done;
                        Ok(Ready::End)
                    }
                    Reading::Length(_) | Reading::Chunked(_) | Reading::Done => Err(BodyFault::Ended),
                });
            }
        }
    }

    /// What is at hand: data, the end, or too little.
    fn look<S>(&mut self, wire: &mut Wire<S>) -> Result<Option<Ready>, Fault> {
        if self.at_hand > 0 {
            return Ok(Some(Ready::Data));
        }
        match &mut self.reading {
            Reading::Done => return Ok(Some(Ready::End)),
            Reading::Length(left) => {
                self.at_hand = usize::try_from(*left).unwrap_or(usize::MAX).min(wire.input.len());
            }
            Reading::Close => self.at_hand = wire.input.len(),
            Reading::Chunked(decoder) => match decoder.decode(wire.input.bytes())? {
                ChunkStep::Data { framing, data } => {
                    wire.input.consume(framing);
                    self.at_hand = data;
                }
                ChunkStep::More { framing } => wire.input.consume(framing),
                ChunkStep::End { framing, trailers } => {
                    wire.input.consume(framing);
                    self.trailers = trailers;
                    self.reading = Reading::Done;
                    return Ok(Some(Ready::End));
                }
            },
        }
        Ok((self.at_hand > 0).then_some(Ready::Data))
    }

    /// The data at hand.
    pub fn chunk<'a, S>(&self, wire: &'a Wire<S>) -> &'a [u8] {
        wire.input.bytes().get(..self.at_hand).unwrap_or_default()
    }

    /// So many bytes of the data at hand were used.
    pub fn advance<S>(&mut self, wire: &mut Wire<S>, bytes: usize) {
        let bytes = bytes.min(self.at_hand);
        self.at_hand -= bytes;
        wire.input.consume(bytes);
        match &mut self.reading {
            Reading::Length(left) => {
                *left -= bytes as u64;
                if *left == 0 {
                    self.reading = Reading::Done;
                }
            }
            Reading::Chunked(decoder) => decoder.consume(bytes),
            Reading::Close | Reading::Done => {}
        }
    }
}
