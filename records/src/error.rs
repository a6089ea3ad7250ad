//! What can go wrong with the store; every message names the file it means.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why the store cannot be opened, read or written.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path}: {source}")]
    Sqlite { path: PathBuf, source: rusqlite::Error },
    #[error("{path} is not an SQLite database; it was left alone: move it away, or choose another audit.path")]
    NotSqlite { path: PathBuf },
    #[error(
        "{path} is an SQLite database, but no audit segment; it was left alone: move it away, or choose another audit.path"
    )]
    Foreign { path: PathBuf },
    #[error(
        "{path} was written by a newer version (schema {found}; this version knows up to {known}); it was left alone"
    )]
    Newer { path: PathBuf, found: u32, known: u32 },
    #[error("{path}: another process writes this audit store")]
    Held { path: PathBuf },
    #[error("{path} was removed or replaced while the store was open")]
    Removed { path: PathBuf },
    #[error("{0}")]
    Head(String),
    #[error("the search was given up because nobody waits for it")]
    Cancelled,
}

impl StoreError {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    pub(crate) fn sqlite(path: &Path, source: rusqlite::Error) -> Self {
        Self::Sqlite { path: path.to_owned(), source }
    }

    /// Whether the file that was asked for is not there (any more).
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }
}
