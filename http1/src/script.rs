//! A connection for tests: what comes on it is written down beforehand and comes in pieces, each after a wait; what is sent
//! on it is kept, and taken in pieces too.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Script {
    coming: VecDeque<u8>,
    /// So many bytes come at once; all, where this is 0.
    piece: usize,
    /// So many bytes are taken at once; all, where this is 0.
    bite: usize,
    waited: bool,
    /// Nothing comes before something was sent.
    answers: bool,
    /// What was sent.
    pub(crate) sent: Vec<u8>,
    /// In how many writes.
    pub(crate) writes: usize,
}

impl Script {
    /// These bytes come, so many at once, and then the end.
    pub(crate) fn coming(bytes: &[u8], piece: usize) -> Self {
        Self { coming: bytes.iter().copied().collect(), piece, ..Self::default() }
    }

    /// So many bytes are taken at once.
    pub(crate) fn taking(bite: usize) -> Self {
        Self { bite, ..Self::default() }
    }

    /// These bytes come once something was sent.
    #[allow(dead_code, reason = "not every test needs an answer")]
    pub(crate) fn answering(bytes: &[u8]) -> Self {
        Self { coming: bytes.iter().copied().collect(), answers: true, ..Self::default() }
    }

    /// How many bytes are still to come.
    #[allow(dead_code, reason = "not every test looks")]
    pub(crate) fn left(&self) -> usize {
        self.coming.len()
    }

    /// Every other call must wait, where things go in pieces.
    fn waits(&mut self, pieces: usize) -> bool {
        self.waited = pieces > 0 && !self.waited;
        self.waited
    }
}

impl AsyncRead for Script {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let piece = self.piece;
        if self.answers && self.sent.is_empty() || self.waits(piece) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let most = if piece == 0 { usize::MAX } else { piece };
        let count = self.coming.len().min(buffer.remaining()).min(most);
        let bytes: Vec<u8> = self.coming.drain(..count).collect();
        buffer.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bite = self.bite;
        if self.waits(bite) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let most = if bite == 0 { usize::MAX } else { bite };
        let before = self.sent.len();
        for slice in slices {
            let room = most - (self.sent.len() - before);
            self.sent.extend(slice.iter().take(room));
        }
        self.writes += 1;
        Poll::Ready(Ok(self.sent.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Polls until something is ready: a script never waits twice in a row for the same thing, so that a poll that brings
/// nothing for long is a defect.
pub(crate) fn until_ready<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..10_000_000 {
        if let Poll::Ready(ready) = poll(&mut cx) {
            return ready;
        }
    }
    unreachable!("it waits for ever")
}
