//! TLS, HTTP/2, the PROXY protocol, and the limits of connections: what good texts mean, and how bad ones are told.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Known, bad, good, told};
use crate::config::policy::{CertificatePattern, Key};
use crate::config::problem::Code;
use crate::config::{
    CertificateFiles, ClientAuth, Input, Origin, Protocols, ProxyHeader, ProxyProtocol, References, Remark, Severity,
    TlsVersion, UpstreamProtocol, load,
};

#[test]
fn the_defaults() {
    let config = good("routes: [{target: 'http://a'}, {path: /s, target: 'https://a/b'}]").config.clone();
    let listen = &config.server.listen[0];
    assert_eq!((&listen.tls, listen.proxy_protocol, listen.https_redirect), (&None, None, None));
    assert_eq!(listen.protocols, Protocols { http1: true, http2: true });
    let limits = &config.server.limits;
    assert_eq!((limits.connections_per_address, limits.requests_per_connection), (None, None));
    assert_eq!((limits.streams, limits.stream_window), (100, 64 << 10));
    let timeouts = &config.server.timeouts;
    assert_eq!((timeouts.handshake, timeouts.write), (Duration::from_secs(10), Duration::from_mins(1)));
    let [plain, secure] = config.upstreams.as_slice() else { panic!("two upstreams") };
    assert_eq!((&*plain.name, plain.protocol, &plain.tls), ("http://a:80", UpstreamProtocol::Http1, &None));
    assert_eq!((plain.pool.streams, plain.pool.stream_window), (100, 256 << 10));
    assert_eq!((plain.timeouts.tunnel, plain.proxy_protocol), (Some(Duration::from_hours(1)), None));
    assert_eq!(
        (&*secure.name, secure.protocol, secure.endpoints[0].port),
        ("https://a:443", UpstreamProtocol::Http1, 443)
    );
    let tls = secure.tls.as_ref().unwrap();
    assert_eq!((&tls.ca, &tls.server_name, tls.verify, &tls.client), (&None, &None, true, &None));
}

#[test]
fn every_form_of_a_listener() {
    let config = good(
        "server:
  trusted_proxies: [10.0.0.0/8]
  listen:
  - {address: '0.0.0.0:80', https_redirect: on}
  - {address: '0.0.0.0:81', https_redirect: 8443, protocols: http1}
  - address: 0.0.0.0:444
    tls:
      certificates: [{cert: a.pem, key: a.key}, {cert: /b.pem, key: /b.key}]
      min_version: 1.3
      client_ca: ca.pem
      client_auth: optional
    protocols: [http2]
    proxy_protocol: any
  - {address: '0.0.0.0:445', tls: {certificates: [{cert: a.pem, key: a.key}]}}
",
    )
    .config
    .clone();
    let [on, port, mutual, plain] = config.server.listen.as_slice() else { panic!("four listeners") };
    assert_eq!((on.https_redirect, port.https_redirect, mutual.https_redirect), (Some(444), Some(8443), None));
    assert_eq!(port.protocols, Protocols { http1: true, http2: false });
    assert_eq!(mutual.protocols, Protocols { http1: false, http2: true });
    assert_eq!(mutual.proxy_protocol, Some(ProxyProtocol::Any));
    let tls = mutual.tls.as_ref().unwrap();
    assert_eq!((tls.min_version, tls.client_auth), (TlsVersion::Tls13, ClientAuth::Optional));
    assert_eq!(tls.client_ca.as_deref(), Some(Path::new("ca.pem")));
    let files: Vec<(PathBuf, PathBuf)> =
        tls.certificates.iter().map(|files| (files.cert.clone(), files.key.clone())).collect();
    assert_eq!(files, [("a.pem".into(), "a.key".into()), ("/b.pem".into(), "/b.key".into())]);
    assert_eq!(tls.certificates[0].at.to_string(), "config.yaml:8:22");
    let tls = plain.tls.as_ref().unwrap();
    assert_eq!((tls.min_version, tls.client_auth, &tls.client_ca), (TlsVersion::Tls12, ClientAuth::Required, &None));
    let alone = good("server: {listen: [{address: '0.0.0.0:80', https_redirect: on}]}").config.clone();
    assert_eq!(alone.server.listen[0].https_redirect, Some(443));
}

#[test]
fn files_are_compared_without_their_place() {
    let at = |line| CertificateFiles {
        cert: "a.pem".into(),
        key: "a.key".into(),
        at: Origin { line, ..Origin::default_value() },
    };
    assert_eq!(at(1), at(2));
    assert_ne!(at(1), CertificateFiles { key: "b.key".into(), ..at(1) });
}

