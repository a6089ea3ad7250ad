//! What the system says about our process, for the metrics page. Read when asked; never on a worker.

use std::fs;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeValLike;

/// One reading. What the system does not tell is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// User and system time of all threads, in microseconds.
    pub cpu_us: u64,
    pub resident_bytes: u64,
    pub threads: u64,
    pub open_fds: u64,
    /// The soft limit.
    pub max_fds: u64,
}

impl Process {
    #[must_use]
    pub fn read() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let cpu_us = getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| {
            let spent = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
            u64::try_from(spent).unwrap_or(0)
        });
        Self {
            cpu_us,
            resident_bytes: number(&status, "VmRSS:") * 1024,
            threads: number(&status, "Threads:"),
            // The directory handle that lists them is one of them.
            open_fds: fs::read_dir("/proc/self/fd").map_or(0, |fds| (fds.count() as u64).saturating_sub(1)),
            max_fds: getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft),
        }
    }
}

fn number(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process_is_told() {
        let process = Process::read();
        assert!(process.resident_bytes > 100_000, "{process:?}");
        assert!(process.threads >= 1 && process.open_fds >= 3, "{process:?}");
        assert!(process.max_fds >= process.open_fds, "{process:?}");
    }

    #[test]
    fn lines_of_status() {
        fn check(status: &str, expected: u64) {
            assert_eq!(number(status, "VmRSS:"), expected, "{status:?}");
        }
        check("Name:\tx\nVmRSS:\t    1234 kB\nThreads:\t3\n", 1234);
        check("VmRSS:\n", 0);
        check("VmRSS: many kB\n", 0);
        check("", 0);
    }
}
