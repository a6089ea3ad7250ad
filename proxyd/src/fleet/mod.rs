//! What several proxies share: an engine (Redis or Valkey) that is asked one thing at a time. Each question has a time of its
//! own, and a breaker stands before all of them: an engine that does not answer costs requests next to nothing.
//!
//! What it means that nobody answers, whoever asks decides. Nothing here knows requests, limits or sessions.

mod breaker;
mod connect;
mod engine;
mod error;
mod lease;
mod leases;
mod limit;
mod link;
mod question;
mod revoked;
mod store;

pub use breaker::State;
pub use engine::Engine;
pub use error::StoreError;
pub use leases::{Leases, Place};
pub use limit::{Aim, Brings};
pub use link::{Fleet, Link, aside};

#[cfg(test)]
mod tests;
