//! The policy `security_headers`: what every answer tells browsers to beware of.

use std::sync::Arc;

/// Lower-case names with checked values, set on every answer, over what the upstream sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityHeaders {
    pub set: Vec<(Arc<str>, Arc<str>)>,
    /// `strict-transport-security`, sent over TLS only.
    pub hsts: Option<Arc<str>>,
}
