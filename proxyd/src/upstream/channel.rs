//! A connection of HTTP/2 to an endpoint: many requests at once, as many as both sides allow.

use std::cell::Cell;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{self, SendRequest};
use h2::{Ping, PingPong};
use tokio::sync::Notify;

use super::way::Way;
use super::{AttemptError, InFlight, Pool};
use crate::exchange::Socket;

/// The largest head of an answer, as HTTP/2 counts it.
const LARGEST_HEAD: u32 = 128 * 1024;
/// Of a request's body, so much waits for the connection at most.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams that we reset and the endpoint may still speak of.
const RESET_STREAMS: usize = 1024;
/// An endpoint that does not answer so long is taken to allow what is usual.
const SETTLES_WITHIN: Duration = Duration::from_secs(1);
/// The most that one window may be (RFC 9113 section 6.9.1).
const LARGEST_WINDOW: u32 = i32::MAX as u32;

/// See the module.
pub(super) struct Channel {
    send: SendRequest<Bytes>,
    /// Requests at once, as far as we go; the endpoint may allow fewer.
    most: usize,
    /// Whether it is known what the endpoint allows: until then only the request that opened it goes out on it.
    settled: Cell<bool>,
    settles: Notify,
    pub(super) active: Cell<usize>,
    /// Whether it takes no more requests.
    pub(super) is_closed: Cell<bool>,
    pub(super) idle_since_us: Cell<u64>,
}

impl Channel {
    /// Opens one on a connection that is established. Its own task drives it, until it has ended; `pool` is told then.
    pub(super) async fn open(socket: Socket, way: &Way, pool: &Rc<Pool>) -> Result<Rc<Self>, AttemptError> {
        let streams = way.streams;
        let handshake = client::Builder::new()
            .enable_push(false)
            .initial_window_size(way.stream_window)
            // Room for all streams at once: one that is read slowly never holds up another.
            .initial_connection_window_size(way.stream_window.saturating_mul(streams).min(LARGEST_WINDOW))
            .initial_max_send_streams(streams as usize)
            .max_header_list_size(LARGEST_HEAD)
            .max_send_buffer_size(SEND_BUFFER)
            .max_concurrent_reset_streams(RESET_STREAMS)
            .handshake::<_, Bytes>(socket);
        let (send, mut connection) = handshake.await.map_err(|_| AttemptError::Reset)?;
        let ping = connection.ping_pong();
        let channel = Rc::new(Self {
            send,
            most: streams as usize,
            settled: Cell::new(false),
            settles: Notify::new(),
            active: Cell::new(0),
            is_closed: Cell::new(false),
            idle_since_us: Cell::new(0),
        });
        let (ours, pool, cells) = (Rc::downgrade(&channel), Rc::downgrade(pool), Arc::clone(&pool.cells));
        tokio::task::spawn_local(settle(ping, Weak::clone(&ours), Weak::clone(&pool)));
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection of HTTP/2 to an endpoint ended");
            }
            cells.connection_closed();
            if let Some(channel) = Weak::upgrade(&ours) {
                channel.is_closed.set(true);
                channel.has_settled();
            }
            if let Some(pool) = Weak::upgrade(&pool) {
                pool.channel_ended();
            }
        });
        Ok(channel)
    }

    fn has_settled(&self) -> bool {
        self.settles.notify_waiters();
        !self.settled.replace(true)
    }

    /// Whether it is not yet known what the endpoint allows.
    pub(super) fn is_settling(&self) -> bool {
        !self.settled.get()
    }

    /// Whether it is counted as idle.
    pub(super) fn is_idle(&self) -> bool {
        self.active.get() == 0 && self.idle_since_us.get() > 0
    }

    /// Whether one more request may go out on it.
    pub(super) fn has_room(&self) -> bool {
        !self.is_closed.get()
            && self.settled.get()
            && self.active.get() < self.most.min(self.send.current_max_send_streams())
    }
}

/// Waits until the endpoint's settings have come: it sends them first, so what answers a ping came behind them (RFC 9113
/// section 3.4).
async fn settle(ping: Option<PingPong>, channel: Weak<Channel>, pool: Weak<Pool>) {
    if let Some(mut ping) = ping {
        let _ = tokio::time::timeout(SETTLES_WITHIN, ping.ping(Ping::opaque())).await;
    }
    if let Some(channel) = Weak::upgrade(&channel)
        && channel.has_settled()
        && let Some(pool) = Weak::upgrade(&pool)
    {
        pool.channel_settled();
    }
}

/// A request's place on a channel.
pub struct StreamLease {
    pool: Rc<Pool>,
    channel: Rc<Channel>,
    pub send: SendRequest<Bytes>,
    /// Whether the channel served before: it may have died unnoticed.
    pub reused: bool,
    in_flight: Option<InFlight>,
}

impl StreamLease {
    pub(super) fn of(pool: &Rc<Pool>, channel: &Rc<Channel>, reused: bool) -> Self {
        if channel.is_idle() {
            pool.cells.idle_ended();
        }
        channel.active.set(channel.active.get() + 1);
        Self { pool: Rc::clone(pool), channel: Rc::clone(channel), send: channel.send.clone(), reused, in_flight: None }
    }

    /// The request that it serves, counted.
    pub fn counts(&mut self, in_flight: InFlight) {
        self.in_flight = Some(in_flight);
    }

    /// Waits until it is known what the endpoint allows, and tells whether that is tunnels (RFC 8441 section 3).
    pub async fn takes_tunnels(&self) -> bool {
        while self.channel.is_settling() {
            self.channel.settles.notified().await;
        }
        self.send.is_extended_connect_protocol_enabled()
    }

    /// The channel takes no more requests: its endpoint said so, or it broke.
    pub fn close(&self) {
        self.channel.is_closed.set(true);
    }
}

impl Drop for StreamLease {
    fn drop(&mut self) {
        let left = self.channel.active.get().saturating_sub(1);
        self.channel.active.set(left);
        if left == 0 && !self.channel.is_closed.get() {
            self.pool.cells.idle_began();
            self.channel.idle_since_us.set(self.pool.now_us());
        }
        self.pool.stream_freed();
    }
}
