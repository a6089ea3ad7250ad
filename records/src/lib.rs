//! The audit store: request, action and gap rows in `SQLite` files, one file per segment of time, chained by hashes.
//!
//! [`Store`] appends (one owner at a time), [`Reader`] answers queries and [`verify`] proves the chain while the store
//! is being written or offline, [`sweep`] indexes closed segments and lets old ones go. Nothing here knows threads,
//! runtimes or clocks: the time is an argument. `SQLite` is spoken in this crate only.

mod append;
mod error;
mod insert;
mod meta;
mod reader;
mod retention;
mod rows;
mod schema;
mod segment;
mod store;
mod texts;
mod verify;

pub use append::{Batch, Entry, Written};
pub use error::StoreError;
pub use reader::{Found, Reader};
pub use retention::{Swept, sweep};
pub use segment::segments;
pub use store::{Limits, Retired, Store};
pub use verify::{Head, verify};

#[cfg(test)]
mod tests;
