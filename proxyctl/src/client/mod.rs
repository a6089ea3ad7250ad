//! A daemon to ask, here or far away. Both ways give the same answers in the same order; nothing above knows which.

mod find;
mod remote;
mod socket;

use std::path::PathBuf;
use std::time::Duration;

use shared::control::{Answer, Command, ErrorCode};

use crate::cli::Global;
use crate::failure::Failure;

/// What of the process's surroundings decides where the daemon is looked for.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// `PROXYD_SOCKET`.
    pub socket: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
    pub temp_dir: PathBuf,
    /// Effective user id.
    pub uid: u32,
}

impl Surroundings {
    /// Those of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let path = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self {
            socket: path(shared::control::SOCKET_VARIABLE),
            runtime_dir: path("XDG_RUNTIME_DIR"),
            temp_dir: std::env::temp_dir(),
            uid: nix::unistd::geteuid().as_raw(),
        }
    }
}

/// An open way to a daemon.
pub(crate) enum Client {
    Socket(socket::Connection),
    Remote(remote::Remote),
}

/// The answer to one command, as it comes in.
pub(crate) enum Answers<'a> {
    Socket(socket::Lines<'a>),
    Remote(Box<remote::Body>),
}

impl Client {
    /// Finds the daemon that was asked for.
    pub(crate) async fn open(global: &Global, surroundings: &Surroundings) -> Result<Self, Failure> {
        if let Some(url) = &global.url {
            return Ok(Self::Remote(remote::Remote::new(url, global.token.as_deref(), global.user.as_deref())?));
        }
        let (path, stream) = find::find(global.socket.as_deref(), surroundings).await?;
        Ok(Self::Socket(socket::Connection::new(path, stream)))
    }

    /// The socket's path or the URL.
    #[must_use]
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Socket(connection) => connection.path().display().to_string(),
            Self::Remote(remote) => remote.place(),
        }
    }

    /// Whether credentials would travel readable by anybody on the way.
    #[must_use]
    pub(crate) fn tells_secrets(&self) -> bool {
        match self {
            Self::Socket(_) => false,
            Self::Remote(remote) => remote.tells_secrets(),
        }
    }

    /// Asks. `patience` bounds the wait for each line of the answer; none: for as long as it takes.
    pub(crate) async fn ask(&mut self, command: &Command, patience: Option<Duration>) -> Result<Answers<'_>, Failure> {
        match self {
            Self::Socket(connection) => connection.ask(command, patience).await.map(Answers::Socket),
            Self::Remote(remote) => remote.ask(command, patience).await.map(|body| Answers::Remote(Box::new(body))),
        }
    }
}

impl Answers<'_> {
    /// The next part: any number of events and an end, or one whole reply. Errors come as failures.
    pub(crate) async fn next(&mut self) -> Result<Answer, Failure> {
        let answer = match self {
            Self::Socket(lines) => lines.next().await?,
            Self::Remote(body) => body.next().await?,
        };
        match answer {
            Answer::Error(error) => Err(error.into()),
            other @ (Answer::Ok(_) | Answer::Event(_) | Answer::End(_)) => Ok(other),
        }
    }
}

/// Waits for something no longer than `patience`.
async fn within<T>(patience: Option<Duration>, place: &str, wait: impl Future<Output = T>) -> Result<T, Failure> {
    match patience {
        None => Ok(wait.await),
        Some(patience) => tokio::time::timeout(patience, wait).await.map_err(|_| {
            let message = format!("the daemon at {place} said nothing for {} s", patience.as_secs_f64());
            Failure::new(ErrorCode::Unreachable, message)
                .hint("It may be busy with something large: wait longer with --timeout SECONDS, and look at its log.")
        }),
    }
}
