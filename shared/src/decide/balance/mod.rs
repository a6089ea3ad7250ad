//! The balancers: which endpoint serves the next request. Loads and randomness are handed in; nothing here knows whether an
//! endpoint is well (`decide::eligible` chooses the candidates).
//!
//! What each method promises for candidates of weights `w`:
//! - round robin: over each full cycle each is taken as its weight says, spread as evenly as can be;
//! - random, and hash over many keys: each is taken with a likelihood of its weight's share;
//! - least busy and two choices: `(load + 1) / w` is kept level, so that shares follow the weights where there is load, and
//!   follow how fast each one answers where they differ in that. Idle endpoints of different weights: the heaviest is taken.

mod choices;
mod hash;
mod round_robin;

use self::round_robin::Credits;

/// An endpoint that may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// [`key_of`] the endpoint's address: what it is known by while candidates come and go.
    pub key: u64,
    /// In thousandths. With 0 it is never chosen.
    pub weight: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    RoundRobin,
    LeastBusy,
    TwoChoices,
    Random,
    Hash,
}

/// The candidates of one group, and whose turn it is.
#[derive(Clone, Debug)]
pub struct Balancer {
    method: Method,
    candidates: Vec<Candidate>,
    credits: Credits,
}

impl Balancer {
    /// `random` lets workers begin at different endpoints, so that together they spread as one would.
    #[must_use]
    pub fn new(method: Method, candidates: Vec<Candidate>, random: u64) -> Self {
        let mut credits = Credits::default();
        credits.follow(&[], &candidates);
        credits.advance(&candidates, random);
        Self { method, candidates, credits }
    }

    /// Goes on with other candidates or other weights. What is owed to those that stay is kept.
    pub fn update(&mut self, method: Method, candidates: Vec<Candidate>) {
        self.credits.follow(&self.candidates, &candidates);
        self.candidates = candidates;
        self.method = method;
    }

    /// The index of the candidate that is to serve; none where all are excluded (or there are none).
    ///
    /// `key` is what the hash goes by; a request that has none is spread at random. `load` tells how many requests a candidate
    /// has under way. `excluded` is short: the candidates that this request has tried.
    pub fn pick(
        &mut self,
        key: Option<u64>,
        load: impl Fn(usize) -> u32,
        excluded: &[usize],
        mut random: impl FnMut() -> u64,
    ) -> Option<usize> {
        let open = Open { candidates: &self.candidates, excluded };
        match (self.method, key) {
            (Method::RoundRobin, _) => self.credits.pick(open),
            (Method::LeastBusy, _) => choices::least_busy(open, load, random),
            (Method::TwoChoices, _) => choices::two_choices(open, load, random),
            (Method::Hash, Some(key)) => hash::pick(open, key),
            (Method::Random | Method::Hash, _) => choices::weighted(open, random()),
        }
    }

    #[must_use]
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.candidates.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.candidates.is_empty()
    }
}

/// The candidates without those that are excluded.
#[derive(Clone, Copy)]
struct Open<'a> {
    candidates: &'a [Candidate],
    excluded: &'a [usize],
}

impl<'a> Open<'a> {
    fn iter(self) -> impl Iterator<Item = (usize, Candidate)> + 'a {
        self.candidates
            .iter()
            .copied()
            .enumerate()
            .filter(move |(index, candidate)| candidate.weight > 0 && !self.excluded.contains(index))
    }

    fn total(self) -> u64 {
        self.iter().map(|(_, candidate)| u64::from(candidate.weight)).sum()
    }
}

/// The number that an address, or what a request is hashed by, is known by: SipHash-1-3 with keys of zero, the same in every
/// process and every version.
#[must_use]
pub fn key_of(bytes: &[u8]) -> u64 {
    siphasher::sip::SipHasher13::new_with_keys(0, 0).hash(bytes)
}

/// Each bit of what goes in changes about half of those that come out (the end of `SplitMix64`).
pub(super) fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests;
