//! Probes: an endpoint is asked from time to time whether it is well. On the control thread; what comes of it is written to
//! the endpoint, and workers look when it changes.

use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http1::{Framing, HeadLimits, HeadParser, Incoming, Ready, RequestHead, Version, Wire, persists, response_framing};
use shared::config::{self, HttpProbe, ProbeKind, ProbeMethod};
use shared::decide::eligible::Checked;
use shared::decide::probe::{Streak, pause};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::health::ProbeNote;
use super::way::Way;
use super::{AttemptError, Endpoint, connect};
use crate::exchange::{Headers, Socket};
use crate::telemetry::clock::unix_us;
use crate::tls::Alpn;

/// How large the head of a probe's answer may be.
const HEAD_LIMITS: HeadLimits = HeadLimits { start_line: 8 * 1024, fields: 56 * 1024, count: 128 };
/// A text is looked for in so much of the body.
const LOOKED_THROUGH: usize = 64 * 1024;
/// A connection serves so many probes: new ones show whether new ones can be made.
const PROBES_PER_CONNECTION: u32 = 12;
/// The first probes of many endpoints are spread over this time.
const FIRST_WITHIN: Duration = Duration::from_millis(200);

/// Why an endpoint is not well, in a few words of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Unwell {
    Attempt(AttemptError),
    Status(u16),
    LacksText,
    TooLate,
}

impl Unwell {
    fn text(&self) -> String {
        match self {
            Self::Attempt(error) => error.to_string(),
            Self::Status(status) => format!("status {status}"),
            Self::LacksText => "the text is not in the answer".to_owned(),
            Self::TooLate => "no answer in time".to_owned(),
        }
    }
}

impl From<AttemptError> for Unwell {
    fn from(error: AttemptError) -> Self {
        Self::Attempt(error)
    }
}

/// Probes an endpoint for as long as it is there. `started_at`: what all times of the daemon count from.
pub async fn tend(endpoint: Weak<Endpoint>, way: Way, probe: Arc<config::Probe>, started_at: Instant) {
    let Some(mut held) = endpoint.upgrade() else { return };
    let mut streak = Streak::going_on(held.health.checked(), probe.initial);
    let spread = if streak.checked() == Checked::Unknown { FIRST_WITHIN } else { probe.interval };
    let mut kept: Option<Kept> = None;
    drop(held);
    let spread_us = super::outcome::micros(spread);
    tokio::time::sleep(Duration::from_micros(random() % spread_us.max(1))).await;
    loop {
        held = match endpoint.upgrade() {
            Some(held) => held,
            None => return,
        };
        let began = Instant::now();
        let outcome = match tokio::time::timeout(probe.timeout, once(&held, &way, &probe, &mut kept)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Unwell::TooLate),
        };
        if outcome.is_err() {
            kept = None;
        }
        let took_us = super::outcome::micros(began.elapsed());
        let now_us = super::outcome::micros(started_at.elapsed());
        note(&held, &probe, &mut streak, &outcome, took_us, now_us);
        drop(held);
        let interval = if streak.checked() == Checked::Healthy { probe.interval } else { probe.down_interval };
        let wait_us = pause(super::outcome::micros(interval), probe.jitter, random());
        tokio::time::sleep(Duration::from_micros(wait_us)).await;
    }
}

/// A number that peers cannot foresee; good enough to keep probes from marching in step.
fn random() -> u64 {
    RandomState::new().hash_one(())
}

fn note(
    endpoint: &Endpoint,
    probe: &config::Probe,
    streak: &mut Streak,
    outcome: &Result<(), Unwell>,
    took_us: u64,
    now_us: u64,
) {
    let at_us = unix_us();
    let text = outcome.as_ref().map_or_else(Unwell::text, |()| "well".to_owned());
    endpoint.health.probed(outcome.is_ok());
    endpoint.health.notes().probe = Some(ProbeNote { at_us, ok: outcome.is_ok(), took_us, text: text.clone() });
    let Some(checked) = streak.result(outcome.is_ok(), probe.healthy_after, probe.unhealthy_after) else { return };
    if !endpoint.health.set_checked(checked, now_us, at_us) {
        return;
    }
    let (upstream, address) = (&endpoint.upstream, &endpoint.address);
    match checked {
        Checked::Healthy => tracing::info!(%upstream, endpoint = %address, "an endpoint is well, its probes say"),
        Checked::Unhealthy | Checked::Unknown | Checked::NotProbed => {
            tracing::warn!(%upstream, endpoint = %address, why = text, "an endpoint is not well, its probes say");
        }
    }
    endpoint.signal.raise();
}

