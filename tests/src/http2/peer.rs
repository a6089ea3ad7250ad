//! One side of a connection of HTTP/2, and what came on it.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::wait::PATIENCE;

use super::{Frame, PREFACE, flag, frame, get_fields, headers, kind, settings, window_update};

/// Fields in their order.
pub type Fields = Vec<(String, String)>;

/// What came on a stream.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// Every field block, in order: interim heads, the head, trailer fields.
    pub blocks: Vec<Fields>,
    pub body: Vec<u8>,
    /// Whether the sender has ended it.
    pub ended: bool,
    /// With which code it was reset.
    pub reset: Option<u32>,
}

impl Message {
    fn is_final(block: &Fields) -> bool {
        block.iter().any(|(name, value)| name == ":status" && !value.starts_with('1'))
    }

    /// The final head of an answer.
    pub fn head(&self) -> Option<&Fields> {
        self.blocks.iter().find(|block| Self::is_final(block))
    }

    /// The status of an answer; 0 where none came.
    pub fn status(&self) -> u16 {
        self.head().and_then(|head| get(head, ":status")).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// A field of the answer's head.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head().and_then(|head| get(head, name))
    }

    /// The field blocks after the answer's head.
    pub fn trailers(&self) -> Option<&Fields> {
        let head = self.blocks.iter().position(Self::is_final)?;
        self.blocks.get(head + 1)
    }

    /// The interim answers.
    pub fn interim(&self) -> Vec<&Fields> {
        self.blocks.iter().take_while(|block| !Self::is_final(block)).collect()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether nothing more comes.
    pub fn is_over(&self) -> bool {
        self.ended || self.reset.is_some()
    }
}

/// The value of a field; several fail the test.
#[track_caller]
pub fn get<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    let mut all = fields.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let first = all.next();
    assert_eq!(all.next(), None, "{name} came several times: {fields:?}");
    first
}

/// One side of a connection.
pub struct Http2 {
    stream: TcpStream,
    unread: Vec<u8>,
    decoder: fluke_hpack::Decoder<'static>,
    /// A field block that goes on: its stream, whether it ends that, what came of it.
    open: Option<(u32, bool, Vec<u8>)>,
    /// What came, by stream.
    pub messages: BTreeMap<u32, Message>,
    /// The other side's settings, once they came.
    pub settings: Option<BTreeMap<u16, u32>>,
    /// How often it has confirmed ours.
    pub confirmed: usize,
    /// The last stream and the code of its GOAWAY frames.
    pub goaways: Vec<(u32, u32)>,
    /// The payloads of the answers to our PINGs.
    pub pongs: Vec<Vec<u8>>,
    /// Whether it has ended the connection.
    pub closed: bool,
    /// How much more may be sent on the connection (RFC 9113 section 6.9.1).
    pub room: i64,
    /// How much more was allowed for each stream than at its beginning.
    pub given: BTreeMap<u32, i64>,
    /// Whether room is given again for what was read, on the connection and on the stream.
    pub gives_room: bool,
    /// Whether SETTINGS and PING are answered.
    pub answers: bool,
}

impl std::fmt::Debug for Http2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http2")
            .field("messages", &self.messages)
            .field("goaways", &self.goaways)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

