//! Sockets and locks that this process was given instead of opening them itself: by the process that it takes over from,
//! or by the service manager (socket activation). Knows where each belongs, not who uses it.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use socket2::SockRef;

/// What something given is for. Said to the process that takes over beside each descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Use {
    /// A listener for clients, under the address that the config names.
    Traffic(SocketAddr),
    Admin(SocketAddr),
    /// A demo backend.
    Demo(SocketAddr),
    /// The control socket; whether its file is removed at the end by whoever listens on it.
    Control {
        path: PathBuf,
        is_ours: bool,
    },
    /// A locked file: found by what it is, not by its name.
    Lock,
    /// Where the process before still passes on its audit rows.
    Rows,
    /// Where diagnostics go.
    Stderr,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Inherited {
    given: Vec<(Use, OwnedFd)>,
    /// Given without a word on what for: their own addresses say.
    nameless: Vec<(Address, OwnedFd)>,
}

/// Where a socket listens.
#[derive(Debug, PartialEq, Eq)]
enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
    Other,
}

impl Inherited {
    /// What another process of ours gave.
    #[must_use]
    pub fn of(given: Vec<(Use, OwnedFd)>) -> Self {
        Self { given, nameless: Vec::new() }
    }

    /// What the service manager gave (`LISTEN_FDS`); mostly nothing.
    ///
    /// # Errors
    /// Variables that are not what they should be, or descriptors that are not there.
    pub fn from_service_manager() -> io::Result<Self> {
        let mut nameless = Vec::new();
        for number in sd_notify::listen_fds()? {
            #[expect(
                unsafe_code,
                reason = "LISTEN_PID says that these numbers are ours, and nothing else here knows of them"
            )]
            // SAFETY: `listen_fds` has found each of them open, and this is the only place that takes them, once, at the start.
            let fd = unsafe { OwnedFd::from_raw_fd(number) };
            nameless.push((address(&fd), fd));
        }
        Ok(Self { given: Vec::new(), nameless })
    }

    /// Everything that is for this, in the order given.
    fn take(&mut self, is_wanted: impl Fn(&Use) -> bool) -> impl Iterator<Item = OwnedFd> {
        self.given.extract_if(.., move |(what, _)| is_wanted(what)).map(|(_, fd)| fd)
    }

    fn take_nameless(&mut self, wanted: &Address) -> Option<OwnedFd> {
        let at = self.nameless.iter().position(|(address, _)| address == wanted)?;
        Some(self.nameless.swap_remove(at).1)
    }

    /// The listeners for clients of a configured address.
    pub fn traffic(&mut self, configured: SocketAddr) -> Vec<TcpListener> {
        let mut found: Vec<OwnedFd> = self.take(|what| *what == Use::Traffic(configured)).collect();
        found.extend(self.take_nameless(&Address::Tcp(configured)));
        found.into_iter().map(TcpListener::from).filter(|socket| socket.set_nonblocking(true).is_ok()).collect()
    }

    /// The admin listener of a configured address.
    pub fn admin(&mut self, configured: SocketAddr) -> Option<TcpListener> {
        let found = self.take(|what| *what == Use::Admin(configured)).next();
        let found = found.or_else(|| self.take_nameless(&Address::Tcp(configured))).map(TcpListener::from);
        found.filter(|socket| socket.set_nonblocking(true).is_ok())
    }

    /// A demo backend's listener.
    pub fn demo(&mut self, address: SocketAddr) -> Option<TcpListener> {
        self.take(|what| *what == Use::Demo(address)).next().map(TcpListener::from)
    }

    /// The control socket at this path, and whether its file is ours to remove.
    pub fn control(&mut self, path: &Path) -> Option<(UnixListener, bool)> {
        let at = |what: &Use| matches!(what, Use::Control { path: given, .. } if given == path);
        let is_ours = self.given.iter().any(|(what, _)| at(what) && matches!(what, Use::Control { is_ours: true, .. }));
        let given = self.take(at).next();
        let found = given.or_else(|| self.take_nameless(&Address::Unix(path.to_owned())));
        let listener = UnixListener::from(found?);
        listener.set_nonblocking(true).ok()?;
        Some((listener, is_ours))
    }

    /// The lock on the file at this path.
    pub fn lock(&mut self, path: &Path) -> Option<File> {
        let wanted = std::fs::metadata(path).ok()?;
        let locks: Vec<File> = self.take(|what| *what == Use::Lock).map(File::from).collect();
        let mut found = None;
        for lock in locks {
            let is_it = lock.metadata().is_ok_and(|have| (have.dev(), have.ino()) == (wanted.dev(), wanted.ino()));
            if is_it && found.is_none() {
                found = Some(lock);
            } else {
                self.given.push((Use::Lock, lock.into()));
            }
        }
        found
    }

    /// A descriptor of which there is one.
    pub fn one(&mut self, what: &Use) -> Option<OwnedFd> {
        self.take(|given| given == what).next()
    }

    /// Whether there is a control socket that was not asked for: the config names another place.
    #[must_use]
    pub fn leaves_control(&self) -> bool {
        self.given.iter().any(|(what, _)| matches!(what, Use::Control { .. }))
    }

    /// Closes what nobody asked for, and says so: a socket of the service manager that no listener matches is a mistake in
    /// one of the two configs.
    pub fn close_rest(self) {
        for (address, _) in self.nameless {
            let address = match address {
                Address::Tcp(address) => address.to_string(),
                Address::Unix(path) => path.display().to_string(),
                Address::Other => "neither TCP nor a Unix stream".to_owned(),
            };
            tracing::warn!(
                address,
                "a socket given by the service manager is neither in server.listen, admin.listen nor admin.socket: closed"
            );
        }
    }
}

