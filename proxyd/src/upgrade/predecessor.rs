//! The new process's side: what it is given, and what it says when.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use shared::config::Problem;
use thiserror::Error;

use super::message::{Answer, PROTOCOL, VARIABLE, Word};
use super::passing::Hearing;
use crate::inherited::{Inherited, Use};

/// How long the old process may take for its next word.
const PATIENCE: Duration = Duration::from_mins(1);

/// Why nothing is taken over.
#[derive(Debug, Error)]
pub enum ArrivalError {
    #[error("{VARIABLE} is {0:?}: this version speaks {PROTOCOL}; stop the old process and start this one")]
    Protocol(String),
    #[error("{VARIABLE} is set, but standard input leads to no process to take over from: {0}")]
    Alone(io::Error),
    #[error("the process to take over from goes on by itself: {0}")]
    Declined(io::Error),
}

/// The process that is taken over from.
#[derive(Debug)]
pub struct Predecessor {
    hearing: Hearing,
    pub pid: u32,
    pub version: String,
    rows: Option<UnixStream>,
}

/// Finds out whether this process was started to take over, from whom, and with what.
///
/// # Errors
/// It was, but cannot.
pub fn arrive() -> Result<Option<(Predecessor, Inherited)>, ArrivalError> {
    let Some(protocol) = std::env::var_os(VARIABLE) else { return Ok(None) };
    if protocol != PROTOCOL {
        return Err(ArrivalError::Protocol(protocol.to_string_lossy().into_owned()));
    }
    receive().map(Some).map_err(ArrivalError::Alone)
}

fn receive() -> io::Result<(Predecessor, Inherited)> {
    let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    stream.set_read_timeout(Some(PATIENCE))?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    let mut hearing = Hearing::new(stream);
    let mut given = Vec::new();
    let (pid, version) = loop {
        match hearing.next()? {
            (Word::Given(uses), fds) => given.extend(uses.into_iter().zip(fds)),
            (Word::From { pid, version }, _) => break (pid, version),
            (Word::Yours, _) => return Err(io::ErrorKind::InvalidData.into()),
        }
    };
    let mut inherited = Inherited::of(given);
    // Until now the old process has listened to what is said there.
    if let Some(stderr) = inherited.one(&Use::Stderr) {
        rustix::stdio::dup2_stderr(stderr)?;
    }
    let rows = inherited.one(&Use::Rows).map(UnixStream::from);
    Ok((Predecessor { hearing, pid, version, rows }, inherited))
}

impl Predecessor {
    /// Says that everything is made ready, and whether the control socket that was given is not wanted; then waits until the
    /// store and the doors are free.
    ///
    /// # Errors
    /// The old process has thought better of it, or is gone.
    pub fn take_over(&mut self, leaves_control: bool) -> Result<(), ArrivalError> {
        let prepared = Answer::Prepared { version: env!("CARGO_PKG_VERSION").to_owned(), leaves_control };
        self.say(&prepared).map_err(ArrivalError::Declined)?;
        match self.hearing.next().map_err(ArrivalError::Declined)? {
            (Word::Yours, _) => Ok(()),
            (Word::Given(_) | Word::From { .. }, _) => Err(ArrivalError::Declined(io::ErrorKind::InvalidData.into())),
        }
    }

    /// Says that this process serves. Nothing is to be done about one that does not hear it.
    pub fn ready(&mut self) {
        if let Err(error) = self.say(&Answer::Ready) {
            tracing::warn!(%error, "the process before cannot be told that this one serves");
        }
    }

    /// Says why this process does not serve.
    pub fn failed(&mut self, message: String, problems: Vec<Problem>) {
        let _ = self.say(&Answer::Failed { message, problems });
    }

    /// Where the audit rows come in that the old process still makes.
    pub fn rows(&mut self) -> Option<UnixStream> {
        self.rows.take()
    }

    fn say(&self, answer: &Answer) -> io::Result<()> {
        let mut line = serde_json::to_vec(answer)?;
        line.push(b'\n');
        (&self.hearing.stream).write_all(&line)
    }
}