impl Http2 {
    /// Neither preface nor SETTINGS are sent yet.
    pub fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream.set_nodelay(true).expect("nodelay can be set");
        Self {
            stream,
            unread: Vec::new(),
            decoder: fluke_hpack::Decoder::new(),
            open: None,
            messages: BTreeMap::new(),
            settings: None,
            confirmed: 0,
            goaways: Vec::new(),
            pongs: Vec::new(),
            closed: false,
            room: 65_535,
            given: BTreeMap::new(),
            gives_room: true,
            answers: true,
        }
    }

    /// A client that knows that HTTP/2 is spoken.
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Self {
        Self::client(TcpStream::connect_timeout(&address, PATIENCE).expect("a connection"))
    }

    /// A client over this connection: preface and empty SETTINGS are sent.
    pub fn client(stream: TcpStream) -> Self {
        let mut client = Self::over(stream);
        client.send([PREFACE, &settings(&[])].concat());
        client
    }

    /// A server over this connection with these settings: it has read the preface. None where that did not come.
    pub fn server(stream: TcpStream, values: &[(u16, u32)]) -> Option<Self> {
        let mut server = Self::over(stream);
        while server.unread.len() < PREFACE.len() {
            if !server.more() {
                return None;
            }
        }
        let rest = server.unread.split_off(PREFACE.len());
        if std::mem::replace(&mut server.unread, rest) != PREFACE {
            return None;
        }
        server.send(settings(values));
        Some(server)
    }

    /// Writes these bytes; false where the other side is gone.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// The connection beneath.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends the head of a request or an answer.
    pub fn head(&mut self, stream: u32, fields: &[(&str, &str)], ends: bool) -> bool {
        self.send(headers(stream, fields, ends))
    }

    /// Sends a piece of a body.
    pub fn data(&mut self, stream: u32, bytes: impl AsRef<[u8]>, ends: bool) -> bool {
        self.room -= bytes.as_ref().len() as i64;
        self.send(frame(kind::DATA, u8::from(ends), stream, bytes))
    }

    /// Sends a whole request without a body and waits for its whole answer.
    #[track_caller]
    pub fn get(&mut self, stream: u32, path: &str) -> Message {
        self.head(stream, &get_fields(path), true);
        self.whole(stream)
    }

    /// What came on a stream so far.
    pub fn message(&self, stream: u32) -> Message {
        self.messages.get(&stream).cloned().unwrap_or_default()
    }

    /// Waits for the end of what comes on a stream: its own, or the connection's.
    #[track_caller]
    pub fn whole(&mut self, stream: u32) -> Message {
        self.until(|all| all.messages.get(&stream).is_some_and(Message::is_over));
        self.message(stream)
    }

    /// Reads until this holds; false where the connection ends before.
    #[track_caller]
    pub fn until(&mut self, holds: impl Fn(&Self) -> bool) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < deadline, "waited in vain: {self:?}");
            if self.read().is_none() {
                return holds(self);
            }
        }
        true
    }

    /// Reads whatever comes within so much time.
    pub fn read_for(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            self.stream.set_read_timeout(Some(left)).expect("a timeout can be set");
            let read = self.try_read();
            self.stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
            if !matches!(read, Ok(Some(_))) {
                return;
            }
        }
    }

    /// Reads to the end of the connection.
    #[track_caller]
    pub fn rest(&mut self) {
        while self.read().is_some() {}
    }

    /// The next frame, once what it means has been noted; none at the end of the connection.
    #[track_caller]
    pub fn read(&mut self) -> Option<Frame> {
        self.try_read().unwrap_or_else(|()| panic!("the peer says nothing for {PATIENCE:?}: {self:?}"))
    }

    fn try_read(&mut self) -> Result<Option<Frame>, ()> {
        let whole = |unread: &[u8]| {
            let [high, middle, low, ..] = *unread else { return None };
            let length = 9 + u32::from_be_bytes([0, high, middle, low]) as usize;
            (unread.len() >= length).then_some(length)
        };
        let length = loop {
            if let Some(length) = whole(&self.unread) {
                break length;
            }
            match self.fill() {
                Ok(true) => {}
                Ok(false) => {
                    self.closed = true;
                    return Ok(None);
                }
                Err(()) => return Err(()),
            }
        };
        let rest = self.unread.split_off(length);
        let bytes = std::mem::replace(&mut self.unread, rest);
        let [_, _, _, kind, flags, a, b, c, d, ..] = *bytes else { return Ok(None) };
        let stream = u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff;
        let frame = Frame { kind, flags, stream, payload: bytes.get(9..).unwrap_or_default().to_vec() };
        self.note(&frame);
        Ok(Some(frame))
    }

    fn more(&mut self) -> bool {
        self.fill().unwrap_or(false)
    }

    /// Reads once; false at the end. An error: nothing came in time.
    fn fill(&mut self) -> Result<bool, ()> {
        let mut room = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut room) {
                Ok(0) => return Ok(false),
                Ok(read) => {
                    self.unread.extend_from_slice(room.get(..read).unwrap_or_default());
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Err(()),
                Err(_) => return Ok(false),
            }
        }
    }

    fn note(&mut self, frame: &Frame) {
        match frame.kind {
            kind::DATA => {
                let padding = if frame.has(flag::PADDED) { frame.payload.first().copied().unwrap_or(0) } else { 0 };
                let start = usize::from(frame.has(flag::PADDED));
                let end = frame.payload.len().saturating_sub(usize::from(padding));
                let message = self.messages.entry(frame.stream).or_default();
                message.body.extend_from_slice(frame.payload.get(start..end).unwrap_or_default());
                message.ended |= frame.has(flag::END_STREAM);
                let read = frame.payload.len() as u32;
                if self.gives_room && read > 0 {
                    self.send([window_update(0, read), window_update(frame.stream, read)].concat());
                }
            }
            kind::HEADERS => {
                assert!(!frame.has(flag::PADDED | flag::PRIORITY), "not what proxyd sends: {frame:?}");
                self.field_block(frame.stream, frame.has(flag::END_STREAM), &frame.payload, frame);
            }
            kind::CONTINUATION => {
                let (stream, ends, mut begun) = self.open.take().expect("a field block goes on");
                assert_eq!(stream, frame.stream, "a field block goes on on its own stream");
                begun.extend_from_slice(&frame.payload);
                self.field_block(stream, ends, &begun, frame);
            }
            kind::RST_STREAM => self.messages.entry(frame.stream).or_default().reset = Some(frame.number(0)),
            kind::SETTINGS if frame.has(flag::ACK) => self.confirmed += 1,
            kind::SETTINGS => {
                let known = self.settings.get_or_insert_default();
                for pair in frame.payload.chunks_exact(6) {
                    if let [a, b, c, d, e, f] = *pair {
                        known.insert(u16::from_be_bytes([a, b]), u32::from_be_bytes([c, d, e, f]));
                    }
                }
                if self.answers {
                    self.send(super::frame(kind::SETTINGS, flag::ACK, 0, []));
                }
            }
            kind::PING if frame.has(flag::ACK) => self.pongs.push(frame.payload.clone()),
            kind::PING if self.answers => {
                self.send(super::frame(kind::PING, flag::ACK, 0, &frame.payload));
            }
            kind::WINDOW_UPDATE if frame.stream == 0 => self.room += i64::from(frame.number(0)),
            kind::WINDOW_UPDATE => *self.given.entry(frame.stream).or_default() += i64::from(frame.number(0)),
            kind::GOAWAY => self.goaways.push((frame.number(0), frame.number(4))),
            _ => {}
        }
    }

    fn field_block(&mut self, stream: u32, ends: bool, block: &[u8], frame: &Frame) {
        if !frame.has(flag::END_HEADERS) {
            self.open = Some((stream, ends, block.to_vec()));
            return;
        }
        let fields = self.decoder.decode(block).expect("a field block can be decoded");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let message = self.messages.entry(stream).or_default();
        message.blocks.push(fields.into_iter().map(|(name, value)| (text(name), text(value))).collect());
        message.ended |= ends;
    }
}
