//! Whether a client may come in: by its address and by the names in its certificate.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use crate::config::policy::{Access, CertificatePattern};

/// A name that a client's certificate holds. Only of certificates whose chain and key were verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateName {
    /// The common name of the subject.
    Common(Box<str>),
    /// A DNS name among the alternative names.
    Dns(Box<str>),
    /// A URI among the alternative names.
    Uri(Box<str>),
    /// An email address among the alternative names.
    Email(Box<str>),
}

impl CertificateName {
    /// The name as the certificate holds it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let (Self::Common(name) | Self::Dns(name) | Self::Uri(name) | Self::Email(name)) = self;
        name
    }
}

/// What a certificate is called by those who count or record it: its common name, else its first alternative name.
#[must_use]
pub fn certificate_called(names: &[CertificateName]) -> Option<&str> {
    let common = names.iter().find(|name| matches!(name, CertificateName::Common(_)));
    common.or(names.first()).map(CertificateName::as_str)
}

/// Whether `client` may come in. IPv4-mapped IPv6 addresses count as IPv4. `certificate`: the names in the client's verified
/// certificate; none where it showed none.
#[must_use]
pub fn admits(access: &Access, client: IpAddr, certificate: Option<&[CertificateName]>) -> bool {
    admits_address(access, client) && admits_certificate(access, certificate)
}

/// The half of [`admits`] that looks at the address.
#[must_use]
pub fn admits_address(access: &Access, client: IpAddr) -> bool {
    !denies(access, client) && (access.allow.is_empty() || holds(&access.allow, client))
}

/// Whether the deny list names the address.
#[must_use]
pub fn denies(access: &Access, client: IpAddr) -> bool {
    holds(&access.deny, client)
}

/// The half of [`admits`] that looks at the certificate.
#[must_use]
pub fn admits_certificate(access: &Access, certificate: Option<&[CertificateName]>) -> bool {
    if access.certificates.is_empty() {
        return true;
    }
    let Some(names) = certificate else { return false };
    access
        .certificates
        .iter()
        .any(|pattern| matches!(pattern, CertificatePattern::Any) || names.iter().any(|name| is_meant(pattern, name)))
}

/// A star takes in only the kind of name that it is made for: a common name that looks like a URI is none.
fn is_meant(pattern: &CertificatePattern, name: &CertificateName) -> bool {
    match (pattern, name) {
        (CertificatePattern::Any, _) => true,
        (CertificatePattern::Exact(exact), CertificateName::Dns(name)) => exact.eq_ignore_ascii_case(name),
        (CertificatePattern::Exact(exact), name) => **exact == *name.as_str(),
        (CertificatePattern::Below(domain), CertificateName::Dns(name)) => is_below(domain, name),
        (CertificatePattern::Starts(start), CertificateName::Uri(name)) => name.starts_with(&**start),
        (CertificatePattern::Below(_) | CertificatePattern::Starts(_), _) => false,
    }
}

/// Whether `name` has labels before `domain`, which begins with its dot.
fn is_below(domain: &str, name: &str) -> bool {
    let Some(labels) = name.len().checked_sub(domain.len()).filter(|labels| *labels > 0) else { return false };
    name.is_char_boundary(labels) && name.split_at(labels).1.eq_ignore_ascii_case(domain)
}

fn holds(nets: &[IpNet], client: IpAddr) -> bool {
    let client = client.to_canonical();
    nets.iter().any(|net| contains(net, client))
}

