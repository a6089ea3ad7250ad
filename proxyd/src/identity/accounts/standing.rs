//! How accounts stand, in memory: what a token is checked against on each request. The directory has the truth; whoever
//! changes an account there says so here, and its tokens end at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use directory::UserRow;

/// A power of two.
const SHARDS: usize = 16;

/// The epoch of each account that may be let in, by its id.
#[derive(Debug, Default)]
pub struct Standing {
    shards: [RwLock<HashMap<u64, u32>>; SHARDS],
    changes: AtomicU64,
}

impl Standing {
    /// Of these accounts.
    pub fn of(users: &[UserRow]) -> Self {
        let standing = Self::default();
        standing.load(users);
        standing
    }

    /// Of these accounts and no other.
    pub fn load(&self, users: &[UserRow]) {
        let mut fresh: [HashMap<u64, u32>; SHARDS] = Default::default();
        for user in users.iter().filter(|user| !user.disabled) {
            if let Some(id) = number(&user.id)
                && let Some(shard) = fresh.get_mut(place(id))
            {
                shard.insert(id, user.epoch);
            }
        }
        for (shard, fresh) in self.shards.iter().zip(fresh) {
            *shard.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// An account was made or changed.
    pub fn note(&self, user: &UserRow) {
        self.with(&user.id, |shard, id| {
            if user.disabled {
                shard.remove(&id);
            } else {
                // Of two changes that cross, the later counts.
                let epoch = shard.entry(id).or_default();
                *epoch = user.epoch.max(*epoch);
            }
        });
    }

    /// An account was removed.
    pub fn forget(&self, id: &str) {
        self.with(id, |shard, id| {
            shard.remove(&id);
        });
    }

    /// Whether a token of this account and epoch is good.
    pub fn holds(&self, id: &str, epoch: u32) -> bool {
        let Some(id) = number(id) else { return false };
        let Some(shard) = self.shards.get(place(id)) else { return false };
        shard.read().unwrap_or_else(PoisonError::into_inner).get(&id) == Some(&epoch)
    }

    /// Another number after each change, raised once the change can be seen.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    fn with(&self, id: &str, change: impl FnOnce(&mut HashMap<u64, u32>, u64)) {
        if let Some(id) = number(id)
            && let Some(shard) = self.shards.get(place(id))
        {
            change(&mut shard.write().unwrap_or_else(PoisonError::into_inner), id);
            self.changes.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// An id is 16 hexadecimal digits.
fn number(id: &str) -> Option<u64> {
    let is_id = id.len() == 16 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_id.then(|| u64::from_str_radix(id, 16).ok()).flatten()
}

fn place(id: u64) -> usize {
    id as usize % SHARDS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str, epoch: u32, disabled: bool) -> UserRow {
        UserRow {
            id: id.to_owned(),
            name: "ann".to_owned(),
            email: None,
            password_hash: None,
            roles: Vec::new(),
            verified: false,
            disabled,
            created_s: 0,
            changed_s: 0,
            login_s: None,
            epoch,
        }
    }

    #[test]
    fn a_token_ends_with_its_epoch_and_its_account() {
        const ANN: &str = "00000000000000a1";
        const BOB: &str = "ffffffffffffffff";
        let standing = Standing::default();
        let check = |id: &str, epoch: u32, expected: bool| {
            assert_eq!(standing.holds(id, epoch), expected, "{id} {epoch}");
        };
        check(ANN, 0, false);
        standing.load(&[user(ANN, 2, false), user(BOB, 0, true)]);
        check("", 2, false);
        check("a1", 2, false);
        check("+0000000000000a1", 2, false);
        check("00000000000000A1", 2, false);
        check(BOB, 0, false);
        check(ANN, 1, false);
        check(ANN, 3, false);
        check(ANN, 2, true);
        standing.note(&user(ANN, 3, false));
        standing.note(&user(ANN, 2, false));
        check(ANN, 2, false);
        check(ANN, 3, true);
        standing.note(&user(BOB, 0, false));
        check(BOB, 0, true);
        standing.note(&user(BOB, 1, true));
        check(BOB, 0, false);
        standing.forget(ANN);
        check(ANN, 3, false);
        standing.load(&[]);
        check(ANN, 3, false);
    }
}
