//! Weighted rendezvous hashing: each candidate gets a score from its key and the request's, the best one serves.
//!
//! A score depends on nothing but its own candidate. One that comes or goes, or whose weight changes, takes or gives up its own
//! share and moves no other key; where the best one is excluded the next best is as stable. `-ln(u) / weight` of an even `u` is
//! an exponential with rate `weight`, and the least of several such is each one's with a likelihood of exactly its share.

use super::{Candidate, Open, mix};

pub(super) fn pick(open: Open<'_>, key: u64) -> Option<usize> {
    let key = mix(key);
    let mut best: Option<(usize, f64)> = None;
    for (index, candidate) in open.iter() {
        let score = score(candidate, key);
        if best.is_none_or(|(_, least)| score < least) {
            best = Some((index, score));
        }
    }
    best.map(|(index, _)| index)
}

/// Less is better.
fn score(candidate: Candidate, key: u64) -> f64 {
    const STEPS: f64 = (1_u64 << 53) as f64;
    let bits = mix(key ^ candidate.key) >> 11;
    // In the middle of a step: neither 0, whose logarithm is none, nor 1.
    let even = (bits as f64 + 0.5) / STEPS;
    -even.ln() / f64::from(candidate.weight)
}
