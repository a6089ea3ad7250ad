//! How deep a JSON text nests, counted as it comes: nothing is held, and what is no JSON is no fault here.

/// Counts brackets outside of strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    deepest: u32,
    open: u32,
    within: Within,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    Structure,
    Text,
    /// Behind a backslash of a string.
    Escape,
}

impl Depth {
    /// At most so many objects and arrays within each other.
    pub fn new(deepest: u32) -> Self {
        Self { deepest, open: 0, within: Within::Structure }
    }

    /// More of the text: whether it is still within the bound.
    pub fn take(&mut self, mut chunk: &[u8]) -> bool {
        loop {
            let (found, at) = match self.within {
                Within::Structure => {
                    let Some(at) = chunk.iter().position(|octet| matches!(octet, b'"' | b'{' | b'[' | b'}' | b']'))
                    else {
                        return true;
                    };
                    (chunk.get(at), at)
                }
                Within::Text => {
                    let Some(at) = memchr::memchr2(b'"', b'\\', chunk) else { return true };
                    (chunk.get(at), at)
                }
                Within::Escape => (chunk.first(), 0),
            };
            let Some(found) = found else { return true };
            self.within = match (self.within, found) {
                (Within::Structure, b'"') | (Within::Escape, _) => Within::Text,
                (Within::Text, b'\\') => Within::Escape,
                (Within::Text, _) => Within::Structure,
                (Within::Structure, b'{' | b'[') => {
                    self.open += 1;
                    if self.open > self.deepest {
                        return false;
                    }
                    Within::Structure
                }
                (Within::Structure, _) => {
                    self.open = self.open.saturating_sub(1);
                    Within::Structure
                }
            };
            chunk = chunk.get(at + 1..).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Whole, and byte by byte.
    #[track_caller]
    fn check(text: &str, deepest: u32, expected: bool) {
        assert_eq!(Depth::new(deepest).take(text.as_bytes()), expected, "{text}");
        let mut depth = Depth::new(deepest);
        assert_eq!(text.bytes().all(|octet| depth.take(&[octet])), expected, "{text}, byte by byte");
    }

    #[test]
    fn nesting_is_counted_outside_of_strings() {
        check("[[[", 2, false);
        check(r#"{"a":{"b":{"c":1}}}"#, 2, false);
        check(r#"{"a":{"b":{"c":1}}}"#, 3, true);
        check(r#""[[[[""#, 1, true);
        check(r#"["\"[[[["]"#, 1, true);
        check(r#"["\\"][["#, 1, false);
        check("[][][][]{}{}", 1, true);
        check("]]]][[", 1, false);
        check("", 0, true);
        check("1", 0, true);
        check("[]", 0, false);
    }

    proptest! {
        #[test]
        fn pieces_tell_the_same_as_the_whole(text in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b'\\'), Just(b'['), Just(b'}'), any::<u8>()], 0..200), cut in 0_usize..200) {
            let (one, two) = text.split_at(cut.min(text.len()));
            let mut depth = Depth::new(3);
            prop_assert_eq!(depth.take(one) && depth.take(two), Depth::new(3).take(&text));
        }
    }
}
