//! The only view of a message's start line and headers. Routing, filters, forwarding, logging and audit see a message
//! through these types; a message of another protocol version is told in their terms before it comes here.

pub use http1::{Headers, Name, RequestHead, ResponseHead, Value, known as name};
use shared::routing::Lookup;

/// Headers, as routing looks at them.
#[derive(Clone, Copy, Debug)]
pub struct Looked<'a>(pub &'a Headers);

impl Lookup for Looked<'_> {
    fn any_header(&self, name: &str, each: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.0.all_named(name).any(each)
    }
}
