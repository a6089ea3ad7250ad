//! The new process, seen by the one that started it: what it says, within a time, and how it ends.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shared::config::Problem;
use shared::control::{ControlError, ErrorCode};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout};

use super::message::{Answer, MOST_BYTES, PROTOCOL, VARIABLE, Word};
use super::passing;
use super::program::Program;
use crate::inherited::Use;

/// How long a write to it may stand still: what is said to it is short.
const WRITE_WITHIN: Duration = Duration::from_secs(5);

/// How long it may take to end by itself when it has said that it fails.
const END_WITHIN: Duration = Duration::from_secs(5);

/// What is kept of its last words on standard error.
const LAST_WORDS: usize = 4 * 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Successor {
    child: Child,
    conversation: BufReader<UnixStream>,
    last_words: LastWords,
}

/// The end of what it says on standard error until it has standard error itself.
#[derive(Debug, Default)]
struct LastWords {
    kept: Arc<Mutex<Vec<u8>>>,
    listening: Option<JoinHandle<()>>,
}

impl Successor {
    /// Starts it, and gives it what it takes over.
    pub(super) fn start(program: &Program, given: &[(Use, OwnedFd)]) -> io::Result<Self> {
        let (ours, theirs) = StdUnixStream::pair()?;
        let mut child = Command::new(&program.path)
            .args(&program.args)
            .env(VARIABLE, PROTOCOL)
            // These speak of this process by its number.
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDS")
            .env_remove("LISTEN_FDNAMES")
            .env_remove("WATCHDOG_PID")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stderr(Stdio::piped())
            .spawn()?;
        let mut last_words = LastWords::default();
        let begin = || {
            if let Some(stderr) = child.stderr.take() {
                last_words.listen(stderr)?;
            }
            ours.set_write_timeout(Some(WRITE_WITHIN))?;
            passing::give(&ours, given)?;
            let from = Word::From { pid: std::process::id(), version: env!("CARGO_PKG_VERSION").to_owned() };
            passing::say(&ours, &from)?;
            ours.set_nonblocking(true)?;
            UnixStream::from_std(ours)
        };
        match begin() {
            Ok(stream) => Ok(Self { child, conversation: BufReader::new(stream), last_words }),
            // A program that ends at once does not take what it is given: how it ended says more.
            Err(error) => {
                let _ = child.kill();
                let status = child.wait()?;
                Err(io::Error::other(format!("it ended with {status}{} ({error})", last_words.text())))
            }
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Says that the store and the doors are free.
    pub(super) async fn yours(&mut self) -> Result<(), ControlError> {
        use tokio::io::AsyncWriteExt;
        let mut line = serde_json::to_vec(&Word::Yours).unwrap_or_default();
        line.push(b'\n');
        let said = timeout(WRITE_WITHIN, self.conversation.get_mut().write_all(&line)).await;
        match said {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(self.silent("does not listen any more")),
        }
    }

    /// Its next word; the one that it fails is an error.
    pub(super) async fn hear(&mut self, within: Duration) -> Result<Answer, ControlError> {
        let mut line = Vec::new();
        let mut bounded = (&mut self.conversation).take(MOST_BYTES as u64);
        let heard = timeout(within, bounded.read_until(b'\n', &mut line)).await;
        match heard {
            Err(_) => Err(self.silent(&format!("was not ready within {} s", within.as_secs()))),
            Ok(Err(_) | Ok(0)) => {
                let status = self.exit(END_WITHIN).await;
                let how = status.map_or_else(
                    || "closed the conversation without a word".to_owned(),
                    |status| format!("ended with {status} before it was ready"),
                );
                Err(self.silent(&how))
            }
            Ok(Ok(_)) => match serde_json::from_slice(&line) {
                Ok(Answer::Failed { message, problems }) => Err(refused(message, problems)),
                Ok(answer) => Ok(answer),
                Err(error) => Err(self.silent(&format!("said what is not understood: {error}"))),
            },
        }
    }

    fn silent(&self, how: &str) -> ControlError {
        let message = format!("the new process {how}{}; the old one goes on", self.last_words.text());
        ControlError::new(ErrorCode::Failed, message)
    }

    /// Passes on a stop that was told to this process meanwhile.
    pub(super) fn stop(&self) {
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
    }

    /// Waits until it has ended by itself, or ends it.
    pub(super) async fn end(&mut self, by_itself: bool) {
        if by_itself && self.exit(END_WITHIN).await.is_some() {
            return;
        }
        let _ = self.child.kill();
        self.exit(END_WITHIN).await;
    }

    async fn exit(&mut self, within: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            if Instant::now() >= deadline {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn refused(message: String, problems: Vec<Problem>) -> ControlError {
    let code = if problems.is_empty() { ErrorCode::Failed } else { ErrorCode::ConfigInvalid };
    let message = format!("the new process does not start: {message}; the old one goes on");
    ControlError { problems, ..ControlError::new(code, message) }
}

impl LastWords {
    fn listen(&mut self, mut stderr: ChildStderr) -> io::Result<()> {
        let kept = Arc::clone(&self.kept);
        let listen = move || {
            let mut piece = [0; 1024];
            while let Ok(bytes @ 1..) = stderr.read(&mut piece) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(piece.get(..bytes).unwrap_or_default());
                let over = kept.len().saturating_sub(LAST_WORDS);
                kept.drain(..over);
            }
        };
        self.listening = Some(std::thread::Builder::new().name("upgrade-stderr".to_owned()).spawn(listen)?);
        Ok(())
    }

    /// As the end of a sentence; nothing where nothing was said.
    fn text(&self) -> String {
        // What a process said that has ended is there, but may not have been read yet.
        for _ in 0..20 {
            if self.listening.as_ref().is_none_or(JoinHandle::is_finished) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&kept);
        let text: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if text.is_empty() { String::new() } else { format!(", saying: {}", text.join(" | ")) }
    }
}
