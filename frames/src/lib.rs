//! What comes on a connection beside HTTP/1.1 and must be read or counted on the way: the header of the PROXY protocol,
//! the frames of HTTP/2, the frames of a WebSocket.
//!
//! Bytes in, facts out: no runtime, no socket, no clock. What follows from the facts is not its business.

#![warn(clippy::indexing_slicing)]

pub mod meter;
pub mod proxy_header;
pub mod websocket;
