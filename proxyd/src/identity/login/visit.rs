//! A request to one of our own pages, and what is read of it before anything is believed.

use openidconnect::url::form_urlencoded;

use crate::exchange::{Headers, Name};

static FETCH_SITE: Name = Name::known("sec-fetch-site");
static ORIGIN: Name = Name::known("origin");

/// The longest query that is read.
const LONGEST_QUERY: usize = 16 * 1024;

/// A request to one of our own pages.
#[derive(Clone, Copy)]
pub(super) struct Visit<'a> {
    pub method: &'a str,
    /// The path behind `identity.session.path`.
    pub page: &'a str,
    pub query: &'a str,
    pub headers: &'a Headers,
    pub https: bool,
    /// Host and port as the client has them.
    pub host: &'a str,
    pub request_id: &'a str,
    pub now_s: i64,
}

impl Visit<'_> {
    /// A parameter of the query that stands there once; `Err` where it stands there more often.
    pub(super) fn parameter(&self, wanted: &str) -> Result<Option<String>, ()> {
        if self.query.len() > LONGEST_QUERY {
            return Err(());
        }
        let mut values = form_urlencoded::parse(self.query.as_bytes())
            .filter_map(|(name, value)| (name == wanted).then(|| value.into_owned()));
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            (_, Some(_)) => Err(()),
        }
    }

    /// The origin that the client speaks to; none where its host is no host that a URL could have.
    pub(super) fn origin(&self) -> Option<String> {
        let scheme = if self.https { "https" } else { "http" };
        is_host(self.host).then(|| format!("{scheme}://{}", self.host))
    }

    /// Whether a page of this very origin, or the person, asks for it; no other site does. Browsers that do not say where a
    /// navigation comes from say it of a form that is sent.
    pub(super) fn is_own(&self, origin: &str) -> bool {
        match self.headers.only(&FETCH_SITE) {
            Some(site) => site == b"same-origin" || (site == b"none" && self.method == "GET"),
            None if self.headers.has(&FETCH_SITE) => false,
            None => self.method == "POST" && self.headers.only(&ORIGIN) == Some(origin.as_bytes()),
        }
    }
}

/// A name or an address with a port, and nothing that would make more of a URL.
fn is_host(host: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    !host.is_empty()
        && host.len() <= 255
        && host.bytes().all(is_plain)
        && openidconnect::url::Url::parse(&format!("http://{host}/")).is_ok_and(|url| url.path() == "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visit<'a>(method: &'a str, query: &'a str, host: &'a str, headers: &'a Headers) -> Visit<'a> {
        Visit { method, page: "", query, headers, https: true, host, request_id: "", now_s: 0 }
    }

    #[test]
    fn a_parameter_stands_there_once() {
        let headers = Headers::new();
        let check = |query: &str, expected: Result<Option<&str>, ()>| {
            let found = visit("GET", query, "", &headers).parameter("code");
            assert_eq!(found, expected.map(|value| value.map(str::to_owned)), "{query}");
        };
        check("code=a&code=b", Err(()));
        check("code=a&code=a", Err(()));
        check("co%64e=a&code=a", Err(()));
        check(&"a".repeat(LONGEST_QUERY + 1), Err(()));
        check("", Ok(None));
        check("Code=a&xcode=b", Ok(None));
        check("x=1&code=a%20b+c", Ok(Some("a b c")));
        check("code", Ok(Some("")));
    }

    #[test]
    fn a_host_makes_an_origin_and_nothing_else() {
        let headers = Headers::new();
        let check = |host: &str, expected: Option<&str>| {
            assert_eq!(visit("GET", "", host, &headers).origin().as_deref(), expected, "{host}");
        };
        for host in ["", "a/b", "a?b", "a#b", "user@a", "a\\b", "a b", "a:x", "[::1", "ä.example", "a\r\nb", "a:99999"]
        {
            check(host, None);
        }
        check(&"a".repeat(256), None);
        check("a.example", Some("https://a.example"));
        check("a.example:8443", Some("https://a.example:8443"));
        check("[::1]:80", Some("https://[::1]:80"));
        check("127.0.0.1:1", Some("https://127.0.0.1:1"));
    }

    #[test]
    fn another_site_is_told_from_our_own() {
        let check = |method: &str, lines: &[(&str, &str)], expected: bool| {
            let mut headers = Headers::new();
            for (name, value) in lines {
                assert!(headers.push(name.as_bytes(), value.as_bytes()));
            }
            let own = visit(method, "", "a.example", &headers).is_own("https://a.example");
            assert_eq!(own, expected, "{method} {lines:?}");
        };
        check("GET", &[], false);
        check("POST", &[], false);
        check("GET", &[("origin", "https://a.example")], false);
        check("POST", &[("origin", "null")], false);
        check("POST", &[("origin", "https://evil.example")], false);
        check("POST", &[("origin", "http://a.example")], false);
        check("POST", &[("origin", "https://a.example"), ("origin", "https://a.example")], false);
        check("POST", &[("sec-fetch-site", "none")], false);
        check("POST", &[("sec-fetch-site", "cross-site"), ("origin", "https://a.example")], false);
        check("GET", &[("sec-fetch-site", "same-site")], false);
        check("GET", &[("sec-fetch-site", "cross-site")], false);
        check("GET", &[("sec-fetch-site", "none"), ("sec-fetch-site", "none")], false);
        check("GET", &[("sec-fetch-site", "none")], true);
        check("GET", &[("sec-fetch-site", "same-origin")], true);
        check("POST", &[("sec-fetch-site", "same-origin"), ("origin", "null")], true);
        check("POST", &[("origin", "https://a.example")], true);
    }
}
