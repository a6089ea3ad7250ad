//! One TCP connection, read and written byte for byte, and the framing of HTTP/1.1 messages on it (RFC 9112).

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};

use crate::message::{Headers, Response, find};
use crate::wait::PATIENCE;

/// A connection with what was read from it and not yet used.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
    /// Everything that was read, where that is wanted.
    kept: Option<Vec<u8>>,
}

/// A body as it came.
#[derive(Debug, Default)]
pub struct Body {
    pub bytes: Vec<u8>,
    /// Sizes of the chunks, where it was chunked.
    pub chunks: Vec<usize>,
    pub trailers: Headers,
    /// Whether it ended as its framing says.
    pub whole: bool,
}

impl Wire {
    /// Connects; reads and writes wait at most [`PATIENCE`].
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        Self::over(stream)
    }

    /// Over a connection made elsewhere.
    pub fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream.set_nodelay(true).expect("nodelay can be set");
        Self { stream, unread: Vec::new(), kept: None }
    }

    /// The connection beneath.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The connection beneath, for somebody else to go on with.
    #[must_use]
    pub fn into_stream(self) -> TcpStream {
        assert!(self.unread.is_empty(), "bytes were read ahead: {:?}", String::from_utf8_lossy(&self.unread));
        self.stream
    }

    /// Writes all of it, and fails the test where that is not possible.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the peer takes what is sent");
    }

    /// Writes all of it; false where the peer is gone.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Keeps what is read from now on, byte for byte.
    pub fn keep(&mut self) {
        self.kept = Some(self.unread.clone());
    }

    /// What was kept of what was used: not what is unread. The keeping begins anew.
    pub fn used(&mut self) -> Vec<u8> {
        let Some(kept) = &mut self.kept else { return Vec::new() };
        let rest = kept.split_off(kept.len() - self.unread.len());
        std::mem::replace(kept, rest)
    }

    /// Notes what was read.
    fn read(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(bytes);
        }
    }

    /// Sends FIN and keeps reading.
    pub fn finish_sending(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Makes the close that follows a reset instead of a FIN.
    pub fn reset_on_close(&self) {
        let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        setsockopt(&self.stream.as_fd(), sockopt::Linger, &linger).expect("linger can be set");
    }

    /// Reads once more into what is unread; false at the end of the connection, however it ended.
    fn more(&mut self) -> bool {
        let mut room = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut room) {
                Ok(0) => return false,
                Ok(read) => {
                    self.read(room.get(..read).unwrap_or_default());
                    return true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!(
                        "the peer says nothing for {:?}; unread so far: {:?}",
                        self.stream.read_timeout(),
                        String::from_utf8_lossy(&self.unread)
                    )
                }
                Err(_) => return false,
            }
        }
    }

    fn take(&mut self, bytes: usize) -> Vec<u8> {
        let rest = self.unread.split_off(bytes.min(self.unread.len()));
        std::mem::replace(&mut self.unread, rest)
    }

    /// Whatever arrives next, at least a byte; empty at the end.
    pub fn some(&mut self) -> Vec<u8> {
        if self.unread.is_empty() {
            self.more();
        }
        self.take(usize::MAX)
    }

    /// Exactly so many bytes, or fewer at the end.
    pub fn exactly(&mut self, bytes: usize) -> Vec<u8> {
        while self.unread.len() < bytes && self.more() {}
        self.take(bytes)
    }

    /// Everything until the connection ends.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        self.take(usize::MAX)
    }

    /// Whether the peer closes (or resets) within `limit` without another byte.
    pub fn closes_within(&mut self, limit: Duration) -> bool {
        if !self.unread.is_empty() {
            return false;
        }
        let deadline = Instant::now() + limit;
        let mut room = [0; 1];
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.stream.set_read_timeout(Some(left)).expect("a timeout can be set");
            let result = self.stream.read(&mut room);
            self.stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
            match result {
                Ok(0) => return true,
                Ok(_) => {
                    self.read(&room);
                    return false;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            }
        }
    }

    /// A head: everything up to the empty line, with it. None where the connection ends before one began or is whole.
    pub fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                let head = self.take(end + 4);
                return Some(String::from_utf8_lossy(&head).into_owned());
            }
            if !self.more() {
                return None;
            }
        }
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n") {
                let mut line = self.take(end + 2);
                line.truncate(end);
                return Some(String::from_utf8_lossy(&line).into_owned());
            }
            if !self.more() {
                return None;
            }
        }
    }

    /// A body of so many bytes.
    pub fn sized(&mut self, bytes: usize) -> Body {
        let got = self.exactly(bytes);
        Body { whole: got.len() == bytes, bytes: got, ..Body::default() }
    }

    /// A chunked body (RFC 9112 section 7.1).
    pub fn chunked(&mut self) -> Body {
        let mut body = Body::default();
        loop {
            let Some(line) = self.line() else { return body };
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("not a chunk size: {line:?}"));
            if size == 0 {
                break;
            }
            let chunk = self.exactly(size);
            let whole = chunk.len() == size;
            body.bytes.extend_from_slice(&chunk);
            body.chunks.push(size);
            if !whole || self.exactly(2) != b"\r\n" {
                return body;
            }
        }
        loop {
            match self.line() {
                None => return body,
                Some(line) if line.is_empty() => break,
                Some(line) => body.trailers.push_line(&line),
            }
        }
        body.whole = true;
        body
    }

    /// The next response, interim ones (1xx but 101) left out. `method` is the request's: an answer to HEAD has no body.
    #[track_caller]
    pub fn response(&mut self, method: &str) -> Response {
        self.try_response(method).expect("the connection ended before a response began")
    }

    /// As [`Wire::response`], or none where the connection ends before a response's head is whole.
    pub fn try_response(&mut self, method: &str) -> Option<Response> {
        loop {
            let mut response = Response::parse(&self.head()?);
            if (100..200).contains(&response.status) && response.status != 101 {
                continue;
            }
            let body = self.body_of(method, &response);
            response.body = body.bytes;
            response.chunks = body.chunks;
            response.trailers = body.trailers;
            response.whole = body.whole;
            return Some(response);
        }
    }

    /// The body that belongs to a response's head.
    pub fn body_of(&mut self, method: &str, response: &Response) -> Body {
        if method == "HEAD"
            || matches!(response.status, 101 | 204 | 304)
            || (method == "CONNECT" && response.status == 200)
        {
            return Body { whole: true, ..Body::default() };
        }
        if response.headers.has("transfer-encoding", "chunked") {
            return self.chunked();
        }
        match response.headers.get("content-length") {
            Some(length) => self.sized(length.parse().expect("a length is a number")),
            None => Body { bytes: self.rest(), whole: true, ..Body::default() },
        }
    }
}
