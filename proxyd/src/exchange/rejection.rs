//! Every way a request ends at us: one variant, with its status and its stable code. The code is the same in the body,
//! the log, the metrics and the audit row.

use std::borrow::Cow;
use std::sync::Arc;

use http1::Fault;

use super::head::{Headers, Value, name};
use super::{Body, Response, ResponseHead};

/// A request that we answer with an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// No `Host`, several, or one that is none; or one that differs from an absolute target's.
    BadHost,
    /// A target that is no path we accept.
    BadPath(&'static str),
    /// An encoded slash where the route does not allow it.
    EncodedSlash,
    /// `CONNECT`: this is no forward proxy.
    ConnectRefused,
    /// Bytes that are no request.
    Head(Fault),
    /// The head of a request did not come in time.
    HeadTimeout,
    /// An expectation other than 100-continue.
    ExpectationUnknown,
    RouteNotFound,
    /// The methods that the path would take.
    MethodNotAllowed(Vec<Arc<str>>),
    AccessDenied,
    /// Whole seconds until one would pass.
    RateLimited {
        retry_after_s: u64,
    },
    BodyTooLarge,
    /// The client was too slow with its body.
    BodyTimeout,
    /// The client's body broke its own framing.
    BadBody,
    /// There is no room for the request's audit row.
    AuditUnavailable,
    /// No connection to any endpoint.
    UpstreamConnect,
    UpstreamConnectTimeout,
    /// A name that cannot be resolved.
    UpstreamUnresolved,
    /// As many requests wait for a connection as may.
    UpstreamQueueFull,
    /// Waited in vain for a connection.
    UpstreamQueueTimeout,
    /// Connected, and then silent.
    UpstreamTimeout,
    /// The time for the whole request was up.
    TotalTimeout,
    /// The connection broke before an answer.
    UpstreamReset,
    /// An answer that is not HTTP.
    UpstreamProtocol,
    /// A fault of ours.
    Internal,
}

impl Rejection {
    /// The status it is answered with.
    pub fn status(&self) -> u16 {
        match self {
            Self::Head(Fault::StartLineTooLong) => 414,
            Self::Head(Fault::FieldsTooLarge | Fault::TooManyFields) => 431,
            Self::BadHost | Self::BadPath(_) | Self::EncodedSlash | Self::BadBody | Self::Head(_) => 400,
            Self::AccessDenied => 403,
            Self::RouteNotFound => 404,
            Self::MethodNotAllowed(_) => 405,
            Self::BodyTimeout | Self::HeadTimeout => 408,
            Self::BodyTooLarge => 413,
            Self::ExpectationUnknown => 417,
            Self::RateLimited { .. } => 429,
            Self::Internal => 500,
            Self::ConnectRefused => 501,
            Self::UpstreamConnect | Self::UpstreamUnresolved | Self::UpstreamReset | Self::UpstreamProtocol => 502,
            Self::AuditUnavailable | Self::UpstreamQueueFull | Self::UpstreamQueueTimeout => 503,
            Self::UpstreamConnectTimeout | Self::UpstreamTimeout | Self::TotalTimeout => 504,
        }
    }

