//! A rule with its counters, and how a reload hands them on.

use std::collections::HashMap;
use std::hash::Hasher;
use std::net::IpAddr;
use std::sync::Arc;

use shared::config::policy::{Key, RateLimit, Rule};
use shared::config::{Name as RuleName, Scope};
use shared::decide::limit::{Meter, Verdict};

use super::counts::Counts;
use super::{By, CompiledRule, KeyHash, Rules};
use crate::exchange::{Name, Value};

/// One rule at the place it is written. Shared by all workers.
#[derive(Debug)]
pub struct Limiter {
    pub rule: Rule,
    pub scope: Scope,
    pub meter: Meter,
    scope_name: Arc<str>,
    counts: Arc<Counts>,
}

impl Limiter {
    /// The limiter of a rule; with the counts of its namesake where they still mean the same.
    fn new(rule: &Rule, scope: &Scope, before: Option<&Arc<Self>>) -> Self {
        let meter = Meter::new(rule);
        let kept = before.filter(|before| before.counts_as(rule, &meter));
        let counts = match kept {
            Some(before) => {
                before.counts.resize(rule.max_keys);
                Arc::clone(&before.counts)
            }
            None => Arc::new(Counts::new(rule.max_keys)),
        };
        let scope_name = match scope {
            Scope::Default => "default".into(),
            Scope::TopLevel => "top level".into(),
            Scope::Route(name) => format!("route {name}").into(),
        };
        Self { rule: rule.clone(), scope: scope.clone(), meter, scope_name, counts }
    }

    fn counts_as(&self, rule: &Rule, meter: &Meter) -> bool {
        self.meter.continues(meter) && self.rule.ipv6_prefix == rule.ipv6_prefix
    }

    /// The key of an address; IPv6 addresses share one by their leading bits.
    pub fn address_key(&self, address: IpAddr) -> KeyHash {
        self.counts.key(|hasher| match address.to_canonical() {
            IpAddr::V4(address) => {
                hasher.write_u8(4);
                hasher.write_u32(u32::from(address));
            }
            IpAddr::V6(address) => {
                let bits = u32::from(self.rule.ipv6_prefix.min(128));
                let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
                hasher.write_u8(6);
                hasher.write_u128(u128::from(address) & mask);
            }
        })
    }

    /// The key of a header's value.
    pub fn header_key(&self, name: &str, value: &[u8]) -> KeyHash {
        self.counts.key(|hasher| {
            hasher.write_u8(1);
            hasher.write(name.as_bytes());
            hasher.write_u8(0);
            hasher.write(value);
        })
    }

    /// The key of a client's certificate, by what it is called.
    pub fn certificate_key(&self, called: &str) -> KeyHash {
        self.counts.key(|hasher| {
            hasher.write_u8(2);
            hasher.write(called.as_bytes());
        })
    }

    /// Every key that `text` may mean under this rule: an address, the name of a certificate, or the value of one of the headers it counts by.
    pub fn keys_of(&self, text: &str) -> Vec<KeyHash> {
        let address = text.parse().ok().map(|address| self.address_key(address));
        let headers = self.rule.by.iter().filter_map(|by| match by {
            Key::Header(name) => Some(self.header_key(name, text.as_bytes())),
            Key::Certificate => Some(self.certificate_key(text)),
            Key::Ip | Key::User | Key::ApiKey => None,
        });
        address.into_iter().chain(headers).collect()
    }

    /// Takes one request.
    pub fn take(&self, key: &KeyHash, now_us: u64) -> Verdict {
        self.counts.take(*key, &self.meter, now_us)
    }

    /// What a request of this key would meet; none where nothing is counted for it.
    pub fn peek(&self, key: &KeyHash, now_us: u64) -> Option<Verdict> {
        self.counts.peek(*key, &self.meter, now_us)
    }

    /// Forgets a key's counts. Whether there were any.
    pub fn reset(&self, key: &KeyHash) -> bool {
        self.counts.reset(*key)
    }

    /// Keys held now.
    pub fn keys(&self) -> u64 {
        self.counts.keys()
    }

    /// Keys that had to make room while they still counted.
    pub fn evicted(&self) -> u64 {
        self.counts.evicted()
    }

    /// `top level`, `route NAME`.
    pub fn scope_name(&self) -> &Arc<str> {
        &self.scope_name
    }
}

/// The limiters of a snapshot being compiled: one for each place a rule is written at.
pub struct Limiters {
    before: HashMap<(Scope, RuleName), Arc<Limiter>>,
    /// By their place in the order.
    made: HashMap<(Scope, RuleName), usize>,
    in_order: Vec<Arc<Limiter>>,
}

