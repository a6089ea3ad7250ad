//! An answer onto the wire: its head with the lines that frame it, and its body as it comes.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http1::{Incoming, Outgoing, Ready, Shape, Version, persists};
use socket2::SockRef;
use tokio::time::Instant;

use super::connection::has_left;
use super::date::date;
use crate::exchange::body::{BodyError, Spliced};
use crate::exchange::{Alarm, Body, Link, ResponseHead, Upload, name};
use crate::worker::Worker;

/// Of a request's body that nobody read, so much is read and dropped to keep the connection.
const DROPPED: u64 = 64 * 1024;
/// And within this time.
const DROPPED_WITHIN: Duration = Duration::from_secs(5);

/// What the request wants of its answer.
pub(super) struct Asked {
    /// It asks for the head only.
    pub(super) to_head: bool,
    pub(super) version: Version,
    /// The connection may serve again, as far as the request and the daemon go.
    pub(super) keeps: bool,
    /// The client may still wait to be asked for its body.
    pub(super) awaits_continue: bool,
    /// The client asked for another protocol: what it sends behind the request may be of that one.
    pub(super) upgrades: bool,
    /// A client that takes nothing of its answer for so long has left.
    pub(super) stall: Duration,
    pub(super) upload: Option<Rc<Upload>>,
}

impl Asked {
    /// Whether all of the request was read.
    pub(super) fn is_read(&self) -> bool {
        self.upload.as_ref().is_none_or(|upload| upload.ended())
    }
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// Out, and the connection may serve again.
    Whole,
    /// Out, and the last on this connection; perhaps with something of the request unread.
    WholeAndLast { unread: bool },
    /// The client has left.
    Gone,
    /// The body broke off.
    Broken,
}

/// Writes an answer.
pub(super) async fn respond(
    link: &Link,
    alarm: &Alarm,
    worker: &Worker,
    mut head: ResponseHead,
    mut body: Body,
    asked: Asked,
) -> Sent {
    let mut keeps = asked.keeps && persists(head.headers(), Version::Http11);
    let rest = link.take_unread();
    if let Some(unread) = &rest {
        keeps &= !asked.awaits_continue && is_droppable(unread);
    }
    let shape = frame(&mut head, &mut body, &asked);
    keeps &= shape != Shape::Close;
    let switches = head.status() == 101;
    keeps &= switches || !asked.upgrades;
    let out = Outgoing::start(
        |out| {
            out.append(&mut link.take_interim());
            head.write(out);
            if !head.headers().has(&name::DATE) {
                out.extend_from_slice(b"date: ");
                out.extend_from_slice(&date(worker.ledger.clock.latest_unix_s()));
                out.extend_from_slice(b"\r\n");
            }
            if shape == Shape::Chunked {
                out.extend_from_slice(b"transfer-encoding: chunked\r\n");
            }
            match asked.version {
                _ if switches => {}
                Version::Http10 if keeps => out.extend_from_slice(b"connection: keep-alive\r\n"),
                Version::Http10 | Version::Http11 | Version::Http2 if keeps => {}
                Version::Http10 | Version::Http11 | Version::Http2 => out.extend_from_slice(b"connection: close\r\n"),
            }
        },
        shape,
    );
    drop(head);
    let is_bare = shape != Shape::Chunked;
    let mut writing = Writing { link, alarm, asked: &asked, out, is_bare, ended: false, stalls: None };
    let outcome = poll_fn(|cx| writing.poll(cx, &mut body)).await;
    drop(writing);
    match outcome {
        Ok(()) => body.end(Ok(())),
        Err(Failure::Gone) => return Sent::Gone,
        Err(Failure::Stalled) => {
            worker.ledger.metrics.connection_error("write_timeout");
            body.stalled();
            return Sent::Gone;
        }
        Err(Failure::Body(error)) => {
            if shape == Shape::Close {
                // Nothing else tells a client that this was not the end.
                reset(link);
            }
            body.end(Err(error));
            return Sent::Broken;
        }
    }
    drop(body);
    if !keeps {
        return Sent::WholeAndLast { unread: !asked.is_read() };
    }
    if switches || asked.is_read() {
        return Sent::Whole;
    }
    // It was still being sent on while the head went out, which therefore could not tell of a close: one by chunks may end soon
    // too.
    if let Some(rest) = rest.or_else(|| link.take_unread())
        && rest.left().is_none_or(|left| left <= DROPPED)
        && drop_rest(link, rest).await
    {
        return Sent::Whole;
    }
    Sent::WholeAndLast { unread: true }
}

/// Whether reading the rest of a request's body costs less than another connection.
fn is_droppable(rest: &Incoming) -> bool {
    rest.left().is_some_and(|left| left <= DROPPED)
}

/// Makes the lines that tell the body's end true, and says how that is told.
fn frame(head: &mut ResponseHead, body: &mut Body, asked: &Asked) -> Shape {
    let status = head.status();
    let headers = head.headers_mut();
    if status == 101 {
        return Shape::Length(0);
    }
    headers.remove(&name::CONNECTION);
    let left = body.left();
    if asked.to_head || matches!(status, 204 | 304) {
        if status == 204 {
            headers.remove(&name::CONTENT_LENGTH);
        } else if status != 304 && body.is_ours() {
            set_length(head, left.unwrap_or(0));
        }
        body.skip();
        return Shape::Length(0);
    }
    if let Some(left) = left {
        set_length(head, left);
        return Shape::Length(left);
    }
    headers.remove(&name::CONTENT_LENGTH);
    if asked.version == Version::Http10 { Shape::Close } else { Shape::Chunked }
}

