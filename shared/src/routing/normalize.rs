//! One form for every path: what is matched, forwarded, logged and audited is the same (RFC 3986 section 6.2.2).

use std::borrow::Cow;
use std::fmt;

use super::octet::{Class, class, escaped, push_escape, unreserved};

/// Why a path is refused (400).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathProblem {
    /// Does not begin with `/` (and is not `*`).
    NotAbsolute,
    /// `%` without two hexadecimal digits.
    BadEscape,
    /// NUL, another control character, a raw space, non-ASCII byte, `#` or `?`, raw or encoded where encoding it hides it (NUL,
    /// controls).
    ForbiddenCharacter,
    /// A raw backslash.
    Backslash,
    /// `.` or `..` with parameters (RFC 3986 section 3.3), as in `/..;x/`: for us a name, for servers that take parameters off
    /// first a dot segment.
    DotWithParameters,
}

impl fmt::Display for PathProblem {
    /// Goes on after `the path`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAbsolute => "does not begin with a slash",
            Self::BadEscape => "has a percent sign without two hexadecimal digits behind it",
            Self::ForbiddenCharacter => "has a character that no path may have",
            Self::Backslash => "has a backslash",
            Self::DotWithParameters => "has a dot segment with parameters (`..;`)",
        })
    }
}

/// The normalised path, and whether it came with an encoded slash or backslash (for the route to judge), be it in a segment
/// that a dot segment took away: what is ambiguous is refused before it is read one way.
#[derive(Debug, PartialEq, Eq)]
pub struct Normal<'a> {
    pub path: Cow<'a, str>,
    pub encoded_slash: bool,
}

/// Normalises a request's path (no query): percent-encoded unreserved characters decoded, other escapes in upper case,
/// dot segments resolved (never above the root), `//` kept unless `merge_slashes`. Borrows when nothing changes.
///
/// # Errors
/// A path that is none, or that hides something: [`PathProblem`].
pub fn normalize(path: &str, merge_slashes: bool) -> Result<Normal<'_>, PathProblem> {
    if !path.starts_with('/') {
        let star = Normal { path: Cow::Borrowed(path), encoded_slash: false };
        return if path == "*" { Ok(star) } else { Err(PathProblem::NotAbsolute) };
    }
    match unchanged(path, merge_slashes)? {
        Some(encoded_slash) => Ok(Normal { path: Cow::Borrowed(path), encoded_slash }),
        None => changed(path.as_bytes(), merge_slashes, Backslashes::Refuse),
    }
}

/// The path with `%2F` and `%5C` decoded (to `/` and `\`), normalised again: for routes with `encoded_slash: decode`.
///
/// # Errors
/// As [`normalize`]; also a dot segment beside a decoded backslash, which some upstreams would resolve and we do not.
pub fn decode_slashes(path: &str, merge_slashes: bool) -> Result<String, PathProblem> {
    if !path.starts_with('/') {
        return Err(PathProblem::NotAbsolute);
    }
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let separator = escaped(tail).filter(|octet| *first == b'%' && matches!(octet, b'/' | b'\\'));
        decoded.push(separator.unwrap_or(*first));
        rest = if separator.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    let normal = changed(&decoded, merge_slashes, Backslashes::Keep)?.path.into_owned();
    let is_dots = |segment: &str| matches!(without_parameters(segment.as_bytes()), b"." | b"..");
    let hides_dots = normal.contains('\\') && normal.split(['/', '\\']).any(is_dots);
    if hides_dots { Err(PathProblem::Backslash) } else { Ok(normal) }
}

/// Whether normalising leaves the path as it is, and then whether it has an encoded slash. Stops at the first change.
fn unchanged(path: &str, merge_slashes: bool) -> Result<Option<bool>, PathProblem> {
    let mut encoded_slash = false;
    let mut segment_starts = false;
    let mut rest = path.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        let starts = std::mem::replace(&mut segment_starts, false);
        match class(*first) {
            Class::Plain => {}
            Class::Dot => {
                // `.` or `..`; what only becomes one when it is decoded shows itself by its escape.
                if starts && ends_dots(tail.strip_prefix(b".").unwrap_or(tail)) {
                    return Ok(None);
                }
            }
            Class::Slash => {
                if starts && merge_slashes {
                    return Ok(None);
                }
                segment_starts = true;
            }
            Class::Percent => {
                let octet = allowed_escape(tail)?;
                let is_lower = matches!(tail, [high, low, ..] if high.is_ascii_lowercase() || low.is_ascii_lowercase());
                if unreserved(octet) || is_lower {
                    return Ok(None);
                }
                encoded_slash |= matches!(octet, b'/' | b'\\');
                rest = tail.get(2..).unwrap_or_default();
            }
            Class::Backslash => return Err(PathProblem::Backslash),
            Class::Forbidden => return Err(PathProblem::ForbiddenCharacter),
        }
    }
    Ok(Some(encoded_slash))
}

