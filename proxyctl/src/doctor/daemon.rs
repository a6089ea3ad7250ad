//! Whether a daemon answers, is the right one, and how it says it is.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use shared::control::report::Status;
use shared::control::{Command, Nothing};

use super::Finding;
use crate::cli::Global;
use crate::client::{Client, Surroundings};
use crate::daemon;
use crate::failure::Failure;

const PATIENCE: Duration = Duration::from_secs(5);

/// Asks for the status, and looks at the socket and at what the status says.
pub(super) async fn reach(global: &Global, surroundings: &Surroundings) -> (Option<Status>, Vec<Finding>) {
    const CHECK: &str = "daemon";
    let command = Command::Status(Nothing {});
    let asked = async {
        let mut client = Client::open(global, surroundings).await?;
        let place = client.place();
        let reply = daemon::reply(&mut client, &command, PATIENCE).await?;
        Ok::<_, Failure>((place, crate::render::read::<Status>(&command, reply)?))
    };
    match asked.await {
        Err(Failure::Told { error, hint }) => {
            let advice = hint.unwrap_or_else(|| "look at the daemon's log".to_owned());
            (None, vec![Finding::fail(CHECK, error.message.replace(" at\n  ", " at ").replace("\n  ", "; "), advice)])
        }
        Err(Failure::Printed | Failure::OutputGone) => (None, Vec::new()),
        Ok((place, status)) => {
            let mut findings =
                vec![Finding::ok(CHECK, format!("proxyd {} answers at {place}, pid {}", status.version, status.pid))];
            if global.url.is_none() {
                findings.extend(socket(Path::new(&place), surroundings.uid));
            }
            findings.extend(says(&status));
            (Some(status), findings)
        }
    }
}

/// Who may speak through the socket.
fn socket(path: &Path, uid: u32) -> Option<Finding> {
    const CHECK: &str = "socket";
    let file = std::fs::symlink_metadata(path).ok()?;
    let mode = file.mode() & 0o777;
    let shown = path.display();
    Some(if !file.file_type().is_socket() {
        Finding::warn(CHECK, format!("{shown} is a link to a socket"), "name the socket itself in admin.socket")
    } else if mode & 0o007 != 0 {
        let advice = "set admin.socket_mode to \"0600\", or \"0660\" for a group of readers, and start again";
        Finding::fail(CHECK, format!("{shown} is open to everybody (mode {mode:04o})"), advice)
    } else if file.uid() != uid && uid != 0 {
        Finding::ok(CHECK, format!("{shown} (mode {mode:04o}) belongs to uid {}", file.uid()))
    } else {
        Finding::ok(CHECK, format!("{shown} (mode {mode:04o})"))
    })
}

/// What the daemon itself complains of.
fn says(status: &Status) -> Vec<Finding> {
    let mut findings = Vec::new();
    let ours = env!("CARGO_PKG_VERSION");
    if status.version != ours {
        let found = format!("proxyctl is {ours}, the daemon {}", status.version);
        findings.push(Finding::warn(
            "version",
            found,
            "use the proxyctl that came with the daemon, or start the daemon again",
        ));
    }
    if status.drift {
        let found = "the files on disk differ from what is in force";
        findings.push(Finding::warn(
            "drift",
            found,
            "look with `proxyctl reload --dry-run`, take them with `proxyctl reload`",
        ));
    }
    if let Some(last) = status.last_reload.as_ref().filter(|last| last.outcome != "done") {
        let found = format!("the last one failed ({}): {}", last.outcome, last.message);
        findings.push(Finding::warn("reload", found, "mend the config, then `proxyctl reload`"));
    }
    if !status.audit.writable {
        let why = status.audit.trouble.as_deref().unwrap_or("no reason given");
        let found = format!("{} cannot be written: {why}", status.audit.path);
        findings.push(Finding::fail("audit", found, "make room or mend the permissions; writing goes on by itself"));
    } else if status.audit.shed > 0 {
        let found = format!("{} rows were shed, for want of room", status.audit.shed);
        findings.push(Finding::warn("audit", found, "use a faster disk, or set audit.when_full to wait"));
    }
    findings
}
