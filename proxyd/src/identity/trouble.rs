//! How somebody whom we ask does: told when it goes badly, when that has another reason, and when it is well again; not for each
//! question meanwhile.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::outside::OutsideError;

/// Why there is no answer that says anything. Never with what is secret, nor with what stands in the answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    #[error("{0}")]
    Outside(#[from] OutsideError),
    #[error("it cannot be asked so")]
    Address,
    #[error("the answer has status {0}")]
    Status(u16),
    #[error("of the answer {0} cannot be read")]
    Unreadable(Box<str>),
}

/// Somebody who is now well and now not is told of so often at the most.
const LEAST: Duration = Duration::from_secs(1);

/// See the module. All workers come by here: nothing is written as long as all goes well.
#[derive(Debug)]
pub struct Trouble {
    /// Whom it is about: `introspection`.
    provider: Box<str>,
    /// Of the reason that was told; 0: it is well, as far as was told.
    reason: AtomicU64,
    /// When something was told last, in microseconds after `began`, and 1.
    told_us: AtomicU64,
    failures: AtomicU64,
    least: Duration,
    began: Instant,
}

impl Trouble {
    /// Nothing is known yet.
    pub fn of(provider: &str) -> Self {
        Self::with(provider, LEAST)
    }

    /// The same about somebody who is asked seldom.
    pub fn of_seldom(provider: &str) -> Self {
        Self::with(provider, Duration::ZERO)
    }

    fn with(provider: &str, least: Duration) -> Self {
        Self {
            provider: provider.into(),
            reason: AtomicU64::new(0),
            told_us: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            least,
            began: Instant::now(),
        }
    }

    /// How a question ended: well, or why not. Never with what is secret.
    pub fn note<E: std::fmt::Display>(&self, outcome: Result<(), &E>) {
        let provider = &*self.provider;
        match outcome {
            Ok(()) => {
                if let Some(failures) = self.well() {
                    tracing::info!(provider, failures, "it answers as it should again");
                }
            }
            Err(why) => {
                let why = why.to_string();
                if self.failed(&why) {
                    tracing::warn!(provider, why, "it does not answer as it should");
                }
            }
        }
    }

    /// Whether this is news.
    fn failed(&self, why: &str) -> bool {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let mut hasher = DefaultHasher::new();
        why.hash(&mut hasher);
        let reason = hasher.finish() | 1;
        self.reason.load(Ordering::Relaxed) != reason
            && self.may_tell()
            && self.reason.swap(reason, Ordering::Relaxed) != reason
    }

    /// After how many failures, where this is news.
    fn well(&self) -> Option<u64> {
        let is_news =
            self.reason.load(Ordering::Relaxed) != 0 && self.may_tell() && self.reason.swap(0, Ordering::Relaxed) != 0;
        is_news.then(|| self.failures.swap(0, Ordering::Relaxed))
    }

    /// Whether it is time to tell something; says so to one.
    fn may_tell(&self) -> bool {
        let now_us = self.began.elapsed().as_micros() as u64 + 1;
        let told_us = self.told_us.load(Ordering::Relaxed);
        let is_time = told_us == 0 || u128::from(now_us.saturating_sub(told_us)) >= self.least.as_micros();
        is_time && self.told_us.compare_exchange(told_us, now_us, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_told_once() {
        let trouble = Trouble::of_seldom("forward");
        assert_eq!(trouble.well(), None);
        let told = ["refused", "refused", "status 500", "status 500", "refused"].map(|why| trouble.failed(why));
        assert_eq!(told, [true, false, true, false, true]);
        assert_eq!((trouble.well(), trouble.well()), (Some(5), None));
        assert!(trouble.failed("refused"));
    }

    #[test]
    fn who_changes_all_the_time_is_told_of_now_and_then() {
        let trouble = Trouble::with("forward", Duration::from_hours(1));
        assert!(trouble.failed("refused"));
        for _ in 0..1000 {
            assert!(trouble.well().is_none() && !trouble.failed("status 500"));
        }
        // What was told is not forgotten by that.
        let soon = Trouble { least: Duration::ZERO, ..trouble };
        assert!(!soon.failed("refused"));
        assert_eq!(soon.well(), Some(1002));
    }
}
