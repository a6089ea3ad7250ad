//! From an endpoint to an established HTTP/1.1 connection.

use std::net::SocketAddr;
use std::time::Duration;

use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use super::{AttemptError, Endpoint};
use crate::exchange::RequestBody;

/// The most bytes that the head of an answer may have.
const MAX_HEAD_BYTES: usize = 128 * 1024;

/// After this long without traffic the kernel asks whether the other side is still there.
const KEEPALIVE_AFTER: Duration = Duration::from_mins(1);

/// A connection: its sending half, and the task that drives it.
pub struct Connection {
    pub sender: SendRequest<RequestBody>,
    pub task: AbortHandle,
}

/// Connects.
pub async fn connect(endpoint: &Endpoint, within: Duration) -> Result<Connection, AttemptError> {
    let stream = match tokio::time::timeout(within, open(endpoint)).await {
        Ok(opened) => opened?,
        Err(_) => return Err(AttemptError::ConnectTimeout),
    };
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_AFTER));
    let handshake = Builder::new().max_buf_size(MAX_HEAD_BYTES).handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(|_| AttemptError::Reset)?;
    let task = tokio::task::spawn_local(async move {
        // How it ended is told to whoever waits for an answer; an idle connection's end is nobody's concern.
        let _ = connection.with_upgrades().await;
    });
    Ok(Connection { sender, task: task.abort_handle() })
}

async fn open(endpoint: &Endpoint) -> Result<TcpStream, AttemptError> {
    if let Some(address) = endpoint.literal {
        return TcpStream::connect(address).await.map_err(|_| AttemptError::Refused);
    }
    let resolved = tokio::net::lookup_host((&*endpoint.host, endpoint.port)).await;
    let addresses: Vec<SocketAddr> = resolved.map_err(|_| AttemptError::Unresolved)?.collect();
    let mut outcome = Err(AttemptError::Unresolved);
    for address in addresses {
        outcome = TcpStream::connect(address).await.map_err(|_| AttemptError::Refused);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}
