//! What hyper reads from the same bytes.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, Version};
use hyper_util::rt::TokioIo;

use super::engine::script::Script;
use super::engine::{Fields, Message};

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

fn fields(headers: &HeaderMap) -> Fields {
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}

fn version(version: Version) -> &'static str {
    if version == Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" }
}

async fn body(body: Incoming) -> Option<(Vec<u8>, Fields)> {
    let whole = body.collect().await.ok()?;
    let trailers = whole.trailers().map(fields).unwrap_or_default();
    Some((whole.to_bytes().to_vec(), trailers))
}

/// Requests, one after the other; those that came whole.
pub(super) fn requests(bytes: &[u8]) -> Vec<Message> {
    let found = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&found);
    let service = service_fn(move |request: Request<Incoming>| {
        let seen = Rc::clone(&seen);
        async move {
            let start = format!("{} {} {}", request.method(), request.uri(), version(request.version()));
            let fields = fields(request.headers());
            if let Some((body, trailers)) = body(request.into_body()).await {
                seen.borrow_mut().push(Message { start, fields, body, trailers });
            }
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.half_close(true).header_read_timeout(None);
    let serving = builder.serve_connection(TokioIo::new(Script::coming(bytes, 0)), service);
    let _ = run(serving);
    found.take()
}

/// The final answer to a request of this method, where it came whole.
pub(super) fn response(bytes: &[u8], method: &str) -> Option<Message> {
    run(async {
        let io = TokioIo::new(Script::answering(bytes));
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.ok()?;
        let request = Request::builder().method(method).uri("/").header("host", "h").body(Empty::<Bytes>::new());
        let answer = sender.send_request(request.ok()?);
        let reading = async {
            let response = answer.await.ok()?;
            let start = format!("{} {}", response.status().as_u16(), version(response.version()));
            let fields = fields(response.headers());
            let (body, trailers) = body(response.into_body()).await?;
            Some(Message { start, fields, body, trailers })
        };
        tokio::pin!(reading);
        tokio::select! {
            biased;
            read = &mut reading => read,
            _ = connection => reading.await,
        }
    })
}
