//! Where a value came from: kept beside it from the first parse to `explain` and `config show --origin`.

use std::fmt;
use std::sync::Arc;

/// The layer a value was written in, weakest first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Nobody wrote it.
    Default,
    /// A config file, base or overlay, by the name the operator knows it by.
    File(Arc<str>),
    /// An environment variable, by its name.
    Environment(Arc<str>),
    /// A `--set` argument, as written before its value.
    CommandLine(Arc<str>),
}

/// A place in a source. Lines and columns count from 1; 0 where the source has no lines.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    pub source: Source,
    pub line: u32,
    pub column: u32,
}

impl Origin {
    /// The origin of a value that nobody wrote.
    #[must_use]
    pub fn default_value() -> Self {
        Self { source: Source::Default, line: 0, column: 0 }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Default => f.write_str("default"),
            Source::File(name) => write!(f, "{name}:{}:{}", self.line, self.column),
            Source::Environment(name) => write!(f, "environment {name}"),
            Source::CommandLine(path) => write!(f, "--set {path}"),
        }
    }
}
