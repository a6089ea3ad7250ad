//! The methods that choose by chance or by how busy a candidate is.

use std::cmp::Ordering;

use super::Open;
use crate::decide::draw::below;

/// By weight.
pub(super) fn weighted(open: Open<'_>, random: u64) -> Option<usize> {
    let mut left = below(open.total(), random);
    for (index, candidate) in open.iter() {
        match left.checked_sub(u64::from(candidate.weight)) {
            Some(rest) => left = rest,
            None => return Some(index),
        }
    }
    None
}

/// The least busy of all. Loads are looked at once each: other workers change them meanwhile.
pub(super) fn least_busy(
    open: Open<'_>,
    load: impl Fn(usize) -> u32,
    mut random: impl FnMut() -> u64,
) -> Option<usize> {
    let mut best: Option<(usize, Busy)> = None;
    let mut weight_of_equals = 0_u64;
    for (index, candidate) in open.iter() {
        let busy = Busy { load: load(index), weight: candidate.weight };
        let weight = u64::from(candidate.weight);
        match best.map_or(Ordering::Less, |(_, least)| busy.compare(least)) {
            Ordering::Less => {
                best = Some((index, busy));
                weight_of_equals = weight;
            }
            // Of equals each stays the choice by its share of their weights, without a list of them.
            Ordering::Equal => {
                weight_of_equals = weight_of_equals.saturating_add(weight);
                if below(weight_of_equals, random()) < weight {
                    best = Some((index, busy));
                }
            }
            Ordering::Greater => {}
        }
    }
    best.map(|(index, _)| index)
}

/// The less busy of two that are drawn by weight.
pub(super) fn two_choices(
    open: Open<'_>,
    load: impl Fn(usize) -> u32,
    mut random: impl FnMut() -> u64,
) -> Option<usize> {
    let first = weighted(open, random())?;
    let Some(second) = weighted_but(open, first, random()) else { return Some(first) };
    let busy = |index: usize| {
        let weight = open.candidates.get(index).map_or(0, |candidate| candidate.weight);
        Busy { load: load(index), weight }
    };
    Some(if busy(second).compare(busy(first)).is_lt() { second } else { first })
}

/// By weight, one other than `taken`.
fn weighted_but(open: Open<'_>, taken: usize, random: u64) -> Option<usize> {
    let others = || open.iter().filter(|(index, _)| *index != taken);
    let mut left = below(others().map(|(_, candidate)| u64::from(candidate.weight)).sum(), random);
    for (index, candidate) in others() {
        match left.checked_sub(u64::from(candidate.weight)) {
            Some(rest) => left = rest,
            None => return Some(index),
        }
    }
    None
}

/// How busy a candidate would be with one request more, for its weight.
#[derive(Clone, Copy)]
struct Busy {
    load: u32,
    weight: u32,
}

impl Busy {
    /// `(load + 1) / weight` of both, multiplied out: exact.
    fn compare(self, other: Self) -> Ordering {
        let product = |load: u32, weight: u32| u128::from(u64::from(load) + 1) * u128::from(weight);
        product(self.load, other.weight).cmp(&product(other.load, self.weight))
    }
}
