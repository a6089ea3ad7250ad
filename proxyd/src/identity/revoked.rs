//! Tokens that are not good any more, in memory: looked up by every worker, changed at once. `state` keeps them on disk.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use directory::RevokedRow;
use hashbrown::{DefaultHashBuilder, HashMap};

/// A power of two.
const SHARDS: usize = 64;

/// Every provider's.
const ANY: &str = "*";

/// How many may wait for a disk that takes none: people can log out without end.
const MOST_UNKEPT: usize = 100_000;

/// What is noted for those who share it; beyond that they read everything.
const MOST_NEWS: usize = 10_000;

/// By `jti`: whose tokens, and when they expire anyway.
type Shard = HashMap<Box<str>, Vec<(Box<str>, i64)>>;

/// By provider and `jti`.
type Unkept = HashMap<(Box<str>, Box<str>), RevokedRow>;

/// See the module.
#[derive(Debug)]
pub struct Revoked {
    hasher: DefaultHashBuilder,
    shards: Box<[RwLock<Shard>]>,
    count: AtomicUsize,
    epoch: AtomicU64,
    /// What holds here and is not on disk yet.
    unkept: Mutex<Unkept>,
    news: Mutex<News>,
}

/// What was revoked here since somebody asked last.
#[derive(Debug, Default)]
struct News {
    /// Whether anybody ever asked.
    is_wanted: bool,
    /// Whether there was more than is noted.
    is_over: bool,
    rows: Vec<RevokedRow>,
}

impl Default for Revoked {
    fn default() -> Self {
        let shards = (0..SHARDS).map(|_| RwLock::default()).collect();
        Self {
            hasher: DefaultHashBuilder::default(),
            shards,
            count: AtomicUsize::new(0),
            epoch: AtomicU64::new(0),
            unkept: Mutex::default(),
            news: Mutex::default(),
        }
    }
}

impl Revoked {
    /// Those that are kept.
    pub fn of(rows: &[RevokedRow]) -> Self {
        let revoked = Self::default();
        for row in rows {
            revoked.add(row);
        }
        revoked
    }

