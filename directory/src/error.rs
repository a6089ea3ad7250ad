//! What can go wrong; what concerns the file names it.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use thiserror::Error;

/// Why something cannot be read or written.
#[derive(Debug, Error)]
pub enum DirectoryError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{}: {source}", path.display())]
    Sqlite { path: PathBuf, source: rusqlite::Error },
    #[error("{} is not an SQLite database; it was left alone: move it away", path.display())]
    NotSqlite { path: PathBuf },
    #[error("{} is an SQLite database, but not of identities; it was left alone: move it away", path.display())]
    Foreign { path: PathBuf },
    #[error(
        "{} was written by a newer version (schema {found}; this version knows up to {known}); it was left alone",
        path.display()
    )]
    Newer { path: PathBuf, found: u32, known: u32 },
    #[error("{}: a row of {table} does not say what it should", path.display())]
    Damaged { path: PathBuf, table: &'static str },
    /// There is none such.
    #[error("there is no {what} {which:?}")]
    Unknown { what: &'static str, which: String },
    /// Another has it already.
    #[error("there is another {what} {which:?}")]
    Taken { what: &'static str, which: String },
    /// It is not what it was when it was read.
    #[error("the user {which:?} was changed in the meantime")]
    Changed { which: String },
    /// More than one is meant.
    #[error("{which:?} is the prefix of several API keys: name one by its id")]
    Ambiguous { which: String },
    /// It has ended, and nothing more can be done with it.
    #[error("the API key {which:?} was revoked or has expired")]
    Ended { which: String },
    #[error("{what} {problem}")]
    Invalid { what: &'static str, problem: String },
    #[error("there are {most} {what} already: no more are kept")]
    Full { what: &'static str, most: i64 },
    #[error("the system gives no randomness: {0}")]
    Randomness(getrandom::Error),
}

impl From<rusqlite::Error> for DirectoryError {
    /// The path follows where it is known.
    fn from(source: rusqlite::Error) -> Self {
        Self::Sqlite { path: PathBuf::new(), source }
    }
}

impl DirectoryError {
    /// Of this file.
    pub(crate) fn at(mut self, file: &Path) -> Self {
        if let Self::Sqlite { path, .. } | Self::Damaged { path, .. } = &mut self {
            file.clone_into(path);
        }
        self
    }

    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    pub(crate) fn unknown(what: &'static str, which: &str) -> Self {
        Self::Unknown { what, which: which.chars().take(128).collect() }
    }

    pub(crate) fn taken(what: &'static str, which: &str) -> Self {
        Self::Taken { what, which: which.to_owned() }
    }

    pub(crate) fn invalid(what: &'static str, problem: impl Into<String>) -> Self {
        Self::Invalid { what, problem: problem.into() }
    }

    pub(crate) fn is_not_sqlite(&self) -> bool {
        matches!(self, Self::Sqlite { source, .. } if source.sqlite_error_code() == Some(ErrorCode::NotADatabase))
    }

    /// Whether whoever asked is to blame, not the file.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Unknown { .. }
            | Self::Taken { .. }
            | Self::Changed { .. }
            | Self::Ambiguous { .. }
            | Self::Ended { .. }
            | Self::Invalid { .. }
            | Self::Full { .. } => true,
            Self::Io { .. }
            | Self::Sqlite { .. }
            | Self::NotSqlite { .. }
            | Self::Foreign { .. }
            | Self::Newer { .. }
            | Self::Damaged { .. }
            | Self::Randomness(_) => false,
        }
    }
}