/// Tells the length, where the upstream did not tell the same.
fn set_length(head: &mut ResponseHead, length: u64) {
    if head.headers().only(&name::CONTENT_LENGTH) != Some(itoa::Buffer::new().format(length).as_bytes()) {
        head.headers_mut().set_number(&name::CONTENT_LENGTH, length);
    }
}

enum Failure {
    Gone,
    /// It took nothing for too long.
    Stalled,
    Body(BodyError),
}

struct Writing<'a> {
    link: &'a Link,
    alarm: &'a Alarm,
    asked: &'a Asked,
    out: Outgoing,
    /// The body's bytes go out with nothing between them.
    is_bare: bool,
    ended: bool,
    /// When the client is given up, while it takes nothing.
    stalls: Option<Instant>,
}

impl Writing<'_> {
    fn poll(&mut self, cx: &mut Context<'_>, body: &mut Body) -> Poll<Result<(), Failure>> {
        loop {
            if self.ended {
                return self.poll_flush(cx);
            }
            if self.is_bare && body.splices() && self.link.wire.borrow().stream.plain().is_some() {
                ready!(self.poll_spliced(cx, body))?;
                continue;
            }
            match body.poll_ready(cx) {
                Poll::Ready(Ok(Ready::Data)) => {
                    let bytes = if self.out.put(body.chunk()) {
                        body.chunk().len()
                    } else {
                        let sent = {
                            let mut wire = self.link.wire.borrow_mut();
                            self.out.poll_send(cx, &mut wire.stream, body.chunk())
                        };
                        ready!(self.taken(cx, sent))?
                    };
                    body.advance(bytes);
                }
                Poll::Ready(Ok(Ready::End)) => {
                    if !self.out.finish(body.take_trailers().as_deref()) {
                        return Poll::Ready(Err(Failure::Body(BodyError::BrokenOff)));
                    }
                    self.ended = true;
                }
                Poll::Ready(Err(error)) => {
                    // What came goes out: it tells how far the upstream got.
                    ready!(self.poll_flush(cx))?;
                    return Poll::Ready(Err(Failure::Body(error)));
                }
                Poll::Pending => {
                    ready!(self.poll_flush(cx))?;
                    return self.poll_left(cx);
                }
            }
        }
    }

    /// Nothing is to be sent just now: watches for a client that leaves.
    fn poll_left<T>(&self, cx: &mut Context<'_>) -> Poll<Result<T, Failure>> {
        let left = self.asked.is_read() && has_left(self.link, cx);
        if left { Poll::Ready(Err(Failure::Gone)) } else { Poll::Pending }
    }

    /// A piece of the body, from socket to socket.
    fn poll_spliced(&mut self, cx: &mut Context<'_>, body: &mut Body) -> Poll<Result<(), Failure>> {
        // Nothing to be flushed is no sign of a client that takes something.
        if !self.out.is_flushed() {
            ready!(self.poll_flush(cx))?;
        }
        let spliced = match self.link.wire.borrow().stream.plain() {
            Some(to) => body.splice(cx, to),
            None => Spliced::Failed(BodyError::BrokenOff),
        };
        match spliced {
            Spliced::Sent(bytes) if self.out.passed(bytes) => self.taken(cx, Poll::Ready(Ok(()))),
            Spliced::Sent(_) => Poll::Ready(Err(Failure::Body(BodyError::BrokenOff))),
            Spliced::ClientWaits => self.taken(cx, Poll::Pending),
            Spliced::ClientGone => Poll::Ready(Err(Failure::Gone)),
            Spliced::SourceWaits => self.poll_left(cx),
            Spliced::Failed(error) => Poll::Ready(Err(Failure::Body(error))),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let flushed = {
            let mut wire = self.link.wire.borrow_mut();
            self.out.poll_flush(cx, &mut wire.stream)
        };
        self.taken(cx, flushed)
    }

    /// Watches for a client that takes nothing.
    fn taken<T>(&mut self, cx: &mut Context<'_>, written: Poll<std::io::Result<T>>) -> Poll<Result<T, Failure>> {
        match written {
            Poll::Ready(Ok(done)) => {
                self.stalls = None;
                Poll::Ready(Ok(done))
            }
            Poll::Ready(Err(_)) => Poll::Ready(Err(Failure::Gone)),
            Poll::Pending => {
                let end = *self.stalls.get_or_insert_with(|| Instant::now() + self.asked.stall);
                ready!(self.alarm.poll_at(cx, end));
                reset(self.link);
                Poll::Ready(Err(Failure::Stalled))
            }
        }
    }
}

/// Closes the connection so that the kernel keeps nothing for it: what lies in its buffers would wait for the client to read,
/// or to leave.
fn reset(link: &Link) {
    let _ = SockRef::from(link.wire.borrow().stream.tcp()).set_linger(Some(Duration::ZERO));
}

/// Reads and drops what is left of a request's body, unless it is much: whether its end was reached.
async fn drop_rest(link: &Link, mut rest: Incoming) -> bool {
    let mut may_drop = DROPPED;
    let dropped = poll_fn(|cx| {
        let mut wire = link.wire.borrow_mut();
        loop {
            match ready!(rest.poll_ready(cx, &mut wire)) {
                Ok(Ready::Data) => {
                    let bytes = rest.chunk(&wire).len();
                    let Some(less) = may_drop.checked_sub(bytes as u64) else { return Poll::Ready(false) };
                    may_drop = less;
                    rest.advance(&mut wire, bytes);
                }
                Ok(Ready::End) => return Poll::Ready(true),
                Err(_) => return Poll::Ready(false),
            }
        }
    });
    tokio::time::timeout(DROPPED_WITHIN, dropped).await.unwrap_or(false)
}
