//! Passwords and tokens, which neither an argument nor an echo shows: read for `hash-password`, an argon2id hash for `admin.auth`,
//! and for the commands that take one.

use std::io::{self, BufRead, IsTerminal, Read};
use std::os::fd::AsFd;

use argon2::{Argon2, PasswordHash, PasswordHasher};
use nix::sys::termios::{LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr};
use serde_json::json;
use shared::config::Secret;
use shared::control::{Command, ErrorCode};

use crate::cli::{Format, SecretFrom};
use crate::failure::Failure;
use crate::screen::Screen;

/// What ctrl-C sends.
const INTERRUPT: char = '\x03';

/// Longer ones are a file piped in by mistake.
const MAX_BYTES: u64 = 1024;

/// As long as a token can be.
const MAX_TOKEN_BYTES: u64 = 16 << 10;

/// Reads a password and prints its hash.
pub(crate) fn hash(screen: &mut Screen<'_>) -> Result<(), Failure> {
    let password = if io::stdin().is_terminal() { ask(screen)? } else { piped()? };
    let password = sound(password, screen)?;
    let hash: PasswordHash = Argon2::default()
        .hash_password(password.as_bytes())
        .map_err(|error| Failure::new(ErrorCode::Failed, format!("the password cannot be hashed: {error}")))?;
    match screen.look.format {
        Format::Json => screen.page(&json!({ "password_hash": hash.to_string() })),
        Format::Table | Format::Csv => screen.text(&hash.to_string()),
    }
}

/// The command with the secret that it still lacks.
pub(crate) fn complete(
    command: Command,
    from: Option<SecretFrom>,
    screen: &mut Screen<'_>,
) -> Result<Command, Failure> {
    let Some(from) = from else { return Ok(command) };
    let secret = Secret::new(match from {
        SecretFrom::TokenStdin => token()?,
        SecretFrom::Stdin => sound(piped()?, screen)?,
        SecretFrom::Terminal if io::stdin().is_terminal() => sound(ask(screen)?, screen)?,
        SecretFrom::Terminal => {
            return Err(Failure::new(
                ErrorCode::InvalidArguments,
                "standard input is no terminal to type a password at",
            )
            .hint("Give the password on standard input with --password-stdin."));
        }
    });
    let mut command = command;
    if let Command::UsersAdd(args) = &mut command {
        args.password = Some(secret);
    } else if let Command::UsersPassword(args) = &mut command {
        args.password = secret;
    } else if let Command::TokensRevoke(args) = &mut command {
        args.token = Some(secret);
    }
    Ok(command)
}

/// A password that is one.
fn sound(password: String, screen: &mut Screen<'_>) -> Result<String, Failure> {
    if password.is_empty() {
        return Err(Failure::new(ErrorCode::Failed, "an empty password protects nothing"));
    }
    if password.chars().count() < 12 {
        screen.remark("warning: a password of less than 12 characters is soon guessed");
    }
    Ok(password)
}

/// The one word of standard input.
fn token() -> Result<String, Failure> {
    let mut text = String::new();
    io::stdin().lock().take(MAX_TOKEN_BYTES + 1).read_to_string(&mut text).map_err(|error| {
        Failure::new(ErrorCode::Failed, format!("no token can be read from standard input: {error}"))
    })?;
    let token = text.trim();
    if token.is_empty() || token.contains(char::is_whitespace) || text.len() as u64 > MAX_TOKEN_BYTES {
        return Err(Failure::new(ErrorCode::Failed, "standard input does not hold one token")
            .hint("Give the token alone, without `Bearer`, at most 16 KiB."));
    }
    Ok(token.to_owned())
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
