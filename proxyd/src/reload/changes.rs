//! What differs between two configs, as their author would say it. Pure.

use std::collections::{BTreeSet, HashMap};
use std::fmt::{Debug, Write as _};
use std::hash::Hash;

use shared::config::{Action, Config, Policies, Route, Scope, Setting, Upstream};
use shared::control::report::{Changes, Delta};

/// What `next` changes over `previous`. A policy that routes inherit is told of once, by its name.
#[must_use]
pub fn between(previous: &Config, next: &Config) -> Changes {
    Changes {
        routes: delta(&routes(previous), &routes(next)),
        upstreams: delta(&upstreams(previous), &upstreams(next)),
        listeners: delta(&listeners(previous), &listeners(next)),
        sections: sections(previous, next),
        kept: kept(previous, next),
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

fn routes(config: &Config) -> HashMap<&str, String> {
    config.routes.iter().map(|route| (&*route.name, route_text(config, route))).collect()
}

/// All that a route says itself, without the place where it says so.
fn route_text(config: &Config, route: &Route) -> String {
    let Route {
        name: _,
        at: _,
        hosts,
        path,
        methods,
        headers,
        query,
        priority,
        encoded_slash,
        forward_host,
        action,
        rewrite,
        timeouts,
        policies,
    } = route;
    let mut text = format!(
        "{hosts:?}{path:?}{methods:?}{headers:?}{query:?}{priority}{encoded_slash:?}{forward_host:?}{rewrite:?}{timeouts:?}"
    );
    let _ = match action {
        Action::Forward(shares) => shares.iter().try_for_each(|share| {
            let upstream = config.upstreams.get(share.upstream).map(|upstream| &upstream.name);
            write!(text, "{upstream:?}{}{}", share.weight, share.path_prefix)
        }),
        Action::Redirect(_) | Action::Respond(_) => write!(text, "{action:?}"),
    };
    for (name, value) in policy_texts(policies, |scope| matches!(scope, Scope::Route(_))) {
        let _ = write!(text, "{name}{value}");
    }
    text
}

/// The policies that are written where `here` says, by name.
fn policy_texts(policies: &Policies, here: impl Fn(&Scope) -> bool) -> Vec<(&'static str, String)> {
    fn text<T: Debug>(setting: &Setting<T>) -> (&Scope, String) {
        (&setting.scope, format!("{:?}", setting.value))
    }
    let Policies { access, cors, rate_limit, body_limit, headers, security_headers } = policies;
    [
        ("access", text(access)),
        ("cors", text(cors)),
        ("rate_limit", text(rate_limit)),
        ("body_limit", text(body_limit)),
        ("headers", text(headers)),
        ("security_headers", text(security_headers)),
    ]
    .into_iter()
    .filter_map(|(name, (scope, text))| here(scope).then_some((name, text)))
    .collect()
}

fn upstreams(config: &Config) -> HashMap<&str, String> {
    let text = |upstream: &Upstream| {
        let Upstream { name: _, endpoints, timeouts, pool, at: _ } = upstream;
        format!("{endpoints:?}{timeouts:?}{pool:?}")
    };
    config.upstreams.iter().map(|upstream| (&*upstream.name, text(upstream))).collect()
}

/// A listener is its address: there is nothing else about it that could change.
fn listeners(config: &Config) -> HashMap<String, bool> {
    let traffic = config.server.listen.iter().map(|listen| listen.address.to_string());
    let admin = config.admin.listen.iter().map(|address| format!("admin {address}"));
    traffic.chain(admin).map(|address| (address, true)).collect()
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

/// Sections, and policies at the top level, that differ.
fn sections(previous: &Config, next: &Config) -> Vec<String> {
    let [before, after] = [previous, next].map(|config| {
        let mut texts = vec![
            ("server", server_text(config)),
            ("admin", admin_text(config)),
            ("log", format!("{:?}", config.log)),
            ("audit", format!("{:?}", config.audit)),
        ];
        texts.extend(policy_texts(&config.policies, |_| true));
        texts
    });
    let pairs = before.into_iter().zip(after);
    pairs.filter(|(before, after)| before.1 != after.1).map(|(before, _)| before.0.to_owned()).collect()
}

/// Listeners are told of on their own.
fn server_text(config: &Config) -> String {
    let server = shared::config::Server { listen: Vec::new(), ..config.server.clone() };
    format!("{server:?}")
}

/// With the secrets: they are compared, and shown to nobody.
fn admin_text(config: &Config) -> String {
    let admin = shared::config::Admin { listen: None, ..config.admin.clone() };
    let mut text = format!("{admin:?}");
    if let Some(auth) = &admin.auth {
        let hashes = auth.basic.iter().map(|basic| &basic.password_hash);
        for secret in hashes.chain(auth.tokens.iter().map(|token| &token.token)) {
            let _ = write!(text, "{:?}", secret.reveal());
        }
    }
    text
}

/// State that lives on: what has a namesake.
fn kept(previous: &Config, next: &Config) -> Vec<String> {
    let upstreams = |config: &Config| names(config.upstreams.iter().map(|upstream| upstream.name.to_string()));
    let addresses = |config: &Config| names(config.server.listen.iter().map(|listen| listen.address.to_string()));
    let count = |of: &dyn Fn(&Config) -> BTreeSet<String>| of(previous).intersection(&of(next)).count();
    [
        ("listener", "listeners", count(&addresses)),
        ("upstream's pool", "upstreams' pools", count(&upstreams)),
        ("limiter", "limiters", count(&limiters)),
    ]
    .into_iter()
    .filter(|(.., count)| *count > 0)
    .map(|(one, many, count)| format!("{count} {}", if count == 1 { one } else { many }))
    .collect()
}

fn names(names: impl Iterator<Item = String>) -> BTreeSet<String> {
    names.collect()
}

/// Rules by what their counts depend on.
fn limiters(config: &Config) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for policies in std::iter::once(&config.policies).chain(config.routes.iter().map(|route| &route.policies)) {
        let Some(limit) = &policies.rate_limit.value else { continue };
        for rule in &limit.rules {
            let scope = &policies.rate_limit.scope;
            all.insert(format!("{scope:?}{}{:?}{:?}{}", rule.name, rule.limits, rule.algorithm, rule.ipv6_prefix));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use shared::config::{Input, References, load};

    use super::*;

    const BASE: &str = "
server: {listen: [127.0.0.1:8000]}
rate_limit: {requests_per_minute: 10}
upstreams: {u: {endpoints: [http://127.0.0.1:1]}}
routes:
  - {name: a, path: /a, upstream: u}
  - {name: b, path: /b, respond: {status: 200}}
";

    fn config(text: &str) -> std::sync::Arc<Config> {
        load(&Input::text("t.yaml", text), &References::Refuse).unwrap_or_else(|problems| panic!("{problems:?}")).config
    }

    fn check(next: &str, expected: &str) {
        assert_eq!(summary(&between(&config(BASE), &config(next))), expected, "{next}");
    }

    #[test]
    fn changes_are_told_as_their_author_would() {
        check(BASE, "no change in meaning");
        check(&format!("# a remark\n\n{BASE}"), "no change in meaning");
        check(&BASE.replace("status: 200", "status: 204"), "1 route changed");
        check(&BASE.replace("name: b", "name: c"), "1 route added, 1 route removed");
        check(&BASE.replace("127.0.0.1:1]", "127.0.0.1:2]"), "1 upstream changed");
        check(&BASE.replace("[127.0.0.1:8000]", "[127.0.0.1:8000, 127.0.0.1:8001]"), "1 listener added");
        check(&BASE.replace("requests_per_minute: 10", "requests_per_minute: 11"), "rate_limit changed");
        check(&BASE.replace("upstream: u", "upstream: u, rate_limit: off"), "1 route changed");
        let token =
            |token: &str| format!("admin: {{auth: {{tokens: [{{name: ci, token: {token}, role: reader}}]}}}}\n{BASE}");
        let changes = between(
            &config(&token("0123456789abcdef0123456789abcdef")),
            &config(&token("0123456789abcdef0123456789abcdee")),
        );
        assert_eq!(summary(&changes), "admin changed");
    }

    #[test]
    fn upstreams_may_change_places() {
        let two = BASE.replace("upstreams: {", "upstreams: {v: {endpoints: [http://127.0.0.1:3]}, ");
        check(&two, "1 upstream added");
    }

    #[test]
    fn state_that_lives_on_is_told() {
        let changes = between(&config(BASE), &config(&BASE.replace("status: 200", "status: 204")));
        assert_eq!(changes.kept, ["1 listener", "1 upstream's pool", "1 limiter"]);
    }

    #[test]
    fn what_cannot_change_is_named() {
        let next = format!("{BASE}audit: {{path: /elsewhere}}\n").replace("listen: [", "workers: 3, listen: [");
        assert_eq!(fixed(&config(BASE), &config(&next)), ["server.workers", "audit.path"]);
    }
}
