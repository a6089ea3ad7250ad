//! Where a message's body ends (RFC 9112 section 6).

use crate::headers::Headers;
use crate::{Fault, RequestHead, ResponseHead, Version, known};

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// So many bytes, more than none.
    Length(u64),
    Chunked,
    /// Until the connection closes: responses only.
    Close,
}

/// The framing of a request.
///
/// # Errors
///
/// Whatever could be read in two ways: both headers, more than one length, a coding other than `chunked`.
pub fn request_framing(head: &RequestHead) -> Result<Framing, Fault> {
    Ok(told(head.headers(), head.version())?.unwrap_or(Framing::None))
}

/// The framing of an answer to a request of method HEAD or another.
///
/// # Errors
///
/// As for requests.
pub fn response_framing(head: &ResponseHead, to_head: bool) -> Result<Framing, Fault> {
    let told = told(head.headers(), head.version())?;
    if to_head || matches!(head.status(), 100..=199 | 204 | 304) {
        return Ok(Framing::None);
    }
    Ok(told.unwrap_or(Framing::Close))
}

/// Whether the connection serves on behind this message (RFC 9112 section 9.3): unless `Connection` says `close`, and for
/// HTTP/1.0 only where it says `keep-alive`.
#[must_use]
pub fn persists(headers: &Headers, version: Version) -> bool {
    let says = |option: &[u8]| {
        let mut options = headers.all(&known::CONNECTION).flat_map(|line| line.split(|&byte| byte == b','));
        options.any(|found| found.trim_ascii().eq_ignore_ascii_case(option))
    };
    if says(b"close") {
        return false;
    }
    version != Version::Http10 || says(b"keep-alive")
}

fn told(headers: &Headers, version: Version) -> Result<Option<Framing>, Fault> {
    let length = if headers.has(&known::CONTENT_LENGTH) {
        let only = headers.only(&known::CONTENT_LENGTH).ok_or(Fault::Length)?;
        Some(number(only).ok_or(Fault::Length)?)
    } else {
        None
    };
    if headers.has(&known::TRANSFER_ENCODING) {
        if length.is_some() {
            return Err(Fault::LengthBesideCoding);
        }
        let coding = headers.only(&known::TRANSFER_ENCODING).ok_or(Fault::Coding)?;
        let chunked = coding.eq_ignore_ascii_case(b"chunked") && version != Version::Http10;
        return if chunked { Ok(Some(Framing::Chunked)) } else { Err(Fault::Coding) };
    }
    Ok(length.map(|length| if length == 0 { Framing::None } else { Framing::Length(length) }))
}

/// Digits and nothing else, up to what a file could have. A zero in front makes it an octal number to some readers.
fn number(text: &[u8]) -> Option<u64> {
    if text.len() > 19 || matches!(text, [] | [b'0', _, ..]) {
        return None;
    }
    text.iter().try_fold(0u64, |number, byte| match byte {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
