//! How often somebody guessed: attempts by key, bounded in number, in shards. What is kept of a name or an address is a keyed
//! hash. In memory only: a restart forgives.
//!
//! An attempt counts once it was wrong. Those under way take a place of what is left, so that many at once are no more guesses than
//! one after the other; who finds none left waits for one of them to end, and is not locked out by those who are right.

use std::hash::Hash;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;
use siphasher::sip128::{Hasher128, SipHasher13};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// A power of two.
const SHARDS: usize = 32;
/// So many keys in each: with those that are tried at most, some MiB in all.
const MOST_KEYS: usize = 2048;
/// Attempts of one key that wait for their turn.
const MOST_WAITING: u32 = 64;
/// As long as a client may wait for an answer that is nearly always there sooner.
const PATIENCE: Duration = Duration::from_secs(10);

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

/// Why an attempt is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// There were enough: whole seconds to wait.
    Locked(u64),
    /// As many are under way as may still be wrong, and nobody of them is done in time.
    Busy,
}

/// See the module.
pub(super) struct Guesses {
    /// Random for each: nobody can choose names that collide.
    secret: (u64, u64),
    shards: Box<[Shard]>,
    /// How long an attempt waits for its turn; less in tests.
    patience: Duration,
}

#[derive(Default)]
struct Shard {
    tallies: Mutex<HashMap<u128, Tally>>,
    /// An attempt of one of its keys has ended.
    ended: Notify,
}

#[derive(Clone, Copy, Debug)]
struct Tally {
    /// Wrong ones.
    attempts: u32,
    /// Of which nobody knows yet.
    under_way: u32,
    waiting: u32,
    since_s: i64,
    /// Locked until then.
    until_s: Option<i64>,
}

impl Tally {
    fn fresh(now_s: i64) -> Self {
        Self { attempts: 0, under_way: 0, waiting: 0, since_s: now_s, until_s: None }
    }

    /// Whether it counts no more. A clock that was set back starts anew too.
    fn is_spent(&self, bounds: Bounds, now_s: i64) -> bool {
        match self.until_s {
            _ if now_s < self.since_s => true,
            Some(until_s) => now_s >= until_s,
            None => now_s >= self.since_s.saturating_add(bounds.within_s),
        }
    }

    /// What is under way goes on, whatever was counted before.
    fn forget(&mut self, now_s: i64) {
        *self = Self { under_way: self.under_way, waiting: self.waiting, ..Self::fresh(now_s) };
    }

    fn is_used(&self) -> bool {
        self.under_way > 0 || self.waiting > 0
    }

    fn is_nothing(&self) -> bool {
        self.attempts == 0 && self.until_s.is_none() && !self.is_used()
    }

    fn count(&mut self, bounds: Bounds, now_s: i64) {
        self.attempts = self.attempts.saturating_add(1);
        if self.attempts >= bounds.attempts {
            self.until_s = Some(now_s.saturating_add(bounds.lasts_s));
        }
    }
}

/// An attempt that is under way. One that is dropped was none: nobody learned from it.
#[must_use]
pub(super) struct Guess<'a> {
    of: &'a Guesses,
    key: u128,
    bounds: Bounds,
    now_s: i64,
    is_over: bool,
}

impl Guess<'_> {
    /// It counts.
    pub(super) fn wrong(mut self) {
        let (bounds, now_s) = (self.bounds, self.now_s);
        self.end(|tally| tally.count(bounds, now_s));
    }

    /// It was right: what was counted of its key is forgotten.
    pub(super) fn right(mut self) {
        let now_s = self.now_s;
        self.end(|tally| tally.forget(now_s));
    }

    fn end(&mut self, then: impl FnOnce(&mut Tally)) {
        self.is_over = true;
        self.of.change(self.key, self.now_s, |tally| {
            tally.under_way = tally.under_way.saturating_sub(1);
            then(tally);
        });
    }
}

impl Drop for Guess<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.end(|_| {});
        }
    }
}

/// One that waits for its turn.
struct Waiting<'a> {
    of: &'a Guesses,
    key: u128,
    now_s: i64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.of.change(self.key, self.now_s, |tally| tally.waiting = tally.waiting.saturating_sub(1));
    }
}

impl Default for Guesses {
    /// None yet.
    fn default() -> Self {
        let mut secret = [0; 16];
        // Without randomness collisions could be constructed, and counts be shared: no reason to refuse to serve.
        let _ = getrandom::fill(&mut secret);
        let whole = u128::from_le_bytes(secret);
        let shards = (0..SHARDS).map(|_| Shard::default()).collect();
        Self { secret: ((whole >> 64) as u64, whole as u64), shards, patience: PATIENCE }
    }
}

