//! What is answered where nothing came of forwarding: a fixed response, or another upstream's.

use std::rc::Rc;

use shared::config::Cause;
use tokio::time::Instant;

use super::target;
use super::tries::{Course, Failed, has_key};
use crate::exchange::{Exchange, Rejection, Request};
use crate::proxy::{Answer, fixed_response};
use crate::snapshot::{Fallback, Instead};
use crate::upstream::AttemptError;
use crate::worker::{Local, Worker};

/// Of a request's body so much is kept for another upstream.
const KEPT: usize = 64 * 1024;

/// Before the request is sent: what another upstream would need of it is kept.
pub(super) fn prepare(fallback: &Fallback, course: &Course<'_>, request: &mut Request) {
    if let Instead::Upstream(_) = fallback.to {
        let kept =
            course.retry().and_then(|retry| retry.body).map_or(KEPT, |bytes| usize::try_from(bytes).unwrap_or(KEPT));
        request.body.keep(kept);
    }
}

/// The outcome, or what there is instead of it.
pub(super) async fn instead(
    fallback: &Fallback,
    outcome: Result<Answer, Failed>,
    course: &Course<'_>,
    exchange: &mut Exchange,
    request: &mut Request,
    local: &Local,
    worker: &Rc<Worker>,
) -> Result<Answer, Rejection> {
    let (cause, untouched) = match &outcome {
        Ok(answer) if answer.tunnel.is_some() => (None, false),
        Ok(answer) => (Some(Cause::Status(answer.response.head.status())), false),
        Err(Failed { error: None, .. }) => (None, false),
        Err(Failed { error: Some(error), .. }) => {
            let cause = if *error == AttemptError::OutOfTime { Some(Cause::Timeout) } else { error.cause() };
            (cause, error.leaves_untouched())
        }
    };
    if !cause.is_some_and(|cause| fallback.on.holds(cause)) {
        return outcome.map_err(|failed| failed.rejection);
    }
    let ledger = &worker.ledger;
    match &fallback.to {
        // What has just failed is no help.
        Instead::Upstream(index)
            if local.upstream(*index, worker).is_none_or(|other| Rc::ptr_eq(other, course.upstream)) =>
        {
            outcome.map_err(|failed| failed.rejection)
        }
        Instead::Respond(fixed) => {
            ledger.metrics.fallback("respond");
            exchange.finish.noted("fallback");
            exchange.finish.answers_instead();
            Ok(fixed_response(fixed).into())
        }
        Instead::Upstream(index) => {
            if course.sending.until.is_some_and(|until| Instant::now() >= until) {
                exchange.finish.noted("no fallback: no time left");
                return outcome.map_err(|failed| failed.rejection);
            }
            let is_safe = untouched
                || (course.sending.wanted.is_none() && course.sending.is_idempotent)
                || has_key(&request.head);
            if !is_safe || !request.body.is_repeatable() {
                exchange.finish.noted(if is_safe { "no fallback: body not kept" } else { "no fallback: unsafe" });
                return outcome.map_err(|failed| failed.rejection);
            }
            drop(outcome);
            request.body.rewind();
            ledger.metrics.fallback("upstream");
            exchange.finish.noted("fallback");
            let upstream = local.upstream(*index, worker).ok_or(Rejection::Internal)?;
            let target = target(course.onward, "", exchange, &request.head)?;
            let course = Course { onward: course.onward, sending: course.sending, upstream, target: target.as_deref() };
            course.run(exchange, request, worker).await.map_err(|failed| failed.rejection)
        }
    }
}
