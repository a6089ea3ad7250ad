//! What a daemon keeps between two starts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

/// A folder with everything that a daemon keeps between two starts.
#[derive(Clone, Debug)]
pub struct Home(Arc<TempDir>);

impl Default for Home {
    fn default() -> Self {
        Self(Arc::new(tempfile::Builder::new().prefix("proxyd-test-").tempdir().expect("a folder can be made")))
    }
}

impl Home {
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A file of this name in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file in it.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.file(name);
        std::fs::create_dir_all(path.parent().expect("it lies in the folder")).expect("a folder can be made");
        std::fs::write(&path, text).expect("a file can be written");
        path
    }

    /// A file's text; empty where there is none.
    pub fn read(&self, name: &str) -> String {
        std::fs::read(self.file(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The segments of the audit store, oldest first.
    pub fn segments(&self) -> Vec<PathBuf> {
        let Ok(folder) = std::fs::read_dir(self.file("data/audit")) else { return Vec::new() };
        let mut found: Vec<PathBuf> = folder.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
        found.retain(|path| std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"SQLite format 3\0")));
        found.sort();
        found
    }
}
