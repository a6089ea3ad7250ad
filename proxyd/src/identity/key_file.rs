//! Keys of our own, kept in the state folder for their owner alone: what they made is good after a restart too.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A longer file is none of ours.
const LONGEST: u64 = 4096;

/// A key that is there and cannot be read. It is left alone: with another one, everything that it made would be void.
#[derive(Debug, Error)]
#[error("the key in {} cannot be read: {source}", path.display())]
pub struct Unreadable {
    path: PathBuf,
    source: io::Error,
}

/// Reads the key in `path`, or makes one where there is none, or one that is not `good`. One that cannot be kept serves until the
/// next start, and the log says so.
pub(super) fn load<E: From<Unreadable>>(
    path: &Path,
    good: impl Fn(&[u8]) -> bool,
    make: impl FnOnce() -> Result<Box<[u8]>, E>,
) -> Result<Box<[u8]>, E> {
    match read(path) {
        Ok(key) if good(&key) => return Ok(key.into()),
        Ok(_) => {
            tracing::warn!(path = %path.display(), "this is no key; there is a new one, and what the old one made is void");
            let _ = std::fs::remove_file(path);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(Unreadable { path: path.to_owned(), source }.into()),
    }
    let key = make()?;
    if let Err(error) = write(path, &key) {
        tracing::warn!(path = %path.display(), %error, "a key cannot be kept: it serves until the next start");
    }
    Ok(key)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut key = Vec::new();
    std::fs::File::open(path)?.take(LONGEST).read_to_end(&mut key)?;
    Ok(key)
}

fn write(path: &Path, key: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(key)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_is_kept_for_its_owner_alone_and_a_broken_one_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session.key");
        let load = |byte: u8| {
            load(&path, |key| key.len() == 32, || Ok::<_, Unreadable>(vec![byte; 32].into())).map(|key| key[0])
        };
        let made = |byte: u8| load(byte).unwrap();
        assert_eq!((made(1), made(2)), (1, 1));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for broken in [&[][..], &[7; 31], &[7; 33]] {
            std::fs::write(&path, broken).unwrap();
            assert_eq!((made(3), made(4)), (3, 3));
        }
        std::fs::remove_file(&path).unwrap();
        // Whoever runs tests may read every file; a folder nobody reads as one.
        std::fs::create_dir(&path).unwrap();
        let error = load(5).unwrap_err().to_string();
        assert!(error.contains("session.key cannot be read: ") && path.is_dir(), "{error}");
    }
}
