//! The HTTP/1.1 engine: one strict grammar for messages in both directions, parsed once into one buffer, and the buffered
//! wire on which they come and go. `docs/reference/http1.md` holds the grammar with its RFC clauses.
//!
//! It knows messages and connections; what is served, to whom and by which upstream is not its business.

#![warn(clippy::indexing_slicing)]

mod buffer;
mod chunked;
mod framing;
mod grammar;
mod headers;
mod incoming;
mod name;
mod octet;
mod outgoing;
mod parse;
mod request;
mod response;
mod scan;
#[cfg(test)]
mod script;
mod splice;
mod value;
mod wire;

pub use buffer::Buffer;
pub use chunked::{ChunkStep, ChunkedDecoder};
pub use framing::{Framing, persists, request_framing, response_framing};
pub use grammar::{Fault, is_target};
pub use headers::Headers;
pub use incoming::{BodyFault, Incoming, Ready};
pub use name::{Name, NameSet, known};
pub use outgoing::{Outgoing, Shape};
pub use parse::{HeadLimits, HeadParser};
pub use request::{RequestHead, Target};
pub use response::ResponseHead;
pub use splice::Pipe;
pub use value::Value;
pub use wire::{HeadError, Wire};

/// The protocol version that a message names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Version {
    Http10,
    #[default]
    Http11,
    /// A message of HTTP/2, told in the terms of this crate.
    Http2,
}

impl Version {
    /// `HTTP/1.1`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }
}
