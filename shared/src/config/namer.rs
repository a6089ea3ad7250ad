//! Names of routes that were given none.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::tree::{Node, Place, Value};
use super::{HostPattern, Name, PathPattern};

/// The longest made name, in characters, without the number behind it.
const MAX_CHARS: usize = 120;

/// Makes names from matches, unique among themselves and the written ones.
pub(super) struct Namer {
    pub(super) taken: HashMap<Name, Place>,
    written: HashSet<Name>,
    /// How often a made name has come up.
    counts: HashMap<Name, usize>,
}

impl Namer {
    /// Written names are reserved first: a made name must not take one that follows.
    pub(super) fn new(items: &[Node<'_>]) -> Self {
        let written = items
            .iter()
            .filter_map(|item| item.get("name"))
            .filter_map(|name| match &name.value {
                Value::Scalar(scalar) => Some(Name::from(&*scalar.typed)),
                Value::List(_) | Value::Map(_) => None,
            })
            .collect();
        Self { taken: HashMap::new(), written, counts: HashMap::with_capacity(items.len()) }
    }

    /// `GET,POST api.example.com/api/`, with `#2` behind it the second time.
    pub(super) fn generate(&mut self, path: &PathPattern, hosts: &[HostPattern], methods: &[Arc<str>]) -> Name {
        if let (PathPattern::Prefix(path) | PathPattern::Exact(path), [], []) = (path, hosts, methods)
            && path.len() <= MAX_CHARS
        {
            return self.make_unique(Arc::clone(path));
        }
        let methods = if methods.is_empty() { String::new() } else { format!("{} ", methods.join(",")) };
        let host = match hosts {
            [] => String::new(),
            [HostPattern::Exact(host), ..] => host.to_string(),
            [HostPattern::Wildcard(suffix), ..] => format!("*{suffix}"),
        };
        let path = match path {
            PathPattern::Prefix(path) | PathPattern::Exact(path) => path.to_string(),
            PathPattern::Regex(pattern) => format!("~{}", pattern.text),
        };
        let base: String = format!("{methods}{host}{path}").chars().take(MAX_CHARS).collect();
        self.unique(&base)
    }

    pub(super) fn unique(&mut self, base: &str) -> Name {
        self.make_unique(base.into())
    }

    fn make_unique(&mut self, base: Name) -> Name {
        let count = self.counts.entry(Arc::clone(&base)).or_insert(0);
        loop {
            *count += 1;
            let name = if *count == 1 { Arc::clone(&base) } else { format!("{base}#{count}").into() };
            if !self.written.contains(&name) {
                return name;
            }
        }
    }
}