#[test]
fn every_form_of_an_upstream() {
    let config = good(
        "upstreams:
  a: {endpoints: ['https://a', 'https://b:8443'], protocol: auto, tls: {ca: ca.pem, server_name: A.internal, cert: c.pem, key: c.key}}
  b: {endpoints: ['https://a'], protocol: http2, pool: {streams: 7, stream_window: 1MiB}, timeouts: {tunnel: off}}
  c: {endpoints: ['http://a'], proxy_protocol: v2}
routes:
- {split: [{upstream: a, weight: 1}, {upstream: b, weight: 1}, {upstream: c, weight: 1}], timeouts: {tunnel: 2m}}
- {path: /x, upstream: c, timeouts: {tunnel: off}}
",
    )
    .config
    .clone();
    let [a, b, c] = config.upstreams.as_slice() else { panic!("three upstreams") };
    let tls = a.tls.as_ref().unwrap();
    assert_eq!((a.protocol, tls.ca.as_deref()), (UpstreamProtocol::Auto, Some(Path::new("ca.pem"))));
    assert_eq!(tls.server_name.as_deref(), Some("a.internal"));
    assert_eq!(tls.client.as_ref().unwrap().key, Path::new("c.key"));
    assert_eq!(a.endpoints.iter().map(|endpoint| &*endpoint.address).collect::<Vec<_>>(), ["a:443", "b:8443"]);
    assert_eq!((b.protocol, b.pool.streams, b.pool.stream_window), (UpstreamProtocol::Http2, 7, 1 << 20));
    assert_eq!((b.timeouts.tunnel, b.tls.is_some()), (None, true));
    assert_eq!((c.proxy_protocol, c.tls.is_some()), (Some(ProxyHeader::V2), false));
    let tunnels: Vec<_> = config.routes.iter().map(|route| route.timeouts.tunnel).collect();
    assert_eq!(tunnels, [Some(Some(Duration::from_mins(2))), Some(None)]);
}

#[test]
fn one_upstream_for_each_origin() {
    let text = "routes: [{target: 'http://a:443'}, {path: /b, target: 'https://a'}, {path: /c, target: 'https://a/c'}]";
    let config = good(text).config.clone();
    let names: Vec<&str> = config.upstreams.iter().map(|upstream| &*upstream.name).collect();
    assert_eq!(names, ["http://a:443", "https://a:443"]);
}

#[test]
fn every_form_of_a_certificate_rule() {
    let mutual = "server: {listen: {address: '0.0.0.0:1', tls: {certificates: [{cert: a, key: b}], client_ca: c}}}\n";
    let text = "access: {certificates: ['*', Billing, '*.Example.org', 'spiffe://example.org/*', 'urn:acme:*', a@b.c]}
rate_limit: {requests_per_minute: 1, by: [certificate, ip]}";
    let checked = good(&format!("{mutual}{text}"));
    assert_eq!(checked.warnings, []);
    let policies = &checked.config.policies;
    assert_eq!(
        policies.access.value.as_ref().unwrap().certificates,
        [
            CertificatePattern::Any,
            CertificatePattern::Exact("Billing".into()),
            CertificatePattern::Below(".example.org".into()),
            CertificatePattern::Starts("spiffe://example.org/".into()),
            CertificatePattern::Starts("urn:acme:".into()),
            CertificatePattern::Exact("a@b.c".into()),
        ]
    );
    assert_eq!(policies.rate_limit.value.as_ref().unwrap().rules[0].by, [Key::Certificate, Key::Ip]);
}

#[test]
fn bad_listeners() {
    let shown = told(&[
        "server: {listen: {address: '0.0.0.0:1', tls: {}}}",
        "server: {listen: {address: '0.0.0.0:1', tls: {certificates: []}}}",
        "server: {listen: {address: '0.0.0.0:1', tls: {certificates: [{cert: a.pem}, a.pem, {cert: '', key: b}]}}}",
        "server: {listen: {address: '0.0.0.0:1', tls: {certificates: [{cert: a, key: b}], min_version: '1.1'}}}",
        "server: {listen: {address: '0.0.0.0:1', tls: {certificates: [{cert: a, key: b}], client_auth: optional}}}",
        "server: {listen: {address: '0.0.0.0:1', tls: off}}",
        "server: {listen: {address: '0.0.0.0:1', protocols: []}}",
        "server: {listen: {address: '0.0.0.0:1', protocols: [http1, http1]}}",
        "server: {listen: {address: '0.0.0.0:1', protocols: http3}}",
        "server: {listen: {address: '0.0.0.0:1', proxy_protocol: v1}}",
        "server: {listen: {address: '0.0.0.0:1', proxy_protocol: on}, trusted_proxies: ['::1']}",
        "server: {listen: {address: '0.0.0.0:1', https_redirect: 0}}",
        "server: {listen: {address: '0.0.0.0:1', https_redirect: yes}}",
        "server: {listen: {address: '0.0.0.0:1', https_redirect: on, tls: {certificates: [{cert: a, key: b}]}}}",
        "server: {limits: {connections_per_address: 0, requests_per_connection: none, streams: 0, stream_window: 65536}}",
        "server: {limits: {streams: 10001, stream_window: 17MiB}, timeouts: {handshake: off, write: 1ms}}",
    ]);
    insta::assert_snapshot!(shown);
}

