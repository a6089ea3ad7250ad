//! What a pool lends to one request: a connection, or a stream of one; and the count of requests under way.

use std::rc::Rc;
use std::sync::Arc;

use http1::Wire;

use super::{Pool, Seat, StreamLease};
use crate::exchange::Socket;
use crate::telemetry::metrics::EndpointCells;

/// What one request is sent on.
pub enum Leased {
    /// A connection of its own.
    Wire(Lease),
    /// A stream of one that serves many.
    Stream(StreamLease),
}

/// A connection lent to one request. Given back when its answer has ended whole; closed otherwise.
pub struct Lease {
    pool: Rc<Pool>,
    wire: Option<Wire<Socket>>,
    /// Whether it served before: it may then have died unnoticed.
    pub reused: bool,
    spoilt: bool,
    in_flight: Option<InFlight>,
}

/// Counts a request with its endpoint until it is over, body and all.
pub struct InFlight {
    cells: Arc<EndpointCells>,
    /// Its place among those under way, where there is a limit.
    _seat: Option<Seat>,
}

impl InFlight {
    /// A request begins.
    pub fn start(pool: &Pool, seat: Option<Seat>) -> Self {
        pool.cells.request_started();
        Self { cells: Arc::clone(&pool.cells), _seat: seat }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.cells.request_finished();
    }
}

impl Lease {
    pub(super) fn of(pool: &Rc<Pool>, wire: Wire<Socket>, reused: bool) -> Self {
        Self { pool: Rc::clone(pool), wire: Some(wire), reused, spoilt: false, in_flight: None }
    }

    /// The request that it serves, counted.
    pub fn counts(&mut self, in_flight: InFlight) {
        self.in_flight = Some(in_flight);
    }

    /// The connection.
    pub fn wire(&self) -> Option<&Wire<Socket>> {
        self.wire.as_ref()
    }

    /// The connection.
    pub fn wire_mut(&mut self) -> Option<&mut Wire<Socket>> {
        self.wire.as_mut()
    }

    /// It is not to serve again, however its exchange ends.
    pub fn spoil(&mut self) {
        self.spoilt = true;
    }

    /// The exchange on it has ended whole, in both directions: it may serve again.
    pub fn give_back(&mut self) {
        if !self.spoilt
            && let Some(wire) = self.wire.take()
        {
            self.pool.give_back(wire);
        }
        self.in_flight = None;
    }

    /// The connection became a tunnel: it is no longer the pool's, but counts until the tunnel closes.
    pub fn into_tunnel(mut self) -> Option<(Wire<Socket>, TunnelLease)> {
        let wire = self.wire.take()?;
        Some((wire, TunnelLease { pool: Rc::clone(&self.pool), _in_flight: self.in_flight.take() }))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.wire.take().is_some() {
            self.pool.cells.connection_closed();
            self.pool.freed();
        }
    }
}

/// A tunnel's place among its endpoint's connections.
pub struct TunnelLease {
    pool: Rc<Pool>,
    _in_flight: Option<InFlight>,
}

impl Drop for TunnelLease {
    fn drop(&mut self) {
        self.pool.cells.connection_closed();
        self.pool.freed();
    }
}
