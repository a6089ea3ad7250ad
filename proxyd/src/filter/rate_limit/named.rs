//! Which keys of a rule an operator means: by a name, an address, or what the list of the busiest calls them.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use shared::config::policy::Key;

use super::who::{Kind, Who, is_key_called};
use super::{KeyHash, Limiter};

/// A key that may be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub key: KeyHash,
    /// Whose user it is, where that is known.
    pub provider: Option<Arc<str>>,
}

impl Limiter {
    /// Every key that `text` may mean under this rule: an address, or the network that it counts as; the name of a certificate, the
    /// value of one of the headers it counts by, the name of a user of one of these providers, an API key's id; the same as
    /// [`Limiter::top`] says it; and of the keys that were seen lately, those with this prefix, name or label. Looks at very many keys.
    pub fn keys_of(&self, text: &str, providers: &[Arc<str>]) -> Vec<Named> {
        let mut named: Vec<Named> = Vec::new();
        let mut add = |key, provider: Option<&Arc<str>>| {
            if !named.iter().any(|named| named.key == key) {
                named.push(Named { key, provider: provider.cloned() });
            }
        };
        if let Some(address) = self.address(text) {
            add(self.key(&Who::Address(address, self.rule.ipv6_prefix)), None);
        }
        for by in &self.rule.by {
            match by {
                Key::Ip => {}
                Key::User => {
                    for user in [Some(text), text.strip_prefix("user ")].into_iter().flatten() {
                        for provider in providers {
                            add(self.key(&Who::OfProvider(provider, user)), Some(provider));
                        }
                    }
                }
                Key::ApiKey => add(self.key(&Who::Named(Kind::ApiKey, text)), None),
                Key::Certificate => {
                    for called in [Some(text), text.strip_prefix("certificate ")].into_iter().flatten() {
                        add(self.key(&Who::Certificate(called)), None);
                    }
                }
                Key::Header(name) => {
                    let labelled =
                        text.strip_prefix("header ").and_then(|rest| rest.strip_prefix(&**name)?.strip_prefix(' '));
                    for value in [Some(text), labelled].into_iter().flatten() {
                        add(self.key(&Who::Header { name, value: value.as_bytes(), secret: true }), None);
                    }
                }
            }
        }
        let by_key = self.rule.by.iter().any(|by| matches!(by, Key::User | Key::ApiKey));
        for key in self.labelled(|label| label == text || (by_key && is_key_called(label, text))) {
            add(key, None);
        }
        named
    }

    /// An address of those that are counted together.
    fn address(&self, text: &str) -> Option<IpAddr> {
        if let Ok(address) = text.parse() {
            return Some(address);
        }
        let network: IpNet = text.parse().ok()?;
        let is_counted = network.prefix_len() == self.rule.ipv6_prefix && network == network.trunc();
        (is_counted && network.addr().is_ipv6()).then(|| network.addr())
    }
}
