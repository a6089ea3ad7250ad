//! What a listener answers handshakes with.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use shared::config::{ClientAuth, ListenTls, Protocols, TlsVersion};

use super::certificate::{Facts, PeerCertificate};
use super::files::{self, Refreshed, Stamp, TlsError, Watched};
use super::names::ByName;
use super::standing::Authorities;
use super::standing::Fallen;
use super::{provider, ticketer};

/// See the module. When its files change it takes them up by itself; where those cannot be used, the ones before stay.
#[derive(Debug)]
pub struct ServerTls {
    settings: Arc<ListenTls>,
    protocols: Protocols,
    current: Watched<Current>,
}

/// What one handshake goes by, whatever files change meanwhile.
#[derive(Debug)]
pub struct Beginning {
    pub config: Arc<ServerConfig>,
    pub authorities: Option<Authorities>,
}

#[derive(Debug)]
struct Current {
    config: Arc<ServerConfig>,
    /// Who signs for clients, where they are asked.
    authorities: Option<Authorities>,
    facts: Vec<Facts>,
    stamps: Vec<Stamp>,
}

impl ServerTls {
    /// Reads the files.
    pub(super) fn load(settings: &Arc<ListenTls>, protocols: Protocols) -> Result<Self, Vec<TlsError>> {
        let current = Current::load(settings, protocols)?;
        Ok(Self { settings: Arc::clone(settings), protocols, current: Watched::new(current) })
    }

    /// What a handshake begins with now.
    pub fn begin(&self) -> Beginning {
        let current = self.current.get();
        Beginning { config: Arc::clone(&current.config), authorities: current.authorities.clone() }
    }

    /// Why a certificate that was verified on this listener would not be verified now, if so.
    pub fn fallen(&self, certificate: &PeerCertificate, now_s: i64) -> Option<Fallen> {
        certificate.standing.fallen(self.current.get().authorities.as_ref(), now_s)
    }

    /// Its certificates.
    pub fn facts(&self) -> Vec<Facts> {
        self.current.get().facts.clone()
    }

    /// Why newer files were not taken up, if so.
    pub fn problem(&self) -> Option<String> {
        self.current.problem()
    }

    /// Whether it was made from the same settings.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.settings == other.settings && self.protocols == other.protocols
    }

    /// Takes up what another one has read.
    pub(super) fn adopt(&self, fresh: &Self) {
        self.current.adopt(&fresh.current);
    }

    /// Takes up files that have changed. Blocks.
    pub(super) fn refresh(&self) -> Refreshed {
        let stamps = self.current.get().stamps.clone();
        self.current.refresh(&stamps, || Current::load(&self.settings, self.protocols))
    }
}

impl Current {
    fn load(settings: &ListenTls, protocols: Protocols) -> Result<Self, Vec<TlsError>> {
        // Looked at before they are read: a change in between is noticed the next time.
        let mut paths: Vec<_> = settings.certificates.iter().flat_map(|files| [&files.cert, &files.key]).collect();
        paths.extend(&settings.client_ca);
        let stamps = paths.into_iter().map(|path| Stamp::of(path)).collect();
        let mut errors = Vec::new();
        let mut pairs = Vec::new();
        let mut facts = Vec::new();
        for (index, files) in settings.certificates.iter().enumerate() {
            let here = |error: TlsError| error.below(["certificates", &index.to_string()]);
            match files::pair(files) {
                Ok(pair) => {
                    let path = files.cert.display().to_string();
                    let Some(found) = pair.cert.first().and_then(|first| Facts::of(path, first)) else {
                        errors.push(here(
                            TlsError::new(&files.cert, "holds a certificate that cannot be read").below(["cert"]),
                        ));
                        continue;
                    };
                    pairs.push((Arc::new(pair), found.names.clone()));
                    facts.push(found);
                }
                Err(error) => errors.push(here(error)),
            }
        }
        let verifier = match &settings.client_ca {
            None => Some(WebPkiClientVerifier::no_client_auth()),
            Some(path) => match files::roots(path) {
                Ok(roots) => {
                    let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider()));
                    let builder = match settings.client_auth {
                        ClientAuth::Required => builder,
                        ClientAuth::Optional => builder.allow_unauthenticated(),
                    };
                    let built =
                        builder.build().map_err(|error| TlsError::new(path, format!("cannot be used: {error}")));
                    built.map_err(|error| errors.push(error.below(["client_ca"]))).ok()
                }
                Err(error) => {
                    errors.push(error.below(["client_ca"]));
                    None
                }
            },
        };
        let (Some(verifier), true) = (verifier, errors.is_empty()) else { return Err(errors) };
        let authorities = settings.client_ca.is_some().then(|| Authorities::clone(&verifier));
        let versions: &[_] = match settings.min_version {
            TlsVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            TlsVersion::Tls13 => &[&rustls::version::TLS13],
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(provider())).with_protocol_versions(versions);
        let builder = match builder {
            Ok(builder) => builder,
            Err(error) => {
                let path = settings.certificates.first().map(|files| files.cert.clone()).unwrap_or_default();
                return Err(vec![TlsError::new(&path, format!("cannot be used: {error}"))]);
            }
        };
        let mut config = builder.with_client_cert_verifier(verifier).with_cert_resolver(Arc::new(ByName::new(pairs)));
        config.alpn_protocols = alpn(protocols);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if settings.client_ca.is_some() {
            // A session that is resumed is not verified again: whoever's certificate was withdrawn could go on for a day.
            config.send_tls13_tickets = 0;
        } else if let Some(ticketer) = ticketer() {
            config.ticketer = ticketer;
        }
        Ok(Self { config: Arc::new(config), authorities, facts, stamps })
    }
}

fn alpn(protocols: Protocols) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    if protocols.http2 {
        names.push(b"h2".to_vec());
    }
    if protocols.http1 {
        names.push(b"http/1.1".to_vec());
    }
    names
}
