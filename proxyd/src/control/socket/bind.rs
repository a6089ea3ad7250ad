//! Takes the control socket: finds its place, proves that nobody holds it, and leaves nothing behind at the end.
//!
//! A lock file beside the socket says who holds it, for as long as its process lives. A socket file whose lock is free
//! and that nobody answers on is stale and replaced; anything else at that path is somebody's and left alone.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::geteuid;
use shared::config::SocketPlace;
use shared::control::socket_places;
use thiserror::Error;
use tokio::net::UnixListener;

use crate::inherited::{Inherited, Use};
use crate::lock::{Lock, LockError};

/// A socket that is ours; its file goes when this does.
#[derive(Debug)]
pub struct BoundSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of our socket file: at the end nobody else's is removed.
    identity: (u64, u64),
    owner: u32,
    group: u32,
    /// What its operator should know about the place.
    pub warnings: Vec<String>,
    /// Whether the file is removed at the end: not one of the service manager's, nor one that another process has, still or
    /// by now.
    is_ours: AtomicBool,
    /// Whether it is once this process has signed.
    will_be_ours: bool,
    mode: u32,
    /// Held as long as the socket is.
    lock: Lock,
}

/// Why the socket cannot be taken.
#[derive(Debug, Error)]
pub enum BindError {
    #[error("the control socket {path} is held by {holder}; stop that daemon, or name another place with admin.socket", path = .path.display())]
    Held { path: PathBuf, holder: String },
    #[error("{path} is {what}, not a socket; it was left alone: move it away, or name another place with admin.socket", path = .path.display())]
    NotASocket { path: PathBuf, what: &'static str },
    #[error("the folder {path} cannot hold the control socket: {reason}; name another place with admin.socket", path = .path.display())]
    Folder { path: PathBuf, reason: String },
    #[error("no automatic place can hold the control socket ({reasons}); name one with admin.socket")]
    NoPlace { reasons: String },
    #[error("the control socket {path}: {error}", path = .path.display())]
    Io { path: PathBuf, error: io::Error },
}

impl BoundSocket {
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Writes down that it is this process that listens: until then one that was given is the giver's.
    pub fn sign(&self) -> io::Result<()> {
        self.is_ours.store(self.will_be_ours, Ordering::Relaxed);
        if self.will_be_ours {
            // Who may come near it follows the config in force.
            fs::set_permissions(&self.path, Permissions::from_mode(self.mode))?;
        }
        self.lock.sign()
    }

    /// The socket and its lock, to be handed to the process that takes over.
    pub fn share(&self) -> io::Result<Vec<(Use, OwnedFd)>> {
        let is_ours = self.is_ours.load(Ordering::Relaxed);
        let socket = Use::Control { path: self.path.clone(), is_ours };
        Ok(vec![(socket, self.listener.as_fd().try_clone_to_owned()?), (Use::Lock, self.lock.share()?)])
    }

    /// Removes the file, if it is ours: nobody listens any more.
    pub fn remove(&self) {
        let ours = self.is_ours.load(Ordering::Relaxed)
            && fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.identity);
        if ours {
            let _ = fs::remove_file(&self.path);
        }
    }

    /// Another process listens on it from now on: its file stays.
    pub fn leave(&self) {
        self.is_ours.store(false, Ordering::Relaxed);
    }

    /// The user whose socket it is.
    pub(super) fn owner(&self) -> u32 {
        self.owner
    }

    /// The group whose members may read.
    pub(super) fn group(&self) -> u32 {
        self.group
    }
}