/// A network written as IPv4-mapped IPv6 counts as IPv4 too; `::/0` does not hold IPv4 addresses.
fn contains(net: &IpNet, client: IpAddr) -> bool {
    match (net, client) {
        (IpNet::V6(mapped), IpAddr::V4(client)) => {
            let inner = mapped.addr().to_ipv4_mapped().zip(mapped.prefix_len().checked_sub(96));
            inner.and_then(|(addr, prefix)| Ipv4Net::new(addr, prefix).ok()).is_some_and(|net| net.contains(&client))
        }
        (IpNet::V4(_) | IpNet::V6(_), _) => net.contains(&client),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(allow: &[&str], deny: &[&str], client: &str, expected: bool) {
        let nets = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let access = Access { allow: nets(allow), deny: nets(deny), certificates: Vec::new() };
        assert_eq!(admits(&access, client.parse().unwrap(), None), expected, "{allow:?} {deny:?} {client}");
    }

    #[test]
    fn deny_wins_and_allow_shuts_the_others_out() {
        check(&[], &[], "1.2.3.4", true);
        check(&["10.0.0.0/8"], &[], "10.1.1.1", true);
        check(&["10.0.0.0/8"], &[], "11.1.1.1", false);
        check(&["10.0.0.0/8"], &["10.6.6.6/32"], "10.6.6.6", false);
        check(&[], &["10.6.6.6/32"], "10.6.6.7", true);
        check(&["2001:db8::/32"], &[], "2001:db8::1", true);
        check(&["2001:db8::/32"], &[], "10.0.0.1", false);
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        check(&["10.0.0.0/8"], &[], "::ffff:10.1.1.1", true);
        check(&[], &["10.0.0.0/8"], "::ffff:10.1.1.1", false);
        check(&["::ffff:10.0.0.0/104"], &[], "10.1.1.1", true);
        check(&["::ffff:10.0.0.0/104"], &[], "11.1.1.1", false);
        check(&["::/0"], &[], "::ffff:10.1.1.1", false);
        check(&[], &["::/0"], "10.1.1.1", true);
    }

    fn names() -> Vec<CertificateName> {
        vec![
            CertificateName::Dns("A.Example.org".into()),
            CertificateName::Uri("spiffe://example.org/billing".into()),
            CertificateName::Email("a@example.org".into()),
            CertificateName::Common("Billing".into()),
        ]
    }

    fn check_certificate(pattern: CertificatePattern, names: Option<&[CertificateName]>, expected: bool) {
        let access = Access { certificates: vec![pattern.clone()], ..Access::default() };
        let client = "1.2.3.4".parse().unwrap();
        assert_eq!(admits(&access, client, names), expected, "{pattern:?} {names:?}");
    }

    #[test]
    fn certificates_are_known_by_their_names() {
        let names = names();
        for exact in ["Billing", "a.example.org", "spiffe://example.org/billing", "a@example.org"] {
            check_certificate(CertificatePattern::Exact(exact.into()), Some(&names), true);
            check_certificate(CertificatePattern::Exact(exact.into()), None, false);
            check_certificate(CertificatePattern::Exact(exact.into()), Some(&[]), false);
        }
        for exact in ["billing", "example.org", "spiffe://example.org/", "A@example.org", ""] {
            check_certificate(CertificatePattern::Exact(exact.into()), Some(&names), false);
        }
        check_certificate(CertificatePattern::Any, Some(&[]), true);
        check_certificate(CertificatePattern::Any, None, false);
    }

    #[test]
    fn a_star_takes_in_its_own_kind_of_name_only() {
        let below = || CertificatePattern::Below(".example.org".into());
        let starts = || CertificatePattern::Starts("spiffe://example.org/".into());
        check_certificate(below(), Some(&names()), true);
        check_certificate(starts(), Some(&names()), true);
        for name in ["a.b.example.org", "x.EXAMPLE.ORG"] {
            check_certificate(below(), Some(&[CertificateName::Dns(name.into())]), true);
        }
        for name in ["example.org", ".example.org", "aexample.org", "a.example.org.evil.net", "é.org", ""] {
            check_certificate(below(), Some(&[CertificateName::Dns(name.into())]), false);
        }
        check_certificate(below(), Some(&[CertificateName::Common("a.example.org".into())]), false);
        check_certificate(below(), Some(&[CertificateName::Email("a@b.example.org".into())]), false);
        check_certificate(starts(), Some(&[CertificateName::Common("spiffe://example.org/x".into())]), false);
        check_certificate(starts(), Some(&[CertificateName::Uri("spiffe://example.organ/x".into())]), false);
    }

    #[test]
    fn address_and_certificate_must_both_pass() {
        let access = Access {
            allow: vec!["10.0.0.0/8".parse().unwrap()],
            deny: vec!["10.6.6.6/32".parse().unwrap()],
            certificates: vec![CertificatePattern::Exact("Billing".into())],
        };
        let admitted =
            |client: &str, names: Option<&[CertificateName]>| admits(&access, client.parse().unwrap(), names);
        assert!(admitted("10.0.0.1", Some(&names())));
        assert!(!admitted("10.0.0.1", None));
        assert!(!admitted("11.0.0.1", Some(&names())));
        assert!(!admitted("10.6.6.6", Some(&names())));
    }

    #[test]
    fn a_certificate_is_called_by_its_common_name_first() {
        assert_eq!(certificate_called(&names()), Some("Billing"));
        assert_eq!(certificate_called(&names()[..3]), Some("A.Example.org"));
        assert_eq!(certificate_called(&[]), None);
    }
}
