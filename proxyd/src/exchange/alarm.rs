//! One timer for all the waits of a connection's task. It is moved only when it goes off or must go off earlier, so that a
//! wait that ends in time costs no more than a comparison.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep};

/// See the module. Only ever polled by one task, whose waker the timer holds.
pub struct Alarm {
    timer: RefCell<Pin<Box<Sleep>>>,
    set: Cell<bool>,
}

impl Default for Alarm {
    fn default() -> Self {
        Self { timer: RefCell::new(Box::pin(tokio::time::sleep_until(Instant::now()))), set: Cell::new(false) }
    }
}

impl Alarm {
    /// Ready once it is `deadline`; until then the task is woken at the latest when it is.
    pub fn poll_at(&self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let mut timer = self.timer.borrow_mut();
        loop {
            if self.set.get() && !timer.is_elapsed() {
                if timer.deadline() <= deadline {
                    return Poll::Pending;
                }
            } else if self.set.get() && Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
            self.set.set(true);
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn it_goes_off_at_each_deadline() {
        let alarm = Alarm::default();
        let started = Instant::now();
        for after in [50, 10, 400] {
            let deadline = started + Duration::from_millis(after);
            poll_fn(|cx| alarm.poll_at(cx, deadline)).await;
            assert!(Instant::now() >= deadline, "{after}");
        }
        assert!(started.elapsed() >= Duration::from_millis(400));
    }

    #[tokio::test]
    async fn an_earlier_deadline_moves_it() {
        let alarm = Alarm::default();
        let started = Instant::now();
        poll_fn(|cx| {
            assert!(alarm.poll_at(cx, started + Duration::from_mins(1)).is_pending());
            Poll::Ready(())
        })
        .await;
        poll_fn(|cx| alarm.poll_at(cx, started + Duration::from_millis(5))).await;
        assert!(started.elapsed() < Duration::from_secs(1));
    }
}
