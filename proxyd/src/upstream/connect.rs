//! From an endpoint to an established connection.

use std::net::SocketAddr;
use std::time::Duration;

use frames::proxy_header;
use shared::config::ProxyHeader;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::pool::Within;
use super::way::{Asks, Way};
use super::{AttemptError, Endpoint};
use crate::exchange::Socket;
use crate::tls::{Alpn, ClientTls};

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
    within: Within,
) -> Result<Connected, AttemptError> {
    let stream = match tokio::time::timeout(within.connect, reach(endpoint, way, asks)).await {
        Ok(reached) => reached?,
        Err(_) => return Err(AttemptError::ConnectTimeout),
    };
    let Some(tls) = &way.tls else { return Ok(Connected { socket: Socket::Plain(stream), http2: way.is_http2() }) };
    match tokio::time::timeout(within.tls, encrypt(endpoint, way, tls, way.alpn(asks.upgrades), stream)).await {
        Ok(connected) => connected,
        Err(_) => Err(AttemptError::TlsTimeout),
    }
}

/// A connection of TCP, with the header that it begins with.
async fn reach(endpoint: &Endpoint, way: &Way, asks: &Asks) -> Result<TcpStream, AttemptError> {
    let mut stream = open(endpoint).await?;
    let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_AFTER));
    let local = asks.local.unwrap_or_else(|| SocketAddr::new(asks.client.ip(), 0));
    greet(&mut stream, way.proxy_header, asks.client, local).await?;
    Ok(stream)
}

pub(super) async fn encrypt(
    endpoint: &Endpoint,
    way: &Way,
    tls: &ClientTls,
    alpn: Alpn,
    stream: TcpStream,
) -> Result<Connected, AttemptError> {
    let name = tls.server_name(&endpoint.host).ok_or(AttemptError::Tls)?;
    let connector = TlsConnector::from(tls.config(alpn));
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
    dial(endpoint, endpoint.port).await
}

/// A connection of TCP to this port of an endpoint.
pub(super) async fn dial(endpoint: &Endpoint, port: u16) -> Result<TcpStream, AttemptError> {
    if let Some(address) = endpoint.literal {
        let address = SocketAddr::new(address.ip(), port);
        return TcpStream::connect(address).await.map_err(|_| AttemptError::Refused);
    }
    let resolved = tokio::net::lookup_host((&*endpoint.host, port)).await;
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

/// What every connection of TCP is set to, and the PROXY header that it begins with.
pub(super) async fn greet(
    stream: &mut TcpStream,
    header: Option<ProxyHeader>,
    client: SocketAddr,
    local: SocketAddr,
) -> Result<(), AttemptError> {
    let _ = stream.set_nodelay(true);
    let Some(version) = header else { return Ok(()) };
    let mut bytes = Vec::new();
    match version {
        ProxyHeader::V1 => proxy_header::write_v1(&mut bytes, client, local),
        ProxyHeader::V2 => proxy_header::write_v2(&mut bytes, client, local),
    }
    stream.write_all(&bytes).await.map_err(|_| AttemptError::Reset)
}