/// A connection that served a probe and may serve the next.
struct Kept {
    wire: Wire<Socket>,
    served: u32,
}

/// One probe.
async fn once(endpoint: &Endpoint, way: &Way, probe: &config::Probe, kept: &mut Option<Kept>) -> Result<(), Unwell> {
    let port = probe.port.unwrap_or(endpoint.port);
    let http = match &probe.kind {
        ProbeKind::Tcp => {
            reach(endpoint, way, port).await?;
            return Ok(());
        }
        ProbeKind::Http(http) => http,
    };
    if way.is_http2() {
        let connected = open(endpoint, way, port, Alpn::Http2).await?;
        return ask_http2(endpoint, way, http, connected.socket).await;
    }
    if let Some(Kept { mut wire, served }) = kept.take()
        && served < PROBES_PER_CONNECTION
        && wire.input.is_empty()
        && !wire.has_ended()
        && wire.stream.is_quiet()
    {
        match ask(endpoint, http, &mut wire).await {
            Ok(keeps) => {
                *kept = keeps.then_some(Kept { wire, served: served + 1 });
                return Ok(());
            }
            // It had died while it was idle.
            Err(Unwell::Attempt(AttemptError::Reset)) => {}
            Err(unwell) => return Err(unwell),
        }
    }
    let connected = open(endpoint, way, port, Alpn::Http1).await?;
    let mut wire = Wire::new(connected.socket);
    let keeps = ask(endpoint, http, &mut wire).await?;
    // With a PROXY header, a connection says whose it is: probes keep none. Those that began together do not end together.
    let served = u32::try_from(random() % u64::from(PROBES_PER_CONNECTION)).unwrap_or(0);
    *kept = (keeps && way.proxy_header.is_none()).then_some(Kept { wire, served });
    Ok(())
}

/// A connection of TCP, which is all that `kind: tcp` asks for.
async fn reach(endpoint: &Endpoint, way: &Way, port: u16) -> Result<TcpStream, AttemptError> {
    let mut stream = connect::dial(endpoint, port).await?;
    if way.proxy_header.is_some() {
        let nobody = || SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        let ours = stream.local_addr().unwrap_or_else(|_| nobody());
        let theirs = stream.peer_addr().unwrap_or_else(|_| nobody());
        connect::greet(&mut stream, way.proxy_header, ours, theirs).await?;
    }
    Ok(stream)
}

async fn open(endpoint: &Endpoint, way: &Way, port: u16, alpn: Alpn) -> Result<connect::Connected, AttemptError> {
    let stream = reach(endpoint, way, port).await?;
    match &way.tls {
        None => Ok(connect::Connected { socket: Socket::Plain(stream), http2: way.is_http2() }),
        Some(tls) => connect::encrypt(endpoint, way, tls, alpn, stream).await,
    }
}

/// The fields of a probe: the config's over our own.
fn fields(endpoint: &Endpoint, http: &HttpProbe, headers: &mut Headers) {
    let host = http.host.as_deref().unwrap_or(&endpoint.address);
    let ours = [("host", host), ("user-agent", "proxyd-probe"), ("accept", "*/*")];
    let is_set = |name: &str| http.headers.iter().any(|(set, _)| **set == *name);
    for (name, value) in ours.into_iter().filter(|(name, _)| !is_set(name)) {
        let _ = headers.push(name.as_bytes(), value.as_bytes());
    }
    for (name, value) in &http.headers {
        let _ = headers.push(name.as_bytes(), value.as_bytes());
    }
}

fn method(http: &HttpProbe) -> &'static str {
    match http.method {
        ProbeMethod::Get => "GET",
        ProbeMethod::Head => "HEAD",
    }
}

