//! The state folder: made if it is missing, and held by one daemon at a time.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use thiserror::Error;

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
pub(super) fn prepare(path: &Path) -> Result<Flock<File>, StateDirError> {
    let owned = || path.to_owned();
    if !path.is_dir() {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|source| StateDirError::Make { path: owned(), source })?;
    }
    let unwritable = |source| StateDirError::Write { path: owned(), source };
    let lock = path.join("lock");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&lock);
    let mut lock = match Flock::lock(file.map_err(unwritable)?, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => lock,
        Err((mut file, Errno::EWOULDBLOCK)) => {
            let mut text = String::new();
            let _ = file.read_to_string(&mut text);
            let holder = text.trim().parse::<u32>().map(|pid| format!(" (pid {pid})")).unwrap_or_default();
            return Err(StateDirError::Held { path: owned(), holder });
        }
        Err((_, error)) => return Err(unwritable(error.into())),
    };
    let noted = lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| writeln!(lock, "{}", std::process::id()));
    noted.map_err(unwritable)?;
    Ok(lock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let held = prepare(&path).unwrap();
        let refused = prepare(&path).unwrap_err().to_string();
        assert!(refused.contains(&format!("(pid {})", std::process::id())), "{refused}");
        drop(held);
        prepare(&path).unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        assert!(matches!(prepare(&folder.path().join("file/x")), Err(StateDirError::Make { .. })));
    }
}
