//! The request that is asked about, from the command's arguments.

use std::net::IpAddr;

use crate::control::{ControlError, ErrorCode, ExplainArgs};
use crate::routing::{Facts, Lookup, host_of};

/// The longest URL that is explained.
const MAX_URL_BYTES: usize = 64 * 1024;

/// A request, as the data path would have it from the wire.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) method: String,
    /// `http` or `https`.
    pub(super) scheme: &'static str,
    /// As the `Host` header would have it: with its port.
    pub(super) authority: String,
    /// For matching.
    pub(super) host: String,
    /// As received.
    pub(super) path: String,
    pub(super) query: String,
    headers: Lines,
    pub(super) client: IpAddr,
}

/// Header lines: lower-case name and value, in order.
#[derive(Debug)]
struct Lines(Vec<(String, String)>);

impl Lookup for Asked {
    fn any_header(&self, name: &str, each: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.headers.0.iter().any(|(line, value)| line == name && each(value.as_bytes()))
    }
}

impl Asked {
    /// # Errors
    /// `invalid_arguments`. No message repeats a header's value.
    pub(super) fn parse(args: &ExplainArgs, client: IpAddr) -> Result<Self, ControlError> {
        if !is_token(&args.method) {
            return Err(wrong("the method is not one: write it as in GET, POST"));
        }
        let (scheme, from_url, target) = split_url(&args.url)?;
        let mut headers = Vec::with_capacity(args.headers.len() + 1);
        for (index, line) in args.headers.iter().enumerate() {
            headers.push(header(line).ok_or_else(|| {
                wrong(format!("header {} is not one: write it as `Name: value`, without control characters", index + 1))
            })?);
        }
        if !headers.iter().any(|(name, _)| name == "host") && !from_url.is_empty() {
            headers.insert(0, ("host".to_owned(), from_url.to_owned()));
        }
        let authority = headers.iter().find(|(name, _)| name == "host").map_or("", |(_, value)| value).to_owned();
        let client = match &args.from {
            Some(text) => text.parse().map_err(|_| wrong("the client's address is not an IP address"))?,
            None => client,
        };
        let target = target.split('#').next().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Ok(Self {
            method: args.method.clone(),
            scheme,
            host: host_of(&authority).into_owned(),
            authority,
            path: if path.is_empty() { "/".to_owned() } else { path.to_owned() },
            query: query.to_owned(),
            headers: Lines(headers),
            client: client.to_canonical(),
        })
    }

    /// What routing looks at, with the path in the form that is to be looked at.
    pub(super) fn facts<'a>(&'a self, path: &'a str) -> Facts<'a, Self> {
        Facts { method: &self.method, host: &self.host, path, query: &self.query, headers: self }
    }

    /// Every header line.
    pub(super) fn lines(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.0.iter().map(|(name, value)| (&**name, value.as_bytes()))
    }

    /// The first value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.0.iter().find(|(line, _)| line == name).map(|(_, value)| &**value)
    }
}

/// Scheme, authority (empty: none) and the rest.
fn split_url(url: &str) -> Result<(&'static str, &str, &str), ControlError> {
    if url.len() > MAX_URL_BYTES {
        return Err(wrong("the URL is longer than 64 KiB"));
    }
    if url.starts_with('/') || url == "*" {
        return Ok(("http", "", url));
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(wrong("the URL is not one: write http://host/path, or /path with a Host header"));
    };
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => "http",
        "https" => "https",
        _ => return Err(wrong("the URL's scheme is neither http nor https")),
    };
    let (authority, target) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err(wrong("the URL has a user name or password, which no request line carries"));
    }
    if authority.is_empty() || !authority.bytes().all(|octet| octet.is_ascii_graphic()) {
        return Err(wrong("the URL's host is missing or has characters that no host has"));
    }
    Ok((scheme, authority, target))
}

fn header(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    let value = value.trim_matches([' ', '\t']);
    let is_value = !value.bytes().any(|octet| octet.is_ascii_control() && octet != b'\t');
    (is_token(name) && is_value).then(|| (name.to_ascii_lowercase(), value.to_owned()))
}

/// `token` (RFC 9110 section 5.6.2).
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet))
}

fn wrong(message: impl Into<String>) -> ControlError {
    ControlError::new(ErrorCode::InvalidArguments, message)
}
