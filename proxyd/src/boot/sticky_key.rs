//! The key of sticky cookies, kept in the state folder: cookies are good after a restart too.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::upstream::StickyKey;

const BYTES: usize = 32;

/// Reads the key, or makes one. One that cannot be kept serves until the next start, and the log says so.
pub(super) fn load(state_dir: &Path) -> Result<StickyKey, getrandom::Error> {
    let path = state_dir.join("sticky.key");
    let mut key = [0; BYTES];
    match read(&path, &mut key) {
        Ok(()) => return Ok(StickyKey::of(&key)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            let path = path.display();
            tracing::warn!(%path, %error, "the key of sticky cookies cannot be read; there is a new one");
            let _ = std::fs::remove_file(path.to_string());
        }
    }
    getrandom::fill(&mut key)?;
    let mut options = OpenOptions::new();
    let written =
        options.write(true).create_new(true).mode(0o600).open(&path).and_then(|mut file| file.write_all(&key));
    if let Err(error) = written {
        tracing::warn!(path = %path.display(), %error, "the key of sticky cookies cannot be kept");
    }
    Ok(StickyKey::of(&key))
}

fn read(path: &Path, key: &mut [u8; BYTES]) -> io::Result<()> {
    let mut file = std::fs::File::open(path)?;
    file.read_exact(key)?;
    if file.read(&mut [0])? == 0 { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_is_kept_for_its_owner_alone_and_a_broken_one_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sticky.key");
        load(folder.path()).unwrap();
        let first = std::fs::read(&path).unwrap();
        assert_eq!((first.len(), std::fs::metadata(&path).unwrap().permissions().mode() & 0o777), (BYTES, 0o600));
        load(folder.path()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), first);
        std::fs::write(&path, "short").unwrap();
        load(folder.path()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap().len(), BYTES);
        load(&folder.path().join("missing")).unwrap();
    }
}
