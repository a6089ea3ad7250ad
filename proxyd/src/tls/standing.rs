//! Whether a client's certificate still holds. It was verified when its connection began; time and other authorities may have
//! ended that since. It is verified again only when one of them may have.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::{CertificateError, Error};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Who signs for a listener's clients.
pub(super) type Authorities = Arc<dyn ClientCertVerifier>;

/// Why a certificate that was verified holds no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallen {
    Expired,
    /// No authority that is taken now signed it.
    Untrusted,
}

/// What a connection's certificate was found to be.
#[derive(Debug)]
pub(super) struct Standing {
    chain: Box<[CertificateDer<'static>]>,
    /// By whom it was verified last; none: no client is verified any more.
    by: RefCell<Option<Authorities>>,
    /// Until when that holds: seconds since the epoch.
    until_s: Cell<i64>,
    fallen: Cell<Option<Fallen>>,
}

impl Standing {
    /// Of a chain that these authorities have just verified.
    pub(super) fn of(chain: &[CertificateDer<'_>], by: Option<Authorities>, now_s: i64) -> Self {
        let chain: Box<[_]> = chain.iter().map(|one| one.clone().into_owned()).collect();
        let until_s = Cell::new(next_end(&chain, now_s));
        Self { chain, by: RefCell::new(by), until_s, fallen: Cell::new(None) }
    }

    /// Why it does not hold, with these authorities at this time, if so.
    pub(super) fn fallen(&self, by: Option<&Authorities>, now_s: i64) -> Option<Fallen> {
        if now_s > self.until_s.get() || !is_same(self.by.borrow().as_ref(), by) {
            self.fallen.set(verify(&self.chain, by, now_s).err());
            self.until_s.set(next_end(&self.chain, now_s));
            *self.by.borrow_mut() = by.cloned();
        }
        self.fallen.get()
    }

    /// Whether it was found not to hold.
    pub(super) fn has_fallen(&self) -> bool {
        self.fallen.get().is_some()
    }
}

fn is_same(one: Option<&Authorities>, other: Option<&Authorities>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn verify(chain: &[CertificateDer<'_>], by: Option<&Authorities>, now_s: i64) -> Result<(), Fallen> {
    let (Some(by), Some((own, others))) = (by, chain.split_first()) else { return Err(Fallen::Untrusted) };
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now_s.try_into().unwrap_or_default()));
    let verified = by.verify_client_cert(own, others, now);
    let is_over = |error: &Error| {
        let Error::InvalidCertificate(why) = error else { return false };
        matches!(why, CertificateError::Expired | CertificateError::ExpiredContext { .. })
    };
    verified.map(drop).map_err(|error| if is_over(&error) { Fallen::Expired } else { Fallen::Untrusted })
}

/// When time may next change what is found: a chain may hold certificates that are over, and that nobody needs.
fn next_end(chain: &[CertificateDer<'_>], now_s: i64) -> i64 {
    let end = |certificate: &CertificateDer<'_>| {
        Some(X509Certificate::from_der(certificate).ok()?.1.validity().not_after.timestamp())
    };
    chain.iter().filter_map(end).filter(|end_s| *end_s >= now_s).min().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use rustls::RootCertStore;
    use rustls::server::WebPkiClientVerifier;

    use super::*;
    use crate::tls::provider;

    struct Signer(Issuer<'static, KeyPair>, CertificateDer<'static>);

    fn signer(name: &str) -> Signer {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let own = params.self_signed(&key).unwrap().der().clone();
        Signer(Issuer::new(params, key), own)
    }

    fn authorities(signers: &[&Signer]) -> Authorities {
        let mut roots = RootCertStore::empty();
        for signer in signers {
            roots.add(signer.1.clone()).unwrap();
        }
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider())).build().unwrap()
    }

    #[test]
    fn a_certificate_holds_until_time_or_other_authorities_end_it() {
        const END: i64 = 1_927_843_200;
        let (ours, theirs) = (signer("ours"), signer("theirs"));
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.not_after = rcgen::date_time_ymd(2031, 2, 3);
        let own = params.signed_by(&KeyPair::generate().unwrap(), &ours.0).unwrap();
        let (first, both, others) = (authorities(&[&ours]), authorities(&[&ours, &theirs]), authorities(&[&theirs]));
        let standing = Standing::of(&[own.der().clone()], Some(Arc::clone(&first)), END - 100);
        let check = |by: Option<&Authorities>, now_s, expected| {
            assert_eq!(standing.fallen(by, now_s), expected, "{now_s}");
        };
        check(Some(&first), END - 50, None);
        check(Some(&both), END - 50, None);
        check(Some(&others), END - 50, Some(Fallen::Untrusted));
        check(Some(&others), END - 50, Some(Fallen::Untrusted));
        check(None, END - 50, Some(Fallen::Untrusted));
        check(Some(&both), END, None);
        check(Some(&both), END + 1, Some(Fallen::Expired));
        check(Some(&first), END + 1, Some(Fallen::Expired));
    }
}
