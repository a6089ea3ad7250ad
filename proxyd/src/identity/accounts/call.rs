//! What a client sent: a small body, as JSON or as a form of this site's own, and the token that it brought.

use std::future::poll_fn;
use std::time::Duration;

use http1::Ready;
use serde::de::DeserializeOwned;

use super::answer::Failure;
use super::fields;
use crate::exchange::body::BodyError;
use crate::exchange::{Denial, Headers, Name, Rejection, Request, name};

/// No body of ours is longer.
const MOST_BYTES: usize = 16 << 10;
/// Until all of it is there.
const LONGEST: Duration = Duration::from_secs(30);
/// The longest path that a form goes on to.
const LONGEST_PATH: usize = 2048;

static SEC_FETCH_SITE: Name = Name::known("sec-fetch-site");

/// A body, and how it is read.
pub(super) struct Call {
    body: Vec<u8>,
    is_form: bool,
    /// Whether a page is the answer: to a form of somebody who reads pages.
    pub(super) as_page: bool,
}

impl Call {
    /// Reads the body. JSON goes by its content type alone: a page of another site cannot send that without asking first, and a
    /// form it can.
    pub(super) async fn read(request: &mut Request) -> Result<Self, Failure> {
        let body = body(request).await?;
        let headers = request.head.headers();
        let kind = headers.only(&name::CONTENT_TYPE).map(media_type).unwrap_or_default();
        let is_form = kind.eq_ignore_ascii_case(b"application/x-www-form-urlencoded");
        let is_json =
            kind.eq_ignore_ascii_case(b"application/json") || body.is_empty() && !headers.has(&name::CONTENT_TYPE);
        if !is_form && !is_json {
            return Err(Failure::InvalidRequest("The body must be JSON (application/json), or a form."));
        }
        if headers.has(&name::CONTENT_ENCODING) {
            return Err(Failure::InvalidRequest("The body must not be compressed."));
        }
        let host = request.head.authority().or_else(|| headers.text(&name::HOST)).unwrap_or_default();
        if is_form && !is_same_origin(headers, host) {
            return Err(Failure::OriginRefused);
        }
        let as_page = is_form && reads_pages(headers);
        Ok(Self { body, is_form, as_page })
    }

    /// One of JSON.
    #[cfg(test)]
    pub(super) fn json(body: &str) -> Self {
        Self { body: body.as_bytes().to_vec(), is_form: false, as_page: false }
    }

    /// What it holds; `expected` is told to whoever sent something else.
    pub(super) fn fields<T: DeserializeOwned>(&self, expected: &'static str) -> Result<T, Failure> {
        let read = if self.is_form {
            fields::from_form(&self.body)
        } else if self.body.is_empty() {
            fields::from_json(b"{}")
        } else {
            fields::from_json(&self.body)
        };
        read.ok_or(Failure::InvalidRequest(expected))
    }

    /// Where a form goes on, where it says so; to this origin alone.
    pub(super) fn onward(&self, to: Option<String>) -> Result<Option<String>, Failure> {
        match to {
            Some(to) if !self.is_form || !is_own_path(&to) => {
                Err(Failure::InvalidRequest("`to` is for forms, and is a path of this site."))
            }
            to => Ok(to.filter(|_| self.as_page)),
        }
    }
}

async fn body(request: &mut Request) -> Result<Vec<u8>, Rejection> {
    if request.body.announced().is_some_and(|bytes| bytes > MOST_BYTES as u64) {
        return Err(Rejection::BodyTooLarge);
    }
    let body = &mut request.body;
    let read = async {
        let mut all = Vec::new();
        while poll_fn(|cx| body.poll_ready(cx)).await.map_err(broken)? == Ready::Data {
            let bytes = body.with_chunk(|chunk| {
                all.extend_from_slice(chunk);
                chunk.len()
            });
            body.advance(bytes);
            if all.len() > MOST_BYTES {
                return Err(Rejection::BodyTooLarge);
            }
        }
        Ok(all)
    };
    tokio::time::timeout(LONGEST, read).await.unwrap_or(Err(Rejection::BodyTimeout))
}

fn broken(error: BodyError) -> Rejection {
    match error {
        BodyError::TooLarge => Rejection::BodyTooLarge,
        BodyError::Unfit(misfit) => Rejection::Threat { rule: misfit.code(), status: misfit.status() },
        BodyError::TooSlow => Rejection::BodyTimeout,
        BodyError::OutOfTime | BodyError::BrokenOff | BodyError::Reset(_) => Rejection::BadBody,
    }
}

