//! Why an attempt failed, as far as a config speaks of it; and sets of such causes.

use std::borrow::Cow;
use std::fmt;

use super::field::Kind;
use super::fields::Fields;
use super::problem::Code;
use super::reader::closest;
use super::report::Fault;
use super::statuses::{self, Statuses};

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// No connection came about: refused, out of time, no TLS, no address.
    Connect,
    /// The endpoint said that it has not begun to work on the request.
    RefusedStream,
    /// The connection broke before an answer.
    Reset,
    /// No answer in time.
    Timeout,
    /// The answer is not HTTP.
    Protocol,
    /// No endpoint may be chosen.
    Unavailable,
    /// The endpoint answered with this status.
    Status(u16),
}

impl Cause {
    /// The word that configs and reports have for it.
    #[must_use]
    pub fn word(self) -> Cow<'static, str> {
        match self {
            Self::Connect => "connect".into(),
            Self::RefusedStream => "refused_stream".into(),
            Self::Reset => "reset".into(),
            Self::Timeout => "timeout".into(),
            Self::Protocol => "protocol".into(),
            Self::Unavailable => "unavailable".into(),
            Self::Status(status) => status.to_string().into(),
        }
    }
}

/// A set of causes.
#[allow(clippy::struct_excessive_bools, reason = "a set with one flag for each of its words")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Causes {
    pub connect: bool,
    pub refused_stream: bool,
    pub reset: bool,
    pub timeout: bool,
    pub protocol: bool,
    pub unavailable: bool,
    pub statuses: Statuses,
}

impl Causes {
    /// No cause at all.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            connect: false,
            refused_stream: false,
            reset: false,
            timeout: false,
            protocol: false,
            unavailable: false,
            statuses: Statuses::none(),
        }
    }

    #[must_use]
    pub fn holds(&self, cause: Cause) -> bool {
        match cause {
            Cause::Connect => self.connect,
            Cause::RefusedStream => self.refused_stream,
            Cause::Reset => self.reset,
            Cause::Timeout => self.timeout,
            Cause::Protocol => self.protocol,
            Cause::Unavailable => self.unavailable,
            Cause::Status(status) => self.statuses.contains(status),
        }
    }

    fn flag(&mut self, word: &str) -> Option<&mut bool> {
        Some(match word {
            "connect" => &mut self.connect,
            "refused_stream" => &mut self.refused_stream,
            "reset" => &mut self.reset,
            "timeout" => &mut self.timeout,
            "protocol" => &mut self.protocol,
            "unavailable" => &mut self.unavailable,
            _ => return None,
        })
    }
}

impl fmt::Display for Causes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = [
            (self.connect, Cause::Connect),
            (self.refused_stream, Cause::RefusedStream),
            (self.reset, Cause::Reset),
            (self.timeout, Cause::Timeout),
            (self.protocol, Cause::Protocol),
            (self.unavailable, Cause::Unavailable),
        ];
        let mut between = "";
        for (_, cause) in flags.into_iter().filter(|(holds, _)| *holds) {
            write!(f, "{between}{}", cause.word())?;
            between = ", ";
        }
        if !self.statuses.is_empty() {
            write!(f, "{between}{}", self.statuses)?;
        }
        Ok(())
    }
}

/// The words that an attempt may end with.
const OF_ATTEMPTS: &[&str] = &["connect", "refused_stream", "reset", "timeout", "protocol"];
/// How one cause of a repeated attempt is written.
pub(super) const RETRIED: Kind = Kind::OneOrMany(&Kind::Word {
    what: "`connect`, `refused_stream`, `reset`, `timeout`, `protocol`, a status such as `503` or a range such as `500-599`",
    sample: "connect",
});
/// How one cause of a fallback is written.
pub(super) const FALLEN_BACK: Kind = Kind::OneOrMany(&Kind::Word {
    what: "`connect`, `refused_stream`, `reset`, `timeout`, `protocol`, `unavailable`, a status such as `503` or a range such as `500-599`",
    sample: "connect",
});

/// Reads the causes under `on`, or the default; `unavailable` is a cause only where `of_requests`.
pub(super) fn read(fields: &mut Fields<'_, '_>, of_requests: bool) -> Option<Causes> {
    let mut causes = Causes::none();
    let found = fields.items("on", |reader, node, kind| {
        reader.parse(node, kind, |text| match causes.flag(text) {
            Some(_) if text == "unavailable" && !of_requests => {
                Err(Fault::invalid("where no endpoint may be chosen, another attempt finds none either")
                    .hint("say what becomes of such requests with `fallback: {on: unavailable, …}` on a route or at the top level"))
            }
            Some(flag) => {
                *flag = true;
                Ok(None)
            }
            None => status_or_fault(text, of_requests).map(Some),
        })
    })?;
    causes.statuses = Statuses::new(found.iter().flatten().copied().collect());
    if found.is_empty() {
        fields.fault("on", Fault::invalid("no cause is named here").hint("on: [connect, reset, 502, 503, 504]"));
        return None;
    }
    Some(causes)
}

fn status_or_fault(text: &str, of_requests: bool) -> Result<(u16, u16), Fault> {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return statuses::range(text, 400);
    }
    let last: &[&str] = if of_requests { &["unavailable"] } else { &[] };
    let words: Vec<&str> = OF_ATTEMPTS.iter().chain(last).copied().collect();
    let fault = Fault::new(Code::InvalidValue, "this is not a cause of failure");
    Err(match closest(text, words.iter().copied()) {
        Some(near) => fault.hint(format!("did you mean `{near}`?")),
        None => {
            fault.hint(format!("known are {}, statuses such as `503` and ranges such as `500-599`", words.join(", ")))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_named() {
        let causes = Causes { connect: true, statuses: Statuses::new(vec![(500, 599)]), ..Causes::none() };
        assert!(causes.holds(Cause::Connect) && causes.holds(Cause::Status(503)));
        assert!(!causes.holds(Cause::Reset) && !causes.holds(Cause::Status(404)));
        assert_eq!(causes.to_string(), "connect, 500-599");
        assert_eq!(Causes::none().to_string(), "");
    }

    #[test]
    fn every_word_is_its_cause() {
        let all =
            [Cause::Connect, Cause::RefusedStream, Cause::Reset, Cause::Timeout, Cause::Protocol, Cause::Unavailable];
        for cause in all {
            let mut causes = Causes::none();
            *causes.flag(&cause.word()).unwrap() = true;
            assert_eq!(all.into_iter().filter(|one| causes.holds(*one)).collect::<Vec<_>>(), [cause]);
            assert_eq!(causes.to_string(), cause.word());
        }
        assert_eq!(Cause::Status(502).word(), "502");
    }
}
