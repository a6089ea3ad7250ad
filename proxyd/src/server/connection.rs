//! One client connection, from its first byte to its last: requests in order, each handed to `proxy::handle`, each answer
//! written before the next is read. Bytes that never became a request are answered, counted and audited here.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http1::{Framing, HeadError, HeadParser, Version, persists, request_framing};
use shared::config::Protocols;

use super::drain::{self, Drain};
use super::fall::Fall;
use super::farewell;
use super::http2::{self, Preface, preface};
use super::respond::{Asked, Sent, respond};
use super::unasked::{self, head_limits};
use crate::exchange::{
    Alarm, End, Interim, Link, Peer, Rejection, Request, RequestBody, RequestHead, Response, Socket, Takeover, name,
};
use crate::proxy;
use crate::worker::Worker;

/// How much a client may send ahead while its request is served. What goes beyond stays in the kernel.
const READ_AHEAD: usize = 8 * 1024;

/// Room for a connection's first bytes.
const FIRST: usize = 16 * 1024;

/// Starts serving a connection on which HTTP/1.1 is spoken, or HTTP/2 by those who know that it is.
pub(super) fn start(socket: Socket, peer: Peer, protocols: Protocols, worker: &Rc<Worker>) {
    let connection = Connection {
        link: Rc::new(Link::new(socket)),
        alarm: Rc::default(),
        peer: Rc::new(peer),
        parser: HeadParser::request(),
        protocols,
        served: 0,
        _fall: Fall::of(worker),
        worker: Rc::clone(worker),
    };
    tokio::task::spawn_local(connection.serve());
}

struct Connection {
    link: Rc<Link>,
    alarm: Rc<Alarm>,
    peer: Rc<Peer>,
    worker: Rc<Worker>,
    parser: HeadParser,
    protocols: Protocols,
    /// Requests that were answered on it.
    served: u64,
    _fall: Fall,
}

/// What the wait for a request ended with.
enum Next {
    Request(RequestHead),
    /// HTTP/2 begins.
    Http2,
    /// Nothing more is to be done for it.
    Over,
    Refuse(Rejection),
}

/// What comes after an exchange.
enum After {
    Next,
    Over,
    /// Another protocol.
    Takeover(Takeover),
}

impl Connection {
    async fn serve(mut self) {
        let mut drain = Drain::of(&self.worker);
        let takeover = loop {
            let after = match self.next(&mut drain).await {
                Next::Over => return,
                Next::Http2 => return self.into_http2().await,
                Next::Refuse(rejection) => return self.refuse(&rejection).await,
                Next::Request(head) => {
                    if self.served == 0 {
                        self.worker.ledger.metrics.protocol("http1");
                    }
                    self.exchange(head).await
                }
            };
            match after {
                After::Next => self.served += 1,
                After::Over => return,
                After::Takeover(takeover) => break takeover,
            }
        };
        // Nothing else holds the connection by now.
        if let Some(link) = Rc::into_inner(self.link) {
            takeover(End::Wire(link.wire.into_inner()));
        }
    }

    /// Goes on as a connection of HTTP/2.
    async fn into_http2(self) {
        let Self { link, peer, worker, alarm, parser, .. } = self;
        drop((alarm, parser));
        // On the heap: a connection of HTTP/1.1 does not pay for it.
        Box::pin(http2::serve(link, peer, &worker)).await;
    }

    /// Waits for the next request's head. Idle, the connection holds no buffer.
    async fn next(&mut self, drain: &mut Drain) -> Next {
        let (limits, head_within, idle_within) = {
            let local = self.worker.local();
            let server = &local.snapshot.checked.config.server;
            (head_limits(&server.limits), server.timeouts.request_headers, server.timeouts.keep_alive)
        };
        let now = || self.worker.daemon.instant(self.worker.ledger.clock.latest());
        let waits = Cell::new(None);
        let begun = Cell::new(false);
        let parser = &mut self.parser;
        let served = self.served > 0;
        let mut may_be_http2 = !served && self.protocols.http2;
        poll_fn(|cx| {
            let mut wire = self.link.wire.borrow_mut();
            while may_be_http2 {
                match preface(wire.input.bytes()) {
                    Preface::Whole => return Poll::Ready(Next::Http2),
                    Preface::Other => may_be_http2 = false,
                    Preface::Part => match wire.poll_fill(cx, FIRST) {
                        Poll::Ready(Ok(0) | Err(_)) => may_be_http2 = false,
                        Poll::Ready(Ok(_)) => {}
                        Poll::Pending => break,
                    },
                }
            }
            if !may_be_http2 {
                match wire.poll_request(cx, parser, &limits) {
                    Poll::Ready(Ok(_)) if !self.protocols.http1 => {
                        return Poll::Ready(Next::Refuse(Rejection::ProtocolRefused));
                    }
                    Poll::Ready(Ok(head)) => return Poll::Ready(Next::Request(head)),
                    Poll::Ready(Err(error)) => return Poll::Ready(no_head(error, &self.worker)),
                    Poll::Pending => {}
                }
            }
            if !wire.input.is_empty() && !begun.replace(true) {
                // An idle connection wakes: from now on the head has its own time.
                if served {
                    waits.set(None);
                }
            }
            let within = if served && !begun.get() { idle_within } else { head_within };
            let mut end = waits.get().unwrap_or_else(|| now() + within);
            if let Some(since) = drain.poll(cx)
                && !begun.get()
            {
                end = end.min(since + drain::grace(&self.worker));
            }
            waits.set(Some(end));
            ready!(self.alarm.poll_at(cx, end));
            Poll::Ready(if begun.get() {
                Next::Refuse(Rejection::HeadTimeout)
            } else {
                self.worker.ledger.metrics.connection_error("idle");
                Next::Over
            })
        })
        .await
    }

