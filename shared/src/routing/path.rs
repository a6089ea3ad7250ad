//! Paths: for a group of routes, which lists of candidates a path leads to. One pass over the path, whatever the routes.

use hashbrown::HashTable;
use std::iter::successors;
use std::sync::Arc;

use crate::config::{PathPattern, Pattern};

use super::host::Group;
use super::octet::hash;

/// Whether a path lies below a prefix, on segment boundaries.
pub(crate) fn is_under(path: &str, prefix: &str) -> bool {
    let rest = path.strip_prefix(prefix);
    rest.is_some_and(|rest| rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/'))
}

/// A route under one of its host patterns, with its place in the order of precedence (0 first).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) rank: u32,
    pub(super) route: u32,
}

/// Every path of every group.
#[derive(Debug, Default)]
pub(super) struct Paths {
    groups: Vec<Patterns>,
    exact: HashTable<Exact>,
    /// Of all groups: a tree of segments, each group with its own root. Parents stand before their children.
    nodes: Vec<Node>,
    children: HashTable<u32>,
}

/// A group's part.
#[derive(Debug)]
struct Patterns {
    root: u32,
    /// By rank.
    regexes: Vec<(Pattern, Entry)>,
}

#[derive(Debug)]
struct Exact {
    group: Group,
    path: Arc<str>,
    entries: Vec<Entry>,
}

/// A position between segments.
#[derive(Debug)]
struct Node {
    parent: Option<u32>,
    segment: Box<str>,
    /// The nearest position above that has entries.
    up: Option<u32>,
    has_children: bool,
    /// Prefixes that end here without a slash, and those that need one behind.
    bare: Vec<Entry>,
    slash: Vec<Entry>,
}

impl Node {
    fn new(parent: Option<u32>, segment: &str) -> Self {
        Self { parent, segment: segment.into(), up: None, has_children: false, bare: Vec::new(), slash: Vec::new() }
    }

    fn hash(&self) -> u64 {
        child_hash(self.parent.unwrap_or(u32::MAX), &self.segment)
    }
}

fn child_hash(parent: u32, segment: &str) -> u64 {
    hash(u64::from(parent), segment.as_bytes())
}

impl Paths {
    /// Makes room for the next group: they are numbered as they come.
    pub(super) fn add_group(&mut self) {
        self.groups.push(Patterns { root: self.nodes.len() as u32, regexes: Vec::new() });
        self.nodes.push(Node::new(None, ""));
    }

    /// Adds an entry; the ranks must come in rising order.
    pub(super) fn add(&mut self, group: Group, pattern: &PathPattern, entry: Entry) {
        match pattern {
            PathPattern::Exact(path) => self.exact_entries(group, path).push(entry),
            PathPattern::Prefix(prefix) => self.add_prefix(group, prefix, entry),
            PathPattern::Regex(regex) => {
                if let Some(group) = self.groups.get_mut(group as usize) {
                    group.regexes.push((regex.clone(), entry));
                }
            }
        }
    }

    fn exact_entries(&mut self, group: Group, path: &Arc<str>) -> &mut Vec<Entry> {
        let key = hash(u64::from(group), path.as_bytes());
        let equal = |exact: &Exact| exact.group == group && exact.path == *path;
        let rehash = |exact: &Exact| hash(u64::from(exact.group), exact.path.as_bytes());
        let fresh = || Exact { group, path: path.clone(), entries: Vec::new() };
        &mut self.exact.entry(key, equal, rehash).or_insert_with(fresh).into_mut().entries
    }

    fn add_prefix(&mut self, group: Group, prefix: &str, entry: Entry) {
        let Some(patterns) = self.groups.get(group as usize) else { return };
        let needs_slash = prefix.ends_with('/');
        let inner = prefix.strip_prefix('/').unwrap_or(prefix);
        let mut node = patterns.root;
        // `/` alone is the root itself, before its slash.
        if prefix.len() > 1 {
            for segment in inner.strip_suffix('/').unwrap_or(inner).split('/') {
                node = self.child_or_new(node, segment);
            }
        }
        if let Some(node) = self.nodes.get_mut(node as usize) {
            if needs_slash { &mut node.slash } else { &mut node.bare }.push(entry);
        }
    }

    fn child_or_new(&mut self, parent: u32, segment: &str) -> u32 {
        if let Some(child) = self.child(parent, segment) {
            return child;
        }
        let child = self.nodes.len() as u32;
        self.nodes.push(Node::new(Some(parent), segment));
        if let Some(node) = self.nodes.get_mut(parent as usize) {
            node.has_children = true;
        }
        let nodes = &self.nodes;
        let rehash = |index: &u32| nodes.get(*index as usize).map_or(0, Node::hash);
        self.children.insert_unique(child_hash(parent, segment), child, rehash);
        child
    }

    fn child(&self, parent: u32, segment: &str) -> Option<u32> {
        let is_it = |index: &u32| {
            self.nodes.get(*index as usize).is_some_and(|n| n.parent == Some(parent) && *n.segment == *segment)
        };
        self.children.find(child_hash(parent, segment), is_it).copied()
    }

    /// Joins each position to the nearest one above that has entries. To be called once everything is added.
    pub(super) fn finish(&mut self) {
        for index in 0..self.nodes.len() {
            let parent = self.nodes.get(index).and_then(|node| node.parent);
            let up = parent.and_then(|at| {
                let above = self.nodes.get(at as usize)?;
                if above.bare.is_empty() && above.slash.is_empty() { above.up } else { Some(at) }
            });
            if let Some(node) = self.nodes.get_mut(index) {
                node.up = up;
            }
        }
    }

    /// The entries of this very path.
    pub(super) fn exact(&self, group: Group, path: &str) -> &[Entry] {
        if self.exact.is_empty() {
            return &[];
        }
        let equal = |exact: &Exact| exact.group == group && *exact.path == *path;
        self.exact.find(hash(u64::from(group), path.as_bytes()), equal).map_or(&[], |exact| &exact.entries)
    }

    /// The entries of each prefix of a path that begins with `/`, from the longest prefix.
    pub(super) fn prefixes<'a>(&'a self, group: Group, path: &str) -> impl Iterator<Item = &'a [Entry]> {
        let start = self.groups.get(group as usize).and_then(|patterns| self.descend(patterns.root, path));
        successors(start, |(node, _)| Some((self.nodes.get(node.up? as usize)?, true)))
            .flat_map(|(node, goes_on)| [if goes_on { &*node.slash } else { &[] }, &*node.bare])
    }

    /// The deepest position that a path leads to, and whether the path goes on behind it (with a slash, then).
    fn descend(&self, root: u32, path: &str) -> Option<(&Node, bool)> {
        let mut at = root;
        let mut node = self.nodes.get(root as usize)?;
        let mut rest = path.strip_prefix('/');
        while let Some(text) = rest.filter(|_| node.has_children) {
            let (segment, behind) = match memchr::memchr(b'/', text.as_bytes()) {
                Some(slash) => (text.get(..slash)?, text.get(slash + 1..)),
                None => (text, None),
            };
            let Some(child) = self.child(at, segment) else { break };
            (at, node, rest) = (child, self.nodes.get(child as usize)?, behind);
        }
        Some((node, rest.is_some()))
    }

    /// The patterns of a group, by rank.
    pub(super) fn regexes(&self, group: Group) -> &[(Pattern, Entry)] {
        self.groups.get(group as usize).map_or(&[], |patterns| &patterns.regexes)
    }
}
