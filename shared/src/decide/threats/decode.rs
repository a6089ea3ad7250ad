//! The forms that a text may be meant in: percent-encoded once, twice, in the way of IIS; SQL with comments for blanks.

/// Texts up to this length are decoded on the stack.
const SHORT_BYTES: usize = 512;

/// Room for a decoded text.
pub(super) struct Room {
    short: [u8; SHORT_BYTES],
    long: Vec<u8>,
}

impl Room {
    pub(super) fn new() -> Self {
        Self { short: [0; SHORT_BYTES], long: Vec::new() }
    }

    /// The text without its percent-encoding, `+` as a blank where `plus` says so. What is no escape stays as it is.
    pub(super) fn decode(&mut self, text: &[u8], plus: bool) -> &[u8] {
        let out = if text.len() <= SHORT_BYTES {
            &mut self.short[..]
        } else {
            // Decoding never makes a text longer.
            self.long.resize(text.len(), 0);
            &mut self.long[..]
        };
        let mut written = 0;
        let mut rest = text;
        while let (Some((first, tail)), Some(slot)) = (rest.split_first(), out.get_mut(written)) {
            let (octet, behind) = match first {
                b'+' if plus => (b' ', tail),
                b'%' => escape(tail).unwrap_or((b'%', tail)),
                _ => (*first, tail),
            };
            *slot = octet;
            written += 1;
            rest = behind;
        }
        out.get(..written).unwrap_or_default()
    }
}

/// Whether something in the text would change if it was decoded.
pub(super) fn has_escape(text: &[u8]) -> bool {
    memchr::memchr_iter(b'%', text).any(|at| text.get(at + 1..).is_some_and(|tail| escape(tail).is_some()))
}

/// The octet that stands behind a `%`, and what comes after it: `%27`, and `%u0027` and `%uFF07` as IIS reads them.
fn escape(tail: &[u8]) -> Option<(u8, &[u8])> {
    const FULL_WIDTH: std::ops::RangeInclusive<u32> = 0xFF01..=0xFF5E;
    match tail {
        [b'u' | b'U', a, b, c, d, rest @ ..] => {
            let code = digit(*a)? << 12 | digit(*b)? << 8 | digit(*c)? << 4 | digit(*d)?;
            let octet = if FULL_WIDTH.contains(&code) { code - 0xFEE0 } else { code };
            Some((u8::try_from(octet).unwrap_or(b'?'), rest))
        }
        [high, low, rest @ ..] => Some(((digit(*high)? << 4 | digit(*low)?) as u8, rest)),
        _ => None,
    }
}

fn digit(octet: u8) -> Option<u32> {
    char::from(octet).to_digit(16)
}

/// SQL with what stands for blanks as blanks: `/**/` and `/* … */` are one, of `/*!50000union*/` the words stay, and one that is
/// open to the end is told by its beginning; `#` and `--` with the rest of their line are one, and so is 0xA0 of Latin-1. None
/// where there is nothing of the kind.
pub(super) fn without_comments(text: &[u8]) -> Option<Vec<u8>> {
    // Behind the last line's end no comment of a line ends.
    let lines = memchr::memrchr2(b'\n', b'\r', text).map_or(0, |last| last + 1);
    let starts_comment = |at: usize| matches!(text.get(at..), Some([b'#', ..] | [b'-', b'-', ..]));
    let has_line = || memchr::memchr2_iter(b'#', b'-', text.get(..lines).unwrap_or_default()).any(starts_comment);
    if memchr::memmem::find(text, b"/*").is_none() && memchr::memchr(HARD_BLANK, text).is_none() && !has_line() {
        return None;
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        let is_within_lines = text.len() - rest.len() < lines;
        rest = match (first, tail) {
            // MySQL runs what is in it.
            (b'/', [b'*', b'!', words @ ..]) => {
                out.push(b' ');
                let version = words.iter().take_while(|octet| octet.is_ascii_digit()).count();
                words.get(version..).unwrap_or_default()
            }
            (b'/', [b'*', inner @ ..]) => {
                out.push(b' ');
                let Some(end) = memchr::memmem::find(inner, b"*/") else {
                    out.extend_from_slice(b"/*");
                    return Some(out);
                };
                inner.get(end + 2..).unwrap_or_default()
            }
            // The end of what MySQL runs; and 0xA0 as UTF-8 has it.
            (b'*', [b'/', behind @ ..]) | (0xC2, [HARD_BLANK, behind @ ..]) => {
                out.push(b' ');
                behind
            }
            (b'#', _) | (b'-', [b'-', ..]) if is_within_lines => {
                out.push(b' ');
                let end = memchr::memchr2(b'\n', b'\r', tail).unwrap_or(tail.len());
                tail.get(end..).unwrap_or_default()
            }
            // Alone it is Latin-1, unless it is the end of another character.
            (&HARD_BLANK, _) if out.last().is_none_or(u8::is_ascii) => {
                out.push(b' ');
                tail
            }
            _ => {
                out.push(*first);
                tail
            }
        };
    }
    Some(out)
}

/// A blank that breaks no line, in Latin-1.
const HARD_BLANK: u8 = 0xA0;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, plus: bool, expected: &str) {
        let mut room = Room::new();
        assert_eq!(String::from_utf8_lossy(room.decode(text.as_bytes(), plus)), expected);
    }

    #[test]
    fn escapes_are_decoded_and_the_rest_stays() {
        check("a%2Fb%2f", false, "a/b/");
        check("a+b", true, "a b");
        check("a+b", false, "a+b");
        check("100%", true, "100%");
        check("%zz%4", true, "%zz%4");
        check("%u0027%uFF1cx%u20ac", false, "'<x?");
        check("%2527", false, "%27");
        let long = "%41".repeat(400);
        check(&long, false, &"A".repeat(400));
    }

    #[test]
    fn what_would_change_is_known() {
        assert!(!has_escape(b"100% sure"));
        assert!(has_escape(b"100% %41"));
        assert!(has_escape(b"%u0041"));
    }

    #[track_caller]
    fn check_comments(text: impl AsRef<[u8]>, expected: Option<&str>) {
        let told = without_comments(text.as_ref()).map(|text| String::from_utf8_lossy(&text).into_owned());
        assert_eq!(told.as_deref(), expected);
    }

    #[test]
    fn comments_are_blanks() {
        check_comments("union select", None);
        check_comments("union/**/select", Some("union select"));
        check_comments("union/* x */select/**/1", Some("union select 1"));
        check_comments("/*!50000union*/ select", Some(" union  select"));
        check_comments("admin'/*", Some("admin' /*"));
        check_comments("a/*!", Some("a "));
        check_comments("a -- b # c", None);
        check_comments("a - b\n- c", None);
        check_comments("a\nb -- c # d", None);
        check_comments("union#\nselect", Some("union \nselect"));
        check_comments("union-- x\r\nselect#", Some("union \r\nselect#"));
        check_comments("a#b\n--c\rd--e", Some("a \n \rd--e"));
        check_comments("----\n----", Some(" \n----"));
        check_comments("a/*\n*/#\nb", Some("a  \nb"));
        check_comments(b"1\xa0union\xa0\xa0select", Some("1 union  select"));
        check_comments("1\u{a0}union", Some("1 union"));
        check_comments("\u{e0} la carte, \u{65e5}\u{4820}", Some("\u{e0} la carte, \u{65e5}\u{4820}"));
    }
}
