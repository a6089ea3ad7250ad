//! Which certificate answers for which name.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// A listener's certificates, by the names that they are for; the first is the default.
#[derive(Debug)]
pub(super) struct ByName {
    all: Vec<Arc<CertifiedKey>>,
    exact: HashMap<Box<str>, Vec<usize>>,
    /// By what stands behind `*.`; it stands for one label (RFC 6125 section 6.4.3).
    wildcards: HashMap<Box<str>, Vec<usize>>,
}

impl ByName {
    /// Pairs, each with its names.
    pub(super) fn new(pairs: Vec<(Arc<CertifiedKey>, Vec<String>)>) -> Self {
        let mut by_name = Self { all: Vec::new(), exact: HashMap::new(), wildcards: HashMap::new() };
        for (index, (pair, names)) in pairs.into_iter().enumerate() {
            by_name.all.push(pair);
            for name in names {
                let name = name.to_ascii_lowercase();
                let (map, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut by_name.wildcards, parent),
                    None => (&mut by_name.exact, &*name),
                };
                map.entry(name.into()).or_default().push(index);
            }
        }
        by_name
    }

    /// The certificates for a name, in the config's order: those that name it, else a wildcard's, else the default.
    fn candidates(&self, name: Option<&str>) -> &[usize] {
        const DEFAULT: &[usize] = &[0];
        let Some(name) = name else { return DEFAULT };
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if let Some(exact) = self.exact.get(&*name) {
            return exact;
        }
        let parent = name.split_once('.').map(|(_, parent)| parent);
        parent.and_then(|parent| self.wildcards.get(parent)).map_or(DEFAULT, Vec::as_slice)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let candidates = self.candidates(hello.server_name());
        // One name may have keys of several kinds: the first that the client can verify.
        let fits = |pair: &&Arc<CertifiedKey>| pair.key.choose_scheme(hello.signature_schemes()).is_some();
        let mut pairs = candidates.iter().filter_map(|index| self.all.get(*index));
        pairs.clone().find(fits).or_else(|| pairs.next()).map(Arc::clone)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey as Generated, generate_simple_self_signed};
    use rustls::pki_types::PrivateKeyDer;

    use super::super::provider;
    use super::*;

    fn pair(names: &[&str]) -> (Arc<CertifiedKey>, Vec<String>) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let Generated { cert, signing_key } = generate_simple_self_signed(names.clone()).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        (Arc::new(CertifiedKey::from_der(vec![cert.der().clone()], key, provider()).unwrap()), names)
    }

    #[test]
    fn a_name_finds_its_certificate() {
        let by_name = ByName::new(vec![
            pair(&["default.example"]),
            pair(&["*.example.org"]),
            pair(&["api.example.org", "Other.example"]),
            pair(&["api.example.org"]),
        ]);
        let check = |name: Option<&str>, expected: &[usize]| assert_eq!(by_name.candidates(name), expected, "{name:?}");
        check(None, &[0]);
        check(Some("unknown.example"), &[0]);
        check(Some("a.example.org"), &[1]);
        check(Some("A.Example.ORG."), &[1]);
        check(Some("a.b.example.org"), &[0]);
        check(Some("example.org"), &[0]);
        check(Some("api.example.org"), &[2, 3]);
        check(Some("other.example"), &[2]);
    }
}
