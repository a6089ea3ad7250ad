//! Folders, disk space and open files: what a daemon on this machine needs of it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

use super::{Finding, Patient};
use crate::render::text::{grouped, size};

/// Descriptors beside the clients' connections: listeners, stores, logs, pools that idle.
const SPARE_FILES: u64 = 256;

/// The nearest folder that exists: where a missing one would be made.
fn nearest(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/")).to_owned()
}

/// `state_dir` and the audit folder.
pub(super) fn folders(patient: &Patient) -> Vec<Finding> {
    const CHECK: &str = "state_dir";
    let Some(checked) = patient.checked.as_ref().filter(|_| patient.here) else { return Vec::new() };
    let path = &checked.config.server.state_dir;
    let shown = path.display();
    let Ok(folder) = std::fs::metadata(path) else {
        let parent = nearest(path);
        return vec![if access(&parent, AccessFlags::W_OK | AccessFlags::X_OK).is_ok() {
            Finding::ok(CHECK, format!("{shown} is not there yet; the daemon makes it"))
        } else {
            let found = format!("{shown} is not there, and you may not make it in {}", parent.display());
            Finding::warn(CHECK, found, "make it for the daemon's user, or set server.state_dir to a folder of theirs")
        }];
    };
    let mode = folder.mode() & 0o777;
    vec![if !folder.is_dir() {
        Finding::fail(CHECK, format!("{shown} is no folder"), "set server.state_dir to a folder")
    } else if mode & 0o022 != 0 {
        let found = format!("{shown} can be written by others (mode {mode:04o})");
        Finding::fail(CHECK, found, format!("chmod go-w {shown}: whoever can write there can change the record"))
    } else if access(path, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
        let found = format!("{shown} belongs to uid {}, and you may not write there", folder.uid());
        Finding::warn(CHECK, found, "that is right only where the daemon runs as that user")
    } else if mode & 0o007 != 0 {
        let found = format!("{shown} can be read by everybody (mode {mode:04o})");
        Finding::warn(CHECK, found, format!("chmod o-rwx {shown}: it holds who asked for what"))
    } else {
        Finding::ok(CHECK, format!("{shown} (mode {mode:04o})"))
    }]
}

/// Room for the audit record.
pub(super) fn disk(patient: &Patient) -> Vec<Finding> {
    const CHECK: &str = "disk";
    let Some(checked) = patient.checked.as_ref().filter(|_| patient.here) else { return Vec::new() };
    let folder = nearest(&checked.config.audit.path);
    let shown = folder.display();
    let Ok(disk) = statvfs(&folder) else {
        return vec![Finding::warn(CHECK, format!("{shown} cannot be asked for its room"), "look with `df`")];
    };
    let free = disk.blocks_available() * disk.fragment_size();
    let whole = (disk.blocks() * disk.fragment_size()).max(1);
    vec![room(&shown.to_string(), free, whole)]
}

fn room(shown: &str, free: u64, whole: u64) -> Finding {
    const CHECK: &str = "disk";
    let percent = free.saturating_mul(100) / whole.max(1);
    let found = format!("{} free ({percent} %) for the audit record at {shown}", size(free));
    let advice = "make room, or keep less: audit.keep.days, audit.keep.size";
    if free < 100 << 20 {
        Finding::fail(CHECK, found, advice)
    } else if free < 1 << 30 || percent < 5 {
        Finding::warn(CHECK, found, advice)
    } else {
        Finding::ok(CHECK, found)
    }
}

/// The limit on open files against the connections that the config allows.
pub(super) fn open_files(patient: &Patient) -> Vec<Finding> {
    const CHECK: &str = "open files";
    let Some(checked) = patient.checked.as_ref().filter(|_| patient.here) else { return Vec::new() };
    let of_daemon = patient.status.as_ref().and_then(|status| limit_of(status.pid));
    let whose = if of_daemon.is_some() { "the daemon" } else { "a process started here" };
    let Some(limit) = of_daemon.or_else(|| getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(_, hard)| hard)) else {
        return Vec::new();
    };
    let connections = checked.config.server.limits.connections as u64;
    // Each client's connection may have one of its own upstream.
    let needed = connections.saturating_mul(2).saturating_add(SPARE_FILES);
    let found = format!(
        "{whose} may open {}; {} connections need up to {}",
        if limit == u64::MAX { "any number".to_owned() } else { grouped(limit) },
        grouped(connections),
        grouped(needed)
    );
    let advice = "raise it (LimitNOFILE= in the unit, `ulimit -n`), or lower server.limits.connections";
    vec![if limit < connections.saturating_add(SPARE_FILES) {
        Finding::fail(CHECK, found, advice)
    } else if limit < needed {
        Finding::warn(CHECK, found, advice)
    } else {
        Finding::ok(CHECK, found)
    }]
}

/// The soft limit on open files of a running process.
fn limit_of(pid: u32) -> Option<u64> {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let soft = line.split_whitespace().next()?;
    if soft == "unlimited" { Some(u64::MAX) } else { soft.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn room_is_judged_by_what_is_left() {
        let check = |free: u64, whole: u64| room("/x", free, whole).verdict;
        assert_eq!(check(50 << 20, 100 << 30), Verdict::Fail);
        assert_eq!(check(500 << 20, 1 << 30), Verdict::Warn);
        assert_eq!(check(2 << 30, 100 << 30), Verdict::Warn);
        assert_eq!(check(50 << 30, 100 << 30), Verdict::Ok);
        assert_eq!(check(0, 0), Verdict::Fail);
    }

    #[test]
    fn a_process_has_a_limit_and_a_path_a_nearest_folder() {
        assert!(limit_of(std::process::id()).is_some_and(|limit| limit > 0));
        assert_eq!(limit_of(u32::MAX), None);
        assert_eq!(nearest(Path::new("/nowhere/at/all")), Path::new("/"));
    }
}
