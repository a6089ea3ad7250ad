//! What a worker writes its requests down with: its clock, its ids, and its halves of metrics, access log and audit; and its way
//! to what several proxies share.

use std::rc::Rc;

use crate::audit::Recorder;
use crate::fleet::Fleet;
use crate::outside::Outside;
use crate::telemetry::access_log::WorkerLog;
use crate::telemetry::clock::Clock;
use crate::telemetry::ids::{Ids, Random};
use crate::telemetry::metrics::WorkerMetrics;

/// One per worker; never shared between threads.
pub struct Ledger {
    pub clock: Clock,
    pub ids: Ids,
    pub random: Random,
    pub metrics: Rc<WorkerMetrics>,
    pub log: WorkerLog,
    pub audit: Recorder,
    /// What it asks of identity providers and the like.
    pub outside: Outside,
    /// The way to what several proxies share.
    pub fleet: Fleet,
}
