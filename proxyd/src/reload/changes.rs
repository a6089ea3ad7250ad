//! What differs between two configs, as their author would say it. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;

use serde_json::Value;
use shared::config::{Checked, Config};
use shared::control::report::{Changes, Delta};

/// Sections that are told of by name.
const NAMED: [&str; 2] = ["routes", "upstreams"];

/// What `next` changes over `previous`. Inherited policies are told of once, as the section they stand in.
#[must_use]
pub fn between(previous: &Checked, next: &Checked) -> Changes {
    Changes {
        routes: delta(&routes(previous), &routes(next)),
        upstreams: delta(&upstreams(previous), &upstreams(next)),
        listeners: delta(&listeners(&previous.config), &listeners(&next.config)),
        sections: sections(&previous.effective.tree, &next.effective.tree),
        kept: kept(&previous.config, &next.config),
    }
}

/// The same in one line.
#[must_use]
pub fn summary(changes: &Changes) -> String {
    let mut parts = Vec::new();
    for (noun, delta) in
        [("route", &changes.routes), ("upstream", &changes.upstreams), ("listener", &changes.listeners)]
    {
        for (names, verb) in [(&delta.added, "added"), (&delta.changed, "changed"), (&delta.removed, "removed")] {
            match names.len() {
                0 => {}
                1 => parts.push(format!("1 {noun} {verb}")),
                many => parts.push(format!("{many} {noun}s {verb}")),
            }
        }
    }
    if !changes.sections.is_empty() {
        parts.push(format!("{} changed", changes.sections.join(", ")));
    }
    if parts.is_empty() { "no change in meaning".to_owned() } else { parts.join(", ") }
}

/// Fields that differ and cannot change while running.
#[must_use]
pub fn fixed(previous: &Config, next: &Config) -> Vec<&'static str> {
    [
        ("server.workers", previous.server.workers != next.server.workers),
        ("server.state_dir", previous.server.state_dir != next.server.state_dir),
        ("audit.path", previous.audit.path != next.audit.path),
        ("admin.socket", previous.admin.socket != next.admin.socket),
        ("admin.socket_mode", previous.admin.socket_mode != next.admin.socket_mode),
    ]
    .into_iter()
    .filter_map(|(field, differs)| differs.then_some(field))
    .collect()
}

/// Each route by its name, as it is written in the effective tree.
fn routes(checked: &Checked) -> HashMap<&str, Option<&Value>> {
    let tree = checked.effective.tree.get("routes").and_then(Value::as_array);
    let shown = |index: usize| tree.and_then(|routes| routes.get(index));
    checked.config.routes.iter().enumerate().map(|(index, route)| (&*route.name, shown(index))).collect()
}

/// Each upstream by its name; one made from a `target` is told by its origin alone, for the name says it all.
fn upstreams(checked: &Checked) -> HashMap<&str, Option<&Value>> {
    let tree = checked.effective.tree.get("upstreams");
    checked.config.upstreams.iter().map(|upstream| (&*upstream.name, tree.and_then(|all| all.get(&*upstream.name)))).collect()
}

fn listeners(config: &Config) -> HashMap<String, ()> {
    let traffic = config.server.listen.iter().map(|listen| listen.address.to_string());
    let admin = config.admin.listen.iter().map(|address| format!("admin {address}"));
    traffic.chain(admin).map(|address| (address, ())).collect()
}

fn delta<K: Eq + Hash + ToString, V: PartialEq>(previous: &HashMap<K, V>, next: &HashMap<K, V>) -> Delta {
    let mut delta = Delta::default();
    for (name, value) in next {
        match previous.get(name) {
            None => delta.added.push(name.to_string()),
            Some(before) if before != value => delta.changed.push(name.to_string()),
            Some(_) => {}
        }
    }
    delta.removed = previous.keys().filter(|name| !next.contains_key(name)).map(ToString::to_string).collect();
    for names in [&mut delta.added, &mut delta.changed, &mut delta.removed] {
        names.sort_unstable();
    }
    delta
}

fn sections(previous: &Value, next: &Value) -> Vec<String> {
    let empty = serde_json::Map::new();
    let (previous, next) = (previous.as_object().unwrap_or(&empty), next.as_object().unwrap_or(&empty));
    let names: BTreeSet<&String> = previous.keys().chain(next.keys()).collect();
    names
        .into_iter()
        .filter(|name| !NAMED.contains(&name.as_str()) && previous.get(*name) != next.get(*name))
        .cloned()
        .collect()
}

/// State that lives on: what has a namesake.
fn kept(previous: &Config, next: &Config) -> Vec<String> {
    let mut counts = BTreeMap::new();
    let before: BTreeSet<&str> = previous.upstreams.iter().map(|upstream| &*upstream.name).collect();
    counts.insert("upstreams' pools", next.upstreams.iter().filter(|upstream| before.contains(&*upstream.name)).count());
    let limits = |config: &Config| -> BTreeSet<String> {
        let policies = std::iter::once(&config.policies).chain(config.routes.iter().map(|route| &route.policies));
        policies
            .filter_map(|policies| {
                let limit = policies.rate_limit.value.as_ref()?;
                let scope = &policies.rate_limit.scope;
                Some(limit.rules.iter().map(move |rule| format!("{scope:?} {} {:?} {:?}", rule.name, rule.limits, rule.algorithm)))
            })
            .flatten()
            .collect()
    };
    counts.insert("limiters", limits(previous).intersection(&limits(next)).count());
    let addresses = |config: &Config| -> BTreeSet<_> { config.server.listen.iter().map(|listen| listen.address).collect() };
    counts.insert("listeners", addresses(previous).intersection(&addresses(next)).count());
    counts.into_iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{count} {what}")).collect()
}
