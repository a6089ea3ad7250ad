//! The socket door: JSON lines over a Unix domain socket, for those whom the kernel vouches for.
//!
//! Each connection has its own tasks, a bound on what it may ask at once, and a writer that gives up on a caller who
//! stops reading: no caller can make another wait.

mod bind;
mod lines;

use std::sync::Arc;
use std::time::Duration;

use nix::unistd::{Gid, Group, Uid, User};
use shared::audit::Door;
use shared::config::Role;
use shared::control::{Access, Answer, Ask, ControlError, ErrorCode, Id, VERSION, Wire};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf, UCred};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::lines::{Line, Lines};
use super::stall::Stall;
use super::{Caller, Executor, Reply, Row, last_call};

pub use bind::{BindError, BoundSocket, bind};

/// How much one caller may ask for.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections of operators.
    pub operators: usize,
    /// Connections of everybody else, so that they cannot keep an operator out.
    pub others: usize,
    /// Requests under way on one connection; further ones wait to be read.
    pub in_flight: usize,
    /// Streams without end on one connection; further ones are refused.
    pub endless: usize,
    /// How long a caller may read nothing while something waits for it.
    pub patience: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { operators: 64, others: 32, in_flight: 32, endless: 8, patience: Duration::from_mins(1) }
    }
}

/// Lines made ahead of a caller that reads slowly.
const LINES_AHEAD: usize = 16;

/// How long `accept` rests after it failed for want of file descriptors or memory.
const REST: Duration = Duration::from_millis(100);

/// Serves the socket until `stop`, after which nothing new is taken. What is under way then goes on among `callers`.
pub async fn serve<E: Executor>(
    socket: Arc<BoundSocket>,
    executor: Arc<E>,
    bounds: Bounds,
    stop: CancellationToken,
    callers: TaskTracker,
) {
    let operators = Arc::new(Semaphore::new(bounds.operators));
    let others = Arc::new(Semaphore::new(bounds.others));
    loop {
        let stream = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = socket.listener().accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the control socket cannot accept");
                    tokio::time::sleep(REST).await;
                    continue;
                }
            },
        };
        let Ok(peer) = stream.peer_cred() else { continue };
        let room = if is_operator(socket.owner(), peer.uid()) { &operators } else { &others };
        let Ok(place) = Arc::clone(room).try_acquire_owned() else {
            callers.spawn(refuse(stream, bounds.patience));
            continue;
        };
        let (owner, group) = (socket.owner(), socket.group());
        let (executor, stop) = (Arc::clone(&executor), stop.clone());
        callers.spawn(async move {
            let caller = identify(peer, owner, group).await;
            converse(stream, executor, caller, bounds, stop).await;
            drop(place);
        });
    }
}

fn is_operator(owner: u32, uid: u32) -> bool {
    uid == 0 || uid == owner
}

/// Who the peer is. Names come from the system's user database, which may ask a directory server: off this thread.
async fn identify(peer: UCred, owner: u32, group: u32) -> Caller {
    let (uid, gid) = (peer.uid(), peer.gid());
    let known = tokio::task::spawn_blocking(move || {
        let name = User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name);
        let member = gid == group
            || Group::from_gid(Gid::from_raw(group))
                .ok()
                .flatten()
                .is_some_and(|found| name.as_ref().is_some_and(|name| found.mem.contains(name)));
        (name, member)
    });
    let (name, member) = known.await.unwrap_or((None, false));
    let access = if is_operator(owner, uid) {
        Some(Access::Role(Role::Operator))
    } else {
        member.then_some(Access::Role(Role::Reader))
    };
    let name = name.unwrap_or_else(|| "unknown user".to_owned());
    let actor = match peer.pid() {
        Some(pid) => format!("{name} (uid {uid}, pid {pid})"),
        None => format!("{name} (uid {uid})"),
    };
    Caller { door: Door::Socket, actor, access, address: None }
}

/// Answers a connection for which there is no room.
async fn refuse(stream: UnixStream, patience: Duration) {
    let error = ControlError::new(ErrorCode::Busy, "too many connections to the control socket; try again shortly");
    let mut stream = Stall::new(stream, patience);
    let _ = stream.write_all(&line(None, Answer::Error(error))).await;
}

/// One connection, from its first line to its last.
async fn converse<E: Executor>(
    stream: UnixStream,
    executor: Arc<E>,
    caller: Caller,
    bounds: Bounds,
    stop: CancellationToken,
) {
    let (read, write) = stream.into_split();
    let (out, outbox) = mpsc::channel(LINES_AHEAD);
    // `gone`: nothing can be sent any more. `left`: nothing more is asked, so streams without end have nobody to go on for.
    let (gone, left) = (CancellationToken::new(), CancellationToken::new());
    let writer = tokio::spawn(write_out(write, outbox, bounds.patience, gone.clone()));
    let connection = Connection {
        executor,
        caller: Arc::new(caller),
        out,
        gone: gone.clone(),
        left: left.clone(),
        slots: Arc::new(Semaphore::new(bounds.in_flight)),
        endless: Arc::new(Semaphore::new(bounds.endless)),
    };
    tokio::select! {
        () = gone.cancelled() => {}
        () = last_call(&stop) => {}
        () = read_in(read, &connection) => {}
    }
    left.cancel();
    drop(connection);
    // Requests under way are finite and hold the way out open; the writer itself does not wait for ever.
    let _ = writer.await;
}

