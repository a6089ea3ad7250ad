//! What is told of a request's attempts: entries one after the other, in our own words and configured addresses. Bounded, and
//! nothing is allocated before there is something to tell.

use std::fmt::{self, Write};

/// Bytes of the whole text, at most.
const LONGEST_BYTES: usize = 512;

/// Stands for what found no room.
const CUT: char = '…';

/// Adds words, after `between` where there are some already. What is full stays as it is.
pub(super) fn add(text: &mut String, between: &str, words: fmt::Arguments<'_>) {
    if text.ends_with(CUT) {
        return;
    }
    let between = if text.is_empty() { "" } else { between };
    // The one error there is says that it is full.
    let _ = Bounded(text).write_fmt(format_args!("{between}{words}"));
}

struct Bounded<'a>(&'a mut String);

impl Write for Bounded<'_> {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        if self.0.len() + part.len() <= LONGEST_BYTES {
            self.0.push_str(part);
            return Ok(());
        }
        let most = LONGEST_BYTES - CUT.len_utf8();
        let fits = part.floor_char_boundary(most.saturating_sub(self.0.len()));
        self.0.push_str(part.get(..fits).unwrap_or_default());
        self.0.truncate(self.0.floor_char_boundary(most));
        self.0.push(CUT);
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(parts: &[(&str, &str)], expected: &str) {
        let mut text = String::new();
        for (between, words) in parts {
            add(&mut text, between, format_args!("{words}"));
        }
        assert_eq!(text, expected);
    }

    #[test]
    fn entries_follow_each_other() {
        check(&[(", ", "127.0.0.1:8001 connect")], "127.0.0.1:8001 connect");
        check(&[("; ", "not retried: unsafe")], "not retried: unsafe");
        check(
            &[(", ", "127.0.0.1:8001 connect"), (", ", "127.0.0.1:8002 503"), ("; ", "not retried: unsafe")],
            "127.0.0.1:8001 connect, 127.0.0.1:8002 503; not retried: unsafe",
        );
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        let [full, fuller, cut] =
            [LONGEST_BYTES, LONGEST_BYTES + 1, LONGEST_BYTES - CUT.len_utf8()].map(|bytes| "x".repeat(bytes));
        check(&[(", ", &full)], &full);
        check(&[(", ", &fuller)], &format!("{cut}…"));
        check(&[(", ", &full), (", ", "y")], &format!("{cut}…"));
        check(&[(", ", &full), (", ", "y"), ("; ", "z")], &format!("{cut}…"));
        // 509 bytes are 254 letters of two, and one byte that has no room for another.
        check(&[(", ", &"ä".repeat(300))], &format!("{}…", "ä".repeat(254)));
        check(&[(", ", &"ä".repeat(256)), (", ", "y")], &format!("{}…", "ä".repeat(254)));
        check(&[(", ", &cut), (", ", "y")], &format!("{cut}, y"));
    }

    #[test]
    fn nothing_is_allocated_for_nothing() {
        let mut text = String::new();
        add(&mut text, ", ", format_args!(""));
        assert_eq!(text.capacity(), 0);
    }
}