/// Whether what follows dots makes them a whole segment, or one before its parameters.
fn ends_dots(rest: &[u8]) -> bool {
    matches!(rest, [] | [b'/' | b';', ..] | [b'%', b'3', b'B' | b'b', ..])
}

/// A segment in its normal form as far as its first `;`, be that encoded or not.
fn without_parameters(segment: &[u8]) -> &[u8] {
    let is_end = |at: &usize| matches!(segment.get(*at..), Some([b';', ..] | [b'%', b'3', b'B', ..]));
    let end = memchr::memchr2_iter(b';', b'%', segment).find(is_end);
    segment.get(..end.unwrap_or(segment.len())).unwrap_or_default()
}

/// The octet behind a `%`, unless it is one that an escape would hide.
fn allowed_escape(tail: &[u8]) -> Result<u8, PathProblem> {
    let octet = escaped(tail).ok_or(PathProblem::BadEscape)?;
    if octet.is_ascii_control() { Err(PathProblem::ForbiddenCharacter) } else { Ok(octet) }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Backslashes {
    Refuse,
    Keep,
}

/// Writes the normalised form.
fn changed(path: &[u8], merge_slashes: bool, backslashes: Backslashes) -> Result<Normal<'static>, PathProblem> {
    let mut out = Written { text: Vec::with_capacity(path.len()), segment: 1 };
    out.text.push(b'/');
    let mut encoded_slash = false;
    let mut rest = path.get(1..).unwrap_or_default();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match class(*first) {
            Class::Plain | Class::Dot => out.text.push(*first),
            Class::Slash => out.slash(merge_slashes)?,
            Class::Percent => {
                let octet = allowed_escape(tail)?;
                if unreserved(octet) {
                    out.text.push(octet);
                } else {
                    encoded_slash |= matches!(octet, b'/' | b'\\');
                    push_escape(&mut out.text, octet);
                }
                rest = tail.get(2..).unwrap_or_default();
            }
            Class::Backslash if backslashes == Backslashes::Keep => out.text.push(b'\\'),
            Class::Backslash => return Err(PathProblem::Backslash),
            Class::Forbidden => return Err(PathProblem::ForbiddenCharacter),
        }
    }
    out.resolve()?;
    let path = String::from_utf8(out.text).map_err(|_| PathProblem::ForbiddenCharacter)?;
    Ok(Normal { path: Cow::Owned(path), encoded_slash })
}

/// A path as far as it is written: begins with `/`.
struct Written {
    text: Vec<u8>,
    /// Where the last segment begins: behind a slash.
    segment: usize,
}

impl Written {
    /// Takes a dot segment at the end away, with what it takes with it; the slash before stays. Says whether there was one.
    fn resolve(&mut self) -> Result<bool, PathProblem> {
        let segment = self.text.get(self.segment..).unwrap_or_default();
        let levels = match segment {
            b"." => 0,
            b".." => 1,
            _ if matches!(without_parameters(segment), b"." | b"..") => return Err(PathProblem::DotWithParameters),
            _ => return Ok(false),
        };
        self.text.truncate(self.segment);
        if levels == 1 && self.segment > 1 {
            self.text.pop();
            let slash = memchr::memrchr(b'/', &self.text).unwrap_or_default();
            self.text.truncate(slash + 1);
            self.segment = self.text.len();
        }
        Ok(true)
    }

