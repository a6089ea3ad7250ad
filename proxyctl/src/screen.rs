//! The one place that writes: answers to standard output, problems and remarks to standard error.

use std::io::{self, IsTerminal, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use shared::config::Problem;

use crate::cli::Format;
use crate::failure::Failure;
use crate::render::problems;
use crate::render::text::{self, json_line, json_page};

/// How things are made to look.
#[derive(Clone, Debug)]
pub struct Look {
    pub format: Format,
    pub colour: bool,
    /// Columns of the terminal; none: as wide as it takes.
    pub width: Option<u16>,
    pub now: Timestamp,
    pub zone: TimeZone,
}

impl Look {
    /// Fit for wherever this process's output goes.
    #[must_use]
    pub fn of_process(format: Format) -> Self {
        let terminal = io::stdout().is_terminal();
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let width = terminal.then(terminal_size::terminal_size).flatten().map(|(width, _)| width.0);
        Self { format, colour: terminal && wanted, width, now: Timestamp::now(), zone: TimeZone::system() }
    }
}

/// Where output goes.
pub struct Screen<'a> {
    pub look: Look,
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    /// Whether standard error may be coloured.
    err_colour: bool,
}

impl<'a> Screen<'a> {
    /// A screen of two streams.
    pub fn new(look: Look, out: &'a mut dyn Write, err: &'a mut dyn Write) -> Self {
        let err_colour =
            io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { look, out, err, err_colour }
    }

    /// Text that is ready to be shown; it ends with a line end or gets one.
    pub fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.out.write_all(text.as_bytes())?;
        if !text.is_empty() && !text.ends_with('\n') {
            self.out.write_all(b"\n")?;
        }
        Ok(self.out.flush()?)
    }

    /// One document of `--output json`.
    pub fn page(&mut self, value: &Value) -> Result<(), Failure> {
        self.text(&json_page(value))
    }

    /// One line of `--output json` where rows stream.
    pub fn line(&mut self, value: &Value) -> Result<(), Failure> {
        self.text(&json_line(value))
    }

    /// A remark beside the answer. Whoever does not listen misses nothing that matters.
    pub fn remark(&mut self, remark: &str) {
        let _ = writeln!(self.err, "{}", text::plain_lines(remark));
    }

    /// A question, on whose line the answer is typed.
    pub fn prompt(&mut self, question: &str) {
        let _ = write!(self.err, "{question}").and_then(|()| self.err.flush());
    }

    /// Errors and warnings of a config.
    pub fn problems(&mut self, problems: &[Problem]) {
        let _ = self.err.write_all(problems::report(problems, self.err_colour).as_bytes());
    }

    /// The last words of a run that failed.
    pub fn failure(&mut self, failure: &Failure) {
        let Failure::Told { error, hint } = failure else { return };
        if self.look.format == Format::Json {
            let mut value = json!({ "error": error });
            if let (Some(hint), Some(object)) = (hint, value.get_mut("error").and_then(Value::as_object_mut)) {
                object.insert("hint".to_owned(), Value::String(hint.clone()));
            }
            let _ = writeln!(self.err, "{}", json_line(&value));
            return;
        }
        if !error.problems.is_empty() {
            self.problems(&error.problems);
        }
        let mark = text::paint("error:", text::RED, self.err_colour);
        let _ = writeln!(self.err, "{mark} {}", text::plain_lines(&error.message));
        if let Some(hint) = hint {
            let _ = writeln!(self.err, "  {}", text::plain_lines(hint));
        }
        if !error.audited {
            self.remark("note: the audit store cannot be written; the record of this is kept aside until it can");
        }
    }
}
