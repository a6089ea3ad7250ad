//! Requests to send and responses as received: what tests write down and compare.

use std::net::SocketAddr;

use serde_json::Value;

use crate::wire::Wire;

/// Header lines in order, names in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// Adds a line `Name: value`.
    pub fn push_line(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("not a header line: {line:?}"));
        self.0.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }

    /// The lines of a head after its first.
    pub fn of_head(head: &str) -> Self {
        let mut headers = Self::default();
        for line in head.split("\r\n").skip(1).filter(|line| !line.is_empty()) {
            headers.push_line(line);
        }
        headers
    }

    /// The only value of this name; several fail the test.
    #[track_caller]
    pub fn get(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} came several times: {all:?}");
        all.first().copied()
    }

    /// All values of this name.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    /// Whether a list-valued header holds this token, without case.
    pub fn has(&self, name: &str, token: &str) -> bool {
        self.all(name).iter().flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case(token))
    }
}

/// A response as received.
#[derive(Clone, Debug, Default)]
pub struct Response {
    pub version: String,
    pub status: u16,
    pub headers: Headers,
    pub body: Vec<u8>,
    pub chunks: Vec<usize>,
    pub trailers: Headers,
    /// Whether the body ended as its framing says.
    pub whole: bool,
}

impl Response {
    /// Reads a head.
    pub fn parse(head: &str) -> Self {
        let first = head.split("\r\n").next().unwrap_or_default();
        let mut words = first.splitn(3, ' ');
        let version = words.next().unwrap_or_default().to_owned();
        let status = words.next().and_then(|word| word.parse().ok());
        let status = status.unwrap_or_else(|| panic!("not a response head: {head:?}"));
        Self { version, status, headers: Headers::of_head(head), ..Self::default() }
    }

    /// A header's only value.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {:?}", self.text()))
    }

    /// The stable code in a JSON error envelope.
    #[track_caller]
    pub fn error_code(&self) -> String {
        let json = self.json();
        json.pointer("/error/code")
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("no error code: {json}"))
            .to_owned()
    }
}

/// A request to send, on a connection of its own.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    target: String,
    host: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Request {
    /// A request without headers but `Host`.
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            host: "proxy.test".to_owned(),
            headers: Vec::new(),
            body: None,
        }
    }

    /// A GET.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// A POST with a body of known length.
    pub fn post(target: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", target).body(body)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Says which host is meant.
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// Adds a body with its length.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// The bytes on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", self.method, self.target, self.host).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if let Some(body) = &self.body {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }

    /// Sends it on a new connection and reads the answer.
    #[track_caller]
    pub fn send(&self, address: SocketAddr) -> Response {
        self.send_on(&mut Wire::connect(address))
    }

    /// Sends it on this connection and reads the answer.
    #[track_caller]
    pub fn send_on(&self, wire: &mut Wire) -> Response {
        wire.send(self.bytes());
        wire.response(&self.method)
    }
}

/// Where `needle` begins in `bytes`.
pub(crate) fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}
