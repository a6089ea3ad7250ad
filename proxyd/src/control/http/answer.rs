//! One request of the HTTP door: guarded, let in, turned into a command, and its reply into a response.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::Value;
use shared::audit::Door;
use shared::control::http::{BodyForm, HttpForm, ReplyForm};
use shared::control::{Command, ControlError, ErrorCode};
use tokio_util::sync::CancellationToken;

use super::auth::{Admitted, Gate, Refused};
use super::body::{Body, error_body};
use super::{Bounds, guard, openapi};
use crate::control::{Caller, Executor, Reply, Row};

/// What all connections share.
pub(super) struct Desk<E> {
    executor: Arc<E>,
    gate: Gate,
    bounds: Bounds,
    /// Cancelled when the daemon stops.
    stop: CancellationToken,
}

/// A refusal on its way out: the error, and where HTTP has a finer status or more to say than the error's code.
struct Refusal {
    error: ControlError,
    status: Option<StatusCode>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl From<ControlError> for Refusal {
    fn from(error: ControlError) -> Self {
        Self { error, status: None, header: None }
    }
}

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";
const EVENTS: &str = "text/event-stream";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const REALM: &str = "Basic realm=\"proxyd\", charset=\"UTF-8\", Bearer";
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Where health is told.
const HEALTH: &str = "/health";

/// What an answer says that ended before its end.
pub(super) fn broken_off() -> ControlError {
    ControlError::new(ErrorCode::Failed, "the answer broke off; the log says more")
}

impl<E: Executor> Desk<E> {
    pub(super) fn new(executor: Arc<E>, bounds: Bounds, stop: CancellationToken) -> Self {
        Self { executor, gate: Gate::default(), bounds, stop }
    }

    /// Answers a request that came from `peer` in at `local`.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        local: SocketAddr,
    ) -> Response<Body> {
        if let Some(response) = self.health(&request) {
            return response;
        }
        match self.attend(request, peer, local).await {
            Ok(response) => response,
            Err(refusal) => refusal.into_response(),
        }
    }