impl Drop for BoundSocket {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Takes the socket at `place` with these permission bits, or has been given it. Must be called within a runtime.
pub fn bind(place: &SocketPlace, mode: u32, inherited: &mut Inherited) -> Result<BoundSocket, BindError> {
    match place {
        SocketPlace::Path(path) => {
            let mut warnings = Vec::new();
            // What status and messages name must lead there from any folder.
            let path = &std::path::absolute(path).unwrap_or_else(|_| path.clone());
            let folder = folder_of(path);
            let found = fs::metadata(folder).map_err(|error| unusable(folder, &error.to_string()))?;
            if !found.is_dir() {
                return Err(unusable(folder, "it is not a folder"));
            }
            if found.mode() & 0o022 != 0 {
                let folder = folder.display();
                warnings.push(format!(
                    "others may write to {folder}, where the control socket lies: a folder of its own is safer"
                ));
            }
            take(path, mode, warnings, inherited)
        }
        SocketPlace::Auto => {
            let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
            let places = socket_places(runtime_dir.as_deref(), &std::env::temp_dir(), geteuid().as_raw());
            let mut reasons = Vec::new();
            for path in &places {
                match prepare_folder(folder_of(path)) {
                    Ok(()) => return take(path, mode, Vec::new(), inherited),
                    Err(reason) => reasons.push(format!("{}: {reason}", folder_of(path).display())),
                }
            }
            Err(BindError::NoPlace { reasons: reasons.join("; ") })
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn unusable(folder: &Path, reason: &str) -> BindError {
    BindError::Folder { path: folder.to_owned(), reason: reason.to_owned() }
}

/// Makes the folder of an automatic place, or finds it as only we could have made it: in a shared folder such as `/tmp`
/// anybody may have been here first.
fn prepare_folder(folder: &Path) -> Result<(), String> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.to_string()),
        Ok(()) | Err(_) => {}
    }
    let found = fs::symlink_metadata(folder).map_err(|error| error.to_string())?;
    if !found.is_dir() {
        return Err("it is not a folder".to_owned());
    }
    if found.uid() != geteuid().as_raw() {
        return Err(format!("it belongs to uid {}", found.uid()));
    }
    if found.mode() & 0o022 != 0 {
        return Err("others may write to it".to_owned());
    }
    Ok(())
}

/// Takes the socket at a path whose folder is known to be good.
fn take(path: &Path, mode: u32, warnings: Vec<String>, inherited: &mut Inherited) -> Result<BoundSocket, BindError> {
    let failed = |error: io::Error| BindError::Io { path: path.to_owned(), error };
    refuse_what_is_no_socket(path)?;
    let lock = lock(path, inherited)?;
    if let Some((listener, is_ours)) = inherited.control(path) {
        let listener = UnixListener::from_std(listener).map_err(failed)?;
        let found = fs::symlink_metadata(path).map_err(failed)?;
        // Until this process has signed it is the giver's.
        let ours = Ours { now: false, signed: is_ours };
        return Ok(socket(path, mode, listener, &found, ours, lock, warnings));
    }
    if path.exists() {
        if let Ok(other) = StdUnixStream::connect(path) {
            let holder = getsockopt(&other, PeerCredentials).map(|peer| peer.pid());
            return Err(BindError::Held { path: path.to_owned(), holder: process(holder.ok()) });
        }
        fs::remove_file(path).map_err(failed)?;
    }
    // Bound under another name and moved once its permissions are right: nobody can slip in between.
    let unfinished = beside(path, &format!(".{}", std::process::id()));
    let _ = fs::remove_file(&unfinished);
    let listener = UnixListener::bind(&unfinished).map_err(failed)?;
    let finish = || {
        fs::set_permissions(&unfinished, Permissions::from_mode(mode & 0o777))?;
        let found = fs::symlink_metadata(&unfinished)?;
        fs::rename(&unfinished, path)?;
        Ok(found)
    };
    let found = finish().map_err(|error| {
        let _ = fs::remove_file(&unfinished);
        failed(error)
    })?;
    Ok(socket(path, mode, listener, &found, Ours { now: true, signed: true }, lock, warnings))
}

/// Whose the file is.
struct Ours {
    now: bool,
    signed: bool,
}

fn socket(
    path: &Path,
    mode: u32,
    listener: UnixListener,
    found: &fs::Metadata,
    ours: Ours,
    lock: Lock,
    warnings: Vec<String>,
) -> BoundSocket {
    BoundSocket {
        listener,
        path: path.to_owned(),
        identity: (found.dev(), found.ino()),
        owner: found.uid(),
        group: found.gid(),
        warnings,
        is_ours: AtomicBool::new(ours.now),
        will_be_ours: ours.signed,
        mode: mode & 0o777,
        lock,
    }
}

fn refuse_what_is_no_socket(path: &Path) -> Result<(), BindError> {
    let what = match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => return Ok(()),
        Ok(found) if found.is_dir() => "a directory",
        Ok(found) if found.is_symlink() => "a symbolic link",
        Ok(_) => "a file",
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(BindError::Io { path: path.to_owned(), error }),
    };
    Err(BindError::NotASocket { path: path.to_owned(), what })
}

