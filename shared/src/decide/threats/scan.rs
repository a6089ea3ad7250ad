//! Which parts of a request are looked at, in which form, and by which rules. Ordinary ones cost a look at each octet: a rule's
//! expressions run only over texts that hold what all its finds hold.

use super::agents::is_scanner;
use super::decode::{Room, has_escape, without_comments};
use super::patterns::{encoded_dots, of};
use super::{Judgement, Rule, Scores, Trace};

/// Octets that are looked at, at most, of each of these: the path with the query, what attacks come in beside them (`User-Agent`
/// and cookies), and all other headers, so that none hides another. As much as `server.limits` lets in where nothing is said.
const MOST_BYTES: usize = 32 * 1024;

/// Other header lines that are looked at, at most.
const MOST_HEADERS: usize = 128;

/// What is looked at beside headers.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// As it came.
    pub raw_path: &'a str,
    /// Normalised.
    pub path: &'a str,
    /// Without the question mark.
    pub query: &'a str,
}

/// What the rules find in a request. Headers come as names with their values; those that carry credentials are passed
/// over.
pub fn judge<'a>(
    scores: &Scores,
    facts: &Facts<'_>,
    headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> Judgement {
    let mut looking = Looking::new(scores);
    let mut target = Budget::of(MOST_BYTES);
    looking.text(target.take(facts.raw_path.as_bytes()), Place::Path);
    if facts.path != facts.raw_path {
        // The same path: what there was room for as it came has room here.
        let mut again = Budget::of(MOST_BYTES);
        looking.text(again.take(facts.path.as_bytes()), Place::Path);
        target.is_short |= again.is_short;
    }
    for parameter in split(target.take(facts.query.as_bytes()), b'&') {
        looking.parameter(parameter);
    }
    let (mut first, mut others, mut lines) = (Budget::of(MOST_BYTES), Budget::of(MOST_BYTES), 0);
    for (name, value) in headers {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("cookie") {
            split(first.take(value), b';').for_each(|cookie| looking.parameter(cookie.trim_ascii()));
        } else if is("user-agent") {
            let value = first.take(value);
            if is_scanner(value) {
                looking.find(Rule::ScannerAgent, Trace::Clear);
            }
            looking.text(value, Place::Header);
        } else if !is("authorization") && !is("proxy-authorization") {
            lines += 1;
            if lines > MOST_HEADERS {
                others.left = 0;
            }
            looking.text(others.take(value), Place::Header);
        }
    }
    let is_partial = [target, first, others].iter().any(|room| room.is_short);
    Judgement { is_partial, ..looking.judgement() }
}

/// How much more is looked at.
struct Budget {
    left: usize,
    /// There was more.
    is_short: bool,
}

impl Budget {
    fn of(left: usize) -> Self {
        Self { left, is_short: false }
    }

    /// The beginning of a text, as far as there is room.
    fn take<'a>(&mut self, text: &'a [u8]) -> &'a [u8] {
        let taken = text.get(..self.left).unwrap_or(text);
        self.left -= taken.len();
        self.is_short |= taken.len() < text.len();
        taken
    }
}

fn split(text: &[u8], at: u8) -> impl Iterator<Item = &[u8]> {
    text.split(move |octet| *octet == at).filter(|part| !part.is_empty())
}

/// Where a text stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Path,
    /// A name or a value of the query or of a cookie.
    Parameter,
    Header,
}

/// Classes of octets, as a set.
type Classes = u32;

const QUOTE: Classes = 1;
const DOUBLE_QUOTE: Classes = 1 << 1;
const TICK: Classes = 1 << 2;
const ANGLE: Classes = 1 << 3;
const PAREN: Classes = 1 << 4;
const BRACE: Classes = 1 << 5;
/// What stands before a brace or a parenthesis of a template.
const SIGIL: Classes = 1 << 6;
const SEMICOLON: Classes = 1 << 7;
const PIPE: Classes = 1 << 8;
const BLANK: Classes = 1 << 9;
const BREAK: Classes = 1 << 10;
const NULL: Classes = 1 << 11;
const DOT: Classes = 1 << 12;
const SLASH: Classes = 1 << 13;
const COLON: Classes = 1 << 14;
const PERCENT: Classes = 1 << 15;

