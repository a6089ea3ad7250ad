//! What an answer's body is made of: one text, or a stream's rows as lines or as server-sent events.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HyperBody, Frame, SizeHint};
use serde_json::{Value, json};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::control::{Row, Rows};

/// An answer's body.
#[derive(Debug)]
pub(super) enum Body {
    Whole(Option<Bytes>),
    /// A line for each row, then `{"end":{…}}` or `{"error":{…}}`.
    Lines {
        first: Option<Row>,
        rows: Rows,
        done: bool,
    },
    /// Server-sent events, with a comment now and then so that everybody between knows that it lives.
    Events {
        rows: Rows,
        heartbeat: Interval,
        /// The daemon stops: there will be no more.
        stop: Pin<Box<WaitForCancellationFutureOwned>>,
        done: bool,
    },
}

impl Body {
    pub(super) fn whole(text: impl Into<Bytes>) -> Self {
        Self::Whole(Some(text.into()))
    }

    /// With the row that was already looked at.
    pub(super) fn lines(first: Option<Row>, rows: Rows) -> Self {
        Self::Lines { first, rows, done: false }
    }

    pub(super) fn events(rows: Rows, heartbeat: Duration, stop: CancellationToken) -> Self {
        let mut heartbeat = interval_at(Instant::now() + heartbeat, heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self::Events { rows, heartbeat, stop: Box::pin(stop.cancelled_owned()), done: false }
    }
}

impl HyperBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = |bytes: Bytes| Poll::Ready(Some(Ok(Frame::data(bytes))));
        match self.get_mut() {
            Self::Whole(text) => text.take().map_or(Poll::Ready(None), frame),
            Self::Lines { done: true, .. } | Self::Events { done: true, .. } => Poll::Ready(None),
            Self::Lines { first, rows, done } => {
                let row = match first.take() {
                    Some(row) => Some(row),
                    None => ready!(rows.poll_next(cx)),
                };
                *done = !matches!(row, Some(Row::Event(_)));
                frame(line(row))
            }
            Self::Events { rows, heartbeat, stop, done } => {
                if stop.as_mut().poll(cx).is_ready() {
                    *done = true;
                    return frame(event(Some(Row::End(json!({})))));
                }
                match rows.poll_next(cx) {
                    Poll::Ready(row) => {
                        *done = !matches!(row, Some(Row::Event(_)));
                        frame(event(row))
                    }
                    Poll::Pending => {
                        ready!(heartbeat.poll_tick(cx));
                        frame(Bytes::from_static(b": alive\n\n"))
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(text) => text.is_none(),
            Self::Lines { done, .. } | Self::Events { done, .. } => *done,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(text) => SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
            Self::Lines { .. } | Self::Events { .. } => SizeHint::default(),
        }
    }
}

/// The body of an error, as every door words it.
pub(super) fn error_body(error: &impl serde::Serialize) -> Value {
    json!({ "error": error })
}

fn line(row: Option<Row>) -> Bytes {
    let mut text = match row {
        Some(Row::Event(value)) => value.to_string(),
        Some(Row::End(value)) => json!({ "end": value }).to_string(),
        Some(Row::Failed(error)) => error_body(&error).to_string(),
        None => error_body(&super::answer::broken_off()).to_string(),
    };
    text.push('\n');
    text.into()
}

fn event(row: Option<Row>) -> Bytes {
    let text = match row {
        Some(Row::Event(value)) => match value.get("seq") {
            Some(seq) => format!("id: {seq}\ndata: {value}\n\n"),
            None => format!("data: {value}\n\n"),
        },
        Some(Row::End(value)) => format!("event: end\ndata: {value}\n\n"),
        Some(Row::Failed(error)) => format!("event: error\ndata: {}\n\n", error_body(&error)),
        None => format!("event: error\ndata: {}\n\n", error_body(&super::answer::broken_off())),
    };
    text.into()
}
