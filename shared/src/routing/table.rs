//! The compiled routes, and the one walk through them that decides and explains alike.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::config::{Action, Config, HostPattern, PathPattern, Route, Serve};

use super::host::{Group, Hosts};
use super::matcher::{Conditions, Fault};
use super::path::{Entry, Paths, is_under};
use super::{Decision, Facts, Lookup};

/// The compiled routes.
///
/// Routes that differ in nothing but their conditions are tried one after the other; everything else is found by look-up.
#[derive(Debug)]
pub struct Table {
    /// By index of the route.
    conditions: Vec<Conditions>,
    reserved: Vec<Reserved>,
    hosts: Hosts,
    paths: Paths,
    /// All routes have one priority, so that the first match on the walk is the best.
    one_priority: bool,
    headers_read: Vec<Arc<str>>,
    query_read: Vec<Arc<str>>,
}

/// The path of pages of our own that nobody wrote a route for: nothing else is to stand in their way.
#[derive(Debug)]
struct Reserved {
    path: PathPattern,
    route: u32,
    /// Who serves the same; by index of the route.
    serving: Vec<bool>,
}

impl Reserved {
    /// In order of precedence.
    fn of(routes: &[Route]) -> Vec<Self> {
        let implied = ranked(routes).into_iter().filter_map(|(index, _)| Some((index, routes.get(index)?)));
        let serves = |route: &Route, pages: Serve| matches!(route.action, Action::Serve(serve) if serve == pages);
        let reserved = implied.filter(|(_, route)| route.is_implied).filter_map(|(index, route)| {
            let Action::Serve(pages) = route.action else { return None };
            let serving = routes.iter().map(|route| serves(route, pages)).collect();
            Some(Self { path: route.path.clone(), route: index as u32, serving })
        });
        reserved.collect()
    }

    fn takes(&self, path: &str) -> bool {
        match &self.path {
            PathPattern::Exact(exact) => **exact == *path,
            PathPattern::Prefix(prefix) => is_under(path, prefix),
            PathPattern::Regex(_) => false,
        }
    }

    /// What stands in the way of a route that serves something else.
    fn fault(&self, route: u32) -> Option<Fault> {
        let is_serving = self.serving.get(route as usize).copied().unwrap_or_default();
        (!is_serving).then_some(Fault::Reserved(self.route))
    }
}

/// Sorts as precedence does: priority, host (exact, longest wildcard, none), path (exact, longest prefix, regex), number of
/// conditions, place in the file.
type Precedence = (Reverse<i32>, (u8, Reverse<usize>), (u8, Reverse<usize>), Reverse<usize>, usize);

fn precedence(index: usize, route: &Route, host: Option<&HostPattern>) -> Precedence {
    let host = match host {
        Some(HostPattern::Exact(_)) => (0, Reverse(0)),
        Some(HostPattern::Wildcard(suffix)) => (1, Reverse(suffix.len())),
        None => (2, Reverse(0)),
    };
    let path = match &route.path {
        PathPattern::Exact(_) => (0, Reverse(0)),
        PathPattern::Prefix(prefix) => (1, Reverse(prefix.len())),
        PathPattern::Regex(_) => (2, Reverse(0)),
    };
    (Reverse(route.priority), host, path, Reverse(Conditions::count(route)), index)
}

/// Each route under each of its host patterns (none: every host), in order of precedence.
pub(super) fn ranked(routes: &[Route]) -> Vec<(usize, Option<&HostPattern>)> {
    let mut order: Vec<(Precedence, Option<&HostPattern>)> = Vec::with_capacity(routes.len());
    for (index, route) in routes.iter().enumerate() {
        if route.hosts.is_empty() {
            order.push((precedence(index, route, None), None));
        }
        order.extend(route.hosts.iter().map(|host| (precedence(index, route, Some(host)), Some(host))));
    }
    order.sort_by_key(|(precedence, _)| *precedence);
    order.into_iter().map(|((.., index), host)| (index, host)).collect()
}

/// The routes in order of precedence, each once: where the best of its hosts puts it. Those that nobody wrote stand first: nothing
/// else is in their way. Indexes into `Config::routes`.
#[must_use]
pub fn in_precedence(routes: &[Route]) -> Vec<usize> {
    let mut is_taken = vec![false; routes.len()];
    let is_first = |index: &usize| is_taken.get_mut(*index).is_some_and(|taken| !std::mem::replace(taken, true));
    let mut order: Vec<usize> = ranked(routes).into_iter().map(|(index, _)| index).filter(is_first).collect();
    order.sort_by_key(|index| routes.get(*index).is_none_or(|route| !route.is_implied));
    order
}

/// Watches the walk.
pub(super) trait Observer {
    /// Whether the walk goes on to candidates that cannot win any more.
    const SEES_ALL: bool;
    /// A route whose host and path match, and the first of its conditions that does not hold.
    fn candidate(&mut self, entry: Entry, fault: Option<Fault>);
}

/// For `decide`: keeps in mind only whether a method stood in the way.
#[derive(Default)]
struct Quiet {
    method_in_the_way: bool,
}

impl Observer for Quiet {
    const SEES_ALL: bool = false;

    fn candidate(&mut self, _: Entry, fault: Option<Fault>) {
        self.method_in_the_way |= fault == Some(Fault::Method);
    }
}

/// For 405: the methods of routes that match in everything but the method.
struct Allowed<'a, L: Lookup> {
    table: &'a Table,
    facts: &'a Facts<'a, L>,
    methods: BTreeSet<&'a Arc<str>>,
}

