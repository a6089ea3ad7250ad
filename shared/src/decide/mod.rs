//! The arithmetic of policies: pure, so that live requests, `explain`, replay and what-if all get the same answer.

#![warn(clippy::indexing_slicing)]

pub mod access;
pub mod client;
pub mod cors;
pub mod limit;
