//! The pure routing decision: facts in, decision out. The data path, `explain`, replay and route tests call this code.
//! Nothing here knows connections, clocks or policies.

#![warn(clippy::indexing_slicing)]

pub mod explain;
#[cfg(test)]
mod fixture;
mod host;
mod matcher;
pub mod normalize;
mod octet;
mod path;
mod resolve;
pub mod rewrite;
mod table;

pub use host::host_of;
pub use matcher::headers_hold;
pub use normalize::{PathProblem, normalize};
pub(crate) use path::is_under;
pub use resolve::{Refusal, Resolution, resolve};
pub use table::{Table, in_precedence};

/// Values of a request that conditions look at. Implemented by the data path's own head and by `explain`'s arguments.
pub trait Lookup {
    /// Calls `each` with every value of the header of this lower-case name (raw bytes as received) until it returns true.
    /// Returns whether it did.
    fn any_header(&self, name: &str, each: &mut dyn FnMut(&[u8]) -> bool) -> bool;
}

/// What routing looks at.
pub struct Facts<'a, L: Lookup> {
    /// As received (methods are case-sensitive).
    pub method: &'a str,
    /// Lower case, no port, no trailing dot; empty where the client named none.
    pub host: &'a str,
    /// Normalised. `*` (of `OPTIONS *`) and anything else that does not begin with `/` matches no route.
    pub path: &'a str,
    /// Without `?`, as received.
    pub query: &'a str,
    pub headers: &'a L,
}

/// What routing says.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// Index into `Config::routes`.
    Route(usize),
    /// 404.
    NotFound,
    /// 405: some routes matched in everything but the method; these methods they would take, sorted, no duplicates.
    MethodNotAllowed(Vec<std::sync::Arc<str>>),
}