    /// Whether this token was revoked.
    pub fn is_revoked(&self, provider: &str, jti: &str) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let Some(shard) = self.shard(jti) else { return false };
        let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
        let whose = shard.get(jti).map(Vec::as_slice).unwrap_or_default();
        whose.iter().any(|(of, _)| **of == *provider || **of == *ANY)
    }

    /// Until when it is remembered that this token was revoked, if it was.
    pub fn until_s(&self, provider: &str, jti: &str) -> Option<i64> {
        let shard = self.shard(jti)?.read().unwrap_or_else(PoisonError::into_inner);
        let whose = shard.get(jti).map(Vec::as_slice).unwrap_or_default();
        let of_it = whose.iter().filter(|(of, _)| **of == *provider || **of == *ANY);
        of_it.map(|(_, expires_s)| *expires_s).max()
    }

    /// Raised at each change: a verdict from before is looked at again.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// How many there are of one provider. Looks through all of them.
    pub fn count_of(&self, provider: &str) -> usize {
        let in_shard = |shard: &RwLock<Shard>| {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            shard.values().flatten().filter(|(of, _)| **of == *provider).count()
        };
        self.shards.iter().map(in_shard).sum()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Revokes a token, for every worker from now on.
    pub fn add(&self, row: &RevokedRow) {
        if self.put(row) {
            self.note(row);
        }
    }

    /// The same for one of which all who share already know.
    pub fn add_told(&self, row: &RevokedRow) {
        self.put(row);
    }

    /// Revokes a token that is not on disk yet. Whether there was room to: then it holds until it is kept, or has expired.
    pub fn hold(&self, row: &RevokedRow) -> bool {
        self.hold_by(row, Self::add)
    }

    /// The same for one of which all who share already know.
    pub fn hold_told(&self, row: &RevokedRow) -> bool {
        self.hold_by(row, Self::add_told)
    }

    fn hold_by(&self, row: &RevokedRow, add: impl FnOnce(&Self, &RevokedRow)) -> bool {
        let mut unkept = self.waiting();
        let key = (row.provider.as_str().into(), row.jti.as_str().into());
        if unkept.len() >= MOST_UNKEPT && !unkept.contains_key(&key) {
            return false;
        }
        let expires_s = unkept.get(&key).map_or(row.expires_s, |before| before.expires_s.max(row.expires_s));
        unkept.insert(key, RevokedRow { expires_s, ..row.clone() });
        // Under the lock, as a reload is: it forgets what is neither kept nor waits to be.
        add(self, row);
        true
    }

    /// What was revoked here, or for longer than before, since this was last asked. None: not all of it was noted, and whoever
    /// wants to know reads everything.
    pub fn take_news(&self) -> Option<Vec<RevokedRow>> {
        let mut news = self.news();
        let rows = std::mem::take(&mut news.rows);
        let is_all = std::mem::replace(&mut news.is_wanted, true) && !std::mem::take(&mut news.is_over);
        is_all.then_some(rows)
    }

    /// It is on disk now, for as long.
    pub fn kept(&self, row: &RevokedRow) {
        let key = (row.provider.as_str().into(), row.jti.as_str().into());
        let mut unkept = self.waiting();
        if unkept.get(&key).is_some_and(|waiting| waiting.expires_s <= row.expires_s) {
            unkept.remove(&key);
        }
    }

    /// What holds and is not on disk yet; no more than `most` of it.
    pub fn unkept(&self, most: usize) -> Vec<RevokedRow> {
        self.waiting().values().take(most).cloned().collect()
    }

    /// This one, where it holds and is not on disk yet.
    pub fn unkept_one(&self, provider: &str, jti: &str) -> Option<RevokedRow> {
        self.waiting().get(&(provider.into(), jti.into())).cloned()
    }

    /// Whether this one holds, and is not on disk yet.
    pub fn is_unkept(&self, provider: &str, jti: &str) -> bool {
        self.waiting().contains_key(&(provider.into(), jti.into()))
    }

    /// Takes up what is kept now.
    pub fn reload(&self, rows: &[RevokedRow]) {
        for row in rows {
            self.add(row);
        }
        let unkept = self.waiting();
        let kept: hashbrown::HashSet<(&str, &str)> =
            rows.iter().chain(unkept.values()).map(|row| (row.provider.as_str(), row.jti.as_str())).collect();
        self.retain(|provider, jti, _| kept.contains(&(provider, jti)));
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Forgets tokens that have expired.
    pub fn sweep(&self, now_s: i64) {
        self.waiting().retain(|_, row| row.expires_s > now_s);
        self.retain(|_, _, expires_s| expires_s > now_s);
    }

    fn waiting(&self) -> MutexGuard<'_, Unkept> {
        self.unkept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn news(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, row: &RevokedRow) {
        let mut news = self.news();
        if !news.is_wanted || news.is_over {
            return;
        }
        if news.rows.len() >= MOST_NEWS {
            news.rows = Vec::new();
            news.is_over = true;
        } else {
            news.rows.push(row.clone());
        }
    }

    /// Whether it was not revoked before, or for less long.
    fn put(&self, row: &RevokedRow) -> bool {
        let mut is_news = true;
        self.change(&row.jti, |shard| {
            let whose = shard.entry(row.jti.as_str().into()).or_default();
            if let Some((_, expires_s)) = whose.iter_mut().find(|(of, _)| **of == *row.provider) {
                is_news = row.expires_s > *expires_s;
                *expires_s = row.expires_s.max(*expires_s);
                return 0;
            }
            whose.push((row.provider.as_str().into(), row.expires_s));
            1
        });
        is_news
    }

    fn shard(&self, jti: &str) -> Option<&RwLock<Shard>> {
        self.shards.get(self.hasher.hash_one(jti) as usize % SHARDS)
    }

    /// `edit` says how many more there are.
    fn change(&self, jti: &str, edit: impl FnOnce(&mut Shard) -> usize) {
        let Some(shard) = self.shard(jti) else { return };
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        let more = edit(&mut shard);
        self.count.fetch_add(more, Ordering::AcqRel);
        drop(shard);
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    fn retain(&self, keep: impl Fn(&str, &str, i64) -> bool) {
        for shard in &self.shards {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            let mut gone = 0;
            shard.retain(|jti, whose| {
                let before = whose.len();
                whose.retain(|(provider, expires_s)| keep(provider, jti, *expires_s));
                gone += before - whose.len();
                !whose.is_empty()
            });
            self.count.fetch_sub(gone, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(provider: &str, jti: &str, expires_s: i64) -> RevokedRow {
        RevokedRow { provider: provider.into(), jti: jti.into(), expires_s, revoked_s: 0, by: "test".into() }
    }

    #[test]
    fn of_one_provider_or_of_all() {
        let revoked = Revoked::of(&[row("jwt.main", "a", 10), row("*", "b", 20)]);
        let check = |provider: &str, jti: &str, expected: bool| {
            assert_eq!(revoked.is_revoked(provider, jti), expected, "{provider} {jti}");
        };
        check("jwt.main", "a", true);
        check("jwt.other", "a", false);
        check("jwt.other", "b", true);
        check("jwt.main", "c", false);
        assert_eq!(["jwt.main", "*", "jwt.other"].map(|of| revoked.count_of(of)), [1, 1, 0]);
        let before = revoked.epoch();
        revoked.add(&row("accounts", "a", 10));
        assert!(revoked.epoch() > before && revoked.len() == 3);
        revoked.add(&row("accounts", "a", 15));
        revoked.sweep(10);
        check("jwt.main", "a", false);
        check("accounts", "a", true);
        revoked.sweep(15);
        check("accounts", "a", false);
        assert_eq!(revoked.len(), 1);
        let before = revoked.epoch();
        revoked.reload(&[row("*", "c", 9)]);
        check("x", "b", false);
        check("x", "c", true);
        assert!(revoked.epoch() > before && revoked.len() == 1);
        // What no disk has taken yet is not forgotten for that.
        assert!(revoked.hold(&row("accounts", "d", 30)) && revoked.hold(&row("accounts", "d", 20)));
        revoked.reload(&[]);
        check("accounts", "d", true);
        assert_eq!(revoked.unkept(9), [row("accounts", "d", 30)]);
        assert_eq!(revoked.unkept_one("accounts", "d"), Some(row("accounts", "d", 30)));
        assert!(revoked.unkept(0).is_empty() && revoked.unkept_one("*", "d").is_none());
        revoked.kept(&row("accounts", "d", 20));
        assert!(revoked.is_unkept("accounts", "d"), "it was kept for too short a time");
        revoked.kept(&row("accounts", "d", 30));
        assert!(!revoked.is_unkept("accounts", "d"));
        revoked.reload(&[]);
        assert!(revoked.is_empty() && revoked.shards.iter().all(|shard| shard.read().unwrap().is_empty()));
    }

    #[test]
    fn what_waits_for_the_disk_is_bounded_and_ends() {
        let revoked = Revoked::default();
        for number in 0..MOST_UNKEPT {
            assert!(revoked.hold(&row("session", &number.to_string(), 10)));
        }
        assert!(!revoked.hold(&row("session", "more", 10)) && !revoked.is_revoked("session", "more"));
        assert!(revoked.hold(&row("session", "7", 10)), "it is there already");
        revoked.sweep(10);
        assert!(revoked.unkept(1).is_empty() && revoked.is_empty());
    }

    #[test]
    fn what_is_new_is_told_once() {
        let revoked = Revoked::of(&[row("*", "a", 10)]);
        revoked.add(&row("*", "b", 10));
        assert_eq!(revoked.take_news(), None, "nobody noted what was there before");
        for row in [row("*", "a", 10), row("*", "a", 20), row("*", "b", 5), row("jwt.main", "b", 5)] {
            revoked.add(&row);
        }
        assert!(revoked.hold(&row("*", "c", 5)) && revoked.hold_told(&row("*", "d", 5)));
        revoked.add_told(&row("*", "e", 5));
        let another = [row("*", "a", 20), row("*", "c", 5), row("*", "f", 5)];
        revoked.reload(&another);
        let news = [row("*", "a", 20), row("jwt.main", "b", 5), row("*", "c", 5), row("*", "f", 5)];
        assert_eq!(revoked.take_news().as_deref(), Some(&news[..]));
        assert_eq!(revoked.take_news(), Some(Vec::new()));
        for number in 0..=MOST_NEWS {
            revoked.add(&row("session", &number.to_string(), 10));
        }
        assert_eq!(revoked.take_news(), None, "there was more than is noted");
        revoked.add(&row("*", "g", 5));
        assert_eq!(revoked.take_news(), Some(vec![row("*", "g", 5)]));
    }
}
