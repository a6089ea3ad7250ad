//! A thread's own connection to the engine, made when it is first needed, and again when it broke.
//!
//! The connection manager of the `redis` crate is not used: while it reconnects every call waits for as long as its back-off, and a
//! password that was refused once is refused for good.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, RedisError};
use tokio::sync::watch;
use tokio::time::timeout;

use super::engine::code;
use super::{Engine, StoreError};
use crate::telemetry::metrics::{Metrics, WorkerMetrics};

/// After so many questions one after the other that were not answered in time, a new connection is made: nobody says of
/// a connection that its other end is gone.
const DEAF: u32 = 3;

/// A thread's way to the engine that is in force. Never leaves its thread, nor its runtime.
pub struct Fleet {
    metrics: Rc<WorkerMetrics>,
    link: RefCell<Option<Rc<Link>>>,
}

impl Fleet {
    /// Connects to nothing yet.
    pub fn new(metrics: Rc<WorkerMetrics>) -> Self {
        Self { metrics, link: RefCell::default() }
    }

    /// The link to an engine. One to another engine is let go, once its last question is answered.
    pub fn link(&self, engine: &Arc<Engine>) -> Rc<Link> {
        let mut link = self.link.borrow_mut();
        match &*link {
            Some(link) if Arc::ptr_eq(&link.engine, engine) => Rc::clone(link),
            _ => Rc::clone(link.insert(Rc::new(Link::new(engine, &self.metrics)))),
        }
    }
}

/// Asks from a thread that has no link: with one of its own, which ends with the answer. For what operators ask, now and then.
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
        // These are cells that nobody sums: what operators ask is not counted among what requests ask.
        let link = Link::new(&engine, &Metrics::new(0).worker(0));
        Some(runtime.block_on(questions(&link)))
    });
    asking.await.ok().flatten().ok_or(StoreError::Connect)
}

/// See the module.
pub struct Link {
    pub(super) engine: Arc<Engine>,
    metrics: Rc<WorkerMetrics>,
    state: RefCell<Connection>,
    timeouts: Cell<u32>,
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
    fn new(engine: &Arc<Engine>, metrics: &Rc<WorkerMetrics>) -> Self {
        Self {
            engine: Arc::clone(engine),
            metrics: Rc::clone(metrics),
            state: RefCell::new(Connection::Down),
            timeouts: Cell::new(0),
        }
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
                self.metrics.store_unasked(error.kind());
                return Err(error);
            }
        };
        let started = Instant::now();
        let outcome = self.answer(questions).await;
        let elapsed_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let told = outcome.as_ref().map_or_else(|error| Err(*error), |_| Ok(()));
        self.metrics.store_asked(told.map_or_else(StoreError::kind, |()| "ok"), elapsed_us);
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
                self.timeouts.set(0);
                return Ok(answer);
            }
            Ok(Err(error)) => {
                tracing::debug!(kind = ?error.kind(), code = code(&error), "the shared store answers with an error");
                StoreError::from(&error)
            }
            Err(_) => StoreError::Timeout,
        };
        let is_deaf = error == StoreError::Timeout && {
            self.timeouts.set(self.timeouts.get().saturating_add(1));
            self.timeouts.get() >= DEAF
        };
        if is_deaf || error == StoreError::Broken {
            self.hang_up(number);
        }
        Err(error)
    }

    /// The connection, once there is one, and its number among those of this link.
    async fn connection(&self) -> Result<(MultiplexedConnection, u64), StoreError> {
        let mut connecting = {
            let mut state = self.state.borrow_mut();
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
        let mut state = self.state.borrow_mut();
        // The first of those who waited says how it is; and what was said since then holds.
        let is_latest = matches!(&*state, Connection::Connecting(latest) if latest.same_channel(&connecting));
        if is_latest {
            *state = match &connected {
                Ok(connection) => Connection::Up { connection: connection.clone(), number: next_number() },
                Err(_) => Connection::Down,
            };
            self.timeouts.set(0);
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
        let mut state = self.state.borrow_mut();
        if matches!(&*state, Connection::Up { number, .. } if *number == broken) {
            *state = Connection::Down;
        }
    }
}

/// Of a connection among those of its thread.
fn next_number() -> u64 {
    thread_local!(static LAST: Cell<u64> = const { Cell::new(0) });
    LAST.with(|last| {
        last.set(last.get() + 1);
        last.get()
    })
}
