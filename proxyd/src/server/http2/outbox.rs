//! What goes out on a connection of HTTP/2, gathered: `h2` writes each frame of data by itself, and a write for each costs more
//! than all else that is done for an answer.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use crate::exchange::Link;

/// From so much on it goes out before more is taken.
const FULL: usize = 64 * 1024;
/// Spare buffers that a thread keeps: a connection that has nothing to say holds none.
const SPARE: usize = 8;

thread_local! {
    static BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// See the module.
#[derive(Default)]
pub(super) struct Outbox {
    bytes: RefCell<Vec<u8>>,
    sent: Cell<usize>,
    gathers: Cell<bool>,
}

impl Outbox {
    /// From now on somebody looks after it: what is written may wait for what comes with it.
    pub(super) fn gather(&self) {
        self.gathers.set(true);
    }

    pub(super) fn gathers(&self) -> bool {
        self.gathers.get()
    }

    /// Takes a piece.
    pub(super) fn put(&self, piece: &[u8]) {
        let mut bytes = self.bytes.borrow_mut();
        if bytes.capacity() == 0 {
            *bytes = BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_default();
        }
        bytes.extend_from_slice(piece);
    }

    /// Waits until there is room for more.
    pub(super) fn poll_room(&self, cx: &mut Context<'_>, link: &Link) -> Poll<io::Result<()>> {
        if self.bytes.borrow().len() < FULL { Poll::Ready(Ok(())) } else { self.poll_out(cx, link) }
    }

    /// Sends all that was gathered.
    pub(super) fn poll_out(&self, cx: &mut Context<'_>, link: &Link) -> Poll<io::Result<()>> {
        let mut bytes = self.bytes.borrow_mut();
        let mut wire = link.wire.borrow_mut();
        while let Some(rest) = bytes.get(self.sent.get()..).filter(|rest| !rest.is_empty()) {
            let written = ready!(Pin::new(&mut wire.stream).poll_write(cx, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent.set(self.sent.get() + written);
        }
        self.sent.set(0);
        let mut spare = std::mem::take(&mut *bytes);
        if spare.capacity() > 0 && spare.capacity() <= 4 * FULL {
            spare.clear();
            BUFFERS.with_borrow_mut(|buffers| {
                if buffers.len() < SPARE {
                    buffers.push(spare);
                }
            });
        }
        Pin::new(&mut wire.stream).poll_flush(cx)
    }
}