const DIGIT: Classes = 1 << 16;
const EQUALS: Classes = 1 << 17;
const DASH: Classes = 1 << 18;

/// Classes that mean nothing alone.
const PLAIN: Classes = DIGIT | EQUALS | DASH;
const BACKSLASH: Classes = SLASH | QUOTE;

/// The classes, by octet.
#[expect(clippy::indexing_slicing, reason = "evaluated at compile time, where going past the end is an error")]
static CLASSES: [Classes; 256] = {
    let mut classes = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        classes[octet] = match octet as u8 {
            b'\'' => QUOTE,
            b'"' => DOUBLE_QUOTE,
            b'`' => TICK,
            // And 0xEF, with which full-width characters begin in UTF-8.
            b'<' | b'>' | 0xEF => ANGLE,
            b'(' => PAREN,
            b'{' => BRACE,
            b'$' | b'#' | b'@' => SIGIL,
            b';' => SEMICOLON,
            b'|' | b'&' => PIPE,
            // And 0xA0 of Latin-1: see `without_comments`.
            b' ' | b'\t' | b'+' | b'*' | 0x0B | 0x0C | 0xA0 => BLANK,
            b'\n' | b'\r' => BREAK | BLANK,
            0 => NULL | BLANK,
            b'.' => DOT,
            b'/' => SLASH,
            b'\\' => BACKSLASH,
            b':' => COLON,
            b'%' => PERCENT,
            b'0'..=b'9' => DIGIT,
            b'=' | b',' => EQUALS,
            b'-' => DASH,
            // UTF-8 that is too long, and that has CR and LF for its low octets.
            0xC0 | 0xC1 | 0xE0 => DOT | SLASH,
            0xE5 => BREAK,
            _ => 0,
        };
        octet += 1;
    }
    classes
};

#[expect(clippy::indexing_slicing, reason = "a table of 256 entries has one for every octet")]
fn classes(text: &[u8]) -> Classes {
    text.iter().fold(0, |classes, octet| classes | CLASSES[*octet as usize])
}

/// The shortest SQL of words alone that says something: `union select a from b`.
const WORDS_OF_SQL: usize = 20;

/// The rules that look at a text of these classes: each where a text has what all its patterns have.
fn rules(place: Place, classes: Classes, text: &[u8]) -> impl Iterator<Item = Rule> {
    let has = |any: Classes| classes & any != 0;
    let parameter = place == Place::Parameter;
    // Headers have parentheses, colons and semicolons of their own: there only what stands out is looked at.
    let other = place != Place::Header;
    let sql = has(QUOTE)
        || other && has(DOUBLE_QUOTE | TICK | PAREN | SEMICOLON | PIPE | SIGIL)
        || other && has(BLANK) && (has(DIGIT | EQUALS) || text.len() >= WORDS_OF_SQL);
    let script = has(ANGLE) || other && has(QUOTE | DOUBLE_QUOTE | TICK | COLON | PAREN | SEMICOLON);
    let command = has(TICK | PIPE | BRACE)
        || has(SIGIL) && has(PAREN)
        || other && has(QUOTE | SEMICOLON | SIGIL | PAREN | ANGLE | BREAK)
        || other && has(BLANK) && has(SLASH | DASH);
    let looks = [
        (Rule::Traversal, has(SLASH) && (has_two_dots(classes, text) || parameter && starts_absolute(text))),
        (Rule::SqlInjection, sql),
        (Rule::CrossSiteScripting, script),
        (Rule::CommandInjection, command),
        (Rule::TemplateInjection, has(BRACE) || other && (has(ANGLE | SIGIL) || text.starts_with(b"class."))),
        (Rule::HeaderInjection, has(BREAK)),
        (Rule::NullByte, has(NULL)),
        (Rule::ProtocolWrapper, other && has(COLON | ANGLE) || parameter && may_be_inner(classes, text)),
    ];
    looks.into_iter().filter(|(_, looks)| *looks).map(|(rule, _)| rule)
}