/// Reads requests until the caller has no more, or sent a line that is too long.
async fn read_in<E: Executor>(read: OwnedReadHalf, connection: &Connection<E>) {
    let mut lines = Lines::new(read);
    loop {
        match lines.next().await {
            Ok(Line::Whole(text)) if text.iter().all(u8::is_ascii_whitespace) => {}
            Ok(Line::Whole(text)) => {
                let Ok(slot) = Arc::clone(&connection.slots).acquire_owned().await else { return };
                tokio::spawn(connection.clone().answer(text, slot));
            }
            Ok(Line::TooLong) => {
                let message = format!("a line may have at most {} bytes", shared::control::MAX_LINE_BYTES);
                let error = ControlError::new(ErrorCode::RequestTooLarge, message);
                connection.send(None, Answer::Error(error)).await;
                return;
            }
            Ok(Line::End) | Err(_) => return,
        }
    }
}

/// Writes answers as they come; a caller that does not read is let go.
async fn write_out(
    write: OwnedWriteHalf,
    mut outbox: mpsc::Receiver<Vec<u8>>,
    patience: Duration,
    gone: CancellationToken,
) {
    let mut write = Stall::new(write, patience);
    while let Some(text) = outbox.recv().await {
        if write.write_all(&text).await.is_err() {
            break;
        }
    }
    let _ = write.shutdown().await;
    gone.cancel();
}

/// What the requests of one connection share.
struct Connection<E> {
    executor: Arc<E>,
    caller: Arc<Caller>,
    out: mpsc::Sender<Vec<u8>>,
    gone: CancellationToken,
    left: CancellationToken,
    slots: Arc<Semaphore>,
    endless: Arc<Semaphore>,
}

impl<E> Clone for Connection<E> {
    fn clone(&self) -> Self {
        Self {
            executor: Arc::clone(&self.executor),
            caller: Arc::clone(&self.caller),
            out: self.out.clone(),
            gone: self.gone.clone(),
            left: self.left.clone(),
            slots: Arc::clone(&self.slots),
            endless: Arc::clone(&self.endless),
        }
    }
}

impl<E: Executor> Connection<E> {
    /// Answers one line. The slot is free again when the answer is whole.
    async fn answer(self, text: Vec<u8>, slot: OwnedSemaphorePermit) {
        let ask = match Ask::parse(&text) {
            Ok(ask) => ask,
            Err((id, error)) => {
                self.send(id, Answer::Error(error)).await;
                return;
            }
        };
        let id = Some(ask.id);
        match self.executor.run(ask.command, &self.caller).await {
            Ok(Reply::One(value)) => {
                self.send(id, Answer::Ok(value)).await;
            }
            Ok(Reply::Stream(rows)) if rows.endless => {
                let Ok(place) = Arc::clone(&self.endless).try_acquire_owned() else {
                    let error = ControlError::new(ErrorCode::Busy, "too many streams on this connection; open another");
                    self.send(id, Answer::Error(error)).await;
                    return;
                };
                drop(slot);
                tokio::select! {
                    () = self.left.cancelled() => {}
                    () = self.gone.cancelled() => {}
                    () = self.send_rows(id, rows) => {}
                }
                drop(place);
            }
            Ok(Reply::Stream(rows)) => self.send_rows(id, rows).await,
            Err(error) => {
                self.send(id, Answer::Error(error)).await;
            }
        }
    }

    async fn send_rows(&self, id: Option<Id>, mut rows: super::Rows) {
        while let Some(row) = rows.next().await {
            let (answer, last) = match row {
                Row::Event(value) => (Answer::Event(value), false),
                Row::End(value) => (Answer::End(value), true),
                Row::Failed(error) => (Answer::Error(error), true),
            };
            if !self.send(id.clone(), answer).await || last {
                return;
            }
        }
        let error = ControlError::new(ErrorCode::Failed, "the answer broke off; the log says more");
        self.send(id, Answer::Error(error)).await;
    }

    /// False when nobody is there any more.
    async fn send(&self, id: Option<Id>, answer: Answer) -> bool {
        tokio::select! {
            () = self.gone.cancelled() => false,
            sent = self.out.send(line(id, answer)) => sent.is_ok(),
        }
    }
}

/// An answer as the line that is sent.
fn line(id: Option<Id>, answer: Answer) -> Vec<u8> {
    let mut text = serde_json::to_vec(&Wire { v: VERSION, id, answer }).unwrap_or_default();
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests;
