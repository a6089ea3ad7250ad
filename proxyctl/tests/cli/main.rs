//! The real binary, run as a person runs it, against a daemon that says what the test wants.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

mod fake;
mod help;
mod http;
mod offline;
mod socket;
