//! Answers that still stand: good ones and bad ones apart, for anybody can make up tokens that are none, and must not push out
//! those of people who come again.

use std::sync::Arc;

use crate::exchange::{Denial, Principal};
use crate::identity::cache::{CAPACITY, Cache, TokenHash};

/// How many tokens that are not good are remembered; of those that are, as many as everywhere.
const MOST_BAD: usize = 1024;

/// What an issuer said of a token.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    /// It stands until then.
    pub until_s: i64,
    pub jti: Option<Arc<str>>,
    pub verdict: Result<Arc<Principal>, Denial>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Answers {
    good: Cache<Answered>,
    bad: Cache<Answered>,
}

impl Answers {
    /// None yet. Fails where there is no randomness.
    pub(super) fn new() -> Result<Self, getrandom::Error> {
        Ok(Self { good: Cache::of(CAPACITY)?, bad: Cache::of(MOST_BAD)? })
    }

    /// What a token is known by, in both.
    pub(super) fn hash(&self, token: &[u8]) -> TokenHash {
        self.good.hash(token)
    }

    /// The answer about a token, if it stands.
    pub(super) fn find(&self, token: TokenHash, now_s: i64) -> Option<Answered> {
        let stands = |answered: &Answered| now_s < answered.until_s;
        self.good.find(token, stands).or_else(|| self.bad.find(token, stands))
    }

    /// Remembers an answer, in place of an earlier one about the same token.
    pub(super) fn keep(&self, token: TokenHash, answered: Answered) {
        let (into, other) = if answered.verdict.is_ok() { (&self.good, &self.bad) } else { (&self.bad, &self.good) };
        other.change(token, |before| before.until_s = i64::MIN);
        into.keep(token, answered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(until_s: i64, is_good: bool) -> Answered {
        let verdict = if is_good { Ok(Arc::default()) } else { Err(Denial::TokenInactive) };
        Answered { until_s, jti: None, verdict }
    }

    #[test]
    fn tokens_that_are_none_push_out_only_each_other() {
        let answers = Answers::new().unwrap();
        let hash = |token: usize| answers.hash(&token.to_le_bytes());
        for token in 0..10 {
            answers.keep(hash(token), answered(100, true));
        }
        for token in 1000..1000 + 8 * MOST_BAD {
            answers.keep(hash(token), answered(100, false));
        }
        assert!((0..10).all(|token| answers.find(hash(token), 0).is_some_and(|found| found.verdict.is_ok())));
        assert!(answers.find(hash(1000 + 8 * MOST_BAD - 1), 0).is_some());
        assert_eq!((answers.good.len(), answers.bad.len()), (10, MOST_BAD));
    }

    #[test]
    fn the_last_answer_counts_as_long_as_it_stands() {
        let answers = Answers::new().unwrap();
        let one = answers.hash(b"one");
        let check = |now_s, expected: Option<bool>| {
            assert_eq!(answers.find(one, now_s).map(|found| found.verdict.is_ok()), expected, "{now_s}");
        };
        check(0, None);
        answers.keep(one, answered(10, true));
        check(9, Some(true));
        check(10, None);
        answers.keep(one, answered(20, false));
        check(0, Some(false));
        answers.keep(one, answered(30, true));
        check(20, Some(true));
        check(30, None);
    }
}
