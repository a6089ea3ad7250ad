//! Routes in each other's way: two that no request can tell apart, and one that another in front of it makes
//! unreachable. By hashing: the work does not grow with the square of the routes. What it says is certain, but it does
//! not find every route that cannot be reached.

use hashbrown::HashMap;

use super::problem::Code;
use super::reader::Reader;
use super::report::Fault;
use super::routes::Written;
use super::{HostPattern, PathPattern, Route, ValueMatch};

/// How many routes of one path and host are looked at for one that is in the way.
const MAX_CANDIDATES: usize = 32;
/// How many prefixes of a path are looked at.
const MAX_PREFIXES: usize = 32;

/// What tells a route's requests from others, in a form that can be compared.
struct Facts<'r> {
    path: Path<'r>,
    /// What requests are asked for beside their path.
    asked: Asked<'r>,
    /// How many conditions there are, as precedence counts them.
    count: usize,
}

/// Priority and conditions.
#[derive(PartialEq, Eq, Hash)]
struct Asked<'r> {
    priority: i32,
    /// Sorted; empty: every host.
    hosts: Vec<Host<'r>>,
    /// Sorted, with HEAD where there is GET; empty: every method.
    methods: Vec<&'r str>,
    /// Sorted conditions on headers and query.
    conditions: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Path<'r> {
    Prefix(&'r str),
    Exact(&'r str),
    Regex(&'r str),
}

/// A name, or the names that end in a suffix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Host<'r> {
    is_exact: bool,
    text: &'r str,
}

/// Notes what is wrong between routes. The reader stands at `routes`.
pub(super) fn check(reader: &mut Reader<'_>, routes: &[Route], written: &[Written]) {
    let facts: Vec<Facts<'_>> = routes.iter().map(Facts::of).collect();
    let buckets = buckets(&facts);
    let crowded = crowded(&facts, &buckets);
    let mut same: HashMap<(Path<'_>, &Asked<'_>), usize> = HashMap::new();
    let mut repeated = vec![false; routes.len()];
    for (at, (written, fact)) in written.iter().zip(&facts).enumerate() {
        if !crowded.get(at).copied().unwrap_or_default() {
            continue;
        }
        let first = *same.entry((fact.path, &fact.asked)).or_insert(at);
        if first != at
            && let (Some(first), Some(flag)) = (routes.get(first), repeated.get_mut(at))
        {
            *flag = true;
            let message = format!("no request can tell this route from `{}`, see {}", first.name, first.at);
            let fault = Fault::new(Code::SameRoute, message)
                .hint("remove one, or tell them apart by path, host, method, header, query or priority");
            reader.at(written.index, |reader| reader.error(written.place, fault));
        }
    }
    let highest = facts.iter().map(|fact| fact.asked.priority).max().unwrap_or_default();
    for (at, ((route, written), fact)) in routes.iter().zip(written).zip(&facts).enumerate() {
        let is_lone = !crowded.get(at).copied().unwrap_or_default();
        if repeated.get(at).copied().unwrap_or_default() || (is_lone && fact.looks_at_its_bucket_alone(highest)) {
            continue;
        }
        let Some(blocker) = find_blocker(at, fact, &facts, &buckets, highest).and_then(|at| routes.get(at)) else {
            continue;
        };
        let message = format!(
            "no request can reach this route: `{}` ({}) takes every one of them first",
            blocker.name, blocker.at
        );
        let hint = if blocker.priority > route.priority {
            "give it a higher `priority`, or narrow the route in its way"
        } else {
            "narrow the route in its way, or give this one a higher `priority`"
        };
        let fault = Fault::new(Code::Unreachable, message).hint(hint);
        reader.at(written.index, |reader| reader.warn(written.place, fault));
    }
}

/// By path and host (none: every host).
type Buckets<'r> = HashMap<(Path<'r>, Option<Host<'r>>), Bucket>;

/// Routes of one path and host, those with the fewest conditions first. Most are alone.
struct Bucket {
    first: usize,
    others: Vec<usize>,
}

impl Bucket {
    fn all(&self) -> impl Iterator<Item = usize> {
        std::iter::once(self.first).chain(self.others.iter().copied())
    }
}

fn buckets<'r>(facts: &[Facts<'r>]) -> Buckets<'r> {
    let mut buckets: Buckets<'r> = HashMap::with_capacity(facts.len());
    let mut add = |key, at| {
        buckets
            .entry(key)
            .and_modify(|bucket: &mut Bucket| bucket.others.push(at))
            .or_insert_with(|| Bucket { first: at, others: Vec::new() });
    };
    for (at, fact) in facts.iter().enumerate() {
        if fact.asked.hosts.is_empty() {
            add((fact.path, None), at);
        }
        for host in &fact.asked.hosts {
            add((fact.path, Some(*host)), at);
        }
    }
    for bucket in buckets.values_mut().filter(|bucket| !bucket.others.is_empty()) {
        let mut all: Vec<usize> = bucket.all().collect();
        all.sort_by_key(|at| facts.get(*at).map(|fact| (fact.count, -i64::from(fact.asked.priority), *at)));
        if let [first, others @ ..] = all.as_slice() {
            *bucket = Bucket { first: *first, others: others.to_vec() };
        }
    }
    buckets
}