    /// Health is for whoever asks, by whatever name.
    fn health(&self, request: &Request<Incoming>) -> Option<Response<Body>> {
        let rest = request.uri().path().strip_prefix(HEALTH)?;
        let (status, body) = self.executor.health(rest)?;
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Some(wrong_method(&["GET"]).into_response());
        }
        Some(response(StatusCode::from_u16(status).unwrap_or_default(), JSON, Body::whole(body)))
    }

    async fn attend(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        local: SocketAddr,
    ) -> Result<Response<Body>, Refusal> {
        let caller = self.let_in(&request, peer, local).await?;
        let path = request.uri().path();
        match path {
            "/metrics" | "/admin/openapi.json" => {
                if !matches!(*request.method(), Method::GET | Method::HEAD) {
                    return Err(wrong_method(&["GET"]));
                }
                let (kind, text) = match path {
                    "/metrics" => (METRICS, self.executor.metrics()),
                    _ => (JSON, openapi::document().to_string()),
                };
                Ok(response(StatusCode::OK, kind, Body::whole(text)))
            }
            _ => {
                let form = HttpForm::find(request.method().as_str(), path).map_err(|methods| match &*methods {
                    [] => ControlError::new(ErrorCode::NotFound, format!("there is no {path} here")).into(),
                    methods => wrong_method(methods),
                })?;
                self.command(form, request, caller).await
            }
        }
    }

    /// Who the caller is, unless a guard or the gate refuses.
    async fn let_in(
        &self,
        request: &Request<Incoming>,
        peer: SocketAddr,
        local: SocketAddr,
    ) -> Result<Caller, Refusal> {
        let config = self.executor.config();
        let address = peer.ip().to_canonical();
        let asked = format!("{} {}", request.method(), request.uri().path());
        let stranger = |actor| Caller { door: Door::Http, actor, access: None, address: Some(address) };
        if let Some(reason) = guard::refusal(request.headers(), local, &config.admin.hosts) {
            return Err(ControlError::new(ErrorCode::NotPermitted, reason).into());
        }
        let refused = match self.gate.admit(config.admin.auth.as_ref(), request.headers(), address, local.ip()).await {
            Ok(Admitted { access, actor }) => {
                return Ok(Caller { door: Door::Http, actor, access: Some(access), address: Some(address) });
            }
            Err(refused) => refused,
        };
        match refused {
            Refused::Silent { record } => {
                let error = ControlError::new(ErrorCode::Unauthenticated, "this needs a user and password or a token");
                if record {
                    self.executor.turned_away(&stranger(format!("somebody at {address}")), &asked, &error).await;
                }
                Err(challenge(error))
            }
            Refused::Wrong { who, record } => {
                let error = ControlError::new(ErrorCode::Unauthenticated, "these credentials are not known here");
                if record {
                    self.executor.turned_away(&stranger(format!("{who} at {address}")), &asked, &error).await;
                }
                Err(challenge(error))
            }
            Refused::TooMany { wait } => {
                let seconds = wait.as_secs() + 1;
                let message = format!("too many wrong credentials from {address}; wait {seconds} s");
                Err(Refusal {
                    error: ControlError::new(ErrorCode::Busy, message),
                    status: Some(StatusCode::TOO_MANY_REQUESTS),
                    header: Some((RETRY_AFTER, HeaderValue::from(seconds))),
                })
            }
        }
    }

    async fn command(
        &self,
        form: &'static HttpForm,
        request: Request<Incoming>,
        caller: Caller,
    ) -> Result<Response<Body>, Refusal> {
        let (parts, body) = request.into_parts();
        let body = self.read(form, body).await?;
        let mut command = form.command(parts.uri.path(), parts.uri.query().unwrap_or_default(), &body)?;
        if let (Command::Audit(query), ReplyForm::Events) = (&mut command, form.reply)
            && let Some(last) = parts.headers.get(LAST_EVENT_ID)
        {
            let last = last.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(|| {
                ControlError::new(ErrorCode::InvalidArguments, "Last-Event-ID must be a sequence number")
            })?;
            query.after = Some(last);
        }
        match (self.executor.run(command, &caller).await?, form.reply) {
            (Reply::One(value), _) => Ok(document(&value)),
            (Reply::Stream(rows), ReplyForm::Events) => {
                Ok(response(StatusCode::OK, EVENTS, Body::events(rows, self.bounds.heartbeat, self.stop.clone())))
            }
            (Reply::Stream(mut rows), ReplyForm::Document | ReplyForm::Lines) => {
                // A stream that fails before its first row is an error like any other.
                match rows.next().await {
                    Some(Row::Failed(error)) => Err(error.into()),
                    first => Ok(response(StatusCode::OK, LINES, Body::lines(first, rows))),
                }
            }
        }
    }

    /// The request's body, within its bounds.
    async fn read(&self, form: &HttpForm, body: Incoming) -> Result<Bytes, Refusal> {
        let most = match form.body {
            BodyForm::Config => self.bounds.config,
            BodyForm::Arguments | BodyForm::None => self.bounds.arguments,
        };
        match tokio::time::timeout(self.bounds.body, Limited::new(body, most).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                let message = format!("the body may have at most {most} bytes");
                Err(leaving(ControlError::new(ErrorCode::RequestTooLarge, message), None))
            }
            Ok(Err(_)) => {
                Err(leaving(ControlError::new(ErrorCode::MalformedRequest, "the body could not be read"), None))
            }
            Err(_) => {
                let error = ControlError::new(ErrorCode::MalformedRequest, "the body did not come in time");
                Err(leaving(error, Some(StatusCode::REQUEST_TIMEOUT)))
            }
        }
    }
}

impl Refusal {
    fn into_response(self) -> Response<Body> {
        let status = self.status.or_else(|| StatusCode::from_u16(self.error.code.http_status()).ok());
        let body = error_body(&self.error).to_string();
        let mut response = response(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), JSON, Body::whole(body));
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// A refusal after which the rest of the request cannot be understood.
fn leaving(error: ControlError, status: Option<StatusCode>) -> Refusal {
    Refusal { error, status, header: Some((CONNECTION, HeaderValue::from_static("close"))) }
}

fn challenge(error: ControlError) -> Refusal {
    Refusal { error, status: None, header: Some((WWW_AUTHENTICATE, HeaderValue::from_static(REALM))) }
}

fn wrong_method(methods: &[&'static str]) -> Refusal {
    let allow = methods.join(", ");
    Refusal {
        error: ControlError::new(ErrorCode::InvalidArguments, format!("this path takes {allow}")),
        status: Some(StatusCode::METHOD_NOT_ALLOWED),
        header: HeaderValue::from_str(&allow).ok().map(|allow| (ALLOW, allow)),
    }
}

fn document(value: &Value) -> Response<Body> {
    response(StatusCode::OK, JSON, Body::whole(value.to_string()))
}

fn response(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
