//! A key that is known, as requests meet it.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use directory::KeyRow;

use crate::exchange::Made;

/// A key that was presented.
#[derive(Debug)]
pub struct Found {
    pub(super) key: Arc<Known>,
    /// Of the text that was presented.
    pub hash: [u8; 32],
    /// Whether that is one before the last rotation.
    pub(super) is_earlier: bool,
}

impl Deref for Found {
    type Target = Known;

    fn deref(&self) -> &Known {
        &self.key
    }
}

impl Found {
    /// Of whoever presents this text.
    pub fn made(&self) -> &Made {
        if self.is_earlier { &self.key.earlier_made } else { &self.key.made }
    }

    /// What of the text may be seen.
    pub fn shown(&self) -> &str {
        let earlier = self.key.earlier_prefix.as_deref().filter(|_| self.is_earlier);
        earlier.unwrap_or(&self.key.prefix)
    }
}

/// A key that is known, good or not.
#[derive(Debug)]
pub struct Known {
    pub id: Box<str>,
    pub name: Box<str>,
    pub prefix: Box<str>,
    /// For whom it acts; none: for itself.
    pub user: Option<Box<str>>,
    pub roles: Box<[Box<str>]>,
    pub scopes: Box<[Box<str>]>,
    /// So many requests in so many seconds.
    pub limit: Option<(u32, u64)>,
    pub expires_s: Option<i64>,
    pub(super) is_revoked: bool,
    /// Of its text before the last rotation.
    pub(super) earlier_prefix: Option<Box<str>>,
    pub(super) used_s: AtomicI64,
    /// The last use that was written.
    pub(super) written_s: AtomicI64,
    /// Whether it stands in `KeyRing::used`.
    pub(super) is_noted: AtomicBool,
    /// Of whoever presents its text.
    made: Made,
    /// The same of the text before the last rotation.
    earlier_made: Made,
}

impl Known {
    /// `before` is the same key as it was: its uses are not forgotten.
    pub(super) fn of(row: &KeyRow, before: Option<&Self>) -> Self {
        let boxed = |texts: &[String]| texts.iter().map(|text| text.as_str().into()).collect();
        let used_s = row.used_s.unwrap_or(i64::MIN);
        let later =
            |of: fn(&Self) -> &AtomicI64| before.map_or(used_s, |before| of(before).load(Ordering::SeqCst).max(used_s));
        Self {
            id: row.id.as_str().into(),
            name: row.name.as_str().into(),
            prefix: row.prefix.as_str().into(),
            user: row.user.as_deref().map(Into::into),
            roles: boxed(&row.roles),
            scopes: boxed(&row.scopes),
            limit: row.limit,
            expires_s: row.expires_s,
            is_revoked: row.revoked_s.is_some(),
            earlier_prefix: row.earlier.as_ref().map(|earlier| earlier.prefix.as_str().into()),
            used_s: AtomicI64::new(later(|known| &known.used_s)),
            written_s: AtomicI64::new(later(|known| &known.written_s)),
            is_noted: AtomicBool::new(false),
            made: Made::default(),
            earlier_made: Made::default(),
        }
    }

    /// When it was last used, in seconds since the epoch.
    pub fn used_s(&self) -> Option<i64> {
        Some(self.used_s.load(Ordering::Relaxed)).filter(|used_s| *used_s != i64::MIN)
    }

    /// What its texts begin with.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = &str> {
        let earlier = self.earlier_prefix.as_deref().filter(|earlier| *earlier != &*self.prefix);
        std::iter::once(&*self.prefix).chain(earlier)
    }
}
