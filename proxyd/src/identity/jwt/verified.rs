//! What a good token says.

use crate::exchange::Made;
use crate::identity::claims::Claims;

/// See the module. It holds from `from_s` on, and no longer at `until_s`.
#[derive(Debug)]
pub struct Verified {
    pub claims: Claims,
    pub user: Box<str>,
    pub roles: Box<[Box<str>]>,
    pub scopes: Box<[Box<str>]>,
    pub jti: Option<Box<str>>,
    /// Unix seconds, leeway included.
    pub from_s: i64,
    pub until_s: i64,
    pub made: Made,
}

impl Verified {
    pub(super) fn new(claims: Claims, user: Box<str>) -> Self {
        Self {
            claims,
            user,
            roles: Box::default(),
            scopes: Box::default(),
            jti: None,
            from_s: i64::MIN,
            until_s: i64::MAX,
            made: Made::default(),
        }
    }

    /// When it holds no longer, if ever.
    pub fn ends_s(&self) -> Option<i64> {
        Some(self.until_s).filter(|until_s| *until_s != i64::MAX)
    }
}
