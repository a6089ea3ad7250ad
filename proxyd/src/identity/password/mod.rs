//! Passwords: hashed so that guessing is dear, computed off the request threads and few at a time.

mod hash;
pub mod htpasswd;
#[cfg(test)]
mod tests;
mod turns;
mod verifier;

pub use self::hash::{examine, hash, verify};
pub use self::turns::{Queues, Turns};
pub use self::verifier::{Refusal, User, Verifier};
