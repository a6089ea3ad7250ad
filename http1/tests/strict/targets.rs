//! What must hold for any bytes at all: the functions that fuzzing calls, here in every test run and in `fuzz/` for as long
//! as somebody lets it.

use http1::{
    Framing, HeadError, HeadParser, NameSet, Outgoing, RequestHead, ResponseHead, Shape, Wire, request_framing,
    response_framing,
};

use super::engine::script::{Script, until_ready};
use super::engine::{End, Fields, LIMITS, Message, Reading, body, requests, response};

/// What proxyd takes off before a message goes on.
const HOP_BY_HOP: NameSet = NameSet::of(&["connection", "keep-alive", "transfer-encoding", "upgrade", "te", "expect"]);

/// The name and the value of each line that httparse found.
fn parsed_fields(fields: &[httparse::Header<'_>]) -> Fields {
    fields.iter().map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec())).collect()
}

/// A request's head: however it comes it is the same; what is accepted goes on byte for byte, and httparse reads the same.
pub(super) fn request_head(bytes: &[u8]) {
    let whole = RequestHead::parse(bytes, &LIMITS);
    let pieces = requests(bytes, 1 + bytes.len() % 7);
    match whole {
        Ok(None) | Err(_) => {
            // An empty line before the request is the wire's to pass over.
            if !bytes.starts_with(b"\r\n") {
                let end = whole.err().map_or(End::Short, End::Refused);
                let expected = if bytes.is_empty() || bytes == b"\r" { End::Quiet } else { end };
                // A lone CR may yet become an empty line.
                assert!(pieces.0.is_empty() && (pieces.1 == expected || bytes == b"\r"), "{pieces:?}");
            }
        }
        Ok(Some((head, end))) => {
            let mut out = Vec::new();
            head.write(None, &mut out);
            out.extend_from_slice(b"\r\n");
            if head.form() == http1::Target::Origin && head.version() == http1::Version::Http11 {
                assert_eq!(out, &bytes[..end]);
            }
            let mut room = [httparse::EMPTY_HEADER; 100];
            let mut theirs = httparse::Request::new(&mut room);
            assert_eq!(theirs.parse(bytes), Ok(httparse::Status::Complete(end)));
            assert_eq!((theirs.method, theirs.path), (Some(head.method()), Some(head.target())));
            assert_eq!(theirs.version, Some(u8::from(head.version() == http1::Version::Http11)));
            assert_eq!(parsed_fields(theirs.headers), super::engine::fields(head.headers()));
        }
    }
}

/// The same for a response's head.
pub(super) fn response_head(bytes: &[u8]) {
    let whole = ResponseHead::parse(bytes, &LIMITS);
    let mut wire = Wire::new(Script::coming(bytes, 1 + bytes.len() % 7));
    let mut parser = HeadParser::response();
    let pieces = until_ready(|cx| wire.poll_response(cx, &mut parser, &LIMITS, 1));
    match whole {
        Ok(None) => assert!(matches!(pieces, Err(HeadError::Closed | HeadError::ClosedEarly))),
        Err(fault) => assert!(matches!(pieces, Err(HeadError::Malformed(found)) if found == fault), "{pieces:?}"),
        Ok(Some((head, end))) => {
            let pieces = pieces.unwrap();
            let fields = super::engine::fields(head.headers());
            assert_eq!((pieces.status(), super::engine::fields(pieces.headers())), (head.status(), fields.clone()));
            let mut room = [httparse::EMPTY_HEADER; 100];
            let mut theirs = httparse::Response::new(&mut room);
            assert_eq!(theirs.parse(bytes), Ok(httparse::Status::Complete(end)));
            assert_eq!(theirs.code, Some(head.status()));
            assert_eq!(theirs.version, Some(u8::from(head.version() == http1::Version::Http11)));
            assert_eq!(parsed_fields(theirs.headers), fields);
            let mut out = Vec::new();
            head.write(&mut out);
            out.extend_from_slice(b"\r\n");
            let (again, length) = ResponseHead::parse(&out, &LIMITS).unwrap().unwrap();
            assert_eq!((length, again.status()), (out.len(), head.status()));
            assert_eq!(super::engine::fields(again.headers()), super::engine::fields(head.headers()));
        }
    }
}

