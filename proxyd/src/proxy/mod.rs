//! The journey of one request: one descent through routing and filters to the upstream, one ascent back. Read
//! [`handle`] first.

pub(crate) mod bans;
mod forward;
mod headers;
mod hops;
mod open;
mod pages;
mod upgrade;
pub(crate) mod websocket;

pub(crate) use headers::upgrade_wanted;

use std::rc::Rc;

use shared::config;
use shared::routing::rewrite::location;
use shared::routing::{Decision, Facts, PathProblem, Refusal, resolve};

use crate::exchange::{
    Body, Challenges, Denial, Exchange, Injected, Looked, Peer, Rejection, Request, Response, ResponseHead, Value,
    name, take_cookies,
};
use crate::filter::Passed;
use crate::health;
use crate::identity::Open;
use crate::snapshot::{Action, Fixed};
use crate::tls::Fallen;
use crate::worker::{Local, Worker};

/// An answer, and the tunnel that begins once its head is sent.
struct Answer {
    response: Response,
    /// Apart on the heap: of many answers one begins a tunnel, and all are handed on from room to room.
    tunnel: Option<Box<upgrade::Tunnel>>,
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Self { response, tunnel: None }
    }
}

/// Serves one request. Whatever becomes of it, `Exchange::finish` records it when its body has ended, or when the client
/// leaves and this future or the body is dropped.
pub async fn handle(mut request: Request, peer: &Rc<Peer>, worker: &Rc<Worker>) -> Response {
    let local = worker.local();
    let (mut exchange, fault) = open::open(&mut request, peer, &local, &worker.ledger);
    let mut passed = Passed::none();
    let outcome = match fault {
        None => {
            headers::arrived(&mut request, local.snapshot.identities.sends.barred());
            travel(&local, &mut exchange, &mut passed, &mut request, worker).await
        }
        Some(fault) => Err(fault),
    };
    let Answer { mut response, tunnel } =
        outcome.unwrap_or_else(|rejection| exchange.reject(&rejection, request.head.headers()).into());
    if let Some(code) = exchange.notes.refused {
        exchange.finish.refused(code);
    }
    if let Some(code) = exchange.finish.refusal() {
        bans::note(code, exchange.client, &local, worker);
    }
    passed.on_response(&mut exchange, &mut response);
    // Asked anew: an answer that another thread made, or another task, was waited for without anybody looking at the clock.
    headers::downstream(&exchange, &mut response, worker.ledger.clock.now());
    let Exchange { mut finish, client, notes, .. } = exchange;
    finish.answered(response.head.status());
    match tunnel {
        Some(tunnel) => {
            let open = Open { principal: finish.principal.clone(), client, ends_expired: notes.ends_expired };
            response.takeover = Some(upgrade::takeover(*tunnel, open, finish, worker));
        }
        None => response.body = response.body.ride(finish),
    }
    response
}

