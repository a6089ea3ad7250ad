//! The policy `headers`: edits of what is sent upstream and of what goes back to the client.

use std::sync::Arc;

/// `headers`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    pub request: HeaderEdits,
    pub response: HeaderEdits,
}

/// In this order: remove, then set, then add.
pub type HeaderEdits = Vec<HeaderEdit>;

/// One edit. Names are lower case and never those that frame a message or belong to one hop; values are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderEdit {
    Remove(Arc<str>),
    Set(Arc<str>, Arc<str>),
    Add(Arc<str>, Arc<str>),
}
