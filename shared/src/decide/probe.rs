//! What a row of probe results says of an endpoint, and how long to wait until the next one.

use super::draw::below;
use super::eligible::Checked;
use crate::config::{Initial, Percent};

/// The results of one endpoint's probes so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streak {
    checked: Checked,
    /// How many results in a row said otherwise.
    against: u32,
}

impl Streak {
    #[must_use]
    pub fn new(initial: Initial) -> Self {
        let checked = match initial {
            Initial::Healthy => Checked::Healthy,
            Initial::Unknown => Checked::Unknown,
        };
        Self { checked, against: 0 }
    }

    /// One whose endpoint is known from other probes: what they said stands until the first result, which decides at once
    /// where nothing was known.
    #[must_use]
    pub fn going_on(checked: Checked, initial: Initial) -> Self {
        match checked {
            Checked::Healthy | Checked::Unhealthy | Checked::Unknown => Self { checked, against: 0 },
            Checked::NotProbed => Self::new(initial),
        }
    }

    #[must_use]
    pub fn checked(&self) -> Checked {
        self.checked
    }

    /// Takes one result; what the endpoint changed to, if it did. Of an unknown one the first result decides.
    pub fn result(&mut self, ok: bool, healthy_after: u32, unhealthy_after: u32) -> Option<Checked> {
        let (said, needed) = if ok { (Checked::Healthy, healthy_after) } else { (Checked::Unhealthy, unhealthy_after) };
        if self.checked == said {
            self.against = 0;
            return None;
        }
        self.against = self.against.saturating_add(1);
        let is_known = matches!(self.checked, Checked::Healthy | Checked::Unhealthy);
        if is_known && self.against < needed {
            return None;
        }
        *self = Self { checked: said, against: 0 };
        Some(said)
    }
}

/// Until the next probe: the interval, give or take the jitter, so that probes of many endpoints and proxies do not march in
/// step.
#[must_use]
pub fn pause(interval_us: u64, jitter: Percent, random: u64) -> u64 {
    let most = u128::from(interval_us) * u128::from(jitter.basis_points()) / 10_000;
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    let span = most.saturating_mul(2).saturating_add(1);
    interval_us.saturating_sub(most).saturating_add(below(span, random))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Results one after the other (`+` well, `-` not); what came of each.
    fn check(initial: Initial, results: &str, expected: &str) {
        let mut streak = Streak::new(initial);
        let found: String = results
            .chars()
            .map(|result| match streak.result(result == '+', 2, 3) {
                None => '.',
                Some(Checked::Healthy) => 'H',
                Some(Checked::Unhealthy) => 'U',
                Some(Checked::NotProbed | Checked::Unknown) => '?',
            })
            .collect();
        assert_eq!(found, expected, "{initial:?} {results}");
    }

    #[test]
    fn streaks_change_after_enough_in_a_row() {
        check(Initial::Healthy, "++--+---", ".......U");
        check(Initial::Healthy, "---+-++--", "..U...H..");
        check(Initial::Healthy, "----++", "..U..H");
        check(Initial::Unknown, "+--", "H..");
        check(Initial::Unknown, "-+-++", "U...H");
        assert_eq!(Streak::new(Initial::Healthy).checked(), Checked::Healthy);
        assert_eq!(Streak::new(Initial::Unknown).checked(), Checked::Unknown);
    }

    #[test]
    fn a_threshold_of_none_is_one() {
        let mut streak = Streak::new(Initial::Healthy);
        assert_eq!(streak.result(false, 0, 0), Some(Checked::Unhealthy));
        assert_eq!(streak.result(true, 0, 0), Some(Checked::Healthy));
    }

    #[test]
    fn pauses_stay_within_the_jitter() {
        let fifth = Percent::of(2000);
        for (interval, jitter, random, expected) in [
            (1000, Percent::of(0), u64::MAX, 1000),
            (1000, fifth, 0, 800),
            (1000, fifth, u64::MAX / 2, 1000),
            (1000, fifth, u64::MAX, 1200),
            (1000, Percent::of(10_000), 0, 0),
            (0, fifth, u64::MAX, 0),
            (u64::MAX, fifth, u64::MAX, u64::MAX),
        ] {
            assert_eq!(pause(interval, jitter, random), expected, "{interval} {jitter} {random}");
        }
    }
}
