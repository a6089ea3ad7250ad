//! The sections `tls`: of listeners, which show certificates and may ask clients for theirs, and of upstreams, whose certificates
//! are checked. Paths only: no file is opened here.

use std::path::PathBuf;
use std::sync::Arc;

use super::field::{Field, Kind, Section};
use super::fields::Fields;
use super::problem::Code;
use super::reader::{Read, Reader};
use super::report::Fault;
use super::tree::Node;
use super::{Origin, name};

/// `server.listen[].tls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenTls {
    /// At least one; the client's SNI picks, the first is the default.
    pub certificates: Vec<CertificateFiles>,
    pub min_version: TlsVersion,
    /// Who signs the certificates of clients; none: clients are not asked for one.
    pub client_ca: Option<PathBuf>,
    /// What becomes of clients without a certificate; of a meaning only with `client_ca`.
    pub client_auth: ClientAuth,
}

/// A certificate with its chain, and its private key. Both are PEM files.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
    pub at: Origin,
}

// Where it is written is not what it is: a line added above it must not look like another certificate.
impl PartialEq for CertificateFiles {
    fn eq(&self, other: &Self) -> bool {
        self.cert == other.cert && self.key == other.key
    }
}

impl Eq for CertificateFiles {}

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    Tls12,
    Tls13,
}

/// What becomes of clients without a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// The handshake fails.
    Required,
    /// They come in; policies may tell them apart.
    Optional,
}

/// `upstreams.NAME.tls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// Who signs the endpoints' certificates; none: whom the system trusts.
    pub ca: Option<PathBuf>,
    /// The name that is asked for (SNI) and must stand in the certificate; none: the endpoint's host.
    pub server_name: Option<Arc<str>>,
    /// Whether certificates are checked at all.
    pub verify: bool,
    /// What is shown to the endpoints; none: nothing.
    pub client: Option<CertificateFiles>,
}

impl UpstreamTls {
    /// What holds for `https://` endpoints without a section of their own.
    pub(super) fn new() -> Self {
        Self { ca: None, server_name: None, verify: true, client: None }
    }
}

const PEM: Kind = Kind::Text { what: "the path of a PEM file", sample: "sample.pem" };

static CERTIFICATE: Section = Section {
    name: "server.listen[].tls.certificates[]",
    doc: "A certificate and its key.",
    fields: &[&[
        Field::new("cert", PEM, "A PEM file with the certificate first and its intermediates after it.").required(),
        Field::new("key", PEM, "A PEM file with its private key (PKCS#8, PKCS#1 or SEC1; not encrypted).").required(),
    ]],
};

/// The declaration of a listener's TLS.
pub(super) static LISTEN_TLS: Section = Section {
    name: "server.listen[].tls",
    doc: "TLS of a listener. Files are read at start and at every reload; `proxyctl validate --check-files` reads them without a daemon.",
    fields: &[&[
        Field::new(
            "certificates",
            Kind::List(&Kind::Section(&CERTIFICATE)),
            "At least one. The name that the client asks for (SNI) picks the one that holds it; the first is the default.",
        )
        .required(),
        Field::new("min_version", Kind::Choice(&["1.2", "1.3"]), "The oldest version of TLS that is spoken.")
            .default("1.2"),
        Field::new(
            "client_ca",
            PEM,
            "A PEM file with the authorities that sign clients' certificates: clients are asked for one (mTLS).",
        ),
        Field::new(
            "client_auth",
            Kind::Choice(&["required", "optional"]),
            "With `client_ca`: whether a client without a certificate is turned away in the handshake (`required`) or comes in without one (`optional`). One that shows a bad certificate is always turned away.",
        )
        .default("required"),
    ]],
};

/// The declaration of an upstream's TLS.
pub(super) static UPSTREAM_TLS: Section = Section {
    name: "upstreams.NAME.tls",
    doc: "TLS to `https://` endpoints, which are checked against the authorities that the system trusts where nothing else is said. Files are read at start and at every reload.",
    fields: &[&[
        Field::new("ca", PEM, "A PEM file with the authorities to trust instead of the system's."),
        Field::new(
            "server_name",
            Kind::Text { what: "a host name", sample: "sample.internal" },
            "The name that is asked for (SNI) and that the certificate must hold; the default is each endpoint's host.",
        ),
        Field::new(
            "verify",
            Kind::Boolean,
            "`false`: any certificate is taken, so that whoever stands in between can read and change everything (a warning).",
        )
        .default("true"),
        Field::new("cert", PEM, "A PEM file with the certificate that is shown to the endpoints (mTLS); needs `key`."),
        Field::new("key", PEM, "A PEM file with the private key of `cert`."),
    ]],
};