#[test]
fn bad_upstreams() {
    let shown = told(&[
        "upstreams: {u: {endpoints: ['http://a', 'https://b']}}",
        "upstreams: {u: {endpoints: ['http://a'], tls: {ca: ca.pem}}}",
        "upstreams: {u: {endpoints: ['https://a'], tls: {cert: a.pem}}}",
        "upstreams: {u: {endpoints: ['https://a'], tls: {key: a.key}}}",
        "upstreams: {u: {endpoints: ['https://a'], tls: {server_name: 'https://a'}}}",
        "upstreams: {u: {endpoints: ['https://a'], tls: {verify: off}}}",
        "upstreams: {u: {endpoints: ['https://a'], tls: {verify: false}}}\nroutes: [{upstream: u}]",
        "upstreams: {u: {endpoints: ['http://a'], protocol: http2, proxy_protocol: v2}}",
        "upstreams: {u: {endpoints: ['http://a'], protocol: auto, proxy_protocol: v1}}",
        "upstreams: {u: {endpoints: ['http://a'], protocol: h2, proxy_protocol: any}}",
        "upstreams: {u: {endpoints: ['http://a'], pool: {streams: 0, stream_window: 1B}, timeouts: {tunnel: 0s}}}",
        "routes: [{target: 'ftp://a'}]",
        "routes: [{target: 'https://a', timeouts: {tunnel: 25h}}]",
    ]);
    insta::assert_snapshot!(shown);
}

#[test]
fn bad_certificate_rules() {
    let shown = told(&[
        "access: {certificates: billing}",
        "routes: [{respond: {}, access: {certificates: [billing]}}]",
        "access: {certificates: []}",
        "access: {certificates: ['', '*a', 'a.*', '*.', '*.a b', '*.a.*']}",
        "access: {certificates: ['spiffe://example.org*', 'spiffe://*']}",
        "rate_limit: {requests_per_minute: 1, by: [certificate, ip]}",
        "routes: [{respond: {}, rate_limit: [{requests_per_minute: 1, by: certificate}]}]",
        "rate_limit: {requests_per_minute: 1, by: cert}",
    ]);
    insta::assert_snapshot!(shown);
}

#[test]
fn a_broken_list_of_proxies_is_told_once() {
    let found = bad("server: {listen: {address: '0.0.0.0:1', proxy_protocol: v1}, trusted_proxies: [x]}");
    assert_eq!(found, ["1:80 invalid_value server.trusted_proxies[0]"]);
}

#[test]
fn paths_of_keys_are_shown() {
    let checked = good(
        "server: {listen: {address: '0.0.0.0:1', tls: {certificates: [{cert: a.pem, key: /etc/proxyd/site.key}]}}}
upstreams: {u: {endpoints: ['https://a'], tls: {cert: a.pem, key: /etc/proxyd/client.key}}}
routes: [{upstream: u}]",
    );
    let tree = checked.effective().tree;
    assert_eq!(tree["server"]["listen"]["tls"]["certificates"][0]["key"], "/etc/proxyd/site.key");
    assert_eq!(tree["server"]["listen"]["tls"]["min_version"], "1.2");
    assert_eq!(tree["server"]["listen"]["protocols"], serde_json::json!(["http1", "http2"]));
    assert_eq!(tree["upstreams"]["u"]["tls"]["key"], "/etc/proxyd/client.key");
}

#[test]
fn remarks_stand_where_the_file_is_named() {
    let known = Known::of(&[("CA", "secret")]);
    let input = Input::text(
        "config.yaml",
        "server: {listen: [{address: '0.0.0.0:1', tls: {certificates: [{cert: a.pem, key: a.key}]}}]}
upstreams: {a.b: {endpoints: ['https://a'], tls: {ca: '${env:CA}'}}}
routes: [{upstream: a.b}]",
    );
    let checked = load(&input, &References::Resolve(&known)).unwrap();
    let remark = |keys: &[&str], file: &str| Remark {
        severity: Severity::Error,
        code: Code::Unreadable,
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        file: file.into(),
        message: "cannot be read".to_owned(),
        hint: None,
    };
    let found = checked.locate(vec![
        remark(&["server", "listen", "0", "tls", "certificates", "0", "key"], "a.key"),
        remark(&["upstreams", "a.b", "tls", "ca"], "secret"),
    ]);
    let shown: Vec<String> = found
        .iter()
        .map(|problem| format!("{}:{} {} {}", problem.line, problem.column, problem.path, problem.message))
        .collect();
    assert_eq!(
        shown,
        [
            "1:82 server.listen[0].tls.certificates[0].key a.key cannot be read",
            "2:55 upstreams[\"a.b\"].tls.ca the file behind the reference cannot be read",
        ]
    );
}