impl Guesses {
    fn key(&self, whose: impl Hash) -> u128 {
        let mut hasher = SipHasher13::new_with_keys(self.secret.0, self.secret.1);
        whose.hash(&mut hasher);
        hasher.finish128().as_u128()
    }

    fn shard(&self, key: u128) -> Option<&Shard> {
        self.shards.get((key >> 64) as usize % SHARDS)
    }

    /// Changes what is known of a key; where that is nothing any more it goes. Whoever waits for it looks again.
    fn change(&self, key: u128, now_s: i64, use_it: impl FnOnce(&mut Tally)) {
        let Some(shard) = self.shard(key) else { return };
        let mut tallies = shard.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        let tally = tallies.entry(key).or_insert_with(|| Tally::fresh(now_s));
        use_it(tally);
        let is_awaited = tally.waiting > 0;
        if tally.is_nothing() {
            tallies.remove(&key);
        }
        drop(tallies);
        if is_awaited {
            shard.ended.notify_waiters();
        }
    }

    /// Begins an attempt where one is left. `Busy` where all that are left are under way.
    fn begin(&self, key: u128, bounds: Bounds, now_s: i64) -> Result<Guess<'_>, Refused> {
        let Some(shard) = self.shard(key) else { return Err(Refused::Busy) };
        let mut tallies = shard.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        if !tallies.contains_key(&key) && tallies.len() >= MOST_KEYS {
            make_room(&mut tallies, bounds, now_s);
        }
        let tally = tallies.entry(key).or_insert_with(|| Tally::fresh(now_s));
        if tally.is_spent(bounds, now_s) {
            tally.forget(now_s);
        }
        if let Some(until_s) = tally.until_s {
            return Err(Refused::Locked(until_s.saturating_sub(now_s).max(1) as u64));
        }
        if tally.attempts.saturating_add(tally.under_way) >= bounds.attempts {
            return Err(Refused::Busy);
        }
        tally.under_way += 1;
        Ok(Guess { of: self, key, bounds, now_s, is_over: false })
    }

    /// Begins an attempt; where as many are under way as may still be wrong, once one of them has ended.
    pub(super) async fn attempt(&self, whose: impl Hash, bounds: Bounds, now_s: i64) -> Result<Guess<'_>, Refused> {
        let key = self.key(whose);
        let first = self.begin(key, bounds, now_s);
        let Err(Refused::Busy) = first else { return first };
        let Some(shard) = self.shard(key) else { return first };
        let Some(_waiting) = self.wait(key, now_s) else { return Err(Refused::Busy) };
        let until = Instant::now() + self.patience;
        loop {
            let mut ended = pin!(shard.ended.notified());
            // Before it is looked at: what ends in between is not missed.
            ended.as_mut().enable();
            match self.begin(key, bounds, now_s) {
                Err(Refused::Busy) => {}
                outcome => return outcome,
            }
            timeout_at(until, ended).await.map_err(|_| Refused::Busy)?;
        }
    }

    fn wait(&self, key: u128, now_s: i64) -> Option<Waiting<'_>> {
        let mut has_place = false;
        self.change(key, now_s, |tally| {
            has_place = tally.waiting < MOST_WAITING;
            tally.waiting += u32::from(has_place);
        });
        has_place.then(|| Waiting { of: self, key, now_s })
    }

    /// Counts what is no guess of anything but is not to be done more often. Whole seconds to wait where there were enough.
    pub(super) fn count(&self, whose: impl Hash, bounds: Bounds, now_s: i64) -> Result<(), u64> {
        match self.begin(self.key(whose), bounds, now_s) {
            Ok(guess) => {
                guess.wrong();
                Ok(())
            }
            Err(Refused::Locked(wait_s)) => Err(wait_s),
            Err(Refused::Busy) => Err(1),
        }
    }

    /// What was counted of it is forgotten.
    pub(super) fn forgive(&self, whose: impl Hash) {
        self.change(self.key(whose), 0, |tally| tally.forget(tally.since_s));
    }

    /// One that was counted was none.
    pub(super) fn take_back(&self, whose: impl Hash) {
        self.change(self.key(whose), 0, |tally| {
            tally.attempts = tally.attempts.saturating_sub(1);
            tally.until_s = None;
        });
    }
}

