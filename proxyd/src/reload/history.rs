//! The generations kept in `state_dir/generations`: what was applied, by whom, when, and its sources as typed.
//!
//! One file each, readable by its owner alone, written whole or not at all; the oldest go when there are too many.
//! Knows nothing of what a config means.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shared::audit::Door;
use shared::config::Input;
use thiserror::Error;

/// How many generations are kept.
pub const KEPT: usize = 100;

/// A generation, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    #[serde(flatten)]
    pub headline: Headline,
    /// References to secrets are unresolved.
    pub input: Input,
}

/// What is to be said about a generation without showing its sources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Headline {
    pub generation: u64,
    /// Microseconds since the Unix epoch.
    pub time_us: i64,
    pub actor: String,
    pub door: Door,
    /// SHA-256 of the sources, in hex.
    pub hash: String,
    /// What changed, in one line.
    pub summary: String,
    /// The generation it repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_of: Option<u64>,
    /// Whether its sources were those that the daemon was started with; not so after a rollback that left the files alone.
    pub from_files: bool,
}

/// Why the store cannot be used.
#[derive(Debug, Error)]
#[error("the config history in {path}: {error}", path = .path.display())]
pub struct HistoryError {
    path: PathBuf,
    error: io::Error,
}

/// The store.
#[derive(Clone, Debug)]
pub struct History {
    folder: PathBuf,
}

impl History {
    /// Opens the store under `state_dir`, making its folder where there is none.
    pub fn open(state_dir: &Path) -> Result<Self, HistoryError> {
        let history = Self { folder: state_dir.join("generations") };
        DirBuilder::new().recursive(true).mode(0o700).create(&history.folder).map_err(|error| history.error(error))?;
        history.sweep()?;
        Ok(history)
    }

    /// The numbers kept, oldest first.
    pub fn numbers(&self) -> Result<Vec<u64>, HistoryError> {
        let entries = fs::read_dir(&self.folder).map_err(|error| self.error(error))?;
        let mut numbers: Vec<u64> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".json")?.parse().ok())
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The newest number that was ever given, as far as is kept; 0: none.
    pub fn newest(&self) -> Result<u64, HistoryError> {
        Ok(self.numbers()?.last().copied().unwrap_or(0))
    }

    /// One generation; none where it is not kept.
    pub fn read(&self, generation: u64) -> Result<Option<Kept>, HistoryError> {
        self.parse(generation)
    }

    /// What is to be said about one generation.
    pub fn headline(&self, generation: u64) -> Result<Option<Headline>, HistoryError> {
        self.parse(generation)
    }

    /// Keeps a generation: on disk and safe from a power cut when this returns.
    pub fn keep(&self, kept: &Kept) -> Result<(), HistoryError> {
        let place = self.place(kept.headline.generation);
        let unfinished = place.with_extension("unfinished");
        let write = || {
            let mut text = serde_json::to_vec_pretty(kept)?;
            text.push(b'\n');
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&unfinished, &place)?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(|error| {
            let _ = fs::remove_file(&unfinished);
            self.error(error)
        })?;
        self.forget_the_oldest()
    }

    /// Takes back a generation that did not come into force after all.
    pub fn discard(&self, generation: u64) {
        let _ = fs::remove_file(self.place(generation));
    }

    fn forget_the_oldest(&self) -> Result<(), HistoryError> {
        let numbers = self.numbers()?;
        for &old in numbers.iter().rev().skip(KEPT) {
            fs::remove_file(self.place(old)).map_err(|error| self.error(error))?;
        }
        Ok(())
    }

    /// Removes what an interrupted write left behind.
    fn sweep(&self) -> Result<(), HistoryError> {
        let entries = fs::read_dir(&self.folder).map_err(|error| self.error(error))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == "unfinished") {
                let _ = fs::remove_file(path);
            }
        }
        Ok(())
    }

    fn parse<T: for<'a> Deserialize<'a>>(&self, generation: u64) -> Result<Option<T>, HistoryError> {
        let text = match fs::read(self.place(generation)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.error(error)),
        };
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| HistoryError { path: self.place(generation), error: error.into() })
    }

    fn place(&self, generation: u64) -> PathBuf {
        self.folder.join(format!("{generation:08}.json"))
    }

    fn error(&self, error: io::Error) -> HistoryError {
        HistoryError { path: self.folder.clone(), error }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn kept(generation: u64) -> Kept {
        let headline = Headline {
            generation,
            time_us: 1,
            actor: "root (uid 0)".to_owned(),
            door: Door::Socket,
            hash: format!("{generation}"),
            summary: "1 route added".to_owned(),
            rollback_of: None,
            from_files: true,
        };
        let input = Input { set: vec!["log.level=\"debug\"".to_owned()], ..Input::default() };
        Kept { headline, input }
    }

    #[test]
    fn generations_are_kept_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::open(folder.path()).unwrap();
        assert_eq!(history.newest().unwrap(), 0);
        history.keep(&kept(1)).unwrap();
        let place = folder.path().join("generations/00000001.json");
        assert_eq!(fs::metadata(&place).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(place.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        let again = History::open(folder.path()).unwrap();
        assert_eq!(again.read(1).unwrap(), Some(kept(1)));
        assert_eq!(again.headline(1).unwrap(), Some(kept(1).headline));
        assert_eq!(again.read(2).unwrap(), None);
    }

    #[test]
    fn the_number_kept_is_bounded_and_counting_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::open(folder.path()).unwrap();
        for generation in 1..=KEPT as u64 + 7 {
            history.keep(&kept(generation)).unwrap();
        }
        let numbers = history.numbers().unwrap();
        assert_eq!((numbers.len(), numbers.first().copied()), (KEPT, Some(8)));
        assert_eq!(History::open(folder.path()).unwrap().newest().unwrap(), KEPT as u64 + 7);
    }

    #[test]
    fn damage_is_told_and_leftovers_are_swept() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::open(folder.path()).unwrap();
        let generations = folder.path().join("generations");
        fs::write(generations.join("00000003.json"), "{").unwrap();
        fs::write(generations.join("00000004.unfinished"), "{").unwrap();
        fs::write(generations.join("notes.txt"), "").unwrap();
        assert_eq!(history.newest().unwrap(), 3);
        assert!(history.read(3).unwrap_err().to_string().contains("00000003.json"));
        History::open(folder.path()).unwrap();
        assert!(!generations.join("00000004.unfinished").exists());
        fs::write(folder.path().join("file"), "").unwrap();
        assert!(History::open(&folder.path().join("file")).is_err());
    }
}