/// A chunked body: however it comes it is the same, and a decoder that looks at all of it at once reads the same.
pub(super) fn chunked_body(bytes: &[u8]) {
    let read = |piece: usize| {
        let mut wire = Wire::new(Script::coming(bytes, piece));
        let found = body(&mut wire, Framing::Chunked);
        let used = bytes.len() - wire.stream.left() - wire.input.len();
        found.map(|found| (found, used))
    };
    let whole = read(0);
    for piece in [1, 2, 1 + bytes.len() % 13] {
        assert_eq!(read(piece), whole);
    }
    if let Ok(((data, _), used)) = whole {
        assert_eq!(plain_chunks(&bytes[..used]), Some(data));
    }
}

/// The data of a chunked body, which is all there is: none where it is not whole, or malformed.
fn plain_chunks(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    loop {
        let line = bytes.windows(2).position(|pair| pair == b"\r\n")?;
        let size = bytes[..line].split(|&byte| byte == b';').next()?;
        let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        bytes = &bytes[line + 2..];
        if size == 0 {
            break;
        }
        data.extend_from_slice(bytes.get(..size)?);
        bytes = bytes.get(size..)?.strip_prefix(b"\r\n")?;
    }
    (bytes == b"\r\n" || bytes.ends_with(b"\r\n\r\n")).then_some(data)
}

/// Bytes in, bytes out: what is accepted goes on as exactly one message, and the same one, to us and to httparse.
pub(super) fn relay(bytes: &[u8]) {
    if let Some((out, sent)) = relayed_request(bytes) {
        let read = requests(&out, 0);
        one_message(&out, &read, &sent);
        let mut room = [httparse::EMPTY_HEADER; 100];
        let mut theirs = httparse::Request::new(&mut room);
        let Ok(httparse::Status::Complete(end)) = theirs.parse(&out) else { panic!("httparse reads no request") };
        assert_eq!(format!("{} {} HTTP/1.1", theirs.method.unwrap(), theirs.path.unwrap()), sent.start);
        framed_alike(&parsed_fields(theirs.headers), &out[end..], &sent);
    }
    for to_head in [false, true] {
        if let Some((out, sent)) = relayed_response(bytes, to_head) {
            let read = response(&out, 0, to_head);
            one_message(&out, &read, &sent);
            let mut room = [httparse::EMPTY_HEADER; 100];
            let mut theirs = httparse::Response::new(&mut room);
            let Ok(httparse::Status::Complete(end)) = theirs.parse(&out) else { panic!("httparse reads no answer") };
            let bare = to_head || matches!(theirs.code, Some(204 | 304));
            let fields = parsed_fields(theirs.headers);
            if bare {
                assert!(sent.body.is_empty() && out.len() == end);
            } else {
                framed_alike(&fields, &out[end..], &sent);
            }
        }
    }
}

#[track_caller]
fn one_message(out: &[u8], (found, end): &Reading, sent: &Message) {
    assert!(matches!(end, End::Quiet | End::Last), "{end:?}");
    let [(message, length)] = &**found else { panic!("{} messages of one", found.len()) };
    assert_eq!((message, *length), (sent, out.len()));
}

/// By another's reading of the head, these bytes behind it are the body and no more.
#[track_caller]
fn framed_alike(fields: &Fields, rest: &[u8], sent: &Message) {
    assert_eq!(fields, &sent.fields);
    let all =
        |wanted: &str| fields.iter().filter(|(name, _)| name == wanted).map(|(_, value)| &**value).collect::<Vec<_>>();
    match (&*all("content-length"), &*all("transfer-encoding")) {
        ([], [b"chunked"]) => assert_eq!(plain_chunks(rest).as_ref(), Some(&sent.body)),
        ([length], []) => {
            let length: usize = std::str::from_utf8(length).unwrap().parse().unwrap();
            assert_eq!((length, rest), (sent.body.len(), &*sent.body));
        }
        ([], []) => assert!(rest.is_empty() && sent.body.is_empty()),
        framing => panic!("it could be read in two ways: {framing:?}"),
    }
}

