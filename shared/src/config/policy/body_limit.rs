//! The policy `body_limit`: how large a request body may be.

use crate::config::field::Kind;
use crate::config::reader::Reader;
use crate::config::tree::Node;

/// Bytes of a request body; enforced on what is announced and on what arrives (413).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimit {
    pub max_bytes: u64,
}

/// How a body limit is written.
pub(super) const BODY_LIMIT: Kind = Kind::Size { min: "1B", max: "1024TiB" };
/// What holds where nobody says otherwise.
pub(super) const DEFAULT: &str = "10MiB";

/// Reads the policy.
pub(super) fn read(reader: &mut Reader<'_>, node: &Node<'_>) -> Option<BodyLimit> {
    reader.size(node, &BODY_LIMIT).map(|max_bytes| BodyLimit { max_bytes })
}
