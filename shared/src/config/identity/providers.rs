//! The names by which `auth` finds who recognises, and which of them something named.

use std::collections::HashSet;

use super::Provider;
use crate::config::Name;
use crate::config::certificates;
use crate::config::field::Kind;
use crate::config::problem::Code;
use crate::config::reader::{Reader, closest, shown};
use crate::config::report::Fault;
use crate::config::tree::Node;

/// How such a name is written.
pub(in crate::config) const PROVIDER: Kind =
    Kind::Text { what: "a name from `identity`, such as `jwt.main`", sample: "certificate" };

/// See the module.
#[derive(Default)]
pub(in crate::config) struct Providers {
    /// In the order of the section; none: a broken one, whose own problems are enough.
    known: Vec<(String, Option<Provider>)>,
    used: HashSet<String>,
    /// Whether a listener asks for certificates; none: the listeners are broken.
    pub(in crate::config) asks_certificates: Option<bool>,
}

/// What a config may call those that there are: for somebody who names one that is not.
const KINDS: [&str; 7] = ["jwt", "api_key", "basic", "login", "introspection", "forward", "accounts"];

impl Providers {
    pub(super) fn add(&mut self, name: String, provider: Option<Provider>) {
        self.known.push((name, provider));
    }

    /// Whether anything named it.
    pub(in crate::config) fn is_used(&self, name: &str) -> bool {
        self.used.contains(name)
    }

    /// Every name that `auth` may hold.
    pub(in crate::config) fn names(&self) -> Vec<&str> {
        let certificate = self.asks_certificates.unwrap_or_default().then_some("certificate");
        self.known.iter().map(|(name, _)| &**name).chain(certificate).collect()
    }

    /// Who is named here.
    pub(in crate::config) fn resolve(&mut self, reader: &mut Reader<'_>, node: &Node<'_>) -> Option<Provider> {
        let name = reader.text(node, &PROVIDER)?;
        if name == "certificate" {
            if self.asks_certificates == Some(false) {
                let message = "no listener asks for client certificates: nobody could come in here";
                reader.error(node.place, Fault::new(Code::MissingKey, message).hint(certificates::HINT));
                return None;
            }
            return Some(Provider::Certificate);
        }
        if let Some((known, provider)) = self.known.iter().find(|(known, _)| known == name) {
            self.used.insert(known.clone());
            return provider.clone();
        }
        self.unknown(reader, node, name);
        None
    }

    /// A name that is written here, of somebody who recognises; where that is does not make it used.
    pub(in crate::config) fn mentioned(&self, reader: &mut Reader<'_>, node: &Node<'_>) -> Option<Name> {
        let name = reader.text(node, &PROVIDER)?;
        let is_known = self.known.iter().any(|(known, _)| known == name);
        if is_known || (name == "certificate" && self.asks_certificates != Some(false)) {
            return Some(name.into());
        }
        self.unknown(reader, node, name);
        None
    }

    fn unknown(&self, reader: &mut Reader<'_>, node: &Node<'_>, name: &str) {
        let fault = Fault::new(Code::UnknownName, format!("nothing in `identity` is called `{}`", shown(node)));
        reader.error(node.place, fault.hint(self.hint(name)));
    }

    fn hint(&self, name: &str) -> String {
        let names = self.names();
        // `main` for `jwt.main`, or `jwt` where there is one.
        let part =
            names.iter().find(|known| known.split_once('.').is_some_and(|(kind, of)| kind == name || of == name));
        if let Some(near) = part.copied().or_else(|| closest(name, names.iter().copied())) {
            return format!("did you mean `{near}`?");
        }
        if !names.is_empty() {
            return format!("`identity` has: {}", names.iter().take(20).copied().collect::<Vec<_>>().join(", "));
        }
        let kind = name.split('.').next().unwrap_or_default();
        match KINDS.into_iter().find(|known| *known == kind) {
            Some("api_key") => "write `identity: {api_key: {header: x-api-key}}`".to_owned(),
            Some("accounts") => "write `identity: {accounts: on}`".to_owned(),
            Some(kind) => format!("write it under `identity: {{{kind}: …}}`"),
            None => "name who can be recognised under `identity`".to_owned(),
        }
    }
}
