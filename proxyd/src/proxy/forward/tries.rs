//! Attempts, one after another: an endpoint is chosen, the request is sent, and what comes of it is judged; where another
//! attempt is safe, allowed and likely to do better, it follows.

use std::rc::Rc;
use std::time::Duration;

use shared::config::{Cause, Retry};
use shared::decide::retry::{No, Safety, Tried, backoff, may_retry};
use tokio::time::Instant;

use super::attempt::{Attempt, Cost, Received};
use super::{Sending, sticky};
use crate::exchange::body::BodyError;
use crate::exchange::{Body, Exchange, Name, Rejection, Request, RequestHead, name};
use crate::proxy::Answer;
use crate::snapshot::Forward;
use crate::telemetry::clock::{Now, unix_us};
use crate::upstream::{Answered, AttemptError, LocalUpstream, Picked, Pool, Trial, When};
use crate::worker::Worker;

static IDEMPOTENCY_KEY: Name = Name::known("idempotency-key");

/// Of an answer that is not passed on so much is read, so that its connection can serve again.
const MOST_UNREAD: usize = 64 * 1024;

/// Where a request goes, and how.
pub(super) struct Course<'a> {
    pub(super) onward: &'a Forward,
    pub(super) sending: &'a Sending<'a>,
    pub(super) upstream: &'a Rc<LocalUpstream>,
    /// Path and query, where they are not those that came.
    pub(super) target: Option<&'a str>,
}

/// No answer that could be passed on.
pub(super) struct Failed {
    pub(super) rejection: Rejection,
    /// None where the client is at fault.
    pub(super) error: Option<AttemptError>,
}

/// What follows an attempt.
enum Next {
    /// It stands as it is.
    Stands,
    /// Another one, so much later.
    Again(Duration),
    /// It would have been tried again, were it not for this.
    Denied(&'static str),
}

impl Course<'_> {
    /// What is sent again, and when.
    pub(super) fn retry(&self) -> Option<&Retry> {
        match &self.onward.retry {
            Some(own) => own.as_deref(),
            None => self.upstream.upstream.config.retry.as_deref(),
        }
    }

    /// Sends until one attempt is answered, or none may follow.
    pub(super) async fn run(
        &self,
        exchange: &mut Exchange,
        request: &mut Request,
        worker: &Rc<Worker>,
    ) -> Result<Answer, Failed> {
        let config = &*self.upstream.upstream.config;
        let timeouts = self.onward.timeouts(&config.timeouts);
        let retry = self.retry();
        if let Some(retry) = retry {
            if retry.budget.is_some() {
                self.upstream.request_begins();
            }
            if let Some(limit) = retry.body {
                request.body.keep(usize::try_from(limit).unwrap_or(usize::MAX));
            }
        }
        let upload = request.body.upload().cloned();
        let mut tried: Vec<u64> = Vec::new();
        let mut before = None;
        loop {
            let ask = sticky::ask(config, exchange, &request.head);
            let picked = match self.upstream.admit(&ask, &tried, timeouts.connect, self.sending.until).await {
                Ok(picked) => picked,
                Err(error) => {
                    if !tried.is_empty() {
                        exchange.finish.noted("not retried: no endpoint");
                        worker.ledger.metrics.retry_denied("no endpoint");
                    }
                    let error = before.unwrap_or(error);
                    return Err(Failed { rejection: rejection(error), error: Some(error) });
                }
            };
            let Picked { pool, trial, seat, in_panic, cookie } = picked;
            exchange.finish.forwarded(&pool.tag);
            let attempt = Attempt { sending: self.sending, pool, target: self.target, timeouts: &timeouts };
            let clock = &worker.ledger.clock;
            // The first follows on the request at once.
            let began = if tried.is_empty() { clock.latest() } else { clock.now() };
            // Before it: the client may leave meanwhile.
            exchange.finish.attempts += 1;
            let mut cost = Cost::default();
            let outcome = attempt.send(request, seat, &mut cost, worker).await;
            exchange.finish.attempts += cost.times.saturating_sub(1);
            exchange.finish.upstream_us += cost.upstream_us;
            let fault = upload.as_ref().and_then(|upload| upload.failure());
            let with = match &outcome {
                Ok(received) => Ok(received.status()),
                // The client is at fault: it says nothing of the endpoint.
                Err(_) if fault.is_some() => Err(AttemptError::OutOfTime),
                // One that had all the time there is, by our own limit, was silent.
                Err(AttemptError::OutOfTime) if tried.is_empty() && self.sending.total_is_ours => {
                    Err(AttemptError::Silent)
                }
                Err(error) => Err(*error),
            };
            judge(self.upstream, &attempt.pool, trial, with, began, worker);
            if in_panic && tried.is_empty() {
                exchange.finish.noted("panic");
            }
            if let Some(fault) = fault.filter(|_| outcome.is_err()) {
                return Err(Failed { rejection: body_rejection(fault), error: None });
            }
            let id = attempt.pool.endpoint.id;
            let next = match retry {
                Some(retry) => self.next(retry, &outcome, &mut tried, id, request),
                None => Next::Stands,
            };
            match next {
                Next::Stands => {}
                Next::Denied(why) => {
                    note(exchange, &attempt, &outcome);
                    exchange.finish.noted(&format!("not retried: {why}"));
                    worker.ledger.metrics.retry_denied(why);
                }
                Next::Again(pause) => {
                    note(exchange, &attempt, &outcome);
                    match outcome {
                        Ok(mut received) => {
                            if let Some(body) = received.take_back() {
                                request.body = body;
                            }
                            discard(&attempt, received, exchange);
                        }
                        Err(error) => before = Some(error),
                    }
                    attempt.pool.cells.retried();
                    if !pause.is_zero() {
                        tokio::time::sleep(pause).await;
                    }
                    request.body.rewind();
                    continue;
                }
            }
            let received = outcome.map_err(|error| Failed { rejection: rejection(error), error: Some(error) })?;
            let mut answer = attempt
                .answer(received, exchange.method() == "HEAD", &exchange.alarm)
                .map_err(|rejection| Failed { rejection, error: Some(AttemptError::Protocol) })?;
            if let (Some(sticky), Some(token)) = (&config.sticky, cookie) {
                sticky::set(sticky, &token, exchange.https, &mut answer.response.head);
            }
            return Ok(answer);
        }
    }