/// Whether a value may be the address of a cloud's metadata, without a scheme.
fn may_be_inner(classes: Classes, text: &[u8]) -> bool {
    classes & DOT != 0 && classes & (SLASH | SIGIL) != 0
        || matches!(text, [b'0'..=b'2' | b'[' | b'm' | b'M' | b'i' | b'I' | b' ', ..]) && classes & (DOT | DASH) != 0
}

fn has_two_dots(classes: Classes, text: &[u8]) -> bool {
    let twice = |at: usize| text.get(at + 1) == Some(&b'.');
    classes & DOT != 0
        && (memchr::memchr_iter(b'.', text).any(twice) || memchr::memchr3(0xC0, 0xC1, 0xE0, text).is_some())
}

/// Whether a value names a file by its whole path.
fn starts_absolute(text: &[u8]) -> bool {
    matches!(text, [b'/' | b'\\', ..] | [_, b':', b'/' | b'\\', ..]) || text.starts_with(b"file:")
}

/// A look at a request, so far.
struct Looking<'s> {
    scores: &'s Scores,
    traces: [Trace; Rule::ALL.len()],
}

impl<'s> Looking<'s> {
    fn new(scores: &'s Scores) -> Self {
        Self { scores, traces: [Trace::None; Rule::ALL.len()] }
    }

    /// `name=value`: each by itself.
    fn parameter(&mut self, parameter: &[u8]) {
        match memchr::memchr(b'=', parameter) {
            Some(at) => {
                self.text(parameter.get(..at).unwrap_or_default(), Place::Parameter);
                self.text(parameter.get(at + 1..).unwrap_or_default(), Place::Parameter);
                if classes(parameter.get(..at).unwrap_or_default()) & (QUOTE | PERCENT | BLANK | PAREN) != 0 {
                    // A text with an equals sign of its own.
                    self.text(parameter, Place::Parameter);
                }
            }
            None => self.text(parameter, Place::Parameter),
        }
    }

    /// As it came, decoded once, and once more.
    fn text(&mut self, text: &[u8], place: Place) {
        let seen = classes(text);
        if seen & !PLAIN == 0 {
            return;
        }
        let plus = place == Place::Parameter && seen & BLANK != 0 && text.contains(&b'+');
        let is_encoded = seen & PERCENT != 0 && has_escape(text);
        if !is_encoded && !plus {
            return self.plain(text, seen, place);
        }
        if is_encoded {
            self.find(Rule::Traversal, encoded_dots().trace(text));
        }
        let mut room = Room::new();
        let once = room.decode(text, plus);
        self.plain(once, classes(once), place);
        if has_escape(once) {
            let mut room = Room::new();
            let twice = room.decode(once, false);
            self.plain(twice, classes(twice), place);
        }
    }

    /// A text in one of its forms.
    fn plain(&mut self, text: &[u8], seen: Classes, place: Place) {
        for rule in rules(place, seen, text) {
            self.look(rule, text);
            if rule == Rule::SqlInjection
                && seen & (SLASH | BREAK | BLANK) != 0
                && let Some(text) = without_comments(text)
            {
                self.look(rule, &text);
            }
        }
    }

    fn look(&mut self, rule: Rule, text: &[u8]) {
        let known = self.traces.get(rule as usize).copied().unwrap_or_default();
        if known == Trace::Clear || self.scores.score(rule) == 0 {
            return;
        }
        if let Some(patterns) = of(rule) {
            self.find(rule, patterns.trace(text));
        }
    }

    fn find(&mut self, rule: Rule, trace: Trace) {
        if let Some(known) = self.traces.get_mut(rule as usize) {
            *known = trace.max(*known);
        }
    }

    fn judgement(self) -> Judgement {
        let mut judgement = Judgement::default();
        for (rule, trace) in Rule::ALL.into_iter().zip(self.traces) {
            judgement.add(rule, trace, self.scores.score(rule));
        }
        judgement
    }
}
