//! The one masking function: what is hidden from log, audit, errors, traces, `config show` and exports.
//!
//! What is masked says that it was there: `present, masked, 43 bytes`, so that absent and hidden differ.

use std::borrow::Cow;

/// Which names hide their values; names without case.
#[derive(Clone, Debug, Default)]
pub struct Mask {
    headers: Vec<String>,
    query: Vec<String>,
}

/// Headers whose values are always hidden; lower case, sorted.
const HEADERS: &[&str] = &[
    "authentication-info",
    "authorization",
    "cookie",
    "proxy-authorization",
    "set-cookie",
    "x-access-token",
    "x-amz-security-token",
    "x-api-key",
    "x-auth-token",
    "x-csrf-token",
    "x-vault-token",
    "x-xsrf-token",
];

/// A query parameter is hidden when its name, without case, `-`, `_` and `.`, ends with one of these…
const QUERY_ENDS: &[&str] = &[
    "apikey",
    "assertion",
    "authorization",
    "credential",
    "credentials",
    "jwt",
    "passphrase",
    "passwd",
    "password",
    "secret",
    "sessionid",
    "signature",
    "token",
];

/// … or is one of these: words that honest names end with too (`zipcode`, `monkey`).
const QUERY_WHOLE: &[&str] = &["auth", "code", "key", "pass", "pwd", "session", "sid", "sig"];

impl Mask {
    /// The built-in list and the operator's additions (lower case).
    #[must_use]
    pub fn new(headers: &[String], query: &[String]) -> Self {
        Self { headers: headers.to_vec(), query: query.to_vec() }
    }

    /// What stands for a hidden value.
    #[must_use]
    pub fn hidden(bytes: usize) -> String {
        format!("present, masked, {bytes} bytes")
    }

    /// Whether a header of this (lower-case) name is hidden.
    #[must_use]
    pub fn hides_header(&self, name: &str) -> bool {
        HEADERS.binary_search(&name).is_ok() || self.headers.iter().any(|hidden| hidden == name)
    }

    /// Whether a query parameter of this name is hidden.
    #[must_use]
    pub fn hides_query(&self, name: &str) -> bool {
        let decoded = percent_decoded(name.as_bytes());
        let decoded = String::from_utf8_lossy(&decoded);
        if self.query.iter().any(|hidden| decoded.eq_ignore_ascii_case(hidden)) {
            return true;
        }
        let plain: String =
            decoded.chars().filter(|c| !matches!(c, '-' | '_' | '.')).map(|c| c.to_ascii_lowercase()).collect();
        QUERY_ENDS.iter().any(|end| plain.ends_with(end)) || QUERY_WHOLE.contains(&&*plain)
    }

    /// A header's value, fit to be shown.
    #[must_use]
    pub fn header<'a>(&self, name: &str, value: &'a str) -> Cow<'a, str> {
        if self.hides_header(name) { Cow::Owned(Self::hidden(value.len())) } else { Cow::Borrowed(value) }
    }

    /// A query string (without `?`), fit to be shown: `token=…` becomes `token=[present, masked, 43 bytes]`.
    #[must_use]
    pub fn query<'a>(&self, query: &'a str) -> Cow<'a, str> {
        if query.is_empty() || !query.split('&').any(|pair| self.hides_pair(pair)) {
            return Cow::Borrowed(query);
        }
        let mut shown = String::with_capacity(query.len() + 24);
        for (index, pair) in query.split('&').enumerate() {
            if index > 0 {
                shown.push('&');
            }
            match pair.split_once('=') {
                Some((name, value)) if self.hides_query(name) => {
                    shown.push_str(name);
                    shown.push_str("=[");
                    shown.push_str(&Self::hidden(value.len()));
                    shown.push(']');
                }
                Some(_) | None => shown.push_str(pair),
            }
        }
        Cow::Owned(shown)
    }

    fn hides_pair(&self, pair: &str) -> bool {
        pair.split_once('=').is_some_and(|(name, _)| self.hides_query(name))
    }

    /// A URL or authority without its userinfo: `http://user:pass@h/` becomes `http://[present, masked, 9 bytes]@h/`.
    #[must_use]
    pub fn userinfo(url: &str) -> Cow<'_, str> {
        let start = url.find("//").map_or(0, |at| at + 2);
        let rest = url.get(start..).unwrap_or_default();
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        match rest.get(..end).and_then(|authority| authority.rfind('@')) {
            Some(at) => Cow::Owned(format!(
                "{}[{}]{}",
                url.get(..start).unwrap_or_default(),
                Self::hidden(at),
                rest.get(at..).unwrap_or_default()
            )),
            None => Cow::Borrowed(url),
        }
    }
}

/// What percent-encoding stands for (RFC 3986 section 2.1), so that `to%6Ben` hides no better than `token`. A percent sign without two
/// digits stands for itself.
#[must_use]
pub fn percent_decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        let escaped = match (first, after) {
            (b'%', [high, low, ..]) => digit(*high).zip(digit(*low)),
            _ => None,
        };
        let byte = escaped.and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        decoded.push(byte.unwrap_or(first));
        rest = if byte.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    Cow::Owned(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, expected: &str) {
        let mask = Mask::new(&["x-internal".into()], &["ticket".into()]);
        assert_eq!(mask.query(query), expected);
    }

    #[test]
    fn secrets_in_queries_are_hidden() {
        check("", "");
        check("page=2&sort=up", "page=2&sort=up");
        check("token=abc", "token=[present, masked, 3 bytes]");
        check("a=1&Access-Token=abcd&b", "a=1&Access-Token=[present, masked, 4 bytes]&b");
        check("to%6Ben=x", "to%6Ben=[present, masked, 1 bytes]");
        check("TICKET=12", "TICKET=[present, masked, 2 bytes]");
        check("token", "token");
        check("zipcode=1&monkey=2&code=3", "zipcode=1&monkey=2&code=[present, masked, 1 bytes]");
        check("X-Amz-Signature=ab", "X-Amz-Signature=[present, masked, 2 bytes]");
        check("%zz=1&%=2", "%zz=1&%=2");
        check("toke%+6n=1", "toke%+6n=1");
    }

    #[test]
    fn secrets_in_headers_are_hidden() {
        let mask = Mask::new(&["x-internal".into()], &[]);
        assert_eq!(mask.header("authorization", "Bearer x"), "present, masked, 8 bytes");
        assert_eq!(mask.header("x-internal", ""), "present, masked, 0 bytes");
        assert_eq!(mask.header("accept", "*/*"), "*/*");
        assert!(HEADERS.is_sorted());
    }

    #[test]
    fn userinfo_is_hidden() {
        assert_eq!(Mask::userinfo("http://u:p@h/x"), "http://[present, masked, 3 bytes]@h/x");
        assert_eq!(Mask::userinfo("http://h/x@y"), "http://h/x@y");
        assert_eq!(Mask::userinfo("u@h"), "[present, masked, 1 bytes]@h");
    }
}