/// Reads a listener's TLS.
pub(super) fn read_listen<'a>(reader: &mut Reader<'a>, node: &'a Node<'a>) -> Option<ListenTls> {
    let mut fields = reader.section(node, &LISTEN_TLS)?;
    let certificates = fields.get("certificates", |reader, node, field| {
        let certificates = reader.list(node, &field.kind, read_certificate)?;
        if certificates.is_empty() {
            let fault = Fault::invalid("TLS needs at least one certificate")
                .hint("certificates: [{cert: site.pem, key: site.key}]");
            reader.error(node.place, fault);
            return None;
        }
        Some(certificates)
    });
    let min_version = fields.choice("min_version", &[("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)]);
    let client_ca = optional_path(&mut fields, "client_ca");
    let words = [("required", ClientAuth::Required), ("optional", ClientAuth::Optional)];
    let client_auth = fields.choice("client_auth", &words);
    if let (Some(entry), None) = (fields.written("client_auth"), fields.written("client_ca")) {
        let fault = Fault::new(Code::MissingKey, "`client_auth` says nothing without `client_ca`: no client is asked")
            .hint("add `client_ca: clients.pem`, or remove `client_auth`");
        fields.reader().under(&entry.key, |reader| reader.error(entry.key_place, fault));
    }
    Some(ListenTls {
        certificates: certificates?,
        min_version: min_version?,
        client_ca: client_ca?,
        client_auth: client_auth?,
    })
}

fn read_certificate<'a>(reader: &mut Reader<'a>, node: &'a Node<'a>) -> Option<CertificateFiles> {
    let at = reader.texts.origin(node.place);
    let mut fields = reader.section(node, &CERTIFICATE)?;
    let cert = fields.get("cert", |reader, node, field| reader.file_path(node, &field.kind));
    let key = fields.get("key", |reader, node, field| reader.file_path(node, &field.kind));
    Some(CertificateFiles { cert: cert?, key: key?, at })
}

/// Reads an upstream's TLS.
pub(super) fn read_upstream<'a>(reader: &mut Reader<'a>, node: &'a Node<'a>) -> Option<UpstreamTls> {
    let at = reader.texts.origin(node.place);
    let mut fields = reader.section(node, &UPSTREAM_TLS)?;
    let ca = optional_path(&mut fields, "ca");
    let server_name = match fields.written("server_name") {
        None => Some(None),
        Some(_) => {
            fields.get("server_name", |reader, node, field| reader.parse(node, &field.kind, name::host)).map(Some)
        }
    };
    let verify = fields.boolean("verify");
    if let (Some(false), Some(entry)) = (verify, fields.written("verify")) {
        let fault = Fault::new(
            Code::Unverified,
            "this upstream's certificates are not checked: whoever stands in between can read and change everything",
        )
        .hint("name who signs them with `ca: FILE`, or the name they hold with `server_name: NAME`");
        fields.reader().under(&entry.key, |reader| reader.warn(entry.value.place, fault));
    }
    let cert = optional_path(&mut fields, "cert");
    let key = optional_path(&mut fields, "key");
    let (cert, key) = (cert?, key?);
    let client = match (cert, key) {
        (Some(cert), Some(key)) => Some(CertificateFiles { cert, key, at }),
        (None, None) => None,
        (one, _) => {
            let (written, missing) = if one.is_some() { ("cert", "key") } else { ("key", "cert") };
            let fault = Fault::new(Code::MissingKey, format!("`{written}` needs `{missing}` beside it"))
                .hint("write both to show a certificate to the upstream, or none");
            let place = fields.written(written).map_or(fields.place, |entry| entry.key_place);
            fields.reader().under(written, |reader| reader.error(place, fault));
            return None;
        }
    };
    Some(UpstreamTls { ca: ca?, server_name: server_name?, verify: verify?, client })
}

fn optional_path(fields: &mut Fields<'_, '_>, key: &'static str) -> Read<Option<PathBuf>> {
    match fields.written(key) {
        None => Some(None),
        Some(_) => fields.get(key, |reader, node, field| reader.file_path(node, &field.kind)).map(Some),
    }
}
