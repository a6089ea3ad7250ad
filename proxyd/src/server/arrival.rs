//! A connection from its acceptance to its protocol: who it is (PROXY header), whether one more of that address may come in,
//! TLS, and which HTTP the client speaks. All of it has little time.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use frames::proxy_header::{self, Accepts};
use shared::config::ProxyProtocol;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::fall::Fall;
use super::{connection, http2, unasked};
use crate::daemon::Arrived;
use crate::exchange::{Link, Made, Peer, Presence, Socket};
use crate::snapshot::Listening;
use crate::tls::{PeerCertificate, ServerTls};
use crate::worker::Worker;

/// After this long without traffic the kernel asks whether the client is still there.
const KEEPALIVE_AFTER: Duration = Duration::from_mins(1);

/// How long what a client in the clear still sends is read and dropped.
const LINGER: Duration = Duration::from_millis(500);

/// The first byte of every handshake (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;

/// Starts serving a connection.
pub(super) fn start(stream: TcpStream, arrived: Arrived, worker: &Rc<Worker>) {
    let worker = Rc::clone(worker);
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_AFTER));
    let Arrived { address, name, listening } = arrived;
    let presence = Presence::enter(&worker.load, &worker.ledger.metrics, &worker.emptied);
    let settings = &listening.settings;
    let local = (settings.proxy_protocol.is_some() || worker.tells_where()).then(|| stream.local_addr().ok()).flatten();
    let mut peer = Peer {
        address,
        ip: address.ip().to_canonical(),
        ip_text: "".into(),
        listener: name,
        configured: settings.address,
        local,
        tls: listening.tls.is_some(),
        certificate: None,
        made: Made::default(),
        https_redirect: settings.https_redirect,
        presence,
        seat: None,
    };
    if settings.proxy_protocol.is_none() && listening.tls.is_none() {
        // Nothing to wait for: nothing more is needed than the connection itself.
        peer.name();
        if take_seat(&mut peer, &worker) {
            let protocols = settings.protocols;
            connection::start(Socket::Plain(stream), peer, protocols, &worker);
        }
        return;
    }
    tokio::task::spawn_local(async move {
        let _fall = Fall::of(&worker);
        arrive(stream, peer, &listening, &worker).await;
    });
}

/// Whether one more connection of this address may come in.
fn take_seat(peer: &mut Peer, worker: &Worker) -> bool {
    let Some(most) = worker.local().snapshot.checked.config.server.limits.connections_per_address else { return true };
    peer.seat = worker.daemon.crowd.enter(peer.ip, most);
    if peer.seat.is_none() {
        worker.ledger.metrics.connection_refused("address_limit");
    }
    peer.seat.is_some()
}

async fn arrive(mut stream: TcpStream, mut peer: Peer, listening: &Listening, worker: &Rc<Worker>) {
    let within = worker.local().snapshot.checked.config.server.timeouts.handshake;
    let until = Instant::now() + within;
    if let Some(versions) = listening.settings.proxy_protocol {
        let header = tokio::time::timeout_at(until, proxied(&mut stream, &mut peer, versions, worker)).await;
        if let Err(failure) = header.unwrap_or(Err("proxy_header_timeout")) {
            peer.name();
            return failed(peer, failure, worker);
        }
    }
    peer.name();
    if !take_seat(&mut peer, worker) {
        return;
    }
    let Some(tls) = &listening.tls else {
        return connection::start(Socket::Plain(stream), peer, listening.settings.protocols, worker);
    };
    match tokio::time::timeout_at(until, handshake(stream, tls, &mut peer, worker)).await {
        Err(_) => failed(peer, "tls_handshake_timeout", worker),
        Ok(Err(failure)) => failed(peer, failure, worker),
        Ok(Ok((socket, http2))) if http2 => {
            let peer = Rc::new(peer);
            http2::serve(Rc::new(Link::new(socket)), peer, worker).await;
        }
        Ok(Ok((socket, _))) => connection::start(socket, peer, listening.settings.protocols, worker),
    }
}

