//! The chunked transfer coding (RFC 9112 section 7.1), decoded strictly and in constant memory.

use crate::Fault;
use crate::grammar::is_value;
use crate::headers::Headers;
use crate::parse::{HeadLimits, HeadParser};

/// The most bytes of extensions on one chunk's line, the first semicolon with them. Nobody reads them; they are dropped.
const MAX_EXTENSION: u16 = 256;
/// The bytes of extensions that a body may have in all: a body of nothing but extensions is an attack.
const MAX_EXTENSIONS: u64 = 16 * 1024;
/// The most hexadecimal digits of a size.
const MAX_DIGITS: u8 = 16;
/// How large a trailer section may be.
const TRAILER: HeadLimits = HeadLimits { start_line: 0, fields: 8 * 1024, count: 64 };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size { size: u64, digits: u8 },
    Extension { size: u64, bytes: u16 },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    Trailer,
    Done,
}

/// What the bytes at hand mean.
#[derive(Debug)]
pub enum ChunkStep {
    /// Drop so many bytes of framing; then so many are data.
    Data { framing: usize, data: usize },
    /// Drop so many bytes; more is needed.
    More { framing: usize },
    /// Drop so many bytes; the body has ended, with these trailers.
    End { framing: usize, trailers: Option<Box<Headers>> },
}

/// See the module.
#[derive(Debug)]
pub struct ChunkedDecoder {
    state: State,
    extensions: u64,
}

impl Default for ChunkedDecoder {
    fn default() -> Self {
        Self { state: State::Size { size: 0, digits: 0 }, extensions: 0 }
    }
}

impl ChunkedDecoder {
    /// Looks at what is there.
    ///
    /// # Errors
    ///
    /// [`Fault::Chunk`] and [`Fault::Trailer`], at the first byte that breaks the syntax.
    pub fn decode(&mut self, bytes: &[u8]) -> Result<ChunkStep, Fault> {
        let mut at = 0;
        loop {
            if let State::Data { left } = self.state {
                let data = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - at);
                return Ok(if data > 0 {
                    ChunkStep::Data { framing: at, data }
                } else {
                    ChunkStep::More { framing: at }
                });
            }
            if self.state == State::Trailer {
                return self.trailer(bytes, at);
            }
            if self.state == State::Done {
                return Ok(ChunkStep::End { framing: at, trailers: None });
            }
            let Some(&byte) = bytes.get(at) else { return Ok(ChunkStep::More { framing: at }) };
            at += 1;
            self.state = self.framing_byte(byte)?;
        }
    }

    fn framing_byte(&mut self, byte: u8) -> Result<State, Fault> {
        Ok(match (self.state, byte) {
            (State::Size { size, digits }, _) if byte.is_ascii_hexdigit() && digits < MAX_DIGITS => {
                let digit = u64::from((byte as char).to_digit(16).unwrap_or_default());
                State::Size { size: size << 4 | digit, digits: digits + 1 }
            }
            (State::Size { size, digits: 1.. }, b'\r') => State::SizeLf { size },
            (State::Size { size, digits: 1.. }, b';') => State::Extension { size, bytes: 1 },
            (State::Extension { size, bytes }, b'\r') => {
                self.extensions += u64::from(bytes);
                if self.extensions > MAX_EXTENSIONS {
                    return Err(Fault::Chunk);
                }
                State::SizeLf { size }
            }
            (State::Extension { size, bytes }, _) if is_value(byte) && bytes < MAX_EXTENSION => {
                State::Extension { size, bytes: bytes + 1 }
            }
            (State::SizeLf { size: 0 }, b'\n') => State::Trailer,
            (State::SizeLf { size }, b'\n') => State::Data { left: size },
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { size: 0, digits: 0 },
            _ => return Err(Fault::Chunk),
        })
    }

    fn trailer(&mut self, bytes: &[u8], at: usize) -> Result<ChunkStep, Fault> {
        let section = bytes.get(at..).unwrap_or_default();
        // Without trailers, as nearly always.
        if section.starts_with(b"\r\n") {
            self.state = State::Done;
            return Ok(ChunkStep::End { framing: at + 2, trailers: None });
        }
        let parsed = HeadParser::trailer().parse(section, &TRAILER).map_err(|_| Fault::Trailer)?;
        let Some(parsed) = parsed else { return Ok(ChunkStep::More { framing: at }) };
        self.state = State::Done;
        let text = section.get(..parsed.end).unwrap_or_default().to_vec();
        let trailers = Headers::parsed(text, parsed.lines, parsed.present);
        Ok(ChunkStep::End { framing: at + parsed.end, trailers: Some(Box::new(trailers)) })
    }

    /// So many bytes of data were used.
    pub fn consume(&mut self, bytes: usize) {
        if let State::Data { left } = self.state {
            let left = left.saturating_sub(bytes as u64);
            self.state = if left == 0 { State::DataCr } else { State::Data { left } };
        }
    }

    /// Whether the whole coding was seen, with its last empty line.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }
}

#[cfg(test)]
mod tests;
