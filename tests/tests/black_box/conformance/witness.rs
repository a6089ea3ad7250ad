//! The upstream of the tables: it keeps each request byte for byte and answers as the case says. It reads framing by itself
//! and by the letter, so that what proxyd sends is judged by nobody's leniency.

use std::sync::{Arc, Mutex};

use tests::{Conn, Upstream, Wire, eventually};

use super::case::Answer;

/// A message as it came.
#[derive(Clone, Debug, Default)]
pub(super) struct Message {
    /// Start line and fields, with the empty line.
    pub(super) head: Vec<u8>,
    /// Everything, byte for byte.
    pub(super) raw: Vec<u8>,
    /// Without its framing.
    pub(super) body: Vec<u8>,
    /// Whether it ended as its framing says.
    pub(super) whole: bool,
    /// On which connection.
    pub(super) connection: usize,
}

/// The path of the request that asks whether a connection goes on.
pub(super) const PROBE: &str = "/another-request";

/// The path of a request of our own, sent past proxyd.
const LAST: &str = "/the-last";

#[derive(Default)]
struct Notes {
    answer: Option<Answer>,
    seen: Vec<Message>,
}

/// See the module.
pub(super) struct Witness {
    pub(super) upstream: Upstream,
    notes: Arc<Mutex<Notes>>,
}

impl Witness {
    pub(super) fn new() -> Self {
        let notes = Arc::new(Mutex::new(Notes::default()));
        let shared = Arc::clone(&notes);
        let upstream = Upstream::scripted(move |conn| play(conn, &shared));
        Self { upstream, notes }
    }

    /// Answers so from now on.
    pub(super) fn answers(&self, answer: &Answer) {
        self.notes.lock().unwrap().answer = Some(answer.clone());
    }

    /// Waits until everything that was sent here was seen: no connection is left.
    #[track_caller]
    pub(super) fn settle(&self) {
        // Connections are accepted in their order: once this one is answered, those before it are counted.
        let mut last = Wire::connect(self.upstream.address());
        last.send(format!("GET {LAST} HTTP/1.1\r\n\r\n"));
        assert!(last.head().is_some(), "the upstream of the table is there");
        drop(last);
        eventually("no connection to the upstream is left", || {
            (self.upstream.closed() == self.upstream.connections()).then_some(())
        });
    }

    /// What came since this was last asked.
    pub(super) fn seen(&self) -> Vec<Message> {
        std::mem::take(&mut self.notes.lock().unwrap().seen)
    }
}

fn play(conn: &mut Conn, notes: &Mutex<Notes>) {
    conn.wire.keep();
    while let Some(message) = request(conn) {
        let asks = |path: &str| message.head.starts_with(format!("GET {path} HTTP/1.1\r\n").as_bytes());
        if asks(LAST) {
            conn.send("HTTP/1.1 204 Seen\r\n\r\n");
            return;
        }
        let is_probe = asks(PROBE);
        let whole = message.whole;
        let answer = {
            let mut notes = notes.lock().unwrap();
            notes.seen.push(message);
            notes.answer.clone()
        };
        // Behind a probe no connection is left over for the next case.
        let answer = if is_probe {
            let bytes = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nagain".to_vec();
            Answer { bytes, closes: true }
        } else {
            answer.expect("a case is under way")
        };
        if !whole {
            return;
        }
        conn.send(&answer.bytes);
        if answer.closes {
            return;
        }
    }
}

/// The next request; one whose framing is none is kept as not whole.
fn request(conn: &mut Conn) -> Option<Message> {
    let head = conn.request_head()?.head;
    let field = |name: &str| {
        let lines = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        lines
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim_matches([' ', '\t']).to_owned())
            .collect::<Vec<_>>()
    };
    let body = match (&*field("content-length"), &*field("transfer-encoding")) {
        ([], []) => conn.wire.sized(0),
        ([length], []) if !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit()) => {
            conn.wire.sized(length.parse().unwrap_or(0))
        }
        ([], [coding]) if coding == "chunked" => conn.wire.chunked(),
        _ => tests::wire::Body::default(),
    };
    let raw = conn.wire.used();
    let end = raw.windows(4).position(|window| window == b"\r\n\r\n").map_or(raw.len(), |end| end + 4);
    let head = raw[..end].to_vec();
    Some(Message { head, raw, body: body.bytes, whole: body.whole, connection: conn.index })
}
