//! Tunnels: after an upstream's 101 the two sides are joined, byte for byte, until both have ended. A tunnel holds names and
//! its endpoint's place only: it outlives any number of reloads without keeping an old config.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use frames::websocket::{self, Tracker};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::exchange::{Alarm, End, Finish, Takeover};
use crate::identity::{self, Open, Taken};
use crate::telemetry::ids::Random;
use crate::upstream::Held;
use crate::worker::Worker;

/// How long a client may go on sending when its upstream has ended the tunnel; and either side of a WebSocket, which has no
/// half-closed state (RFC 6455 section 7.1.1).
const AFTER_END: Duration = Duration::from_secs(2);

/// How long both sides have for their goodbyes once what the tunnel was opened with is taken back.
const AFTER_TAKEN: Duration = Duration::from_secs(1);

/// How a WebSocket is told that its server goes away (RFC 6455 section 7.4.1).
const GOING_AWAY: u16 = 1001;

/// How a client is told that it may no more have one (RFC 6455 section 7.4.1).
const POLICY_VIOLATION: u16 = 1008;

/// A tunnel about to begin.
pub(super) struct Tunnel {
    pub(super) upstream: End,
    pub(super) held: Held,
    /// How long it may be silent in both directions.
    pub(super) idle: Option<Duration>,
    /// Whether its frames are known, so that it can be told goodbye.
    pub(super) is_websocket: bool,
}

/// What joins the two sides, once the head was sent. The guard records the tunnel when it closes.
pub(super) fn takeover(tunnel: Tunnel, open: Open, finish: Box<Finish>, worker: &Rc<Worker>) -> Takeover {
    let worker = Rc::clone(worker);
    Box::new(move |client| {
        tokio::task::spawn_local(async move {
            let Tunnel { upstream, held, idle, is_websocket } = tunnel;
            let mut closing = Closing::new(finish);
            let parting = is_websocket.then(|| worker.parting.clone());
            let local = worker.local();
            let place = worker.tunnels.open(open, &worker.look(&local));
            // A tunnel outlives configs.
            drop(local);
            let join = Join {
                client,
                upstream,
                inward: Flow::new(&closing.bytes_in, is_websocket),
                outward: Flow::new(&closing.bytes_out, is_websocket),
                idle,
                place,
                alarm: Alarm::default(),
                mask: mask(&worker.ledger.random),
            };
            closing.outcome = join.run(parting).await;
            drop(held);
        });
    })
}

/// What a client's frames are masked with (RFC 6455 section 5.3).
fn mask(random: &Random) -> [u8; 4] {
    (random.next_u64() as u32).to_ne_bytes()
}

/// Both sides and what goes between them.
struct Join {
    client: End,
    upstream: End,
    inward: Flow,
    outward: Flow,
    idle: Option<Duration>,
    /// Says when what it was opened with is taken back.
    place: identity::Tunnel,
    alarm: Alarm,
    mask: [u8; 4],
}

