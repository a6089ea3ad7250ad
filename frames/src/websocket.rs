//! Where the frames of a WebSocket begin and end (RFC 6455 section 5.2), in one direction of a tunnel: so that a frame of
//! ours can be put between two of theirs. A control frame may stand between the fragments of a message (section 5.4).
//!
//! The payload is never looked at, and masking is not judged: who must mask depends on the direction.

/// The most bytes of payload of a control frame (RFC 6455 section 5.5).
const MOST_OF_CONTROL: u8 = 125;

const FIN: u8 = 0x80;
/// Belongs to the compression of messages (RFC 7692 section 6).
const RSV1: u8 = 0x40;
/// Belong to no extension that is registered.
const RSV2_RSV3: u8 = 0x30;
const MASKED: u8 = 0x80;

/// Opcodes (RFC 6455 section 5.2).
const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Tracker {
    /// The present frame's header as far as it has come, up to its length.
    header: [u8; 10],
    have: u8,
    /// What is left of the present frame behind that: the mask and the payload.
    left: u64,
    /// Whether a message's last fragment is still to come.
    open: bool,
    closed: bool,
    broken: bool,
}

impl Tracker {
    /// Bytes pass.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.broken {
            let used = self.step(bytes);
            bytes = bytes.get(used..).unwrap_or_default();
        }
    }

    /// Whether a frame may be put in here: between two of theirs. Behind a Close nobody reads it ([`Self::closed`]).
    pub fn at_boundary(&self) -> bool {
        !self.broken && self.have == 0 && self.left == 0
    }

    /// Whether a Close frame has begun (section 5.5.1).
    pub fn closed(&self) -> bool {
        self.closed
    }

    /// Whether a header came that cannot be. Where frames begin is then unknown for good, and nothing may be put in.
    pub fn broken(&self) -> bool {
        self.broken
    }

    /// How many of these bytes, were they fed now, would end at a boundary, the first that is met: none of them, where
    /// one is here already. None: they do not reach one.
    pub fn split_at_boundary(&self, bytes: &[u8]) -> Option<usize> {
        let mut ahead = self.clone();
        let mut at = 0;
        while !ahead.at_boundary() {
            let rest = bytes.get(at..).filter(|rest| !rest.is_empty() && !ahead.broken)?;
            at += ahead.step(rest);
        }
        Some(at)
    }

    /// Goes on to the end of a header's byte, of a frame, or of the bytes, and tells how many were used.
    fn step(&mut self, bytes: &[u8]) -> usize {
        if self.left > 0 {
            let used = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.left -= used as u64;
            return used;
        }
        if let (Some(to), Some(from)) = (self.header.get_mut(usize::from(self.have)), bytes.first()) {
            *to = *from;
            self.have += 1;
        }
        self.header_grew();
        1
    }

    /// Looks at a header that is one byte longer: ends it where its length is known.
    fn header_grew(&mut self) {
        let [first, second, rest @ ..] = self.header;
        match self.have {
            1 => self.broken = !self.may_begin(first),
            2 if first & 0x8 != 0 && second & !MASKED > MOST_OF_CONTROL => self.broken = true,
            2 if second & !MASKED < 126 => self.header_ended(u64::from(second & !MASKED)),
            4 if second & !MASKED == 126 => {
                let [high, low, ..] = rest;
                let length = u16::from_be_bytes([high, low]);
                // The shortest spelling must be used.
                self.broken = length < 126;
                self.header_ended(u64::from(length));
            }
            10 => {
                let length = u64::from_be_bytes(rest);
                self.broken = length >> 63 != 0 || u16::try_from(length).is_ok();
                self.header_ended(length);
            }
            _ => {}
        }
    }

    /// Whether a frame may begin with this byte: FIN, reserved bits, opcode.
    fn may_begin(&self, first: u8) -> bool {
        let opcode = first & 0xf;
        let fits = match opcode {
            // Fragments of two messages do not mix (section 5.4).
            CONTINUATION => self.open,
            TEXT | BINARY => !self.open,
            // Control frames are neither fragmented (section 5.5) nor compressed (RFC 7692 section 6.1).
            CLOSE | PING | PONG => first & (FIN | RSV1) == FIN,
            _ => false,
        };
        fits && first & RSV2_RSV3 == 0
    }

    fn header_ended(&mut self, length: u64) {
        if self.broken {
            return;
        }
        let [first, second, ..] = self.header;
        let mask = if second & MASKED != 0 { 4 } else { 0 };
        // The highest bit is none, so this does not overflow.
        self.left = length + mask;
        self.have = 0;
        match first & 0xf {
            CONTINUATION | TEXT | BINARY => self.open = first & FIN == 0,
            opcode => self.closed |= opcode == CLOSE,
        }
    }
}

/// Writes a Close frame (RFC 6455 sections 5.5.1, 7.4): masked, where it goes to a server. What of the reason does not fit
/// into a control frame is cut off, between two characters.
pub fn close_frame(code: u16, reason: &str, mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    let reason = reason.get(..reason.floor_char_boundary(usize::from(MOST_OF_CONTROL) - 2)).unwrap_or_default();
    let payload = code.to_be_bytes().into_iter().chain(reason.bytes());
    let length = reason.len() as u8 + 2;
    out.push(FIN | CLOSE);
    match mask {
        None => {
            out.push(length);
            out.extend(payload);
        }
        Some(mask) => {
            out.push(MASKED | length);
            out.extend_from_slice(&mask);
            out.extend(payload.zip(mask.into_iter().cycle()).map(|(byte, mask)| byte ^ mask));
        }
    }
}

#[cfg(test)]
mod tests;
