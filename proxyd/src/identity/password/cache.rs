//! Passwords that were right a moment ago: not computed again for a while. What is kept is a keyed hash of name, password and
//! what the password was checked with; a wrong password is never kept.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;

/// Entries; beyond that some go before their time.
const CAPACITY: usize = 8192;

/// See the module.
#[derive(Debug)]
pub(super) struct Cache {
    secret: (u64, u64),
    lasts: Duration,
    until: Mutex<HashMap<u128, Instant>>,
}

impl Cache {
    /// One that keeps each for so long; none where that is no time, or no randomness is there to key it with.
    pub(super) fn new(lasts: Duration) -> Option<Self> {
        let mut secret = [0; 16];
        if lasts.is_zero() || getrandom::fill(&mut secret).is_err() {
            return None;
        }
        let whole = u128::from_le_bytes(secret);
        Some(Self { secret: ((whole >> 64) as u64, whole as u64), lasts, until: Mutex::default() })
    }

    fn key(&self, parts: [&[u8]; 3]) -> u128 {
        let mut hasher = SipHasher13::new_with_keys(self.secret.0, self.secret.1);
        for part in parts {
            hasher.write_usize(part.len());
            hasher.write(part);
        }
        hasher.finish128().as_u128()
    }

    /// Whether these were right a moment ago.
    pub(super) fn has(&self, parts: [&[u8]; 3], now: Instant) -> bool {
        let until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.get(&self.key(parts)).is_some_and(|until| *until > now)
    }

    /// These were right.
    pub(super) fn put(&self, parts: [&[u8]; 3], now: Instant) {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.len() >= CAPACITY {
            until.retain(|_, until| *until > now);
        }
        if until.len() >= CAPACITY {
            until.clear();
        }
        until.insert(self.key(parts), now + self.lasts);
    }
}
