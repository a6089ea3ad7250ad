//! The routes that were looked at, in order of precedence, each with the reason it won or lost.

use std::collections::HashMap;

use crate::audit::mask::Mask;
use crate::config::{HostPattern, PathPattern, QueryMatch, Route, ValueMatch};
use crate::control::report::{Candidate, MAX_CANDIDATES};
use crate::routing::matcher::{Conditions, Fault, values};
use crate::routing::path::{Entry, is_under};
use crate::routing::table::{Observer, Table, ranked};
use crate::routing::{Facts, host};

use super::asked::Asked;
use super::quoted;

/// How many names of a list a reason tells.
const TOLD_NAMES: usize = 5;

/// How near a route came; more wins less.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Nearness {
    HostAndPath,
    HostOrPath,
    Neither,
}

/// Everyone whose host and path match, under the host pattern that stands first, with what is in the way.
#[derive(Default)]
struct Everyone(HashMap<usize, (u32, Option<Fault>)>);

impl Observer for Everyone {
    const SEES_ALL: bool = true;

    fn candidate(&mut self, entry: Entry, fault: Option<Fault>) {
        let first = self.0.entry(entry.route as usize).or_insert((entry.rank, fault));
        first.0 = first.0.min(entry.rank);
    }
}

/// One route, ready to be sorted and told.
struct Seen<'a> {
    rank: u32,
    nearness: Nearness,
    route: &'a Route,
    fault: Option<Fault>,
    /// The pattern under which it stands at its rank.
    host: Option<&'a HostPattern>,
}

/// The candidates, and how many more there are.
pub(super) fn list(
    routes: &[Route],
    table: &Table,
    facts: &Facts<'_, Asked>,
    winner: Option<&Route>,
    mask: &Mask,
) -> (Vec<Candidate>, u64) {
    let mut everyone = Everyone::default();
    table.walk(facts, &mut everyone);
    let mut seen = seen(routes, facts, &everyone);
    let unlisted = seen.len().saturating_sub(MAX_CANDIDATES) as u64;
    seen.sort_unstable_by_key(|seen| (seen.nearness, seen.rank));
    seen.truncate(MAX_CANDIDATES);
    seen.sort_unstable_by_key(|seen| seen.rank);
    let winner = winner.and_then(|winner| seen.iter().find(|seen| std::ptr::eq(seen.route, winner)));
    let is_reserved = seen.iter().any(|seen| matches!(seen.fault, Some(Fault::Reserved(_))));
    let told = seen.iter().map(|seen| {
        let won = winner.is_some_and(|winner| std::ptr::eq(seen, winner));
        let reason = match (won, seen.nearness, seen.fault) {
            (true, _, None) => why_it_won(seen, is_reserved),
            (true, _, Some(_)) => "answers this preflight: the request it announces would come here".to_owned(),
            (false, Nearness::HostAndPath, Some(fault)) => fault_reason(routes, seen.route, fault, facts, mask),
            (false, Nearness::HostAndPath, None) => why_it_lost(seen, winner),
            (false, Nearness::HostOrPath | Nearness::Neither, _) => mismatch(seen.route, facts),
        };
        Candidate { route: seen.route.name.to_string(), origin: seen.route.at.to_string(), won, reason }
    });
    (told.collect(), unlisted)
}

/// Every route once, at its best rank: where it matched, else where it would stand.
fn seen<'a>(routes: &'a [Route], facts: &Facts<'_, Asked>, everyone: &Everyone) -> Vec<Seen<'a>> {
    let mut is_taken = vec![false; routes.len()];
    let mut all = Vec::with_capacity(routes.len());
    for (rank, (index, pattern)) in ranked(routes).into_iter().enumerate() {
        let (Some(route), Some(taken)) = (routes.get(index), is_taken.get_mut(index)) else { continue };
        let matched = everyone.0.get(&index);
        if *taken || matched.is_some_and(|(at, _)| *at as usize != rank) {
            continue;
        }
        *taken = true;
        let nearness = match (matched, host_matches(route, facts.host) || path_matches(&route.path, facts.path)) {
            (Some(_), _) => Nearness::HostAndPath,
            (None, true) => Nearness::HostOrPath,
            (None, false) => Nearness::Neither,
        };
        let fault = matched.and_then(|(_, fault)| *fault);
        all.push(Seen { rank: rank as u32, nearness, route, fault, host: pattern });
    }
    all
}

fn host_matches(route: &Route, name: &str) -> bool {
    route.hosts.is_empty() || route.hosts.iter().any(|pattern| host::matches(pattern, name))
}

/// Only to tell near from far and why: who matches is the table's word.
fn path_matches(pattern: &PathPattern, path: &str) -> bool {
    match pattern {
        PathPattern::Exact(exact) => **exact == *path,
        PathPattern::Prefix(prefix) => is_under(path, prefix),
        PathPattern::Regex(pattern) => pattern.regex.is_match(path),
    }
}

fn why_it_won(seen: &Seen<'_>, is_reserved: bool) -> String {
    let host = seen.host.map_or_else(String::new, |pattern| format!("host {}, ", host_text(pattern)));
    let path = match &seen.route.path {
        PathPattern::Exact(path) => format!("exact path {path}"),
        PathPattern::Prefix(prefix) => format!("prefix {prefix}"),
        PathPattern::Regex(pattern) => format!("pattern {}", quoted(&pattern.text)),
    };
    let conditions = match Conditions::count(seen.route) {
        0 => String::new(),
        1 => ", and its condition holds".to_owned(),
        count => format!(", and its {count} conditions hold"),
    };
    let of =
        if is_reserved { "first of those that serve the pages of this path" } else { "first in order of precedence" };
    format!("{of}: {host}{path}{conditions}")
}

