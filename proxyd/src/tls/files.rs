//! Reading PEM files, and noticing that they have changed.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Guard};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use shared::config::CertificateFiles;
use thiserror::Error;

use super::provider;

/// A certificate or key file is larger than anybody's.
const LARGEST: u64 = 4 << 20;

/// Why a file cannot be used. Names the file, and quotes nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{} {what}", path.display())]
pub struct TlsError {
    pub path: PathBuf,
    /// A sentence that goes on after the file's name.
    pub what: String,
    /// The way to the value that names it.
    pub keys: Vec<String>,
}

impl TlsError {
    pub(super) fn new(path: &Path, what: impl std::fmt::Display) -> Self {
        Self { path: path.to_owned(), what: what.to_string(), keys: Vec::new() }
    }

    /// Found below these keys.
    pub(super) fn below<const COUNT: usize>(mut self, keys: [&str; COUNT]) -> Self {
        self.keys.splice(0..0, keys.map(str::to_owned));
        self
    }

    /// All of them in one line.
    pub(super) fn join(errors: &[Self]) -> String {
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }
}

/// By what a file is known to be the same as before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    path: PathBuf,
    /// Device, inode, length, and when it changed last; none where it cannot be looked at.
    state: Option<(u64, u64, u64, i64, i64)>,
}

impl Stamp {
    pub(super) fn of(path: &Path) -> Self {
        let state = |found: Metadata| (found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec());
        Self { path: path.to_owned(), state: std::fs::metadata(path).ok().map(state) }
    }
}

/// What became of files that may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// Nothing new.
    Same,
    /// Other files were taken up.
    Taken,
    /// They cannot be used; the ones before stay.
    Refused(String),
}

/// Files that may change while they are used.
#[derive(Debug)]
pub(super) struct Watched<T> {
    current: ArcSwap<T>,
    /// How the files were when they were looked at last, and why they were not taken up then.
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    stamps: Vec<Stamp>,
    /// Whether they were read as they are.
    judged: bool,
    problem: Option<String>,
}

impl<T> Watched<T> {
    pub(super) fn new(current: T) -> Self {
        Self { current: ArcSwap::from_pointee(current), seen: Mutex::default() }
    }

    pub(super) fn get(&self) -> Guard<Arc<T>> {
        self.current.load()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why newer files were not taken up, if so.
    pub(super) fn problem(&self) -> Option<String> {
        self.seen().problem.clone()
    }

    /// Takes up what another one has read.
    pub(super) fn adopt(&self, fresh: &Self) {
        self.current.store(fresh.current.load_full());
        *self.seen() = Seen::default();
    }

    /// Takes up files that have changed since `stamps` were taken, once they have come to rest: a pair is seldom replaced in
    /// one step. Blocks.
    pub(super) fn refresh(&self, stamps: &[Stamp], load: impl FnOnce() -> Result<T, Vec<TlsError>>) -> Refreshed {
        let now: Vec<Stamp> = stamps.iter().map(|stamp| Stamp::of(&stamp.path)).collect();
        let mut seen = self.seen();
        if now == stamps {
            *seen = Seen::default();
            return Refreshed::Same;
        }
        if seen.stamps != now {
            seen.stamps = now;
            seen.judged = false;
            return Refreshed::Same;
        }
        if std::mem::replace(&mut seen.judged, true) {
            return Refreshed::Same;
        }
        match load() {
            Ok(current) => {
                self.current.store(Arc::new(current));
                *seen = Seen::default();
                Refreshed::Taken
            }
            Err(errors) => {
                let problem = TlsError::join(&errors);
                seen.problem = Some(problem.clone());
                Refreshed::Refused(problem)
            }
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let length =
        std::fs::metadata(path).map_err(|error| TlsError::new(path, format!("cannot be read: {error}")))?.len();
    if length > LARGEST {
        return Err(TlsError::new(path, "is too large"));
    }
    std::fs::read(path).map_err(|error| TlsError::new(path, format!("cannot be read: {error}")))
}

/// The certificates of a file, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| TlsError::new(path, format!("is no PEM: {error}")))?;
    if found.is_empty() {
        return Err(TlsError::new(path, "holds no certificate"));
    }
    Ok(found)
}

/// A chain with its key, which must belong to it.
pub(super) fn pair(files: &CertificateFiles) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(&files.cert).map_err(|error| error.below(["cert"]))?;
    let key = read(&files.key).and_then(|text| {
        PrivateKeyDer::from_pem_slice(&text).map_err(|_| TlsError::new(&files.key, "holds no private key"))
    });
    let pair = key.and_then(|key| {
        CertifiedKey::from_der(chain, key, provider()).map_err(|error| {
            let what = if matches!(error, rustls::Error::InconsistentKeys(_)) {
                format!("does not belong to the certificate {}", files.cert.display())
            } else {
                format!("cannot be used: {error}")
            };
            TlsError::new(&files.key, what)
        })
    });
    pair.map_err(|error| error.below(["key"]))
}

/// Roots of trust.
pub(super) fn roots(path: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(path)? {
        store
            .add(certificate)
            .map_err(|error| TlsError::new(path, format!("holds a certificate that cannot be used: {error}")))?;
    }
    Ok(Arc::new(store))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files are taken up when they have come to rest, and refused once for each state that cannot be used.
    #[test]
    fn changed_files_are_taken_up_once_they_rest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("site.pem");
        std::fs::write(&path, "one").unwrap();
        let stamps = [Stamp::of(&path)];
        let watched = Watched::new(1);
        let refuse = || Err(vec![TlsError::new(&path, "is torn")]);
        assert_eq!(watched.refresh(&stamps, || Ok(2)), Refreshed::Same);
        std::fs::write(&path, "another").unwrap();
        assert_eq!(watched.refresh(&stamps, || Ok(2)), Refreshed::Same, "just changed");
        let said = format!("{} is torn", path.display());
        assert_eq!(watched.refresh(&stamps, refuse), Refreshed::Refused(said.clone()));
        assert_eq!(watched.problem(), Some(said));
        assert_eq!(watched.refresh(&stamps, refuse), Refreshed::Same, "told once");
        assert_eq!(**watched.get(), 1);
        std::fs::write(&path, "the right one").unwrap();
        assert_eq!(watched.refresh(&stamps, || Ok(3)), Refreshed::Same);
        assert_eq!(watched.refresh(&stamps, || Ok(3)), Refreshed::Taken);
        assert_eq!((**watched.get(), watched.problem()), (3, None));
    }

    #[test]
    fn what_a_file_lacks_is_said_and_nothing_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret.txt");
        std::fs::write(&path, "hunter2").unwrap();
        let said = certificates(&path).unwrap_err().to_string();
        assert!(said.ends_with("secret.txt holds no certificate"), "{said}");
        let gone = certificates(&folder.path().join("gone")).unwrap_err().to_string();
        assert!(gone.contains("cannot be read"), "{gone}");
    }
}
