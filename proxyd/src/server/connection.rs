//! One client connection: the engine on one side, `proxy::handle` on the other, and a stopwatch that ends what idles or
//! dawdles. Heads that never became a request are answered by the engine, counted and audited here.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use crate::exchange::finish::Opening;
use crate::exchange::{Finish, Peer, Presence, Request, RequestBody, RequestHead, Stopwatch, Trail, Value};
use crate::proxy;
use crate::worker::Worker;

/// After this long without traffic the kernel asks whether the client is still there.
const KEEPALIVE_AFTER: Duration = Duration::from_mins(1);

/// How long a connection that has not yet asked anything may live on when the daemon drains: its request may be under way.
const DRAIN_GRACE: Duration = Duration::from_millis(500);

/// The engine's smallest read buffer.
const MIN_BUFFER: usize = 8 * 1024;

/// The engine counts up to this many header lines without an allocation.
const ENGINE_HEADERS: usize = 100;

/// Starts serving a connection.
pub(super) fn start(stream: TcpStream, address: SocketAddr, listener: Arc<str>, worker: &Rc<Worker>) {
    let worker = Rc::clone(worker);
    let local = worker.local();
    let timeouts = &local.snapshot.checked.config.server.timeouts;
    let stopwatch = Arc::new(Stopwatch::start(worker.ledger.clock.now().instant_us, timeouts));
    let ip = address.ip().to_canonical();
    let ip_text = ip.to_string();
    let peer = Peer {
        address,
        ip,
        forwarded_for: Value::parse(&ip_text),
        ip_text: ip_text.into(),
        listener,
        stopwatch,
        presence: Presence::enter(&worker.load, &worker.ledger.metrics, &worker.emptied),
    };
    tokio::task::spawn_local(serve(stream, Rc::new(peer), worker));
}

/// How a connection ended.
enum End {
    Engine(hyper::Result<()>),
    /// The stopwatch ran out.
    Expired,
}

async fn serve(stream: TcpStream, peer: Rc<Peer>, worker: Rc<Worker>) {
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_AFTER));
    let builder = engine(&worker);
    let io = Watched { stream, stopwatch: Arc::clone(&peer.stopwatch), started: worker.daemon.started_at };
    let service = service_fn(|request: http::Request<hyper::body::Incoming>| {
        let (peer, worker) = (Rc::clone(&peer), Rc::clone(&worker));
        async move {
            let gap = worker.local().snapshot.checked.config.server.timeouts.request_body;
            let (parts, body) = request.into_parts();
            let request = Request { head: RequestHead::from_engine(parts), body: RequestBody::from_engine(body, gap) };
            let response = proxy::handle(request, &peer, &worker).await;
            Ok::<_, Infallible>(response.head.into_engine(response.body))
        }
    });
    let mut engine = builder.serve_connection(TokioIo::new(io), service).with_upgrades();
    let end = run(&mut engine, &peer, &worker).await;
    match end {
        End::Engine(Ok(())) => {}
        End::Engine(Err(error)) => note_error(&error, &peer, &worker),
        End::Expired if peer.stopwatch.head_started() => {
            refused(408, "request_head_timeout", &peer, &worker);
            if let Some(parts) = engine.into_parts() {
                say_timeout(parts.io.into_inner().stream).await;
            }
        }
        End::Expired => worker.ledger.metrics.connection_error("idle"),
    }
}

fn engine(worker: &Worker) -> Builder {
    let local = worker.local();
    let limits = &local.snapshot.checked.config.server.limits;
    let mut builder = Builder::new();
    // The stopwatch does this, since the engine's own timer would also end idle connections.
    builder.timer(TokioTimer::new()).header_read_timeout(None);
    builder.max_buf_size((limits.request_line + limits.headers).max(MIN_BUFFER));
    if limits.header_count != ENGINE_HEADERS {
        builder.max_headers(limits.header_count);
    }
    builder
}

