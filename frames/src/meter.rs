//! Frames of HTTP/2 (RFC 9113 section 4.1), counted as they pass a connection in one direction, whatever pieces they
//! come in; and a judge of how many of them a client may send.
//!
//! It reads headers and error codes and checks nothing: whoever speaks HTTP/2 on the connection does that.

mod flood;

pub use flood::{Budget, Flood, FloodKind, FloodLimits};

/// Frame types (RFC 9113 section 6; RFC 9218 section 7.1).
pub mod kind {
    pub const DATA: u8 = 0x0;
    pub const HEADERS: u8 = 0x1;
    pub const PRIORITY: u8 = 0x2;
    pub const RST_STREAM: u8 = 0x3;
    pub const SETTINGS: u8 = 0x4;
    pub const PUSH_PROMISE: u8 = 0x5;
    pub const PING: u8 = 0x6;
    pub const GOAWAY: u8 = 0x7;
    pub const WINDOW_UPDATE: u8 = 0x8;
    pub const CONTINUATION: u8 = 0x9;
    pub const PRIORITY_UPDATE: u8 = 0x10;
}

/// Flags (RFC 9113 section 6): what they mean depends on the frame's type.
pub mod flag {
    /// Of DATA and HEADERS.
    pub const END_STREAM: u8 = 0x1;
    /// Of SETTINGS and PING.
    pub const ACK: u8 = 0x1;
    /// Of HEADERS, `PUSH_PROMISE` and CONTINUATION.
    pub const END_HEADERS: u8 = 0x4;
}

/// What a client sends first (RFC 9113 section 3.4): so many bytes.
const PREFACE: u8 = 24;
/// A frame's header (RFC 9113 section 4.1).
const HEADER: usize = 9;

/// A frame that has begun to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    /// Of the payload.
    pub length: u32,
    pub stream: u32,
    /// The error code of `RST_STREAM` and GOAWAY; none where the frame is too short to hold one.
    pub code: Option<u32>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct FrameMeter {
    /// Bytes that are passed over before the next one is looked at: the preface, what is left of a payload.
    skip: u32,
    /// The present frame's header; then, of those that hold an error code, the payload up to its end.
    held: [u8; HEADER],
    have: u8,
    /// The frame whose error code is still to come, and the bytes of payload up to its end.
    pending: Option<(Frame, u8)>,
}

impl FrameMeter {
    /// `preface_expected`: whether the direction begins with a client's preface. Its bytes are passed over unread.
    pub fn new(preface_expected: bool) -> Self {
        let skip = if preface_expected { u32::from(PREFACE) } else { 0 };
        Self { skip, held: [0; HEADER], have: 0, pending: None }
    }

    /// Bytes pass. `seen` is told of each frame once: when its header is complete, or its error code where it has one.
    pub fn feed(&mut self, mut bytes: &[u8], mut seen: impl FnMut(Frame)) {
        loop {
            let skip = bytes.len().min(self.skip as usize);
            self.skip -= skip as u32;
            bytes = bytes.get(skip..).unwrap_or_default();
            if bytes.is_empty() {
                return;
            }
            let wanted = self.pending.map_or(HEADER, |(_, wanted)| usize::from(wanted));
            let room = self.held.get_mut(usize::from(self.have)..wanted).unwrap_or_default();
            let taken = room.len().min(bytes.len());
            let (now, later) = bytes.split_at(taken);
            room.iter_mut().zip(now).for_each(|(to, from)| *to = *from);
            bytes = later;
            self.have += taken as u8;
            if usize::from(self.have) == wanted {
                self.have = 0;
                self.held_all(&mut seen);
            }
        }
    }

    /// What was waited for is there: a header, or the payload up to the end of an error code.
    fn held_all(&mut self, seen: &mut impl FnMut(Frame)) {
        if let Some((frame, read)) = self.pending.take() {
            let code = self.held.get(..usize::from(read)).and_then(<[u8]>::last_chunk).copied();
            self.skip = frame.length - u32::from(read);
            seen(Frame { code: code.map(u32::from_be_bytes), ..frame });
            return;
        }
        let [high, middle, low, kind, flags, stream @ ..] = self.held;
        let length = u32::from_be_bytes([0, high, middle, low]);
        // The highest bit is reserved, and to be ignored.
        let stream = u32::from_be_bytes(stream) & 0x7fff_ffff;
        let frame = Frame { kind, flags, length, stream, code: None };
        let code_ends = match kind {
            kind::RST_STREAM => 4,
            // Behind the last stream's number.
            kind::GOAWAY => 8,
            _ => 0,
        };
        if code_ends > 0 && length >= u32::from(code_ends) {
            self.pending = Some((frame, code_ends));
        } else {
            self.skip = length;
            seen(frame);
        }
    }
}

/// The name of an error code (RFC 9113 section 7).
pub fn code_name(code: u32) -> &'static str {
    match code {
        0x0 => "NO_ERROR",
        0x1 => "PROTOCOL_ERROR",
        0x2 => "INTERNAL_ERROR",
        0x3 => "FLOW_CONTROL_ERROR",
        0x4 => "SETTINGS_TIMEOUT",
        0x5 => "STREAM_CLOSED",
        0x6 => "FRAME_SIZE_ERROR",
        0x7 => "REFUSED_STREAM",
        0x8 => "CANCEL",
        0x9 => "COMPRESSION_ERROR",
        0xa => "CONNECT_ERROR",
        0xb => "ENHANCE_YOUR_CALM",
        0xc => "INADEQUATE_SECURITY",
        0xd => "HTTP_1_1_REQUIRED",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests;
