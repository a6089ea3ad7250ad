//! A message as it goes out: head and first bytes in one write, small pieces gathered, large ones written from where they
//! lie.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use crate::buffer;
use crate::headers::Headers;

/// Smaller pieces are copied and gathered; from this size on they are written from where they lie.
const GATHERED: usize = 4 * 1024;
/// What is gathered goes out at the latest when it has this size.
const FULL: usize = 12 * 1024;

/// How the receiver learns where the body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// There is none, or its length was announced: so many bytes are still owed.
    Length(u64),
    Chunked,
    /// The connection is closed behind it.
    Close,
}

/// See the module.
#[derive(Debug)]
pub struct Outgoing {
    pending: Vec<u8>,
    sent: usize,
    shape: Shape,
    /// Of a chunk whose size is written, so many bytes are still owed.
    chunk_left: usize,
}

impl Outgoing {
    /// A message whose head is given by `write`, which need not write the empty line behind it.
    pub fn start(write: impl FnOnce(&mut Vec<u8>), shape: Shape) -> Self {
        let mut pending = buffer::take(1);
        write(&mut pending);
        pending.extend_from_slice(b"\r\n");
        Self { pending, sent: 0, shape, chunk_left: 0 }
    }

    /// Whether nothing waits to be written.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.sent == self.pending.len()
    }

    /// Whether so much waits that it should go out before more is gathered.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.pending.len() - self.sent >= FULL
    }

    /// So many bytes of the body went out by another way, past what was gathered, which is nothing: false where that is more
    /// than was announced, or bytes cannot go out bare.
    #[must_use]
    pub fn passed(&mut self, bytes: usize) -> bool {
        self.is_flushed() && self.shape != Shape::Chunked && self.owe(bytes)
    }

    /// Gathers a small piece: true where it was taken.
    pub fn put(&mut self, data: &[u8]) -> bool {
        // Of nothing no chunk can be made: it would be the last.
        if data.is_empty() {
            return true;
        }
        if data.len() >= GATHERED || self.is_full() || self.chunk_left > 0 || !self.owe(data.len()) {
            return false;
        }
        self.wake();
        if self.shape == Shape::Chunked {
            self.chunk_size(data.len());
            self.pending.extend_from_slice(data);
            self.pending.extend_from_slice(b"\r\n");
        } else {
            self.pending.extend_from_slice(data);
        }
        true
    }

    /// Whether the body may have so many bytes more.
    fn owe(&mut self, bytes: usize) -> bool {
        match &mut self.shape {
            Shape::Length(left) => left.checked_sub(bytes as u64).map(|rest| *left = rest).is_some(),
            Shape::Chunked | Shape::Close => true,
        }
    }

    fn chunk_size(&mut self, bytes: usize) {
        let mut digits = [0; 16];
        let mut start = digits.len();
        let mut rest = bytes;
        while rest > 0 && start > 0 {
            start -= 1;
            if let Some(digit) = digits.get_mut(start) {
                *digit = b"0123456789abcdef".get(rest & 15).copied().unwrap_or(b'0');
            }
            rest >>= 4;
        }
        self.pending.extend_from_slice(digits.get(start..).unwrap_or_default());
        self.pending.extend_from_slice(b"\r\n");
    }

    /// Makes sure that there is a buffer to gather in.
    fn wake(&mut self) {
        if self.pending.capacity() == 0 {
            self.pending = buffer::take(1);
        }
    }

    /// Writes what was gathered and then some of `data`: how much of it. Without any it writes nothing.
    ///
    /// # Errors
    ///
    /// Those of the connection; and `InvalidData` for more than was announced.
    pub fn poll_send<W>(&mut self, cx: &mut Context<'_>, stream: &mut W, data: &[u8]) -> Poll<io::Result<usize>>
    where
        W: AsyncWrite + Unpin,
    {
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if let Shape::Length(left) = self.shape
            && (data.len() as u64) > left
        {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let chunked = self.shape == Shape::Chunked;
        if chunked && self.chunk_left == 0 {
            self.wake();
            self.chunk_size(data.len());
            self.chunk_left = data.len();
        }
        let data = if chunked { data.get(..self.chunk_left).unwrap_or(data) } else { data };
        loop {
            let gathered = self.pending.get(self.sent..).unwrap_or_default();
            // A chunk's end goes with it.
            let tail: &[u8] = if chunked && data.len() == self.chunk_left { b"\r\n" } else { b"" };
            let slices = [io::IoSlice::new(gathered), io::IoSlice::new(data), io::IoSlice::new(tail)];
            let written = ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &slices))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_gathered = written.min(gathered.len());
            let of_data = (written - of_gathered).min(data.len());
            let of_tail = written - of_gathered - of_data;
            self.sent += of_gathered;
            if self.is_flushed() {
                self.rest();
            }
            if of_data == 0 {
                continue;
            }
            self.owe(of_data);
            if chunked {
                self.chunk_left -= of_data;
                if self.chunk_left == 0 && of_tail < tail.len() {
                    self.wake();
                    self.pending.extend_from_slice(tail.get(of_tail..).unwrap_or_default());
                }
            }
            return Poll::Ready(Ok(of_data));
        }
    }

    /// The body has ended: gathers what tells so. False where less came than was announced: the connection must be closed.
    #[must_use]
    pub fn finish(&mut self, trailers: Option<&Headers>) -> bool {
        match self.shape {
            Shape::Length(left) => left == 0,
            Shape::Close => true,
            Shape::Chunked => {
                self.wake();
                self.pending.extend_from_slice(b"0\r\n");
                if let Some(trailers) = trailers {
                    trailers.write(&mut self.pending);
                }
                self.pending.extend_from_slice(b"\r\n");
                self.chunk_left == 0
            }
        }
    }

    /// Writes what was gathered, and what the stream itself holds back (TLS records).
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn poll_flush<W>(&mut self, cx: &mut Context<'_>, stream: &mut W) -> Poll<io::Result<()>>
    where
        W: AsyncWrite + Unpin,
    {
        while !self.is_flushed() {
            let gathered = self.pending.get(self.sent..).unwrap_or_default();
            let written = ready!(Pin::new(&mut *stream).poll_write(cx, gathered))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
        }
        self.rest();
        Pin::new(stream).poll_flush(cx)
    }

    /// All is written: the memory goes back.
    fn rest(&mut self) {
        self.sent = 0;
        buffer::give(std::mem::take(&mut self.pending));
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        buffer::give(std::mem::take(&mut self.pending));
    }
}

#[cfg(test)]
mod tests;
