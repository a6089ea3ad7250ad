//! Another process of the binary on disk takes over, and no connection is lost by it.
//!
//! The old process starts the new one and gives it every socket and lock that it has (`passing`). The new one makes
//! everything ready that it can without what only one may have, and says so; the old one then lets go of the audit store
//! and answers at no door any more, but serves on; the new one takes the store and the doors, serves, and says so; the old
//! one drains, and passes on what it still has to record. Until that last word everything may fail, and then the old one
//! goes on as before.

mod message;
mod passing;
mod predecessor;
mod program;
mod succession;
mod successor;

pub use predecessor::{ArrivalError, Predecessor, arrive};
pub use program::Program;
pub use succession::{House, attempt};