/// The token that came as `Authorization: Bearer` (RFC 6750 section 2.1).
pub(super) fn bearer(headers: &Headers) -> Result<&[u8], Denial> {
    let Some(value) = headers.only(&name::AUTHORIZATION) else {
        return Err(if headers.has(&name::AUTHORIZATION) { Denial::Ambiguous } else { Denial::Missing });
    };
    let (scheme, token) = value.split_at_checked("Bearer ".len()).ok_or(Denial::Missing)?;
    if !scheme.eq_ignore_ascii_case(b"bearer ") {
        return Err(Denial::Missing);
    }
    Ok(token.trim_ascii())
}

fn media_type(value: &[u8]) -> &[u8] {
    value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii()
}

/// Whether a page of this origin sent the form. A browser says so, one way or the other; who says nothing is refused.
fn is_same_origin(headers: &Headers, host: &str) -> bool {
    if headers.has(&SEC_FETCH_SITE) && headers.only(&SEC_FETCH_SITE) != Some(b"same-origin") {
        return false;
    }
    match headers.only(&name::ORIGIN) {
        Some(origin) => {
            let origin = std::str::from_utf8(origin).unwrap_or_default();
            let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            !host.is_empty() && authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
        }
        None => !headers.has(&name::ORIGIN) && headers.has(&SEC_FETCH_SITE),
    }
}

/// Whether the client lists HTML among what it accepts.
pub(super) fn reads_pages(headers: &Headers) -> bool {
    let mut ranges = headers.all(&name::ACCEPT).flat_map(|line| line.split(|byte| *byte == b','));
    ranges.any(|range| media_type(range).eq_ignore_ascii_case(b"text/html"))
}

/// Whether this is a path here, and not another site's address in some browser's reading.
fn is_own_path(to: &str) -> bool {
    let rest = to.strip_prefix('/');
    to.len() <= LONGEST_PATH
        && rest.is_some_and(|rest| !rest.starts_with(['/', '\\']))
        && to.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::new();
        for (name, value) in lines {
            assert!(headers.push(name.as_bytes(), value.as_bytes()));
        }
        headers
    }

    #[test]
    fn another_sites_form_is_refused() {
        let check = |lines: &[(&str, &str)], expected: bool| {
            assert_eq!(is_same_origin(&headers(lines), "a.example:8000"), expected, "{lines:?}");
        };
        check(&[], false);
        check(&[("origin", "null")], false);
        check(&[("origin", "http://evil.example")], false);
        check(&[("origin", "http://a.example")], false);
        check(&[("origin", "http://a.example:8000.evil.example")], false);
        check(&[("origin", "http://a.example:8000"), ("origin", "http://evil.example")], false);
        check(&[("origin", "http://evil.example"), ("sec-fetch-site", "same-origin")], false);
        check(&[("origin", "http://a.example:8000"), ("sec-fetch-site", "cross-site")], false);
        check(&[("sec-fetch-site", "same-site")], false);
        check(&[("sec-fetch-site", "none")], false);
        check(&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], false);
        check(&[("sec-fetch-site", "same-origin")], true);
        check(&[("origin", "http://A.example:8000")], true);
        check(&[("origin", "https://a.example:8000"), ("sec-fetch-site", "same-origin")], true);
        assert!(!is_same_origin(&headers(&[("origin", "http://")]), ""));
    }

    #[test]
    fn a_form_goes_on_here_and_nowhere_else() {
        let check = |to: &str, expected: bool| assert_eq!(is_own_path(to), expected, "{to:?}");
        check("", false);
        check("welcome", false);
        check("//evil.example", false);
        check("/\\evil.example", false);
        check("/a\\..\\evil", false);
        check("/\t/evil.example", false);
        check("/a\r\nSet-Cookie: x=y", false);
        check("https://evil.example", false);
        check("javascript:alert(1)", false);
        check("/\u{e4}", false);
        check(&format!("/{}", "a".repeat(LONGEST_PATH)), false);
        check("/", true);
        check("/welcome?x=1#y", true);
    }

    #[test]
    fn one_token_is_one() {
        let check = |lines: &[(&str, &str)], expected: Result<&[u8], Denial>| {
            assert_eq!(bearer(&headers(lines)), expected, "{lines:?}");
        };
        check(&[], Err(Denial::Missing));
        check(&[("authorization", "Basic YTpi")], Err(Denial::Missing));
        check(&[("authorization", "Bearer")], Err(Denial::Missing));
        check(&[("authorization", "Bearer a"), ("authorization", "Bearer b")], Err(Denial::Ambiguous));
        check(&[("authorization", "bearer  a.b.c")], Ok(b"a.b.c"));
    }
}
