//! The real binary, run as a person runs it, against a daemon that says what the test wants.

mod fake;
mod help;
mod http;
mod offline;
mod socket;
