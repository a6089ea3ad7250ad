//! A case: what a client sends, what an upstream answers, and what must be seen on both sides.

use std::fmt;

/// One line of a table.
pub(super) struct Case {
    /// The clause that decides, such as `RFC 9112 6.1`; or `house`, where the clause leaves it to us and
    /// docs/reference/http1.md says what we do.
    pub(super) clause: &'static str,
    pub(super) name: &'static str,
    /// By the client, on a connection of its own.
    pub(super) sends: Vec<u8>,
    /// Whether the client ends its side behind that.
    pub(super) ends: bool,
    /// By the upstream, to each request of the case.
    pub(super) answer: Answer,
    pub(super) expects: Expects,
    /// What is seen instead today: the case is owed, and the table fails once it holds, so that this goes away.
    pub(super) owed: Option<&'static str>,
}

/// What the upstream answers.
#[derive(Clone)]
pub(super) struct Answer {
    pub(super) bytes: Vec<u8>,
    /// Whether it closes behind that.
    pub(super) closes: bool,
}

/// What must be seen.
pub(super) struct Expects {
    /// The requests that reach the upstream, with what must hold for each.
    pub(super) requests: Vec<Vec<Check>>,
    /// The answers that reach the client, interim ones too, with what must hold for each.
    pub(super) answers: Vec<Vec<Check>>,
    pub(super) then: Then,
    /// Whether the upstream's connection serves again; none where that is not looked at.
    pub(super) reuses: Option<bool>,
}

/// What the client's connection does behind the last answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// It takes another request.
    Serves,
    /// It ends.
    Closes,
    /// It ends within the last answer, so that nobody takes that for whole.
    Cut,
}

