//! The limiters of a snapshot, made once for each place where a rule is written.

use std::collections::HashMap;
use std::sync::Arc;

use shared::audit::Mask;
use shared::config::policy::{Key, RateLimit, Rule};
use shared::config::{Name as RuleName, Scope};

use super::who::By;
use super::{CompiledRule, Limiter, Rules};
use crate::fleet::Engine;

/// When a rule counts: as soon as what it counts by can be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Before anybody is recognised: what recognition costs is limited too.
    BeforeAuth,
    AfterAuth,
}

impl Stage {
    fn of(rule: &Rule) -> Self {
        let by_principal = rule.by.iter().any(|by| matches!(by, Key::User | Key::ApiKey));
        if by_principal || !rule.exempt_users.is_empty() || !rule.exempt_keys.is_empty() {
            Self::AfterAuth
        } else {
            Self::BeforeAuth
        }
    }
}

/// The limiters of a snapshot being compiled: one for each place a rule is written at.
pub struct Limiters<'a> {
    before: HashMap<(Scope, RuleName), Arc<Limiter>>,
    /// By their place in the order.
    made: HashMap<(Scope, RuleName), usize>,
    in_order: Vec<Arc<Limiter>>,
    mask: &'a Mask,
    engine: Option<&'a Arc<Engine>>,
    now_us: u64,
}

impl<'a> Limiters<'a> {
    /// With the limiters of the snapshot before; what may be shown, and where rules may be counted that are shared.
    pub fn new(before: &[Arc<Limiter>], mask: &'a Mask, engine: Option<&'a Arc<Engine>>, now_us: u64) -> Self {
        let named =
            |limiter: &Arc<Limiter>| ((limiter.scope.clone(), Arc::clone(&limiter.rule.name)), Arc::clone(limiter));
        let before = before.iter().map(named).collect();
        Self { before, made: HashMap::new(), in_order: Vec::new(), mask, engine, now_us }
    }

    /// The rules of a policy that count at this stage; none where it has none.
    pub(in crate::filter) fn compile(&mut self, policy: &RateLimit, scope: &Scope, stage: Stage) -> Option<Rules> {
        let mut rules = Vec::new();
        for rule in policy.rules.iter().filter(|rule| Stage::of(rule) == stage) {
            let Some((index, limiter)) = self.limiter(rule, scope) else { continue };
            let by = rule.by.iter().filter_map(|key| By::compile(key, self.mask)).collect();
            rules.push(CompiledRule { limiter, place: rules.len(), stage, index, by });
        }
        (!rules.is_empty()).then(|| Rules { stage, rules: rules.into() })
    }

    fn limiter(&mut self, rule: &Rule, scope: &Scope) -> Option<(usize, Arc<Limiter>)> {
        let key = (scope.clone(), Arc::clone(&rule.name));
        if let Some(&index) = self.made.get(&key)
            && let Some(limiter) = self.in_order.get(index)
        {
            return Some((index, Arc::clone(limiter)));
        }
        let before = self.before.get(&key);
        let limiter = Arc::new(Limiter::new(rule, scope, self.mask, self.engine, before, self.now_us)?);
        let index = self.in_order.len();
        self.made.insert(key, index);
        self.in_order.push(Arc::clone(&limiter));
        Some((index, limiter))
    }

    /// All that were made, in the order of the config.
    pub fn finish(self) -> Vec<Arc<Limiter>> {
        self.in_order
    }
}