/// A body in some pieces behind its head.
fn sent(write: impl FnOnce(&mut Vec<u8>), shape: Shape, came: &Message, trailers: Option<&http1::Headers>) -> Vec<u8> {
    let mut stream = Script::taking(came.body.len() % 5);
    let mut out = Outgoing::start(write, shape);
    for piece in came.body.chunks(1 + came.body.len() / 2) {
        if !out.put(piece) {
            let mut rest = piece;
            while !rest.is_empty() {
                let sent = until_ready(|cx| out.poll_send(cx, &mut stream, rest)).unwrap();
                rest = &rest[sent..];
            }
        }
    }
    assert!(out.finish(trailers));
    until_ready(|cx| out.poll_flush(cx, &mut stream)).unwrap();
    stream.sent
}

/// Trailers as lines to write.
fn trailer_lines(fields: &Fields) -> Option<http1::Headers> {
    let mut headers = http1::Headers::new();
    for (name, value) in fields {
        headers.add(&http1::Name::parse(name).unwrap(), http1::Value::from_bytes(value).unwrap());
    }
    (!fields.is_empty()).then_some(headers)
}

const CHUNKED: &[u8] = b"transfer-encoding: chunked\r\n";

/// The first request as proxyd writes it on, and what must be read from that.
pub(super) fn relayed_request(bytes: &[u8]) -> Option<(Vec<u8>, Message)> {
    let (mut head, _) = RequestHead::parse(bytes, &LIMITS).ok()??;
    // A tunnel is refused elsewhere.
    if head.method() == "CONNECT" {
        return None;
    }
    let framing = request_framing(&head).ok()?;
    let (came, _) = requests(bytes, 0).0.into_iter().next()?;
    head.headers_mut().remove_all(HOP_BY_HOP);
    let query = head.query().map(|query| format!("?{query}")).unwrap_or_default();
    let start = format!("{} {}{query} HTTP/1.1", head.method(), head.path());
    let mut fields = super::engine::fields(head.headers());
    let shape = match framing {
        Framing::Chunked => {
            fields.push(("transfer-encoding".to_owned(), b"chunked".to_vec()));
            Shape::Chunked
        }
        Framing::Length(length) => Shape::Length(length),
        Framing::None | Framing::Close => Shape::Length(0),
    };
    let write = |out: &mut Vec<u8>| {
        head.write(None, out);
        if shape == Shape::Chunked {
            out.extend_from_slice(CHUNKED);
        }
    };
    let out = sent(write, shape, &came, trailer_lines(&came.trailers).as_ref());
    Some((out, Message { start, fields, ..came }))
}

/// The final answer as proxyd writes it on, and what must be read from that.
pub(super) fn relayed_response(bytes: &[u8], to_head: bool) -> Option<(Vec<u8>, Message)> {
    let (mut head, _) = ResponseHead::parse(bytes, &LIMITS).ok()??;
    if head.status() < 200 {
        return None;
    }
    let framing = response_framing(&head, to_head).ok()?;
    let (came, _) = response(bytes, 0, to_head).0.into_iter().next()?;
    head.headers_mut().remove_all(HOP_BY_HOP);
    let mut bare = NameSet::of(&[]);
    if head.status() == 204 {
        bare = NameSet::of(&["content-length"]);
    }
    head.headers_mut().remove_all(bare);
    let mut fields = super::engine::fields(head.headers());
    let shape = match framing {
        Framing::Chunked | Framing::Close => {
            fields.push(("transfer-encoding".to_owned(), b"chunked".to_vec()));
            Shape::Chunked
        }
        Framing::Length(length) => Shape::Length(length),
        Framing::None => Shape::Length(0),
    };
    let write = |out: &mut Vec<u8>| {
        head.write(out);
        if shape == Shape::Chunked {
            out.extend_from_slice(CHUNKED);
        }
    };
    let out = sent(write, shape, &came, trailer_lines(&came.trailers).as_ref());
    let start = format!("{} HTTP/1.1", head.status());
    Some((out, Message { start, fields, ..came }))
}