/// What must hold for a message.
#[derive(Clone, Copy)]
pub(super) enum Check {
    /// A line of its head, byte for byte: the start line or a field.
    Line(&'static str),
    /// `name: value` is the only line of this name, in whatever case.
    Only(&'static str),
    /// No line of this name, in whatever case.
    Without(&'static str),
    /// It is whole, and has this body.
    Body(&'static str),
    /// The message holds these bytes somewhere.
    Holds(&'static [u8]),
    /// And these nowhere.
    Lacks(&'static [u8]),
    Status(u16),
    /// The stable code of an error of ours.
    Code(&'static str),
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "the line {line:?}"),
            Self::Only(line) => write!(f, "only {line:?} of this name"),
            Self::Without(name) => write!(f, "no {name:?}"),
            Self::Body(body) => write!(f, "whole, with the body {body:?}"),
            Self::Holds(bytes) => write!(f, "with \"{}\"", bytes.escape_ascii()),
            Self::Lacks(bytes) => write!(f, "without \"{}\"", bytes.escape_ascii()),
            Self::Status(status) => write!(f, "status {status}"),
            Self::Code(code) => write!(f, "code {code}"),
        }
    }
}

use Check::{Body, Code, Status};

pub(super) fn case(clause: &'static str, name: &'static str, sends: impl Into<Vec<u8>>, expects: Expects) -> Case {
    let answer = answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    Case { clause, name, sends: sends.into(), ends: false, answer, expects, owed: None }
}

/// A case of an answer: what comes back for a plain request.
pub(super) fn answered(clause: &'static str, name: &'static str, answer: Answer, expects: Expects) -> Case {
    Case { answer, ..case(clause, name, get("/", ""), expects) }
}

/// These bytes; the upstream waits for another request behind them.
pub(super) fn answer(bytes: impl Into<Vec<u8>>) -> Answer {
    Answer { bytes: bytes.into(), closes: false }
}

/// These bytes, and the end.
pub(super) fn last_answer(bytes: impl Into<Vec<u8>>) -> Answer {
    Answer { bytes: bytes.into(), closes: true }
}

impl Case {
    /// The upstream answers so.
    pub(super) fn to(self, answer: Answer) -> Self {
        Self { answer, ..self }
    }

    /// The client sends no more.
    pub(super) fn ended(self) -> Self {
        Self { ends: true, ..self }
    }

    /// Known not to hold: instead this is seen.
    pub(super) fn owed(self, instead: &'static str) -> Self {
        Self { owed: Some(instead), ..self }
    }

    /// So many interim answers reach the client before the last.
    pub(super) fn then_interim(mut self, count: usize) -> Self {
        self.expects.answers.splice(0..0, vec![Vec::new(); count]);
        self
    }
}

/// Answered by us and closed; nothing reaches an upstream, and nothing behind it is read as a request.
pub(super) fn refused(status: u16, code: &'static str) -> Expects {
    Expects {
        requests: Vec::new(),
        answers: vec![vec![Status(status), Code(code), Check::Only("connection: close")]],
        then: Then::Closes,
        reuses: None,
    }
}

/// Answered by us; nothing reaches an upstream, and the connection goes on.
pub(super) fn declined(status: u16, code: &'static str) -> Expects {
    let answers = vec![vec![Status(status), Code(code), Check::Without("connection")]];
    Expects { answers, then: Then::Serves, ..refused(status, code) }
}

/// Reaches the upstream as one request with these marks; both connections go on.
pub(super) fn passes(checks: &[Check]) -> Expects {
    several(&[checks])
}

/// Reach the upstream as so many requests, each with its marks.
pub(super) fn several(requests: &[&[Check]]) -> Expects {
    Expects {
        requests: requests.iter().map(|checks| checks.to_vec()).collect(),
        answers: vec![vec![Status(200), Body("ok")]; requests.len()],
        then: Then::Serves,
        reuses: None,
    }
}

/// The upstream's answer reaches the client as one with these marks; both connections go on.
pub(super) fn relays(checks: &[Check]) -> Expects {
    Expects { answers: vec![checks.to_vec()], reuses: Some(true), ..passes(&[]) }
}

/// The upstream's answer is none for the client, and its connection never serves again. The client's own goes on.
pub(super) fn bad_gateway() -> Expects {
    relays(&[Status(502), Code("upstream_protocol")]).spent()
}

impl Expects {
    /// The client's connection ends behind it, and was told so.
    pub(super) fn closes(mut self) -> Self {
        self.then = Then::Closes;
        if let Some(last) = self.answers.last_mut() {
            last.push(Check::Only("connection: close"));
        }
        self
    }

    /// The client's connection ends within it.
    pub(super) fn cut(self) -> Self {
        Self { then: Then::Cut, ..self }
    }

    /// The answers that reach the client.
    pub(super) fn told(mut self, answers: &[&[Check]]) -> Self {
        self.answers = answers.iter().map(|checks| checks.to_vec()).collect();
        self
    }

    /// The upstream's connection does not serve again.
    pub(super) fn spent(self) -> Self {
        Self { reuses: Some(false), ..self }
    }

    /// No answer: the connection ends.
    pub(super) fn unanswered(mut self) -> Self {
        self.answers.clear();
        Self { then: Then::Closes, ..self }
    }

    /// What becomes of the upstream's connection is not looked at.
    pub(super) fn unseen(self) -> Self {
        Self { reuses: None, ..self }
    }
}

/// A GET with these field lines behind `Host`.
pub(super) fn get(target: &str, lines: &str) -> Vec<u8> {
    message("GET", target, lines, "")
}

/// A POST with these field lines behind `Host`, and this body.
pub(super) fn post(lines: &str, body: &str) -> Vec<u8> {
    message("POST", "/", lines, body)
}

/// A request. Lines end with CRLF; the last of `lines` need not.
pub(super) fn message(method: &str, target: &str, lines: &str, body: &str) -> Vec<u8> {
    let end = if lines.is_empty() || lines.ends_with("\r\n") { "" } else { "\r\n" };
    format!("{method} {target} HTTP/1.1\r\nHost: h\r\n{lines}{end}\r\n{body}").into()
}
