//! Traffic listeners that are shared with another process: those that this one was given, and those that it gives to the
//! one that takes over. Of each address every socket goes along: each has a queue of its own, and clients wait in it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::listener::{self, BACKLOG, BindError, Bound};
use crate::daemon::{Daemon, Opened, Order};
use crate::inherited::Inherited;

/// How long a worker may take to share its sockets: it only has to come round once.
const SHARED_WITHIN: Duration = Duration::from_secs(5);

/// The sockets of these addresses for so many workers: those that were given, and for the other addresses bound ones.
pub fn open(listen: &[SocketAddr], workers: usize, inherited: &mut Inherited) -> Result<Bound, BindError> {
    let mut adopted = Bound { sockets: (0..workers).map(|_| Vec::new()).collect(), addresses: Vec::new() };
    let mut missing = Vec::new();
    for &configured in listen {
        let given = inherited.traffic(configured);
        if given.is_empty() {
            missing.push(configured);
        } else {
            adopt(configured, given, &mut adopted).map_err(|error| BindError::new(configured, error))?;
        }
    }
    let own: Vec<SocketAddr> = adopted.addresses.iter().map(|(_, real)| *real).collect();
    let bound = listener::bind(&missing, workers, &own)?;
    for (worker, sockets) in adopted.sockets.iter_mut().zip(bound.sockets) {
        worker.extend(sockets);
    }
    adopted.addresses.extend(bound.addresses);
    adopted.addresses.sort_by_key(|(configured, _)| listen.iter().position(|listed| listed == configured));
    Ok(adopted)
}

/// Spreads an address's sockets over the workers: all of them, however many workers there are.
fn adopt(configured: SocketAddr, given: Vec<TcpListener>, bound: &mut Bound) -> io::Result<()> {
    let Some(first) = given.first() else { return Ok(()) };
    let real = first.local_addr()?;
    let name: Arc<str> = real.to_string().into();
    let workers = bound.sockets.len();
    // Who has more workers than sockets gets further ones of the same address; where its owner does not share it so, as a
    // service manager may not, workers share one socket and its queue.
    let mut further = Vec::new();
    for index in given.len()..workers {
        let own = listener::open(real, true).and_then(|socket| socket.listen(BACKLOG).map(|()| socket.into()));
        let shared = || given.get(index % given.len()).unwrap_or(first).try_clone();
        further.push(own.or_else(|_| shared())?);
    }
    for (index, socket) in given.into_iter().chain(further).enumerate() {
        if let Some(worker) = bound.sockets.get_mut(index % workers.max(1)) {
            worker.push(Opened { configured, name: Arc::clone(&name), socket });
        }
    }
    bound.addresses.push((configured, real));
    Ok(())
}

/// Every listening socket of every worker, under its configured address, workers in their order. None where a worker does
/// not answer or has too few descriptors.
pub async fn share(daemon: &Daemon) -> Option<Vec<(SocketAddr, TcpListener)>> {
    let mut shared = Vec::new();
    for worker in &daemon.workers {
        let (with, sockets) = oneshot::channel();
        worker.orders.send(Order::Share(with)).await.ok()?;
        shared.extend(tokio::time::timeout(SHARED_WITHIN, sockets).await.ok()?.ok()?);
    }
    let of = |address| shared.iter().filter(|(configured, _)| *configured == address).count();
    let is_whole = daemon.listening().iter().all(|(configured, _)| of(*configured) >= daemon.workers.len());
    is_whole.then_some(shared)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inherited::Use;

    /// How many sockets each worker gets of so many.
    fn check(given: usize, workers: usize, expected: &[usize]) {
        let configured = "127.0.0.1:0".parse().unwrap();
        let first = listener::open(configured, true).unwrap();
        first.listen(1).unwrap();
        let real = first.local_addr().unwrap().as_socket().unwrap();
        let mut sockets = vec![(Use::Traffic(configured), first.into())];
        for _ in 1..given {
            let socket = listener::open(real, true).unwrap();
            socket.listen(1).unwrap();
            sockets.push((Use::Traffic(configured), socket.into()));
        }
        let bound = open(&[configured], workers, &mut Inherited::of(sockets)).unwrap();
        assert_eq!(bound.addresses, [(configured, real)]);
        assert_eq!(bound.sockets.iter().map(Vec::len).collect::<Vec<_>>(), expected, "{given} for {workers}");
        assert!(bound.sockets.iter().flatten().all(|opened| opened.socket.local_addr().unwrap() == real));
    }

    #[test]
    fn every_socket_finds_a_worker_and_every_worker_a_socket() {
        check(1, 1, &[1]);
        check(2, 2, &[1, 1]);
        check(5, 2, &[3, 2]);
        check(1, 3, &[1, 1, 1]);
    }

    #[test]
    fn a_socket_that_nobody_else_may_bind_is_shared() {
        let given = TcpListener::bind("127.0.0.1:0").unwrap();
        let real = given.local_addr().unwrap();
        let mut inherited = Inherited::of(vec![(Use::Traffic(real), given.into())]);
        let bound = open(&[real], 3, &mut inherited).unwrap();
        assert_eq!(bound.sockets.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1]);
    }
}
