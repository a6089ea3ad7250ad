//! Messages of HTTP/2 told in the terms of the exchange, and back. What HTTP/1.1 could not carry is refused here, so that
//! no translation can make one message into another (RFC 9113 sections 8.2, 8.3 and 10.3).

use http::header::{COOKIE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, request};
use http1::{Fault, HeadLimits, Version};

use super::head::{Headers, RequestHead, ResponseHead, name};

/// What a field costs beside its name and value, as HTTP/1.1 would write it.
const LINE: usize = 4;

/// The head of a request. `limits` are those of HTTP/1.1's heads.
///
/// # Errors
///
/// The first fault.
pub fn request_head(parts: &request::Parts, limits: &HeadLimits) -> Result<RequestHead, Fault> {
    let uri = &parts.uri;
    let is_connect = parts.method == Method::CONNECT;
    // Where no authority came but a `Host`, the scheme that came with it is not told.
    if uri.authority().is_some() && !is_connect && !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(Fault::Target);
    }
    let target = match uri.path_and_query() {
        Some(target) if !is_connect => target.as_str(),
        _ => uri.authority().map(http::uri::Authority::as_str).unwrap_or_default(),
    };
    if target.len() > limits.start_line {
        return Err(Fault::StartLineTooLong);
    }
    let mut head = RequestHead::new(parts.method.as_str(), target, Version::Http2)?;
    let headers = head.headers_mut();
    if let Some(authority) = uri.authority() {
        // Two names for the host are refused where they differ, as two `Host` lines are.
        let same = |host: &HeaderValue| host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes());
        if !parts.headers.get(HOST).is_some_and(same) {
            push(headers, b"host", authority.as_str().as_bytes())?;
        }
    }
    let mut bytes = 0;
    let mut crumbs = false;
    if parts.headers.len() > limits.count {
        return Err(Fault::TooManyFields);
    }
    for (name, value) in &parts.headers {
        bytes += name.as_str().len() + value.len() + LINE;
        if bytes > limits.fields {
            return Err(Fault::FieldsTooLarge);
        }
        if name == COOKIE {
            crumbs = true;
        } else {
            push(headers, name.as_str().as_bytes(), value.as_bytes())?;
        }
    }
    if crumbs {
        // A cookie may come in several fields; in HTTP/1.1 it is one (RFC 9113 section 8.2.3).
        let mut cookie = Vec::new();
        for crumb in parts.headers.get_all(COOKIE) {
            if !cookie.is_empty() {
                cookie.extend_from_slice(b"; ");
            }
            cookie.extend_from_slice(crumb.as_bytes());
        }
        push(headers, b"cookie", &cookie)?;
    }
    if headers.has(&name::TRANSFER_ENCODING) {
        return Err(Fault::Coding);
    }
    Ok(head)
}

fn push(headers: &mut Headers, name: &[u8], value: &[u8]) -> Result<(), Fault> {
    if headers.push(name, value) { Ok(()) } else { Err(Fault::FieldValue) }
}

/// The head of an upstream's answer; none where it could not be one of HTTP/1.1.
pub fn response_head(status: StatusCode, fields: &HeaderMap) -> Option<ResponseHead> {
    let mut head = ResponseHead::new(status.as_u16()).with_version(Version::Http2);
    for (name, value) in fields {
        if !head.headers_mut().push(name.as_str().as_bytes(), value.as_bytes()) {
            return None;
        }
    }
    Some(head)
}

/// Trailer fields; none where one could not stand in HTTP/1.1.
pub fn trailers(fields: &HeaderMap) -> Option<Box<Headers>> {
    let mut headers = Box::new(Headers::new());
    for (name, value) in fields {
        if !headers.push(name.as_str().as_bytes(), value.as_bytes()) {
            return None;
        }
    }
    Some(headers)
}

/// The fields as HTTP/2 has them, without `skipped`; what it cannot carry is left out.
pub fn fields(headers: &Headers, skipped: &str) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(headers.len() + 1);
    for (name, value) in headers.shared() {
        if name.eq_ignore_ascii_case(skipped) {
            continue;
        }
        let value = HeaderValue::from_maybe_shared(value);
        if let (Ok(name), Ok(mut value)) = (HeaderName::from_bytes(name.as_bytes()), value) {
            // Not to be kept in a compression table that could be probed (RFC 7541 section 7.1.3).
            value.set_sensitive(matches!(name.as_str(), "authorization" | "cookie" | "set-cookie"));
            let _ = fields.try_append(name, value);
        }
    }
    fields
}

/// The target of a request upstream.
pub fn uri(scheme: &'static str, authority: &str, target: &str) -> Option<Uri> {
    Uri::builder().scheme(scheme).authority(authority).path_and_query(target).build().ok()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const LIMITS: HeadLimits = HeadLimits { start_line: 100, fields: 200, count: 5 };

    fn told(request: Request<()>) -> Result<String, Fault> {
        let head = request_head(&request.into_parts().0, &LIMITS)?;
        let mut out = Vec::new();
        head.write(None, &mut out);
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    fn get(uri: &str) -> http::request::Builder {
        Request::builder().uri(uri)
    }

    #[test]
    fn a_request_is_told_in_lines() {
        let request = get("https://example.org/a?b").header("x-y", "1").header("cookie", "a=1").header("cookie", "b=2");
        let told = told(request.body(()).unwrap()).unwrap();
        assert_eq!(told, "GET /a?b HTTP/1.1\r\nhost: example.org\r\nx-y: 1\r\ncookie: a=1; b=2\r\n");
    }

    #[test]
    fn an_authority_beside_another_host_stays_beside_it() {
        let same = told(get("https://h/").header("host", "H").body(()).unwrap()).unwrap();
        assert_eq!(same, "GET / HTTP/1.1\r\nhost: H\r\n");
        let other = told(get("https://h/").header("host", "evil").body(()).unwrap()).unwrap();
        assert_eq!(other, "GET / HTTP/1.1\r\nhost: h\r\nhost: evil\r\n");
    }

    #[test]
    fn a_host_does_for_an_authority() {
        assert_eq!(told(get("/x").header("host", "h").body(()).unwrap()).unwrap(), "GET /x HTTP/1.1\r\nhost: h\r\n");
    }

    #[test]
    fn what_has_no_line_is_refused() {
        let fault = |builder: http::request::Builder| told(builder.body(()).unwrap()).unwrap_err();
        assert_eq!(fault(get("ftp://h/")), Fault::Target);
        assert_eq!(fault(get("https://h/").header("transfer-encoding", "chunked")), Fault::Coding);
        assert_eq!(fault(get("https://h/").header("x", " padded")), Fault::FieldValue);
        assert_eq!(fault(get(&format!("https://h/{}", "a".repeat(100)))), Fault::StartLineTooLong);
        assert_eq!(fault(get("https://h/").header("x", "a".repeat(200))), Fault::FieldsTooLarge);
        let many = (0..6).fold(get("https://h/"), |builder, n| builder.header(format!("x-{n}"), ""));
        assert_eq!(fault(many), Fault::TooManyFields);
    }
}
