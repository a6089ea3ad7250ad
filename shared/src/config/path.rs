//! Paths as they are written in a config: checked, and brought into the normalised form that requests are matched in.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use super::report::Fault;
use crate::routing::normalize;

/// The longest path of a config, in bytes.
const MAX_BYTES: usize = 8 << 10;

/// A path in the form that requests are matched in.
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
    let encoded = encode_unsendable(text);
    match normalize(&encoded, false) {
        Ok(normal) => Ok(normal.path.into()),
        Err(problem) => Err(Fault::invalid(format!("the path {problem}"))),
    }
}

/// Encodes what people write in a path but no request has in it as such: spaces and characters beyond ASCII.
fn encode_unsendable(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| byte.is_ascii() && byte != b' ') {
        return Cow::Borrowed(text);
    }
    let mut encoded = String::with_capacity(text.len() * 3);
    for c in text.chars() {
        if c.is_ascii() && c != ' ' {
            encoded.push(c);
        } else {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    Cow::Owned(encoded)
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