/// All its conditions hold, and somebody stands before it.
fn why_it_lost(seen: &Seen<'_>, winner: Option<&Seen<'_>>) -> String {
    let Some(winner) = winner else { return "matches, but does not allow the path's encoded slash".to_owned() };
    let (ours, theirs) = (seen.route, winner.route);
    let name = &theirs.name;
    if winner.rank > seen.rank {
        return format!("{name} answers this preflight");
    }
    if ours.priority != theirs.priority {
        return format!("loses to {name}: higher priority ({}, not {})", theirs.priority, ours.priority);
    }
    let why = match (seen.host, winner.host) {
        (None, Some(_)) => "it names the host",
        (Some(HostPattern::Wildcard(_)), Some(HostPattern::Exact(_))) => "it names the host exactly",
        (Some(HostPattern::Wildcard(a)), Some(HostPattern::Wildcard(b))) if a != b => "longer host wildcard",
        (_, _) => match (&ours.path, &theirs.path) {
            (PathPattern::Prefix(_) | PathPattern::Regex(_), PathPattern::Exact(_)) => "exact path",
            (PathPattern::Regex(_), PathPattern::Prefix(_)) => "a prefix goes before a pattern",
            (PathPattern::Prefix(a), PathPattern::Prefix(b)) if a != b => "longer prefix",
            (_, _) if Conditions::count(ours) != Conditions::count(theirs) => "more conditions",
            (_, _) => "it stands before in the config",
        },
    };
    format!("loses to {name}: {why}")
}

/// Why the host or the path is not the route's.
fn mismatch(route: &Route, facts: &Facts<'_, Asked>) -> String {
    if !host_matches(route, facts.host) {
        let wanted = one_of(&route.hosts.iter().map(host_text).collect::<Vec<_>>());
        return if facts.host.is_empty() {
            format!("no host is named, and it wants {wanted}")
        } else {
            format!("host {} is not {wanted}", shown(facts.host))
        };
    }
    let path = shown(facts.path);
    match &route.path {
        PathPattern::Exact(exact) => format!("path {path} is not {exact}"),
        PathPattern::Prefix(prefix) => format!("path {path} is not under {prefix}"),
        PathPattern::Regex(pattern) => format!("path {path} does not match {}", quoted(&pattern.text)),
    }
}

fn host_text(pattern: &HostPattern) -> String {
    match pattern {
        HostPattern::Exact(name) => name.to_string(),
        HostPattern::Wildcard(suffix) => format!("*{suffix}"),
    }
}

/// `a`, or `one of a, b`.
fn one_of(names: &[String]) -> String {
    if let [only] = names {
        return only.clone();
    }
    let told = names.iter().take(TOLD_NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
    format!("one of {told}{}", if names.len() > TOLD_NAMES { ", …" } else { "" })
}

/// A host or path in a sentence: in quotes only where it must be cut or has what is not plain.
fn shown(text: &str) -> String {
    let marked = quoted(text);
    if marked.len() == text.len() + 2 { text.to_owned() } else { marked }
}

fn fault_reason(routes: &[Route], route: &Route, fault: Fault, facts: &Facts<'_, Asked>, mask: &Mask) -> String {
    let broken = |condition: Option<(&str, &ValueMatch)>, found: Found| {
        condition.map_or_else(String::new, |(name, wanted)| found.reason(name, wanted))
    };
    match fault {
        Fault::Reserved(owner) => {
            let owner = routes.get(owner as usize).map_or("", |route| &*route.name);
            format!("loses to {owner}: its pages are on this path, and this route does not serve them")
        }
        Fault::Method => {
            let methods: Vec<String> = route.methods.iter().map(ToString::to_string).collect();
            format!("method {} is not {}", facts.method, one_of(&methods))
        }
        Fault::Header(index) => {
            let condition = route.headers.get(index).map(|condition| (&*condition.name, &condition.value));
            let name = condition.map_or("", |(name, _)| name);
            let value = facts.headers.header(name).map(ToOwned::to_owned);
            broken(condition, Found { kind: "header", value, hidden: mask.hides_header(name) })
        }
        Fault::Query(index) => {
            let condition: Option<&QueryMatch> = route.query.get(index);
            let name = condition.map_or("", |condition| &*condition.name);
            let value = values(facts.query, name).next().map(|value| String::from_utf8_lossy(&value).into_owned());
            let hidden = mask.hides_query(name);
            broken(
                condition.map(|condition| (&*condition.name, &condition.value)),
                Found { kind: "query parameter", value, hidden },
            )
        }
    }
}

/// The value that a condition met: the first where there are several.
struct Found {
    kind: &'static str,
    value: Option<String>,
    hidden: bool,
}

impl Found {
    fn reason(&self, name: &str, wanted: &ValueMatch) -> String {
        let kind = self.kind;
        let text = |value: &str| if self.hidden { format!("[{}]", Mask::hidden(value.len())) } else { quoted(value) };
        let Some(value) = &self.value else { return format!("{kind} {name} is absent") };
        match wanted {
            ValueMatch::Exact(_) if self.hidden => format!("{kind} {name} is not the one wanted: {}", text(value)),
            ValueMatch::Exact(wanted) => format!("{kind} {name} is {}, not {}", text(value), text(wanted)),
            ValueMatch::Present(_) => format!("{kind} {name} is present, and must not be"),
            ValueMatch::Regex(pattern) => {
                format!("{kind} {name} is {}, which does not match {}", text(value), quoted(&pattern.text))
            }
        }
    }
}