/// Reads who the connection is really of. Only those may say so whose word is taken.
async fn proxied(
    stream: &mut TcpStream,
    peer: &mut Peer,
    versions: ProxyProtocol,
    worker: &Worker,
) -> Result<(), &'static str> {
    let is_trusted = {
        let local = worker.local();
        local.snapshot.checked.config.server.trusted_proxies.iter().any(|network| network.contains(&peer.ip))
    };
    if !is_trusted {
        return Err("proxy_header_untrusted");
    }
    let accepts = match versions {
        ProxyProtocol::V1 => Accepts::V1,
        ProxyProtocol::V2 => Accepts::V2,
        ProxyProtocol::Any => Accepts::Any,
    };
    let mut held = Vec::new();
    let mut ahead = [0; 512];
    // What lies behind the header is not ours to take: it is looked at first.
    let header = loop {
        let seen = stream.peek(&mut ahead).await.map_err(|_| "io")?;
        if seen == 0 {
            return Err("closed_early");
        }
        let before = held.len();
        held.extend_from_slice(ahead.get(..seen).unwrap_or_default());
        let parsed = proxy_header::parse(&held, accepts).map_err(|fault| {
            tracing::debug!(%fault, peer = %peer.ip, "no PROXY header");
            "proxy_header"
        })?;
        let taken = parsed.as_ref().map_or(seen, |(_, length)| length.saturating_sub(before));
        let mut used = vec![0; taken];
        stream.read_exact(&mut used).await.map_err(|_| "io")?;
        if let Some((header, _)) = parsed {
            break header;
        }
    };
    if let Some(source) = header.source {
        peer.address = source;
        peer.ip = source.ip().to_canonical();
    }
    peer.local = header.destination.or(peer.local);
    Ok(())
}

/// TLS, and whether the client chose HTTP/2 in it.
async fn handshake(
    stream: TcpStream,
    tls: &ServerTls,
    peer: &mut Peer,
    worker: &Worker,
) -> Result<(Socket, bool), &'static str> {
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(0) => return Err("closed_early"),
        Ok(_) if first == [HANDSHAKE] => {}
        Ok(_) => {
            in_clear(stream).await;
            return Err("tls_expected");
        }
        Err(_) => return Err("io"),
    }
    let beginning = tls.begin();
    let accepting = TlsAcceptor::from(Arc::clone(&beginning.config)).accept(stream);
    let stream = accepting.await.map_err(|error| {
        tracing::debug!(%error, peer = %peer.ip, "no TLS with a client");
        if error.kind() == std::io::ErrorKind::UnexpectedEof { "closed_early" } else { "tls_handshake" }
    })?;
    let session = stream.get_ref().1;
    worker.ledger.metrics.tls_handshake(match (session.protocol_version(), session.handshake_kind()) {
        (Some(rustls::ProtocolVersion::TLSv1_2), Some(rustls::HandshakeKind::Resumed)) => "1.2 resumed",
        (Some(rustls::ProtocolVersion::TLSv1_2), _) => "1.2",
        (_, Some(rustls::HandshakeKind::Resumed)) => "1.3 resumed",
        _ => "1.3",
    });
    if let Some(chain) = session.peer_certificates() {
        let now_s = worker.ledger.clock.now().unix_us.div_euclid(1_000_000);
        peer.certificate =
            Some(PeerCertificate::of(chain, beginning.authorities.as_ref(), now_s).ok_or("tls_handshake")?);
    }
    let http2 = session.alpn_protocol() == Some(b"h2");
    Ok((Socket::Tls(Box::new(stream.into())), http2))
}

/// Tells a client that speaks HTTP in the clear where it must not.
async fn in_clear(mut stream: TcpStream) {
    use tokio::io::AsyncWriteExt as _;
    const BODY: &str = "400 tls_expected: This port speaks HTTPS; write https:// to it.\n";
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{BODY}",
        BODY.len()
    );
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
    // Closing with bytes unread would reset the connection before the answer is read.
    let mut dropped = [0; 4096];
    let rest = async { while stream.read(&mut dropped).await.is_ok_and(|bytes| bytes > 0) {} };
    let _ = tokio::time::timeout(LINGER, rest).await;
}

/// Counts and records a connection that brought no request.
fn failed(peer: Peer, failure: &'static str, worker: &Worker) {
    worker.ledger.metrics.connection_error(failure);
    // Whoever says nothing and leaves was only looking whether somebody is there.
    if !matches!(failure, "closed_early" | "io") {
        unasked::cut(&Rc::new(peer), failure, "", worker);
    }
}
