//! Where the control socket lies when nobody says: the list that the daemon takes the first usable of, and in which
//! proxyctl looks for one that is alive. Looks at nothing itself.

use std::path::{Path, PathBuf};

/// The file's name in whichever folder.
pub const SOCKET_NAME: &str = "proxyd.sock";

/// The environment variable by which proxyctl is told of a socket.
pub const SOCKET_VARIABLE: &str = "PROXYD_SOCKET";

/// The automatic places, best first. Each lies in a folder of its own, which the daemon makes (0700) where it may.
///
/// `runtime_dir` is the value of `XDG_RUNTIME_DIR`; one that is not absolute does not count, as the XDG Base Directory
/// Specification asks. `temp_dir` is the system's, `uid` the effective user's.
#[must_use]
pub fn socket_places(runtime_dir: Option<&Path>, temp_dir: &Path, uid: u32) -> Vec<PathBuf> {
    let mut places = vec![Path::new("/run/proxyd").join(SOCKET_NAME)];
    places.extend(runtime_dir.filter(|dir| dir.is_absolute()).map(|dir| dir.join("proxyd").join(SOCKET_NAME)));
    places.push(temp_dir.join(format!("proxyd-{uid}")).join(SOCKET_NAME));
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(runtime_dir: Option<&str>, expected: &[&str]) {
        let places = socket_places(runtime_dir.map(Path::new), Path::new("/tmp"), 1000);
        assert_eq!(places, expected.iter().map(PathBuf::from).collect::<Vec<_>>());
    }

    #[test]
    fn places_go_from_the_system_to_the_user() {
        let (system, temp) = ("/run/proxyd/proxyd.sock", "/tmp/proxyd-1000/proxyd.sock");
        check(None, &[system, temp]);
        check(Some("/run/user/1000"), &[system, "/run/user/1000/proxyd/proxyd.sock", temp]);
        check(Some(""), &[system, temp]);
        check(Some("run"), &[system, temp]);
    }
}
