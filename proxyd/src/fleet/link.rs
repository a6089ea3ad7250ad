//! A thread's own connection to the engine, made when it is first needed, and again when it broke.
//!
//! The connection manager of the `redis` crate is not used: while it reconnects every call waits for as long as its back-off, and a
//! password that was refused once is refused for good.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::{FromRedisValue, RedisError};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::connect::Wire;
use super::error::Failure;
use super::question::{Again, Question};
use super::{Engine, Leases, StoreError};
use crate::telemetry::metrics::StoreCells;

/// After so many questions one after the other that were not answered in time, a new connection is made: nobody says of
/// a connection that its other end is gone.
const DEAF: u32 = 3;

/// After so many answers one after the other that were errors, too: its other end may have become somebody else's place.
const WRONG: u32 = 10;

/// What answers with errors gets no new connection sooner than this: it may well go on.
const RENEWED: Duration = Duration::from_secs(1);

/// A thread's way to the engine that is in force. Never leaves its thread, nor its runtime.
pub struct Fleet {
    cells: Arc<StoreCells>,
    link: RefCell<Option<Rc<Link>>>,
    leases: Rc<Leases>,
}

impl Fleet {
    /// Connects to nothing yet.
    pub fn new(cells: &Arc<StoreCells>) -> Self {
        Self { cells: Arc::clone(cells), link: RefCell::default(), leases: Rc::default() }
    }

