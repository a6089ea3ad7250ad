//! The policy `body_limit`: how large a request body may be.

/// Bytes of a request body; enforced on what is announced and on what arrives (413).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimit {
    pub max_bytes: u64,
}