    fn slash(&mut self, merge: bool) -> Result<(), PathProblem> {
        let is_empty = self.text.len() == self.segment;
        if self.resolve()? || (merge && is_empty) {
            return Ok(());
        }
        self.text.push(b'/');
        self.segment = self.text.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(path: &str, expected: Result<&str, PathProblem>) {
        let found = normalize(path, false);
        assert_eq!(found.as_ref().map(|n| &*n.path).map_err(|p| *p), expected, "{path}");
        if let Ok(normal) = &found {
            assert_eq!(matches!(normal.path, Cow::Borrowed(_)), normal.path == path, "borrows what stays: {path}");
        }
    }

    #[test]
    fn ordinary_paths_stay() {
        for path in
            ["/", "/a", "/a/", "/a//b", "//", "/.well-known/x", "/..a/...", "/a.b", "/%20", "/%2F", "*", "/[x]|"]
        {
            check(path, Ok(path));
        }
    }

    #[test]
    fn escapes_are_made_one() {
        check("/%61%7E%2d", Ok("/a~-"));
        check("/%c3%a9", Ok("/%C3%A9"));
        check("/%2f", Ok("/%2F"));
        assert!(normalize("/%2F/..", false).is_ok_and(|normal| normal.encoded_slash && normal.path == "/"));
        check("/%2541", Ok("/%2541"));
        check("/%", Err(PathProblem::BadEscape));
        check("/%4", Err(PathProblem::BadEscape));
        check("/%zz", Err(PathProblem::BadEscape));
        check("/%61%4", Err(PathProblem::BadEscape));
    }

    #[test]
    fn dots_are_resolved() {
        check("/.", Ok("/"));
        check("/..", Ok("/"));
        check("/a/.", Ok("/a/"));
        check("/a/..", Ok("/"));
        check("/a/../..", Ok("/"));
        check("/a/../../b", Ok("/b"));
        check("/a/b/../c", Ok("/a/c"));
        check("/a/./b", Ok("/a/b"));
        check("/a/%2e%2E/b", Ok("/b"));
        check("/a/.%2e/b", Ok("/b"));
        check("/a/%2e", Ok("/a/"));
        check("/a//..", Ok("/a/"));
        check("/a/..//b", Ok("//b"));
        check("/..%2fa", Ok("/..%2Fa"));
        check("/.%41", Ok("/.A"));
    }

    #[test]
    fn hidden_things_are_refused() {
        check("", Err(PathProblem::NotAbsolute));
        check("a", Err(PathProblem::NotAbsolute));
        check("/\\", Err(PathProblem::Backslash));
        check("/%61\\", Err(PathProblem::Backslash));
        for path in ["/\0", "/%00", "/%1f", "/%7F", "/ ", "/é", "/a#b", "/a?b", "/%41%0a", "/\x7f", "/a\r\nb"] {
            check(path, Err(PathProblem::ForbiddenCharacter));
        }
    }

    #[test]
    fn dots_with_parameters_are_refused() {
        for path in [
            "/pub/..;/adm",
            "/pub/..;x=1/adm",
            "/..;",
            "/.;/a",
            "/..%3b/a",
            "/..%3B",
            "/%2e%2e;/a",
            "/.%2E%3b/a",
            "/a/..;/../b",
            "/..;%2Fadm",
            "/.%3Bx",
        ] {
            check(path, Err(PathProblem::DotWithParameters));
            assert_eq!(decode_slashes(path, false), Err(PathProblem::DotWithParameters), "{path}");
        }
        for path in
            ["/adm;x", "/...;/a", "/a..;/b", "/;/a", "/;../a", "/..a;/b", "/a;../b", "/%3B..", "/..%3D", "/.%41;"]
        {
            let expected = path.replace("%41", "A");
            check(path, Ok(&expected));
        }
        check("/a%2F..;/b", Ok("/a%2F..;/b"));
        assert_eq!(decode_slashes("/a%2F..;/b", false), Err(PathProblem::DotWithParameters));
        assert_eq!(decode_slashes("/a%5C..;%5Cb", false), Err(PathProblem::Backslash));
    }

    #[test]
    fn slashes_merge_when_asked() {
        for (path, expected) in
            [("//", "/"), ("/a//b///", "/a/b/"), ("/a/.//b", "/a/b"), ("/a/..//b", "/b"), ("/a", "/a")]
        {
            assert_eq!(normalize(path, true).unwrap().path, expected, "{path}");
        }
    }

    #[test]
    fn encoded_slashes_are_told_and_decoded() {
        for (path, expected) in [("/a%2Fb", "/a/b"), ("/a%2f..%2fb", "/b"), ("/a%5cb", "/a\\b"), ("/%252F", "/%252F")] {
            assert_eq!(normalize(path, false).unwrap().encoded_slash, !path.contains("25"), "{path}");
            assert_eq!(decode_slashes(path, false).unwrap(), expected, "{path}");
        }
        assert_eq!(decode_slashes("/a%5C..%5Cb", false), Err(PathProblem::Backslash));
        assert_eq!(decode_slashes("/a%2F%2Fb", true).unwrap(), "/a/b");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn what_is_normal_stays_normal(
            path in "(/|\\.|%2[eEfF]|%2e|%3[bB]|%5c|%41|%C3|a|;|~|\\\\|%zz|é){0,24}",
            merge_slashes in any::<bool>(),
        ) {
            let path = format!("/{path}");
            if let Ok(normal) = normalize(&path, merge_slashes) {
                prop_assert!(normal.path.starts_with('/'));
                let bare = |segment: &str| segment.replace("%3B", ";").split(';').next().map(str::to_owned);
                prop_assert!(normal.path.split('/').all(|segment| !matches!(bare(segment).as_deref(), Some("." | ".."))));
                prop_assert!(!merge_slashes || !normal.path.contains("//"));
                let received = path.to_ascii_lowercase();
                prop_assert_eq!(normal.encoded_slash, received.contains("%2f") || received.contains("%5c"));
                let again = normalize(&normal.path, merge_slashes);
                prop_assert!(matches!(again, Ok(Normal { path: Cow::Borrowed(_), .. })), "{:?}", again);
                prop_assert_eq!(&again.unwrap().path, &normal.path);
            }
        }

        #[test]
        fn any_text_has_an_answer(path in any::<String>(), merge_slashes in any::<bool>()) {
            let _ = normalize(&path, merge_slashes);
            let _ = decode_slashes(&path, merge_slashes);
        }
    }
}
