//! Heads from bytes: a start line and field lines, once, in order, each line as soon as it is there. What does not fit the
//! grammar is refused at the first byte that breaks it.

use crate::grammar::{Fault, is_token, name_length, target_length, token_length, value_length};
use crate::headers::{Line, bit};
use crate::name::{self, OTHER_FORWARDED};
use crate::{Version, buffer};

/// How large a head may be. All in bytes but the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// The start line, without its CRLF.
    pub start_line: usize,
    /// All field lines with their CRLFs.
    pub fields: usize,
    /// Field lines.
    pub count: usize,
}

impl HeadLimits {
    /// The most bytes that a head within the limits takes.
    #[must_use]
    pub fn most(&self) -> usize {
        self.start_line + self.fields + 4
    }
}

/// The longest method.
const MAX_METHOD: usize = 64;

/// A start line, by its places in the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartLine {
    /// Ends of the method and of the target, which begins a byte behind the method.
    Request { method_end: u32, target_end: u32, version: Version },
    /// The reason's end; it begins at byte 13, where there is one.
    Status { status: u16, reason_end: u32, version: Version },
}

/// What kind of message is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Request,
    Response,
    /// Fields only.
    Trailer,
}

/// A parser that goes on where it stopped: bytes of a line that is there whole are looked at once, those of a line that
/// is still coming once more each time more of it came.
#[derive(Debug)]
pub struct HeadParser {
    kind: Kind,
    start: Option<StartLine>,
    /// Where the next line begins.
    next: usize,
    fields_start: usize,
    lines: Vec<Line>,
    present: u64,
}

/// A head that is whole.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) start: Option<StartLine>,
    pub(crate) lines: Vec<Line>,
    pub(crate) present: u64,
    /// Behind the empty line.
    pub(crate) end: usize,
}

impl HeadParser {
    /// For requests.
    #[must_use]
    pub fn request() -> Self {
        Self::new(Kind::Request)
    }

    /// For responses.
    #[must_use]
    pub fn response() -> Self {
        Self::new(Kind::Response)
    }

    pub(crate) fn trailer() -> Self {
        Self::new(Kind::Trailer)
    }

    fn new(kind: Kind) -> Self {
        Self { kind, start: None, next: 0, fields_start: 0, lines: Vec::new(), present: 0 }
    }

    /// Whether nothing of a head was seen yet.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.next == 0 && self.start.is_none()
    }

    /// Goes on with `bytes`, the whole of what came since the head's first byte; none while more is needed. When a head was
    /// given, the parser is ready for the next.
    pub(crate) fn parse(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Option<Parsed>, Fault> {
        if self.start.is_none() && self.kind != Kind::Trailer {
            // What stands behind the limit is not looked at: the same bytes get the same answer in however many pieces
            // they come.
            let most = limits.start_line + 2;
            let line = bytes.get(..most).unwrap_or(bytes);
            let parsed = match self.kind {
                Kind::Request => request_line(line),
                Kind::Response | Kind::Trailer => status_line(line),
            };
            let Some((start, length)) = parsed? else {
                return if line.len() == most { Err(Fault::StartLineTooLong) } else { Ok(None) };
            };
            self.start = Some(start);
            self.next = length;
            self.fields_start = length;
        }
        // Nor here.
        let most = self.fields_start + limits.fields + 2;
        let bytes = bytes.get(..most).unwrap_or(bytes);
        if self.lines.capacity() == 0 {
            self.lines = buffer::take_lines();
        }
        loop {
            let step = field_line(bytes, self.next)?;
            match step {
                Step::Line(line) => {
                    self.next = line.end as usize;
                    if self.next - self.fields_start > limits.fields {
                        return Err(Fault::FieldsTooLarge);
                    }
                    if self.lines.len() >= limits.count {
                        return Err(Fault::TooManyFields);
                    }
                    if line.number != 0 {
                        self.present |= bit(line.number);
                    }
                    self.lines.push(line);
                }
                Step::End(end) => {
                    self.next = 0;
                    self.fields_start = 0;
                    let lines = std::mem::take(&mut self.lines);
                    let present = std::mem::take(&mut self.present);
                    return Ok(Some(Parsed { start: self.start.take(), lines, present, end }));
                }
                Step::More if bytes.len() == most => return Err(Fault::FieldsTooLarge),
                Step::More => return Ok(None),
            }
        }
    }
}

impl Drop for HeadParser {
    fn drop(&mut self) {
        buffer::give_lines(std::mem::take(&mut self.lines));
    }
}

/// Whether the CRLF stands at `at`: none while it is still coming.
fn line_end(bytes: &[u8], at: usize, otherwise: Fault) -> Result<Option<usize>, Fault> {
    match (bytes.get(at), bytes.get(at + 1)) {
        (None, _) | (Some(b'\r'), None) => Ok(None),
        (Some(b'\r'), Some(b'\n')) => Ok(Some(at + 2)),
        (Some(b'\r'), Some(_)) => Err(Fault::BareCr),
        (Some(b'\n'), _) => Err(Fault::BareLf),
        (Some(_), _) => Err(otherwise),
    }
}

/// `HTTP/1.1`, or what there is of it.
fn version(bytes: &[u8]) -> Result<Option<Version>, Fault> {
    const BEGIN: &[u8] = b"HTTP/1.";
    let Some(minor) = bytes.get(BEGIN.len()) else {
        return if BEGIN.starts_with(bytes) { Ok(None) } else { Err(Fault::Version) };
    };
    match (bytes.starts_with(BEGIN), minor) {
        (true, b'1') => Ok(Some(Version::Http11)),
        (true, b'0') => Ok(Some(Version::Http10)),
        _ => Err(Fault::Version),
    }
}

