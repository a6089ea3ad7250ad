//! Keys of our own, kept in the state folder for their owner alone: what they made is good after a restart too.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A longer file is none of ours.
const LONGEST: u64 = 4096;

/// Reads the key in `path`, or makes one where there is none that is `good`. One that cannot be kept serves until the next start,
/// and the log says so.
pub(super) fn load<E>(
    path: &Path,
    good: impl Fn(&[u8]) -> bool,
    make: impl FnOnce() -> Result<Box<[u8]>, E>,
) -> Result<Box<[u8]>, E> {
    match read(path) {
        Ok(key) if good(&key) => return Ok(key.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        broken => {
            let error = broken.err().unwrap_or_else(|| io::ErrorKind::InvalidData.into());
            tracing::warn!(path = %path.display(), %error, "a key cannot be read; there is a new one, and what the old one made is void");
            let _ = std::fs::remove_file(path);
        }
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
    use std::convert::Infallible;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_is_kept_for_its_owner_alone_and_a_broken_one_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session.key");
        let load =
            |byte: u8| load(&path, |key| key.len() == 32, || Ok::<_, Infallible>(vec![byte; 32].into())).unwrap()[0];
        assert_eq!((load(1), load(2)), (1, 1));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for broken in [&[][..], &[7; 31], &[7; 33]] {
            std::fs::write(&path, broken).unwrap();
            assert_eq!((load(3), load(4)), (3, 3));
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert_eq!((load(5), load(6)), (5, 6));
    }
}
