//! Who belongs to an upstream now: the config's endpoints, each name's addresses, those that were registered at run time; with
//! what operators have set over them.

use std::net::SocketAddr;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use shared::config;
use shared::decide::eligible::Admin;

use super::Endpoint;
use super::endpoint::Whereabouts;
use crate::registry::{Overlay, State};

/// See the module.
#[derive(Debug)]
pub struct Members {
    pub list: Box<[Member]>,
    /// Some name was not asked for yet: its addresses are to come.
    pub is_resolving: bool,
    /// They are the config's alone: nothing was set or registered, and no name was looked up.
    pub is_plain: bool,
}

/// One endpoint, as it belongs to its upstream.
#[derive(Clone, Debug)]
pub struct Member {
    pub endpoint: Arc<Endpoint>,
    pub weight: u32,
    pub backup: bool,
    pub admin: Admin,
    pub origin: Origin,
    /// False for a name without addresses.
    pub resolved: bool,
}

/// Where an endpoint comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    File,
    /// An address of this name.
    Dns(Arc<str>),
    /// Registered at run time; gone at that time (microseconds since the daemon's start) unless it is renewed.
    Registered {
        expires_us: Option<i64>,
    },
}

impl Origin {
    /// Whether it is the same, whenever it goes.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Registered { .. }, Self::Registered { .. }) => true,
            (one, two) => one == two,
        }
    }
}

/// An address that a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    pub at: SocketAddr,
    /// Relative to its siblings, from an SRV record; none: the endpoint's.
    pub weight: Option<u32>,
    /// Not of the best priority.
    pub backup: bool,
}

/// What is known of the names of an upstream, by the address that is written in the config.
pub type Names = HashMap<Arc<str>, Known>;

/// What is known of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Those found last; a lookup that fails later leaves them.
    pub addresses: Vec<Address>,
    /// Why the newest lookup failed.
    pub problem: Option<String>,
}

/// An endpoint to be.
struct Wanted {
    at: Whereabouts,
    weight: u32,
    backup: bool,
    origin: Origin,
    resolved: bool,
}

/// Whose service it is: `users.internal` of `_http._tcp.users.internal`. That is who its endpoints must prove to be in TLS; the
/// targets of the records may be anyone's (RFC 6125 section 6.2.1).
fn service_domain(name: &str) -> Arc<str> {
    let mut domain = name;
    while let Some((label, rest)) = domain.split_once('.')
        && label.starts_with('_')
    {
        domain = rest;
    }
    domain.into()
}

impl Members {
    /// Gathers them. `endpoint` gives what is known by an address already, or makes one.
    pub fn gather(
        config: &config::Upstream,
        overlay: &Overlay,
        names: &Names,
        mut endpoint: impl FnMut(Whereabouts) -> Arc<Endpoint>,
    ) -> Self {
        let mut is_resolving = false;
        let mut wanted = Vec::new();
        for written in &config.endpoints {
            let at = Whereabouts::written(&written.host, written.port, &written.address);
            let Some(_) = config.resolve.as_ref().filter(|_| at.literal.is_none()) else {
                let (weight, backup) = (written.weight, written.backup);
                wanted.push(Wanted { at, weight, backup, origin: Origin::File, resolved: true });
                continue;
            };
            let known = names.get(&written.address);
            is_resolving |= known.is_none();
            let addresses = known.map_or(&[][..], |known| &known.addresses);
            if addresses.is_empty() {
                let (weight, backup) = (written.weight, written.backup);
                wanted.push(Wanted { at, weight, backup, origin: Origin::File, resolved: false });
            }
            let host = if written.srv { service_domain(&written.host) } else { Arc::clone(&written.host) };
            wanted.extend(addresses.iter().map(|address| Wanted {
                at: Whereabouts::resolved(&host, address.at),
                weight: address.weight.unwrap_or(1).saturating_mul(written.weight),
                backup: written.backup || address.backup,
                origin: Origin::Dns(Arc::clone(&written.address)),
                resolved: true,
            }));
        }
        wanted.extend(overlay.registered.iter().map(|registered| Wanted {
            at: Whereabouts::written(&registered.host, registered.port, &registered.address),
            weight: registered.weight,
            backup: registered.backup,
            origin: Origin::Registered { expires_us: registered.expires_us },
            resolved: true,
        }));
        let mut seen = HashSet::new();
        wanted.retain(|wanted| seen.insert(Arc::clone(&wanted.at.address)));
        let list = wanted.into_iter().map(|wanted| {
            let name = match &wanted.origin {
                Origin::Dns(name) => Some(Arc::clone(name)),
                Origin::File | Origin::Registered { .. } => None,
            };
            let set = |address: &str| overlay.set.iter().find(|entry| &*entry.address == address);
            let set = set(&wanted.at.address).or_else(|| name.and_then(|name| set(&name)));
            let admin = match set.and_then(|entry| entry.state) {
                None | Some(State::Ready) => Admin::Ready,
                Some(State::Drain) => Admin::Drain,
                Some(State::Down) => Admin::Down,
            };
            Member {
                weight: set.and_then(|entry| entry.weight).unwrap_or(wanted.weight),
                endpoint: endpoint(wanted.at),
                backup: wanted.backup,
                admin,
                origin: wanted.origin,
                resolved: wanted.resolved,
            }
        });
        Self { list: list.collect(), is_resolving, is_plain: overlay.is_empty() && config.resolve.is_none() }
    }

    /// The one at this address.
    pub fn find(&self, address: &str) -> Option<&Member> {
        self.list.iter().find(|member| *member.endpoint.address == *address)
    }

    /// Whether they are the same, set in the same way; whenever those that were registered go.
    pub fn is_same(&self, other: &Self) -> bool {
        let same = |(one, two): (&Member, &Member)| {
            Arc::ptr_eq(&one.endpoint, &two.endpoint)
                && (one.weight, one.backup, one.admin, one.resolved)
                    == (two.weight, two.backup, two.admin, two.resolved)
                && one.origin.is_same(&two.origin)
        };
        self.is_resolving == other.is_resolving
            && self.list.len() == other.list.len()
            && self.list.iter().zip(&other.list).all(same)
    }
}