fn request_line(bytes: &[u8]) -> Result<Option<(StartLine, usize)>, Fault> {
    let method_end = token_length(bytes);
    if method_end > MAX_METHOD {
        return Err(Fault::Method);
    }
    match bytes.get(method_end) {
        None => return Ok(None),
        Some(b' ') if method_end > 0 => {}
        Some(b'\n') => return Err(Fault::BareLf),
        Some(_) => return Err(if method_end == 0 { Fault::Method } else { Fault::RequestLine }),
    }
    let target_start = method_end + 1;
    let target = bytes.get(target_start..).unwrap_or_default();
    let target_end = target_start + target_length(target);
    match bytes.get(target_end) {
        None => return Ok(None),
        Some(b' ') if target_end > target_start => {}
        // A line of HTTP/0.9.
        Some(b'\r' | b'\n') => return Err(Fault::RequestLine),
        Some(_) => return Err(Fault::Target),
    }
    let after = target_end + 1;
    let Some(version) = version(bytes.get(after..).unwrap_or_default())? else { return Ok(None) };
    let Some(end) = line_end(bytes, after + 8, Fault::RequestLine)? else { return Ok(None) };
    let start = StartLine::Request { method_end: method_end as u32, target_end: target_end as u32, version };
    Ok(Some((start, end)))
}

fn status_line(bytes: &[u8]) -> Result<Option<(StartLine, usize)>, Fault> {
    let Some(version) = version(bytes)? else { return Ok(None) };
    let mut status = 0;
    for (at, &byte) in bytes.iter().enumerate().take(12).skip(8) {
        match (at, byte) {
            (8, b' ') => {}
            (9, b'1'..=b'9') | (10 | 11, b'0'..=b'9') => status = status * 10 + u16::from(byte - b'0'),
            _ => return Err(Fault::StatusLine),
        }
    }
    let reason_end = match bytes.get(12) {
        None => return Ok(None),
        // The space is owed even where no reason follows; what leaves it out is understood all the same.
        Some(b'\r' | b'\n') => 12,
        Some(b' ') => 13 + value_length(bytes.get(13..).unwrap_or_default()),
        Some(_) => return Err(Fault::StatusLine),
    };
    let Some(end) = line_end(bytes, reason_end, Fault::StatusLine)? else { return Ok(None) };
    Ok(Some((StartLine::Status { status, reason_end: reason_end as u32, version }, end)))
}

enum Step {
    Line(Line),
    /// The empty line, and what stands behind it.
    End(usize),
    More,
}

fn field_line(bytes: &[u8], start: usize) -> Result<Step, Fault> {
    let rest = bytes.get(start..).unwrap_or_default();
    let name_length = name_length(rest);
    match rest.get(name_length) {
        None => {
            // A byte that cannot be part of a name is told at once.
            return if token_length(rest) == rest.len() { Ok(Step::More) } else { Err(Fault::FieldName) };
        }
        Some(b':') if name_length > 0 => {}
        Some(_) => return no_name(bytes, start),
    }
    let name = rest.get(..name_length).unwrap_or_default();
    let number = name::number(name);
    // A numbered name is a token; of the family only the beginning is known.
    if matches!(number, 0 | OTHER_FORWARDED) && token_length(name) != name_length {
        return Err(Fault::FieldName);
    }
    let raw_start = start + name_length + 1;
    let raw_end = raw_start + value_length(bytes.get(raw_start..).unwrap_or_default());
    let Some(end) = line_end(bytes, raw_end, Fault::FieldValue)? else { return Ok(Step::More) };
    let raw = bytes.get(raw_start..raw_end).unwrap_or_default();
    let (length, with_trail) = trim_blanks(raw);
    let value_start = raw_end - with_trail;
    Ok(Step::Line(Line {
        start: start as u32,
        name_end: (start + name_length) as u32,
        value_start: value_start as u32,
        value_end: (value_start + length) as u32,
        end: end as u32,
        number,
    }))
}

/// The length without blanks on either side, and with those behind it.
fn trim_blanks(mut value: &[u8]) -> (usize, usize) {
    // As nearly every line has it: one space, then the value.
    if let [b' ', inner @ ..] = value
        && let [b'!'..=0xff, .., b'!'..=0xff] | [b'!'..=0xff] = inner
    {
        return (inner.len(), inner.len());
    }
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    let with_trail = value.len();
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    (value.len(), with_trail)
}

/// What a line is that does not begin with a name and a colon: the empty line, or a fault.
#[cold]
fn odd_line(bytes: &[u8], start: usize) -> Result<Step, Fault> {
    let rest = bytes.get(start..).unwrap_or_default();
    let name_length = token_length(rest);
    match rest.get(name_length) {
        Some(b'\n') => Err(Fault::BareLf),
        Some(b' ' | b'\t') if name_length == 0 => Err(Fault::Fold),
        Some(b' ' | b'\t') => Err(Fault::SpaceBeforeColon),
        Some(_) | None => Err(Fault::FieldName),
    }
}

fn no_name(bytes: &[u8], start: usize) -> Result<Step, Fault> {
    match bytes.get(start..) {
        Some([b'\r', ..]) => Ok(line_end(bytes, start, Fault::FieldName)?.map_or(Step::More, Step::End)),
        Some(_) | None => odd_line(bytes, start),
    }
}

/// Whether these bytes are a token (RFC 9110 section 5.6.2).
pub(crate) fn is_token_text(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token(byte))
}

#[cfg(test)]
mod tests;
