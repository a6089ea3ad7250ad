//! How often each network was refused lately: bounded in number, in shards, so that two workers rarely want the same lock.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use ipnet::IpNet;

/// A power of two.
const SHARDS: usize = 64;

/// Networks of one shard.
const CAPACITY: usize = 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Tally {
    /// Keyed: nobody can choose addresses that collide.
    hasher: RandomState,
    shards: Box<[Mutex<HashMap<IpNet, Count>>]>,
}

/// Of the window that began with a refusal at `since_s`, and of the one before.
#[derive(Clone, Copy, Debug)]
struct Count {
    since_s: i64,
    now: u32,
    before: u32,
}

impl Default for Tally {
    fn default() -> Self {
        let hasher = RandomState::new();
        let shards = (0..SHARDS).map(|_| Mutex::new(HashMap::with_hasher(hasher.clone()))).collect();
        Self { hasher, shards }
    }
}

impl Tally {
    /// Counts one refusal. Whether there were `most` within `within_s` by now; they are forgotten then.
    pub(super) fn count(&self, network: IpNet, most: u32, within_s: i64, now_s: i64) -> bool {
        let Some(shard) = self.shards.get(self.hasher.hash_one(network) as usize % SHARDS) else { return false };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if shard.len() >= CAPACITY && !shard.contains_key(&network) {
            make_room(&mut shard, within_s, now_s);
        }
        let count = shard.entry(network).or_insert(Count { since_s: now_s, now: 0, before: 0 });
        count.turn(within_s, now_s);
        count.now = count.now.saturating_add(1);
        let is_full = count.weight(within_s, now_s) >= f64::from(most);
        if is_full {
            shard.remove(&network);
        }
        is_full
    }

    /// Forgets what was counted of a network.
    pub(super) fn forget(&self, network: &IpNet) {
        if let Some(shard) = self.shards.get(self.hasher.hash_one(network) as usize % SHARDS) {
            shard.lock().unwrap_or_else(PoisonError::into_inner).remove(network);
        }
    }

    /// Networks that are counted now.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }
}

impl Count {
    fn turn(&mut self, within_s: i64, now_s: i64) {
        let passed = now_s.saturating_sub(self.since_s);
        if passed >= within_s.saturating_mul(2) {
            *self = Self { since_s: now_s, now: 0, before: 0 };
        } else if passed >= within_s {
            *self = Self { since_s: self.since_s.saturating_add(within_s), now: 0, before: self.now };
        }
    }

    /// Refusals within the time that ends now: of the window before, the share that still lies in it.
    fn weight(&self, within_s: i64, now_s: i64) -> f64 {
        let passed = now_s.saturating_sub(self.since_s).max(0) as f64 / within_s.max(1) as f64;
        f64::from(self.before) * (1.0 - passed).max(0.0) + f64::from(self.now)
    }
}

/// Whoever was not refused lately goes; where all were, whoever was refused least.
fn make_room(shard: &mut HashMap<IpNet, Count>, within_s: i64, now_s: i64) {
    shard.retain(|_, count| now_s.saturating_sub(count.since_s) < within_s.saturating_mul(2));
    if shard.len() >= CAPACITY
        && let Some(least) =
            shard.iter().min_by_key(|(_, count)| count.now.saturating_add(count.before)).map(|(net, _)| *net)
    {
        shard.remove(&least);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_within_a_window() {
        let network: IpNet = "192.0.2.1/32".parse().unwrap();
        // Times of refusals, and which of them is the one too many of three in ten seconds.
        let check = |times: &[i64], expected: Option<usize>| {
            let tally = Tally::default();
            let full = times.iter().position(|now_s| tally.count(network, 3, 10, *now_s));
            assert_eq!(full, expected, "{times:?}");
        };
        check(&[0, 0], None);
        check(&[0, 0, 0], Some(2));
        check(&[0, 5, 9], Some(2));
        check(&[0, 9, 19, 29, 39], None);
        check(&[0, 8, 10], Some(2));
        check(&[0, 8, 12, 12], Some(3));
        check(&[0, 0, 20, 20], None);
        check(&[0, 0, 20, 20, 20], Some(4));
        // A clock that goes back.
        check(&[100, 0, 0], Some(2));
        let tally = Tally::default();
        assert!(tally.count(network, 1, 10, 0) && tally.count(network, 1, 10, 0));
    }

    #[test]
    fn there_is_an_end_to_what_is_counted() {
        let tally = Tally::default();
        let worst: IpNet = "198.51.100.1/32".parse().unwrap();
        assert!(!tally.count(worst, 4, 10, 0) && !tally.count(worst, 4, 10, 0));
        for number in 0..200_000_u32 {
            let network = IpNet::new(std::net::Ipv4Addr::from(number).into(), 32).unwrap();
            assert!(!tally.count(network, 3, 10, 0));
        }
        assert_eq!(tally.len(), SHARDS * CAPACITY);
        // Who was refused more often than others stays.
        assert!(!tally.count(worst, 4, 10, 0) && tally.count(worst, 4, 10, 0));
    }
}