/// Which routes share a bucket with another one: no other can be the same as another.
fn crowded(facts: &[Facts<'_>], buckets: &Buckets<'_>) -> Vec<bool> {
    let mut crowded = vec![false; facts.len()];
    for at in buckets.values().filter(|bucket| !bucket.others.is_empty()).flat_map(Bucket::all) {
        if let Some(flag) = crowded.get_mut(at) {
            *flag = true;
        }
    }
    crowded
}

fn find_blocker<'r>(
    at: usize,
    fact: &Facts<'r>,
    facts: &[Facts<'r>],
    buckets: &Buckets<'r>,
    highest: i32,
) -> Option<usize> {
    let first_host = fact.asked.hosts.first().copied();
    let hosts = [first_host, None];
    let hosts = if first_host.is_none() { &hosts[..1] } else { &hosts[..] };
    let in_the_way = |path: Path<'r>| {
        hosts.iter().find_map(|host| {
            buckets.get(&(path, *host))?.all().take(MAX_CANDIDATES).find(|other| {
                *other != at && facts.get(*other).is_some_and(|o| o.covers(fact) && o.precedes(*other, fact, at))
            })
        })
    };
    in_the_way(fact.path).or_else(|| match fact.path {
        Path::Regex(_) => in_the_way(Path::Prefix("/")),
        Path::Prefix(_) | Path::Exact(_) if fact.asked.priority >= highest => None,
        Path::Prefix(text) => wider_prefixes(text).find_map(in_the_way),
        Path::Exact(text) => wider_prefixes(text).chain([Path::Prefix(text)]).find_map(in_the_way),
    })
}

/// Every prefix that matches all that begins like this path, other than the whole of it.
fn wider_prefixes(text: &str) -> impl Iterator<Item = Path<'_>> {
    text.match_indices('/').take(MAX_PREFIXES).flat_map(move |(at, _)| {
        let without = text.get(..at).filter(|prefix| !prefix.is_empty());
        let with = text.get(..=at);
        without.into_iter().chain(with).map(Path::Prefix)
    })
}

impl<'r> Facts<'r> {
    fn of(route: &'r Route) -> Self {
        let path = match &route.path {
            PathPattern::Prefix(path) => Path::Prefix(path),
            PathPattern::Exact(path) => Path::Exact(path),
            PathPattern::Regex(pattern) => Path::Regex(&pattern.text),
        };
        let hosts = route.hosts.iter().map(|host| match host {
            HostPattern::Exact(host) => Host { is_exact: true, text: host },
            HostPattern::Wildcard(suffix) => Host { is_exact: false, text: suffix },
        });
        let mut methods: Vec<&str> = route.methods.iter().map(|method| &**method).collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        let headers = route.headers.iter().map(|header| condition('h', &header.name, &header.value));
        let query = route.query.iter().map(|query| condition('q', &query.name, &query.value));
        Self {
            path,
            asked: Asked {
                priority: route.priority,
                hosts: sorted(hosts.collect()),
                methods: sorted(methods),
                conditions: sorted(headers.chain(query).collect()),
            },
            count: usize::from(!route.methods.is_empty()) + route.headers.len() + route.query.len(),
        }
    }

    /// Whether nothing outside its own bucket can be in its way.
    fn looks_at_its_bucket_alone(&self, highest: i32) -> bool {
        self.asked.hosts.is_empty() && self.asked.priority >= highest && !matches!(self.path, Path::Regex(_))
    }

    /// Whether every request of `other` fulfils this one's conditions; the paths are known to be so.
    fn covers(&self, other: &Self) -> bool {
        let (wide, narrow) = (&self.asked, &other.asked);
        within(&wide.hosts, &narrow.hosts)
            && within(&wide.methods, &narrow.methods)
            && wide.conditions.iter().all(|condition| narrow.conditions.binary_search(condition).is_ok())
    }

    /// Whether this one, which covers `other`, comes before it for every request of `other`.
    fn precedes(&self, at: usize, other: &Self, other_at: usize) -> bool {
        if self.asked.priority != other.asked.priority {
            return self.asked.priority > other.asked.priority;
        }
        if self.asked.hosts.is_empty() != other.asked.hosts.is_empty() {
            return false;
        }
        if self.path != other.path {
            // Of the wider paths, only `/` in front of a pattern comes first.
            return matches!(other.path, Path::Regex(_));
        }
        self.count > other.count || (self.count == other.count && at < other_at)
    }
}

/// Whether `narrow` asks for nothing beyond `wide`; empty asks for everything.
fn within<T: Ord>(wide: &[T], narrow: &[T]) -> bool {
    wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(|item| wide.binary_search(item).is_ok()))
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
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