/// Drives the engine, and watches the clock and the drain beside it.
async fn run<E: Engine>(engine: &mut E, peer: &Peer, worker: &Worker) -> End {
    let stopwatch = &peer.stopwatch;
    let at = |deadline_us: u64| {
        tokio::time::Instant::from_std(worker.daemon.started_at + Duration::from_micros(deadline_us))
    };
    let first = stopwatch.deadline_us().unwrap_or_default();
    let mut timer = pin!(tokio::time::sleep_until(at(first)));
    let mut draining = pin!(worker.draining.cancelled());
    let mut drains = false;
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = Pin::new(&mut *engine).poll(cx) {
                return Poll::Ready(End::Engine(result));
            }
            if !drains && draining.as_mut().poll(cx).is_ready() {
                drains = true;
                if stopwatch.is_untouched() {
                    let now_us = worker.ledger.clock.now().instant_us;
                    stopwatch.shorten(now_us + DRAIN_GRACE.as_micros() as u64);
                } else {
                    Pin::new(&mut *engine).drain();
                    continue;
                }
            }
            if drains && !stopwatch.is_untouched() {
                Pin::new(&mut *engine).drain();
            }
            // While a request is served its own timeouts hold; the phase changes only when this task runs.
            let Some(deadline_us) = stopwatch.deadline_us() else { return Poll::Pending };
            if at(deadline_us) < timer.deadline() {
                timer.as_mut().reset(at(deadline_us));
            }
            // An earlier deadline may fire first: the timer is moved then, not at every request.
            ready!(timer.as_mut().poll(cx));
            if worker.ledger.clock.now().instant_us >= deadline_us {
                return Poll::Ready(End::Expired);
            }
            timer.as_mut().reset(at(deadline_us));
        }
    })
    .await
}

/// What [`run`] needs of the engine's connection.
trait Engine: Future<Output = hyper::Result<()>> + Unpin {
    /// Ends the connection after the request under way, or at once if there is none.
    fn drain(self: Pin<&mut Self>);
}

impl<S, B> Engine for hyper::server::conn::http1::UpgradeableConnection<TokioIo<Watched>, S>
where
    S: hyper::service::HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn drain(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// A connection that the engine ended with an error.
fn note_error(error: &hyper::Error, peer: &Rc<Peer>, worker: &Rc<Worker>) {
    if error.is_parse_too_large() {
        // The engine tells a long target from large headers in the answer it gives, not in its error.
        let line = error.to_string().contains("URI");
        let (status, code) = if line { (414, "request_line_too_long") } else { (431, "headers_too_large") };
        refused(status, code, peer, worker);
    } else if error.is_parse() {
        refused(400, "request_malformed", peer, worker);
    } else if error.is_incomplete_message() {
        worker.ledger.metrics.connection_error("closed_early");
    } else if error.is_user() || error.is_body_write_aborted() {
        // A response's body broke off: its exchange was recorded with the reason.
        worker.ledger.metrics.connection_error("response_cut");
    } else {
        worker.ledger.metrics.connection_error("io");
    }
}

/// A head that never became a request: recorded all the same, with what is known of it.
fn refused(status: u16, code: &'static str, peer: &Rc<Peer>, worker: &Rc<Worker>) {
    let ledger = &worker.ledger;
    let local = worker.local();
    let id = ledger.ids.next();
    let opening = Opening {
        trail: Trail::open([id.as_str(), &peer.ip_text, "", "", "", "", ""], ""),
        terms: Rc::clone(&local.terms),
        started: ledger.clock.now(),
        protocol: "HTTP/1.1",
        https: false,
    };
    let mut finish = Finish::open(opening, ledger, peer);
    finish.refused(code);
    finish.answered(status);
    if let Some(place) = ledger.audit.try_reserve() {
        finish.reserve(place);
    }
    ledger.metrics.connection_error(code);
}

async fn say_timeout(mut stream: TcpStream) {
    const ANSWER: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let said = async {
        stream.write_all(ANSWER).await?;
        stream.shutdown().await
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), said).await;
}

/// The client's socket, telling the stopwatch when bytes come.
struct Watched {
    stream: TcpStream,
    stopwatch: Arc<Stopwatch>,
    started: Instant,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() > before && self.stopwatch.awaits_bytes() {
            self.stopwatch.bytes_came(self.started.elapsed().as_micros() as u64);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
