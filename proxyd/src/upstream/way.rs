//! How the endpoints of an upstream are spoken to. Part of an endpoint's identity: where it changes, connections are made
//! anew.

use std::net::SocketAddr;
use std::sync::Arc;

use shared::config::{self, ProxyHeader, UpstreamProtocol};

use crate::tls::{Alpn, ClientTls};

/// See the module.
#[derive(Clone, Debug)]
pub struct Way {
    pub protocol: UpstreamProtocol,
    pub tls: Option<Arc<ClientTls>>,
    pub proxy_header: Option<ProxyHeader>,
    /// Requests at once on one connection of HTTP/2.
    pub streams: u32,
    /// How much of an answer one of them may be sent ahead.
    pub stream_window: u32,
}

/// What a connection is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asks {
    /// The request changes to another protocol, which `Upgrade` does in HTTP/1.1.
    pub upgrades: bool,
    /// Whose request it is, and where it came to: for a PROXY header.
    pub client: SocketAddr,
    pub local: Option<SocketAddr>,
}

impl Way {
    pub(super) fn compile(config: &config::Upstream, tls: Option<&Arc<ClientTls>>) -> Self {
        Self {
            protocol: config.protocol,
            tls: tls.map(Arc::clone),
            proxy_header: config.proxy_protocol,
            streams: config.pool.streams,
            stream_window: config.pool.stream_window,
        }
    }

    /// Whether it is what the config asks for.
    pub(super) fn is(&self, config: &config::Upstream) -> bool {
        self.protocol == config.protocol
            && self.proxy_header == config.proxy_protocol
            && self.streams == config.pool.streams
            && self.stream_window == config.pool.stream_window
            && self.tls.as_ref().map(|tls| tls.settings()) == config.tls.as_ref()
    }

    /// `https` or `http`.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Whether HTTP/2 is spoken without asking.
    pub(super) fn is_http2(&self) -> bool {
        self.protocol == UpstreamProtocol::Http2
    }

    /// Whether HTTP/2 is spoken; none where the endpoint must be asked.
    pub(super) fn speaks_http2(&self) -> Option<bool> {
        match self.protocol {
            UpstreamProtocol::Http2 => Some(true),
            UpstreamProtocol::Auto if self.tls.is_some() => None,
            UpstreamProtocol::Http1 | UpstreamProtocol::Auto => Some(false),
        }
    }

    /// What is offered to the endpoint for such a request.
    pub(super) fn alpn(&self, upgrades: bool) -> Alpn {
        match self.protocol {
            UpstreamProtocol::Http1 => Alpn::Http1,
            UpstreamProtocol::Http2 => Alpn::Http2,
            UpstreamProtocol::Auto if upgrades => Alpn::Http1,
            UpstreamProtocol::Auto => Alpn::Either,
        }
    }
}
