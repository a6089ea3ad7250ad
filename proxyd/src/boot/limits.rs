//! What the machine gives: cores, and file descriptors for as many connections as the config allows.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use shared::config::Limits;

/// Each client connection may need one to an upstream too.
const PER_CONNECTION: u64 = 2;

/// Files, listeners, pipes, and what libraries open.
const BESIDES: u64 = 256;

/// The cores that this process may run on; at least one.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Raises the soft limit of open files to the hard one, and says so if that is too low for the connections allowed.
pub(super) fn raise(limits: &Limits) {
    let wanted = limits.connections as u64 * PER_CONNECTION + BESIDES;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
    let now = getrlimit(Resource::RLIMIT_NOFILE).map_or(soft, |(soft, _)| soft);
    if now < wanted {
        tracing::warn!(
            limit = now,
            wanted,
            "the limit of open files is too low for server.limits.connections: raise it (LimitNOFILE, ulimit -n) or lower \
             server.limits.connections"
        );
    }
}
