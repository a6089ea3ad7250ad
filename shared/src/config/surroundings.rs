//! What policies and routes are read with: the upstreams and the providers of identity that they may name, and which of them
//! they did.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::field::Kind;
use super::identity::{Identity, Providers};
use super::problem::Code;
use super::reader::{Reader, closest, shown};
use super::report::Fault;
use super::tree::Node;
use super::upstream::{Targets, Upstream};
use super::url::Url;
use super::{Name, Origin};

/// How the name of an upstream is written.
pub(super) const UPSTREAM_NAME: Kind = Kind::Text { what: "the name of an upstream", sample: "sample" };

/// See the module.
pub(super) struct Surroundings {
    pub(super) upstreams: Vec<Upstream>,
    targets: Targets,
    /// Every name that was given to an upstream, even to a broken one.
    names: HashSet<Name>,
    by_name: HashMap<Name, usize>,
    /// Which upstreams something names.
    pub(super) used: HashSet<Name>,
    pub(super) identity: Identity,
    pub(super) providers: Providers,
    /// Whether there is a section `redis`, even a broken one.
    pub(super) has_redis: bool,
    /// The header of answers that name no type: one for all of them.
    pub(super) plain_text: (Arc<str>, Arc<str>),
}

impl Surroundings {
    /// `names`: those of broken upstreams too.
    pub(super) fn new(
        reader: &mut Reader<'_>,
        (upstreams, names): (Vec<Upstream>, HashSet<Name>),
        (identity, providers): (Identity, Providers),
        has_redis: bool,
    ) -> Option<Self> {
        let by_name =
            upstreams.iter().enumerate().map(|(index, upstream)| (Arc::clone(&upstream.name), index)).collect();
        Some(Self {
            targets: Targets::new(reader)?,
            upstreams,
            names,
            by_name,
            used: HashSet::new(),
            identity,
            providers,
            has_redis,
            plain_text: ("content-type".into(), "text/plain; charset=utf-8".into()),
        })
    }

    /// The index of the upstream that is named here.
    pub(super) fn upstream(&mut self, reader: &mut Reader<'_>, node: &Node<'_>) -> Option<usize> {
        let name = reader.text(node, &UPSTREAM_NAME)?;
        if let Some(index) = self.by_name.get(name) {
            self.used.insert(Name::from(name));
            return Some(*index);
        }
        // A broken upstream is known by name: its own problems are enough.
        if self.names.contains(name) {
            return None;
        }
        let fault = Fault::new(Code::UnknownName, format!("no upstream is called `{}`", shown(node)));
        // In order, so that of several that are as near the same one is told every time.
        let mut names: Vec<&str> = self.names.iter().map(|name| &**name).collect();
        names.sort_unstable();
        let fault = match closest(name, names.iter().copied()) {
            Some(near) => fault.hint(format!("did you mean `{near}`?")),
            None if name.contains("://") => {
                fault.hint("a URL is the `target` of a route; `upstream` names a section of `upstreams`")
            }
            None if self.names.is_empty() => fault.hint("name it under `upstreams`, or write a URL as `target`"),
            None => {
                names.truncate(10);
                fault.hint(format!("upstreams here: {}", names.join(", ")))
            }
        };
        reader.error(node.place, fault);
        None
    }

    /// The index of the upstream that stands for this target.
    pub(super) fn target(&mut self, url: &Url, at: impl FnOnce() -> Origin) -> usize {
        self.targets.index(url, at, &mut self.upstreams)
    }
}
