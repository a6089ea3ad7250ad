//! The connection beneath HTTP/2: frames are counted as they pass, and a client that floods us with those that cost more
//! than they bring is found out.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use frames::meter::{Flood, FloodLimits, Frame, FrameMeter, code_name, flag, kind};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::outbox::Outbox;
use crate::exchange::Link;
use crate::telemetry::metrics::WorkerMetrics;
use crate::worker::Worker;

/// Not a flood, but no HTTP/2 either.
pub(super) const PROTOCOL: &str = "h2_protocol";

/// For so many bytes room may be given again at once. Nobody known does it for fewer.
const UPDATE_FOR: u64 = 1024;
/// Frames that may be earned ahead.
const MOST_EARNED: u64 = 100_000;

/// What is known of a connection's frames.
pub(super) struct Watch {
    came: RefCell<(FrameMeter, Flood)>,
    went: RefCell<FrameMeter>,
    flood: Cell<Option<&'static str>>,
    /// Whether a frame has come.
    begun: Cell<bool>,
    /// `WINDOW_UPDATE` and PING frames that are no flood, for what was sent.
    earned_updates: Cell<u64>,
    earned_pings: Cell<u64>,
    /// Since when a header block is open.
    head_since: Cell<Option<Instant>>,
    since: Instant,
    metrics: Rc<WorkerMetrics>,
}

impl Watch {
    pub(super) fn new(worker: &Worker) -> Self {
        Self {
            came: RefCell::new((FrameMeter::new(true), Flood::new(FloodLimits::default()))),
            went: RefCell::new(FrameMeter::new(false)),
            flood: Cell::new(None),
            begun: Cell::new(false),
            earned_updates: Cell::new(0),
            earned_pings: Cell::new(0),
            head_since: Cell::new(None),
            since: Instant::now(),
            metrics: Rc::clone(&worker.ledger.metrics),
        }
    }

    /// What the client floods us with, or why it is cut for its frames otherwise.
    pub(super) fn flood(&self) -> Option<&'static str> {
        self.flood.get()
    }

    /// Since when a header block is open.
    pub(super) fn head_since(&self) -> Option<Instant> {
        self.head_since.get()
    }

    fn came(&self, bytes: &[u8]) {
        let mut came = self.came.borrow_mut();
        let (meter, flood) = &mut *came;
        meter.feed(bytes, |frame| {
            let is_settings = frame.kind == kind::SETTINGS && frame.flags & flag::ACK == 0;
            if !self.begun.replace(true) && !is_settings {
                // The preface is none without them (RFC 9113 section 3.4).
                self.flood.set(Some(PROTOCOL));
            }
            self.note_head(&frame);
            if frame.kind == kind::RST_STREAM {
                self.metrics.http2_reset_received(code_name(frame.code.unwrap_or(u32::MAX)));
            }
            if self.has_earned(&frame) {
                return;
            }
            let now_ms = self.since.elapsed().as_millis() as u64;
            if let Some(found) = flood.judge(&frame, now_ms) {
                self.flood.set(self.flood.get().or(Some(found.code())));
            }
        });
    }

    /// Room is given again for what was sent, by some for every few KiB on the stream and on the connection; and gRPC measures
    /// the way with a PING for what it reads. As much of that as answers something of ours is nothing to be counted.
    fn has_earned(&self, frame: &Frame) -> bool {
        let earned = match frame.kind {
            kind::WINDOW_UPDATE => &self.earned_updates,
            kind::PING => &self.earned_pings,
            _ => return false,
        };
        let left = earned.get().checked_sub(1);
        earned.set(left.unwrap_or(0));
        left.is_some()
    }

    fn earn(&self, sent: &Frame) {
        if sent.kind == kind::DATA && sent.length > 0 {
            let updates = 2 + 2 * u64::from(sent.length) / UPDATE_FOR;
            self.earned_updates.set((self.earned_updates.get() + updates).min(MOST_EARNED));
            self.earned_pings.set((self.earned_pings.get() + 1).min(MOST_EARNED));
        }
    }

    fn note_head(&self, frame: &Frame) {
        if matches!(frame.kind, kind::HEADERS | kind::CONTINUATION) {
            let is_whole = frame.flags & flag::END_HEADERS != 0;
            self.head_since.set(if is_whole { None } else { Some(self.head_since.get().unwrap_or_else(Instant::now)) });
        }
    }

    fn went(&self, bytes: &[u8]) {
        self.went.borrow_mut().feed(bytes, |frame| match frame.kind {
            kind::RST_STREAM => self.metrics.http2_reset_sent(code_name(frame.code.unwrap_or(u32::MAX))),
            kind::GOAWAY => self.metrics.http2_goaway_sent(code_name(frame.code.unwrap_or(u32::MAX))),
            _ => self.earn(&frame),
        });
    }
}

/// See the module.
pub(super) struct Metered {
    /// With what came before the protocol was known. Outlives the protocol, for its farewell.
    link: Rc<Link>,
    watch: Rc<Watch>,
    outbox: Rc<Outbox>,
}

impl Metered {
    pub(super) fn new(link: &Rc<Link>, watch: &Rc<Watch>, outbox: &Rc<Outbox>) -> Self {
        Self { link: Rc::clone(link), watch: Rc::clone(watch), outbox: Rc::clone(outbox) }
    }
}

impl AsyncRead for Metered {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let mut wire = this.link.wire.borrow_mut();
        let polled = if wire.input.is_empty() {
            Pin::new(&mut wire.stream).poll_read(cx, buffer)
        } else {
            let held = wire.input.bytes();
            let now = held.get(..buffer.remaining()).unwrap_or(held);
            buffer.put_slice(now);
            let taken = now.len();
            wire.input.consume(taken);
            Poll::Ready(Ok(()))
        };
        if let Some(came) = buffer.filled().get(before..) {
            this.watch.came(came);
        }
        polled
    }
}

impl AsyncWrite for Metered {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.outbox.poll_room(cx, &this.link))?;
        let mut taken = 0;
        for slice in slices {
            this.watch.went(slice);
            this.outbox.put(slice);
            taken += slice.len();
        }
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What is gathered goes out when the connection's task has nothing more to say for now.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.outbox.gathers() { Poll::Ready(Ok(())) } else { this.outbox.poll_out(cx, &this.link) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.outbox.poll_out(cx, &this.link))?;
        Pin::new(&mut this.link.wire.borrow_mut().stream).poll_shutdown(cx)
    }
}
