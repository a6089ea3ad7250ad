//! Paths as they are written in a config: checked, and brought into the normalised form that requests are matched in.

use std::sync::Arc;

use super::report::Fault;

/// The longest path of a config, in bytes.
const MAX_BYTES: usize = 8 << 10;

/// A path in normalised form: percent-encoding of unreserved characters decoded, hex digits in upper case, dot segments
/// resolved, what cannot stand in a request encoded (RFC 3986, 6.2.2). `//` stays.
pub(super) fn literal(text: &str) -> Result<Arc<str>, Fault> {
    if !text.starts_with('/') {
        let hint = if text.contains("://") { "a path has no scheme and no host" } else { "put `/` before it" };
        return Err(Fault::invalid("a path starts with `/`").hint(hint));
    }
    if text.len() > MAX_BYTES {
        return Err(Fault::invalid(format!("this path is longer than {MAX_BYTES} bytes")));
    }
    if text.contains(['?', '#']) {
        return Err(
            Fault::invalid("a path ends before `?` and `#`").hint("match the query with `query: {name: value}`")
        );
    }
    if text.contains('\\') || text.chars().any(char::is_control) {
        return Err(Fault::invalid("a path has no backslashes and no control characters"));
    }
    let decoded = decode(text)?;
    Ok(resolve_dots(&decoded).into())
}

fn decode(text: &str) -> Result<String, Fault> {
    let mut decoded = String::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16));
            let (Some(high), Some(low)) = (digit(), digit()) else {
                return Err(Fault::invalid("a `%` in a path is followed by two hex digits")
                    .hint("write `%25` for the character itself"));
            };
            let value = (high * 16 + low) as u8;
            match value {
                0..0x20 | 0x7f => return Err(Fault::invalid("a path has no control characters, encoded or not")),
                value if is_unreserved(value) => decoded.push(char::from(value)),
                value => encode(value, &mut decoded),
            }
        } else if byte.is_ascii_graphic() {
            decoded.push(char::from(byte));
        } else {
            encode(byte, &mut decoded);
        }
    }
    Ok(decoded)
}

fn encode(byte: u8, into: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    into.push('%');
    into.push(char::from(HEX[usize::from(byte >> 4)]));
    into.push(char::from(HEX[usize::from(byte & 15)]));
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// RFC 3986, 5.2.4.
fn resolve_dots(path: &str) -> String {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let mut kept: Vec<&str> = Vec::with_capacity(segments.len());
    for (index, segment) in segments.iter().enumerate() {
        let last = index + 1 == segments.len();
        match *segment {
            "." if last => kept.push(""),
            "." => {}
            ".." => {
                kept.pop();
                if last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(literal(text).ok().as_deref(), expected, "{text}");
    }

    #[test]
    fn paths_are_normalised() {
        check("/", Some("/"));
        check("/api/", Some("/api/"));
        check("/a/./b/../c", Some("/a/c"));
        check("/a/..", Some("/"));
        check("/../..", Some("/"));
        check("/%61%7e", Some("/a~"));
        check("/a%2fb", Some("/a%2Fb"));
        check("/a//b", Some("/a//b"));
        check("/a b/é", Some("/a%20b/%C3%A9"));
        for wrong in ["", "api", "http://x/", "/a?b", "/a#b", "/a\\b", "/%0a", "/%zz", "/%a", "/a\u{7}"] {
            check(wrong, None);
        }
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(text in "/[a-z./%0-9A-Fé ]{0,24}") {
            if let Ok(once) = literal(&text) {
                prop_assert_eq!(literal(&once).unwrap(), once);
            }
        }
    }
}
