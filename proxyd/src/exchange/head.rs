//! The only view of a message's start line and headers: routing, filters, forwarding, logging and audit see a message
//! through these types, never through the HTTP engine's, so that the engine beneath can change without them.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, request, response};
use shared::routing::Lookup;

/// A header's name, without case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(HeaderName);

impl Name {
    /// A name known when this was written: lower case, a token.
    pub const fn known(name: &'static str) -> Self {
        Self(HeaderName::from_static(name))
    }

    /// A name from elsewhere; none where it is no token.
    pub fn parse(name: &str) -> Option<Self> {
        HeaderName::from_bytes(name.as_bytes()).ok().map(Self)
    }

    /// Lower case.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// A header's value: bytes that may stand in a header line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value(HeaderValue);

impl Value {
    /// A value known when this was written.
    pub const fn known(value: &'static str) -> Self {
        Self(HeaderValue::from_static(value))
    }

    /// A value from elsewhere; none where it holds a byte that may not stand in a header line.
    pub fn parse(value: &str) -> Option<Self> {
        HeaderValue::from_str(value).ok().map(Self)
    }

    /// Bytes from elsewhere; none where one may not stand in a header line.
    pub fn from_bytes(value: &[u8]) -> Option<Self> {
        HeaderValue::from_bytes(value).ok().map(Self)
    }

    /// A number.
    pub fn number(value: u64) -> Self {
        Self(HeaderValue::from(value))
    }
}

/// The names that the journey itself reads or writes.
pub mod name {
    use super::Name;

    pub static ACCEPT: Name = Name::known("accept");
    pub static ALLOW: Name = Name::known("allow");
    pub static CONNECTION: Name = Name::known("connection");
    pub static CONTENT_LENGTH: Name = Name::known("content-length");
    pub static CONTENT_TYPE: Name = Name::known("content-type");
    pub static EXPECT: Name = Name::known("expect");
    pub static FORWARDED: Name = Name::known("forwarded");
    pub static HOST: Name = Name::known("host");
    pub static KEEP_ALIVE: Name = Name::known("keep-alive");
    pub static LOCATION: Name = Name::known("location");
    pub static ORIGIN: Name = Name::known("origin");
    pub static PROXY_AUTHENTICATE: Name = Name::known("proxy-authenticate");
    pub static PROXY_AUTHORIZATION: Name = Name::known("proxy-authorization");
    pub static PROXY_CONNECTION: Name = Name::known("proxy-connection");
    pub static RATE_LIMIT: Name = Name::known("ratelimit");
    pub static RATE_LIMIT_POLICY: Name = Name::known("ratelimit-policy");
    pub static RETRY_AFTER: Name = Name::known("retry-after");
    pub static TE: Name = Name::known("te");
    pub static TRAILER: Name = Name::known("trailer");
    pub static TRANSFER_ENCODING: Name = Name::known("transfer-encoding");
    pub static UPGRADE: Name = Name::known("upgrade");
    pub static USER_AGENT: Name = Name::known("user-agent");
    pub static VARY: Name = Name::known("vary");
    pub static VIA: Name = Name::known("via");
    pub static X_FORWARDED_FOR: Name = Name::known("x-forwarded-for");
    pub static X_FORWARDED_HOST: Name = Name::known("x-forwarded-host");
    pub static X_FORWARDED_PROTO: Name = Name::known("x-forwarded-proto");
    pub static X_RATE_LIMIT_LIMIT: Name = Name::known("x-ratelimit-limit");
    pub static X_RATE_LIMIT_REMAINING: Name = Name::known("x-ratelimit-remaining");
    pub static X_RATE_LIMIT_RESET: Name = Name::known("x-ratelimit-reset");
    pub static X_REAL_IP: Name = Name::known("x-real-ip");
    pub static X_REQUEST_ID: Name = Name::known("x-request-id");
    pub static X_RESPONSE_TIME: Name = Name::known("x-response-time");
}

/// Header lines, in order; several lines may have one name.
#[derive(Clone, Debug, Default)]
pub struct Headers(HeaderMap);

impl Headers {
    /// The first value of this name.
    pub fn get(&self, name: &Name) -> Option<&[u8]> {
        self.0.get(&name.0).map(HeaderValue::as_bytes)
    }

    /// The first value of this name, shared and not copied.
    pub fn value(&self, name: &Name) -> Option<Value> {
        self.0.get(&name.0).cloned().map(Value)
    }

    /// The first value of this name, where it is visible ASCII.
    pub fn text(&self, name: &Name) -> Option<&str> {
        self.0.get(&name.0).and_then(|value| value.to_str().ok())
    }

    /// Every value of this name, in order.
    pub fn all(&self, name: &Name) -> impl Iterator<Item = &[u8]> {
        self.0.get_all(&name.0).iter().map(HeaderValue::as_bytes)
    }

    /// Whether there is a line of this name.
    pub fn has(&self, name: &Name) -> bool {
        self.0.contains_key(&name.0)
    }

    /// Replaces every line of this name by one. (A map that is full, at 32,768 names, stays as it is.)
    pub fn set(&mut self, name: &Name, value: Value) {
        let _ = self.0.try_insert(&name.0, value.0);
    }

    /// Adds a line.
    pub fn add(&mut self, name: &Name, value: Value) {
        let _ = self.0.try_append(&name.0, value.0);
    }

