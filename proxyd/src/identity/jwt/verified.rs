//! What a good token says.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::exchange::Principal;
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
    pub(super) principal: ArcSwapOption<Made>,
}

/// A principal, and the generation of the config that it was made for.
#[derive(Debug)]
pub(super) struct Made {
    generation: u64,
    principal: Arc<Principal>,
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
            principal: ArcSwapOption::empty(),
        }
    }

    /// When it holds no longer, if ever.
    pub fn ends_s(&self) -> Option<i64> {
        Some(self.until_s).filter(|until_s| *until_s != i64::MAX)
    }

    /// Who it is, made once for each generation of the config and shared by all requests with this token.
    pub fn principal(
        &self,
        generation: u64,
        make: impl FnOnce(&Self) -> Option<Arc<Principal>>,
    ) -> Option<Arc<Principal>> {
        if let Some(made) = &*self.principal.load()
            && made.generation == generation
        {
            return Some(Arc::clone(&made.principal));
        }
        let principal = make(self)?;
        self.principal.store(Some(Arc::new(Made { generation, principal: Arc::clone(&principal) })));
        Some(principal)
    }
}
