//! A thread's own connection to the engine, made when it is first needed, and again when it broke.
//!
//! The connection manager of the `redis` crate is not used: while it reconnects every call waits for as long as its back-off, and a
//! password that was refused once is refused for good.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, RedisError};
use tokio::sync::watch;
use tokio::time::timeout;

use super::engine::code;
use super::{Engine, StoreError};
use crate::telemetry::metrics::StoreCells;

/// After so many questions one after the other that were not answered in time, a new connection is made: nobody says of
/// a connection that its other end is gone.
const DEAF: u32 = 3;

/// A thread's way to the engine that is in force. Never leaves its thread, nor its runtime.
pub struct Fleet {
    cells: Arc<StoreCells>,
    link: RefCell<Option<Rc<Link>>>,
}

impl Fleet {
    /// Connects to nothing yet.
    pub fn new(cells: &Arc<StoreCells>) -> Self {
        Self { cells: Arc::clone(cells), link: RefCell::default() }
    }

    /// The link to an engine. One to another engine is let go, once its last question is answered.
    pub fn link(&self, engine: &Arc<Engine>) -> Rc<Link> {
        let mut link = self.link.borrow_mut();
        match &*link {
            Some(link) if Arc::ptr_eq(&link.engine, engine) => Rc::clone(link),
            _ => Rc::clone(link.insert(Rc::new(Link::new(engine, &self.cells)))),
        }
    }
}

/// Asks from a thread of its own, with a link that ends with the answers: for whoever must wait for the disk in between.
///
/// # Errors
///
/// Where no thread or runtime is to be had.
pub async fn aside<T: Send + 'static>(
    engine: &Arc<Engine>,
    questions: impl AsyncFnOnce(&Link) -> T + Send + 'static,
) -> Result<T, StoreError> {
    let engine = Arc::clone(engine);
    let asking = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        Some(runtime.block_on(questions(&Link::lone(&engine))))
    });
    asking.await.ok().flatten().ok_or(StoreError::Connect)
}

/// See the module.
pub struct Link {
    pub(super) engine: Arc<Engine>,
    cells: Arc<StoreCells>,
    state: Mutex<Connection>,
    /// One after the other.
    timeouts: AtomicU32,
    /// How many connections it has had.
    connections: AtomicU64,
}

enum Connection {
    Down,
    /// Whoever needs it waits for the one attempt.
    Connecting(watch::Receiver<Option<Connected>>),
    Up {
        connection: MultiplexedConnection,
        number: u64,
    },
}

type Connected = Result<MultiplexedConnection, StoreError>;

impl Link {
    fn new(engine: &Arc<Engine>, cells: &Arc<StoreCells>) -> Self {
        Self {
            engine: Arc::clone(engine),
            cells: Arc::clone(cells),
            state: Mutex::new(Connection::Down),
            timeouts: AtomicU32::new(0),
            connections: AtomicU64::new(0),
        }
    }

    /// Of nobody's but whoever makes it, for what operators ask now and then. What it asks is not counted among what requests
    /// ask.
    pub fn lone(engine: &Arc<Engine>) -> Self {
        Self::new(engine, &Arc::default())
    }

    /// Never held while anybody is waited for.
    fn state(&self) -> MutexGuard<'_, Connection> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One question with its answer, in its own time; to connect first, where that must be, has another.
    pub(super) async fn ask<T: FromRedisValue>(&self, question: Cmd) -> Result<T, StoreError> {
        self.converse(async |connection| question.query_async(connection).await).await
    }

    /// Questions that belong together, all in the time of one.
    pub(super) async fn converse<T>(
        &self,
        questions: impl AsyncFnOnce(&mut MultiplexedConnection) -> Result<T, RedisError>,
    ) -> Result<T, StoreError> {
        let attempt = match self.engine.attempt() {
            Ok(attempt) => attempt,
            Err(error) => {
                self.cells.unasked(error.kind());
                return Err(error);
            }
        };
        let started = Instant::now();
        let outcome = self.answer(questions).await;
        let elapsed_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let told = outcome.as_ref().map_or_else(|error| Err(*error), |_| Ok(()));
        self.cells.asked(told.map_or_else(StoreError::kind, |()| "ok"), elapsed_us);
        attempt.ended(told);
        outcome
    }

    async fn answer<T>(
        &self,
        questions: impl AsyncFnOnce(&mut MultiplexedConnection) -> Result<T, RedisError>,
    ) -> Result<T, StoreError> {
        let (mut connection, number) = self.connection().await?;
        let error = match timeout(self.engine.timeout(), questions(&mut connection)).await {
            Ok(Ok(answer)) => {
                self.timeouts.store(0, Ordering::Relaxed);
                return Ok(answer);
            }
            Ok(Err(error)) => {
                tracing::debug!(kind = ?error.kind(), code = code(&error), "the shared store answers with an error");
                StoreError::from(&error)
            }
            Err(_) => StoreError::Timeout,
        };
        let is_deaf = error == StoreError::Timeout && self.timeouts.fetch_add(1, Ordering::Relaxed) + 1 >= DEAF;
        if is_deaf || error == StoreError::Broken {
            self.hang_up(number);
        }
        Err(error)
    }

    /// The connection, once there is one, and its number among those of this link.
    async fn connection(&self) -> Result<(MultiplexedConnection, u64), StoreError> {
        let mut connecting = {
            let mut state = self.state();
            match &*state {
                Connection::Up { connection, number } => return Ok((connection.clone(), *number)),
                Connection::Connecting(connecting) => connecting.clone(),
                Connection::Down => {
                    let connecting = self.connect();
                    *state = Connection::Connecting(connecting.clone());
                    connecting
                }
            }
        };
        let connected = match connecting.wait_for(Option::is_some).await {
            Ok(connected) => connected.clone().unwrap_or(Err(StoreError::Connect)),
            // Its task is gone: the runtime ends.
            Err(_) => Err(StoreError::Connect),
        };
        let mut state = self.state();
        // The first of those who waited says how it is; and what was said since then holds.
        let is_latest = matches!(&*state, Connection::Connecting(latest) if latest.same_channel(&connecting));
        if is_latest {
            *state = match &connected {
                Ok(connection) => Connection::Up {
                    connection: connection.clone(),
                    number: self.connections.fetch_add(1, Ordering::Relaxed) + 1,
                },
                Err(_) => Connection::Down,
            };
            self.timeouts.store(0, Ordering::Relaxed);
        }
        match (&*state, connected) {
            (_, Err(error)) => Err(error),
            (Connection::Up { number, .. }, Ok(connection)) => Ok((connection, *number)),
            (_, Ok(connection)) => Ok((connection, 0)),
        }
    }

    /// Begins to connect. Goes on whoever leaves: the next one needs it too.
    fn connect(&self) -> watch::Receiver<Option<Connected>> {
        let (told, connecting) = watch::channel(None);
        let engine = Arc::clone(&self.engine);
        tokio::spawn(async move {
            let connected = async { engine.target()?.connect().await };
            let connected = timeout(engine.connect_timeout(), connected).await.unwrap_or(Err(StoreError::Connect));
            let _ = told.send(Some(connected));
        });
        connecting
    }

    fn hang_up(&self, broken: u64) {
        let mut state = self.state();
        if matches!(&*state, Connection::Up { number, .. } if *number == broken) {
            *state = Connection::Down;
        }
    }
}
