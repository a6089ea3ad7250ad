//! A request's head.

use std::fmt;
use std::ops::Range;

use crate::headers::Headers;
use crate::parse::{HeadLimits, HeadParser, StartLine, is_token_text};
use crate::wire::Head;
use crate::{Fault, Version, buffer, grammar};

/// The form of a request's target (RFC 9112 section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// `/path?query`
    Origin,
    /// `http://host/path?query`
    Absolute,
    /// `host:port`, of `CONNECT`
    Authority,
    /// `*`, of `OPTIONS`
    Asterisk,
}

/// ` HTTP/1.1` and its CRLF.
const VERSION_AND_END: u32 = 11;

/// Method, target, version and fields.
#[derive(Clone)]
pub struct RequestHead {
    headers: Headers,
    version: Version,
    form: Target,
    method_end: u32,
    target_end: u32,
    /// Behind the scheme and `//`; empty where the target names no authority.
    authority: Range<u32>,
    /// Where the path begins, and where it ends: at `?` or at the target's end.
    path: Range<u32>,
}

impl RequestHead {
    /// A head made here, or of another engine's parts.
    ///
    /// # Errors
    ///
    /// A [`Fault`] where method or target could not stand in a request line.
    pub fn new(method: &str, target: &str, version: Version) -> Result<Self, Fault> {
        if !is_token_text(method.as_bytes()) {
            return Err(Fault::Method);
        }
        if target.is_empty() || grammar::target_length(target.as_bytes()) != target.len() {
            return Err(Fault::Target);
        }
        let mut text = buffer::take(1);
        text.extend_from_slice(method.as_bytes());
        text.push(b' ');
        text.extend_from_slice(target.as_bytes());
        let target_end = text.len() as u32;
        text.extend_from_slice(b" HTTP/1.1\r\n");
        let headers = Headers::parsed(text, buffer::take_lines(), 0);
        Self::of(headers, method.len() as u32, target_end, version)
    }

    fn of(headers: Headers, method_end: u32, target_end: u32, version: Version) -> Result<Self, Fault> {
        let start = method_end + 1;
        let text = headers.source();
        let method = text.get(..method_end as usize).unwrap_or_default();
        let target = text.get(start as usize..target_end as usize).unwrap_or_default();
        let (form, authority, path) = split_target(method, target).ok_or(Fault::Target)?;
        let place = |range: Range<usize>| start + range.start as u32..start + range.end as u32;
        let (authority, path) = (place(authority), place(path));
        Ok(Self { headers, version, form, method_end, target_end, authority, path })
    }

    fn bytes(&self, range: Range<u32>) -> &[u8] {
        self.headers.source().get(range.start as usize..range.end as usize).unwrap_or_default()
    }

    fn part(&self, range: Range<u32>) -> &str {
        // Methods and targets are ASCII.
        std::str::from_utf8(self.bytes(range)).unwrap_or_default()
    }

    #[must_use]
    pub fn method(&self) -> &str {
        self.part(0..self.method_end)
    }

    /// The target as it came.
    #[must_use]
    pub fn target(&self) -> &str {
        self.part(self.method_end + 1..self.target_end)
    }

    #[must_use]
    pub fn form(&self) -> Target {
        self.form
    }

    /// The path as it came: `*` for the asterisk form, `/` for an absolute target without one, empty for an authority.
    #[must_use]
    pub fn path(&self) -> &str {
        match self.part(self.path.clone()) {
            "" if self.form == Target::Absolute => "/",
            path => path,
        }
    }

    /// The same, unread.
    #[must_use]
    pub fn path_bytes(&self) -> &[u8] {
        match self.bytes(self.path.clone()) {
            b"" if self.form == Target::Absolute => b"/",
            path => path,
        }
    }

    /// The query as it came, without `?`; none where there is no `?`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        (self.path.end < self.target_end && self.form != Target::Authority)
            .then(|| self.part(self.path.end + 1..self.target_end))
    }

    /// The authority of an absolute-form or authority-form target.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        (!self.authority.is_empty()).then(|| self.part(self.authority.clone()))
    }

    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    pub fn headers_mut(&mut self) -> &mut Headers {
        &mut self.headers
    }

    /// Appends the head as HTTP/1.1 with this path and query (none: as they came), up to the last field line: framing lines
    /// and the empty line are still owed.
    pub fn write(&self, target: Option<&str>, out: &mut Vec<u8>) {
        match target {
            // As it came, with what stands around it.
            None if self.form == Target::Origin && self.version == Version::Http11 => {
                out.extend_from_slice(self.bytes(0..self.target_end + VERSION_AND_END));
                return self.headers.write(out);
            }
            None => {
                out.extend_from_slice(self.bytes(0..self.method_end + 1));
                out.extend_from_slice(self.path().as_bytes());
                if let Some(query) = self.query() {
                    out.push(b'?');
                    out.extend_from_slice(query.as_bytes());
                }
            }
            Some(target) => {
                out.extend_from_slice(self.bytes(0..self.method_end + 1));
                out.extend_from_slice(target.as_bytes());
            }
        }
        out.extend_from_slice(b" HTTP/1.1\r\n");
        self.headers.write(out);
    }
}

impl fmt::Debug for RequestHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", &self.method())
            .field("target", &self.target())
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

/// Form, authority and path of a target, by their places in it.
fn split_target(method: &[u8], target: &[u8]) -> Option<(Target, Range<usize>, Range<usize>)> {
    let path_from = |start: usize| {
        let query = target.iter().skip(start).position(|&byte| byte == b'?');
        start..query.map_or(target.len(), |at| start + at)
    };
    if method == b"CONNECT" {
        let plain = !target.is_empty() && !target.iter().any(|byte| matches!(byte, b'/' | b'?' | b'@'));
        return plain.then_some((Target::Authority, 0..target.len(), target.len()..target.len()));
    }
    match target {
        [b'/', ..] => Some((Target::Origin, 0..0, path_from(0))),
        b"*" => (method == b"OPTIONS").then_some((Target::Asterisk, 0..0, 0..1)),
        _ => {
            let scheme = |scheme: &[u8]| {
                let start = target.get(..scheme.len())?;
                start.eq_ignore_ascii_case(scheme).then_some(scheme.len())
            };
            let start = scheme(b"http://").or_else(|| scheme(b"https://"))?;
            let length = target.iter().skip(start).position(|byte| matches!(byte, b'/' | b'?'));
            let end = length.map_or(target.len(), |length| start + length);
            (end > start).then(|| (Target::Absolute, start..end, path_from(end)))
        }
    }
}

impl Head for RequestHead {
    fn parser() -> HeadParser {
        HeadParser::request()
    }

    fn of(start: Option<StartLine>, headers: Headers) -> Result<Self, Fault> {
        match start {
            Some(StartLine::Request { method_end, target_end, version }) => {
                Self::of(headers, method_end, target_end, version)
            }
            Some(StartLine::Status { .. }) | None => Err(Fault::RequestLine),
        }
    }
}

impl RequestHead {
    /// The head that `bytes` begin with, and its length; none where it is not whole.
    ///
    /// # Errors
    ///
    /// The first [`Fault`].
    pub fn parse(bytes: &[u8], limits: &HeadLimits) -> Result<Option<(Self, usize)>, Fault> {
        crate::wire::parse_whole(bytes, limits)
    }
}

#[cfg(test)]
mod tests;
