//! The policy `access`: which addresses and client certificates may come in.

use std::sync::Arc;

use ipnet::IpNet;

use crate::config::field::{Field, Kind, Section};
use crate::config::name;
use crate::config::reader::Reader;
use crate::config::report::Fault;
use crate::config::server::{NETWORK, network};
use crate::config::tree::Node;

/// `deny` wins; with an allow list, everyone else is refused (403). Addresses and certificates must both pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    pub allow: Vec<IpNet>,
    pub deny: Vec<IpNet>,
    /// Any of these; empty: with any certificate or none.
    pub certificates: Vec<CertificatePattern>,
}

/// Which client certificates are meant, by the names that they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificatePattern {
    /// `*`: every certificate that its authority signed.
    Any,
    /// A common name, DNS name, URI or email address.
    Exact(Arc<str>),
    /// DNS names: `*.example.org` is kept as `.example.org`, lower case: one or more labels before it.
    Below(Arc<str>),
    /// URIs: `spiffe://example.org/*` is kept without its star.
    Starts(Arc<str>),
}

const PATTERN: Kind =
    Kind::Text { what: "a name in a client certificate such as `billing` or `*.example.org`", sample: "sample" };

/// The declaration of the policy.
pub(super) static ACCESS: Section = Section {
    name: "access",
    doc: "Who may come in. `deny` wins; with an allow list, everyone else is refused (403). With `certificates`, the address and the client's certificate must both pass.",
    fields: &[&[
        Field::new("allow", Kind::OneOrMany(&NETWORK), "Addresses and networks that may come in."),
        Field::new("deny", Kind::OneOrMany(&NETWORK), "Addresses and networks that may not."),
        Field::new(
            "certificates",
            Kind::OneOrMany(&PATTERN),
            "Client certificates that may come in, by a name that they hold: the common name of the subject, or an alternative name (DNS, URI, email). Exact; `*.example.org` stands for all DNS names below it, `spiffe://example.org/*` for all URIs that begin so, `*` for every certificate. Needs a listener with `tls.client_ca`.",
        ),
    ]],
};

/// Reads the policy.
pub(super) fn read<'a>(reader: &mut Reader<'a>, node: &'a Node<'a>) -> Option<Access> {
    let mut fields = reader.section(node, &ACCESS)?;
    let written_allow = fields.written("allow").is_some();
    let written_certificates = fields.written("certificates").is_some();
    let allow = fields.list_of("allow", |reader, node, _| network(reader, node));
    let deny = fields.list_of("deny", |reader, node, _| network(reader, node));
    let certificates = fields.list_of("certificates", |reader, node, _| reader.parse(node, &PATTERN, pattern));
    let (allow, deny, certificates) = (allow?, deny?, certificates?);
    let names_nobody = (written_allow && allow.is_empty())
        || (written_certificates && certificates.is_empty())
        || (allow.is_empty() && deny.is_empty() && certificates.is_empty());
    if names_nobody {
        let fault = Fault::invalid("this access list names nobody").hint(
            "name addresses under `allow` or `deny`, or certificates under `certificates`, or write `access: off`",
        );
        reader.error(node.place, fault);
        return None;
    }
    Some(Access { allow, deny, certificates })
}

fn pattern(text: &str) -> Result<CertificatePattern, Fault> {
    if text == "*" {
        return Ok(CertificatePattern::Any);
    }
    if text.is_empty() || text.len() > 1024 || text.chars().any(char::is_control) || text.trim() != text {
        return Err(Fault::invalid("this is not a name that a certificate holds")
            .hint("1 to 1024 bytes, no control characters and no spaces around it"));
    }
    if let Some(domain) = text.strip_prefix("*.") {
        let domain = name::host(domain)?;
        return Ok(CertificatePattern::Below(format!(".{domain}").into()));
    }
    if let Some(start) = text.strip_suffix('*')
        && !start.contains('*')
        && let Some((_, rest)) = start.split_once(':')
    {
        // An open authority would take in `spiffe://example.org.evil.example/`.
        if rest.strip_prefix("//").is_some_and(|rest| !rest.contains('/')) {
            return Err(Fault::invalid("the authority of this URI is not closed: others could own a longer one")
                .hint("put a `/` before the `*`, as in `spiffe://example.org/*`"));
        }
        return Ok(CertificatePattern::Starts(start.into()));
    }
    if text.contains('*') {
        return Err(Fault::invalid("a `*` stands for the labels before a DNS name, or for the end of a URI")
            .hint("write it like `*.example.org`, `spiffe://example.org/*`, or `*` for every certificate"));
    }
    Ok(CertificatePattern::Exact(text.into()))
}
