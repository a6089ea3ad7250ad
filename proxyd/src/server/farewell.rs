//! Closing a connection so that the client gets to read the last answer: closing with bytes unread would reset it
//! (RFC 9112 section 9.6).

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWrite;

use crate::exchange::Link;

/// How long what the client still sends is read and dropped.
const LINGER: Duration = Duration::from_secs(2);
/// And how much of it.
const MOST: usize = 8 * 1024 * 1024;
/// Room for one read of it.
const PIECE: usize = 16 * 1024;

/// Ends our side; then, where something was left unread, waits for the client to end its own.
pub(super) async fn say(link: &Link, unread: bool) {
    let ended = poll_fn(|cx| Pin::new(&mut link.wire.borrow_mut().stream).poll_shutdown(cx)).await;
    let nothing_left = link.wire.borrow().input.is_empty();
    if ended.is_err() || (!unread && nothing_left) {
        return;
    }
    let mut read = 0;
    let drained = poll_fn(|cx| {
        let mut wire = link.wire.borrow_mut();
        while read < MOST {
            let held = wire.input.len();
            wire.input.consume(held);
            match ready!(wire.poll_fill(cx, PIECE)) {
                Ok(0) | Err(_) => break,
                Ok(bytes) => read += bytes,
            }
        }
        Poll::Ready(())
    });
    let _ = tokio::time::timeout(LINGER, drained).await;
}