impl<L: Lookup> Observer for Allowed<'_, L> {
    const SEES_ALL: bool = true;

    fn candidate(&mut self, entry: Entry, fault: Option<Fault>) {
        let Some(conditions) = self.table.conditions.get(entry.route as usize) else { return };
        if fault == Some(Fault::Method) && conditions.fault_beside_method(self.facts).is_none() {
            self.methods.extend(&conditions.methods);
        }
    }
}

/// One walk: the best so far, and who watches.
struct Walk<'a, L: Lookup, O: Observer> {
    table: &'a Table,
    facts: &'a Facts<'a, L>,
    observer: &'a mut O,
    reserved: Option<&'a Reserved>,
    best: Option<Entry>,
}

impl<L: Lookup, O: Observer> Walk<'_, L, O> {
    fn run(&mut self) {
        for group in self.table.hosts.groups_of(self.facts.host) {
            self.group(group);
            if self.is_over() {
                return;
            }
        }
    }

    fn group(&mut self, group: Group) {
        let paths = &self.table.paths;
        self.list(paths.exact(group, self.facts.path));
        if self.is_over() {
            return;
        }
        for entries in paths.prefixes(group, self.facts.path) {
            self.list(entries);
            if self.is_over() {
                return;
            }
        }
        for (pattern, entry) in paths.regexes(group) {
            if !self.is_wanted(*entry) {
                return;
            }
            if pattern.regex.is_match(self.facts.path) {
                self.list(&[*entry]);
            }
        }
    }

    /// Candidates that stand in rising rank.
    fn list(&mut self, entries: &[Entry]) {
        for entry in entries {
            if !self.is_wanted(*entry) {
                return;
            }
            let reserved = self.reserved.and_then(|reserved| reserved.fault(entry.route));
            let conditions = self.table.conditions.get(entry.route as usize);
            let fault = reserved.or_else(|| conditions.and_then(|conditions| conditions.fault(self.facts)));
            self.observer.candidate(*entry, fault);
            if fault.is_none() && self.best.is_none_or(|best| entry.rank < best.rank) {
                self.best = Some(*entry);
            }
        }
    }

    fn is_wanted(&self, entry: Entry) -> bool {
        O::SEES_ALL || self.best.is_none_or(|best| entry.rank < best.rank)
    }

    fn is_over(&self) -> bool {
        !O::SEES_ALL && self.table.one_priority && self.best.is_some()
    }
}

impl Table {
    /// Compiles the routes of a checked config.
    #[must_use]
    pub fn compile(config: &Config) -> Self {
        let routes = &config.routes;
        let (mut hosts, mut paths) = (Hosts::default(), Paths::default());
        for (rank, (index, host)) in ranked(routes).into_iter().enumerate() {
            let Some(route) = routes.get(index) else { continue };
            let (group, is_new) = hosts.group(host);
            if is_new {
                paths.add_group();
            }
            paths.add(group, &route.path, Entry { rank: rank as u32, route: index as u32 });
        }
        paths.finish();
        let headers: BTreeSet<_> = routes.iter().flat_map(|route| &route.headers).map(|h| h.name.clone()).collect();
        let query: BTreeSet<_> = routes.iter().flat_map(|route| &route.query).map(|q| q.name.clone()).collect();
        Self {
            conditions: routes.iter().map(Conditions::of).collect(),
            reserved: Reserved::of(routes),
            hosts,
            paths,
            one_priority: routes.windows(2).all(|pair| matches!(pair, [a, b] if a.priority == b.priority)),
            headers_read: headers.into_iter().collect(),
            query_read: query.into_iter().collect(),
        }
    }

    /// Decides. Costs what the path costs, not what the number of routes would; allocates nothing where a route matches.
    pub fn decide<L: Lookup>(&self, facts: &Facts<'_, L>) -> Decision {
        let mut quiet = Quiet::default();
        if let Some(best) = self.walk(facts, &mut quiet) {
            return Decision::Route(best.route as usize);
        }
        if !quiet.method_in_the_way {
            return Decision::NotFound;
        }
        let mut allowed = Allowed { table: self, facts, methods: BTreeSet::new() };
        self.walk(facts, &mut allowed);
        if allowed.methods.is_empty() {
            return Decision::NotFound;
        }
        Decision::MethodNotAllowed(allowed.methods.into_iter().cloned().collect())
    }

    /// Goes through the routes whose host and path match and finds the best of those whose conditions hold.
    pub(super) fn walk<L: Lookup>(&self, facts: &Facts<'_, L>, observer: &mut impl Observer) -> Option<Entry> {
        // What does not begin with a slash (`*` of `OPTIONS *`) is no path, whatever a pattern may say.
        if !facts.path.starts_with('/') {
            return None;
        }
        let reserved = self.reserved.iter().find(|reserved| reserved.takes(facts.path));
        let mut walk = Walk { table: self, facts, observer, reserved, best: None };
        walk.run();
        walk.best
    }

    /// Names of headers (lower case) that some route's conditions read, sorted; for the audit row's `matched`.
    #[must_use]
    pub fn headers_read(&self) -> &[Arc<str>] {
        &self.headers_read
    }

    /// Names of query parameters that some route's conditions read, sorted.
    #[must_use]
    pub fn query_read(&self) -> &[Arc<str>] {
        &self.query_read
    }
}

#[cfg(test)]
mod tests;
