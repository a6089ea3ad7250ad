//! The real binaries over real sockets: one module per feature, one binary, so that it links once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "a test fails by panicking"
)]

#[path = "black_box/forwarding.rs"]
mod forwarding;
