//! Routes in each other's way: two that no request can tell apart, and one that another in front of it makes
//! unreachable. By hashing: the work does not grow with the square of the routes. What it says is certain, but it does
//! not find every route that cannot be reached.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::problem::Code;
use super::reader::Reader;
use super::report::Fault;
use super::routes::Placed;
use super::{HostPattern, PathPattern, Route, ValueMatch};

/// How many routes of one path and host are looked at for one that is in the way.
const MAX_CANDIDATES: usize = 32;
/// How many prefixes of a path are looked at.
const MAX_PREFIXES: usize = 32;

/// What tells a route's requests from others, in a form that can be compared.
struct Facts {
    /// The kind of path, then its text.
    path: String,
    /// Sorted; empty: every host.
    hosts: Vec<String>,
    /// Sorted, with HEAD where there is GET; empty: every method.
    methods: Vec<String>,
    /// Sorted conditions on headers and query.
    conditions: Vec<String>,
    priority: i32,
    /// As precedence counts them.
    count: usize,
}

const PREFIX: char = 'p';
const EXACT: char = 'e';
const REGEX: char = 'r';

/// Notes what is wrong between routes. The reader stands at `routes`.
pub(super) fn check(reader: &mut Reader<'_>, routes: &[Placed]) {
    let facts: Vec<Facts> = routes.iter().map(|placed| Facts::of(&placed.route)).collect();
    let mut same: HashMap<String, usize> = HashMap::with_capacity(routes.len());
    let mut repeated = vec![false; routes.len()];
    for (at, (placed, fact)) in routes.iter().zip(&facts).enumerate() {
        let first = *same.entry(fact.fingerprint()).or_insert(at);
        if first != at
            && let (Some(first), Some(flag)) = (routes.get(first), repeated.get_mut(at))
        {
            *flag = true;
            let message = format!("no request can tell this route from `{}`, see {}", first.route.name, first.route.at);
            let fault = Fault::new(Code::SameRoute, message)
                .hint("remove one, or tell them apart by path, host, method, header, query or priority");
            reader.at(placed.index, |reader| reader.error(placed.place, fault));
        }
    }
    let buckets = buckets(&facts);
    let highest = facts.iter().map(|fact| fact.priority).max().unwrap_or_default();
    for (at, (placed, fact)) in routes.iter().zip(&facts).enumerate() {
        if repeated.get(at).copied().unwrap_or_default() {
            continue;
        }
        let Some(blocker) = find_blocker(at, fact, &facts, &buckets, highest).and_then(|at| routes.get(at)) else {
            continue;
        };
        let message = format!(
            "no request can reach this route: `{}` ({}) takes every one of them first",
            blocker.route.name, blocker.route.at
        );
        let hint = if blocker.route.priority > placed.route.priority {
            "give it a higher `priority`, or narrow the route in its way"
        } else {
            "narrow the route in its way, or give this one a higher `priority`"
        };
        let fault = Fault::new(Code::Unreachable, message).hint(hint);
        reader.at(placed.index, |reader| reader.warn(placed.place, fault));
    }
}

type Buckets<'f> = HashMap<(&'f str, &'f str), Vec<usize>>;

/// Routes by path and host (empty: every host), those with the fewest conditions first.
fn buckets(facts: &[Facts]) -> Buckets<'_> {
    let mut buckets: Buckets<'_> = HashMap::with_capacity(facts.len());
    for (at, fact) in facts.iter().enumerate() {
        if fact.hosts.is_empty() {
            buckets.entry((&fact.path, "")).or_default().push(at);
        }
        for host in &fact.hosts {
            buckets.entry((&fact.path, host)).or_default().push(at);
        }
    }
    for bucket in buckets.values_mut().filter(|bucket| bucket.len() > 1) {
        bucket.sort_by_key(|at| facts.get(*at).map(|fact| (fact.count, -i64::from(fact.priority), *at)));
    }
    buckets
}

fn find_blocker(at: usize, fact: &Facts, facts: &[Facts], buckets: &Buckets<'_>, highest: i32) -> Option<usize> {
    let mut paths: Vec<String> = vec![fact.path.clone()];
    if fact.path.starts_with(REGEX) {
        paths.push(format!("{PREFIX}/"));
    } else if fact.priority < highest {
        paths.extend(wider_prefixes(&fact.path));
    }
    let hosts = [fact.hosts.first().map_or("", String::as_str), ""];
    let hosts = if fact.hosts.is_empty() { &hosts[..1] } else { &hosts[..] };
    for path in &paths {
        for host in hosts {
            let bucket = buckets.get(&(path.as_str(), *host)).map(Vec::as_slice).unwrap_or_default();
            let blocker = bucket.iter().take(MAX_CANDIDATES).find(|other| {
                **other != at && facts.get(**other).is_some_and(|o| o.covers(fact) && o.precedes(**other, fact, at))
            });
            if blocker.is_some() {
                return blocker.copied();
            }
        }
    }
    None
}

/// Every prefix that matches all of what this prefix or exact path does, other than itself.
fn wider_prefixes(path: &str) -> impl Iterator<Item = String> {
    let text = path.get(1..).unwrap_or_default();
    let own = path.starts_with(EXACT).then(|| format!("{PREFIX}{text}"));
    let slashes = text.match_indices('/').take(MAX_PREFIXES).flat_map(move |(at, _)| {
        let without = text.get(..at).filter(|prefix| !prefix.is_empty());
        let with = text.get(..=at);
        without.into_iter().chain(with).map(|prefix| format!("{PREFIX}{prefix}"))
    });
    slashes.chain(own)
}

