//! How often somebody guessed: attempts by key, bounded in number, in shards. What is kept of a name or an address is a keyed
//! hash. In memory only: a restart forgives.

use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use hashbrown::HashMap;
use siphasher::sip128::{Hasher128, SipHasher13};

/// A power of two.
const SHARDS: usize = 32;
/// So many keys in each: with those that are tried at most, some MiB in all.
const MOST_KEYS: usize = 2048;

/// When it is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// So many attempts that were not taken back …
    pub(super) attempts: u32,
    /// … within so many seconds of the first,
    pub(super) within_s: i64,
    /// and nothing more is tried for so long.
    pub(super) lasts_s: i64,
}

/// See the module.
pub(super) struct Guesses {
    /// Random for each: nobody can choose names that collide.
    secret: (u64, u64),
    shards: Box<[Mutex<HashMap<u128, Tally>>]>,
}

#[derive(Clone, Copy, Debug)]
struct Tally {
    attempts: u32,
    since_s: i64,
    /// Locked until then.
    until_s: Option<i64>,
}

impl Tally {
    /// Whether it counts no more. A clock that was set back starts anew too.
    fn is_spent(&self, bounds: Bounds, now_s: i64) -> bool {
        match self.until_s {
            _ if now_s < self.since_s => true,
            Some(until_s) => now_s >= until_s,
            None => now_s >= self.since_s.saturating_add(bounds.within_s),
        }
    }
}

impl Default for Guesses {
    /// None yet.
    fn default() -> Self {
        let mut secret = [0; 16];
        // Without randomness collisions could be constructed, and counts be shared: no reason to refuse to serve.
        let _ = getrandom::fill(&mut secret);
        let whole = u128::from_le_bytes(secret);
        Self { secret: ((whole >> 64) as u64, whole as u64), shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }
}

impl Guesses {
    fn key(&self, whose: impl Hash) -> u128 {
        let mut hasher = SipHasher13::new_with_keys(self.secret.0, self.secret.1);
        whose.hash(&mut hasher);
        hasher.finish128().as_u128()
    }

    fn with<R>(&self, key: u128, use_it: impl FnOnce(&mut HashMap<u128, Tally>) -> R) -> Option<R> {
        let shard = self.shards.get((key >> 64) as usize % SHARDS)?;
        Some(use_it(&mut shard.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Counts one attempt before it is made, so that many at once are not more than one after the other. Whole seconds to wait
    /// where there were enough.
    pub(super) fn attempt(&self, whose: impl Hash, bounds: Bounds, now_s: i64) -> Result<(), u64> {
        let key = self.key(whose);
        let verdict = self.with(key, |tallies| {
            if !tallies.contains_key(&key) && tallies.len() >= MOST_KEYS {
                make_room(tallies, bounds, now_s);
            }
            let fresh = Tally { attempts: 0, since_s: now_s, until_s: None };
            let tally = tallies.entry(key).or_insert(fresh);
            if tally.is_spent(bounds, now_s) {
                *tally = fresh;
            }
            if let Some(until_s) = tally.until_s {
                return Err(until_s.saturating_sub(now_s).max(1) as u64);
            }
            tally.attempts += 1;
            if tally.attempts >= bounds.attempts {
                // The last one: whoever it is that is right now is forgiven.
                tally.until_s = Some(now_s.saturating_add(bounds.lasts_s));
            }
            Ok(())
        });
        verdict.unwrap_or(Ok(()))
    }

    /// It was no guess: the account's attempts so far are forgotten.
    pub(super) fn forgive(&self, whose: impl Hash) {
        let key = self.key(whose);
        self.with(key, |tallies| tallies.remove(&key));
    }

    /// This one attempt was no guess.
    pub(super) fn take_back(&self, whose: impl Hash) {
        let key = self.key(whose);
        self.with(key, |tallies| {
            if let Some(tally) = tallies.get_mut(&key) {
                tally.attempts = tally.attempts.saturating_sub(1);
                tally.until_s = None;
            }
        });
    }
}

/// Those that count no more go; where all count, the oldest eighth does, locked ones last. Not one alone: then a flood would cost
/// a look at all for each.
fn make_room(tallies: &mut HashMap<u128, Tally>, bounds: Bounds, now_s: i64) {
    const SHARE: usize = MOST_KEYS / 8;
    tallies.retain(|_, tally| !tally.is_spent(bounds, now_s));
    if tallies.len() < MOST_KEYS {
        return;
    }
    let age = |tally: &Tally| (tally.until_s.is_some(), tally.since_s);
    let mut ages: Vec<_> = tallies.values().map(age).collect();
    let (_, oldest, _) = ages.select_nth_unstable(SHARE);
    let mut left = SHARE;
    tallies.retain(|_, tally| {
        let goes = left > 0 && age(tally) <= *oldest;
        left -= usize::from(goes);
        !goes
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { attempts: 3, within_s: 60, lasts_s: 600 };

    #[test]
    fn guessing_stops_and_starts_again() {
        let guesses = Guesses::default();
        let check = |whose: &str, now_s: i64, expected: Result<(), u64>| {
            assert_eq!(guesses.attempt(whose, BOUNDS, now_s), expected, "{whose} at {now_s}");
        };
        for now_s in [0, 1, 2] {
            check("ann", now_s, Ok(()));
        }
        check("bob", 2, Ok(()));
        check("ann", 2, Err(600));
        check("ann", 3, Err(599));
        check("ann", 601, Err(1));
        check("ann", 602, Ok(()));
        // The window begins with its first attempt.
        check("bob", 61, Ok(()));
        check("bob", 62, Ok(()));
        check("bob", 63, Ok(()));
        check("bob", 64, Ok(()));
        check("bob", 64, Err(600));
    }

    #[test]
    fn what_was_no_guess_does_not_count() {
        let guesses = Guesses::default();
        for _ in 0..10 {
            assert_eq!(guesses.attempt("ann", BOUNDS, 0), Ok(()));
            guesses.take_back("ann");
        }
        for _ in 0..3 {
            assert_eq!(guesses.attempt("ann", BOUNDS, 0), Ok(()));
        }
        // The last of them was right.
        guesses.forgive("ann");
        assert_eq!(guesses.attempt("ann", BOUNDS, 0), Ok(()));
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_for_good() {
        let guesses = Guesses::default();
        for _ in 0..2 {
            assert_eq!(guesses.attempt("ann", BOUNDS, 1_000_000), Ok(()));
        }
        for _ in 0..2 {
            assert_eq!(guesses.attempt("ann", BOUNDS, 0), Ok(()));
        }
        for _ in 0..3 {
            let _ = guesses.attempt("bob", BOUNDS, 1_000_000);
        }
        assert_eq!(guesses.attempt("bob", BOUNDS, 0), Ok(()));
    }

    #[test]
    fn their_number_is_bounded_and_locks_outlast_a_flood() {
        let guesses = Guesses::default();
        for _ in 0..4 {
            let _ = guesses.attempt("ann", BOUNDS, 0);
        }
        for name in 0..SHARDS * MOST_KEYS * 2 {
            assert_eq!(guesses.attempt(name, BOUNDS, 1), Ok(()));
        }
        let held: usize = guesses.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert!(held <= SHARDS * MOST_KEYS, "{held}");
        assert!(guesses.attempt("ann", BOUNDS, 1).is_err());
    }
}
