//! Where mistakes are collected while a config is read: each with its place, all in one run, bounded in number.

use std::collections::HashMap;
use std::sync::Arc;

use super::excerpt;
use super::problem::{Code, Problem, Problems, Severity};
use super::tree::{Place, Texts};
use super::{Origin, Source};

/// How many errors, and how many warnings, are told one by one.
const MAX_TOLD: usize = 100;

/// What is wrong, before it is known where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: Code,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Fault {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    /// A value of the right type that cannot be.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidValue, message)
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

struct Noted {
    place: Place,
    path: String,
    severity: Severity,
    fault: Fault,
}

/// The collector. It holds no source: places become lines when it is closed.
#[derive(Default)]
pub(super) struct Reporter {
    noted: Vec<Noted>,
    errors: usize,
    warnings: usize,
}

impl Reporter {
    /// Notes an error that belongs to no config path.
    pub(super) fn error(&mut self, place: Place, fault: Fault) {
        self.note(Severity::Error, place, String::new, fault);
    }

    /// Notes a mistake; the path is only made when it will be told.
    pub(super) fn note(&mut self, severity: Severity, place: Place, path: impl FnOnce() -> String, fault: Fault) {
        let count = match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        *count += 1;
        if *count <= MAX_TOLD {
            self.noted.push(Noted { place, path: path(), severity, fault });
        }
    }

    /// Whether a further error would only be counted.
    pub(super) fn is_full(&self) -> bool {
        self.errors >= MAX_TOLD
    }

    pub(super) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// All problems, in the order of the sources.
    pub(super) fn close(mut self, texts: &Texts) -> Problems {
        self.noted.sort_by_key(|noted| (noted.place.text, noted.place.line, noted.place.column));
        let mut lines: HashMap<u32, Lines> = HashMap::new();
        let mut problems: Vec<Problem> = Vec::with_capacity(self.noted.len() + 2);
        for noted in self.noted {
            let origin = texts.origin(noted.place);
            let excerpt = texts.quotable(noted.place).filter(|_| noted.place.line > 0).and_then(|text| {
                let lines = lines.entry(noted.place.text).or_insert_with(|| Lines::of(text));
                excerpt::around(&|line| lines.get(line), noted.place)
            });
            problems.push(Problem {
                code: noted.fault.code,
                severity: noted.severity,
                path: noted.path,
                line: origin.line,
                column: origin.column,
                origin: show_origin(&origin),
                message: noted.fault.message,
                hint: noted.fault.hint,
                excerpt,
            });
        }
        for (severity, count) in [(Severity::Error, self.errors), (Severity::Warning, self.warnings)] {
            if count > MAX_TOLD {
                problems.push(more(severity, count - MAX_TOLD));
            }
        }
        Problems(problems)
    }
}

fn show_origin(origin: &Origin) -> String {
    if let (Source::File(name), 0) = (&origin.source, origin.line) { name.to_string() } else { origin.to_string() }
}

fn more(severity: Severity, count: usize) -> Problem {
    let what = match (severity, count) {
        (Severity::Error, 1) => "error",
        (Severity::Error, _) => "errors",
        (Severity::Warning, 1) => "warning",
        (Severity::Warning, _) => "warnings",
    };
    Problem {
        code: Code::More,
        severity,
        path: String::new(),
        origin: String::new(),
        line: 0,
        column: 0,
        message: format!("and {count} more {what}"),
        hint: None,
        excerpt: None,
    }
}

/// The starts of a text's lines, found once per text that has a problem.
struct Lines {
    text: Arc<str>,
    starts: Vec<usize>,
}

impl Lines {
    fn of(text: &Arc<str>) -> Self {
        let starts = std::iter::once(0).chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1)).collect();
        Self { text: Arc::clone(text), starts }
    }

    /// The line numbered from 1, without its end.
    fn get(&self, line: u32) -> Option<&str> {
        let index = (line as usize).checked_sub(1)?;
        let start = *self.starts.get(index)?;
        let end = self.starts.get(index + 1).map_or(self.text.len(), |next| next - 1);
        self.text.get(start..end).map(|line| line.strip_suffix('\r').unwrap_or(line))
    }
}
