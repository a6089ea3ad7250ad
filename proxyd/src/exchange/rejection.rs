//! Every way a request ends at us: one variant, with its status and its stable code. The code is the same in the body,
//! the log, the metrics and the audit row.

use std::borrow::Cow;
use std::sync::Arc;

use http1::Fault;

use super::head::{Headers, Name, Value, name};
use super::{Body, Challenges, Denial, Lack, Response, ResponseHead};

/// A request that we answer with an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// No `Host`, several, or one that is none; or one that differs from an absolute target's.
    BadHost,
    /// A target that is no path we accept.
    BadPath(&'static str),
    /// An encoded slash where the route does not allow it.
    EncodedSlash,
    /// `get`: methods are told apart by case (RFC 9110 section 9.1), but not by every server; one that we take for another than
    /// GET could be GET behind us.
    BadMethod,
    /// `CONNECT`: this is no forward proxy.
    ConnectRefused,
    /// Bytes that are no request.
    Head(Fault),
    /// A protocol that the listener does not serve.
    ProtocolRefused,
    /// The head of a request did not come in time.
    HeadTimeout,
    /// An expectation other than 100-continue.
    ExpectationUnknown,
    RouteNotFound,
    /// The methods that the path would take.
    MethodNotAllowed(Vec<Arc<str>>),
    AccessDenied,
    /// Refused for a while, for what its address did before.
    Banned {
        retry_after_s: u64,
    },
    /// It looks like an attack; or not as requests here must look. The rule is told, never what it found.
    Threat {
        rule: &'static str,
        status: u16,
    },
    /// Nobody was recognised.
    Unauthenticated {
        why: Denial,
        challenges: Challenges,
    },
    /// Too many wrong passwords: of an account, or from an address. Whole seconds until one is tried again.
    Locked {
        retry_after_s: u64,
    },
    /// Recognised, and it may not.
    Forbidden {
        lack: Lack,
        challenges: Challenges,
    },
    /// Whoever would know is not reached: fails closed.
    AuthUnavailable,
    /// The store of a limit does not answer, and the rule says `deny`.
    StoreUnavailable,
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
    /// The endpoint did not prove who it is, or speaks no TLS that we speak.
    UpstreamTls,
    UpstreamTlsTimeout,
    /// A name that cannot be resolved.
    UpstreamUnresolved,
    /// No endpoint may be chosen: they are down, drained or not well.
    UpstreamUnavailable,
    /// The breakers of all endpoints are open.
    UpstreamCircuitOpen {
        retry_after_s: u64,
    },
    /// As many requests wait for a connection as may.
    UpstreamQueueFull,
    /// Waited in vain for a connection.
    UpstreamQueueTimeout,
    /// Connected, and then it did not take the request.
    UpstreamWriteTimeout,
    /// Connected, and then silent.
    UpstreamTimeout,
    /// The time for the whole request was up.
    TotalTimeout,
    /// The connection broke before an answer.
    UpstreamReset,
    /// An answer that is not HTTP.
    UpstreamProtocol,
    /// An error that the route asks for, to test what follows.
    FaultInjected(u16),
    /// A fault of ours.
    Internal,
}

impl Rejection {
    /// The status it is answered with.
    pub fn status(&self) -> u16 {
        match self {
            Self::Head(Fault::StartLineTooLong) => 414,
            Self::Head(Fault::FieldsTooLarge | Fault::TooManyFields) => 431,
            Self::BadMethod | Self::BadHost | Self::BadPath(_) | Self::EncodedSlash | Self::BadBody | Self::Head(_) => {
                400
            }
            Self::AccessDenied | Self::Banned { .. } | Self::Forbidden { .. } => 403,
            Self::RouteNotFound => 404,
            Self::MethodNotAllowed(_) => 405,
            Self::BodyTimeout | Self::HeadTimeout => 408,
            Self::BodyTooLarge => 413,
            Self::ExpectationUnknown => 417,
            Self::RateLimited { .. } | Self::Locked { .. } => 429,
            // RFC 9110 section 15.5.2: a 401 says what would be taken. Where nothing can be said the request itself is what is wrong.
            Self::Unauthenticated { challenges, .. } => {
                if challenges.0.is_empty() {
                    400
                } else {
                    401
                }
            }
            Self::Internal => 500,
            Self::ConnectRefused => 501,
            Self::ProtocolRefused => 505,
            Self::UpstreamConnect
            | Self::UpstreamTls
            | Self::UpstreamUnresolved
            | Self::UpstreamReset
            | Self::UpstreamProtocol => 502,
            Self::AuditUnavailable
            | Self::AuthUnavailable
            | Self::StoreUnavailable
            | Self::UpstreamQueueFull
            | Self::UpstreamQueueTimeout
            | Self::UpstreamUnavailable
            | Self::UpstreamCircuitOpen { .. } => 503,
            Self::UpstreamConnectTimeout
            | Self::UpstreamTlsTimeout
            | Self::UpstreamWriteTimeout
            | Self::UpstreamTimeout
            | Self::TotalTimeout => 504,
            Self::FaultInjected(status) | Self::Threat { status, .. } => *status,
        }
    }

