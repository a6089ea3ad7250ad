//! The state folder: made if it is missing, and held by one daemon at a time.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::inherited::Inherited;
use crate::lock::{Lock, LockError};

/// Why the state folder cannot be used.
#[derive(Debug, Error)]
pub enum StateDirError {
    #[error("server.state_dir {} cannot be made: {source}", path.display())]
    Make { path: PathBuf, source: std::io::Error },
    #[error("server.state_dir {} cannot be written: {source}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("server.state_dir {} is used by another proxyd{holder}", path.display())]
    Held { path: PathBuf, holder: String },
}

/// Makes the folder and takes its lock, which is held as long as the value lives.
pub(super) fn prepare(path: &Path, inherited: &mut Inherited) -> Result<Lock, StateDirError> {
    let owned = || path.to_owned();
    if !path.is_dir() {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|source| StateDirError::Make { path: owned(), source })?;
    }
    Lock::take(&path.join("lock"), inherited).map_err(|error| match error {
        LockError::Held { pid } => {
            let holder = pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
            StateDirError::Held { path: owned(), holder }
        }
        LockError::Io(source) => StateDirError::Write { path: owned(), source },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let prepare = |path: &Path| prepare(path, &mut Inherited::default());
        let held = prepare(&path).unwrap();
        let refused = prepare(&path).unwrap_err().to_string();
        assert!(refused.contains(&format!("(pid {})", std::process::id())), "{refused}");
        drop(held);
        prepare(&path).unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        assert!(matches!(prepare(&folder.path().join("file/x")), Err(StateDirError::Make { .. })));
    }
}
