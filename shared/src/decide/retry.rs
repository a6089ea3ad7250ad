//! Whether a failed attempt may be made again, and after how long. A pure function of the rules and of what happened; the
//! budget (`decide::budget`) is asked after it, and may still say no.

use std::time::Duration;

use super::draw::below;
use crate::config::{Cause, Retry};

/// What became of the last attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried {
    pub cause: Cause,
    /// Nothing of the request was sent, or the endpoint said that it did nothing with it.
    pub untouched: bool,
    /// The body is all here and can be sent once more.
    pub repeatable: bool,
    /// How many attempts were made, this one too.
    pub attempts: u32,
}

/// What makes it safe to do a request twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Safety {
    /// Its method is idempotent (RFC 9110 section 9.2.2).
    pub idempotent: bool,
    /// It has an `Idempotency-Key`: the client says that the server tells a second one from a first.
    pub has_key: bool,
}

/// Why there is no other attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum No {
    NotListed,
    Unsafe,
    BodyGone,
    Exhausted,
}

/// A response of which the client has seen a byte is past retrying: then do not ask.
pub fn may_retry(rules: &Retry, safety: Safety, tried: Tried) -> Result<(), No> {
    if !rules.on.holds(tried.cause) {
        return Err(No::NotListed);
    }
    if !(tried.untouched || safety.idempotent || safety.has_key) {
        return Err(No::Unsafe);
    }
    if !tried.repeatable {
        return Err(No::BodyGone);
    }
    if tried.attempts >= rules.attempts {
        return Err(No::Exhausted);
    }
    Ok(())
}

/// The pause before the next attempt: it doubles with each one up to `max_backoff`, and is drawn from its upper half, so that
/// requests that failed together do not come again together. `attempt` is the number of attempts made.
#[must_use]
pub fn backoff(rules: &Retry, attempt: u32, random: u64) -> Duration {
    let doubled = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
    let longest = rules.backoff.saturating_mul(doubled).min(rules.max_backoff);
    let longest_us = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
    let least_us = longest_us / 2;
    let span = (longest_us - least_us).saturating_add(1);
    Duration::from_micros(least_us.saturating_add(below(span, random)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Causes, Statuses};

    fn rules() -> Retry {
        Retry {
            attempts: 3,
            on: Causes { connect: true, reset: true, statuses: Statuses::new(vec![(502, 504)]), ..Causes::none() },
            backoff: Duration::from_millis(20),
            max_backoff: Duration::from_millis(100),
            budget: None,
            body: None,
        }
    }

    const GET: Safety = Safety { idempotent: true, has_key: false };
    const POST: Safety = Safety { idempotent: false, has_key: false };
    const KEYED: Safety = Safety { idempotent: false, has_key: true };

    fn check(safety: Safety, tried: Tried, expected: Result<(), No>) {
        assert_eq!(may_retry(&rules(), safety, tried), expected, "{safety:?} {tried:?}");
    }

    #[test]
    fn only_what_is_listed_safe_and_repeatable_is_tried_again() {
        let reset = Tried { cause: Cause::Reset, untouched: false, repeatable: true, attempts: 1 };
        check(GET, reset, Ok(()));
        check(KEYED, reset, Ok(()));
        check(POST, reset, Err(No::Unsafe));
        check(POST, Tried { untouched: true, ..reset }, Ok(()));
        check(POST, Tried { cause: Cause::Connect, untouched: true, ..reset }, Ok(()));
        check(GET, Tried { cause: Cause::Status(503), ..reset }, Ok(()));
        check(POST, Tried { cause: Cause::Status(503), ..reset }, Err(No::Unsafe));
        check(GET, Tried { cause: Cause::Status(500), ..reset }, Err(No::NotListed));
        check(GET, Tried { cause: Cause::Timeout, ..reset }, Err(No::NotListed));
        check(GET, Tried { repeatable: false, ..reset }, Err(No::BodyGone));
        check(GET, Tried { attempts: 2, ..reset }, Ok(()));
        check(GET, Tried { attempts: 3, ..reset }, Err(No::Exhausted));
        check(GET, Tried { attempts: u32::MAX, ..reset }, Err(No::Exhausted));
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        for (attempt, random, expected_us) in [
            (1, 0, 10_000),
            (1, u64::MAX, 20_000),
            (2, 0, 20_000),
            (2, u64::MAX, 40_000),
            (3, u64::MAX, 80_000),
            (4, 0, 50_000),
            (4, u64::MAX, 100_000),
            (0, u64::MAX, 20_000),
            (33, u64::MAX, 100_000),
            (u32::MAX, u64::MAX, 100_000),
        ] {
            assert_eq!(backoff(&rules(), attempt, random), Duration::from_micros(expected_us), "{attempt} {random}");
        }
        let none = Retry { backoff: Duration::ZERO, ..rules() };
        assert_eq!(backoff(&none, 9, u64::MAX), Duration::ZERO);
        let endless = Retry { backoff: Duration::MAX, max_backoff: Duration::MAX, ..rules() };
        assert!(backoff(&endless, 9, u64::MAX) > Duration::from_secs(1_000_000_000));
    }
}