impl Join {
    /// Carries bytes both ways until both sides have ended, and tells how that came about. A client may end its side and
    /// go on listening for as long as the upstream speaks, unless it is a WebSocket's; once the upstream has ended, what the
    /// client still sends has little time: there is nobody who answers.
    async fn run(mut self, parting: Option<CancellationToken>) -> &'static str {
        let mut drained = parting.map(|token| Box::pin(token.cancelled_owned()));
        let mut drains = false;
        let mut until: Option<Instant> = None;
        let mut carried = (0, 0);
        let mut silent_since = Instant::now();
        let mut taken: Option<(Taken, Instant)> = None;
        let outcome = poll_fn(|cx| {
            if let Some(waits) = &mut drained
                && waits.as_mut().poll(cx).is_ready()
            {
                drained = None;
                drains = true;
            }
            if taken.is_none() {
                taken = self.place.poll(cx).map(|why| (why, Instant::now() + AFTER_TAKEN));
            }
            if taken.is_some() && self.inward.frames.is_none() {
                return Poll::Ready("served");
            }
            let (says, code) = (drains || taken.is_some(), if taken.is_some() { POLICY_VIOLATION } else { GOING_AWAY });
            let goodbye = says.then_some(Goodbye { code, mask: None });
            let outward = self.outward.poll(cx, &mut self.upstream, &mut self.client, goodbye);
            let goodbye = says.then_some(Goodbye { code: GOING_AWAY, mask: Some(self.mask) });
            let inward = self.inward.poll(cx, &mut self.client, &mut self.upstream, goodbye);
            match (inward, outward) {
                (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => return Poll::Ready("tunnel_broken"),
                (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready("served"),
                _ if taken.is_some() => {}
                (Poll::Pending, Poll::Pending) => {}
                (Poll::Ready(Ok(())), Poll::Pending) if self.inward.frames.is_none() => {}
                (Poll::Pending, Poll::Ready(Ok(()))) | (Poll::Ready(Ok(())), Poll::Pending) => {
                    let until = *until.get_or_insert_with(|| Instant::now() + AFTER_END);
                    return self.alarm.poll_at(cx, until).map(|()| "served");
                }
            }
            if let Some((_, until)) = taken {
                return self.alarm.poll_at(cx, until).map(|()| "served");
            }
            let Some(idle) = self.idle else { return Poll::Pending };
            let now = (self.inward.came.get(), self.outward.came.get());
            if now != carried {
                carried = now;
                silent_since = Instant::now();
            }
            self.alarm.poll_at(cx, silent_since + idle).map(|()| "tunnel_idle")
        })
        .await;
        taken.map_or(outcome, |(why, _)| why.outcome())
    }
}

/// The other side is to be told that it is over.
#[derive(Clone, Copy)]
struct Goodbye {
    /// Why.
    code: u16,
    /// What the frame is masked with: those of clients are.
    mask: Option<[u8; 4]>,
}

/// One direction.
struct Flow {
    /// Bytes that were carried.
    came: Rc<Cell<u64>>,
    /// Where frames end, in what was carried; none where there are no frames.
    frames: Option<Tracker>,
    /// A frame of ours, on its way.
    ours: Vec<u8>,
    /// Ours was the last: what still comes is read and dropped.
    said_goodbye: bool,
    ended: bool,
}

impl Flow {
    fn new(came: &Rc<Cell<u64>>, is_websocket: bool) -> Self {
        let frames = is_websocket.then(Tracker::default);
        Self { came: Rc::clone(came), frames, ours: Vec::new(), said_goodbye: false, ended: false }
    }

    /// Carries on.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut End,
        to: &mut End,
        goodbye: Option<Goodbye>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            if !self.ours.is_empty() {
                let sent = ready!(to.poll_send(cx, &self.ours))?;
                self.ours.drain(..sent);
                continue;
            }
            if let (Some(Goodbye { code, mask }), Some(frames), false) = (goodbye, &self.frames, self.said_goodbye)
                && frames.at_boundary()
                && !frames.broken()
                && !frames.closed()
            {
                websocket::close_frame(code, "", mask, &mut self.ours);
                self.said_goodbye = true;
                continue;
            }
            // Once its goodbye has come nothing can follow, whether its sender ends or waits for us to.
            let answered = self.said_goodbye && self.frames.as_ref().is_some_and(Tracker::closed);
            let comes = match from.poll_ready(cx)? {
                _ if answered => false,
                Poll::Ready(comes) => comes,
                Poll::Pending => {
                    ready!(to.poll_flush(cx))?;
                    return Poll::Pending;
                }
            };
            if !comes {
                ready!(to.poll_flush(cx))?;
                ready!(to.poll_end(cx))?;
                self.ended = true;
                continue;
            }
            let chunk = from.chunk();
            let sent = if self.said_goodbye {
                chunk.len()
            } else {
                // Whoever waits to put a frame in must not miss the place for it.
                let whole = goodbye.and(self.frames.as_ref()).and_then(|frames| frames.split_at_boundary(chunk));
                let piece = whole.filter(|end| *end > 0).and_then(|end| chunk.get(..end)).unwrap_or(chunk);
                ready!(to.poll_send(cx, piece))?
            };
            if let Some(frames) = &mut self.frames {
                frames.feed(chunk.get(..sent).unwrap_or(chunk));
            }
            self.came.set(self.came.get() + sent as u64);
            from.advance(sent);
        }
    }
}

/// Tells the guard what the tunnel carried, however it closes.
struct Closing {
    finish: Option<Box<Finish>>,
    bytes_in: Rc<Cell<u64>>,
    bytes_out: Rc<Cell<u64>>,
    outcome: &'static str,
}

impl Closing {
    fn new(finish: Box<Finish>) -> Self {
        finish.tunnel_opened();
        Self { finish: Some(finish), bytes_in: Rc::default(), bytes_out: Rc::default(), outcome: "stopped" }
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        if let Some(finish) = self.finish.take() {
            finish.tunnel_closed(self.bytes_in.get(), self.bytes_out.get(), self.outcome);
        }
    }
}
