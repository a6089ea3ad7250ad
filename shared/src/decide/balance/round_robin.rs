//! Smooth weighted round robin: each turn every candidate gains its share of one turn, the richest is taken and pays for it.
//!
//! A candidate's credit is how many turns it is behind its share. Counted like that it means the same whoever takes part and
//! whatever the weights are, so that shares are met however often both change.

use super::{Candidate, Open};
use crate::decide::draw::below;

/// One turn, in the parts that credits are counted in.
const TURN: u64 = 1 << 32;
/// How many turns a fresh state may be ahead: enough to tell workers apart, and quick where there are thousands of endpoints.
const MOST_AHEAD: u64 = 64;

/// Both have one for each candidate, in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Credits {
    owed: Vec<i64>,
    /// What each gains in a turn in which all take part.
    gains: Vec<i64>,
}

impl Credits {
    pub(super) fn pick(&mut self, open: Open<'_>) -> Option<usize> {
        // Those who are excluded neither gain nor are paid for: a turn moves credit only between those who take part.
        let shared_by = if open.excluded.is_empty() { None } else { Some(open.total()) };
        let mut best: Option<(usize, i64)> = None;
        let mut gained = 0_i64;
        for (index, candidate) in open.iter() {
            let (Some(owed), Some(gain)) = (self.owed.get_mut(index), self.gains.get(index)) else { continue };
            let gain = shared_by.map_or(*gain, |total| share_of_turn(candidate, total));
            *owed = owed.saturating_add(gain);
            gained = gained.saturating_add(gain);
            if best.is_none_or(|(_, most)| *owed > most) {
                best = Some((index, *owed));
            }
        }
        let (index, _) = best?;
        if let Some(owed) = self.owed.get_mut(index) {
            *owed = owed.saturating_sub(gained);
        }
        Some(index)
    }

    /// Fits the credits to other candidates: those that stay keep what they are owed, and who is new is owed nothing.
    pub(super) fn follow(&mut self, before: &[Candidate], after: &[Candidate]) {
        let mut owed: Vec<(u64, i64)> =
            before.iter().map(|candidate| candidate.key).zip(self.owed.iter().copied()).collect();
        owed.sort_unstable_by_key(|(key, _)| *key);
        let owed_to = |candidate: &Candidate| {
            let at = owed.binary_search_by_key(&candidate.key, |(key, _)| *key).ok()?;
            owed.get(at).map(|(_, credit)| *credit)
        };
        let kept: Vec<Option<i64>> = after.iter().map(owed_to).collect();
        // Who left took its credit along. Without making the rest come to nothing again, coming and going would pile up a
        // difference that the next newcomer would have to make good in one burst.
        let count = kept.iter().flatten().count().max(1) as i64;
        let surplus = kept.iter().flatten().fold(0_i64, |sum, credit| sum.saturating_add(*credit)) / count;
        let settled = |credit: Option<i64>| credit.map_or(0, |credit| credit.saturating_sub(surplus));
        self.owed.clear();
        self.owed.extend(kept.into_iter().map(settled));
        let total = Open { candidates: after, excluded: &[] }.total();
        self.gains.clear();
        self.gains.extend(after.iter().map(|candidate| share_of_turn(*candidate, total)));
    }

    /// Takes some turns.
    pub(super) fn advance(&mut self, candidates: &[Candidate], random: u64) {
        let turns = below(MOST_AHEAD.min(candidates.len() as u64), random);
        for _ in 0..turns {
            self.pick(Open { candidates, excluded: &[] });
        }
    }
}

fn share_of_turn(candidate: Candidate, total: u64) -> i64 {
    let gain = u64::from(candidate.weight).saturating_mul(TURN) / total.max(1);
    i64::try_from(gain).unwrap_or(i64::MAX)
}
