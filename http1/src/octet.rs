//! Which byte may be part of what.

/// Part of a token (RFC 9110 section 5.6.2).
pub(crate) const TOKEN: u8 = 1;
/// Part of a field's value (RFC 9110 section 5.5).
pub(crate) const VALUE: u8 = 2;
/// Part of a request target (RFC 9112 section 3.2).
pub(crate) const TARGET: u8 = 4;

/// What each byte may be part of.
static CLASSES: [u8; 256] = classes();

#[expect(clippy::indexing_slicing, reason = "the loop bounds the index; a constant cannot call `get`")]
const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let byte = index as u8;
        let mut class = 0;
        let mark = matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        );
        if byte.is_ascii_alphanumeric() || mark {
            class |= TOKEN;
        }
        // Visible, blank or obs-text.
        if byte == b'\t' || (byte >= 0x20 && byte != 0x7f) {
            class |= VALUE;
        }
        if byte > 0x20 && byte < 0x7f && byte != b'#' {
            class |= TARGET;
        }
        table[index] = class;
        index += 1;
    }
    table
}

/// Whether the byte may be part of that.
pub(crate) fn has(byte: u8, class: u8) -> bool {
    CLASSES.get(usize::from(byte)).is_some_and(|found| found & class != 0)
}
