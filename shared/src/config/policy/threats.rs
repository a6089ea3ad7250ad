//! The policy `threats`: requests that look like an attack.

use std::sync::Arc;

/// `threats`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Threats {
    pub mode: ThreatMode,
    /// A request whose rules add up to this is blocked.
    pub score: u32,
    /// By rule, over the built-in set: another score, or `off` (0).
    pub rules: Vec<(Arc<str>, u32)>,
    pub shape: Shape,
}

/// What becomes of a request that reaches the score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreatMode {
    /// Counted and told in the audit row.
    Shadow,
    Block,
}

/// What a request must look like; refused whatever the score, or told in shadow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Any of these (upper case); empty: all.
    pub methods: Vec<Arc<str>>,
    /// Of requests with a body: media types, `application/*` and `*/*` too; empty: all.
    pub content_types: Vec<Arc<str>>,
    pub json: Option<JsonShape>,
}

/// Bounds of JSON bodies, which are read whole before they go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonShape {
    pub max_bytes: u64,
    pub max_depth: u32,
}
