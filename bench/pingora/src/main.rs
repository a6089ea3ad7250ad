//! The pingora peer of the benchmark: forwards to one backend, plain or as a gateway.
//!
//! Usage: pingora-peer LISTEN BACKEND [ACCESS_LOG]. With a log it also counts each client against a limit, gives every
//! request an id in both directions and writes a line for it, through one 64 KiB buffer.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::{Error, ErrorType, HttpPeer, Result, Server};
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::RunArgs;
use pingora::server::configuration::ServerConf;
use pingora_limits::rate::Rate;

/// Requests a second that no client of the benchmark reaches.
const LIMIT: isize = 1_000_000_000;

struct Gateway {
    limit: Rate,
    next_id: AtomicU64,
    log: Arc<Mutex<BufWriter<File>>>,
}

struct Peer {
    backend: String,
    gateway: Option<Gateway>,
}

struct Request {
    id: String,
    begun: Instant,
}

#[async_trait]
impl ProxyHttp for Peer {
    type CTX = Request;

    fn new_ctx(&self) -> Request {
        let id = self.gateway.as_ref().map_or_else(String::new, |gateway| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            format!("{:016x}{:016x}", since.as_nanos() as u64, gateway.next_id.fetch_add(1, Ordering::Relaxed))
        });
        Request { id, begun: Instant::now() }
    }

    async fn upstream_peer(&self, _: &mut Session, _: &mut Request) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.backend.as_str(), false, String::new())))
    }

    async fn request_filter(&self, session: &mut Session, _: &mut Request) -> Result<bool> {
        if let Some(gateway) = &self.gateway
            && let Some(address) = session.client_addr().and_then(|address| address.as_inet())
            && gateway.limit.observe(&address.ip(), 1) > LIMIT
        {
            session.respond_error(429).await?;
            return Ok(true);
        }
        Ok(false)
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        head: &mut RequestHeader,
        ctx: &mut Request,
    ) -> Result<()> {
        if self.gateway.is_some() {
            head.insert_header("x-request-id", &ctx.id)?;
        }
        Ok(())
    }

    async fn response_filter(&self, _: &mut Session, head: &mut ResponseHeader, ctx: &mut Request) -> Result<()> {
        if self.gateway.is_some() {
            head.insert_header("x-request-id", &ctx.id)?;
        }
        Ok(())
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Request) {
        let Some(gateway) = &self.gateway else { return };
        let head = session.req_header();
        let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("-");
        let line = format!(
            "{{\"time\":{:.6},\"request_id\":\"{}\",\"client\":\"{}\",\"method\":\"{}\",\"host\":\"{}\",\"path\":\"{}\",\"status\":{},\"bytes\":{},\
             \"duration_ms\":{:.3},\"upstream\":\"{}\",\"user_agent\":\"{}\",\"error\":\"{}\"}}\n",
            SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
            ctx.id,
            session.client_addr().map(ToString::to_string).unwrap_or_default(),
            head.method,
            text("host"),
            head.uri.path(),
            session.response_written().map_or(0, |head| head.status.as_u16()),
            session.body_bytes_sent(),
            ctx.begun.elapsed().as_secs_f64() * 1000.0,
            self.backend,
            text("user-agent"),
            error.map_or("", |error| match error.etype() {
                ErrorType::ConnectionClosed => "closed",
                _ => "failed",
            }),
        );
        if let Ok(mut log) = gateway.log.lock() {
            let _ = log.write_all(line.as_bytes());
        }
    }
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let [_, listen, backend, log @ ..] = words.as_slice() else {
        eprintln!("usage: pingora-peer LISTEN BACKEND [ACCESS_LOG]");
        std::process::exit(2);
    };
    let log = log.first().map(|path| {
        let file = OpenOptions::new().create(true).append(true).open(path).expect("the access log can be opened");
        Arc::new(Mutex::new(BufWriter::with_capacity(65536, file)))
    });
    let gateway =
        log.clone().map(|log| Gateway { limit: Rate::new(Duration::from_secs(1)), next_id: AtomicU64::new(1), log });
    let conf = ServerConf {
        threads: 1,
        upstream_keepalive_pool_size: 128,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(1),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Peer { backend: backend.clone(), gateway });
    service.add_tcp(listen);
    server.add_service(service);
    server.run(RunArgs::default());
    // What is left in the buffer: the benchmark counts the lines.
    if let Some(log) = log
        && let Ok(mut log) = log.lock()
    {
        log.flush().expect("the access log can be written");
    }
}
