//! The clients' door: listeners and connections. A worker's whole life is [`serve`].

mod arrival;
mod connection;
mod date;
mod drain;
mod fall;
mod farewell;
mod http2;
mod listener;
mod respond;
mod shared_sockets;
mod unasked;

pub use listener::{BindError, Bound, bind, hand_out};
pub use shared_sockets::{open, share};

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::daemon::{Arrived, Life, Opened, Order};
use crate::snapshot::Listening;
use crate::worker::Worker;

/// A listener of this worker.
struct Door {
    listener: Rc<TcpListener>,
    /// What whoever comes in now is served by. It outlives its listener until that is closed.
    listening: Rc<RefCell<Arc<Listening>>>,
    closing: CancellationToken,
    accepting: JoinHandle<()>,
}

/// Serves until the daemon stops: takes orders, accepts, and at the end waits for what is under way.
pub async fn serve(worker: Rc<Worker>, mut orders: mpsc::Receiver<Order>) {
    // One address may have several: what another process of more workers left.
    let mut doors: HashMap<SocketAddr, Vec<Door>> = HashMap::new();
    let mut life = worker.daemon.watch_life();
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Refresh { open, taken }) => {
                    worker.refresh();
                    take_over(&doors, &worker);
                    close_removed(&mut doors, &worker).await;
                    for opened in open {
                        open_door(&mut doors, opened, &worker);
                    }
                    let _ = taken.send(());
                }
                Some(Order::Share(with)) => {
                    let _ = with.send(share_doors(&doors));
                }
                Some(Order::Adopt { stream, arrived }) => {
                    adopt(stream, arrived, &worker);
                    worker.load.handed();
                }
                None => return,
            },
            changed = life.changed() => {
                let now = *life.borrow_and_update();
                if changed.is_err() || now == Life::Stopping {
                    return;
                }
                if now == Life::Draining {
                    break;
                }
            }
        }
    }
    close(doors.into_values().flatten()).await;
    // Connections that another worker accepted last and handed over still lie in the mailbox.
    orders.close();
    while let Some(order) = orders.recv().await {
        if let Order::Adopt { stream, arrived } = order {
            adopt(stream, arrived, &worker);
            worker.load.handed();
        }
    }
    worker.draining.cancel();
    let mut goodbye = std::pin::pin!(tokio::time::sleep(drain::until_goodbye(&worker)));
    while worker.load.connections() > 0 && *life.borrow() != Life::Stopping {
        tokio::select! {
            () = goodbye.as_mut(), if !worker.parting.is_cancelled() => worker.parting.cancel(),
            () = worker.emptied.notified() => {}
            _ = life.changed() => {}
        }
    }
}

/// Of what a client has not yet been sent, the kernel takes no more than this: it grows a connection's buffer to megabytes
/// otherwise, and thousands of clients that read slowly would have all the memory that TCP may have.
const UNSENT: u32 = 256 * 1024;

fn open_door(doors: &mut HashMap<SocketAddr, Vec<Door>>, opened: Opened, worker: &Rc<Worker>) {
    // Connections have it from their listener.
    if let Err(error) = SockRef::from(&opened.socket).set_tcp_notsent_lowat(UNSENT) {
        tracing::debug!(%error, "what clients have not been sent is not bounded");
    }
    let listener = match TcpListener::from_std(opened.socket) {
        Ok(listener) => Rc::new(listener),
        Err(error) => {
            tracing::error!(address = %opened.configured, %error, "a listener could not be served");
            return;
        }
    };
    let Some(listening) = worker.local().snapshot.listening(opened.configured).map(Arc::clone) else { return };
    let listening = Rc::new(RefCell::new(listening));
    let closing = CancellationToken::new();
    let (door, served) = (Rc::clone(&listener), Rc::clone(&listening));
    let accepting = accept(door, opened.name, served, Rc::clone(worker), closing.clone());
    let accepting = tokio::task::spawn_local(accepting);
    doors.entry(opened.configured).or_default().push(Door { listener, listening, closing, accepting });
}

/// The sockets, for another process: it accepts on them beside us, then instead of us.
fn share_doors(doors: &HashMap<SocketAddr, Vec<Door>>) -> Vec<(SocketAddr, std::net::TcpListener)> {
    let all = doors.iter().flat_map(|(address, doors)| doors.iter().map(|door| (*address, &door.listener)));
    let shared = all.map(|(address, listener)| (address, listener.as_fd().try_clone_to_owned()));
    shared.filter_map(|(address, socket)| Some((address, socket.ok()?.into()))).collect()
}

/// Doors that stay are served by what the new snapshot says of them.
fn take_over(doors: &HashMap<SocketAddr, Vec<Door>>, worker: &Worker) {
    let local = worker.local();
    for (address, doors) in doors {
        let Some(listening) = local.snapshot.listening(*address) else { continue };
        for door in doors {
            door.listening.replace(Arc::clone(listening));
        }
    }
}

async fn close_removed(doors: &mut HashMap<SocketAddr, Vec<Door>>, worker: &Worker) {
    let local = worker.local();
    let listen = &local.snapshot.checked.config.server.listen;
    let removed: Vec<SocketAddr> =
        doors.keys().filter(|address| !listen.iter().any(|kept| kept.address == **address)).copied().collect();
    close(removed.iter().filter_map(|address| doors.remove(address)).flatten()).await;
}

/// Closes doors; what their queues hold is accepted first, since closing a socket resets its queue.
async fn close(doors: impl Iterator<Item = Door>) {
    for door in doors {
        door.closing.cancel();
        let _ = door.accepting.await;
    }
}

async fn accept(
    listener: Rc<TcpListener>,
    name: Arc<str>,
    listening: Rc<RefCell<Arc<Listening>>>,
    worker: Rc<Worker>,
    closing: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            () = closing.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => welcome(stream, Arrived::new(peer, &name, &listening.borrow()), &worker),
            Err(error) => {
                // Out of file descriptors, most likely: accepting again at once would only spin.
                worker.ledger.metrics.connection_refused("accept_failed");
                tracing::warn!(%error, listener = %name, "a connection could not be accepted");
                tokio::time::sleep(listener::ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A connection was accepted: served here, or by a worker with clearly less to do.
fn welcome(stream: TcpStream, arrived: Arrived, worker: &Rc<Worker>) {
    let limit = worker.local().snapshot.checked.config.server.limits.connections;
    if worker.daemon.connections() >= limit {
        worker.ledger.metrics.connection_refused("limit");
        return;
    }
    let Some(other) = worker.less_busy() else {
        arrival::start(stream, arrived, worker);
        return;
    };
    let Ok(stream) = stream.into_std() else { return };
    other.load.hand();
    if let Err(refused) = other.orders.try_send(Order::Adopt { stream, arrived }) {
        other.load.handed();
        if let Order::Adopt { stream, arrived } = refused.into_inner() {
            adopt(stream, arrived, worker);
        }
    }
}

fn adopt(stream: std::net::TcpStream, arrived: Arrived, worker: &Rc<Worker>) {
    if let Ok(stream) = TcpStream::from_std(stream) {
        arrival::start(stream, arrived, worker);
    }
}
