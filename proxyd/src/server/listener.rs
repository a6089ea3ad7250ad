//! Traffic listeners: each address is bound once per worker, and the kernel spreads connections over them.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tokio::sync::oneshot;

use crate::daemon::{Daemon, Opened, Order};

/// How long a worker waits when it cannot accept.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Connections that the kernel queues for one listener of one worker (it may cut this: `net.core.somaxconn`).
pub(super) const BACKLOG: i32 = 4096;

/// How long a worker may take to acknowledge a snapshot: it only has to come round once.
const REFRESH_WITHIN: Duration = Duration::from_secs(5);

/// An address that cannot be listened on.
#[derive(Debug, Error)]
#[error("cannot listen on {address}: {hint}")]
pub struct BindError {
    pub address: SocketAddr,
    hint: String,
    #[source]
    source: io::Error,
}

impl BindError {
    pub(super) fn new(address: SocketAddr, source: io::Error) -> Self {
        let kind = source.kind();
        let hint = if kind == io::ErrorKind::AddrInUse {
            format!("port {} is taken by another process", address.port())
        } else if kind == io::ErrorKind::PermissionDenied {
            format!("port {} needs a privilege (CAP_NET_BIND_SERVICE)", address.port())
        } else if kind == io::ErrorKind::AddrNotAvailable {
            format!("this machine has no address {}", address.ip())
        } else {
            source.to_string()
        };
        Self { address, hint, source }
    }
}

/// Sockets bound for addresses that a reload or the start adds: nothing is accepted on them yet.
#[derive(Debug, Default)]
pub struct Bound {
    /// For each worker, its sockets.
    pub(super) sockets: Vec<Vec<Opened>>,
    /// Configured and real address of each.
    pub(super) addresses: Vec<(SocketAddr, SocketAddr)>,
}

/// Binds these addresses for so many workers. `own` are the addresses already listened on by this process: a wider or
/// narrower address of the same port may be added beside them. All or nothing.
pub fn bind(added: &[SocketAddr], workers: usize, own: &[SocketAddr]) -> Result<Bound, BindError> {
    let mut bound = Bound { sockets: (0..workers).map(|_| Vec::new()).collect(), addresses: Vec::new() };
    for &configured in added {
        let failed = |error| BindError::new(configured, error);
        if configured.port() != 0 && !own.iter().any(|own| own.port() == configured.port()) {
            // With SO_REUSEPORT a second daemon of the same user would share the port unnoticed.
            drop(open(configured, false).map_err(failed)?);
        }
        let mut real = configured;
        let mut first = None;
        for worker in &mut bound.sockets {
            let socket = open(real, true).map_err(failed)?;
            socket.listen(BACKLOG).map_err(failed)?;
            let socket = TcpListener::from(socket);
            real = socket.local_addr().map_err(failed)?;
            let name: Arc<str> = Arc::clone(first.get_or_insert_with(|| real.to_string().into()));
            worker.push(Opened { configured, name, socket });
        }
        bound.addresses.push((configured, real));
    }
    Ok(bound)
}

pub(super) fn open(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    if !shared {
        // Only listening tells whether somebody else listens: binding alone succeeds beside a listener that allows it.
        socket.listen(1)?;
    }
    Ok(socket)
}

/// After a snapshot was stored: gives the workers their new sockets and waits until each has taken the snapshot, opened
/// what is new and closed what is gone. Nothing here can fail; a worker that does not come round is reported.
pub async fn hand_out(daemon: &Daemon, mut bound: Bound) {
    let mut acknowledgements = Vec::new();
    for (index, worker) in daemon.workers.iter().enumerate() {
        let open = bound.sockets.get_mut(index).map(std::mem::take).unwrap_or_default();
        let (taken, acknowledged) = oneshot::channel();
        if worker.orders.send(Order::Refresh { open, taken }).await.is_ok() {
            acknowledgements.push((index, acknowledged));
        }
    }
    for (worker, acknowledged) in acknowledgements {
        if tokio::time::timeout(REFRESH_WITHIN, acknowledged).await.is_err() {
            tracing::warn!(worker, "a worker is slow to take the new config");
        }
    }
    let snapshot = daemon.snapshot();
    let listen = &snapshot.checked.config.server.listen;
    let mut addresses = daemon.listening();
    addresses.extend(bound.addresses);
    addresses.retain(|(configured, _)| listen.iter().any(|kept| kept.address == *configured));
    daemon.set_listening(addresses);
}
