//! Demo backends: two tiny services for the example config's targets, so that a first `curl` through the proxy finds
//! something behind it. Not for anything else.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::thread;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions};

use crate::inherited::Inherited;

/// The addresses, as the example config names them.
pub const ADDRESSES: [SocketAddr; 2] = [
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8001),
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8002),
];

/// The most of a request's body that is read.
const MAX_BODY: usize = 1024 * 1024;

/// Starts both on a thread of their own. The sockets are bound, or were given, before this returns; they are shared with the
/// process that takes over one day.
pub fn start(inherited: &mut Inherited) -> std::io::Result<Vec<(SocketAddr, std::net::TcpListener)>> {
    let mut sockets = Vec::new();
    let mut shared = Vec::new();
    for address in ADDRESSES {
        let socket = match inherited.demo(address) {
            Some(given) => given,
            None => std::net::TcpListener::bind(address)?,
        };
        socket.set_nonblocking(true)?;
        shared.push((address, socket.try_clone()?));
        sockets.push((address, socket));
    }
    thread::Builder::new().name("demo".to_owned()).spawn(move || {
        if let Ok(runtime) = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
            runtime.block_on(async move {
                let mut serving = tokio::task::JoinSet::new();
                for (address, socket) in sockets {
                    serving.spawn_local(serve(address, socket));
                }
                while serving.join_next().await.is_some() {}
            });
        }
    })?;
    Ok(shared)
}

async fn serve(address: SocketAddr, socket: std::net::TcpListener) {
    let Ok(listener) = TcpListener::from_std(socket) else { return };
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::task::spawn_local(async move {
            let service = service_fn(|request| answer(address, request));
            let _ =
                http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Tells what arrived: what a backend sees is what a first user wants to know.
async fn answer(
    address: SocketAddr,
    request: http::Request<Incoming>,
) -> Result<http::Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let headers: serde_json::Map<_, _> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()))
        .collect();
    let body_bytes = Limited::new(body, MAX_BODY).collect().await.map_or(0, |body| body.to_bytes().len());
    let seen = json!({
        "backend": address.to_string(),
        "method": parts.method.as_str(),
        "target": parts.uri.to_string(),
        "headers": headers,
        "body_bytes": body_bytes,
    });
    let mut response = http::Response::new(Full::new(Bytes::from(format!("{seen:#}\n"))));
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    Ok(response)
}
