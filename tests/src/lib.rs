//! The harness of the black-box tests: it starts the real `proxyd` and `proxyctl`, speaks to them over real sockets,
//! byte for byte, and plays the upstreams behind them, well-behaved or not.
//!
//! It knows nothing of the code under test: what it checks is what operators and clients see. Every wait has a deadline
//! on a condition; none is a sleep of hopeful length. A failure is a panic that shows the daemon's own output.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::print_stderr,
    reason = "a harness fails its test by panicking and shows why"
)]

pub mod binaries;
pub mod config;
pub mod control;
pub mod ctl;
pub mod daemon;
pub mod dns;
pub mod github;
pub mod home;
pub mod http2;
pub mod load;
pub mod message;
pub mod oidc;
pub mod redis;
pub mod smtp;
pub mod tls;
pub mod token;
pub mod upstream;
pub mod wait;
pub mod wire;

pub use control::Control;
pub use ctl::{Ran, proxyctl};
pub use daemon::{Proxyd, Start};
pub use home::Home;
pub use http2::Http2;
pub use message::{Request, Response};
pub use redis::Redis;
pub use smtp::{Mail, MailServer};
pub use upstream::{Conn, Upstream};
pub use wait::{PATIENCE, eventually, until};
pub use wire::Wire;
