//! The operator's doors. A door turns what comes in into a [`Command`] and a [`Caller`], asks the one [`Executor`], and
//! turns the [`Reply`] into what goes out. Doors decide nothing about commands; the executor knows nothing about doors.

mod commands;
mod doors;
mod expiry;
pub mod http;
mod notify;
mod signal;
pub mod socket;
mod stall;
#[cfg(test)]
mod stand_in;

pub use commands::Control;
pub use doors::{DoorError, Doors, Open, announce};

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use shared::audit::Door;
use shared::config::Config;
use shared::control::{Access, Command, ControlError, ErrorCode};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Who gives a command, and through which door.
#[derive(Clone, Debug)]
pub struct Caller {
    pub door: Door,
    /// As audit rows show it: `root (uid 0, pid 4711)`, `token ci at 127.0.0.1`, `signal SIGHUP`.
    pub actor: String,
    /// What they may do; none: nothing at all.
    pub access: Option<Access>,
    /// Where they are, for `explain` without `--from`.
    pub address: Option<IpAddr>,
}

/// What a command answers.
#[derive(Debug)]
pub enum Reply {
    /// The whole answer.
    One(Value),
    /// Rows as they are made, so that no answer grows with what it tells of.
    Stream(Rows),
}

/// The rows of an answer.
#[derive(Debug)]
pub struct Rows {
    rows: mpsc::Receiver<Row>,
    /// Whether it goes on until the caller leaves.
    pub endless: bool,
}

/// One step of a stream.
#[derive(Debug)]
pub enum Row {
    Event(Value),
    /// The last one; what is to be said about the whole.
    End(Value),
    Failed(ControlError),
}

/// Where a stream's rows are put. A caller that reads slowly makes the producer wait; one that leaves ends it.
#[derive(Clone, Debug)]
pub struct Sink(mpsc::Sender<Row>);

/// Rows made ahead of a caller that reads slowly.
const ROWS_AHEAD: usize = 64;

impl Reply {
    /// A whole answer.
    pub fn one(answer: &impl Serialize) -> Result<Self, ControlError> {
        serde_json::to_value(answer).map(Self::One).map_err(|error| unwritable(&error))
    }

    /// A stream, made by a task of its own that stops when its caller leaves.
    pub fn stream<F: Future<Output = ()> + Send + 'static>(endless: bool, make: impl FnOnce(Sink) -> F) -> Self {
        let (sender, rows) = mpsc::channel(ROWS_AHEAD);
        tokio::spawn(make(Sink(sender)));
        Self::Stream(Rows { rows, endless })
    }
}

impl Rows {
    /// The next step, for a body that is polled.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Row>> {
        self.rows.poll_recv(cx)
    }

    /// The next step; none after the end.
    pub async fn next(&mut self) -> Option<Row> {
        self.rows.recv().await
    }
}

impl Sink {
    /// Puts a row; false when the caller has left.
    pub async fn event(&self, row: &impl Serialize) -> bool {
        let step = serde_json::to_value(row).map_or_else(|error| Row::Failed(unwritable(&error)), Row::Event);
        self.0.send(step).await.is_ok()
    }

    /// Puts the last row.
    pub async fn end(&self, about: &impl Serialize) {
        let step = serde_json::to_value(about).map_or_else(|error| Row::Failed(unwritable(&error)), Row::End);
        let _ = self.0.send(step).await;
    }

    /// Ends with an error.
    pub async fn fail(&self, error: ControlError) {
        let _ = self.0.send(Row::Failed(error)).await;
    }

    /// Waits until the caller has left.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

fn unwritable(error: &serde_json::Error) -> ControlError {
    ControlError::new(ErrorCode::Failed, format!("the answer cannot be written as JSON: {error}"))
}

/// How long those who have come in already may still ask when nobody new is let in: what they ask may be under way.
const LAST_CALL: Duration = Duration::from_millis(300);

/// The end of the time in which something can be asked.
async fn last_call(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(LAST_CALL).await;
}

/// What the doors ask: the daemon, or in a door's test something that answers like it.
pub trait Executor: Send + Sync + 'static {
    /// Checks whether the caller may, does the command, and puts it on record.
    fn run(&self, command: Command, caller: &Caller) -> impl Future<Output = Result<Reply, ControlError>> + Send;

    /// Puts on record that somebody was turned away at the door.
    fn turned_away(&self, caller: &Caller, asked: &str, error: &ControlError) -> impl Future<Output = ()> + Send;

    /// The config in force.
    fn config(&self) -> Arc<Config>;

    /// How the daemon is, for those who only ask that: status and JSON for what follows `/health`. None: no such page.
    fn health(&self, rest: &str) -> Option<(u16, String)>;

    /// The metrics page, in the Prometheus text format.
    fn metrics(&self) -> String;
}