impl Facts {
    fn of(route: &Route) -> Self {
        let path = match &route.path {
            PathPattern::Prefix(path) => format!("{PREFIX}{path}"),
            PathPattern::Exact(path) => format!("{EXACT}{path}"),
            PathPattern::Regex(pattern) => format!("{REGEX}{}", pattern.text),
        };
        let hosts = route.hosts.iter().map(|host| match host {
            HostPattern::Exact(host) => host.to_string(),
            HostPattern::Wildcard(suffix) => format!("*{suffix}"),
        });
        let mut methods: Vec<String> = route.methods.iter().map(ToString::to_string).collect();
        if methods.iter().any(|method| method == "GET") {
            methods.push("HEAD".to_owned());
        }
        let headers = route.headers.iter().map(|header| condition('h', &header.name, &header.value));
        let query = route.query.iter().map(|query| condition('q', &query.name, &query.value));
        Self {
            path,
            hosts: sorted(hosts.collect()),
            methods: sorted(methods),
            conditions: sorted(headers.chain(query).collect()),
            priority: route.priority,
            count: usize::from(!route.methods.is_empty()) + route.headers.len() + route.query.len(),
        }
    }

    fn fingerprint(&self) -> String {
        let mut text = format!("{}\n{}", self.priority, self.path);
        for list in [&self.hosts, &self.methods, &self.conditions] {
            let _ = write!(text, "\n{}", list.len());
            for item in list {
                let _ = write!(text, "\n{item}");
            }
        }
        text
    }

    /// Whether every request of `other` fulfils this one's conditions; the paths are known to be so.
    fn covers(&self, other: &Self) -> bool {
        within(&self.hosts, &other.hosts)
            && within(&self.methods, &other.methods)
            && self.conditions.iter().all(|condition| other.conditions.binary_search(condition).is_ok())
    }

    /// Whether this one, which covers `other`, comes before it for every request of `other`.
    fn precedes(&self, at: usize, other: &Self, other_at: usize) -> bool {
        if self.priority != other.priority {
            return self.priority > other.priority;
        }
        if self.hosts.is_empty() != other.hosts.is_empty() {
            return false;
        }
        if self.path != other.path {
            // Of the wider paths, only `/` in front of a pattern comes first.
            return other.path.starts_with(REGEX);
        }
        self.count > other.count || (self.count == other.count && at < other_at)
    }
}

/// Whether `narrow` asks for nothing beyond `wide`; empty asks for everything.
fn within(wide: &[String], narrow: &[String]) -> bool {
    wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(|item| wide.binary_search(item).is_ok()))
}

fn sorted(mut items: Vec<String>) -> Vec<String> {
    items.sort_unstable();
    items.dedup();
    items
}

fn condition(kind: char, name: &str, value: &ValueMatch) -> String {
    match value {
        ValueMatch::Exact(text) => format!("{kind}{name}\t={text:?}"),
        ValueMatch::Present(present) => format!("{kind}{name}\t?{present}"),
        ValueMatch::Regex(pattern) => format!("{kind}{name}\t~{:?}", pattern.text),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::load_text;

    /// Routes as flow maps, without their action; expected: code and path of each problem.
    #[track_caller]
    fn check(routes: &[&str], expected: &[&str]) {
        let rest = |route: &str| if route.is_empty() { "respond: {}" } else { ", respond: {}" };
        let list: Vec<String> = routes.iter().map(|route| format!("- {{{route}{}}}", rest(route))).collect();
        let text = format!("routes:\n{}", list.join("\n"));
        let problems = match load_text(&text) {
            Ok(checked) => checked.warnings,
            Err(problems) => problems.0,
        };
        let found: Vec<String> = problems.iter().map(|p| format!("{} {}", p.code.as_str(), p.path)).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn routes_that_are_the_same() {
        check(&["path: /a", "path: /a"], &["same_route routes[1]"]);
        check(&["path: /a", "path: /%61"], &["same_route routes[1]"]);
        check(&["hosts: [a, b]", "hosts: [B, a]"], &["same_route routes[1]"]);
        check(&["methods: [GET]", "methods: [HEAD, GET]"], &["same_route routes[1]"]);
        check(&["path: /a", "exact: /a"], &[]);
        check(&["path: /a", "path: /a/"], &[]);
        check(&["query: {a: '1'}", "query: {a: '2'}"], &[]);
    }

    #[test]
    fn routes_that_cannot_be_reached() {
        check(&["path: /a", "path: /a, priority: 1"], &["unreachable routes[0]"]);
        check(&["methods: [GET, POST]", "methods: [POST]"], &["unreachable routes[1]"]);
        check(&["methods: [POST]", "methods: [GET, POST]"], &[]);
        check(&["hosts: [a, b]", "hosts: [b]"], &["unreachable routes[1]"]);
        check(&["hosts: [b]", "hosts: [a, b]"], &[]);
        check(&["regex: ^/x", "path: /"], &["unreachable routes[0]"]);
        check(&["regex: ^/x, hosts: [a]", "path: /"], &[]);
        check(&["regex: ^/x, methods: [GET]", "path: /, methods: [GET]"], &["unreachable routes[0]"]);
        check(&["path: /a/b", "path: /a, priority: 1"], &["unreachable routes[0]"]);
        check(&["exact: /a", "path: /a, priority: 1"], &["unreachable routes[0]"]);
        check(&["path: /a", "path: /a/, priority: 1"], &[]);
        check(&["path: /ab", "path: /a, priority: 1"], &[]);
        check(&["path: /a/b, hosts: [x]", "priority: 1"], &["unreachable routes[0]"]);
        check(&["path: /a/b", "priority: 1, methods: [GET]"], &[]);
        check(&["path: /a, headers: {x: '1'}", "path: /a"], &[]);
    }
}
