//! What a certificate says: for whom it is, and until when.

use std::fmt::Write as _;

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use shared::decide::access::{CertificateName, certificate_called};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::standing::{Authorities, Standing};

/// Of a subject or a name, no more is shown or compared.
const LONGEST: usize = 1024;
/// Alternative names that are looked at.
const MOST_NAMES: usize = 100;

/// A certificate of ours, as status and metrics show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The file it came from.
    pub path: String,
    pub subject: String,
    /// The DNS names it is for.
    pub names: Vec<String>,
    /// Seconds since the epoch.
    pub not_before: i64,
    pub not_after: i64,
}

impl Facts {
    /// What a certificate says; none where it cannot be read.
    pub(super) fn of(path: String, certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let mut names = Vec::new();
        each_name(&parsed, |name| {
            if let GeneralName::DNSName(name) = name {
                names.push(bounded(name));
            }
        });
        if names.is_empty() {
            names.extend(common_name(&parsed));
        }
        Some(Self {
            path,
            subject: bounded(&parsed.subject().to_string()),
            names,
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
        })
    }
}

/// A client's certificate, verified: what policies compare, logs name and upstreams are told.
#[derive(Debug)]
pub struct PeerCertificate {
    /// Subject as text (RFC 4514).
    pub subject: String,
    /// Common name and alternative names.
    pub names: Vec<CertificateName>,
    /// The value of `X-Forwarded-Client-Cert`.
    pub forwarded: String,
    pub(super) standing: Standing,
}

impl PeerCertificate {
    /// What the certificate of a chain that was just verified says; none where it cannot be read.
    pub fn of(chain: &[CertificateDer<'_>], by: Option<&Authorities>, now_s: i64) -> Option<Self> {
        let certificate = chain.first()?;
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let subject = bounded(&parsed.subject().to_string());
        let common = common_name(&parsed).map(|name| CertificateName::Common(name.into()));
        let mut names: Vec<CertificateName> = common.into_iter().collect();
        let mut forwarded = String::from("Hash=");
        for byte in Sha256::digest(certificate) {
            let _ = write!(forwarded, "{byte:02x}");
        }
        forwarded.push_str(";Subject=");
        quote(&subject, &mut forwarded);
        each_name(&parsed, |name| {
            let (kind, name) = if let GeneralName::DNSName(name) = name {
                ("DNS", CertificateName::Dns(bounded(name).into()))
            } else if let GeneralName::URI(name) = name {
                ("URI", CertificateName::Uri(bounded(name).into()))
            } else if let GeneralName::RFC822Name(name) = name {
                ("Email", CertificateName::Email(bounded(name).into()))
            } else {
                return;
            };
            let _ = write!(forwarded, ";{kind}=");
            quote(name.as_str(), &mut forwarded);
            names.push(name);
        });
        let standing = Standing::of(chain, by.cloned(), now_s);
        Some(Self { subject, names, forwarded, standing })
    }

    /// Whether it was found to hold no longer.
    pub fn has_fallen(&self) -> bool {
        self.standing.has_fallen()
    }

    /// What those who count or record it call it.
    pub fn called(&self) -> &str {
        certificate_called(&self.names).unwrap_or(&self.subject)
    }
}

fn common_name(certificate: &X509Certificate<'_>) -> Option<String> {
    certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok()).map(bounded)
}

fn each_name(certificate: &X509Certificate<'_>, mut each: impl FnMut(&GeneralName<'_>)) {
    if let Ok(Some(extension)) = certificate.subject_alternative_name() {
        for name in extension.value.general_names.iter().take(MOST_NAMES) {
            each(name);
        }
    }
}

/// No longer than is of use, on one line: control characters are no part of a name.
fn bounded(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(LONGEST).collect()
}

/// In quotes; what would end them is escaped.
fn quote(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    #[test]
    fn a_certificate_says_for_whom_and_until_when() {
        let mut params = CertificateParams::new(vec!["a.example".to_owned(), "*.b.example".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "say \"who\"");
        params.subject_alt_names.push(SanType::URI("spiffe://c/d".try_into().unwrap()));
        params.subject_alt_names.push(SanType::Rfc822Name("e@f.example".try_into().unwrap()));
        params.not_after = rcgen::date_time_ymd(2031, 2, 3);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let facts = Facts::of("x.pem".to_owned(), certificate.der()).unwrap();
        assert_eq!(facts.names, ["a.example", "*.b.example"]);
        assert_eq!(facts.not_after, 1_927_843_200);
        let peer = PeerCertificate::of(&[certificate.der().clone()], None, 0).unwrap();
        let names: Vec<&str> = peer.names.iter().map(CertificateName::as_str).collect();
        assert_eq!(names, ["say \"who\"", "a.example", "*.b.example", "spiffe://c/d", "e@f.example"]);
        let (hash, rest) = peer.forwarded.split_once(";Subject=").unwrap();
        assert_eq!(hash.len(), "Hash=".len() + 64);
        assert!(rest.contains("\\\"who\\\""), "{rest}");
        assert!(rest.ends_with(";URI=\"spiffe://c/d\";Email=\"e@f.example\""), "{rest}");
    }

    #[test]
    fn what_is_no_certificate_says_nothing() {
        assert!(PeerCertificate::of(&[CertificateDer::from(vec![0x30, 3, 1, 2])], None, 0).is_none());
        assert!(Facts::of(String::new(), &CertificateDer::from(Vec::new())).is_none());
    }
}
