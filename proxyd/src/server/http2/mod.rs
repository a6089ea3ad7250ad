//! One client connection of HTTP/2: streams, each a request of its own, and the bounds that hold for all of them together.
//! The protocol itself is the crate `h2`'s; what passes is counted beneath it (`metered`).

mod metered;
mod outbox;
mod respond;
mod stream;

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use frames::meter::FloodKind;
use h2::{Reason, server};
use tokio::time::Instant;

use super::drain::{Drain, GRACE};
use super::{farewell, unasked};
use crate::exchange::{Alarm, Link, Peer};
use crate::tls::PeerCertificate;
use crate::worker::Worker;
use metered::{Metered, PROTOCOL, Watch};
use outbox::Outbox;

/// Of an answer so much waits for the connection at most, for each stream.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams that we reset and the client may still speak of.
const RESET_STREAMS: usize = 256;
/// The most that one window may be (RFC 9113 section 6.9.1).
const LARGEST_WINDOW: u32 = i32::MAX as u32;
/// What HTTP/2 counts for a field beside its name and value (RFC 9113 section 6.5.2).
const FIELD: usize = 32;
/// How long a client that was told that this is the end may take to go.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a client that knows that we speak HTTP/2 begins with (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a connection's first bytes say of its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preface {
    /// It could be one so far.
    Part,
    Whole,
    Other,
}

/// Whether HTTP/2 begins here.
pub(super) fn preface(bytes: &[u8]) -> Preface {
    if bytes.starts_with(PREFACE) {
        Preface::Whole
    } else if PREFACE.starts_with(bytes) {
        Preface::Part
    } else {
        Preface::Other
    }
}

/// The streams of a connection, counted.
pub(super) struct Streams {
    open: Cell<usize>,
    /// When the last one ended.
    idle_since: Cell<Instant>,
}

/// One of them.
pub(super) struct Seat(Rc<Streams>);

impl Seat {
    fn take(streams: &Rc<Streams>) -> Self {
        streams.open.set(streams.open.get() + 1);
        Self(Rc::clone(streams))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get().saturating_sub(1));
        self.0.idle_since.set(Instant::now());
    }
}

/// Serves a connection to its end.
pub(super) async fn serve(link: Rc<Link>, peer: Rc<Peer>, worker: &Rc<Worker>) {
    let watch = Rc::new(Watch::new(worker));
    let (builder, terms) = configured(worker);
    worker.ledger.metrics.protocol("http2");
    let outbox = Rc::<Outbox>::default();
    let handshake = builder.handshake::<_, Bytes>(Metered::new(&link, &watch, &outbox));
    let connection = match tokio::time::timeout(terms.first_within, handshake).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            worker.ledger.metrics.connection_error(if error.is_io() { "closed_early" } else { PROTOCOL });
            return;
        }
        Err(_) => return worker.ledger.metrics.connection_error("idle"),
    };
    let streams = Rc::new(Streams { open: Cell::new(0), idle_since: Cell::new(Instant::now()) });
    outbox.gather();
    let driving = Driving {
        connection,
        link: Rc::clone(&link),
        outbox,
        watch,
        streams,
        terms,
        drain: Drain::of(worker),
        alarm: Alarm::default(),
        served: 0,
        closing: None,
        flood: None,
        peer,
        worker: Rc::clone(worker),
    };
    if driving.run().await {
        farewell::say(&link, true).await;
    }
}

/// What the config says of such connections, as it was when this one came.
struct Terms {
    first_within: Duration,
    idle_within: Duration,
    requests: Option<u64>,
}

fn configured(worker: &Worker) -> (server::Builder, Terms) {
    let local = worker.local();
    let server = &local.snapshot.checked.config.server;
    let limits = &server.limits;
    let mut builder = server::Builder::new();
    builder
        .max_concurrent_streams(limits.streams)
        .initial_window_size(limits.stream_window)
        // Room for all streams at once: an upload that its upstream takes slowly never holds up another.
        .initial_connection_window_size(limits.stream_window.saturating_mul(limits.streams).min(LARGEST_WINDOW))
        // Larger than what we refuse ourselves, so that a refusal is answered and on record.
        .max_header_list_size((4 * (limits.headers + limits.request_line) + FIELD * limits.header_count) as u32)
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(RESET_STREAMS)
        // More than are let pass beneath: what a client floods us with is named there.
        .max_pending_accept_reset_streams(RESET_STREAMS)
        .enable_connect_protocol();
    let terms = Terms {
        first_within: server.timeouts.request_headers,
        idle_within: server.timeouts.keep_alive,
        requests: limits.requests_per_connection,
    };
    (builder, terms)
}

/// A connection under way.
struct Driving {
    connection: server::Connection<Metered, Bytes>,
    link: Rc<Link>,
    outbox: Rc<Outbox>,
    watch: Rc<Watch>,
    streams: Rc<Streams>,
    terms: Terms,
    drain: Drain,
    alarm: Alarm,
    served: u64,
    /// Since when the client knows that this is the end.
    closing: Option<Instant>,
    /// Why it was cut.
    flood: Option<&'static str>,
    peer: Rc<Peer>,
    worker: Rc<Worker>,
}

