//! How an upstream is spoken to: its protocol, TLS, and the PROXY header before everything else.

use std::sync::Arc;

use crate::config::fields::Fields;
use crate::config::problem::Code;
use crate::config::reader::Read;
use crate::config::report::Fault;
use crate::config::tls::{self, UpstreamTls};
use crate::config::url::Scheme;

/// What is spoken to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamProtocol {
    Http1,
    /// In clear text by prior knowledge.
    Http2,
    /// HTTP/2 where the endpoint agrees to it (ALPN), else HTTP/1.1; in clear text HTTP/1.1.
    Auto,
}

/// Which form of the PROXY header is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    V1,
    V2,
}

/// Reads `protocol`.
pub(super) fn read_protocol(fields: &mut Fields<'_, '_>) -> Option<UpstreamProtocol> {
    let words =
        [("http1", UpstreamProtocol::Http1), ("http2", UpstreamProtocol::Http2), ("auto", UpstreamProtocol::Auto)];
    fields.choice("protocol", &words)
}

/// Reads `tls`. `scheme`: the endpoints'; none where they are broken.
pub(super) fn read_tls(fields: &mut Fields<'_, '_>, scheme: Option<Scheme>) -> Read<Option<Arc<UpstreamTls>>> {
    let Some(entry) = fields.written("tls") else {
        return Some((scheme == Some(Scheme::Https)).then(|| Arc::new(UpstreamTls::new())));
    };
    let tls = fields.get("tls", |reader, node, _| tls::read_upstream(reader, node));
    if scheme == Some(Scheme::Http) {
        let fault = Fault::new(Code::Conflict, "`tls` says nothing about `http://` endpoints")
            .hint("write the endpoints as `https://…`, or remove `tls`");
        fields.reader().under(&entry.key, |reader| reader.error(entry.key_place, fault));
        return None;
    }
    tls.map(|tls| Some(Arc::new(tls)))
}

/// Reads `proxy_protocol`, which stands only beside HTTP/1.1.
pub(super) fn read_proxy_protocol(
    fields: &mut Fields<'_, '_>,
    protocol: Option<UpstreamProtocol>,
) -> Read<Option<ProxyHeader>> {
    let words = [("off", None), ("v1", Some(ProxyHeader::V1)), ("v2", Some(ProxyHeader::V2))];
    let found = fields.choice("proxy_protocol", &words)?;
    if let (Some(_), Some(UpstreamProtocol::Http2 | UpstreamProtocol::Auto), Some(entry)) =
        (found, protocol, fields.written("proxy_protocol"))
    {
        let fault = Fault::new(
            Code::Conflict,
            "`proxy_protocol` gives each client connections of its own, which HTTP/2 would share among clients",
        )
        .hint("write `protocol: http1`, or remove `proxy_protocol`");
        fields.reader().under(&entry.key, |reader| reader.error(entry.key_place, fault));
        return None;
    }
    Some(found)
}
