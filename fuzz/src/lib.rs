//! The fuzz targets: the very functions that `cargo test -p http1` calls.

#[path = "../../http1/tests/strict/engine.rs"]
mod engine;
#[path = "../../http1/tests/strict/targets.rs"]
mod targets;

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
