//! Smooth weighted round robin: each turn every candidate gains its weight, the richest is taken and pays what all gained.
//!
//! A candidate's credit over the sum of weights is how many turns it is behind its share. That is what is kept when candidates
//! or weights change, so that a share is met however often that happens.

use super::{Candidate, Open};

/// How many turns a fresh state may be ahead: enough to tell workers apart, and quick where there are thousands of endpoints.
const MOST_TURNS: u64 = 64;

/// One for each candidate, in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Credits(Vec<i64>);

impl Credits {
    pub(super) fn pick(&mut self, open: Open<'_>) -> Option<usize> {
        let mut best: Option<(usize, i64)> = None;
        let mut gained = 0_i64;
        for (index, candidate) in open.iter() {
            let Some(credit) = self.0.get_mut(index) else { continue };
            let weight = i64::from(candidate.weight);
            *credit = credit.saturating_add(weight);
            gained = gained.saturating_add(weight);
            if best.is_none_or(|(_, most)| *credit > most) {
                best = Some((index, *credit));
            }
        }
        // Those who are excluded neither gained nor are paid for: a turn moves credit only between those who took part.
        let (index, _) = best?;
        if let Some(credit) = self.0.get_mut(index) {
            *credit = credit.saturating_sub(gained);
        }
        Some(index)
    }

    /// Fits the credits to other candidates: those that stay keep what they are owed, counted in turns, and who is new is owed
    /// nothing.
    pub(super) fn follow(&mut self, before: &[Candidate], after: &[Candidate]) {
        let old_total = total(before).max(1);
        let new_total = total(after);
        let mut owed: Vec<(u64, i128)> = before
            .iter()
            .zip(&self.0)
            .map(|(candidate, &credit)| (candidate.key, i128::from(credit) * new_total / old_total))
            .collect();
        owed.sort_unstable_by_key(|(key, _)| *key);
        let owed_to = |candidate: &Candidate| {
            let at = owed.binary_search_by_key(&candidate.key, |(key, _)| *key).ok()?;
            owed.get(at).map(|(_, credit)| *credit)
        };
        let kept: Vec<Option<i128>> = after.iter().map(owed_to).collect();
        // Who left took its credit along. Without making the rest come to nothing again, coming and going would pile up a
        // difference that the next newcomer would have to make good in one burst.
        let count = kept.iter().flatten().count().max(1) as i128;
        let surplus = kept.iter().flatten().sum::<i128>() / count;
        let settled = |credit: Option<i128>| {
            let credit = credit.map_or(0, |credit| credit - surplus).clamp(-2 * new_total, 2 * new_total);
            i64::try_from(credit).unwrap_or_default()
        };
        self.0.clear();
        self.0.extend(kept.into_iter().map(settled));
    }

    /// Takes some turns.
    pub(super) fn advance(&mut self, candidates: &[Candidate], random: u64) {
        let turns = crate::decide::draw::below(MOST_TURNS.min(candidates.len() as u64), random);
        for _ in 0..turns {
            self.pick(Open { candidates, excluded: &[] });
        }
    }
}

fn total(candidates: &[Candidate]) -> i128 {
    candidates.iter().map(|candidate| i128::from(candidate.weight)).sum()
}
