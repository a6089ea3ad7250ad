//! What the engine reads from bytes: whole messages, and how it ended.

use http1::{
    BodyFault, Fault, Framing, HeadError, HeadLimits, HeadParser, Headers, Incoming, Ready, Wire, persists,
    request_framing, response_framing,
};

#[path = "../../src/script.rs"]
pub(super) mod script;

use script::{Script, until_ready};

/// Larger than anything that is tried.
pub(super) const LIMITS: HeadLimits = HeadLimits { start_line: 64 * 1024, fields: 64 * 1024, count: 96 };

/// Field lines: lower-case names and values.
pub(super) type Fields = Vec<(String, Vec<u8>)>;

/// A message that came whole.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Message {
    /// Method and target, or the status; and the version.
    pub(super) start: String,
    pub(super) fields: Fields,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Fields,
}

/// Why no message follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The bytes are used up, between two messages.
    Quiet,
    /// So says the last message.
    Last,
    /// The bytes end within a message.
    Short,
    Refused(Fault),
}

/// What was read: messages, each with the place where the next begins, and the end.
pub(super) type Reading = (Vec<(Message, usize)>, End);

pub(super) fn fields(headers: &Headers) -> Fields {
    headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec())).collect()
}

/// Requests, one after the other, of bytes that come in pieces of this size (0: all at once).
pub(super) fn requests(bytes: &[u8], piece: usize) -> Reading {
    let mut wire = Wire::new(Script::coming(bytes, piece));
    let mut parser = HeadParser::request();
    let mut found = Vec::new();
    loop {
        let head = match until_ready(|cx| wire.poll_request(cx, &mut parser, &LIMITS)) {
            Ok(head) => head,
            Err(error) => return (found, end_of(&error)),
        };
        let framing = match request_framing(&head) {
            Ok(framing) => framing,
            Err(fault) => return (found, End::Refused(fault)),
        };
        let start = format!("{} {} {}", head.method(), head.target(), head.version().as_str());
        match body(&mut wire, framing) {
            Ok((body, trailers)) => {
                let message = Message { start, fields: fields(head.headers()), body, trailers };
                found.push((message, used(bytes, &wire)));
            }
            Err(end) => return (found, end),
        }
        if !persists(head.headers(), head.version()) {
            return (found, End::Last);
        }
    }
}

/// The final answer, interim ones left out, of bytes that come in pieces of this size.
pub(super) fn response(bytes: &[u8], piece: usize, to_head: bool) -> Reading {
    let mut wire = Wire::new(Script::coming(bytes, piece));
    loop {
        let mut parser = HeadParser::response();
        let head = match until_ready(|cx| wire.poll_response(cx, &mut parser, &LIMITS, 1)) {
            Ok(head) if head.status() < 200 && head.status() != 101 => continue,
            Ok(head) => head,
            Err(error) => return (Vec::new(), end_of(&error)),
        };
        let framing = match response_framing(&head, to_head) {
            Ok(framing) => framing,
            Err(fault) => return (Vec::new(), End::Refused(fault)),
        };
        let start = format!("{} {}", head.status(), head.version().as_str());
        return match body(&mut wire, framing) {
            Ok((body, trailers)) => {
                let message = Message { start, fields: fields(head.headers()), body, trailers };
                (vec![(message, used(bytes, &wire))], End::Last)
            }
            Err(end) => (Vec::new(), end),
        };
    }
}

fn used(bytes: &[u8], wire: &Wire<Script>) -> usize {
    bytes.len() - wire.stream.left() - wire.input.len()
}

fn end_of(error: &HeadError) -> End {
    match error {
        HeadError::Closed => End::Quiet,
        HeadError::ClosedEarly | HeadError::Io(_) => End::Short,
        HeadError::Malformed(fault) => End::Refused(*fault),
    }
}

/// A body of this framing, with its trailers.
pub(super) fn body(wire: &mut Wire<Script>, framing: Framing) -> Result<(Vec<u8>, Fields), End> {
    let mut incoming = Incoming::new(framing);
    let mut found = Vec::new();
    loop {
        match until_ready(|cx| incoming.poll_ready(cx, wire)) {
            Ok(Ready::Data) => {
                found.extend_from_slice(incoming.chunk(wire));
                incoming.advance(wire, usize::MAX);
            }
            Ok(Ready::End) => {
                return Ok((found, incoming.take_trailers().map(|trailers| fields(&trailers)).unwrap_or_default()));
            }
            Err(BodyFault::Malformed(fault)) => return Err(End::Refused(fault)),
            Err(BodyFault::Ended | BodyFault::Io(_)) => return Err(End::Short),
        }
    }
}