fn address(fd: &OwnedFd) -> Address {
    let Ok(address) = SockRef::from(&fd.as_fd()).local_addr() else { return Address::Other };
    match (address.as_socket(), address.as_pathname()) {
        (Some(address), _) => Address::Tcp(address),
        (None, Some(path)) => Address::Unix(path.to_owned()),
        (None, None) => Address::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound() -> (SocketAddr, OwnedFd) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        (socket.local_addr().unwrap(), socket.into())
    }

    #[test]
    fn each_is_given_once_to_whoever_it_is_for() {
        let configured = "127.0.0.1:0".parse().unwrap();
        let ((first, a), (second, b), (admin, c)) = (bound(), bound(), bound());
        let given = vec![(Use::Traffic(configured), a), (Use::Admin(configured), c), (Use::Traffic(configured), b)];
        let mut inherited = Inherited::of(given);
        assert!(inherited.traffic(first).is_empty());
        let traffic: Vec<_> = inherited.traffic(configured).iter().map(|s| s.local_addr().unwrap()).collect();
        assert_eq!(traffic, [first, second]);
        assert!(inherited.traffic(configured).is_empty());
        assert_eq!(inherited.admin(configured).unwrap().local_addr().unwrap(), admin);
    }

    #[test]
    fn a_nameless_socket_belongs_where_it_listens() {
        let ((first, a), (second, b)) = (bound(), bound());
        let nameless = vec![(address(&a), a), (address(&b), b)];
        let mut inherited = Inherited { given: Vec::new(), nameless };
        assert_eq!(inherited.traffic(second).len(), 1);
        assert!(inherited.traffic(second).is_empty());
        assert!(inherited.admin(first).is_some());
        assert!(inherited.nameless.is_empty());
    }

    #[test]
    fn a_lock_is_known_by_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        let given = [&one, &two].map(|path| (Use::Lock, File::create(path).unwrap().into()));
        let mut inherited = Inherited::of(given.into());
        assert!(inherited.lock(&folder.path().join("three")).is_none());
        assert!(inherited.lock(&two).is_some());
        assert!(inherited.lock(&two).is_none());
        assert!(inherited.lock(&one).is_some());
    }
}
