//! How an upstream is spoken to in TLS: whom it must prove to be, and who we are.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use shared::config::UpstreamTls;

use super::files::{self, Refreshed, Stamp, TlsError, Watched};
use super::provider;

/// Sessions kept for resumption with each endpoint's name.
const SESSIONS: usize = 64;

/// Which protocols are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    Http1,
    Http2,
    Either,
}

/// See the module.
#[derive(Debug)]
pub struct ClientTls {
    settings: Arc<UpstreamTls>,
    /// Whom every endpoint must prove to be; none: its own host.
    server_name: Option<ServerName<'static>>,
    current: Watched<Current>,
}

#[derive(Debug)]
struct Current {
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
    either: Arc<ClientConfig>,
    stamps: Vec<Stamp>,
}

impl ClientTls {
    /// Reads the files.
    pub(super) fn load(settings: &Arc<UpstreamTls>) -> Result<Self, Vec<TlsError>> {
        let current = Current::load(settings)?;
        let server_name = settings.server_name.as_ref().and_then(|name| ServerName::try_from(name.to_string()).ok());
        Ok(Self { settings: Arc::clone(settings), server_name, current: Watched::new(current) })
    }

    /// What it was made from.
    pub fn settings(&self) -> &Arc<UpstreamTls> {
        &self.settings
    }

    /// What a handshake begins with now.
    pub fn config(&self, alpn: Alpn) -> Arc<ClientConfig> {
        let current = self.current.get();
        Arc::clone(match alpn {
            Alpn::Http1 => &current.http1,
            Alpn::Http2 => &current.http2,
            Alpn::Either => &current.either,
        })
    }

    /// Whom the endpoint at this host must prove to be; none where that is no name.
    pub fn server_name(&self, host: &str) -> Option<ServerName<'static>> {
        self.server_name.clone().or_else(|| ServerName::try_from(host.to_owned()).ok())
    }

    /// Why newer files were not taken up, if so.
    pub fn problem(&self) -> Option<String> {
        self.current.problem()
    }

    /// Whether it was made from the same settings.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.settings == other.settings
    }

    /// Takes up what another one has read.
    pub(super) fn adopt(&self, fresh: &Self) {
        self.current.adopt(&fresh.current);
    }

    /// Takes up files that have changed. Blocks.
    pub(super) fn refresh(&self) -> Refreshed {
        let stamps = self.current.get().stamps.clone();
        self.current.refresh(&stamps, || Current::load(&self.settings))
    }
}

impl Current {
    fn load(settings: &UpstreamTls) -> Result<Self, Vec<TlsError>> {
        let mut paths: Vec<_> = settings.ca.iter().collect();
        paths.extend(settings.client.iter().flat_map(|files| [&files.cert, &files.key]));
        let stamps = paths.into_iter().map(|path| Stamp::of(path)).collect();
        let mut errors = Vec::new();
        let roots = match (&settings.ca, settings.verify) {
            (Some(path), _) => files::roots(path).map_err(|error| errors.push(error.below(["ca"]))).ok(),
            (None, true) => Some(system_roots()),
            (None, false) => None,
        };
        let pair =
            settings.client.as_ref().map(files::pair).transpose().map_err(|error| errors.push(error)).ok().flatten();
        if !errors.is_empty() {
            return Err(errors);
        }
        let path = settings.ca.clone().unwrap_or_default();
        let verifier: Arc<dyn ServerCertVerifier> = match roots {
            Some(roots) if settings.verify => {
                WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider()))
                    .build()
                    .map_err(|error| vec![TlsError::new(&path, format!("cannot be used: {error}"))])?
            }
            _ => Arc::new(Unverified(Arc::clone(provider()))),
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| vec![TlsError::new(&path, format!("cannot be used: {error}"))])?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match pair {
            Some(pair) => builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(pair))),
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        let offering = |names: &[&[u8]]| {
            let mut config = config.clone();
            config.alpn_protocols = names.iter().map(|name| name.to_vec()).collect();
            Arc::new(config)
        };
        Ok(Self {
            http1: offering(&[b"http/1.1"]),
            http2: offering(&[b"h2"]),
            either: offering(&[b"h2", b"http/1.1"]),
            stamps,
        })
    }
}

/// How proxyd's own questions are asked in TLS: of whom this machine trusts. What it trusts is read once for the whole process.
pub fn outgoing() -> Result<Arc<ClientConfig>, rustls::Error> {
    static OUTGOING: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = OUTGOING.get() {
        return Ok(Arc::clone(config));
    }
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(system_roots())
        .with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(Arc::clone(OUTGOING.get_or_init(|| Arc::new(config))))
}

/// What this machine trusts. A store that is broken in parts is used for the rest of it.
fn system_roots() -> Arc<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "part of this machine's trusted certificates cannot be read");
    }
    let mut store = RootCertStore::empty();
    let (_, refused) = store.add_parsable_certificates(found.certs);
    if refused > 0 {
        tracing::debug!(refused, "some of this machine's trusted certificates cannot be used");
    }
    if store.is_empty() {
        tracing::warn!("this machine trusts no certificate: upstreams over https need `tls.ca`");
    }
    Arc::new(store)
}

/// Believes any certificate: `verify: false`. Signatures are verified all the same.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