    /// Its stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadHost => "bad_host",
            Self::BadPath(_) => "path_malformed",
            Self::EncodedSlash => "path_encoded_slash",
            Self::BadMethod => "method_malformed",
            Self::ConnectRefused => "connect_refused",
            Self::Head(Fault::StartLineTooLong) => "request_line_too_long",
            Self::Head(Fault::FieldsTooLarge | Fault::TooManyFields) => "headers_too_large",
            Self::Head(_) => "request_malformed",
            Self::ProtocolRefused => "protocol_refused",
            Self::HeadTimeout => "request_head_timeout",
            Self::ExpectationUnknown => "expectation_unknown",
            Self::RouteNotFound => "route_not_found",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::AccessDenied => "access_denied",
            Self::Banned { .. } => "banned",
            Self::Threat { rule, .. } => rule,
            Self::Unauthenticated { why, .. } => why.code(),
            Self::Locked { .. } => "auth_locked",
            Self::Forbidden { lack, .. } => lack.code(),
            Self::AuthUnavailable => "auth_unavailable",
            Self::StoreUnavailable => "store_unavailable",
            Self::RateLimited { .. } => "rate_limited",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTimeout => "body_timeout",
            Self::BadBody => "body_malformed",
            Self::AuditUnavailable => "audit_unavailable",
            Self::UpstreamConnect => "upstream_connect",
            Self::UpstreamConnectTimeout => "upstream_connect_timeout",
            Self::UpstreamTls => "upstream_tls",
            Self::UpstreamTlsTimeout => "upstream_tls_timeout",
            Self::UpstreamUnresolved => "upstream_unresolved",
            Self::UpstreamUnavailable => "upstream_unavailable",
            Self::UpstreamCircuitOpen { .. } => "upstream_circuit_open",
            Self::UpstreamWriteTimeout => "upstream_write_timeout",
            Self::FaultInjected(_) => "fault_injected",
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
            Self::BadMethod => "Methods are written in capital letters.",
            Self::ConnectRefused => "CONNECT is not served here.",
            Self::Head(fault) => return Cow::Owned(format!("This is no request: {fault}.")),
            Self::ProtocolRefused => "This protocol is not served here.",
            Self::HeadTimeout => "The request's head did not come in time.",
            Self::ExpectationUnknown => "The only expectation served is 100-continue.",
            Self::RouteNotFound => "No route matches this request.",
            Self::MethodNotAllowed(_) => "This path does not take this method.",
            Self::AccessDenied => "This address may not come in.",
            Self::Banned { .. } => "This address may not come in for a while.",
            Self::Threat { .. } => "The request is not taken as it is.",
            Self::Unauthenticated { why, .. } => why.message(),
            Self::Locked { .. } => "There were too many wrong passwords; wait.",
            Self::Forbidden { lack, .. } => lack.message(),
            Self::AuthUnavailable => "Who you are cannot be found out now.",
            Self::StoreUnavailable => "The request cannot be counted now.",
            Self::RateLimited { .. } => "Too many requests.",
            Self::BodyTooLarge => "The request's body is too large.",
            Self::BodyTimeout => "The request's body came too slowly.",
            Self::BadBody => "The request's body is malformed.",
            Self::AuditUnavailable => "The request cannot be recorded now.",
            Self::UpstreamConnect | Self::UpstreamTls | Self::UpstreamUnresolved => {
                "The service behind this route cannot be reached."
            }
            Self::UpstreamUnavailable | Self::UpstreamCircuitOpen { .. } => {
                "The service behind this route is not available now."
            }
            Self::UpstreamQueueFull | Self::UpstreamQueueTimeout => "The service behind this route is too busy.",
            Self::UpstreamConnectTimeout
            | Self::UpstreamTlsTimeout
            | Self::UpstreamWriteTimeout
            | Self::UpstreamTimeout
            | Self::TotalTimeout => "The service behind this route did not answer in time.",
            Self::UpstreamReset => "The service behind this route broke off.",
            Self::UpstreamProtocol => "The service behind this route gave an answer that makes no sense.",
            Self::FaultInjected(_) => "This error was asked for, to test what follows from it.",
            Self::Internal => "Something went wrong here.",
        })
    }

    /// Whether the rest of the request must not be read: the connection ends with the answer.
    pub fn closes(&self) -> bool {
        match self {
            Self::BadHost
            | Self::Head(_)
            | Self::ProtocolRefused
            | Self::HeadTimeout
            | Self::BodyTooLarge
            | Self::BodyTimeout
            | Self::BadBody
            | Self::ConnectRefused => true,
            // It was shown for the connection: the next one may show another.
            Self::Unauthenticated { why, .. } => {
                matches!(why, Denial::CertificateExpired | Denial::CertificateUntrusted)
            }
            // Of those only what is wrong with a body is answered so.
            Self::Threat { status, .. } => *status == 413,
            Self::BadMethod
            | Self::BadPath(_)
            | Self::EncodedSlash
            | Self::ExpectationUnknown
            | Self::RouteNotFound
            | Self::MethodNotAllowed(_)
            | Self::AccessDenied
            | Self::Banned { .. }
            | Self::Locked { .. }
            | Self::Forbidden { .. }
            | Self::AuthUnavailable
            | Self::StoreUnavailable
            | Self::RateLimited { .. }
            | Self::AuditUnavailable
            | Self::UpstreamConnect
            | Self::UpstreamConnectTimeout
            | Self::UpstreamTls
            | Self::UpstreamTlsTimeout
            | Self::UpstreamUnresolved
            | Self::UpstreamUnavailable
            | Self::UpstreamCircuitOpen { .. }
            | Self::UpstreamWriteTimeout
            | Self::FaultInjected(_)
            | Self::UpstreamQueueFull
            | Self::UpstreamQueueTimeout
            | Self::UpstreamTimeout
            | Self::TotalTimeout
            | Self::UpstreamReset
            | Self::UpstreamProtocol
            | Self::Internal => false,
        }
    }

    /// The status that gRPC knows it by (`google.rpc.Code`).
    fn grpc_status(&self) -> u32 {
        const INVALID_ARGUMENT: u32 = 3;
        const DEADLINE_EXCEEDED: u32 = 4;
        const PERMISSION_DENIED: u32 = 7;
        const RESOURCE_EXHAUSTED: u32 = 8;
        const UNIMPLEMENTED: u32 = 12;
        const INTERNAL: u32 = 13;
        const UNAVAILABLE: u32 = 14;
        const UNAUTHENTICATED: u32 = 16;
        match self.status() {
            401 => UNAUTHENTICATED,
            403 => PERMISSION_DENIED,
            404 | 405 | 501 | 505 => UNIMPLEMENTED,
            408 | 504 => DEADLINE_EXCEEDED,
            413 | 414 | 429 | 431 => RESOURCE_EXHAUSTED,
            502 | 503 => UNAVAILABLE,
            500 => INTERNAL,
            _ => INVALID_ARGUMENT,
        }
    }

    /// The answer to a gRPC client: a head that is all of it, with gRPC's own status (gRPC over HTTP/2, Trailers-Only).
    fn grpc(&self, request_id: &str) -> Response {
        let mut head = ResponseHead::new(200);
        let headers = head.headers_mut();
        headers.set(&name::CONTENT_TYPE, Value::known("application/grpc"));
        headers.set_number(&GRPC_STATUS, self.grpc_status().into());
        // Percent-encoded, where it is not plain ASCII; ours is.
        let message = format!("{}: {} (request {request_id})", self.code(), self.message().replace('%', "%25"));
        headers.set_text(&GRPC_MESSAGE, message.as_bytes());
        Response::new(head, Body::absent())
    }

    /// The answer: one JSON envelope, a plain line for a client that does not accept JSON, or gRPC's own form.
    pub fn response(&self, request_id: &str, form: ErrorForm) -> Response {
        if form == ErrorForm::Grpc {
            return self.grpc(request_id);
        }
        let json = form == ErrorForm::Json;
        let mut head = ResponseHead::new(self.status());
        let headers = head.headers_mut();
        if let Self::MethodNotAllowed(methods) = self
            && let Some(allow) = Value::parse(&methods.join(", "))
        {
            headers.set(&name::ALLOW, allow);
        }
        if let Self::Unauthenticated { challenges, .. } | Self::Forbidden { challenges, .. } = self {
            for challenge in &*challenges.0 {
                headers.add(&WWW_AUTHENTICATE, challenge);
            }
        }
        if let Self::RateLimited { retry_after_s }
        | Self::Locked { retry_after_s }
        | Self::UpstreamCircuitOpen { retry_after_s }
        | Self::Banned { retry_after_s } = self
        {
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

static WWW_AUTHENTICATE: Name = Name::known("www-authenticate");
static GRPC_STATUS: Name = Name::known("grpc-status");
static GRPC_MESSAGE: Name = Name::known("grpc-message");

/// In which form a client reads our own errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorForm {
    Json,
    Text,
    Grpc,
}

impl ErrorForm {
    /// That of whoever sent these headers: gRPC to gRPC; JSON, unless the client lists what it accepts and JSON is not in
    /// it; else a line of text.
    pub fn of(headers: &Headers) -> Self {
        if is_grpc(headers) {
            return Self::Grpc;
        }
        let mut lines = headers.all(&name::ACCEPT).peekable();
        if lines.peek().is_none() || lines.any(|line| line.split(|&byte| byte == b',').any(takes_json)) {
            Self::Json
        } else {
            Self::Text
        }
    }
}

/// Whether these are of a call of gRPC: `application/grpc`, `application/grpc+proto`; not gRPC-Web, whose clients read a
/// status of HTTP.
pub fn is_grpc(headers: &Headers) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    let told = headers.get(&name::CONTENT_TYPE).and_then(|told| told.split_at_checked(GRPC.len()));
    let Some((start, rest)) = told else { return false };
    start.eq_ignore_ascii_case(GRPC) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

fn takes_json(range: &[u8]) -> bool {
    let range = range.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    range.eq_ignore_ascii_case(b"application/json")
        || range.eq_ignore_ascii_case(b"application/*")
        || range == b"*/*"
        || range.ends_with(b"+json")
}