impl Limiters {
    /// With the limiters of the snapshot before.
    pub fn new(before: &[Arc<Limiter>]) -> Self {
        let named =
            |limiter: &Arc<Limiter>| ((limiter.scope.clone(), Arc::clone(&limiter.rule.name)), Arc::clone(limiter));
        Self { before: before.iter().map(named).collect(), made: HashMap::new(), in_order: Vec::new() }
    }

    pub(in crate::filter) fn compile(&mut self, policy: &RateLimit, scope: &Scope) -> Rules {
        let rule = |rule: &Rule| {
            let (index, limiter) = self.limiter(rule, scope);
            let by = rule.by.iter().filter_map(|key| match key {
                Key::Ip => Some(By::Ip),
                Key::User | Key::ApiKey => None,
                Key::Certificate => Some(By::Certificate),
                Key::Header(name) => Name::parse(name).map(By::Header),
            });
            Some(CompiledRule {
                policy: Value::parse(limiter.meter.policy_header())?,
                by: by.collect(),
                limiter,
                index,
            })
        };
        Rules(policy.rules.iter().filter_map(rule).collect())
    }

    fn limiter(&mut self, rule: &Rule, scope: &Scope) -> (usize, Arc<Limiter>) {
        let key = (scope.clone(), Arc::clone(&rule.name));
        if let Some(&index) = self.made.get(&key)
            && let Some(limiter) = self.in_order.get(index)
        {
            return (index, Arc::clone(limiter));
        }
        let limiter = Arc::new(Limiter::new(rule, scope, self.before.get(&key)));
        let index = self.in_order.len();
        self.made.insert(key, index);
        self.in_order.push(Arc::clone(&limiter));
        (index, limiter)
    }

    /// All that were made, in the order of the config.
    pub fn finish(self) -> Vec<Arc<Limiter>> {
        self.in_order
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shared::config::policy::{Algorithm, Mode, Window};

    use super::*;

    fn rule(requests: u32, max_keys: usize) -> Rule {
        Rule {
            name: "default".into(),
            limits: vec![Window { requests, per: Duration::from_mins(1) }],
            by: vec![Key::Ip],
            algorithm: Algorithm::SlidingWindow,
            mode: Mode::Enforce,
            max_keys,
            ipv6_prefix: 64,
            ..Rule::default()
        }
    }

    fn reloaded(before: &Arc<Limiter>, rule: Rule) -> Arc<Limiter> {
        let mut limiters = Limiters::new(std::slice::from_ref(before));
        limiters.compile(&RateLimit { rules: vec![rule] }, &Scope::TopLevel);
        Arc::clone(&limiters.finish()[0])
    }

    #[test]
    fn counts_survive_a_reload_that_keeps_their_meaning() {
        let first = Arc::new(Limiter::new(&rule(2, 1000), &Scope::TopLevel, None));
        let key = first.address_key("10.0.0.1".parse().unwrap());
        assert!(first.take(&key, 1).allowed && first.take(&key, 1).allowed && !first.take(&key, 1).allowed);
        let shadow = Rule { mode: Mode::Shadow, max_keys: 500, ..rule(2, 0) };
        assert!(!reloaded(&first, shadow).take(&key, 2).allowed, "mode and room change nothing of the counts");
        let wider = reloaded(&first, rule(3, 1000));
        assert!(wider.take(&wider.address_key("10.0.0.1".parse().unwrap()), 2).allowed, "another limit counts anew");
    }

    #[test]
    fn keys_are_bounded_and_reset() {
        let limiter = Limiter::new(&rule(1, 64), &Scope::TopLevel, None);
        for n in 0..10_000u32 {
            limiter.take(&limiter.address_key(IpAddr::V4(n.into())), 1);
        }
        assert_eq!(limiter.keys(), 64);
        assert!(limiter.evicted() > 9_000);
        let last = limiter.address_key(IpAddr::V4(9_999.into()));
        assert_eq!(limiter.peek(&last, 1).map(|verdict| verdict.allowed), Some(false));
        assert!(limiter.reset(&last));
        assert!(limiter.take(&last, 1).allowed);
    }

    #[test]
    fn ipv6_clients_count_by_prefix() {
        let limiter = Limiter::new(&rule(1, 64), &Scope::TopLevel, None);
        let key = |address: &str| limiter.address_key(address.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:10.0.0.1"), key("10.0.0.1"));
    }
}
