//! From an endpoint to an established connection.

use std::net::SocketAddr;
use std::time::Duration;

use http1::Wire;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::{AttemptError, Endpoint};
use crate::exchange::Socket;

/// After this long without traffic the kernel asks whether the other side is still there.
const KEEPALIVE_AFTER: Duration = Duration::from_mins(1);

/// Connects.
pub async fn connect(endpoint: &Endpoint, within: Duration) -> Result<Wire<Socket>, AttemptError> {
    let stream = match tokio::time::timeout(within, open(endpoint)).await {
        Ok(opened) => opened?,
        Err(_) => return Err(AttemptError::ConnectTimeout),
    };
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_AFTER));
    Ok(Wire::new(stream))
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
