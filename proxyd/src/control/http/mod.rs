//! The HTTP door: the same commands as on the socket, on the admin listener only. Has limits of its own, far below those
//! of the traffic listeners, and trusts neither a browser's other pages nor a name that somebody made point here.

mod answer;
mod attempts;
mod auth;
mod body;
mod guard;
pub mod openapi;
mod schemas;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::answer::Desk;
use super::stall::Stall;
use super::{Executor, last_call};
use crate::inherited::Inherited;

/// How much callers may ask for.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections at once.
    pub connections: usize,
    /// Bytes of a config text that is posted.
    pub config: usize,
    /// Bytes of any other body.
    pub arguments: usize,
    /// From the first byte of a head to its last, and from one request to the next.
    pub head: Duration,
    /// From a head to the end of its body.
    pub body: Duration,
    /// How long a caller may read nothing while something waits for it.
    pub patience: Duration,
    /// Between two signs of life in an event stream.
    pub heartbeat: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 64,
            config: 8 * 1024 * 1024,
            arguments: 64 * 1024,
            head: Duration::from_secs(30),
            body: Duration::from_secs(30),
            patience: Duration::from_mins(1),
            heartbeat: Duration::from_secs(15),
        }
    }
}

/// The admin listener in force, if there is one. A reload puts another in its place.
pub type Listening = watch::Receiver<Option<Arc<TcpListener>>>;

/// Why the admin listener cannot be opened.
#[derive(Debug, Error)]
#[error("admin.listen {address}: {error}")]
pub struct BindError {
    pub address: SocketAddr,
    pub error: io::Error,
}

/// Opens the admin listener, or has been given it. Must be called within a runtime.
pub async fn bind(address: SocketAddr, inherited: &mut Inherited) -> Result<Arc<TcpListener>, BindError> {
    let bound = match inherited.admin(address) {
        Some(given) => TcpListener::from_std(given),
        None => TcpListener::bind(address).await,
    };
    bound.map(Arc::new).map_err(|error| BindError { address, error })
}

/// How long `accept` rests after it failed for want of file descriptors or memory.
const REST: Duration = Duration::from_millis(100);

/// Bytes of a request's head.
const HEAD_BYTES: usize = 32 * 1024;

/// Serves whatever listener is in force until `stop`, after which nothing new is taken. What is under way then goes on
/// among `callers`.
pub async fn serve<E: Executor>(
    mut listening: Listening,
    executor: Arc<E>,
    bounds: Bounds,
    stop: CancellationToken,
    callers: TaskTracker,
) {
    let desk = Arc::new(Desk::new(executor, bounds, stop.clone()));
    let room = Arc::new(Semaphore::new(bounds.connections));
    loop {
        let listener = listening.borrow_and_update().clone();
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            changed = listening.changed() => match changed {
                Ok(()) => continue,
                Err(_) => break,
            },
            accepted = accept(listener.as_deref()) => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Without room the caller is let go at once; there is nobody who could hear a reason.
                let Ok(place) = Arc::clone(&room).try_acquire_owned() else { continue };
                let (desk, stop) = (Arc::clone(&desk), stop.clone());
                callers.spawn(async move {
                    converse(stream, peer, desk, bounds, stop).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the admin listener cannot accept");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// One connection.
async fn converse<E: Executor>(
    stream: TcpStream,
    peer: SocketAddr,
    desk: Arc<Desk<E>>,
    bounds: Bounds,
    stop: CancellationToken,
) {
    let Ok(local) = stream.local_addr() else { return };
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let desk = Arc::clone(&desk);
        async move { Ok::<_, std::convert::Infallible>(desk.answer(request, peer, local).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(Stall::new(stream, bounds.patience)), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // What goes wrong here is the caller's own doing, and it has been told so.
        _ = connection.as_mut() => return,
        () = last_call(&stop) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

#[cfg(test)]
mod tests;