/// Routing, filters, and what the route asks for.
async fn travel<'a>(
    local: &'a Local,
    exchange: &mut Exchange,
    passed: &mut Passed<'a>,
    request: &mut Request,
    worker: &Rc<Worker>,
) -> Result<Answer, Rejection> {
    reserve(exchange, worker).await?;
    let snapshot = &*local.snapshot;
    let config = &*snapshot.checked.config;
    if let Some(response) = health_answer(config, exchange, worker) {
        exchange.finish.answers_itself();
        return Ok(response.into());
    }
    // After health: whoever asks for that must not take us for dead.
    bans::check(exchange, local, worker)?;
    check_certificate(exchange, local)?;
    if let Some(port) = exchange.peer.https_redirect {
        exchange.finish.answers_itself();
        let port = if port == 0 { chosen_port(local, worker) } else { port };
        return Ok(to_https(port, exchange, request)?.into());
    }
    let facts = Facts {
        method: exchange.method(),
        host: exchange.host(),
        path: exchange.path(),
        query: request.head.query().unwrap_or_default(),
        headers: &Looked(request.head.headers()),
    };
    let resolved = resolve(&snapshot.table, &config.routes, &facts, config.server.merge_slashes);
    let resolved = resolved.map(|resolution| {
        let changed = (resolution.path != exchange.path()).then(|| resolution.path.into_owned());
        (resolution.decision, changed)
    });
    let (index, refusal) = match resolved {
        Ok((decision, changed)) => {
            if let Some(path) = changed {
                exchange.finish.trail.set_path(&path);
            }
            match decision {
                Decision::Route(index) => (Some(index), None),
                Decision::NotFound => (None, Some(Rejection::RouteNotFound)),
                Decision::MethodNotAllowed(methods) => (None, Some(Rejection::MethodNotAllowed(methods))),
            }
        }
        Err(Refusal::Malformed(problem)) => (None, Some(Rejection::BadPath(path_message(problem)))),
        Err(Refusal::EncodedSlash) => (None, Some(Rejection::EncodedSlash)),
    };
    let route = index.and_then(|index| Some((snapshot.routes.get(index)?, local.route(index, &worker.ledger)?)));
    let chain = match route {
        Some((route, tag)) => {
            exchange.finish.routed(tag);
            &route.chain
        }
        None => &snapshot.unmatched,
    };
    if let Some(response) = passed.on_request(chain, exchange, request, &worker.ledger).await? {
        exchange.finish.answers_itself();
        return Ok(response.into());
    }
    let Some((route, _)) = route else { return Err(refusal.unwrap_or(Rejection::RouteNotFound)) };
    match &route.action {
        Action::Forward(onward) => {
            if let Some(logins) = &snapshot.identities.logins {
                // A session is a credential of this gateway's, on whichever route it comes.
                take_cookies(request.head.headers_mut(), |name| logins.is_own_cookie(name));
            }
            if let Some(last) = hops::count(exchange, request) {
                exchange.finish.answers_itself();
                return Ok(last.into());
            }
            if let Some(injected) = exchange.notes.injected.take() {
                suffer(injected, exchange).await?;
            }
            forward::forward(onward, exchange, request, local, worker).await
        }
        Action::Redirect(redirect) => {
            exchange.finish.answers_itself();
            Ok(redirected(redirect, exchange, request)?.into())
        }
        Action::Respond(fixed) => {
            exchange.finish.answers_itself();
            Ok(fixed_response(fixed).into())
        }
        Action::Serve(pages) => {
            exchange.finish.answers_itself();
            Ok(pages::serve(*pages, exchange, request, local, worker).await?.into())
        }
    }
}

/// The place of the request's row: without it the request is not served, since it could not be recorded.
async fn reserve(exchange: &mut Exchange, worker: &Worker) -> Result<(), Rejection> {
    if exchange.finish.terms.audit == config::RequestAudit::Off {
        return Ok(());
    }
    let recorder = &worker.ledger.audit;
    let place = match recorder.try_reserve() {
        Some(place) => place,
        None => recorder.reserve().await.map_err(|_| Rejection::AuditUnavailable)?,
    };
    exchange.finish.reserve(place);
    Ok(())
}

/// Whether the certificate that the connection was verified by would be taken today: a handshake would end there otherwise, and
/// so does the connection. A listener that is gone takes none; its connections are told to go.
fn check_certificate(exchange: &Exchange, local: &Local) -> Result<(), Rejection> {
    let Some(certificate) = &exchange.peer.certificate else { return Ok(()) };
    let listening = local.snapshot.listening(exchange.peer.configured);
    let Some(listening) = listening else { return Ok(()) };
    let now_s = exchange.finish.started.unix_us.div_euclid(1_000_000);
    let fallen = match &listening.tls {
        Some(tls) => tls.fallen(certificate, now_s),
        None => Some(Fallen::Untrusted),
    };
    let why = match fallen {
        None => return Ok(()),
        Some(Fallen::Expired) => Denial::CertificateExpired,
        Some(Fallen::Untrusted) => Denial::CertificateUntrusted,
    };
    let challenges = Challenges([Value::known("Certificate")].into());
    Err(Rejection::Unauthenticated { why, challenges })
}

