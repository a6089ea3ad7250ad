//! TLS on both sides: certificates and what is known of them, what a listener answers a handshake with, how an upstream is
//! verified. Files are read here, before a config is put in force and when they change; nothing of it is done per connection.

mod certificate;
mod client;
mod files;
mod names;
mod server;
mod standing;

pub use certificate::{Facts, PeerCertificate};
pub use client::{Alpn, ClientTls, outgoing};
pub use files::{Refreshed, TlsError};
pub use server::ServerTls;
pub use standing::Fallen;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::ProducesTickets;
use shared::config::Config;

/// The one provider of cryptography.
fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(aws_lc_rs::default_provider()))
}

/// Session tickets, sealed with the same keys by all workers and over reloads: a client resumes whichever worker it meets.
fn ticketer() -> Option<Arc<dyn ProducesTickets>> {
    static TICKETER: OnceLock<Option<Arc<dyn ProducesTickets>>> = OnceLock::new();
    TICKETER.get_or_init(|| aws_lc_rs::Ticketer::new().ok()).clone()
}

/// The TLS of a config: all its files, read and checked.
#[derive(Clone, Debug, Default)]
pub struct Material {
    listeners: HashMap<SocketAddr, Arc<ServerTls>>,
    upstreams: HashMap<Arc<str>, Arc<ClientTls>>,
}

impl Material {
    /// Reads every file that the config names. Blocks.
    ///
    /// # Errors
    ///
    /// Every file that cannot be used.
    pub fn load(config: &Config) -> Result<Self, Vec<TlsError>> {
        let mut material = Self::default();
        let mut errors = Vec::new();
        for (index, listen) in config.server.listen.iter().enumerate() {
            let Some(tls) = &listen.tls else { continue };
            match ServerTls::load(tls, listen.protocols) {
                Ok(loaded) => {
                    material.listeners.insert(listen.address, Arc::new(loaded));
                }
                Err(found) => {
                    let below = ["server", "listen", &index.to_string(), "tls"];
                    errors.extend(found.into_iter().map(|error| error.below(below)));
                }
            }
        }
        for upstream in &config.upstreams {
            let Some(tls) = &upstream.tls else { continue };
            match ClientTls::load(tls) {
                Ok(loaded) => {
                    material.upstreams.insert(Arc::clone(&upstream.name), Arc::new(loaded));
                }
                Err(found) => {
                    let below = ["upstreams", &*upstream.name, "tls"];
                    errors.extend(found.into_iter().map(|error| error.below(below)));
                }
            }
        }
        if errors.is_empty() { Ok(material) } else { Err(errors) }
    }

    /// Goes on with what there was before, where it was made from the same settings: whoever holds that sees these files.
    #[must_use]
    pub fn inherit(mut self, before: &Self) -> Self {
        for (address, fresh) in &mut self.listeners {
            if let Some(same) = before.listeners.get(address).filter(|same| same.is_same(fresh)) {
                same.adopt(fresh);
                *fresh = Arc::clone(same);
            }
        }
        for (name, fresh) in &mut self.upstreams {
            if let Some(same) = before.upstreams.get(name).filter(|same| same.is_same(fresh)) {
                same.adopt(fresh);
                *fresh = Arc::clone(same);
            }
        }
        self
    }

    /// Takes up files that have changed: what became of each listener's or upstream's that did. Blocks.
    #[must_use]
    pub fn refresh(&self) -> Vec<(String, Refreshed)> {
        let listeners = self.listeners.iter().map(|(address, tls)| (format!("listener {address}"), tls.refresh()));
        let upstreams = self.upstreams.iter().map(|(name, tls)| (format!("upstream {name}"), tls.refresh()));
        listeners.chain(upstreams).filter(|(_, outcome)| *outcome != Refreshed::Same).collect()
    }

    /// What a listener answers handshakes with; none where it speaks no TLS.
    pub fn listener(&self, address: SocketAddr) -> Option<&Arc<ServerTls>> {
        self.listeners.get(&address)
    }

    /// Every listener that speaks TLS.
    pub fn listeners(&self) -> impl Iterator<Item = (SocketAddr, &Arc<ServerTls>)> {
        self.listeners.iter().map(|(address, tls)| (*address, tls))
    }

    /// How an upstream is spoken to; none where without TLS.
    pub fn upstream(&self, name: &str) -> Option<&Arc<ClientTls>> {
        self.upstreams.get(name)
    }

    /// Every upstream that is spoken to in TLS.
    pub fn upstreams(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<ClientTls>)> {
        self.upstreams.iter()
    }
}
