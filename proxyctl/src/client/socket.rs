//! JSON lines over the control socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use shared::control::{Answer, Ask, Command, ErrorCode, Id, MAX_LINE_BYTES, VERSION, Wire};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::within;
use crate::failure::Failure;

/// No answer of an honest daemon has a longer line: a whole config of many thousand routes fits.
const MAX_ANSWER_BYTES: u64 = 256 * 1024 * 1024;

/// A connection to a daemon here.
pub(crate) struct Connection {
    path: PathBuf,
    stream: BufReader<UnixStream>,
    last_id: i64,
}

/// The lines of one answer.
pub(crate) struct Lines<'a> {
    connection: &'a mut Connection,
    patience: Option<Duration>,
}

impl Connection {
    pub(super) fn new(path: PathBuf, stream: UnixStream) -> Self {
        Self { path, stream: BufReader::new(stream), last_id: 0 }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) async fn ask(&mut self, command: &Command, patience: Option<Duration>) -> Result<Lines<'_>, Failure> {
        self.last_id += 1;
        let ask = Ask { v: VERSION, id: Id::Number(self.last_id), command: command.clone() };
        let mut line = serde_json::to_vec(&ask)
            .map_err(|error| Failure::new(ErrorCode::Failed, format!("the command cannot be written: {error}")))?;
        line.push(b'\n');
        if line.len() > MAX_LINE_BYTES {
            let message =
                format!("the command is {} bytes long; the daemon reads at most {MAX_LINE_BYTES}", line.len());
            return Err(Failure::new(ErrorCode::RequestTooLarge, message));
        }
        let place = self.path.display().to_string();
        within(patience, &place, self.stream.get_mut().write_all(&line))
            .await?
            .map_err(|error| cut(&place, &error.to_string()))?;
        Ok(Lines { connection: self, patience })
    }
}

impl Lines<'_> {
    pub(super) async fn next(&mut self) -> Result<Answer, Failure> {
        let place = self.connection.path.display().to_string();
        let mut line = Vec::new();
        let mut bounded = (&mut self.connection.stream).take(MAX_ANSWER_BYTES);
        let read = within(self.patience, &place, bounded.read_until(b'\n', &mut line))
            .await?
            .map_err(|error| cut(&place, &error.to_string()))?;
        if read == 0 {
            return Err(cut(&place, "the daemon closed it"));
        }
        let wire: Wire = serde_json::from_slice(&line).map_err(|error| {
            let message = format!("what answers at {place} does not speak proxyd's protocol: {error}");
            Failure::new(ErrorCode::Failed, message).hint("Is it proxyd's control socket, of the same version?")
        })?;
        match (&wire.id, &wire.answer) {
            (Some(Id::Number(id)), _) if *id == self.connection.last_id => Ok(wire.answer),
            (None, Answer::Error(_)) => Ok(wire.answer),
            (Some(_) | None, _) => {
                Err(Failure::new(ErrorCode::Failed, format!("the daemon at {place} answered a question nobody asked")))
            }
        }
    }
}

fn cut(place: &str, why: &str) -> Failure {
    Failure::new(ErrorCode::Unreachable, format!("the connection to {place} ended before the answer did: {why}"))
        .hint("The daemon may have stopped; its log says why.")
}
