//! The fuzz targets: the very functions that `cargo test -p http1` and `cargo test -p frames` call.

#[path = "../../http1/tests/strict/engine.rs"]
mod engine;
#[path = "../../frames/tests/strict/targets.rs"]
mod frame_targets;
#[path = "../../http1/tests/strict/targets.rs"]
mod targets;
#[cfg(feature = "token")]
mod token;

#[cfg(feature = "token")]
pub use token::token;

/// A request's head.
pub fn request_head(bytes: &[u8]) {
    targets::request_head(bytes);
}

/// A response's head.
pub fn response_head(bytes: &[u8]) {
    targets::response_head(bytes);
}

/// A chunked body.
pub fn chunked_body(bytes: &[u8]) {
    targets::chunked_body(bytes);
}

/// Bytes in, bytes out.
pub fn relay(bytes: &[u8]) {
    targets::relay(bytes);
}

/// A PROXY header.
pub fn proxy_header(bytes: &[u8]) {
    frame_targets::proxy_header(bytes);
}

/// A meter of HTTP/2 frames.
pub fn frame_meter(bytes: &[u8]) {
    frame_targets::frame_meter(bytes);
}

/// A tracker of a WebSocket's frames.
pub fn websocket_tracker(bytes: &[u8]) {
    frame_targets::websocket_tracker(bytes);
}
