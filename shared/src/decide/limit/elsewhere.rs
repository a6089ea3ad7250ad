//! Counters that are kept elsewhere, by a script that counts by the same arithmetic: what it is given, and what it says.
//!
//! Numbers go as decimal text. A slot is three of them: a sliding window's number, its count before and its count now; a fixed
//! window's start and count, and 0; a bucket's level in units of 2²¹, what is left below one, and 0.

use std::fmt::Write as _;

use super::window::{Kind, Slot};
use super::{Counters, Meter, Verdict};

/// A bucket's level is told in two numbers, since the script's are exact up to 2⁵³ only.
pub(super) const LEVEL_UNIT: u128 = 1 << 21;

/// What the script said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    pub verdict: Verdict,
    /// As they are now.
    pub counters: Counters,
    /// The script's clock.
    pub now_us: u64,
}

impl Meter {
    /// What this rule's counters are called among those of one key: other limits count apart.
    #[must_use]
    pub fn form(&self) -> String {
        let mut form = String::from(match self.limits.first().map(|limit| limit.kind) {
            Some(Kind::Sliding) | None => "s",
            Some(Kind::Fixed) => "f",
            Some(Kind::Bucket { .. }) => "b",
            Some(Kind::Concurrent) => "c",
        });
        for limit in &self.limits {
            let _ = write!(form, ":{}/{}", limit.requests, limit.per_us);
            if let Kind::Bucket { size } = limit.kind {
                let _ = write!(form, "/{size}");
            }
        }
        form
    }

    /// What the script is given after the form: the cost, then each limit's requests, length and capacity.
    #[must_use]
    pub fn arguments(&self) -> Vec<u64> {
        let limits = self.limits.iter().flat_map(|limit| {
            let capacity = match limit.kind {
                Kind::Bucket { size } => size,
                Kind::Sliding | Kind::Fixed | Kind::Concurrent => limit.requests,
            };
            [limit.requests.into(), limit.per_us, capacity.into()]
        });
        std::iter::once(u64::from(self.cost)).chain(limits).collect()
    }

    /// Reads what the script says: whether it was allowed (`1`), its clock, and the slots. None where that is nothing of the
    /// kind.
    #[must_use]
    pub fn told(&self, text: &str) -> Option<Told> {
        let mut words = text.split_ascii_whitespace();
        let allowed = match words.next()? {
            "1" => true,
            "0" => false,
            _ => return None,
        };
        let mut next = || words.next()?.parse::<u64>().ok();
        let now_us = next()?;
        let mut counters = Counters { last_us: now_us, ..Counters::default() };
        for (limit, slot) in self.limits.iter().zip(&mut counters.slots) {
            let (first, second, third) = (next()?, next()?, next()?);
            *slot = match limit.kind {
                Kind::Sliding => Slot::of_window(first, u32::try_from(second).ok()?, u32::try_from(third).ok()?),
                Kind::Fixed => Slot { high: first, low: second },
                Kind::Bucket { .. } => Slot::of_level(u128::from(first) * LEVEL_UNIT + u128::from(second)),
                Kind::Concurrent => Slot { high: 0, low: second },
            };
        }
        words.next().is_none().then(|| Told { verdict: self.verdict(&counters, allowed), counters, now_us })
    }
}
