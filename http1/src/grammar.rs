//! Which bytes may stand where, and the names of the ways to break the rules.

use thiserror::Error;

use crate::octet::{TOKEN, VALUE, has};
use crate::scan;

/// Why bytes are not a message that we accept. Each names the clause that it breaks; none tells more than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// The start line is over its limit.
    #[error("the start line is too long")]
    StartLineTooLong,
    /// All field lines together are over their limit.
    #[error("the header fields are too large")]
    FieldsTooLarge,
    /// More field lines than are allowed.
    #[error("there are too many header fields")]
    TooManyFields,
    /// LF without CR before it (RFC 9112 section 2.2: MAY be accepted; not here).
    #[error("a line ends with a bare LF")]
    BareLf,
    /// CR without LF behind it (RFC 9112 section 2.2).
    #[error("a bare CR stands in a line")]
    BareCr,
    /// Not `method SP request-target SP HTTP-version CRLF` (RFC 9112 section 3).
    #[error("the request line is malformed")]
    RequestLine,
    /// A method that is no token, or longer than 64 bytes (RFC 9110 section 9.1).
    #[error("the method is malformed")]
    Method,
    /// A target in none of the four forms, or with a byte that is not visible ASCII, or with a fragment (RFC 9112
    /// section 3.2).
    #[error("the request target is malformed")]
    Target,
    /// Not `HTTP/1.1` or `HTTP/1.0` (RFC 9112 section 2.3).
    #[error("the protocol version is not supported")]
    Version,
    /// Not `HTTP-version SP status-code [SP reason-phrase] CRLF` (RFC 9112 section 4).
    #[error("the status line is malformed")]
    StatusLine,
    /// A field name that is empty or no token (RFC 9110 section 5.1).
    #[error("a header field's name is malformed")]
    FieldName,
    /// White space between a field's name and the colon (RFC 9112 section 5.1).
    #[error("white space stands before a header field's colon")]
    SpaceBeforeColon,
    /// A byte in a field's value that is not visible, SP, HTAB or obs-text (RFC 9110 section 5.5).
    #[error("a header field's value holds a forbidden byte")]
    FieldValue,
    /// A line that begins with white space: obs-fold, or white space after the start line (RFC 9112 sections 2.2, 5.2).
    #[error("a header field is folded")]
    Fold,
    /// `Content-Length` beside `Transfer-Encoding` (RFC 9112 section 6.1).
    #[error("Content-Length stands beside Transfer-Encoding")]
    LengthBesideCoding,
    /// `Content-Length` twice, as a list, or no plain number (RFC 9112 section 6.3).
    #[error("Content-Length is malformed")]
    Length,
    /// `Transfer-Encoding` other than one `chunked` (RFC 9112 sections 6.1, 6.3), or in a message of HTTP/1.0.
    #[error("the transfer coding is not supported")]
    Coding,
    /// A chunk's size, extension or end is malformed or over its bound (RFC 9112 section 7.1).
    #[error("a chunk is malformed")]
    Chunk,
    /// The trailer section is malformed or over its bound (RFC 9112 section 7.1.2).
    #[error("the trailer section is malformed")]
    Trailer,
}

/// Whether the byte may stand in a token.
pub(crate) fn is_token(byte: u8) -> bool {
    has(byte, TOKEN)
}

/// Whether the byte may stand in a field's value.
pub(crate) fn is_value(byte: u8) -> bool {
    has(byte, VALUE)
}

/// How many bytes from the start may stand in a token.
pub(crate) fn token_length(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| !has(byte, TOKEN)).unwrap_or(bytes.len())
}

/// How many bytes stand before the first colon, blank or control byte.
pub(crate) fn name_length(bytes: &[u8]) -> usize {
    scan::name(bytes).unwrap_or(bytes.len())
}

/// How many bytes from the start may stand in a target.
pub(crate) fn target_length(bytes: &[u8]) -> usize {
    scan::target(bytes).unwrap_or(bytes.len())
}

/// Whether this may stand as a target in a request line (RFC 9112 section 3.2): visible ASCII, no fragment.
#[must_use]
pub fn is_target(text: &str) -> bool {
    !text.is_empty() && target_length(text.as_bytes()) == text.len()
}

/// How many bytes from the start may stand in a field's value.
pub(crate) fn value_length(bytes: &[u8]) -> usize {
    scan::value(bytes).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::octet::TARGET;

    #[test]
    fn values_end_where_a_control_byte_stands() {
        for length in 0..70 {
            for bad in [0u8, b'\r', b'\n', 0x1f, 0x7f] {
                let mut text = vec![b'a'; length];
                text.push(bad);
                text.extend_from_slice(b"tail of the line");
                assert_eq!(value_length(&text), length);
            }
            let mut tabbed = vec![b'\t'; length];
            tabbed.push(b'\r');
            assert_eq!(value_length(&tabbed), length);
        }
        assert_eq!(value_length("grüße".as_bytes()), "grüße".len());
    }

    #[test]
    fn each_byte_is_judged_alike_at_every_place() {
        for byte in 0..=255u8 {
            for before in 0..40 {
                let mut text = vec![b'a'; before];
                text.push(byte);
                text.extend_from_slice(&[b'a'; 20]);
                let end = |stops: bool| if stops { before } else { text.len() };
                assert_eq!(value_length(&text), end(!has(byte, VALUE)), "{byte} at {before}");
                assert_eq!(target_length(&text), end(!has(byte, TARGET)), "{byte} at {before}");
                assert_eq!(name_length(&text), end(byte <= b' ' || byte == b':'), "{byte} at {before}");
            }
        }
    }

    #[test]
    fn names_end_where_no_name_goes_on() {
        for length in 0..40 {
            for end in [b':', b' ', b'\t', b'\r', b'\n', 0, 1, 0x1f] {
                let mut text = vec![b'~'; length];
                text.push(end);
                text.extend_from_slice(b": tail\x80 of the line");
                assert_eq!(name_length(&text), length, "{end}");
            }
            assert_eq!(name_length(&vec![0xff; length]), length);
        }
    }
}
