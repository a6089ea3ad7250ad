//! Problems for people: what happened, where, and what to do, with the source line and a marker under it.

use std::fmt::Write as _;

use super::problem::{Code, Problem, Problems, Severity};

const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[1;33m";
const BLUE: &str = "\x1b[1;34m";
const PLAIN: &str = "\x1b[0m";

impl Problems {
    /// All problems as text for people, one block each, with an empty line between two.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let blocks: Vec<String> = self.0.iter().map(|problem| problem.render(colour)).collect();
        blocks.join("\n")
    }
}

impl Problem {
    /// This problem as text for people: a few lines, each with its end.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let paint = |style: &str, text: &str| if colour { format!("{style}{text}{PLAIN}") } else { text.to_owned() };
        let (word, style) = match self.severity {
            Severity::Error => ("error", RED),
            Severity::Warning => ("warning", YELLOW),
        };
        if self.code == Code::More {
            return format!("{}: {}\n", paint(style, word), visible(&self.message));
        }
        let gutter = self.line.to_string().len();
        let bar = paint(BLUE, "|");
        let mut text = format!(
            "{}: {}\n",
            paint(style, &format!("{word}[{}]", self.code.as_str())),
            paint(BOLD, &visible(&self.message))
        );
        let path = if self.path.is_empty() { String::new() } else { format!(" ({})", visible(&self.path)) };
        let _ = writeln!(text, "{:gutter$}{} {}{path}", "", paint(BLUE, "-->"), visible(&self.origin));
        if let Some(excerpt) = &self.excerpt {
            let pad = " ".repeat(excerpt.start);
            let marker = paint(style, &"^".repeat(excerpt.length.max(1)));
            let _ = writeln!(text, "{:gutter$} {bar}", "");
            let _ = writeln!(text, "{} {bar} {}", paint(BLUE, &self.line.to_string()), visible(&excerpt.line_text));
            let _ = writeln!(text, "{:gutter$} {bar} {pad}{marker}", "");
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "{:gutter$} {} {}: {}", "", paint(BLUE, "="), paint(BOLD, "hint"), visible(hint));
        }
        text
    }
}

/// Control characters, such as a terminal's escape sequences, do not get through.
fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
