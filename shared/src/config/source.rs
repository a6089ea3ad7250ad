//! What a config is made from: the texts as typed, and the overrides. The only file of this crate that reads files.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Problems;

/// Where to look: what a command line names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sources {
    /// A file, or a directory whose `*.yaml`, `*.yml` and `*.json` are read in name order.
    pub config: PathBuf,
    /// `production` also reads `config.production.yaml` beside `config.yaml`.
    pub env: Option<String>,
    /// `server.listen=…`, in the order given.
    pub set: Vec<String>,
}

/// One text and the name it goes by in messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    pub name: Arc<str>,
    /// The folder that relative paths in it are relative to.
    pub folder: PathBuf,
    pub text: Arc<str>,
}

/// Everything a config is made from, as typed: references to secrets unresolved. Kept with each generation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    pub files: Vec<Text>,
    pub overlay: Vec<Text>,
    /// `PROXYD__…` variables: name and value, sorted by name.
    pub environment: Vec<(String, String)>,
    pub set: Vec<String>,
}

impl Input {
    /// Reads what `sources` names; `environment` is the process's (only `PROXYD__…` is taken).
    ///
    /// # Errors
    /// A file that is missing, unreadable, not UTF-8 or over the size bound: every such file is reported.
    pub fn read(sources: &Sources, environment: impl Iterator<Item = (String, String)>) -> Result<Self, Problems> {
        let _ = (sources, environment);
        todo!()
    }

    /// One text without a file: the built-in default, or a config that was posted.
    #[must_use]
    pub fn text(name: &str, text: &str) -> Self {
        let _ = (name, text);
        todo!()
    }
}

/// What `${env:…}` and `${file:…}` become.
pub enum References<'a> {
    /// Looked up; one that is unset is an error.
    Resolve(&'a dyn Resolver),
    /// Looked up where possible; one that is unset is a warning and stands for some value (offline `validate`).
    Lenient(&'a dyn Resolver),
    /// Not allowed at all: the text is not from somebody who may read files and variables here.
    Refuse,
}

/// Looks references up.
pub trait Resolver {
    /// `${env:name}`.
    fn env(&self, name: &str) -> Option<String>;
    /// `${file:path}`, without its final newline. The error says why not, in a few words.
    ///
    /// # Errors
    /// A short reason.
    fn file(&self, path: &std::path::Path) -> Result<String, String>;
}

/// Looks references up in this process's environment and file system.
pub struct System;

impl Resolver for System {
    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn file(&self, path: &std::path::Path) -> Result<String, String> {
        let _ = path;
        todo!()
    }
}
