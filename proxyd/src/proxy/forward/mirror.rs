//! Mirroring: a share of the requests is sent to a shadow upstream too. Nobody waits for it, and what it answers is read and
//! thrown away; it never slows or fails the request that it copies.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

use http1::Ready;
use shared::config::{ForwardHost, policy};
use tokio::time::Instant;

use super::attempt::{Attempt, Cost, Received};
use super::tries::{Course, judge};
use super::{Sending, sticky, target};
use crate::exchange::{Alarm, Body, Exchange, Interim, Kept, Request, RequestBody, RequestHead, Upload};
use crate::snapshot::Timeouts;
use crate::upstream::{Ask, Asks, LocalUpstream, Picked};
use crate::worker::{Local, Worker};

/// A shadow that takes longer is given up.
const LONGEST: Duration = Duration::from_secs(30);

/// Of an answer so much is read, so that its connection can serve again.
const MOST_READ: usize = 1024 * 1024;

/// A request that is to be copied, once all of it has come.
pub(super) struct Mirrored {
    upstream: Rc<LocalUpstream>,
    head: RequestHead,
    target: Option<String>,
    host: ForwardHost,
    asks: Asks,
    timeouts: Timeouts,
    is_idempotent: bool,
    key: Option<u64>,
    body: Original,
    /// Copies under way at once, on this worker.
    most: u32,
}

/// The original's body.
struct Original {
    upload: Option<Rc<Upload>>,
    kept: Option<Rc<RefCell<Kept>>>,
}

impl Original {
    /// A copy of it; none where it has not come whole, or was too large to be kept.
    fn copy(&self) -> Option<RequestBody> {
        let Some(upload) = &self.upload else { return Some(RequestBody::empty()) };
        let kept = self.kept.as_ref()?.borrow();
        (upload.ended() && kept.is_whole()).then(|| RequestBody::copied(kept.bytes()))
    }
}

/// Decides whether this request is copied, and keeps what that takes.
pub(super) fn begin(
    mirror: &policy::Mirror,
    course: &Course<'_>,
    exchange: &Exchange,
    request: &mut Request,
    local: &Local,
    worker: &Rc<Worker>,
) -> Option<Mirrored> {
    let ledger = &worker.ledger;
    if !mirror.percent.takes(ledger.random.next_u64()) {
        return None;
    }
    let upstream = local.upstream(mirror.upstream, worker).filter(|shadow| !Rc::ptr_eq(shadow, course.upstream))?;
    if !request.body.is_empty() {
        let limit = mirror.body.unwrap_or(0);
        if limit == 0 || request.body.announced().is_some_and(|announced| announced > limit) {
            ledger.metrics.mirrored("skipped_body");
            return None;
        }
        request.body.keep(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    let config = &upstream.upstream.config;
    Some(Mirrored {
        target: target(course.onward, "", exchange, &request.head).ok()?,
        host: course.onward.host.clone(),
        asks: course.sending.asks,
        timeouts: course.onward.timeouts(&config.timeouts),
        is_idempotent: course.sending.is_idempotent,
        key: sticky::ask(config, exchange, &request.head).key,
        body: Original { upload: request.body.upload().cloned(), kept: request.body.kept() },
        head: request.head.clone(),
        most: mirror.in_flight.div_ceil(u32::try_from(worker.daemon.workers.len()).unwrap_or(u32::MAX).max(1)),
        upstream: Rc::clone(upstream),
    })
}

impl Mirrored {
    /// Sends the copy, on a task of its own.
    pub(super) fn send(self, worker: &Rc<Worker>) {
        let Some(body) = self.body.copy() else {
            worker.ledger.metrics.mirrored("skipped_body");
            return;
        };
        if self.upstream.copies() >= self.most {
            worker.ledger.metrics.mirrored("skipped_busy");
            return;
        }
        let copying = self.upstream.copy_begins();
        let worker = Rc::clone(worker);
        tokio::task::spawn_local(async move {
            let _copying = copying;
            let sent = tokio::time::timeout(LONGEST, self.carry_out(body, &worker)).await;
            worker.ledger.metrics.mirrored(if sent == Ok(true) { "sent" } else { "failed" });
        });
    }

    /// Whether it was answered.
    async fn carry_out(&self, body: RequestBody, worker: &Rc<Worker>) -> bool {
        let ask = Ask { key: self.key, cookie: None };
        let Ok(picked) = self.upstream.admit(&ask, &[], self.timeouts.connect, None).await else { return false };
        let Picked { pool, trial, seat, .. } = picked;
        let alarm = Rc::new(Alarm::default());
        let (head, interim) = (self.head.clone(), Interim::Nowhere);
        let is_head = head.method() == "HEAD";
        let mut request = Request { head, body, interim, extended: false, alarm: Rc::clone(&alarm) };
        let sending = Sending {
            host: &self.host,
            wanted: None,
            key: None,
            asks: self.asks,
            is_idempotent: self.is_idempotent,
            until: Some(Instant::now() + LONGEST),
            total_is_ours: true,
        };
        let target = self.target.as_deref();
        let attempt = Attempt { sending: &sending, pool, target, timeouts: &self.timeouts };
        let began = worker.ledger.clock.now();
        let outcome = attempt.send(&mut request, seat, &mut Cost::default(), worker).await;
        let with = outcome.as_ref().map(Received::status).map_err(|error| *error);
        judge(&self.upstream, &attempt.pool, trial, with, began, worker);
        let Ok(received) = outcome else { return false };
        let Ok(answer) = attempt.answer(received, is_head, &alarm) else { return false };
        read(answer.response.body).await;
        true
    }
}

/// Reads an answer to its end, unless it is large.
async fn read(mut body: Body) {
    let mut left = MOST_READ;
    while let Ok(Ready::Data) = poll_fn(|cx| body.poll_ready(cx)).await {
        let bytes = body.chunk().len();
        if bytes == 0 || bytes > left {
            return;
        }
        left -= bytes;
        body.advance(bytes);
    }
}
