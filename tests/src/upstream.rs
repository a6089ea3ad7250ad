//! Upstreams that tests script: each accepted connection is played on a thread of its own, byte for byte.

use std::fmt::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::message::Headers;
use crate::wire::Wire;

/// A server on a free port of 127.0.0.1; it stops listening when dropped.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    connections: AtomicUsize,
    requests: AtomicUsize,
    closed: AtomicUsize,
    stop: AtomicBool,
    heads: Mutex<Vec<String>>,
}

/// Counts a connection that has ended.
struct Ended(Arc<Seen>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.closed.fetch_add(1, Ordering::SeqCst);
    }
}

/// A connection that the proxy opened.
#[derive(Debug)]
pub struct Conn {
    pub wire: Wire,
    /// Its number, from 0.
    pub index: usize,
    seen: Arc<Seen>,
}

/// A request as the upstream sees it.
#[derive(Clone, Debug, Default)]
pub struct Incoming {
    /// The head, byte for byte.
    pub head: String,
    pub method: String,
    pub target: String,
    pub headers: Headers,
    pub body: Vec<u8>,
    pub chunks: Vec<usize>,
    pub trailers: Headers,
    pub whole: bool,
}

impl Upstream {
    /// Plays `script` on every connection.
    pub fn scripted(script: impl Fn(&mut Conn) + Send + Sync + 'static) -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), script)
    }

    /// The same on a given address.
    pub fn at(address: SocketAddr, script: impl Fn(&mut Conn) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).expect("a port is free");
        let address = listener.local_addr().expect("a listener knows its address");
        let seen = Arc::new(Seen::default());
        let upstream = Self { address, seen: Arc::clone(&seen) };
        let script = Arc::new(script);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if seen.stop.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let index = seen.connections.fetch_add(1, Ordering::SeqCst);
                let (script, seen) = (Arc::clone(&script), Arc::clone(&seen));
                std::thread::spawn(move || {
                    stream.set_nodelay(true).ok();
                    // Behind the connection in the order of drops, and even where the script panics.
                    let _ended = Ended(Arc::clone(&seen));
                    let mut conn = Conn { wire: Wire::over(stream), index, seen };
                    script(&mut conn);
                });
            }
        });
        upstream
    }

    /// Answers every request with what it saw, as JSON: method, target, headers, body, trailers, connection.
    pub fn echo() -> Self {
        Self::scripted(|conn| {
            while let Some(request) = conn.request() {
                let body = request.json(conn.index);
                let close = request.headers.has("connection", "close");
                conn.answer(200, &[("Content-Type", "application/json")], body.as_bytes());
                if close {
                    return;
                }
            }
        })
    }

    /// Answers every request with 200 and this text.
    pub fn saying(text: &str) -> Self {
        let text = text.to_owned();
        Self::scripted(move |conn| {
            while conn.request().is_some() {
                conn.answer(200, &[("Content-Type", "text/plain")], text.as_bytes());
            }
        })
    }

    /// Answers every request with exactly these bytes, then closes.
    pub fn once(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::scripted(move |conn| {
            if conn.request().is_some() {
                conn.wire.try_send(&bytes);
            }
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://address`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Requests whose heads were read so far.
    pub fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::SeqCst)
    }

    /// Connections whose script has come to its end.
    pub fn closed(&self) -> usize {
        self.seen.closed.load(Ordering::SeqCst)
    }

    /// The heads read so far.
    pub fn heads(&self) -> Vec<String> {
        self.seen.heads.lock().expect("no script panicked while noting a head").clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.seen.stop.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then sees that it is to stop.
        drop(std::net::TcpStream::connect(self.address));
    }
}

/// An address where nobody listens. It may be taken by somebody else later: only for what must be refused now.
pub fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("a listener knows its address")
}

impl Conn {
    /// The next request's head, without its body. None where the proxy closes.
    pub fn request_head(&mut self) -> Option<Incoming> {
        let head = self.wire.head()?;
        self.seen.requests.fetch_add(1, Ordering::SeqCst);
        self.seen.heads.lock().expect("no script panicked while noting a head").push(head.clone());
        let mut words = head.split(' ');
        let method = words.next().unwrap_or_default().to_owned();
        let target = words.next().unwrap_or_default().to_owned();
        let headers = Headers::of_head(&head);
        Some(Incoming { head, method, target, headers, ..Incoming::default() })
    }

    /// The next request with its body.
    pub fn request(&mut self) -> Option<Incoming> {
        let mut request = self.request_head()?;
        let body = if request.headers.has("transfer-encoding", "chunked") {
            self.wire.chunked()
        } else {
            let length = request.headers.get("content-length").map_or(0, |n| n.parse().expect("a length is a number"));
            self.wire.sized(length)
        };
        request.body = body.bytes;
        request.chunks = body.chunks;
        request.trailers = body.trailers;
        request.whole = body.whole;
        Some(request)
    }

    /// Sends these bytes; false where the proxy is gone.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.wire.try_send(bytes)
    }

    /// Sends a response with a body of known length.
    pub fn answer(&mut self, status: u16, headers: &[(&str, &str)], body: &[u8]) -> bool {
        let mut head = format!("HTTP/1.1 {status} Said\r\n");
        for (name, value) in headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let _ = write!(head, "Content-Length: {}\r\n\r\n", body.len());
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        self.wire.try_send(bytes)
    }

    /// Holds the connection silently until the proxy closes it; false where that takes longer than `limit`.
    pub fn until_closed(&mut self, limit: std::time::Duration) -> bool {
        self.wire.closes_within(limit)
    }
}

impl Incoming {
    /// What was seen, as JSON.
    pub fn json(&self, connection: usize) -> String {
        json!({
            "method": self.method,
            "target": self.target,
            "headers": self.headers.0,
            "body": String::from_utf8_lossy(&self.body),
            "body_bytes": self.body.len(),
            "trailers": self.trailers.0,
            "whole": self.whole,
            "connection": connection,
        })
        .to_string()
    }
}
