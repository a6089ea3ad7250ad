//! The cells that a worker counts in: one thread writes, any thread reads.
//!
//! A single writer needs no atomic read-modify-write: a relaxed load and a relaxed store are plain moves. Calling a
//! writing method from two threads would lose counts, nothing worse.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, amount: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(amount), Relaxed);
    }

    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number of things that are there now.
#[derive(Debug, Default)]
pub struct Level(AtomicU64);

impl Level {
    pub fn raise(&self) {
        self.0.store(self.0.load(Relaxed).saturating_add(1), Relaxed);
    }

    pub fn lower(&self) {
        self.0.store(self.0.load(Relaxed).saturating_sub(1), Relaxed);
    }

    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Counters by a word of our own code, made as the words occur: a list that is only ever appended to, so that a reader
/// never holds up the worker. The words are literals, so the list is as short as the set of literals.
#[derive(Debug, Default)]
pub struct Tally {
    first: OnceLock<Box<Entry>>,
}

/// One word of a [`Tally`].
#[derive(Debug)]
pub struct Entry {
    pub word: &'static str,
    pub count: Counter,
    /// When it was counted last, in microseconds since the Unix epoch; 0 where no times are told.
    pub last_us: AtomicU64,
    next: OnceLock<Box<Entry>>,
}

impl Tally {
    /// Counts `word`.
    pub fn count(&self, word: &'static str) {
        self.entry(word).count.add(1);
    }

    /// Counts `word` and notes when.
    pub fn count_at(&self, word: &'static str, unix_us: i64) {
        let entry = self.entry(word);
        entry.count.add(1);
        entry.last_us.store(unix_us.max(0) as u64, Relaxed);
    }

    /// All words so far.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        let mut at = self.first.get();
        std::iter::from_fn(move || {
            let entry = at?;
            at = entry.next.get();
            Some(&**entry)
        })
    }

    fn entry(&self, word: &'static str) -> &Entry {
        let mut slot = &self.first;
        loop {
            let entry = slot.get_or_init(|| {
                Box::new(Entry { word, count: Counter::default(), last_us: AtomicU64::new(0), next: OnceLock::new() })
            });
            if entry.word == word {
                return entry;
            }
            slot = &entry.next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_keeps_a_count_for_each_word() {
        let tally = Tally::default();
        for word in ["b", "a", "b", "c", "b"] {
            tally.count(word);
        }
        tally.count_at("a", 42);
        let seen: Vec<_> =
            tally.entries().map(|entry| (entry.word, entry.count.get(), entry.last_us.load(Relaxed))).collect();
        assert_eq!(seen, [("b", 3, 0), ("a", 2, 42), ("c", 1, 0)]);
    }

    #[test]
    fn a_level_does_not_fall_below_nothing() {
        let level = Level::default();
        level.lower();
        level.raise();
        level.raise();
        level.lower();
        assert_eq!(level.get(), 1);
    }
}
