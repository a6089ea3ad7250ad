//! The clients' door: listeners and connections. A worker's whole life is [`serve`].

mod connection;
mod farewell;
mod listener;
mod respond;

pub use listener::{BindError, Bound, bind, hand_out};

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::daemon::{Life, Opened, Order};
use crate::worker::Worker;

/// A listener of this worker.
struct Door {
    closing: CancellationToken,
    accepting: JoinHandle<()>,
}

/// Serves until the daemon stops: takes orders, accepts, and at the end waits for what is under way.
pub async fn serve(worker: Rc<Worker>, mut orders: mpsc::Receiver<Order>) {
    let mut doors: HashMap<SocketAddr, Door> = HashMap::new();
    let mut life = worker.daemon.watch_life();
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Refresh { open, taken }) => {
                    worker.refresh();
                    close_removed(&mut doors, &worker).await;
                    for opened in open {
                        open_door(&mut doors, opened, &worker);
                    }
                    let _ = taken.send(());
                }
                Some(Order::Adopt { stream, peer, listener }) => {
                    adopt(stream, peer, listener, &worker);
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
    close(doors.into_values()).await;
    // Connections that another worker accepted last and handed over still lie in the mailbox.
    orders.close();
    while let Some(order) = orders.recv().await {
        if let Order::Adopt { stream, peer, listener } = order {
            adopt(stream, peer, listener, &worker);
            worker.load.handed();
        }
    }
    worker.draining.cancel();
    while worker.load.connections() > 0 && *life.borrow() != Life::Stopping {
        tokio::select! {
            () = worker.emptied.notified() => {}
            _ = life.changed() => {}
        }
    }
}

fn open_door(doors: &mut HashMap<SocketAddr, Door>, opened: Opened, worker: &Rc<Worker>) {
    let listener = match TcpListener::from_std(opened.socket) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(address = %opened.configured, %error, "a listener could not be served");
            return;
        }
    };
    let closing = CancellationToken::new();
    let accepting = accept(listener, opened.name, Rc::clone(worker), closing.clone());
    let accepting = tokio::task::spawn_local(accepting);
    doors.insert(opened.configured, Door { closing, accepting });
}

async fn close_removed(doors: &mut HashMap<SocketAddr, Door>, worker: &Worker) {
    let local = worker.local();
    let listen = &local.snapshot.checked.config.server.listen;
    let removed: Vec<SocketAddr> =
        doors.keys().filter(|address| !listen.iter().any(|kept| kept.address == **address)).copied().collect();
    close(removed.iter().filter_map(|address| doors.remove(address))).await;
}

/// Closes doors; what their queues hold is accepted first, since closing a socket resets its queue.
async fn close(doors: impl Iterator<Item = Door>) {
    for door in doors {
        door.closing.cancel();
        let _ = door.accepting.await;
    }
}

async fn accept(listener: TcpListener, name: Arc<str>, worker: Rc<Worker>, closing: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            () = closing.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => welcome(stream, peer, &name, &worker),
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
fn welcome(stream: TcpStream, peer: SocketAddr, listener: &Arc<str>, worker: &Rc<Worker>) {
    let limit = worker.local().snapshot.checked.config.server.limits.connections;
    if worker.daemon.connections() >= limit {
        worker.ledger.metrics.connection_refused("limit");
        return;
    }
    let Some(other) = worker.less_busy() else {
        connection::start(stream, peer, Arc::clone(listener), worker);
        return;
    };
    let Ok(stream) = stream.into_std() else { return };
    let order = Order::Adopt { stream, peer, listener: Arc::clone(listener) };
    other.load.hand();
    if let Err(refused) = other.orders.try_send(order) {
        other.load.handed();
        if let Order::Adopt { stream, peer, listener } = refused.into_inner() {
            adopt(stream, peer, listener, worker);
        }
    }
}

fn adopt(stream: std::net::TcpStream, peer: SocketAddr, listener: Arc<str>, worker: &Rc<Worker>) {
    if let Ok(stream) = TcpStream::from_std(stream) {
        connection::start(stream, peer, listener, worker);
    }
}
