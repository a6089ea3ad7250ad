//! The audit record: what a row is, how it is chained, how it is asked for, and what is hidden from every sink.
//!
//! Rows live in one sequence space: requests, actions and gaps. Nothing here touches a store; see the crate `records`.

pub mod chain;
pub mod chunk;
pub mod filter;
pub mod mask;
pub mod query;
pub mod record;

pub use chain::Link;
pub use chunk::Chunk;
pub use filter::Filter;
pub use mask::{Mask, percent_decoded};
pub use query::{AuditQuery, Kind};
pub use record::{ActionFacts, ActionRow, Door, Gap, GapRow, RequestFacts, RequestRow, Row};