/// Asks in HTTP/1.1: whether the connection may serve again.
async fn ask(endpoint: &Endpoint, http: &HttpProbe, wire: &mut Wire<Socket>) -> Result<bool, Unwell> {
    let protocol = |_| Unwell::Attempt(AttemptError::Protocol);
    let mut head = RequestHead::new(method(http), &http.path, Version::Http11).map_err(protocol)?;
    fields(endpoint, http, head.headers_mut());
    let mut out = Vec::with_capacity(256);
    head.write(None, &mut out);
    out.extend_from_slice(b"\r\n");
    let reset = |_| Unwell::Attempt(AttemptError::Reset);
    wire.stream.write_all(&out).await.map_err(reset)?;
    wire.stream.flush().await.map_err(reset)?;
    let mut parser = HeadParser::response();
    let answer = loop {
        let received = poll_fn(|cx| wire.poll_response(cx, &mut parser, &HEAD_LIMITS, 4096)).await;
        let head = received.map_err(|error| {
            Unwell::Attempt(match error {
                http1::HeadError::Malformed(_) => AttemptError::Protocol,
                http1::HeadError::Closed | http1::HeadError::ClosedEarly | http1::HeadError::Io(_) => {
                    AttemptError::Reset
                }
            })
        })?;
        if head.status() >= 200 {
            break head;
        }
    };
    if !http.expect.contains(answer.status()) {
        return Err(Unwell::Status(answer.status()));
    }
    let framing = response_framing(&answer, http.method == ProbeMethod::Head)
        .map_err(|_| Unwell::Attempt(AttemptError::Protocol))?;
    let keeps = framing != Framing::Close && persists(answer.headers(), answer.version());
    let mut search = Search::new(http.body.as_deref());
    let mut incoming = Incoming::new(framing);
    loop {
        let ready = poll_fn(|cx| incoming.poll_ready(cx, wire)).await;
        match ready.map_err(|_| Unwell::Attempt(AttemptError::Reset))? {
            Ready::End => {
                search.verdict()?;
                return Ok(keeps && wire.input.is_empty());
            }
            Ready::Data => {
                let chunk = incoming.chunk(wire);
                let bytes = chunk.len();
                if search.feed(chunk) {
                    search.verdict()?;
                    return Ok(false);
                }
                incoming.advance(wire, bytes);
            }
        }
    }
}

/// Asks in HTTP/2, on a connection of its own.
async fn ask_http2(endpoint: &Endpoint, way: &Way, http: &HttpProbe, socket: Socket) -> Result<(), Unwell> {
    let reset = |_| Unwell::Attempt(AttemptError::Reset);
    let (send, connection) =
        h2::client::Builder::new().enable_push(false).handshake::<_, Bytes>(socket).await.map_err(reset)?;
    // Ends with this probe, whichever way that goes.
    let driver = Driver(tokio::spawn(async move {
        let _ = connection.await;
    }));
    let mut headers = Headers::new();
    fields(endpoint, http, &mut headers);
    let host = headers.all_named("host").next().and_then(|host| std::str::from_utf8(host).ok()).unwrap_or_default();
    let uri = format!("{}://{host}{}", way.scheme(), http.path);
    let mut request = http::Request::builder().method(method(http)).uri(uri).version(http::Version::HTTP_2);
    for (name, value) in headers.iter().filter(|(name, _)| *name != "host") {
        request = request.header(name, value);
    }
    let request = request.body(()).map_err(|_| Unwell::Attempt(AttemptError::Untranslatable))?;
    let mut send = send.ready().await.map_err(reset)?;
    let (answer, _) = send.send_request(request, true).map_err(reset)?;
    let (answer, mut body) = answer.await.map_err(reset)?.into_parts();
    if !http.expect.contains(answer.status.as_u16()) {
        return Err(Unwell::Status(answer.status.as_u16()));
    }
    let mut search = Search::new(http.body.as_deref());
    while let Some(chunk) = body.data().await {
        let chunk = chunk.map_err(reset)?;
        let _ = body.flow_control().release_capacity(chunk.len());
        if search.feed(&chunk) {
            break;
        }
    }
    drop(driver);
    search.verdict()
}

struct Driver(tokio::task::JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Looks for a text in what comes.
struct Search<'a> {
    wanted: Option<&'a str>,
    seen: Vec<u8>,
    bytes: usize,
}

impl<'a> Search<'a> {
    fn new(wanted: Option<&'a str>) -> Self {
        Self { wanted, seen: Vec::new(), bytes: 0 }
    }

    /// More came: whether nothing more is needed.
    fn feed(&mut self, chunk: &[u8]) -> bool {
        self.bytes += chunk.len();
        if self.wanted.is_some() {
            let room = LOOKED_THROUGH.saturating_sub(self.seen.len());
            self.seen.extend(chunk.iter().take(room));
        }
        self.bytes >= LOOKED_THROUGH
    }

    fn verdict(&self) -> Result<(), Unwell> {
        match self.wanted {
            Some(wanted) if memchr::memmem::find(&self.seen, wanted.as_bytes()).is_none() => Err(Unwell::LacksText),
            Some(_) | None => Ok(()),
        }
    }
}