/// Those that count no more go; where all count, the oldest eighth does, those that are locked or in use last. Not one alone: then a flood would cost
/// a look at all for each.
fn make_room(tallies: &mut HashMap<u128, Tally>, bounds: Bounds, now_s: i64) {
    const SHARE: usize = MOST_KEYS / 8;
    tallies.retain(|_, tally| tally.is_used() || !tally.is_spent(bounds, now_s));
    if tallies.len() < MOST_KEYS {
        return;
    }
    let age = |tally: &Tally| (tally.until_s.is_some() || tally.is_used(), tally.since_s);
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
            assert_eq!(guesses.count(whose, BOUNDS, now_s), expected, "{whose} at {now_s}");
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
            assert_eq!(guesses.count("ann", BOUNDS, 0), Ok(()));
            guesses.take_back("ann");
        }
        for _ in 0..3 {
            assert_eq!(guesses.count("ann", BOUNDS, 0), Ok(()));
        }
        // The last of them was right.
        guesses.forgive("ann");
        assert_eq!(guesses.count("ann", BOUNDS, 0), Ok(()));
    }

    #[test]
    fn a_clock_that_is_set_back_locks_nobody_for_good() {
        let guesses = Guesses::default();
        for _ in 0..2 {
            assert_eq!(guesses.count("ann", BOUNDS, 1_000_000), Ok(()));
        }
        for _ in 0..2 {
            assert_eq!(guesses.count("ann", BOUNDS, 0), Ok(()));
        }
        for _ in 0..3 {
            let _ = guesses.count("bob", BOUNDS, 1_000_000);
        }
        assert_eq!(guesses.count("bob", BOUNDS, 0), Ok(()));
    }

    #[test]
    fn their_number_is_bounded_and_locks_outlast_a_flood() {
        let guesses = Guesses::default();
        for _ in 0..4 {
            let _ = guesses.count("ann", BOUNDS, 0);
        }
        for name in 0..SHARDS * MOST_KEYS * 2 {
            assert_eq!(guesses.count(name, BOUNDS, 1), Ok(()));
        }
        let held: usize = guesses.shards.iter().map(|shard| shard.tallies.lock().unwrap().len()).sum();
        assert!(held <= SHARDS * MOST_KEYS, "{held}");
        assert!(guesses.count("ann", BOUNDS, 1).is_err());
    }

    fn impatient() -> Guesses {
        Guesses { patience: Duration::from_millis(50), ..Guesses::default() }
    }

    #[tokio::test]
    async fn those_under_way_take_a_place_of_what_is_left() {
        let guesses = impatient();
        let begin = || guesses.attempt("ann", BOUNDS, 0);
        let (first, second, third) = (begin().await.unwrap(), begin().await.unwrap(), begin().await.unwrap());
        // Nobody ends: it is busy, and not locked.
        assert_eq!(begin().await.err(), Some(Refused::Busy));
        first.wrong();
        drop(second);
        let (fourth, waits) = (begin().await.unwrap(), begin());
        let (fifth, ()) = tokio::join!(waits, async { third.right() });
        // All that was wrong before is forgotten, and what is under way counts if it is wrong.
        fourth.wrong();
        fifth.unwrap().wrong();
        begin().await.unwrap().wrong();
        assert_eq!(begin().await.err(), Some(Refused::Locked(600)));
        guesses.attempt("bob", BOUNDS, 0).await.unwrap().right();
        assert_eq!(guesses.shards.iter().map(|shard| shard.tallies.lock().unwrap().len()).sum::<usize>(), 1);
    }

    #[tokio::test]
    async fn so_many_wait_and_no_more() {
        let (guesses, bounds) = (std::sync::Arc::new(Guesses::default()), Bounds { attempts: 1, ..BOUNDS });
        let first = guesses.attempt("ann", bounds, 0).await.unwrap();
        let waiting: Vec<_> = (0..MOST_WAITING)
            .map(|_| {
                let guesses = std::sync::Arc::clone(&guesses);
                tokio::spawn(async move { guesses.attempt("ann", bounds, 0).await.err() })
            })
            .collect();
        let key = guesses.key("ann");
        let wait = || guesses.shard(key).unwrap().tallies.lock().unwrap()[&key].waiting;
        while wait() < MOST_WAITING {
            tokio::task::yield_now().await;
        }
        assert_eq!(guesses.attempt("ann", bounds, 0).await.err(), Some(Refused::Busy));
        first.wrong();
        for one in waiting {
            assert_eq!(one.await.unwrap(), Some(Refused::Locked(600)), "each learns that there is none left");
        }
    }
}