    /// Whether another attempt follows. The endpoint that was tried is remembered.
    fn next(
        &self,
        retry: &Retry,
        outcome: &Result<Received, AttemptError>,
        tried: &mut Vec<u64>,
        id: u64,
        request: &Request,
    ) -> Next {
        let (cause, untouched) = match outcome {
            Ok(received) if received.has_switched() => return Next::Stands,
            Ok(received) => (Cause::Status(received.status()), false),
            Err(error) => match error.cause() {
                // No connection to this one was to be had: another may have one.
                Some(Cause::Unavailable) => (Cause::Connect, true),
                Some(cause) => (cause, error.leaves_untouched()),
                None => return Next::Stands,
            },
        };
        let unsent = outcome.as_ref().ok().and_then(Received::unsent);
        let tried_so_far = Tried {
            cause,
            untouched,
            repeatable: unsent.unwrap_or(&request.body).is_repeatable(),
            attempts: u32::try_from(tried.len()).unwrap_or(u32::MAX).saturating_add(1),
        };
        let safety = Safety {
            idempotent: self.sending.is_idempotent && self.sending.wanted.is_none(),
            has_key: has_key(&request.head),
        };
        match may_retry(retry, safety, tried_so_far) {
            Ok(()) => {}
            Err(No::NotListed) => {
                return if outcome.is_ok() { Next::Stands } else { Next::Denied("not listed") };
            }
            Err(No::Unsafe) => return Next::Denied("unsafe"),
            Err(No::BodyGone) => return Next::Denied("body not kept"),
            Err(No::Exhausted) => return Next::Denied("attempts used up"),
        }
        tried.push(id);
        let pause = if self.upstream.has_other(tried) {
            // The other one is not known to be in trouble: nothing is won by waiting.
            Duration::ZERO
        } else {
            let number = u32::try_from(tried.len()).unwrap_or(u32::MAX);
            let pause = backoff(retry, number, self.upstream.random());
            let asked = outcome.as_ref().ok().and_then(retry_after);
            let pause = asked.map_or(pause, |asked| asked.max(pause));
            if pause > retry.max_backoff {
                return Next::Denied("asked to wait longer");
            }
            pause
        };
        if self.sending.until.is_some_and(|until| Instant::now() + pause >= until) {
            return Next::Denied("no time left");
        }
        if let Some(share) = retry.budget
            && !self.upstream.spends_retry(share)
        {
            return Next::Denied("budget used up");
        }
        Next::Again(pause)
    }
}

