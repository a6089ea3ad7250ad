//! Hosts: from a `Host` header to the form that is matched, and from that to the groups of routes that name it.

use std::borrow::Cow;
use std::net::Ipv6Addr;
use std::sync::Arc;

use hashbrown::HashTable;

use crate::config::HostPattern;

use super::octet::hash;

/// The host of an authority (`Host` header or URL, no userinfo): lower case, without port and trailing dot. IPv6 literals
/// lose their brackets and have the one form of RFC 5952, as in the config.
#[must_use]
pub fn host_of(authority: &str) -> Cow<'_, str> {
    if let Some((literal, _)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return match literal.parse::<Ipv6Addr>() {
            Ok(address) => Cow::Owned(address.to_string()),
            Err(_) => Cow::Owned(literal.to_ascii_lowercase()),
        };
    }
    let host = authority.split(':').next().unwrap_or_default();
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|octet| octet.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

/// Whether a host is one of what the pattern means.
pub(super) fn matches(pattern: &HostPattern, host: &str) -> bool {
    match pattern {
        HostPattern::Exact(name) => **name == *host,
        HostPattern::Wildcard(suffix) => host.len() > suffix.len() && host.ends_with(&**suffix),
    }
}

/// A group of routes: those of one host pattern, or those without one.
pub(super) type Group = u32;

/// Which groups a host belongs to.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    exact: HashTable<(Arc<str>, Group)>,
    wildcard: HashTable<(Arc<str>, Group)>,
    longest_wildcard: usize,
    hostless: Option<Group>,
    groups: Group,
}

impl Hosts {
    /// The group of a pattern (none: of the routes without hosts), and whether it is new.
    pub(super) fn group(&mut self, pattern: Option<&HostPattern>) -> (Group, bool) {
        let next = self.groups;
        let group = match pattern {
            Some(HostPattern::Exact(name)) => find_or_insert(&mut self.exact, name, next),
            Some(HostPattern::Wildcard(suffix)) => {
                self.longest_wildcard = self.longest_wildcard.max(suffix.len());
                find_or_insert(&mut self.wildcard, suffix, next)
            }
            None => *self.hostless.get_or_insert(next),
        };
        let is_new = group == next;
        self.groups += Group::from(is_new);
        (group, is_new)
    }

    /// The groups of a host, in order of precedence: its own, those of wildcards from the longest, the one without hosts.
    pub(super) fn groups_of<'a>(&'a self, host: &'a str) -> impl Iterator<Item = Group> + 'a {
        // A suffix longer than every wildcard is never hashed, so that a host made of dots costs no more than its length.
        let first = host.len().saturating_sub(self.longest_wildcard).max(1);
        let tail = if self.wildcard.is_empty() { &[] } else { host.as_bytes().get(first..).unwrap_or_default() };
        let wildcards = memchr::memchr_iter(b'.', tail)
            .filter_map(move |dot| find(&self.wildcard, host.get(first + dot..).unwrap_or_default()));
        find(&self.exact, host).into_iter().chain(wildcards).chain(self.hostless)
    }
}

fn find(table: &HashTable<(Arc<str>, Group)>, text: &str) -> Option<Group> {
    if table.is_empty() {
        return None;
    }
    table.find(hash(0, text.as_bytes()), |(key, _)| **key == *text).map(|(_, group)| *group)
}

fn find_or_insert(table: &mut HashTable<(Arc<str>, Group)>, text: &Arc<str>, next: Group) -> Group {
    let hasher = |(key, _): &(Arc<str>, Group)| hash(0, key.as_bytes());
    table
        .entry(hash(0, text.as_bytes()), |(key, _)| key == text, hasher)
        .or_insert_with(|| (text.clone(), next))
        .get()
        .1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(authority: &str, expected: &str) {
        assert_eq!(host_of(authority), expected);
    }

    #[test]
    fn authorities_become_hosts() {
        check("", "");
        check("example.org", "example.org");
        check("Example.ORG:8000", "example.org");
        check("example.org.", "example.org");
        check("example.org.:80", "example.org");
        check("[::1]:8000", "::1");
        check("[FE80:0::1]", "fe80::1");
        check("[V1.x]", "v1.x");
        check("[::1", "[");
        check("10.0.0.1:80", "10.0.0.1");
    }

    fn groups(host: &str) -> Vec<Group> {
        let mut hosts = Hosts::default();
        for pattern in [
            HostPattern::Wildcard(".example.org".into()),
            HostPattern::Exact("a.b.example.org".into()),
            HostPattern::Wildcard(".b.example.org".into()),
        ] {
            assert!(hosts.group(Some(&pattern)).1);
            assert!(!hosts.group(Some(&pattern)).1);
        }
        hosts.group(None);
        hosts.groups_of(host).collect()
    }

    #[test]
    fn a_host_has_its_groups_in_precedence() {
        assert_eq!(groups("a.b.example.org"), [1, 2, 0, 3]);
        assert_eq!(groups("z.b.example.org"), [2, 0, 3]);
        assert_eq!(groups("b.example.org"), [0, 3]);
        assert_eq!(groups("y.z.example.org"), [0, 3]);
        assert_eq!(groups("example.org"), [3]);
        assert_eq!(groups(".example.org"), [3]);
        assert_eq!(groups("badexample.org"), [3]);
        assert_eq!(groups(""), [3]);
    }
}
