//! What a config is made from: the texts as typed, and the overrides. The only file of this crate that reads files.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::merge::PREFIX;
use super::parse::MAX_TEXT_BYTES;
use super::problem::{Code, Problem, Problems, Severity};

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
        let mut problems = Problems::default();
        let mut input = Self { set: sources.set.clone(), ..Self::default() };
        for path in config_files(&sources.config, &mut problems) {
            read_into(&mut input.files, &path, &mut problems);
        }
        if let Some(env) = &sources.env {
            match overlay_file(&sources.config, env) {
                Ok(path) => read_into(&mut input.overlay, &path, &mut problems),
                Err(problem) => problems.0.push(*problem),
            }
        }
        input.environment = environment.filter(|(name, _)| name.starts_with(PREFIX)).collect();
        input.environment.sort();
        if problems.0.is_empty() { Ok(input) } else { Err(problems) }
    }

    /// One text without a file: the built-in default, or a config that was posted.
    #[must_use]
    pub fn text(name: &str, text: &str) -> Self {
        let text = Text { name: name.into(), folder: PathBuf::new(), text: text.into() };
        Self { files: vec![text], ..Self::default() }
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
        let text = read_text(path, MAX_REFERENCED_BYTES)?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
    }
}

/// The largest file that a reference may name.
const MAX_REFERENCED_BYTES: usize = 1 << 20;
/// What config files end in.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// The file itself, or the files of a directory in name order without the overlays among them.
fn config_files(path: &Path, problems: &mut Problems) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => {
            problems.0.push(unreadable(path, &reason(&error), None));
            return Vec::new();
        }
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|file| {
            ending(file).is_some_and(|ending| ENDINGS.contains(&ending)) && !is_hidden(file) && file.is_file()
        })
        .collect();
    files.sort();
    // `config.production.yaml`, and `x.production.yaml` beside `x.yaml`, are overlays: read when they are asked for.
    let plain: Vec<PathBuf> = files.iter().filter(|file| !is_overlay(file, &files)).cloned().collect();
    if plain.is_empty() {
        let hint = "a directory is read for its *.yaml, *.yml and *.json files";
        problems.0.push(unreadable(path, "no config file is in this directory", Some(hint)));
    }
    plain
}

fn ending(file: &Path) -> Option<&str> {
    file.extension()?.to_str()
}

fn is_hidden(file: &Path) -> bool {
    file.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn is_overlay(file: &Path, files: &[PathBuf]) -> bool {
    let Some((stem, _)) = file.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.rsplit_once('.')) else {
        return false;
    };
    stem == "config" || files.iter().any(|other| other.file_stem().and_then(|other| other.to_str()) == Some(stem))
}

/// `config.production.yaml` beside `config.yaml`, in any of the endings; in a directory, `config` is the first part.
fn overlay_file(config: &Path, env: &str) -> Result<PathBuf, Box<Problem>> {
    let sound = !env.is_empty() && env.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if !sound {
        let hint = "the name of an environment is made of letters, digits, `-` and `_`";
        return Err(Box::new(unreadable(config, "this is not the name of an environment", Some(hint))));
    }
    let (folder, stem) = if config.is_dir() {
        (config.to_owned(), "config".to_owned())
    } else {
        let stem = config.file_stem().map_or_else(|| "config".to_owned(), |stem| stem.to_string_lossy().into_owned());
        (config.parent().unwrap_or(Path::new("")).to_owned(), stem)
    };
    let first = ending(config).filter(|ending| ENDINGS.contains(ending)).unwrap_or("yaml");
    let candidates = std::iter::once(first).chain(ENDINGS).map(|ending| folder.join(format!("{stem}.{env}.{ending}")));
    let wanted = folder.join(format!("{stem}.{env}.{first}"));
    candidates.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        let hint = format!("`--env {env}` reads this file over the config; write it, or leave `--env` out");
        Box::new(unreadable(&wanted, "there is no such file", Some(&hint)))
    })
}

fn read_into(texts: &mut Vec<Text>, path: &Path, problems: &mut Problems) {
    match read_text(path, MAX_TEXT_BYTES) {
        Ok(text) => texts.push(Text {
            name: path.to_string_lossy().into(),
            folder: path.parent().unwrap_or(Path::new("")).to_owned(),
            text: text.into(),
        }),
        Err(reason) => problems.0.push(unreadable(path, &reason, None)),
    }
}

/// Reads a whole text file, at most so many bytes. The error says why not, in a few words.
fn read_text(path: &Path, max_bytes: usize) -> Result<String, String> {
    // Asked before it is opened: opening a pipe would wait for its other end.
    if !fs::metadata(path).map_err(|error| reason(&error))?.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let file = fs::File::open(path).map_err(|error| reason(&error))?;
    let mut bytes = Vec::new();
    file.take(max_bytes as u64 + 1).read_to_end(&mut bytes).map_err(|error| reason(&error))?;
    if bytes.len() > max_bytes {
        return Err(format!("it is larger than {} MiB", max_bytes >> 20));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(good).filter(|b| **b == b'\n').count() + 1;
        format!("it is not UTF-8 text (line {line})")
    })
}

fn reason(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        "there is no such file".to_owned()
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        "permission denied".to_owned()
    } else {
        error.to_string()
    }
}

fn unreadable(path: &Path, reason: &str, hint: Option<&str>) -> Problem {
    Problem {
        code: Code::Unreadable,
        severity: Severity::Error,
        path: String::new(),
        origin: path.display().to_string(),
        line: 0,
        column: 0,
        message: format!("cannot read the config: {reason}"),
        hint: hint.map(str::to_owned),
        excerpt: None,
    }
}
