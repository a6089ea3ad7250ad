//! `Max-Forwards` (RFC 9110 section 7.6.2): how many hops a TRACE or OPTIONS may still take.

use crate::exchange::{Body, Exchange, Name, Request, Response, ResponseHead, Value, name};

static MAX_FORWARDS: Name = Name::known("max-forwards");

/// Counts this hop; the answer, where there may be no further one.
pub(super) fn count(exchange: &Exchange, request: &mut Request) -> Option<Response> {
    if !matches!(exchange.method(), "TRACE" | "OPTIONS") {
        return None;
    }
    let headers = request.head.headers_mut();
    // What is no number limits nothing.
    let left: u64 = headers.text(&MAX_FORWARDS)?.parse().ok()?;
    if left > 0 {
        headers.set_number(&MAX_FORWARDS, left - 1);
        return None;
    }
    if exchange.method() == "OPTIONS" {
        return Some(Response::empty(200));
    }
    // Its fields may hold what whoever asks must not see (section 9.3.8): the request line is told, nothing else.
    let line = format!("TRACE {} {}\r\n\r\n", request.head.target(), request.head.version().as_str());
    let mut head = ResponseHead::new(200);
    head.headers_mut().set(&name::CONTENT_TYPE, Value::known("message/http"));
    Some(Response::new(head, Body::text(line)))
}