    /// Removes every line of this name.
    pub fn remove(&mut self, name: &Name) {
        self.0.remove(&name.0);
    }

    /// Removes every line whose (lower-case) name is refused.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        let refused: Vec<HeaderName> = self.0.keys().filter(|name| !keep(name.as_str())).cloned().collect();
        for name in refused {
            self.0.remove(name);
        }
    }

    /// Every line: lower-case name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
    }

    /// Which of the lines that the journey treats specially are there, in one pass.
    pub fn survey(&self) -> Survey {
        let mut seen = Survey::default();
        for name in self.0.keys() {
            match name.as_str() {
                "connection" => seen.connection = true,
                "keep-alive" | "proxy-connection" | "transfer-encoding" | "proxy-authenticate" => seen.hop = true,
                "upgrade" => seen.upgrade = true,
                "te" => seen.te = true,
                "expect" => seen.expect = true,
                "proxy-authorization" => seen.proxy_authorization = true,
                "forwarded" | "x-real-ip" => seen.forwarding = true,
                other => seen.forwarding |= other.starts_with("x-forwarded-"),
            }
        }
        seen
    }

    /// The bytes that all lines take on the wire.
    pub fn wire_bytes(&self) -> usize {
        self.0.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
    }
}

/// What [`Headers::survey`] saw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Survey {
    pub connection: bool,
    /// Any other line of one hop, but for `Upgrade`.
    pub hop: bool,
    pub upgrade: bool,
    pub te: bool,
    pub expect: bool,
    pub proxy_authorization: bool,
    /// X-Forwarded-*, Forwarded or X-Real-IP.
    pub forwarding: bool,
}

impl Lookup for Headers {
    fn any_header(&self, name: &str, each: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.0.get_all(name).iter().any(|value| each(value.as_bytes()))
    }
}

/// A request's start line and headers.
#[derive(Debug)]
pub struct RequestHead {
    parts: request::Parts,
    headers: Headers,
}

impl RequestHead {
    /// Takes the engine's form.
    pub(crate) fn from_engine(mut parts: request::Parts) -> Self {
        let headers = Headers(std::mem::take(&mut parts.headers));
        Self { parts, headers }
    }

    /// Gives the engine a request of HTTP/1.1 with this target.
    pub(crate) fn into_request<B>(mut self, uri: http::Uri, body: B) -> http::Request<B> {
        self.parts.headers = self.headers.0;
        self.parts.uri = uri;
        self.parts.version = http::Version::HTTP_11;
        self.parts.extensions.clear();
        http::Request::from_parts(self.parts, body)
    }

    /// The same head once more; without the handle on an upgrade, of which there is one.
    pub(crate) fn duplicate(&self) -> Self {
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.method = self.parts.method.clone();
        parts.uri = self.parts.uri.clone();
        parts.version = self.parts.version;
        Self { parts, headers: self.headers.clone() }
    }

    pub fn method(&self) -> &str {
        self.parts.method.as_str()
    }

    /// The path of the target as it came; `*` for the asterisk form.
    pub fn raw_path(&self) -> &str {
        self.parts.uri.path()
    }

    /// The query as it came, without `?`; empty where there is none.
    pub fn query(&self) -> &str {
        self.parts.uri.query().unwrap_or_default()
    }

    /// Whether there is a query, be it empty (`/x?`).
    pub fn has_query(&self) -> bool {
        self.parts.uri.query().is_some()
    }

    /// The authority of an absolute-form target.
    pub fn authority(&self) -> Option<&str> {
        self.parts.uri.authority().map(http::uri::Authority::as_str)
    }

    /// The path and query as they came, shared and not copied.
    pub(crate) fn path_and_query(&self) -> Option<&http::uri::PathAndQuery> {
        self.parts.uri.path_and_query()
    }

    /// The bytes of the target as it came.
    pub fn target_bytes(&self) -> usize {
        let authority = self.parts.uri.authority().map_or(0, |authority| authority.as_str().len() + 7);
        self.parts.uri.path_and_query().map_or(0, |target| target.as_str().len()) + authority
    }

    /// `HTTP/1.1`.
    pub fn protocol(&self) -> &'static str {
        match self.parts.version {
            http::Version::HTTP_10 => "HTTP/1.0",
            http::Version::HTTP_2 => "HTTP/2",
            _ => "HTTP/1.1",
        }
    }

    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    pub fn headers_mut(&mut self) -> &mut Headers {
        &mut self.headers
    }

    /// The engine's handle on the connection after an upgrade; once.
    pub(crate) fn take_upgrade(&mut self) -> Option<hyper::upgrade::OnUpgrade> {
        self.parts.extensions.remove::<hyper::upgrade::OnUpgrade>()
    }
}

/// A response's status and headers.
#[derive(Debug)]
pub struct ResponseHead {
    status: StatusCode,
    headers: Headers,
}

impl ResponseHead {
    /// An answer of ours. A status out of range becomes 500.
    pub fn new(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, headers: Headers::default() }
    }

    /// Takes the engine's form.
    pub(crate) fn from_engine(parts: response::Parts) -> Self {
        Self { status: parts.status, headers: Headers(parts.headers) }
    }

    /// Gives the engine its form.
    pub(crate) fn into_engine<B>(self, body: B) -> http::Response<B> {
        let mut response = http::Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.0;
        response
    }

    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    pub fn headers_mut(&mut self) -> &mut Headers {
        &mut self.headers
    }
}