impl Driving {
    /// To the connection's end: whether it was cut, so that what the client still sends is unread.
    async fn run(mut self) -> bool {
        poll_fn(|cx| self.poll(cx)).await;
        // The last words, where there is somebody who takes them.
        let rest = poll_fn(|cx| self.outbox.poll_out(cx, &self.link));
        let _ = tokio::time::timeout(FAREWELL, rest).await;
        if let Some(flood) = self.flood {
            self.worker.ledger.metrics.connection_error(flood);
            unasked::cut(&self.peer, flood, "HTTP/2", &self.worker);
        }
        self.flood.is_some()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.drain.poll(cx).is_some() {
            self.close();
        }
        if self.peer.certificate.as_ref().is_some_and(PeerCertificate::has_fallen) {
            self.close();
        }
        loop {
            if let (Some(flood), None) = (self.watch.flood(), self.flood) {
                self.flood = Some(flood);
                self.closing.get_or_insert_with(Instant::now);
                let is_flood = flood != PROTOCOL;
                let reason = if is_flood { Reason::ENHANCE_YOUR_CALM } else { Reason::PROTOCOL_ERROR };
                self.connection.abrupt_shutdown(reason);
            }
            let accepted = self.connection.poll_accept(cx);
            let is_found_out = self.flood.is_none() && self.watch.flood().is_some();
            match accepted {
                // Whoever is about to be cut is served no more.
                Poll::Pending | Poll::Ready(Some(Ok(_))) if is_found_out => {}
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.served += 1;
                    if self.terms.requests.is_some_and(|most| self.served >= most) {
                        self.close();
                    }
                    let seat = Seat::take(&self.streams);
                    let stream = stream::Stream::new(request, respond, &self.peer, &self.worker, seat);
                    tokio::task::spawn_local(stream.serve());
                }
                Poll::Ready(Some(Err(error))) => {
                    self.flood = self.flood.or_else(|| self.fault(&error));
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        if let Poll::Ready(Err(_)) = self.outbox.poll_out(cx, &self.link) {
            return Poll::Ready(());
        }
        self.poll_times(cx)
    }

    /// What a connection broke by; none where the client is simply gone.
    fn fault(&self, error: &h2::Error) -> Option<&'static str> {
        // What was counted beneath says more than that the protocol was broken.
        self.watch.flood().or_else(|| {
            let calms = error.reason() == Some(Reason::ENHANCE_YOUR_CALM) && error.is_library();
            match error {
                error if error.is_io() => None,
                _ if calms && self.watch.head_since().is_some() => Some(FloodKind::Continuations.code()),
                _ => Some(PROTOCOL),
            }
        })
    }

    /// Whether its time is up: as one that is idle, or one that was told to go.
    fn poll_times(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let is_idle = self.streams.open.get() == 0;
            let end = match self.closing {
                Some(since) if is_idle || self.flood.is_some() => {
                    since.max(self.streams.idle_since.get()) + if self.served == 0 { GRACE } else { FAREWELL }
                }
                // A head that comes in pieces holds up its whole connection.
                _ => match self.watch.head_since() {
                    Some(since) => since + self.terms.first_within,
                    None if !is_idle => return Poll::Pending,
                    None => {
                        let within = if self.served == 0 { self.terms.first_within } else { self.terms.idle_within };
                        self.streams.idle_since.get() + within
                    }
                },
            };
            if self.alarm.poll_at(cx, end).is_pending() {
                return Poll::Pending;
            }
            if self.closing.is_some() && (is_idle || self.flood.is_some()) {
                return Poll::Ready(());
            }
            if self.watch.head_since().is_some() {
                self.flood = Some("request_head_timeout");
                return Poll::Ready(());
            }
            if self.served == 0 {
                self.worker.ledger.metrics.connection_error("idle");
            }
            self.close();
            // What that has to say goes out with the next turn.
            cx.waker().wake_by_ref();
        }
    }

    /// Tells the client that no new requests are taken (RFC 9113 section 6.8); what is under way ends.
    fn close(&mut self) {
        if self.closing.is_none() {
            self.closing = Some(Instant::now());
            self.connection.graceful_shutdown();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preface_is_told_from_requests() {
        assert_eq!(preface(b""), Preface::Part);
        assert_eq!(preface(b"PRI * HT"), Preface::Part);
        assert_eq!(preface(PREFACE), Preface::Whole);
        assert_eq!(preface(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0"), Preface::Whole);
        assert_eq!(preface(b"POST / HTTP/1.1\r\n"), Preface::Other);
        assert_eq!(preface(b"PRI * HTTP/2.0\r\nhost: h\r\n"), Preface::Other);
    }
}