/// Notes how an attempt went that began then.
pub(super) fn judge(
    upstream: &LocalUpstream,
    pool: &Pool,
    trial: Option<Box<Trial>>,
    with: Result<u16, AttemptError>,
    began: Now,
    worker: &Worker,
) {
    if let Ok(status) = with {
        pool.cells.answered(status);
    }
    // The attempt's end was timed right before this.
    let ended = worker.ledger.clock.latest();
    let when = When { now_us: ended.instant_us, unix_us: ended.unix_us, worker: worker.index };
    upstream.upstream.note(&pool.endpoint, trial, Answered { with, took_us: ended.since_us(began) }, when);
}

/// Whether the client says that a second time does no harm (draft-ietf-httpapi-idempotency-key-header).
pub(super) fn has_key(head: &RequestHead) -> bool {
    head.headers().has(&IDEMPOTENCY_KEY)
}

/// How long the endpoint asks to be left alone (RFC 9110 section 10.2.3).
fn retry_after(received: &Received) -> Option<Duration> {
    if !matches!(received.status(), 429 | 503) {
        return None;
    }
    let text = received.headers().text(&name::RETRY_AFTER)?;
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let then = httpdate::parse_http_date(text).ok()?;
    let now = std::time::UNIX_EPOCH + Duration::from_micros(u64::try_from(unix_us()).unwrap_or(0));
    Some(then.duration_since(now).unwrap_or_default())
}

fn note(exchange: &mut Exchange, attempt: &Attempt<'_>, outcome: &Result<Received, AttemptError>) {
    let address = &attempt.pool.endpoint.address;
    match outcome {
        Ok(received) => exchange.finish.tried(format_args!("{address} {}", received.status())),
        Err(error) => exchange.finish.tried(format_args!("{address} {}", error.kind())),
    }
}

/// Lets go of an answer that is not passed on. What has come of it is read, so that its connection may serve again.
fn discard(attempt: &Attempt<'_>, received: Received, exchange: &Exchange) {
    // With a timer of its own: nobody waits for the rest.
    if let Ok(answer) = attempt.answer(received, exchange.method() == "HEAD", &Rc::default()) {
        read_what_came(answer.response.body);
    }
}

fn read_what_came(mut body: Body) {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut left = MOST_UNREAD;
    while let std::task::Poll::Ready(Ok(http1::Ready::Data)) = body.poll_ready(&mut cx) {
        let bytes = body.chunk().len();
        if bytes == 0 || bytes > left {
            return;
        }
        left -= bytes;
        body.advance(bytes);
    }
}

pub(super) fn body_rejection(error: BodyError) -> Rejection {
    match error {
        BodyError::TooLarge => Rejection::BodyTooLarge,
        BodyError::Unfit(misfit) => Rejection::Threat { rule: misfit.code(), status: misfit.status() },
        BodyError::TooSlow => Rejection::BodyTimeout,
        BodyError::OutOfTime | BodyError::BrokenOff | BodyError::Reset(_) => Rejection::BadBody,
    }
}

fn rejection(error: AttemptError) -> Rejection {
    match error {
        AttemptError::Refused => Rejection::UpstreamConnect,
        AttemptError::ConnectTimeout => Rejection::UpstreamConnectTimeout,
        AttemptError::Tls => Rejection::UpstreamTls,
        AttemptError::TlsTimeout => Rejection::UpstreamTlsTimeout,
        AttemptError::Unresolved => Rejection::UpstreamUnresolved,
        AttemptError::QueueFull => Rejection::UpstreamQueueFull,
        AttemptError::QueueTimeout => Rejection::UpstreamQueueTimeout,
        AttemptError::Unavailable => Rejection::UpstreamUnavailable,
        AttemptError::CircuitOpen { seconds } => Rejection::UpstreamCircuitOpen { retry_after_s: seconds.into() },
        AttemptError::WriteTimeout => Rejection::UpstreamWriteTimeout,
        AttemptError::Silent => Rejection::UpstreamTimeout,
        AttemptError::OutOfTime => Rejection::TotalTimeout,
        AttemptError::Reset | AttemptError::Unprocessed => Rejection::UpstreamReset,
        AttemptError::Untranslatable => {
            Rejection::BadPath("This request cannot be sent on to the service behind this route.")
        }
        AttemptError::Protocol | AttemptError::NoTunnel => Rejection::UpstreamProtocol,
    }
}
