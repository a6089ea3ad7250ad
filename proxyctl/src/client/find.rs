//! Finds the socket: the one that was named, or the first automatic place where somebody listens.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use shared::control::{ErrorCode, SOCKET_VARIABLE, socket_places};
use tokio::net::UnixStream;

use super::Surroundings;
use crate::failure::Failure;

/// A listener that accepts nobody for this long is as good as none.
const PATIENCE: Duration = Duration::from_secs(5);

const START: &str = "Start one with `proxyd --config config.yaml`; or name its socket with --socket PATH or \
                     PROXYD_SOCKET, or its admin listener with --url URL.";

/// Connects: to `named`, else to what the environment names, else by probing.
pub(super) async fn find(named: Option<&Path>, surroundings: &Surroundings) -> Result<(PathBuf, UnixStream), Failure> {
    let from_variable = surroundings.socket.as_deref().map(|path| (path, format!(" (named by {SOCKET_VARIABLE})")));
    if let Some((path, by)) = named.map(|path| (path, String::new())).or(from_variable) {
        return match connect(path).await {
            Ok(stream) => Ok((path.to_owned(), stream)),
            Err(error) => Err(refused(path, &by, &error)),
        };
    }
    let runtime_dir = surroundings.runtime_dir.as_deref();
    let mut tried = Vec::new();
    let mut closed = None;
    for path in socket_places(runtime_dir, &surroundings.temp_dir, surroundings.uid) {
        let outcome = match foreign_owner(&path, surroundings.uid) {
            Some(owner) => Err(io::Error::other(format!("not trusted, its folder belongs to uid {owner}"))),
            None => connect(&path).await,
        };
        match outcome {
            Ok(stream) => return Ok((path, stream)),
            Err(error) => {
                tried.push(format!("  {}: {}", path.display(), reason(&error)));
                if error.kind() == io::ErrorKind::PermissionDenied {
                    closed = closed.or(Some((path, error)));
                }
            }
        }
    }
    if let Some((path, error)) = closed {
        return Err(refused(&path, "", &error));
    }
    let message = format!("no running proxyd found; looked for its socket at\n{}", tried.join("\n"));
    Err(Failure::new(ErrorCode::Unreachable, message).hint(START))
}

async fn connect(path: &Path) -> io::Result<UnixStream> {
    tokio::time::timeout(PATIENCE, UnixStream::connect(path))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Whose the folder is, where that is neither ours nor root's: in a shared temp folder anybody may make the one that
/// would be ours, and listen to our commands.
fn foreign_owner(path: &Path, uid: u32) -> Option<u32> {
    let owner = std::fs::symlink_metadata(path.parent()?).ok()?.uid();
    (owner != uid && owner != 0 && uid != 0).then_some(owner)
}

fn refused(path: &Path, by: &str, error: &io::Error) -> Failure {
    let at = path.display();
    if error.kind() == io::ErrorKind::PermissionDenied {
        let owner = std::fs::metadata(path).ok().map_or_else(String::new, |file| {
            let uid = nix::unistd::Uid::from_raw(file.uid());
            let name =
                nix::unistd::User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
            format!(", which belongs to {name}")
        });
        return Failure::new(ErrorCode::NotPermitted, format!("you may not speak to the daemon at {at}{by}{owner}"))
            .hint("Run proxyctl as the daemon's owner or as root, or ask an operator to set admin.socket_mode.");
    }
    let hint = if error.kind() == io::ErrorKind::NotFound {
        START
    } else {
        "Look whether proxyd still runs; when it starts again it replaces a socket file that was left behind."
    };
    Failure::new(ErrorCode::Unreachable, format!("no daemon answers at {at}{by}: {}", reason(error))).hint(hint)
}

fn reason(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        return "no such file".to_owned();
    }
    if error.kind() == io::ErrorKind::ConnectionRefused {
        return "nobody listens there any more (a socket file left behind, or no socket)".to_owned();
    }
    if error.kind() == io::ErrorKind::PermissionDenied {
        return "no permission".to_owned();
    }
    if error.kind() == io::ErrorKind::TimedOut {
        return format!("nobody accepted for {} s", PATIENCE.as_secs());
    }
    error.to_string()
}
