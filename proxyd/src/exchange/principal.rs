//! Who it is, once that is known.

use std::sync::{Arc, Weak};

use arc_swap::ArcSwapOption;

use super::{Ground, Made, Name, Value};

/// Somebody who was recognised. Made once and shared: what goes upstream stands ready.
#[derive(Clone, Debug, Default)]
pub struct Principal {
    /// A token's subject, an account's name, an API key's name.
    pub user: Box<str>,
    /// Who recognised it: `jwt.main`, `api_key`, `login.github`.
    pub provider: Arc<str>,
    /// What it came with, where the provider alone does not say it: see [`Principal::credential`].
    pub shown: Option<Box<str>>,
    pub roles: Box<[Box<str>]>,
    pub scopes: Box<[Box<str>]>,
    /// The API key that it came with.
    pub key: Option<KeyMark>,
    /// When what it came with ends by itself, in seconds since the epoch, where that is known.
    pub until_s: Option<i64>,
    /// What it rests on.
    pub ground: Ground,
    /// What `identity.send` tells upstreams: these headers are set, over whatever came.
    pub sent: Box<[(Name, Value)]>,
    /// The token of our own that upstreams are told with, as long as it is good.
    pub minted: Minted,
    /// Who it is together with others, the newest: roles and scopes are those of all.
    pub joined: Made<Others>,
}

/// Those who were recognised beside somebody. They may go away meanwhile, but nobody else is taken for one of them.
#[derive(Debug)]
pub struct Others(Box<[Weak<Principal>]>);

impl Others {
    /// These.
    pub fn new<'a>(all: impl Iterator<Item = &'a Arc<Principal>>) -> Self {
        Self(all.map(Arc::downgrade).collect())
    }

    /// Whether they are these.
    pub fn are<'a>(&self, all: impl ExactSizeIterator<Item = &'a Arc<Principal>>) -> bool {
        all.len() == self.0.len()
            && self.0.iter().zip(all).all(|(own, one)| std::ptr::eq(own.as_ptr(), Arc::as_ptr(one)))
    }
}

/// A token that was minted for somebody. A copy begins without.
#[derive(Debug, Default)]
pub struct Minted(ArcSwapOption<Token>);

#[derive(Debug)]
struct Token {
    /// Of the config that it was minted by: another may have another key.
    generation: u64,
    /// Until then it is sent along, in seconds since the epoch.
    until_s: i64,
    value: Value,
}

impl Minted {
    /// The token, if it is good for longer than now; else a new one, which is kept for as long as `mint` says.
    pub fn or_mint(&self, generation: u64, now_s: i64, mint: impl FnOnce() -> Option<(i64, Value)>) -> Option<Value> {
        if let Some(kept) = self.0.load().as_deref()
            && kept.generation == generation
            && kept.until_s > now_s
        {
            return Some(kept.value.clone());
        }
        let (until_s, value) = mint()?;
        self.0.store(Some(Arc::new(Token { generation, until_s, value: value.clone() })));
        Some(value)
    }

    /// The same token for the same one, who is made anew.
    #[must_use]
    pub fn handed_on(&self) -> Self {
        Self(ArcSwapOption::new(self.0.load_full()))
    }
}

impl Clone for Minted {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// Which API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyMark {
    /// Never changes, over rotations too.
    pub id: Box<str>,
    /// The part of it that may be seen.
    pub prefix: Box<str>,
    /// What its operator calls it.
    pub name: Box<str>,
    /// Whether it acts for itself: its name is then the user.
    pub is_user: bool,
    /// Of this key, in place of the limits of every rule that counts it: so many requests in so many seconds.
    pub limit: Option<(u32, u64)>,
}

impl Principal {
    /// How it was recognised, for the record: the provider, behind `api_key` the key's prefix (`api_key pk_ab12cd34`); of several
    /// who recognised together, each.
    pub fn credential(&self) -> &str {
        self.shown.as_deref().unwrap_or(&self.provider)
    }

    /// Whether it has one of these roles; with none asked for, it has.
    pub fn has_role(&self, any: &[Arc<str>]) -> bool {
        any.is_empty() || any.iter().any(|role| self.roles.iter().any(|own| **own == **role))
    }

    /// The first of these scopes that it lacks.
    pub fn lacks<'a>(&self, all: &'a [Arc<str>]) -> Option<&'a Arc<str>> {
        all.iter().find(|scope| !self.scopes.iter().any(|own| **own == ***scope))
    }

    /// What a limit by user counts it as.
    pub fn counted_user(&self) -> &str {
        match &self.key {
            Some(key) if key.is_user => &key.id,
            Some(_) | None => &self.user,
        }
    }
}