    /// The places that this thread's requests hold.
    pub fn leases(&self) -> &Rc<Leases> {
        &self.leases
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
    /// Answers that were errors, one after the other.
    errors: AtomicU32,
    /// How many connections it has had.
    connections: AtomicU64,
}

enum Connection {
    Down,
    /// Whoever needs it waits for the one attempt.
    Connecting(watch::Receiver<Option<Connected>>),
    Up {
        wire: Wire,
        number: u64,
        since: Instant,
    },
}

type Connected = Result<Wire, Failure>;

/// Why there is no answer.
enum Lost {
    /// No connection came about, which has been counted.
    Unconnected(Failure),
    Unanswered(Failure),
}

impl Link {
    fn new(engine: &Arc<Engine>, cells: &Arc<StoreCells>) -> Self {
        Self {
            engine: Arc::clone(engine),
            cells: Arc::clone(cells),
            state: Mutex::new(Connection::Down),
            timeouts: AtomicU32::new(0),
            errors: AtomicU32::new(0),
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
    pub(super) async fn ask<T: FromRedisValue>(
        &self,
        question: impl Into<Question>,
        again: Again,
    ) -> Result<T, StoreError> {
        let question = question.into();
        let attempt = match self.engine.attempt() {
            Ok(attempt) => attempt,
            Err(error) => {
                self.cells.unasked(error.kind());
                return Err(error);
            }
        };
        let started = Instant::now();
        let outcome = self.answer(again, &question).await;
        let elapsed_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let (told, counted) = match &outcome {
            Ok(_) => ("ok", Some(Ok(()))),
            Err(Lost::Unconnected(failure)) => (failure.error.kind(), None),
            Err(Lost::Unanswered(failure)) => (failure.error.kind(), Some(Err(failure))),
        };
        self.cells.asked(told, elapsed_us);
        if let Some(outcome) = counted {
            attempt.ended(outcome);
        }
        outcome.map_err(|(Lost::Unconnected(failure) | Lost::Unanswered(failure))| failure.error)
    }

    /// Asks, and asks once more where the connection was of no use: it may be the one to an engine that was ended long since. Both
    /// in the time of one.
    async fn answer<T: FromRedisValue>(&self, again: Again, question: &Question) -> Result<T, Lost> {
        let (wire, number) = self.connection().await.map_err(Lost::Unconnected)?;
        let until = Instant::now() + self.engine.timeout();
        let failure = match self.heard(timeout_at(until, question.ask(&mut wire.connection())).await) {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        let has_gone = self.looks_after(number, &failure);
        let may_again = failure.is_elsewhere() || (failure.error == StoreError::Broken && again == Again::Yes);
        if !(has_gone && may_again) {
            return Err(Lost::Unanswered(failure));
        }
        let Ok(connected) = timeout_at(until, self.connection()).await else { return Err(Lost::Unanswered(failure)) };
        // That no connection came about says that nothing was asked: where it may have been, what was heard of it is said.
        let (wire, number) =
            connected.map_err(|none| Lost::Unconnected(if failure.is_elsewhere() { none } else { failure }))?;
        self.heard(timeout_at(until, question.ask(&mut wire.connection())).await).map_err(|failure| {
            self.looks_after(number, &failure);
            Lost::Unanswered(failure)
        })
    }

    /// What was heard of a question, and how many in a row went badly.
    fn heard<T>(&self, answer: Result<Result<T, RedisError>, tokio::time::error::Elapsed>) -> Result<T, Failure> {
        match answer {
            Ok(Ok(answer)) => {
                self.timeouts.store(0, Ordering::Relaxed);
                self.errors.store(0, Ordering::Relaxed);
                Ok(answer)
            }
            Ok(Err(error)) => Err(Failure::from(&error)),
            Err(_) => Err(StoreError::Timeout.into()),
        }
    }

    /// Lets a connection go that is of no use any more. Whether this one is gone.
    fn looks_after(&self, number: u64, failure: &Failure) -> bool {
        let in_a_row = |count: &AtomicU32, most: u32| count.fetch_add(1, Ordering::Relaxed) + 1 >= most;
        let oldest = match failure.error {
            StoreError::Broken => Duration::ZERO,
            StoreError::Timeout if in_a_row(&self.timeouts, DEAF) => Duration::ZERO,
            StoreError::Answer | StoreError::Refused if failure.is_elsewhere() || in_a_row(&self.errors, WRONG) => {
                RENEWED
            }
            StoreError::Timeout
            | StoreError::Answer
            | StoreError::Refused
            | StoreError::Open
            | StoreError::Connect
            | StoreError::Settings => return false,
        };
        self.hang_up(number, oldest)
    }

    /// The connection, once there is one, and its number among those of this link.
    async fn connection(&self) -> Result<(Wire, u64), Failure> {
        let mut connecting = {
            let mut state = self.state();
            match &*state {
                Connection::Up { wire, number, .. } if !wire.is_over() => return Ok((wire.clone(), *number)),
                Connection::Connecting(connecting) if !is_past(connecting) => connecting.clone(),
                Connection::Connecting(_) | Connection::Up { .. } | Connection::Down => {
                    let connecting = self.connect();
                    *state = Connection::Connecting(connecting.clone());
                    connecting
                }
            }
        };
        let connected = match connecting.wait_for(Option::is_some).await {
            Ok(connected) => connected.clone().unwrap_or(Err(StoreError::Connect.into())),
            // Its task is gone: the runtime ends.
            Err(_) => Err(StoreError::Connect.into()),
        };
        let mut state = self.state();
        // The first of those who waited says how it is; and what was said since then holds.
        let is_latest = matches!(&*state, Connection::Connecting(latest) if latest.same_channel(&connecting));
        if is_latest {
            *state = match &connected {
                Ok(wire) => Connection::Up {
                    wire: wire.clone(),
                    number: self.connections.fetch_add(1, Ordering::Relaxed) + 1,
                    since: Instant::now(),
                },
                Err(_) => Connection::Down,
            };
            self.timeouts.store(0, Ordering::Relaxed);
            self.errors.store(0, Ordering::Relaxed);
        }
        match (&*state, connected) {
            (_, Err(failure)) => Err(failure),
            (Connection::Up { number, .. }, Ok(wire)) => Ok((wire, *number)),
            (_, Ok(wire)) => Ok((wire, 0)),
        }
    }

    /// Begins to connect. Goes on whoever leaves: the next one needs it too.
    fn connect(&self) -> watch::Receiver<Option<Connected>> {
        let (told, connecting) = watch::channel(None);
        let engine = Arc::clone(&self.engine);
        tokio::spawn(async move {
            let connected = async { engine.target()?.connect().await };
            let connected = timeout(engine.connect_timeout(), connected).await;
            let connected = connected.unwrap_or(Err(StoreError::Connect.into()));
            // Once, however many wait for it.
            if let Err(failure) = &connected {
                engine.failed(failure);
            }
            let _ = told.send(Some(connected));
        });
        connecting
    }

    /// Lets this connection go, where it is as old as that. Whether it is gone, by us or before.
    fn hang_up(&self, number: u64, oldest: Duration) -> bool {
        let mut state = self.state();
        match &*state {
            Connection::Up { number: present, since, .. } if *present == number => {
                let goes = since.elapsed() >= oldest;
                if goes {
                    *state = Connection::Down;
                }
                goes
            }
            Connection::Up { .. } | Connection::Connecting(_) | Connection::Down => true,
        }
    }
}

/// Whether an attempt to connect has ended with nothing of use: whoever waited has left, or knows.
fn is_past(connecting: &watch::Receiver<Option<Connected>>) -> bool {
    match &*connecting.borrow() {
        None => false,
        Some(Err(_)) => true,
        Some(Ok(wire)) => wire.is_over(),
    }
}
