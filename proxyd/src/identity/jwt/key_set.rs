//! The keys of one verifier, and which of them a token could be signed with.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{Context, SHA256};
use shared::config::identity::JwtAlgorithm;

use super::key::{Key, Label};

/// A token that names no key is tried with so many at the most.
const MAX_TRIED: usize = 4;

/// See the module.
#[derive(Debug)]
pub struct KeySet {
    keys: Box<[Key]>,
    /// Another one for each set: verdicts hold as long as the set that they were reached with.
    id: u64,
    print: [u8; 32],
}

/// What a token's header leads to.
pub(super) enum Found<'a> {
    Keys(Vec<&'a Key>),
    /// There are keys, but none may be used with the algorithm.
    NotAllowed,
    /// No key has this name.
    Unknown,
}

impl KeySet {
    pub(super) fn new(keys: Vec<Key>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let mut print = Context::new(&SHA256);
        for key in &keys {
            print.update(key.print());
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(print.finish().as_ref());
        Self { keys: keys.into(), id: NEXT.fetch_add(1, Ordering::Relaxed), print: digest }
    }

    /// A shared secret.
    pub(in crate::identity) fn of_secret(secret: &[u8]) -> Result<Self, String> {
        let key = Key::hmac(secret, Label::default()).map_err(|fault| fault.to_string())?;
        Ok(Self::new(vec![key]))
    }

    /// Our own public keys (RFC 8037), each with its name.
    pub(in crate::identity) fn of_ed25519<'a>(keys: impl Iterator<Item = (&'a [u8], &'a str)>) -> Result<Self, String> {
        let key = |(public, kid): (&[u8], &str)| Key::ed25519(public, Label { kid: Some(kid.into()), only: None });
        let keys: Result<Vec<Key>, _> = keys.map(key).collect();
        Ok(Self::new(keys.map_err(|fault| fault.to_string())?))
    }

    /// No key at all.
    pub(super) fn none() -> Self {
        Self::new(Vec::new())
    }

    /// Which keys a token with this header could be signed with.
    pub(super) fn find(&self, kid: Option<&str>, algorithm: JwtAlgorithm) -> Found<'_> {
        let named = |kid| move |key: &&Key| key.kid.as_deref() == kid;
        let all: Vec<&Key> = match kid {
            Some(_) if self.keys.iter().any(|key| key.kid.as_deref() == kid) => {
                self.keys.iter().filter(named(kid)).collect()
            }
            // A key without a name may be the one that is meant: it is the token that names it.
            Some(_) => self.keys.iter().filter(named(None)).collect(),
            None => self.keys.iter().collect(),
        };
        if all.is_empty() {
            return Found::Unknown;
        }
        let allowed: Vec<&Key> = all.into_iter().filter(|key| key.allows(algorithm)).take(MAX_TRIED).collect();
        if allowed.is_empty() { Found::NotAllowed } else { Found::Keys(allowed) }
    }

    /// Whether some key may be used with one of these algorithms.
    pub(super) fn allows_any(&self, algorithms: &[JwtAlgorithm]) -> bool {
        algorithms.iter().any(|algorithm| self.keys.iter().any(|key| key.allows(*algorithm)))
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether another set has the same keys, called and meant for the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.print == other.print
    }
}
