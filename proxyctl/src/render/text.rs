//! Text that is safe on a terminal. Paths, user agents and names come from anybody: what could steer a terminal or
//! reorder a line is shown as an escape.

use std::fmt::Write as _;

use serde_json::Value;

/// Whether a character does something else than to stand for itself.
fn is_active(c: char) -> bool {
    c.is_control()
        // Zero width, line and paragraph separators, direction marks and overrides, byte order mark, tags.
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{61c}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// One line, nothing active in it: `\n`, `\x1b`, `\u{202e}` stand for what was there.
#[must_use]
pub(crate) fn plain(text: &str) -> String {
    if !text.chars().any(is_active) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_active(c) && u32::from(c) < 0x100 => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c if is_active(c) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// The same for text of several lines, which stay lines; tabs stay too.
#[must_use]
pub(crate) fn plain_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, line) in text.split('\n').enumerate() {
        if at > 0 {
            out.push('\n');
        }
        for (at, part) in line.strip_suffix('\r').unwrap_or(line).split('\t').enumerate() {
            if at > 0 {
                out.push('\t');
            }
            out.push_str(&plain(part));
        }
    }
    out
}

/// The same length in characters, so that a marker under it still points where it should.
#[must_use]
pub(crate) fn plain_in_place(text: &str) -> String {
    text.chars().map(|c| if c != '\t' && is_active(c) { '\u{fffd}' } else { c }).collect()
}

/// A JSON value on one line.
#[must_use]
pub(crate) fn json_line(value: &Value) -> String {
    escaped(value.to_string())
}

/// A JSON value on as many lines as reads well.
#[must_use]
pub(crate) fn json_page(value: &Value) -> String {
    escaped(serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string()))
}

/// JSON leaves some active characters as they are (RFC 8259 section 7 asks only for those below U+0020); they can stand
/// only inside strings, where an escape means the same.
fn escaped(json: String) -> String {
    let active = |c: char| c != '\n' && is_active(c);
    if !json.chars().any(active) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 8);
    for c in json.chars() {
        if active(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

pub(crate) const BOLD: &str = "1";
pub(crate) const RED: &str = "1;31";
pub(crate) const GREEN: &str = "32";
pub(crate) const YELLOW: &str = "33";
pub(crate) const DIM: &str = "2";

/// Text in a colour, where colour is wanted.
#[must_use]
pub(crate) fn paint(text: &str, colour: &str, wanted: bool) -> String {
    if wanted { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
}

/// `1 route`, `2 routes`.
#[must_use]
pub(crate) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

/// `1,234,567`.
#[must_use]
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1.5 MiB`.
#[must_use]
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(plain(text), expected);
    }

    #[test]
    fn nothing_that_steers_a_terminal_gets_through() {
        check("/api/ü?x=1", "/api/ü?x=1");
        check("\x1b[2J\x07", "\\x1b[2J\\x07");
        check("a\r\nb\tc\u{7f}", "a\\r\\nb\\tc\\x7f");
        check("\u{9b}31m", "\\x9b31m");
        check("\u{202e}gpj.exe", "\\u{202e}gpj.exe");
        assert_eq!(plain_lines("a\n\tb\x1b\r\nc"), "a\n\tb\\x1b\nc");
        assert_eq!(plain_in_place("a\x1b\tb"), "a\u{fffd}\tb");
    }

    #[test]
    fn json_means_the_same_after_escaping() {
        let value = serde_json::json!({ "a": "\u{9b}2J\u{1b}\u{e0001}", "b": ["\u{202e}"] });
        for text in [json_line(&value), json_page(&value)] {
            assert!(text.chars().all(|c| c == '\n' || !is_active(c)), "{text}");
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        }
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!([grouped(0), grouped(999), grouped(1000), grouped(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([size(0), size(1023), size(1536), size(5 << 30)], ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]);
        assert_eq!([count(1, "route", "routes"), count(2, "route", "routes")], ["1 route", "2 routes"]);
    }
}
