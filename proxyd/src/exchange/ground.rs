//! What it rests on that somebody was let in. Once that is taken back, what was opened with it and is open still ends.

use std::sync::Arc;

/// See the module. It names what is looked up, and opens nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ground {
    /// Nothing that can be taken back.
    #[default]
    Nothing,
    /// One text of an API key: how it begins, and its hash.
    Key { prefix: Box<str>, hash: [u8; 32] },
    /// A token, or a login's session, which counts as one; it ends by itself `until_s` (seconds since the epoch).
    Token { provider: Arc<str>, jti: Option<Box<str>>, until_s: i64 },
    /// An account of our own, as it was then.
    Account { id: Box<str>, epoch: u32 },
    /// Each of these.
    All(Box<[Ground]>),
}
