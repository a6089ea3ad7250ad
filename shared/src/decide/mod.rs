//! The arithmetic of policies and of upstreams: pure, so that live requests, `explain`, replay and what-if all get the same
//! answer.

#![warn(clippy::indexing_slicing)]

pub mod access;
pub mod balance;
pub mod breaker;
pub mod budget;
pub mod client;
pub mod cors;
pub mod draw;
pub mod eject;
pub mod eligible;
pub mod limit;
pub mod probe;
pub mod retry;
pub mod threats;

#[cfg(test)]
mod seeded;
#[cfg(test)]
mod tests;
