//! What a cross-origin request is told (Fetch standard, CORS protocol).

use std::sync::Arc;

use crate::config::policy::{Cors, CorsOrigins, Names};

/// The longest `Origin` that is let in: a scheme, a host name of 253 and a port have ample room.
const MAX_ORIGIN_BYTES: usize = 512;

/// How many header names a preflight may ask for.
const MAX_ASKED_HEADERS: usize = 100;

/// Facts of a request that CORS looks at; header values as received, absent ones none.
#[derive(Clone, Copy, Debug, Default)]
pub struct CorsFacts<'a> {
    pub method: &'a str,
    pub origin: Option<&'a str>,
    /// `access-control-request-method`
    pub request_method: Option<&'a str>,
    /// `access-control-request-headers`
    pub request_headers: Option<&'a str>,
    /// `access-control-request-private-network` is not granted.
    pub request_private_network: Option<&'a str>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsVerdict {
    /// A preflight: answered by us, 204 with these headers: its grants (none when the origin, method or a header is not let in)
    /// and `vary` where the answer depends on the request.
    Preflight(Vec<(&'static str, String)>),
    /// An actual request: these headers go on its answer (replacing the upstream's of the same names), plus `Vary` as told.
    Actual { headers: Vec<(&'static str, String)>, vary_origin: bool },
}

/// Decides.
///
/// An `OPTIONS` with `Origin` and `Access-Control-Request-Method` is a preflight. A policy that lets any origin in answers `*`
/// to every request, one with or without `Origin`, so that caches may share the answer; `*` never goes with credentials.
#[must_use]
pub fn decide(cors: &Cors, facts: &CorsFacts<'_>) -> CorsVerdict {
    let vary_origin = cors.allow_origins != CorsOrigins::Any;
    let mut headers = granted_origin(cors, facts.origin);
    if let ("OPTIONS", Some(_), Some(method)) = (facts.method, facts.origin, facts.request_method) {
        let asked = facts.request_headers.unwrap_or_default();
        if !headers.is_empty() && admits_method(&cors.allow_methods, method) && admits_headers(cors, asked) {
            headers.extend(preflight_grants(cors, asked));
        } else {
            headers.clear();
        }
        headers.extend(preflight_vary(cors, vary_origin));
        return CorsVerdict::Preflight(headers);
    }
    if !headers.is_empty() && !cors.expose_headers.is_empty() {
        headers.push(("access-control-expose-headers", cors.expose_headers.join(", ")));
    }
    CorsVerdict::Actual { headers, vary_origin }
}

/// `access-control-allow-origin` and `-credentials`, if the origin is let in.
fn granted_origin(cors: &Cors, origin: Option<&str>) -> Vec<(&'static str, String)> {
    let granted = match (&cors.allow_origins, origin) {
        (CorsOrigins::Any, _) => "*",
        (CorsOrigins::List { exact, wildcard }, Some(origin)) if lists(exact, wildcard, origin) => origin,
        (CorsOrigins::List { .. }, _) => return Vec::new(),
    };
    let mut headers = vec![("access-control-allow-origin", granted.to_owned())];
    if cors.credentials && granted != "*" {
        headers.push(("access-control-allow-credentials", "true".to_owned()));
    }
    headers
}

/// `null` is let in only where it is listed: any page in a sandbox can send it.
fn lists(exact: &[Arc<str>], wildcard: &[(Arc<str>, Arc<str>)], origin: &str) -> bool {
    if origin.len() > MAX_ORIGIN_BYTES {
        return false;
    }
    let in_star = |before: &str, after: &str| origin.strip_prefix(before)?.strip_suffix(after);
    exact.iter().any(|listed| **listed == *origin)
        || wildcard.iter().any(|(before, after)| in_star(before, after).is_some_and(is_labels))
}

/// One or more labels of a host name, lower case as browsers serialise them.
fn is_labels(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|octet| matches!(octet, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
    };
    text.split('.').all(is_label)
}

/// Where GET is let in, so is HEAD.
fn admits_method(allowed: &Names, method: &str) -> bool {
    match allowed {
        Names::Any => true,
        Names::List(list) => list.iter().any(|name| **name == *method || (**name == *"GET" && method == "HEAD")),
    }
}

fn admits_headers(cors: &Cors, asked: &str) -> bool {
    let Names::List(list) = &cors.allow_headers else { return true };
    let mut names = asked.split(',').map(|name| name.trim_matches([' ', '\t'])).filter(|name| !name.is_empty());
    names.by_ref().take(MAX_ASKED_HEADERS).all(|name| list.iter().any(|listed| listed.eq_ignore_ascii_case(name)))
        && names.next().is_none()
}

/// `*` for headers does not cover `authorization` (Fetch standard, CORS-preflight fetch): that one needs to be listed.
fn preflight_grants(cors: &Cors, asked: &str) -> Vec<(&'static str, String)> {
    let text = |names: &Names| match names {
        Names::Any => "*".to_owned(),
        Names::List(list) => list.join(", "),
    };
    let mut headers = vec![("access-control-allow-methods", text(&cors.allow_methods))];
    let allowed = text(&cors.allow_headers);
    if !asked.is_empty() && !allowed.is_empty() {
        headers.push(("access-control-allow-headers", allowed));
    }
    if let Some(max_age) = cors.max_age {
        headers.push(("access-control-max-age", max_age.as_secs().to_string()));
    }
    headers
}

fn preflight_vary(cors: &Cors, vary_origin: bool) -> Option<(&'static str, String)> {
    let parts = [
        (vary_origin, "origin"),
        (cors.allow_methods != Names::Any, "access-control-request-method"),
        // Whether headers are told at all depends on whether they were asked for.
        (true, "access-control-request-headers"),
    ];
    let names: Vec<&str> = parts.into_iter().filter_map(|(depends, name)| depends.then_some(name)).collect();
    (!names.is_empty()).then(|| ("vary", names.join(", ")))
}

#[cfg(test)]
mod tests;
