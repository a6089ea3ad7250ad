//! What somebody may be called. A name goes into headers, logs, limits and the record, and must be the same one everywhere: whoever
//! reads a header takes the white space at its ends off.

/// A longer name is nobody's: `OpenID` Connect ends at 255.
pub const LONGEST: usize = 256;

/// Whether somebody can be called so.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= LONGEST && name.trim().len() == name.len() && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_the_same_everywhere() {
        let check = |name: &str, expected: bool| assert_eq!(is_name(name), expected, "{name:?}");
        for name in ["ann", "Ann Lee", "jürgen", "a", "client:ci", "a\u{a0}b", "\u{200b}ann"] {
            check(name, true);
        }
        for name in ["", " ", " ann", "ann ", "\u{a0}ann", "ann\u{3000}", "a\tb", "ann\r\nx: y", "a\0", "a\u{85}b"] {
            check(name, false);
        }
        check(&"a".repeat(LONGEST), true);
        check(&"a".repeat(LONGEST + 1), false);
    }
}
