//! What a cross-origin request is told (Fetch standard, CORS protocol).

use crate::config::policy::Cors;

/// Facts of a request that CORS looks at; header values as received, absent ones none.
#[derive(Clone, Copy, Debug, Default)]
pub struct CorsFacts<'a> {
    pub method: &'a str,
    pub origin: Option<&'a str>,
    /// `access-control-request-method`
    pub request_method: Option<&'a str>,
    /// `access-control-request-headers`
    pub request_headers: Option<&'a str>,
    /// `access-control-request-private-network` is not granted.
    pub request_private_network: Option<&'a str>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsVerdict {
    /// A preflight: answered by us, 204 with these headers (grants none when the origin, method or a header is not let in), plus `Vary`.
    Preflight(Vec<(&'static str, String)>),
    /// An actual request: these headers go on its answer (replacing the upstream's of the same names), plus `Vary` as told.
    Actual { headers: Vec<(&'static str, String)>, vary_origin: bool },
}

/// Decides.
#[must_use]
pub fn decide(cors: &Cors, facts: &CorsFacts<'_>) -> CorsVerdict {
    let _ = (cors, facts);
    todo!()
}
