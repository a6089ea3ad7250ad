//! A JSON body, looked at as it comes, before it goes on: nothing of it is held back or changed.

use shared::config::policy::JsonShape;
use shared::decide::threats::{Depth, Misfit};

/// What a JSON body must keep to, and how far it was looked at.
#[derive(Clone, Copy, Debug)]
pub struct JsonBounds {
    depth: Depth,
    max_bytes: u64,
    is_enforced: bool,
    /// Bytes from its beginning.
    looked_at: u64,
}

impl JsonBounds {
    /// These bounds; enforced, or only told.
    pub fn new(shape: JsonShape, is_enforced: bool) -> Self {
        Self { depth: Depth::new(shape.max_depth), max_bytes: shape.max_bytes, is_enforced, looked_at: 0 }
    }

    pub(super) fn is_enforced(&self) -> bool {
        self.is_enforced
    }

    /// What is at hand, behind `before` bytes that went on: some of it may have been looked at before.
    pub(super) fn look(&mut self, before: u64, chunk: &[u8]) -> Option<Misfit> {
        let is_beginning = self.looked_at == 0;
        let known = usize::try_from(self.looked_at.saturating_sub(before)).unwrap_or(usize::MAX);
        let fresh = chunk.get(known..).unwrap_or_default();
        self.looked_at += fresh.len() as u64;
        if self.looked_at > self.max_bytes {
            return Some(Misfit::JsonSize);
        }
        // UTF-16 and UTF-32, by their mark or by the null octets beside each bracket: how deep they nest cannot be told.
        if is_beginning && fresh.first().is_some_and(|first| *first >= 0xFE) || memchr::memchr(0, fresh).is_some() {
            return Some(Misfit::ContentType);
        }
        if self.depth.take(fresh) { None } else { Some(Misfit::JsonDepth) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pieces: &[(u64, &str)], expected: Option<Misfit>) {
        let mut bounds = JsonBounds::new(JsonShape { max_bytes: 10, max_depth: 2 }, true);
        let told = pieces.iter().find_map(|(before, chunk)| bounds.look(*before, chunk.as_bytes()));
        assert_eq!(told, expected);
    }

    #[track_caller]
    fn check_letters(pieces: &[&[u8]], expected: Option<Misfit>) {
        let mut bounds = JsonBounds::new(JsonShape { max_bytes: 100, max_depth: 2 }, true);
        let mut before = 0;
        let told = pieces.iter().find_map(|chunk| {
            let told = bounds.look(before, chunk);
            before += chunk.len() as u64;
            told
        });
        assert_eq!(told, expected, "{pieces:?}");
    }

    #[test]
    fn what_is_not_in_utf_8_is_told() {
        check_letters(&[b"\xef\xbb\xbf[1]"], None);
        check_letters(&["[\"é\"]".as_bytes()], None);
        check_letters(&[b"", b"[", b"\xff"], None);
        check_letters(&[b"", b"\xff\xfe[\0"], Some(Misfit::ContentType));
        check_letters(&[b"\xfe", b"\xff"], Some(Misfit::ContentType));
        check_letters(&[b"\0[\0["], Some(Misfit::ContentType));
        check_letters(&[b"[", b"\0[\0"], Some(Misfit::ContentType));
    }

    #[test]
    fn what_was_looked_at_is_not_counted_again() {
        check(&[(0, "[[["), (3, "")], Some(Misfit::JsonDepth));
        check(&[(0, "["), (0, "["), (0, "[["), (1, "["), (2, "]]")], None);
        check(&[(0, "["), (0, "[["), (2, "[")], Some(Misfit::JsonDepth));
        check(&[(0, "0123456789")], None);
        check(&[(0, "0123456789"), (4, "4567890")], Some(Misfit::JsonSize));
    }
}
