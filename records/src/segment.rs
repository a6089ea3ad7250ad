//! Segment files: how they are named, found and recognised. Reads names and headers only.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::StoreError;
use crate::schema::{APPLICATION_ID, VERSION};

const PREFIX: &str = "segment-";
const SUFFIX: &str = ".sqlite";

/// A segment's file and the sequence number that its first row has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    pub first_seq: u64,
    pub path: PathBuf,
}

impl Segment {
    /// The place of the segment in `dir` whose first row is `first_seq`.
    pub(crate) fn at(dir: &Path, first_seq: u64) -> Self {
        Self { first_seq, path: dir.join(format!("{PREFIX}{first_seq:020}{SUFFIX}")) }
    }

    /// The file's name.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// What it takes on disk, its log included.
    pub(crate) fn size_bytes(&self) -> u64 {
        [self.path.clone(), self.companion("-wal")]
            .iter()
            .filter_map(|path| fs::metadata(path).ok())
            .map(|m| m.len())
            .sum()
    }

    /// The path of `SQLite`'s own file beside it.
    pub(crate) fn companion(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(suffix);
        name.into()
    }
}

/// The segments in `dir`, oldest first. Other files are passed over; a folder that does not exist is an error.
pub fn segments(dir: &Path) -> Result<Vec<Segment>, StoreError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(|error| StoreError::io(dir, error))? {
        let entry = entry.map_err(|error| StoreError::io(dir, error))?;
        let name = entry.file_name();
        let digits =
            name.to_str().and_then(|name| name.strip_prefix(PREFIX)).and_then(|name| name.strip_suffix(SUFFIX));
        let first = digits.filter(|digits| digits.len() == 20).and_then(|digits| digits.parse().ok());
        found.extend(first.map(|first_seq| Segment { first_seq, path: entry.path() }));
    }
    found.sort_by_key(|segment| segment.first_seq);
    Ok(found)
}

/// What a segment's file says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nature {
    /// Ours, and readable.
    Segment,
    /// Nothing was ever committed to it.
    Empty,
}

/// Looks at the file's header, without opening it as a database: what is not ours is never touched.
pub(crate) fn recognise(path: &Path) -> Result<Nature, StoreError> {
    let mut header = Vec::with_capacity(100);
    let file = File::open(path).map_err(|error| StoreError::io(path, error))?;
    file.take(100).read_to_end(&mut header).map_err(|error| StoreError::io(path, error))?;
    if header.is_empty() {
        return Ok(Nature::Empty);
    }
    let word =
        |at: usize| header.get(at..at + 4).map_or(0, |bytes| bytes.iter().fold(0, |sum, &b| sum << 8 | u32::from(b)));
    let path = path.to_owned();
    if !header.starts_with(b"SQLite format 3\0") || header.len() < 100 {
        return Err(StoreError::NotSqlite { path });
    }
    if word(68) != APPLICATION_ID {
        return Err(StoreError::Foreign { path });
    }
    match word(60) {
        found if found > VERSION => Err(StoreError::Newer { path, found, known: VERSION }),
        _ => Ok(Nature::Segment),
    }
}