    /// Serves one request.
    async fn exchange(&self, head: RequestHead) -> After {
        let framing = match request_framing(&head) {
            Ok(framing) => framing,
            Err(fault) => {
                self.refuse(&Rejection::Head(fault)).await;
                return After::Over;
            }
        };
        let headers = head.headers();
        let awaits_continue = framing != Framing::None
            && head.version() == Version::Http11
            && headers.get(&name::EXPECT).is_some_and(|expects| expects.eq_ignore_ascii_case(b"100-continue"));
        let (gap, stall, most) = {
            let local = self.worker.local();
            let server = &local.snapshot.checked.config.server;
            (server.timeouts.request_body, server.timeouts.write, server.limits.requests_per_connection)
        };
        let mut asked = Asked {
            to_head: head.method() == "HEAD",
            version: head.version(),
            keeps: persists(headers, head.version()) && most.is_none_or(|most| self.served + 1 < most),
            awaits_continue,
            upgrades: proxy::upgrade_wanted(&head, false).is_some(),
            stall,
            upload: None,
        };
        let body = RequestBody::new(&self.link, &self.alarm, framing, gap, awaits_continue);
        asked.upload = body.upload().cloned();
        let interim = match head.version() {
            Version::Http10 => Interim::Nowhere,
            Version::Http11 | Version::Http2 => Interim::Link(Rc::clone(&self.link)),
        };
        let request = Request { head, body, interim, extended: false, alarm: Rc::clone(&self.alarm) };
        let answer = {
            // On the heap: between requests a connection does not pay for it. Made there: `Box::pin` makes it on the stack, then
            // copies all its kilobytes.
            let room = Box::new_uninit();
            let mut answer = Box::into_pin(Box::write(room, proxy::handle(request, &self.peer, &self.worker)));
            poll_fn(|cx| {
                if let Poll::Ready(response) = answer.as_mut().poll(cx) {
                    return Poll::Ready(Some(response));
                }
                if self.send_interim(cx).is_err() {
                    return Poll::Ready(None);
                }
                if asked.is_read() && has_left(&self.link, cx) { Poll::Ready(None) } else { Poll::Pending }
            })
            .await
        };
        // Whoever leaves before the answer is there takes the whole exchange along.
        let Some(Response { head, body, takeover }) = answer else { return After::Over };
        asked.keeps &= !self.worker.draining.is_cancelled();
        match respond(&self.link, &self.alarm, &self.worker, head, body, asked).await {
            Sent::Whole => takeover.map_or(After::Next, After::Takeover),
            Sent::WholeAndLast { unread } => {
                farewell::say(&self.link, unread).await;
                After::Over
            }
            Sent::Gone => After::Over,
            Sent::Broken => {
                self.worker.ledger.metrics.connection_error("response_cut");
                After::Over
            }
        }
    }

    /// Writes the interim answers that the exchange left.
    fn send_interim(&self, cx: &mut Context<'_>) -> std::io::Result<()> {
        let mut interim = self.link.take_interim();
        while !interim.is_empty() {
            let mut wire = self.link.wire.borrow_mut();
            match tokio::io::AsyncWrite::poll_write(Pin::new(&mut wire.stream), cx, &interim) {
                Poll::Ready(Ok(written)) => {
                    interim.drain(..written);
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {
                    self.link.put_back(interim);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Answers bytes that never became a request; recorded all the same, with what is known of them.
    async fn refuse(&self, rejection: &Rejection) {
        let Response { head, body, .. } = unasked::refuse(&self.peer, rejection, "HTTP/1.1", &self.worker);
        let asked = Asked {
            to_head: false,
            version: Version::Http11,
            keeps: false,
            awaits_continue: false,
            upgrades: false,
            stall: self.worker.local().snapshot.checked.config.server.timeouts.write,
            upload: None,
        };
        if let Sent::WholeAndLast { .. } = respond(&self.link, &self.alarm, &self.worker, head, body, asked).await {
            farewell::say(&self.link, true).await;
        }
    }
}

/// What a wait ends with that brought no head.
fn no_head(error: HeadError, worker: &Worker) -> Next {
    match error {
        HeadError::Closed => return Next::Over,
        HeadError::Malformed(fault) => return Next::Refuse(Rejection::Head(fault)),
        HeadError::ClosedEarly => worker.ledger.metrics.connection_error("closed_early"),
        HeadError::Io(_) => worker.ledger.metrics.connection_error("io"),
    }
    Next::Over
}

/// Whether the client has left: it sends no more, and whoever does that before the answer does not wait for it. What it
/// sends ahead is kept, within bounds.
pub(super) fn has_left(link: &Link, cx: &mut Context<'_>) -> bool {
    let mut wire = link.wire.borrow_mut();
    while wire.input.len() < READ_AHEAD {
        match wire.poll_fill(cx, READ_AHEAD) {
            Poll::Pending => return false,
            Poll::Ready(Ok(0) | Err(_)) => return true,
            Poll::Ready(Ok(_)) => {}
        }
    }
    false
}
