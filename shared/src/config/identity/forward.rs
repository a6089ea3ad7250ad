//! `identity.forward`: another service is asked about each request.

use std::sync::Arc;
use std::time::Duration;

/// `identity.forward`. 2xx lets the request in; any other answer is the client's, as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardAuth {
    pub url: Arc<str>,
    /// Headers of the request that are sent along (lower case).
    pub send: Vec<Arc<str>>,
    /// Headers of the answer that go upstream (lower case); a client's copies are always stripped.
    pub copy: Vec<Arc<str>>,
    /// Headers of the answer that go to the client, such as `set-cookie`.
    pub copy_back: Vec<Arc<str>>,
    /// The answer's header that says who it is.
    pub user_header: Arc<str>,
    pub roles_header: Arc<str>,
    pub scopes_header: Arc<str>,
    pub timeout: Duration,
}