/// What was asked for to test what follows from it.
async fn suffer(injected: Injected, exchange: &mut Exchange) -> Result<(), Rejection> {
    if let Some(delay) = injected.delay {
        exchange.finish.noted("fault: delay");
        tokio::time::sleep(delay).await;
    }
    match injected.abort {
        Some(status) => Err(Rejection::FaultInjected(status)),
        None => Ok(()),
    }
}

fn path_message(problem: PathProblem) -> &'static str {
    match problem {
        PathProblem::NotAbsolute => "The path must begin with a slash.",
        PathProblem::BadEscape => "The path holds a percent sign without two hexadecimal digits.",
        PathProblem::ForbiddenCharacter => "The path holds a character that may not stand in it.",
        PathProblem::Backslash => "The path holds a backslash.",
        PathProblem::DotWithParameters => "The path holds a dot segment with parameters.",
    }
}

fn health_answer(config: &config::Config, exchange: &Exchange, worker: &Worker) -> Option<Response> {
    let asked = exchange.path().strip_prefix(&**config.server.health_path.as_ref()?)?;
    let (status, body) = health::answer(&worker.daemon, asked)?;
    let mut response = Response::new(ResponseHead::new(status), Body::text(body));
    response.head.headers_mut().set(&name::CONTENT_TYPE, Value::known("application/json"));
    response.head.headers_mut().set(&name::CACHE_CONTROL, Value::known("no-store"));
    Some(response)
}

fn redirected(redirect: &config::Redirect, exchange: &Exchange, request: &Request) -> Result<Response, Rejection> {
    let scheme = if exchange.https { "https" } else { "http" };
    let authority = request.head.authority().or_else(|| request.head.headers().text(&name::HOST)).unwrap_or_default();
    let to = location(redirect, scheme, authority, exchange.path(), request.head.query().unwrap_or_default());
    let mut response = Response::empty(redirect.status);
    response.head.headers_mut().set(&name::LOCATION, Value::parse(&to).ok_or(Rejection::Internal)?);
    Ok(response)
}

/// The port that the system chose for the first listener with TLS, which was left to it.
fn chosen_port(local: &Local, worker: &Worker) -> u16 {
    let tls = local.snapshot.checked.config.server.listen.iter().find(|listen| listen.tls.is_some());
    let listening = worker.daemon.listening();
    let real = tls.and_then(|tls| listening.iter().find(|(configured, _)| *configured == tls.address));
    real.map_or(0, |(_, real)| real.port())
}

/// The same again over HTTPS. With 308 the method stays (RFC 9110 section 15.4.9).
fn to_https(port: u16, exchange: &Exchange, request: &Request) -> Result<Response, Rejection> {
    const DEFAULT: u16 = 443;
    let host = exchange.host();
    if host.is_empty() {
        return Err(Rejection::BadHost);
    }
    // Of IPv6 the brackets were taken off.
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let port = if port == DEFAULT { String::new() } else { format!(":{port}") };
    let path = Some(request.head.path()).filter(|path| *path != "*").unwrap_or("/");
    let query = request.head.query().map(|query| format!("?{query}")).unwrap_or_default();
    let to = format!("https://{host}{port}{path}{query}");
    let mut response = Response::empty(308);
    response.head.headers_mut().set(&name::LOCATION, Value::parse(&to).ok_or(Rejection::Internal)?);
    Ok(response)
}

fn fixed_response(fixed: &Fixed) -> Response {
    let mut response = Response::empty(fixed.status);
    for (name, value) in &fixed.headers {
        response.head.headers_mut().set(name, value);
    }
    if !fixed.body.is_empty() {
        response.body = Body::text(fixed.body.to_string());
        if !response.head.headers().has(&name::CONTENT_TYPE) {
            response.head.headers_mut().set(&name::CONTENT_TYPE, Value::known("text/plain; charset=utf-8"));
        }
    }
    response
}
