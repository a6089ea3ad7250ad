//! Classes of octets in a request target (RFC 3986 section 2 and 3.3), by table.

/// What an octet of a path means to normalisation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Stays as it is. Characters that RFC 3986 excludes from paths but clients send raw, such as `[` and `|`, are among these.
    Plain,
    Dot,
    Slash,
    Percent,
    Backslash,
    /// Controls, space, `#`, `?`, DEL, anything not ASCII.
    Forbidden,
}

/// The classes, by octet.
#[expect(clippy::indexing_slicing, reason = "evaluated at compile time, where going past the end is an error")]
static CLASSES: [Class; 256] = {
    let mut classes = [Class::Plain; 256];
    let mut octet = 0;
    while octet < 256 {
        classes[octet] = match octet as u8 {
            b'.' => Class::Dot,
            b'/' => Class::Slash,
            b'%' => Class::Percent,
            b'\\' => Class::Backslash,
            0..=b' ' | b'#' | b'?' | 0x7F..=0xFF => Class::Forbidden,
            _ => Class::Plain,
        };
        octet += 1;
    }
    classes
};

#[expect(clippy::indexing_slicing, reason = "a table of 256 entries has one for every octet")]
pub(super) fn class(octet: u8) -> Class {
    CLASSES[octet as usize]
}

/// `unreserved` (RFC 3986 section 2.3): the same whether percent-encoded or not.
pub(super) fn unreserved(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~')
}

/// Legal in a path: `pchar` or `/` (RFC 3986 section 3.3), `%` aside.
pub(super) fn path_char(octet: u8) -> bool {
    unreserved(octet)
        || matches!(
            octet,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@' | b'/'
        )
}

/// The value of one hexadecimal digit.
pub(super) fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// The octet that the two digits after a `%` stand for; `rest` begins behind the `%`.
pub(super) fn escaped(rest: &[u8]) -> Option<u8> {
    match rest {
        [high, low, ..] => Some(hex(*high)? << 4 | hex(*low)?),
        _ => None,
    }
}

/// Writes `%XX`.
pub(super) fn push_escape(out: &mut Vec<u8>, octet: u8) {
    let digit = |half: u8| if half < 10 { b'0' + half } else { b'A' + half - 10 };
    out.extend([b'%', digit(octet >> 4), digit(octet & 15)]);
}

/// A 64-bit hash of octets, eight at a time. Not keyed: it may serve only tables whose keys the operator wrote, where a
/// client's choice of what to look up cannot make chains longer.
pub(super) fn hash(seed: u64, octets: &[u8]) -> u64 {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    fn fold(a: u64, b: u64) -> u64 {
        let wide = u128::from(a) * u128::from(b);
        (wide as u64) ^ ((wide >> 64) as u64)
    }
    let (words, rest) = octets.as_chunks::<8>();
    let start = fold(seed ^ 0xD1B5_4A32_D192_ED03, ODD) ^ octets.len() as u64;
    let state = words.iter().fold(start, |state, word| fold(state ^ u64::from_le_bytes(*word), ODD));
    let tail = rest.iter().fold(0, |word, octet| word << 8 | u64::from(*octet));
    fold(fold(state ^ tail, ODD) ^ ODD, 0xA076_1D64_78BD_642F)
}
