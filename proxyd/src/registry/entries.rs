//! The entries themselves, in the form in which they are written. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared::control::MAX_WEIGHT;

use super::{Change, Expired, Outcome, Overlay, Registered, Registration, SetEntry, Setting, State};

/// All of them, by upstream and address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entries {
    upstreams: BTreeMap<String, Upstream>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Upstream {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    set: BTreeMap<String, Set>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    registered: BTreeMap<String, Entry>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Set {
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<State>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    host: String,
    port: u16,
    weight: u32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    backup: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<u64>,
    /// Not written: a start gives everybody their whole time anyway, and so a renewal costs no writing.
    #[serde(skip)]
    expires_us: Option<i64>,
}

impl From<Set> for Setting {
    fn from(set: Set) -> Self {
        Self { state: set.state, weight: set.weight }
    }
}

impl Entry {
    fn new(wanted: &Registration, now_us: i64) -> Self {
        let ttl_ms = wanted.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        let mut entry = Self {
            host: wanted.host.to_string(),
            port: wanted.port,
            weight: wanted.weight,
            backup: wanted.backup,
            ttl_ms,
            expires_us: None,
        };
        entry.renew(now_us);
        entry
    }

    fn renew(&mut self, now_us: i64) {
        self.expires_us = self.ttl_ms.map(|ttl| now_us.saturating_add_unsigned(ttl.saturating_mul(1000)));
    }

    fn registration(&self, address: &str) -> Registration {
        Registration {
            host: self.host.as_str().into(),
            port: self.port,
            address: address.into(),
            weight: self.weight,
            backup: self.backup,
            ttl: self.ttl_ms.map(Duration::from_millis),
        }
    }

    fn is_over(&self, now_us: i64) -> bool {
        self.expires_us.is_some_and(|expires| expires <= now_us)
    }

    fn is_sound(&self) -> bool {
        !self.host.is_empty() && self.port > 0 && self.weight <= MAX_WEIGHT
    }
}

impl Entries {
    pub(super) fn count(&self) -> usize {
        self.upstreams.values().map(|upstream| upstream.set.len() + upstream.registered.len()).sum()
    }

    /// Whether a daemon can have written this.
    pub(super) fn is_sound(&self) -> bool {
        self.upstreams.values().all(|upstream| {
            upstream.registered.values().all(Entry::is_sound)
                && upstream.set.values().all(|set| set.weight.is_none_or(|weight| weight <= MAX_WEIGHT))
        })
    }

    /// Gives everybody their whole time.
    pub(super) fn renew_all(&mut self, now_us: i64) {
        for entry in self.upstreams.values_mut().flat_map(|upstream| upstream.registered.values_mut()) {
            entry.renew(now_us);
        }
    }

    pub(super) fn overlay(&self, upstream: &str) -> Overlay {
        let Some(upstream) = self.upstreams.get(upstream) else { return Overlay::default() };
        let set = upstream.set.iter().map(|(address, set)| SetEntry {
            address: address.as_str().into(),
            state: set.state,
            weight: set.weight,
        });
        let registered = upstream.registered.iter().map(|(address, entry)| Registered {
            address: address.as_str().into(),
            host: entry.host.as_str().into(),
            port: entry.port,
            weight: entry.weight,
            backup: entry.backup,
            expires_us: entry.expires_us,
        });
        Overlay { set: set.collect(), registered: registered.collect() }
    }

    pub(super) fn set(&mut self, upstream: &str, address: &str, state: Option<State>, weight: Option<u32>) -> Change {
        let settings = &mut self.upstreams.entry(upstream.to_owned()).or_default().set;
        let before = settings.get(address).copied().unwrap_or_default();
        let after = Set {
            // Ready is what an endpoint is of which nothing is said.
            state: state.or(before.state).filter(|state| *state != State::Ready),
            weight: weight.or(before.weight),
        };
        if after == Set::default() {
            settings.remove(address);
        } else {
            settings.insert(address.to_owned(), after);
        }
        self.tidy(upstream);
        Change { before: before.into(), after: after.into() }
    }

    /// Takes note that a registered endpoint is still there; none where it is not, or not just so.
    pub(super) fn renew(&mut self, upstream: &str, wanted: &Registration, now_us: i64) -> Option<Outcome> {
        let entry = self.upstreams.get_mut(upstream)?.registered.get_mut(&*wanted.address)?;
        let before = entry.registration(&wanted.address);
        if before != *wanted {
            return None;
        }
        entry.renew(now_us);
        Some(Outcome { renewed: true, before: Some(before), expires_us: entry.expires_us })
    }

    pub(super) fn register(&mut self, upstream: &str, wanted: &Registration, now_us: i64) -> Outcome {
        if let Some(outcome) = self.renew(upstream, wanted, now_us) {
            return outcome;
        }
        let entry = Entry::new(wanted, now_us);
        let expires_us = entry.expires_us;
        let registered = &mut self.upstreams.entry(upstream.to_owned()).or_default().registered;
        let before = registered.insert(wanted.address.to_string(), entry);
        Outcome { renewed: false, before: before.map(|entry| entry.registration(&wanted.address)), expires_us }
    }

    pub(super) fn deregister(&mut self, upstream: &str, address: &str) -> Option<Registration> {
        let entries = self.upstreams.get_mut(upstream)?;
        let entry = entries.registered.remove(address)?;
        entries.set.remove(address);
        self.tidy(upstream);
        Some(entry.registration(address))
    }

    pub(super) fn is_due(&self, now_us: i64) -> bool {
        self.upstreams.values().any(|upstream| upstream.registered.values().any(|entry| entry.is_over(now_us)))
    }

    pub(super) fn expire(&mut self, now_us: i64) -> Vec<Expired> {
        let mut gone = Vec::new();
        for (name, upstream) in &mut self.upstreams {
            upstream.registered.retain(|address, entry| {
                if entry.is_over(now_us) {
                    gone.push(Expired { upstream: name.clone(), before: entry.registration(address) });
                }
                !entry.is_over(now_us)
            });
        }
        for expired in &gone {
            self.tidy(&expired.upstream);
        }
        gone
    }

    fn tidy(&mut self, upstream: &str) {
        let is_empty = |upstream: &Upstream| upstream.set.is_empty() && upstream.registered.is_empty();
        if self.upstreams.get(upstream).is_some_and(is_empty) {
            self.upstreams.remove(upstream);
        }
    }
}
