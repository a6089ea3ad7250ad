//! One side of a tunnel: a connection that has left HTTP/1.1, or a stream of HTTP/2.

use std::any::Any;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::SendStream;
use http1::{Ready, Wire};
use tokio::io::AsyncWrite;

use super::{Socket, StreamBody};

/// Room for one read.
const PIECE: usize = 16 * 1024;

/// See the module. Waiting, it holds no buffer.
pub enum End {
    Wire(Wire<Socket>),
    Stream {
        body: StreamBody,
        send: SendStream<Bytes>,
        /// Its place among the connection's streams, where somebody counts them.
        seat: Option<Box<dyn Any>>,
    },
}

impl End {
    /// Whether something is at hand; false once the other side has ended.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        match self {
            Self::Wire(wire) => {
                if wire.input.is_empty() {
                    return wire.poll_fill(cx, PIECE).map_ok(|bytes| bytes > 0);
                }
                Poll::Ready(Ok(true))
            }
            Self::Stream { body, .. } => {
                let ready = ready!(body.poll_ready(cx)).map_err(io::Error::other)?;
                Poll::Ready(Ok(ready == Ready::Data))
            }
        }
    }

    /// What is at hand.
    pub fn chunk(&self) -> &[u8] {
        match self {
            Self::Wire(wire) => wire.input.bytes(),
            Self::Stream { body, .. } => body.chunk(),
        }
    }

    /// So many bytes of it were used.
    pub fn advance(&mut self, bytes: usize) {
        match self {
            Self::Wire(wire) => wire.input.consume(bytes),
            Self::Stream { body, .. } => body.advance(bytes),
        }
    }

    /// Sends: how much of it.
    pub fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Wire(wire) => match ready!(Pin::new(&mut wire.stream).poll_write(cx, bytes))? {
                0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => Poll::Ready(Ok(sent)),
            },
            Self::Stream { send, .. } => {
                let room = ready!(poll_room(send, cx, bytes.len()))?;
                let piece = bytes.get(..room).unwrap_or(bytes);
                send.send_data(Bytes::copy_from_slice(piece), false).map_err(io::Error::other)?;
                Poll::Ready(Ok(piece.len()))
            }
        }
    }

    /// Sends what the connection holds back.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Wire(wire) => Pin::new(&mut wire.stream).poll_flush(cx),
            Self::Stream { .. } => Poll::Ready(Ok(())),
        }
    }

    /// Tells the other side that nothing more comes.
    pub fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Wire(wire) => Pin::new(&mut wire.stream).poll_shutdown(cx),
            Self::Stream { send, .. } => Poll::Ready(send.send_data(Bytes::new(), true).map_err(io::Error::other)),
        }
    }
}

/// How many of so many bytes a stream takes now: at least one.
pub fn poll_room(send: &mut SendStream<Bytes>, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
    send.reserve_capacity(wanted);
    loop {
        let room = send.capacity();
        if room > 0 {
            return Poll::Ready(Ok(room.min(wanted)));
        }
        match ready!(send.poll_capacity(cx)) {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
            None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}