    /// Its stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadHost => "bad_host",
            Self::BadPath(_) => "path_malformed",
            Self::EncodedSlash => "path_encoded_slash",
            Self::ConnectRefused => "connect_refused",
            Self::Head(Fault::StartLineTooLong) => "request_line_too_long",
            Self::Head(Fault::FieldsTooLarge | Fault::TooManyFields) => "headers_too_large",
            Self::Head(_) => "request_malformed",
            Self::HeadTimeout => "request_head_timeout",
            Self::ExpectationUnknown => "expectation_unknown",
            Self::RouteNotFound => "route_not_found",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::AccessDenied => "access_denied",
            Self::RateLimited { .. } => "rate_limited",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTimeout => "body_timeout",
            Self::BadBody => "body_malformed",
            Self::AuditUnavailable => "audit_unavailable",
            Self::UpstreamConnect => "upstream_connect",
            Self::UpstreamConnectTimeout => "upstream_connect_timeout",
            Self::UpstreamUnresolved => "upstream_unresolved",
            Self::UpstreamQueueFull => "upstream_queue_full",
            Self::UpstreamQueueTimeout => "upstream_queue_timeout",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::TotalTimeout => "total_timeout",
            Self::UpstreamReset => "upstream_reset",
            Self::UpstreamProtocol => "upstream_protocol",
            Self::Internal => "internal_error",
        }
    }

    /// One sentence for whoever sent the request. It gives nothing away of what lies behind.
    pub fn message(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::BadHost => "The request must name exactly one valid host.",
            Self::BadPath(reason) => reason,
            Self::EncodedSlash => "The path holds an encoded slash or backslash.",
            Self::ConnectRefused => "CONNECT is not served here.",
            Self::Head(fault) => return Cow::Owned(format!("This is no request: {fault}.")),
            Self::HeadTimeout => "The request's head did not come in time.",
            Self::ExpectationUnknown => "The only expectation served is 100-continue.",
            Self::RouteNotFound => "No route matches this request.",
            Self::MethodNotAllowed(_) => "This path does not take this method.",
            Self::AccessDenied => "This address may not come in.",
            Self::RateLimited { .. } => "Too many requests.",
            Self::BodyTooLarge => "The request's body is too large.",
            Self::BodyTimeout => "The request's body came too slowly.",
            Self::BadBody => "The request's body is malformed.",
            Self::AuditUnavailable => "The request cannot be recorded now.",
            Self::UpstreamConnect | Self::UpstreamUnresolved => "The service behind this route cannot be reached.",
            Self::UpstreamQueueFull | Self::UpstreamQueueTimeout => "The service behind this route is too busy.",
            Self::UpstreamConnectTimeout | Self::UpstreamTimeout | Self::TotalTimeout => {
                "The service behind this route did not answer in time."
            }
            Self::UpstreamReset => "The service behind this route broke off.",
            Self::UpstreamProtocol => "The service behind this route gave an answer that makes no sense.",
            Self::Internal => "Something went wrong here.",
        })
    }

    /// Whether the rest of the request must not be read: the connection ends with the answer.
    pub fn closes(&self) -> bool {
        match self {
            Self::BadHost
            | Self::Head(_)
            | Self::HeadTimeout
            | Self::BodyTooLarge
            | Self::BodyTimeout
            | Self::BadBody
            | Self::ConnectRefused => true,
            Self::BadPath(_)
            | Self::EncodedSlash
            | Self::ExpectationUnknown
            | Self::RouteNotFound
            | Self::MethodNotAllowed(_)
            | Self::AccessDenied
            | Self::RateLimited { .. }
            | Self::AuditUnavailable
            | Self::UpstreamConnect
            | Self::UpstreamConnectTimeout
            | Self::UpstreamUnresolved
            | Self::UpstreamQueueFull
            | Self::UpstreamQueueTimeout
            | Self::UpstreamTimeout
            | Self::TotalTimeout
            | Self::UpstreamReset
            | Self::UpstreamProtocol
            | Self::Internal => false,
        }
    }

    /// The answer: one JSON envelope, or a plain line for a client that does not accept JSON.
    pub fn response(&self, request_id: &str, json: bool) -> Response {
        let mut head = ResponseHead::new(self.status());
        let headers = head.headers_mut();
        if let Self::MethodNotAllowed(methods) = self
            && let Some(allow) = Value::parse(&methods.join(", "))
        {
            headers.set(&name::ALLOW, allow);
        }
        if let Self::RateLimited { retry_after_s } = self {
            headers.set_number(&name::RETRY_AFTER, *retry_after_s);
        } else if self.status() == 503 {
            headers.set(&name::RETRY_AFTER, Value::known("1"));
        }
        if self.closes() {
            headers.set(&name::CONNECTION, Value::known("close"));
        }
        let text = if json {
            headers.set(&name::CONTENT_TYPE, Value::known("application/json"));
            let envelope = serde_json::json!({"error": {
                "code": self.code(), "message": self.message(), "status": self.status(), "request_id": request_id,
            }});
            format!("{envelope}\n")
        } else {
            headers.set(&name::CONTENT_TYPE, Value::known("text/plain; charset=utf-8"));
            format!("{} {}: {} (request {request_id})\n", self.status(), self.code(), self.message())
        };
        Response::new(head, Body::text(text))
    }
}

/// Whether our own errors may be JSON: unless the client lists what it accepts, and JSON is not in it.
pub fn accepts_json(headers: &Headers) -> bool {
    let mut lines = headers.all(&name::ACCEPT).peekable();
    if lines.peek().is_none() {
        return true;
    }
    let takes = |range: &[u8]| {
        let range = range.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        range.eq_ignore_ascii_case(b"application/json")
            || range.eq_ignore_ascii_case(b"application/*")
            || range == b"*/*"
            || range.ends_with(b"+json")
    };
    lines.any(|line| line.split(|&byte| byte == b',').any(takes))
}
