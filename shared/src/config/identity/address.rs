//! Addresses of those who are asked who somebody is: what goes there must not be read or changed on the way.

use std::net::IpAddr;
use std::sync::Arc;

use crate::config::field::Kind;
use crate::config::report::Fault;
use crate::config::url::{self, Scheme, Url};

/// The longest address, in bytes.
const MAX_BYTES: usize = 2048;

/// How such an address is written.
pub(super) const URL: Kind =
    Kind::Text { what: "a URL such as `https://id.example.com/`", sample: "https://id.example.com/sample" };

/// `https`, or `http` to this machine.
pub(super) fn guarded(text: &str) -> Result<Arc<str>, Fault> {
    let url = parse(text)?;
    if url.scheme == Scheme::Http && !is_loopback(&url.host) {
        return Err(Fault::invalid("over `http://` others could read and change what is said there")
            .hint("write it with `https://`; `http://` is taken for a loopback address only"));
    }
    Ok(text.into())
}

/// The same without a query.
pub(super) fn guarded_path(text: &str) -> Result<Arc<str>, Fault> {
    if text.contains('?') {
        return Err(Fault::invalid("this URL has no query"));
    }
    guarded(text)
}

/// `https://app.example.com`: what a browser shows before the path.
pub(super) fn origin(text: &str) -> Result<Arc<str>, Fault> {
    guarded_path(text)?;
    if !parse(text)?.path_prefix.is_empty() {
        return Err(Fault::invalid("this URL ends after the host and port").hint("https://app.example.com"));
    }
    Ok(text.trim_end_matches('/').to_ascii_lowercase().into())
}

/// `http` or `https` to whichever host.
pub(super) fn any(text: &str) -> Result<Arc<str>, Fault> {
    parse(text).map(|_| text.into())
}

/// A path of this site, or a whole URL.
pub(super) fn page(text: &str) -> Result<Arc<str>, Fault> {
    let sound = text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\') && text.len() <= MAX_BYTES;
    // Browsers take `//host` for another site.
    if text.starts_with('/') && !text.starts_with("//") && sound {
        return Ok(text.into());
    }
    if text.contains("://") {
        return any(text);
    }
    Err(Fault::invalid("this is neither a path nor a URL").hint("write it as `/` or `https://www.example.com/bye`"))
}

fn parse(text: &str) -> Result<Url, Fault> {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    if !matches!(scheme.as_deref(), Some("http" | "https")) {
        return Err(Fault::invalid("this is not a URL").hint("write it with its scheme: `https://id.example.com/path`"));
    }
    if text.len() > MAX_BYTES || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Fault::invalid("a URL has visible ASCII characters, at most 2048 of them"));
    }
    if text.contains('#') {
        return Err(Fault::invalid("a URL has no fragment here").hint("take `#` and what follows away"));
    }
    url::target(text.split_once('?').map_or(text, |(before, _)| before))
}

/// Whether what is sent there stays on this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let address = host.parse::<IpAddr>();
    address.map_or_else(|_| host == "localhost" || host.ends_with(".localhost"), |address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(read: fn(&str) -> Result<Arc<str>, Fault>, text: &str, expected: Option<&str>) {
        assert_eq!(read(text).ok().as_deref(), expected, "{text}");
    }

    #[test]
    fn what_goes_over_the_network_is_encrypted() {
        for wrong in [
            "",
            "id.example.com",
            "http://id.example.com/jwks",
            "http://127.0.0.1.example.com/",
            "http://localhost.example.com/",
            "http://10.0.0.1/",
            "https://user:pass@id.example.com/",
            "https://id.example.com/#x",
            "https://id.example.com/a b",
            "https+srv://id.example.com/",
            "file:///etc/passwd",
        ] {
            check(guarded, wrong, None);
        }
        for right in
            ["https://id.example.com/jwks?p=1", "http://127.0.0.1:8080/jwks", "http://[::1]/", "http://localhost:3000"]
        {
            check(guarded, right, Some(right));
        }
        check(guarded_path, "https://a/?b", None);
        check(any, "http://authelia:9091/verify", Some("http://authelia:9091/verify"));
    }

    #[test]
    fn origins_and_pages() {
        check(origin, "https://App.example.com/", Some("https://app.example.com"));
        check(origin, "https://app.example.com/x", None);
        check(origin, "http://app.example.com", None);
        check(page, "/bye?x=1", Some("/bye?x=1"));
        check(page, "https://www.example.com/", Some("https://www.example.com/"));
        for wrong in ["", "bye", "//evil.example", "/\\evil.example", "javascript://x", "/a b"] {
            check(page, wrong, None);
        }
    }
}
