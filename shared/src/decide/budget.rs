//! The retry budget: retries are a share of the requests, so that an upstream that fails under load is not sent twice as much.
//! Time is handed in.
//!
//! At every retry: those of the last ten seconds are at most `share × requests + floor` of the same ten seconds. The floor,
//! [`FLOOR_PER_SECOND`] for each of them, is for upstreams with so few requests that their share comes to nothing. What was not
//! used within ten seconds is gone.

use crate::config::Percent;

/// So many retries may be made beside the share, on an average over ten seconds.
pub const FLOOR_PER_SECOND: u64 = 1;

const WINDOW_US: u64 = 10_000_000;
/// Time is counted in slots. Requests are forgotten with the end of a slot, retries a slot later: where a window begins within
/// a slot, this errs on the side of fewer retries.
const SLOT_US: u64 = 250_000;
const SLOTS: usize = (WINDOW_US / SLOT_US) as usize;
const FLOOR: u64 = FLOOR_PER_SECOND * WINDOW_US / 1_000_000;

/// The requests and retries of the last ten seconds.
#[derive(Clone, Debug)]
pub struct Budget {
    /// The number of the slot that counts now, since the clock began.
    slot: u64,
    requests: [u32; SLOTS],
    retries: [u32; SLOTS + 1],
    requests_sum: u64,
    retries_sum: u64,
    /// Retries beside the share, within a window.
    floor: u64,
}

impl Budget {
    #[must_use]
    pub fn new(now_us: u64) -> Self {
        Self::one_of(now_us, 1)
    }

    /// One of so many that share the traffic, and the floor; each has one retry at least.
    #[must_use]
    pub fn one_of(now_us: u64, sharers: usize) -> Self {
        Self {
            slot: now_us / SLOT_US,
            requests: [0; SLOTS],
            retries: [0; SLOTS + 1],
            requests_sum: 0,
            retries_sum: 0,
            floor: FLOOR.div_ceil(u64::try_from(sharers).unwrap_or(u64::MAX).max(1)),
        }
    }

    /// Counts a request: a client's, not one that is a retry itself.
    pub fn request(&mut self, now_us: u64) {
        self.settle(now_us);
        if let Some(count) = at(&mut self.requests, self.slot)
            && let Some(more) = count.checked_add(1)
        {
            *count = more;
            self.requests_sum = self.requests_sum.saturating_add(1);
        }
    }

    /// Takes one retry, if there is one left.
    pub fn try_retry(&mut self, share: Percent, now_us: u64) -> bool {
        self.settle(now_us);
        if self.settled_left(share) == 0 {
            return false;
        }
        match at(&mut self.retries, self.slot) {
            Some(count) if *count < u32::MAX => {
                *count += 1;
                self.retries_sum = self.retries_sum.saturating_add(1);
                true
            }
            _ => false,
        }
    }

    /// How many retries are left.
    #[must_use]
    pub fn left(&self, share: Percent, now_us: u64) -> u64 {
        let mut then = self.clone();
        then.settle(now_us);
        then.settled_left(share)
    }

    fn settled_left(&self, share: Percent) -> u64 {
        let earned = u128::from(self.requests_sum) * u128::from(share.basis_points()) / 10_000;
        u64::try_from(earned).unwrap_or(u64::MAX).saturating_add(self.floor).saturating_sub(self.retries_sum)
    }

    /// Forgets what is over.
    fn settle(&mut self, now_us: u64) {
        let slot = now_us / SLOT_US;
        // Past a whole round everything is forgotten, however long ago it was.
        let passed = slot.saturating_sub(self.slot).min(SLOTS as u64 + 1);
        let first = slot.max(self.slot) - passed + 1;
        for number in first..first + passed {
            if let Some(count) = at(&mut self.requests, number) {
                self.requests_sum = self.requests_sum.saturating_sub(u64::from(std::mem::take(count)));
            }
            if let Some(count) = at(&mut self.retries, number) {
                self.retries_sum = self.retries_sum.saturating_sub(u64::from(std::mem::take(count)));
            }
        }
        self.slot = slot.max(self.slot);
    }
}

fn at(counts: &mut [u32], slot: u64) -> Option<&mut u32> {
    let place = slot.checked_rem(counts.len() as u64)?;
    counts.get_mut(usize::try_from(place).ok()?)
}

#[cfg(test)]
mod tests;
