//! Conditions: what a request must be besides its host and path. Shared by the decision and its explanation.
//!
//! An exact value is the whole value, with its case. A pattern is searched anywhere in the value, as a route's pattern is in
//! the path: what must begin or end with it says so with `^` and `$`.

use std::borrow::Cow;
use std::sync::Arc;

use crate::config::{HeaderMatch, QueryMatch, Route, ValueMatch};

use super::octet::escaped;
use super::{Facts, Lookup};

/// How many `name=value` pairs of a query are looked at; those behind are not seen by conditions.
pub(super) const MAX_QUERY_PAIRS: usize = 1000;

/// The conditions of one route.
#[derive(Debug)]
pub(super) struct Conditions {
    /// Any of these; empty: every method. Has HEAD where it has GET.
    pub(super) methods: Box<[Arc<str>]>,
    pub(super) headers: Box<[HeaderMatch]>,
    pub(super) query: Box<[QueryMatch]>,
}

/// The first condition that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Method,
    /// Index into [`Conditions::headers`].
    Header(usize),
    /// Index into [`Conditions::query`].
    Query(usize),
    /// The path is that of pages of our own, and the route serves others or none. Index of the route that brings them.
    Reserved(u32),
}

impl Conditions {
    pub(super) fn of(route: &Route) -> Self {
        let mut methods = route.methods.clone();
        if methods.iter().any(|method| **method == *"GET") && !methods.iter().any(|method| **method == *"HEAD") {
            methods.push("HEAD".into());
        }
        Self { methods: methods.into(), headers: route.headers.clone().into(), query: route.query.clone().into() }
    }

    /// How many there are: the methods count as one.
    pub(super) fn count(route: &Route) -> usize {
        usize::from(!route.methods.is_empty()) + route.headers.len() + route.query.len()
    }

    pub(super) fn fault<L: Lookup>(&self, facts: &Facts<'_, L>) -> Option<Fault> {
        if !self.methods.is_empty() && !self.methods.iter().any(|method| **method == *facts.method) {
            return Some(Fault::Method);
        }
        self.fault_beside_method(facts)
    }

    pub(super) fn fault_beside_method<L: Lookup>(&self, facts: &Facts<'_, L>) -> Option<Fault> {
        if let Some(index) = self.headers.iter().position(|condition| !header_holds(condition, facts.headers)) {
            return Some(Fault::Header(index));
        }
        let query = |condition: &QueryMatch| {
            holds(&condition.value, |test| values(facts.query, &condition.name).any(|value| test(&value)))
        };
        self.query.iter().position(|condition| !query(condition)).map(Fault::Query)
    }
}

/// Whether all of the conditions on headers hold.
#[must_use]
pub fn headers_hold<L: Lookup>(conditions: &[HeaderMatch], headers: &L) -> bool {
    conditions.iter().all(|condition| header_holds(condition, headers))
}

fn header_holds<L: Lookup>(condition: &HeaderMatch, headers: &L) -> bool {
    holds(&condition.value, |test| headers.any_header(&condition.name, &mut |value| test(value)))
}

/// Whether the condition holds for values that `any` goes through until its argument says yes.
fn holds(condition: &ValueMatch, any: impl FnOnce(&mut dyn FnMut(&[u8]) -> bool) -> bool) -> bool {
    match condition {
        ValueMatch::Exact(text) => any(&mut |value| value == text.as_bytes()),
        ValueMatch::Present(wanted) => any(&mut |_| true) == *wanted,
        ValueMatch::Regex(pattern) => any(&mut |value| pattern.regex.is_match(value)),
    }
}

/// The values of a query's parameters of this name, percent-decoded, `+` as space. A parameter without `=` has an empty one.
pub(super) fn values<'a>(query: &'a str, name: &str) -> impl Iterator<Item = Cow<'a, [u8]>> {
    query.as_bytes().split(|octet| *octet == b'&').take(MAX_QUERY_PAIRS).filter_map(move |pair| {
        let equals = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        let (key, value) = pair.split_at_checked(equals)?;
        let is_it = !pair.is_empty() && decoded(key).eq(name.bytes());
        is_it.then(|| form_decoded(value.get(1..).unwrap_or_default()))
    })
}

fn form_decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'%', b'+', text).is_none() { Cow::Borrowed(text) } else { Cow::Owned(decoded(text).collect()) }
}

/// The octets of `application/x-www-form-urlencoded` text. A `%` that escapes nothing stands for itself.
fn decoded(mut text: &[u8]) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let (first, rest) = text.split_first()?;
        text = rest;
        Some(match (*first, escaped(rest)) {
            (b'%', Some(octet)) => {
                text = rest.get(2..).unwrap_or_default();
                octet
            }
            (b'+', _) => b' ',
            (octet, _) => octet,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Headers, pattern};
    use super::*;

    fn check(condition: ValueMatch, values: &[&str], expected: bool) {
        let name: Arc<str> = "x-v".into();
        let conditions = Conditions {
            methods: [].into(),
            headers: [HeaderMatch { name: name.clone(), value: condition.clone() }].into(),
            query: [].into(),
        };
        let headers = Headers(values.iter().map(|value| ("x-v".into(), (*value).into())).collect());
        let facts = Facts { method: "GET", host: "", path: "/", query: "", headers: &headers };
        assert_eq!(conditions.fault(&facts).is_none(), expected, "{condition:?} on header {values:?}");

        let conditions = Conditions {
            methods: [].into(),
            headers: [].into(),
            query: [QueryMatch { name, value: condition }].into(),
        };
        let query: Vec<String> = values.iter().map(|value| format!("x-v={value}")).collect();
        let facts = Facts { query: &format!("a=b&{}", query.join("&")), headers: &Headers::default(), ..facts };
        assert_eq!(conditions.fault(&facts).is_none(), expected, "on query {query:?}");
    }

    #[test]
    fn values_are_matched() {
        check(ValueMatch::Exact("2".into()), &["2"], true);
        check(ValueMatch::Exact("2".into()), &["1", "2"], true);
        check(ValueMatch::Exact("2".into()), &["22"], false);
        check(ValueMatch::Exact("2".into()), &[], false);
        check(ValueMatch::Exact("a".into()), &["A"], false);
        check(ValueMatch::Present(true), &[""], true);
        check(ValueMatch::Present(true), &[], false);
        check(ValueMatch::Present(false), &[], true);
        check(ValueMatch::Present(false), &["x"], false);
        check(ValueMatch::Regex(pattern("b")), &["abc"], true);
        check(ValueMatch::Regex(pattern("^b")), &["abc", "bc"], true);
        check(ValueMatch::Regex(pattern("^b$")), &["abc"], false);
    }

    fn check_query(query: &str, name: &str, expected: &[&str]) {
        let found: Vec<String> =
            values(query, name).map(|value| String::from_utf8_lossy(&value).into_owned()).collect();
        assert_eq!(found, expected, "{query}");
    }

    #[test]
    fn queries_are_read() {
        check_query("", "", &[]);
        check_query("a=1&b=2&a=3", "a", &["1", "3"]);
        check_query("a", "a", &[""]);
        check_query("a=b=c", "a", &["b=c"]);
        check_query("%61=x%20y+z", "a", &["x y z"]);
        check_query("a+b=%", "a b", &["%"]);
        check_query("a=%zz%4", "a", &["%zz%4"]);
        check_query("&&a=1&", "a", &["1"]);
        check_query("=1", "", &["1"]);
        check_query(&format!("{}a=1", "x&".repeat(MAX_QUERY_PAIRS)), "a", &[]);
    }
}
