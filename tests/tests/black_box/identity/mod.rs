//! Who may come in: what is said of it while the daemon runs.

mod redis;
