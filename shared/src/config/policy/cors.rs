//! The policy `cors`: which origins' scripts may read the answers (Fetch standard, CORS protocol).

use std::sync::Arc;
use std::time::Duration;

/// `cors`. With `credentials`, origins, methods, headers and exposed headers are all listed by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    pub allow_origins: CorsOrigins,
    /// Upper case.
    pub allow_methods: Names,
    /// Lower case.
    pub allow_headers: Names,
    /// Lower case.
    pub expose_headers: Vec<Arc<str>>,
    pub credentials: bool,
    /// How long a browser may keep a preflight's answer; none: its own default.
    pub max_age: Option<Duration>,
}

/// The origins that are let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsOrigins {
    Any,
    /// Serialised origins (`https://app.example.com`, lower case), and host wildcards (`https://*.example.com`, kept
    /// as the text before and after the star).
    List {
        exact: Vec<Arc<str>>,
        wildcard: Vec<(Arc<str>, Arc<str>)>,
    },
}

/// Names that are let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    Any,
    List(Vec<Arc<str>>),
}
