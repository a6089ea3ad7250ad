//! The handshake of WebSocket (RFC 6455 section 4), where one side speaks it over HTTP/2, which has none (RFC 8441).

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::exchange::Name;
use crate::telemetry::ids::Random;

/// `Sec-WebSocket-Key`
pub(crate) static KEY: Name = Name::known("sec-websocket-key");
/// `Sec-WebSocket-Accept`
pub(crate) static ACCEPT: Name = Name::known("sec-websocket-accept");

/// What a server adds to a key.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What proves that a key was read.
pub(crate) fn accept(key: &str) -> String {
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{GUID}").as_bytes()))
}

/// A key for a client that has none: sixteen bytes.
pub(crate) fn key(random: &Random) -> String {
    let (first, second) = (random.next_u64(), random.next_u64());
    STANDARD.encode((u128::from(first) << 64 | u128::from(second)).to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
