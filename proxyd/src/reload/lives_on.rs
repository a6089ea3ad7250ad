//! What lives on over a reload: state that has a namesake, and where it moves. Pure.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use shared::config::identity::{SessionStore, StateStore};
use shared::config::{Config, Policies, Scope, Upstream};

/// Between what lives on in another store and which it was in.
pub(super) const MOVES: &str = " moves from ";

/// State that lives on: what has a namesake.
pub(super) fn kept(previous: &Config, next: &Config) -> Vec<String> {
    let listeners = |config: &Config| config.server.listen.iter().map(|listen| listen.address).collect::<HashSet<_>>();
    let (before, after) = (limiters(previous), limiters(next));
    let moved = after.iter().filter_map(|(rule, (called, store))| {
        let (_, from) = before.get(rule).filter(|(_, from)| from != store)?;
        Some(format!("{called}{MOVES}{from} to {store}"))
    });
    let counted = [
        ("listener", "listeners", listeners(previous).intersection(&listeners(next)).count()),
        ("upstream's pool", "upstreams' pools", kept_upstreams(&previous.upstreams, &next.upstreams)),
        ("limiter", "limiters", before.keys().filter(|rule| after.contains_key(*rule)).count()),
    ]
    .into_iter()
    .filter(|(.., count)| *count > 0)
    .map(|(one, many, count)| format!("{count} {}", if count == 1 { one } else { many }));
    counted.chain(moved).chain(moved_sessions(previous, next)).collect()
}

/// Sessions that are found in the store of before, and moved.
fn moved_sessions(previous: &Config, next: &Config) -> Option<String> {
    let (before, after) = (&previous.identity, &next.identity);
    let are_there = !before.login.is_empty() && !after.login.is_empty();
    let words = match (before.session.store, after.session.store) {
        (SessionStore::Local, SessionStore::Redis) => "local to redis",
        (SessionStore::Redis, SessionStore::Local) if previous.redis == next.redis => "redis to local",
        _ => return None,
    };
    are_there.then(|| format!("the store of sessions{MOVES}{words}"))
}

fn kept_upstreams(previous: &[Arc<Upstream>], next: &[Arc<Upstream>]) -> usize {
    let before: HashSet<&str> = previous.iter().map(|upstream| &*upstream.name).collect();
    next.iter().filter(|upstream| before.contains(&*upstream.name)).count()
}

/// Rules by what their counts depend on: what each is called, and where it counts.
fn limiters(config: &Config) -> BTreeMap<String, (String, &'static str)> {
    let mut all = BTreeMap::new();
    // What routes inherit is the top level's.
    let is_own = |policies: &&Policies| matches!(policies.rate_limit.scope, Scope::Route(_));
    let own = config.routes.iter().map(|route| &*route.policies).filter(is_own);
    for policies in std::iter::once(&config.policies).chain(own) {
        let Some(limit) = &policies.rate_limit.value else { continue };
        for rule in &limit.rules {
            let scope = &policies.rate_limit.scope;
            let called = match scope {
                Scope::Route(route) => format!("limit `{}` of route {route}", rule.name),
                Scope::Default | Scope::TopLevel => format!("limit `{}`", rule.name),
            };
            let store = match rule.store {
                StateStore::Redis => "redis",
                StateStore::Local => "memory",
            };
            let meaning = format!("{scope:?}{}{:?}{:?}{}", rule.name, rule.limits, rule.algorithm, rule.ipv6_prefix);
            all.insert(meaning, (called, store));
        }
    }
    all
}
