//! How long an upstream may be silent, in each phase of an attempt.

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::exchange::{Alarm, Upload};
use crate::snapshot::Timeouts;
use crate::upstream::AttemptError;
use crate::upstream::pump::Sent;

/// So long after an upstream has taken the last of the request it may be silent; and so long it may take nothing of what is
/// ready for it. While the client is slow with its body, no time has begun.
pub(super) struct Patience {
    since: Option<Instant>,
    answers_within: Duration,
    takes_within: Duration,
    /// When the whole request's time is up.
    until: Option<Instant>,
    upload: Option<Rc<Upload>>,
    bytes: u64,
    sent: Sent,
}

impl Patience {
    pub(super) fn new(timeouts: &Timeouts, until: Option<Instant>, upload: Option<Rc<Upload>>) -> Self {
        Self {
            since: None,
            answers_within: timeouts.response_headers,
            takes_within: timeouts.write,
            until,
            upload,
            bytes: 0,
            sent: Sent::Whole,
        }
    }

    /// Nothing was waited for before this.
    pub(super) fn begins(&mut self, since: Instant) {
        self.since = Some(since);
    }

    /// The error once there is none left, as things stand.
    pub(super) fn poll_ended(&mut self, cx: &mut Context<'_>, sent: Sent, alarm: &Alarm) -> Poll<AttemptError> {
        let bytes = self.upload.as_ref().map_or(0, |upload| upload.bytes());
        let took_the_last = self.sent == Sent::AwaitsUpstream && sent == Sent::Whole;
        if sent == Sent::AwaitsClient || bytes > self.bytes || took_the_last {
            self.since = None;
        }
        (self.bytes, self.sent) = (bytes, sent);
        if let Some(until) = self.until
            && alarm.poll_at(cx, until).is_ready()
        {
            return Poll::Ready(AttemptError::OutOfTime);
        }
        let (longest, error) = match sent {
            Sent::AwaitsClient => return Poll::Pending,
            Sent::AwaitsUpstream => (self.takes_within, AttemptError::WriteTimeout),
            Sent::Whole => (self.answers_within, AttemptError::Silent),
        };
        let since = *self.since.get_or_insert_with(Instant::now);
        alarm.poll_at(cx, since + longest).map(|()| error)
    }
}
