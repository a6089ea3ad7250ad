//! Tunnels: after an upstream's 101 the two connections are joined, byte for byte, until both have ended. A tunnel holds
//! names and its endpoint's place only: it outlives any number of reloads without keeping an old config.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};

use crate::exchange::Finish;
use crate::upstream::TunnelLease;

/// Bytes held for each direction of a tunnel.
const BUFFER: usize = 8 * 1024;

/// A tunnel about to begin.
pub(super) struct Tunnel {
    pub(super) client: OnUpgrade,
    pub(super) upstream: OnUpgrade,
    pub(super) lease: TunnelLease,
}

/// Joins the two sides, once the engine has sent the 101. The guard records the tunnel when it closes.
pub(super) fn start(tunnel: Tunnel, finish: Finish) {
    tokio::task::spawn_local(async move {
        let mut closing = Closing::new(finish);
        let Tunnel { client, upstream, lease } = tunnel;
        let (client, upstream) = tokio::join!(client, upstream);
        let (Ok(client), Ok(upstream)) = (client, upstream) else {
            closing.outcome = "tunnel_failed";
            return;
        };
        let mut client = Side { io: TokioIo::new(client), came: Rc::clone(&closing.bytes_in) };
        let mut upstream = Side { io: TokioIo::new(upstream), came: Rc::clone(&closing.bytes_out) };
        closing.outcome = match copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER, BUFFER).await {
            Ok(_) => "served",
            Err(_) => "tunnel_broken",
        };
        drop(lease);
    });
}

/// Tells the guard what the tunnel carried, however it closes.
struct Closing {
    finish: Option<Finish>,
    bytes_in: Rc<Cell<u64>>,
    bytes_out: Rc<Cell<u64>>,
    outcome: &'static str,
}

impl Closing {
    fn new(finish: Finish) -> Self {
        finish.tunnel_opened();
        Self { finish: Some(finish), bytes_in: Rc::default(), bytes_out: Rc::default(), outcome: "stopped" }
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        if let Some(finish) = self.finish.take() {
            finish.tunnel_closed(self.bytes_in.get(), self.bytes_out.get(), self.outcome);
        }
    }
}

/// One side of a tunnel, counting what comes from it.
struct Side {
    io: TokioIo<Upgraded>,
    came: Rc<Cell<u64>>,
}

impl AsyncRead for Side {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        self.came.set(self.came.get() + (buffer.filled().len() - before) as u64);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Side {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
