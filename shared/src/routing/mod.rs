//! The pure routing decision: facts in, decision out. The data path, `explain`, replay and route tests call this code.

pub mod explain;
pub mod normalize;
pub mod rewrite;

use crate::config::Config;

pub use normalize::{PathProblem, normalize};

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
    /// Normalised.
    pub path: &'a str,
    /// Without `?`, as received.
    pub query: &'a str,
    pub headers: &'a L,
}

/// The compiled routes.
#[derive(Debug)]
pub struct Table {
    // filled in by compile
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

impl Table {
    /// Compiles the routes of a checked config.
    #[must_use]
    pub fn compile(config: &Config) -> Self {
        let _ = config;
        todo!()
    }

    /// Decides. Costs what the path costs, not what the number of routes would.
    pub fn decide<L: Lookup>(&self, facts: &Facts<'_, L>) -> Decision {
        let _ = facts;
        todo!()
    }

    /// Names of headers (lower case) that some route's conditions read, sorted; for the audit row's `matched`.
    #[must_use]
    pub fn headers_read(&self) -> &[std::sync::Arc<str>] {
        todo!()
    }

    /// Names of query parameters that some route's conditions read, sorted.
    #[must_use]
    pub fn query_read(&self) -> &[std::sync::Arc<str>] {
        todo!()
    }
}
