//! One form for every path: what is matched, forwarded, logged and audited is the same (RFC 3986 section 6.2.2).

use std::borrow::Cow;

/// Why a path is refused (400).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathProblem {
    /// Does not begin with `/` (and is not `*`).
    NotAbsolute,
    /// `%` without two hexadecimal digits.
    BadEscape,
    /// NUL, another control character, a raw space, non-ASCII byte or `#`, raw or encoded where encoding it hides it (NUL, controls).
    ForbiddenCharacter,
    /// A raw backslash.
    Backslash,
}

/// The normalised path, and whether it has an encoded slash or backslash (for the route to judge).
#[derive(Debug, PartialEq, Eq)]
pub struct Normal<'a> {
    pub path: Cow<'a, str>,
    pub encoded_slash: bool,
}

/// Normalises a request's path (no query): percent-encoded unreserved characters decoded, other escapes in upper case,
/// dot segments resolved (never above the root), `//` kept unless `merge_slashes`. Borrows when nothing changes.
pub fn normalize(path: &str, merge_slashes: bool) -> Result<Normal<'_>, PathProblem> {
    let _ = (path, merge_slashes);
    todo!()
}

/// The path with `%2F` and `%5C` decoded (to `/` and `\`), normalised again: for routes with `encoded_slash: decode`.
pub fn decode_slashes(path: &str, merge_slashes: bool) -> Result<String, PathProblem> {
    let _ = (path, merge_slashes);
    todo!()
}
