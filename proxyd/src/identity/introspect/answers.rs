//! Answers that still stand: good ones and bad ones apart, for anybody can make up tokens that are none, and must not push out
//! those of people who come again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;

use crate::exchange::{Denial, Principal};

/// How many tokens that are good are remembered.
const MOST_GOOD: usize = 8192;

/// How many that are not.
const MOST_BAD: usize = 1024;

/// What an issuer said of a token.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    /// It stands until then.
    pub until_s: i64,
    pub jti: Option<Box<str>>,
    pub verdict: Result<Arc<Principal>, Denial>,
}

/// See the module. By the keyed hash of the token.
#[derive(Debug, Default)]
pub(super) struct Answers(Mutex<Both>);

#[derive(Debug, Default)]
struct Both {
    good: Queue,
    bad: Queue,
}

/// As many as there is room for: the eldest makes room for the newest.
#[derive(Debug, Default)]
struct Queue {
    all: HashMap<u128, Answered>,
    /// Each of `all` once.
    order: VecDeque<u128>,
}

impl Answers {
    /// The answer about a token, if it stands.
    pub(super) fn find(&self, token: u128, now_s: i64) -> Option<Answered> {
        let both = self.both();
        let mut found = [&both.good, &both.bad].into_iter().filter_map(|queue| queue.all.get(&token));
        found.find(|found| now_s < found.until_s).cloned()
    }

    /// Remembers an answer, in place of an earlier one about the same token.
    pub(super) fn keep(&self, token: u128, answered: Answered) {
        let Both { good, bad } = &mut *self.both();
        let (into, other, most) = if answered.verdict.is_ok() { (good, bad, MOST_GOOD) } else { (bad, good, MOST_BAD) };
        // Its place in the order is left: whatever lies there is gone sooner, which harms nobody.
        if let Some(before) = other.all.get_mut(&token) {
            before.until_s = i64::MIN;
        }
        into.keep(token, answered, most);
    }

    fn both(&self) -> MutexGuard<'_, Both> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn keep(&mut self, token: u128, answered: Answered, most: usize) {
        if self.all.insert(token, answered).is_some() {
            return;
        }
        self.order.push_back(token);
        if self.order.len() > most
            && let Some(eldest) = self.order.pop_front()
        {
            self.all.remove(&eldest);
        }
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
        let answers = Answers::default();
        for token in 0..10 {
            answers.keep(token, answered(100, true));
        }
        for token in 1000..1000 + 2 * MOST_BAD as u128 {
            answers.keep(token, answered(100, false));
        }
        assert!((0..10).all(|token| answers.find(token, 0).is_some_and(|found| found.verdict.is_ok())));
        assert!(answers.find(1000, 0).is_none());
        assert!(answers.find(1000 + 2 * MOST_BAD as u128 - 1, 0).is_some());
        let bad = &answers.both().bad;
        assert_eq!((bad.all.len(), bad.order.len()), (MOST_BAD, MOST_BAD));
    }

    #[test]
    fn the_last_answer_counts_as_long_as_it_stands() {
        let answers = Answers::default();
        let check = |now_s, expected: Option<bool>| {
            assert_eq!(answers.find(1, now_s).map(|found| found.verdict.is_ok()), expected, "{now_s}");
        };
        check(0, None);
        answers.keep(1, answered(10, true));
        check(9, Some(true));
        check(10, None);
        answers.keep(1, answered(20, false));
        check(0, Some(false));
        answers.keep(1, answered(30, true));
        check(20, Some(true));
        for token in 2..2 + MOST_GOOD as u128 {
            answers.keep(token, answered(100, true));
        }
        check(0, None);
        let good = &answers.both().good;
        assert_eq!((good.all.len(), good.order.len()), (MOST_GOOD, MOST_GOOD));
    }
}
