//! Tunnels: after an upstream's 101 the two connections are joined, byte for byte, until both have ended. A tunnel holds
//! names and its endpoint's place only: it outlives any number of reloads without keeping an old config.

use std::cell::Cell;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http1::Wire;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy};

use crate::exchange::{Finish, Socket, Takeover};
use crate::upstream::TunnelLease;

/// How long a client may go on sending when its upstream has ended the tunnel.
const AFTER_UPSTREAM: Duration = Duration::from_secs(2);

/// A tunnel about to begin.
pub(super) struct Tunnel {
    pub(super) upstream: Wire<Socket>,
    pub(super) lease: TunnelLease,
}

/// What joins the two sides, once the 101 was sent. The guard records the tunnel when it closes.
pub(super) fn takeover(tunnel: Tunnel, finish: Box<Finish>) -> Takeover {
    Box::new(move |client| {
        tokio::task::spawn_local(async move {
            let mut closing = Closing::new(finish);
            let Tunnel { upstream, lease } = tunnel;
            let client = Side { wire: client, came: Rc::clone(&closing.bytes_in) };
            let upstream = Side { wire: upstream, came: Rc::clone(&closing.bytes_out) };
            closing.outcome = if join(client, upstream).await.is_ok() { "served" } else { "tunnel_broken" };
            drop(lease);
        });
    })
}

/// Carries bytes both ways until both sides have ended. A client may end its side and go on listening for as long as the
/// upstream speaks; once the upstream has ended, what the client still sends has little time: there is nobody who answers.
async fn join(client: Side, upstream: Side) -> io::Result<()> {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_upstream, mut to_upstream) = tokio::io::split(upstream);
    let mut inward = pin!(async {
        copy(&mut from_client, &mut to_upstream).await?;
        to_upstream.shutdown().await
    });
    let mut outward = pin!(async {
        copy(&mut from_upstream, &mut to_client).await?;
        to_client.shutdown().await
    });
    tokio::select! {
        sent = &mut inward => {
            sent?;
            outward.await
        }
        told = &mut outward => {
            told?;
            match tokio::time::timeout(AFTER_UPSTREAM, inward).await {
                Ok(sent) => sent,
                Err(_) => Ok(()),
            }
        }
    }
}

/// Tells the guard what the tunnel carried, however it closes.
struct Closing {
    finish: Option<Box<Finish>>,
    bytes_in: Rc<Cell<u64>>,
    bytes_out: Rc<Cell<u64>>,
    outcome: &'static str,
}

impl Closing {
    fn new(finish: Box<Finish>) -> Self {
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

/// One side of a tunnel, counting what comes from it: first what lay behind the head.
struct Side {
    wire: Wire<Socket>,
    came: Rc<Cell<u64>>,
}

impl AsyncRead for Side {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let this = &mut *self;
        if this.wire.input.is_empty() {
            ready!(Pin::new(&mut this.wire.stream).poll_read(cx, buffer))?;
        } else {
            let held = this.wire.input.bytes();
            let now = held.get(..buffer.remaining()).unwrap_or(held);
            buffer.put_slice(now);
            let taken = now.len();
            this.wire.input.consume(taken);
        }
        this.came.set(this.came.get() + (buffer.filled().len() - before) as u64);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Side {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire.stream).poll_shutdown(cx)
    }
}
