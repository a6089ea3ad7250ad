//! URLs of targets and endpoints: `http://host:port` or `https://host:port`, for targets with a path.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use super::report::Fault;
use super::{name, path};

/// How endpoints are talked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Scheme {
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Where requests are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) scheme: Scheme,
    /// Lower case, IPv6 without brackets.
    pub(super) host: Arc<str>,
    /// 0 where SRV records have the ports.
    pub(super) port: u16,
    /// Whether it stands for the SRV records of its host.
    pub(super) srv: bool,
    /// `host:port`, IPv6 in brackets; the host alone where SRV records have the ports.
    pub(super) address: Arc<str>,
    /// Put before the request's path: starts with `/` and ends without one, or empty.
    pub(super) path_prefix: Arc<str>,
}

/// Reads the URL of a target.
pub(super) fn target(text: &str) -> Result<Url, Fault> {
    let url = parse(text)?;
    if url.srv {
        return Err(Fault::invalid("SRV records have several addresses: they make an upstream, not a target").hint(
            "name it under `endpoints` of an upstream with `resolve: {every: 30s}`, and write `upstream: NAME` here",
        ));
    }
    Ok(url)
}

fn parse(text: &str) -> Result<Url, Fault> {
    let Some((scheme, rest)) = text.split_once("://") else {
        let fault = Fault::invalid("this is not a URL");
        let looks_sound = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b));
        return Err(fault.hint(if looks_sound {
            "put `http://` before it"
        } else {
            "write it as `http://127.0.0.1:8001`"
        }));
    };
    let (scheme, srv) = match &*scheme.to_ascii_lowercase() {
        "http" => (Scheme::Http, false),
        "https" => (Scheme::Https, false),
        "http+srv" => (Scheme::Http, true),
        "https+srv" => (Scheme::Https, true),
        _ => return Err(Fault::invalid("only `http://` and `https://` can be proxied to")),
    };
    if rest.contains(['?', '#']) {
        return Err(Fault::invalid("a target has no query and no fragment").hint("the client's own query is sent on"));
    }
    let at = rest.find('/').unwrap_or(rest.len());
    let (authority, path_text) = rest.split_at(at);
    if authority.contains('@') {
        return Err(Fault::invalid("a target has no user name and no password")
            .hint("send an `authorization` header with `headers.request.set`"));
    }
    let (host, port) = split_port(authority)?;
    let host = name::host(host)?;
    if srv && port.is_some() {
        return Err(Fault::invalid("ports come from the SRV records of this name")
            .hint(format!("write it without its port: `{}+srv://{host}`", scheme.as_str())));
    }
    if srv && host.parse::<IpAddr>().is_ok() {
        return Err(Fault::invalid("an address has no SRV records").hint("name it as `http://…` with its port"));
    }
    let port = if srv { 0 } else { port.unwrap_or(scheme.default_port()) };
    let address = if srv {
        host.to_string()
    } else if host.parse::<Ipv6Addr>().is_ok() {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    let path_prefix = if path_text.is_empty() { "".into() } else { path::literal(path_text)? };
    let path_prefix = path_prefix.trim_end_matches('/').into();
    Ok(Url { scheme, host, port, srv, address: address.into(), path_prefix })
}

/// Reads the URL of an endpoint: a target without a path.
pub(super) fn endpoint(text: &str) -> Result<Url, Fault> {
    let url = parse(text)?;
    if !url.path_prefix.is_empty() {
        return Err(Fault::invalid("an endpoint has no path")
            .hint("put the path before the request's with `rewrite: {add_prefix: …}` on the route"));
    }
    Ok(url)
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), Fault> {
    let after_brackets = authority.rfind(']').map_or(0, |at| at + 1);
    let colon = authority.get(after_brackets..).and_then(|tail| tail.find(':')).map(|at| at + after_brackets);
    let Some(colon) = colon else { return Ok((authority, None)) };
    let (host, port) = authority.split_at(colon);
    if after_brackets == 0 && authority.parse::<IpAddr>().is_ok() {
        return Err(Fault::invalid("an IPv6 address stands in brackets here").hint("write it as `http://[::1]:8001`"));
    }
    match port.get(1..).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit())).map(str::parse::<u16>) {
        Some(Ok(port)) if port > 0 => Ok((host, Some(port))),
        _ => Err(Fault::invalid("this port is not a number between 1 and 65535")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(&str, &str)>) {
        let found = target(text).ok();
        let found = found.as_ref().map(|url| (&*url.address, &*url.path_prefix));
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn targets() {
        check("http://127.0.0.1:8001", Some(("127.0.0.1:8001", "")));
        check("HTTP://Users.Internal/", Some(("users.internal:80", "")));
        check("http://[::1]:8001/v2/", Some(("[::1]:8001", "/v2")));
        check("http://a/b%7e", Some(("a:80", "/b~")));
        check("https://a/b", Some(("a:443", "/b")));
        check("HTTPS://[::1]", Some(("[::1]:443", "")));
        for wrong in [
            "",
            "127.0.0.1:8001",
            "ftp://a",
            "http://",
            "http://a:0",
            "http://a:99999",
            "http://u:p@a",
            "http://a?b",
            "http://::1:8001",
            "http://::1",
            "http://a:+1",
            "http://a b",
            "http://[a]",
        ] {
            check(wrong, None);
        }
        let srv = endpoint("HTTPS+srv://_http._tcp.Users.internal").unwrap();
        assert_eq!(
            (&*srv.address, srv.port, srv.srv, srv.scheme),
            ("_http._tcp.users.internal", 0, true, Scheme::Https)
        );
        for wrong in ["http+srv://a:80", "http+srv://127.0.0.1", "http+srv://[::1]", "ftp+srv://a", "http+srv://a/b"] {
            assert!(endpoint(wrong).is_err(), "{wrong}");
        }
        check("http+srv://a", None);
        assert!(endpoint("http://a/b").is_err());
        assert!(endpoint("http://a/").is_ok());
    }
}
