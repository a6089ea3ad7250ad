//! A file that one daemon holds at a time, with its process id in it.
//!
//! The lock belongs to the open file: a descriptor that is handed to another process carries it, so that over an upgrade
//! there is no moment in which a third one could slip in.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;
use thiserror::Error;

use crate::inherited::Inherited;

/// Why the lock cannot be had.
#[derive(Debug, Error)]
pub enum LockError {
    #[error("it is held by another process")]
    Held { pid: Option<i32> },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Held as long as somebody who has it lives.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// Takes the lock on the file at `path`, which is made if need be, or has been given it. A lock that was given is not yet
    /// signed: until the giver lets go it is still theirs.
    ///
    /// # Errors
    /// Somebody holds it, or the file cannot be opened.
    pub fn take(path: &Path, inherited: &mut Inherited) -> Result<Self, LockError> {
        if let Some(given) = inherited.lock(path) {
            return Ok(Self(given));
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(path)?;
        match file.try_lock() {
            Ok(()) => {
                let lock = Self(file);
                lock.sign()?;
                Ok(lock)
            }
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = Read::by_ref(&mut file).take(32).read_to_string(&mut text);
                Err(LockError::Held { pid: text.trim().parse().ok() })
            }
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// Writes down that it is this process that holds it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn sign(&self) -> io::Result<()> {
        let mut file = &self.0;
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    }

    /// The lock, to be handed to the process that takes over.
    ///
    /// # Errors
    /// There are too many descriptors.
    pub fn share(&self) -> io::Result<OwnedFd> {
        self.0.try_clone().map(OwnedFd::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inherited::Use;

    #[test]
    fn it_is_held_until_the_last_who_has_it_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let none = || Inherited::default();
        let first = Lock::take(&path, &mut none()).unwrap();
        let me = i32::try_from(std::process::id()).unwrap();
        assert!(matches!(Lock::take(&path, &mut none()), Err(LockError::Held { pid: Some(pid) }) if pid == me));
        let mut given = Inherited::of(vec![(Use::Lock, first.share().unwrap())]);
        let second = Lock::take(&path, &mut given).unwrap();
        drop(first);
        assert!(Lock::take(&path, &mut none()).is_err());
        drop(second);
        Lock::take(&path, &mut none()).unwrap();
    }
}
