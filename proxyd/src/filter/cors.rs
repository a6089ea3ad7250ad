//! The filter `cors`: answers preflights, and tells browsers which scripts may read an answer.

use shared::config::policy::Cors;
use shared::decide::cors::{CorsFacts, CorsVerdict, decide};

use super::Verdict;
use crate::exchange::{CorsNote, Exchange, Headers, Name, Request, Response, Value, name};

static REQUEST_METHOD: Name = Name::known("access-control-request-method");
static REQUEST_HEADERS: Name = Name::known("access-control-request-headers");
static REQUEST_PRIVATE_NETWORK: Name = Name::known("access-control-request-private-network");

/// What an upstream may have said of CORS itself: ours replaces it whole, since two answers are none to a browser.
static GRANTS: [Name; 6] = [
    Name::known("access-control-allow-origin"),
    Name::known("access-control-allow-credentials"),
    Name::known("access-control-allow-methods"),
    Name::known("access-control-allow-headers"),
    Name::known("access-control-expose-headers"),
    Name::known("access-control-max-age"),
];

pub(super) fn on_request(cors: &Cors, exchange: &mut Exchange, request: &Request) -> Verdict {
    let headers = request.head.headers();
    let facts = CorsFacts {
        method: request.head.method(),
        origin: headers.text(&name::ORIGIN),
        request_method: headers.text(&REQUEST_METHOD),
        request_headers: headers.text(&REQUEST_HEADERS),
        request_private_network: headers.text(&REQUEST_PRIVATE_NETWORK),
    };
    match decide(cors, &facts) {
        CorsVerdict::Preflight(lines) => {
            let mut response = Response::empty(204);
            set(response.head.headers_mut(), lines);
            Verdict::Answer(response)
        }
        CorsVerdict::Actual { headers, vary_origin } => {
            let lines =
                headers.into_iter().filter_map(|(name, value)| Some((Name::known(name), Value::parse(&value)?)));
            exchange.notes.cors = Some(CorsNote { headers: lines.collect(), vary_origin });
            Verdict::Pass
        }
    }
}

fn set(headers: &mut Headers, lines: Vec<(&'static str, String)>) {
    for (name, value) in lines {
        if let Some(value) = Value::parse(&value) {
            headers.add(&Name::known(name), value);
        }
    }
}

pub(super) fn on_response(exchange: &mut Exchange, response: &mut Response) {
    let Some(note) = exchange.notes.cors.take() else { return };
    let headers = response.head.headers_mut();
    for grant in &GRANTS {
        headers.remove(grant);
    }
    for (name, value) in note.headers {
        headers.set(&name, value);
    }
    let told = |line: &[u8]| {
        line.split(|&byte| byte == b',').any(|name| {
            let name = name.trim_ascii();
            name == b"*" || name.eq_ignore_ascii_case(b"origin")
        })
    };
    if note.vary_origin && !headers.all(&name::VARY).any(told) {
        headers.add(&name::VARY, Value::known("Origin"));
    }
}
