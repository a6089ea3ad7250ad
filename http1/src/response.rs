//! A response's head.

use std::fmt;

use http::StatusCode;

use crate::headers::Headers;
use crate::parse::{HeadLimits, HeadParser, StartLine};
use crate::wire::Head;
use crate::{Fault, Version};

/// Status, reason and fields.
#[derive(Clone)]
pub struct ResponseHead {
    headers: Headers,
    version: Version,
    status: u16,
    /// Where the reason ends in the fields' text, in a head that came.
    reason_end: u32,
}

/// Where a reason begins in a status line.
const REASON_START: usize = 13;

impl ResponseHead {
    /// An answer made here. A status out of range (100 to 999) becomes 500.
    #[must_use]
    pub fn new(status: u16) -> Self {
        let status = if (100..=999).contains(&status) { status } else { 500 };
        Self { headers: Headers::new(), version: Version::Http11, status, reason_end: 0 }
    }

    /// The same, of a message that came in this version.
    #[must_use]
    pub fn with_version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The reason phrase that came, else the registered one.
    fn reason(&self) -> &[u8] {
        if self.reason_end > 0 {
            return self.headers.source().get(REASON_START..self.reason_end as usize).unwrap_or_default();
        }
        StatusCode::from_u16(self.status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or_default()
            .as_bytes()
    }

    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    pub fn headers_mut(&mut self) -> &mut Headers {
        &mut self.headers
    }

    /// Appends the head as HTTP/1.1 up to the last field line: framing lines and the empty line are still owed.
    pub fn write(&self, out: &mut Vec<u8>) {
        let digit = |value: u16| b'0' + (value % 10) as u8;
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(&[digit(self.status / 100), digit(self.status / 10), digit(self.status), b' ']);
        out.extend_from_slice(self.reason());
        out.extend_from_slice(b"\r\n");
        self.headers.write(out);
    }
}

impl fmt::Debug for ResponseHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseHead")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

impl Head for ResponseHead {
    fn parser() -> HeadParser {
        HeadParser::response()
    }

    fn of(start: Option<StartLine>, headers: Headers) -> Result<Self, Fault> {
        match start {
            Some(StartLine::Status { status, reason_end, version }) => {
                Ok(Self { headers, version, status, reason_end })
            }
            Some(StartLine::Request { .. }) | None => Err(Fault::StatusLine),
        }
    }
}

impl ResponseHead {
    /// The head that `bytes` begin with, and its length; none where it is not whole.
    ///
    /// # Errors
    ///
    /// The first [`Fault`].
    pub fn parse(bytes: &[u8], limits: &HeadLimits) -> Result<Option<(Self, usize)>, Fault> {
        crate::wire::parse_whole(bytes, limits)
    }
}
