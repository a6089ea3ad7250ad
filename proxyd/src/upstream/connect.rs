//! From an endpoint to an established connection.

use std::net::SocketAddr;
use std::time::Duration;

use frames::proxy_header;
use shared::config::ProxyHeader;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::way::{Asks, Way};
use super::{AttemptError, Endpoint};
use crate::exchange::Socket;

/// After this long without traffic the kernel asks whether the other side is still there.
const KEEPALIVE_AFTER: Duration = Duration::from_mins(1);

/// A connection, and whether the endpoint chose HTTP/2 on it.
pub(super) struct Connected {
    pub(super) socket: Socket,
    pub(super) http2: bool,
}

/// Connects.
pub(super) async fn connect(
    endpoint: &Endpoint,
    way: &Way,
    asks: &Asks,
    within: Duration,
) -> Result<Connected, AttemptError> {
    match tokio::time::timeout(within, establish(endpoint, way, asks)).await {
        Ok(connected) => connected,
        Err(_) => Err(AttemptError::ConnectTimeout),
    }
}

async fn establish(endpoint: &Endpoint, way: &Way, asks: &Asks) -> Result<Connected, AttemptError> {
    let mut stream = open(endpoint).await?;
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_AFTER));
    if let Some(version) = way.proxy_header {
        let mut header = Vec::new();
        let local = asks.local.unwrap_or_else(|| SocketAddr::new(asks.client.ip(), 0));
        match version {
            ProxyHeader::V1 => proxy_header::write_v1(&mut header, asks.client, local),
            ProxyHeader::V2 => proxy_header::write_v2(&mut header, asks.client, local),
        }
        stream.write_all(&header).await.map_err(|_| AttemptError::Reset)?;
    }
    let Some(tls) = &way.tls else { return Ok(Connected { socket: Socket::Plain(stream), http2: way.is_http2() }) };
    let name = tls.server_name(&endpoint.host).ok_or(AttemptError::Tls)?;
    let connector = TlsConnector::from(tls.config(way.alpn(asks.upgrades)));
    let stream = connector.connect(name, stream).await.map_err(|error| {
        tracing::warn!(upstream = %endpoint.upstream, endpoint = %endpoint.address, %error, "no TLS with an endpoint");
        AttemptError::Tls
    })?;
    let http2 = match stream.get_ref().1.alpn_protocol() {
        Some(chosen) => chosen == b"h2",
        None => way.is_http2(),
    };
    if way.is_http2() && !http2 {
        return Err(AttemptError::Protocol);
    }
    Ok(Connected { socket: Socket::Tls(Box::new(stream.into())), http2 })
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