/// Locks the file beside the socket.
fn lock(path: &Path, inherited: &mut Inherited) -> Result<Lock, BindError> {
    let place = beside(path, ".lock");
    Lock::take(&place, inherited).map_err(|error| match error {
        LockError::Held { pid } => BindError::Held { path: path.to_owned(), holder: process(pid) },
        LockError::Io(error) => BindError::Io { path: place, error },
    })
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn process(pid: Option<i32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(place: &SocketPlace, mode: u32) -> Result<BoundSocket, BindError> {
        super::bind(place, mode, &mut Inherited::default())
    }

    fn at(folder: &Path, name: &str) -> SocketPlace {
        SocketPlace::Path(folder.join(name))
    }

    #[tokio::test]
    async fn a_socket_is_taken_once_and_gone_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let place = at(folder.path(), "s.sock");
        let first = bind(&place, 0o660).unwrap();
        let path = first.path().to_owned();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
        let error = bind(&place, 0o600).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        assert!(!path.exists());
        drop(bind(&place, 0o600).unwrap());
    }

    #[tokio::test]
    async fn a_socket_that_is_handed_over_stays() {
        let folder = tempfile::tempdir().unwrap();
        let place = at(folder.path(), "s.sock");
        let first = bind(&place, 0o600).unwrap();
        let path = first.path().to_owned();
        let mode = || fs::metadata(&path).unwrap().mode() & 0o777;
        let given = || super::bind(&place, 0o660, &mut Inherited::of(first.share().unwrap())).unwrap();
        drop(given());
        assert_eq!(mode(), 0o600, "who was given it and did not take over leaves it alone");
        let second = given();
        second.sign().unwrap();
        assert_eq!(mode(), 0o660);
        first.leave();
        drop(first);
        let caller = StdUnixStream::connect(&path).unwrap();
        assert!(bind(&place, 0o600).is_err(), "it is still held");
        second.listener().accept().await.unwrap();
        drop((caller, second));
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(bind(&at(folder.path(), "s.sock"), 0o600).unwrap());
        let _live = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let error = bind(&at(folder.path(), "s.sock"), 0o600).unwrap_err();
        assert!(matches!(error, BindError::Held { .. }), "{error}");
        assert!(path.exists());
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("d")).unwrap();
        fs::write(folder.path().join("f"), "kept").unwrap();
        std::os::unix::fs::symlink(folder.path().join("f"), folder.path().join("l")).unwrap();
        for (name, what) in [("d", "a directory"), ("f", "a file"), ("l", "a symbolic link")] {
            let error = bind(&at(folder.path(), name), 0o600).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
        assert_eq!(fs::read_to_string(folder.path().join("f")).unwrap(), "kept");
        assert!(bind(&at(&folder.path().join("none"), "s"), 0o600).is_err());
    }

    #[test]
    fn a_shared_folder_is_not_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("own");
        assert_eq!(prepare_folder(&own), Ok(()));
        assert_eq!(fs::metadata(&own).unwrap().mode() & 0o777, 0o700);
        assert_eq!(prepare_folder(&own), Ok(()));
        fs::set_permissions(&own, Permissions::from_mode(0o777)).unwrap();
        assert_eq!(prepare_folder(&own), Err("others may write to it".to_owned()));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path(), &link).unwrap();
        assert_eq!(prepare_folder(&link), Err("it is not a folder".to_owned()));
    }
}
