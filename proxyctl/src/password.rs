//! `hash-password`: an argon2id hash for `admin.auth`, of a password that neither an argument nor an echo shows.

use std::io::{self, BufRead, IsTerminal, Read};
use std::os::fd::AsFd;

use argon2::{Argon2, PasswordHash, PasswordHasher};
use nix::sys::termios::{LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr};
use serde_json::json;
use shared::control::ErrorCode;

use crate::cli::Format;
use crate::failure::Failure;
use crate::screen::Screen;

/// What ctrl-C sends.
const INTERRUPT: char = '\x03';

/// Longer ones are a file piped in by mistake.
const MAX_BYTES: u64 = 1024;

/// Reads a password and prints its hash.
pub(crate) fn hash(screen: &mut Screen<'_>) -> Result<(), Failure> {
    let password = if io::stdin().is_terminal() { ask(screen)? } else { piped()? };
    if password.is_empty() {
        return Err(Failure::new(ErrorCode::Failed, "an empty password protects nothing"));
    }
    if password.chars().count() < 12 {
        screen.remark("warning: a password of less than 12 characters is soon guessed");
    }
    let hash: PasswordHash = Argon2::default()
        .hash_password(password.as_bytes())
        .map_err(|error| Failure::new(ErrorCode::Failed, format!("the password cannot be hashed: {error}")))?;
    match screen.look.format {
        Format::Json => screen.page(&json!({ "password_hash": hash.to_string() })),
        Format::Table | Format::Csv => screen.text(&hash.to_string()),
    }
}

/// The first line of standard input.
fn piped() -> Result<String, Failure> {
    let mut text = String::new();
    io::stdin().lock().take(MAX_BYTES + 1).read_to_string(&mut text).map_err(|error| unreadable(&error))?;
    let line = text.lines().next().unwrap_or_default();
    if text.lines().nth(1).is_some() || text.len() as u64 > MAX_BYTES {
        return Err(Failure::new(ErrorCode::Failed, "standard input holds more than one password")
            .hint("Give one line of at most 1024 bytes."));
    }
    Ok(line.to_owned())
}

/// Typed twice, unseen.
fn ask(screen: &mut Screen<'_>) -> Result<String, Failure> {
    let first = unseen("Password: ", screen)?;
    if unseen("Again: ", screen)? == first {
        Ok(first)
    } else {
        Err(Failure::new(ErrorCode::Failed, "the two passwords differ").hint("Try again."))
    }
}

fn unseen(prompt: &str, screen: &mut Screen<'_>) -> Result<String, Failure> {
    screen.prompt(prompt);
    let quiet = Quiet::new()?;
    // A terminal gives one line at a time, whichever character ended it.
    let mut input = io::stdin().lock();
    let line = input.fill_buf().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let line = line.map_err(|error| unreadable(&error))?;
    input.consume(line.len());
    drop(quiet);
    screen.remark("");
    if line.ends_with(INTERRUPT) {
        return Err(Failure::new(ErrorCode::Failed, "interrupted; no password was read"));
    }
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// A terminal that does not echo, for as long as this lives.
struct Quiet(Termios);

impl Quiet {
    fn new() -> Result<Self, Failure> {
        let before = tcgetattr(io::stdin().as_fd()).map_err(|error| unreadable(&error.into()))?;
        let mut quiet = before.clone();
        // An interrupt must not leave the terminal without echo: it ends the line instead of the process.
        quiet.local_flags.remove(LocalFlags::ECHO | LocalFlags::ISIG);
        if let Some(end_of_line) = quiet.control_chars.get_mut(SpecialCharacterIndices::VEOL as usize) {
            *end_of_line = INTERRUPT as u8;
        }
        tcsetattr(io::stdin().as_fd(), SetArg::TCSAFLUSH, &quiet).map_err(|error| unreadable(&error.into()))?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin().as_fd(), SetArg::TCSAFLUSH, &self.0);
    }
}

fn unreadable(error: &io::Error) -> Failure {
    Failure::new(ErrorCode::Failed, format!("the password cannot be read from standard input: {error}"))
}
