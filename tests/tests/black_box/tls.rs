//! TLS with clients: which certificate is shown, what is agreed on, who may come in, and what an upstream learns of it.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::config::forward_all;
use tests::tls::{Authority, Client, Pair, Secure, copied};
use tests::{Home, Http2, PATIENCE, Proxyd, Request, Response, Start, Upstream, Wire, eventually};

/// A daemon with one listener in TLS; `tls` are the keys below it, `more` the rest of the config.
pub(crate) fn serve(home: &Home, tls: &str, more: &str) -> Proxyd {
    let listen = format!("server: {{listen: [{{address: '127.0.0.1:0', tls: {{{tls}}}}}]}}\n");
    Start::in_home(&copied(home), &format!("{listen}{more}")).leave("server.listen").run()
}

/// The key `certificates` for pairs of these names in the daemon's folder.
pub(crate) fn certificates(names: &[&str]) -> String {
    let pairs: Vec<String> = names.iter().map(|name| format!("{{cert: {name}.crt, key: {name}.key}}")).collect();
    format!("certificates: [{}]", pairs.join(", "))
}

/// A GET of HTTP/1.1 on a connection in TLS.
pub(crate) fn get(secure: Secure, target: &str) -> Response {
    Request::get(target).host("default.test").send_on(&mut Wire::over(secure.plain))
}

/// A folder with the authority's certificate and the pair `default`.
pub(crate) fn home() -> (Home, Authority, Pair) {
    let (home, authority) = (Home::default(), Authority::new("servers"));
    let pair = authority.signs("default", &["default.test"]);
    pair.write(&home, "default");
    home.write("ca.pem", authority.pem());
    (home, authority, pair)
}

#[test]
fn the_name_that_is_asked_for_picks_the_certificate() {
    // RFC 6066 section 3, RFC 9525 section 6.3.
    let (home, authority, default) = home();
    let api = authority.signs("api", &["api.wild.test", "other.test"]);
    let wild = authority.signs("wild", &["*.wild.test"]);
    api.write(&home, "api");
    wild.write(&home, "wild");
    let upstream = Upstream::saying("ok");
    let proxyd = serve(&home, &certificates(&["default", "wild", "api"]), &forward_all(upstream.address()));
    let client = Client::new(&[]);
    for (name, pair) in [
        ("default.test", &default),
        ("api.wild.test", &api),
        ("API.wild.TEST", &api),
        ("other.test", &api),
        ("x.wild.test", &wild),
        ("a.b.wild.test", &default),
        ("wild.test", &default),
        ("unknown.test", &default),
        // An address is no name: none is asked for.
        ("127.0.0.1", &default),
    ] {
        let secure = client.connect(proxyd.address(), name).unwrap();
        assert!(secure.shows(pair), "{name}");
        assert_eq!(get(secure, "/").text(), "ok", "{name}");
    }
}

#[test]
fn protocols_and_versions_are_agreed_on() {
    // RFC 7301 section 3.2; RFC 9113 section 3.3; RFC 8446 section 4.2.1.
    let (home, ..) = home();
    let upstream = Upstream::saying("ok");
    let own = certificates(&["default"]);
    let forward = forward_all(upstream.address());
    let proxyd = serve(&home, &own, &forward);
    for (offers, chosen) in [
        (&["h2", "http/1.1"][..], Some("h2")),
        (&["http/1.1", "h2"], Some("h2")),
        (&["h2"], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&["spdy/3", "http/1.1"], Some("http/1.1")),
        (&[], None),
    ] {
        let secure = Client::new(offers).connect(proxyd.address(), "default.test").unwrap();
        assert_eq!(secure.alpn.as_deref(), chosen, "{offers:?}");
        assert!(secure.tls13);
        if chosen == Some("h2") {
            assert_eq!(Http2::client(secure.plain).get(1, "/").text(), "ok", "{offers:?}");
        } else {
            assert_eq!(get(secure, "/").text(), "ok", "{offers:?}");
        }
    }
    let refused = Client::new(&["spdy/3"]).connect(proxyd.address(), "default.test").unwrap_err();
    assert!(refused.contains("NoApplicationProtocol"), "{refused}");
    let old = Client::tls12(&["h2"]).connect(proxyd.address(), "default.test").unwrap();
    assert!(!old.tls13);
    assert_eq!(Http2::client(old.plain).get(1, "/").text(), "ok");
    assert_eq!(proxyd.metric("proxyd_tls_handshakes_total", &["version=\"1.2\""]).to_bits(), 1_f64.to_bits());
    assert!(proxyd.metric("proxyd_connection_errors_total", &["kind=\"tls_handshake\""]) >= 1.0);
    let proxyd = serve(&home, &format!("{own}, min_version: '1.3'"), &forward);
    let refused = Client::tls12(&[]).connect(proxyd.address(), "default.test").unwrap_err();
    assert!(refused.contains("ProtocolVersion"), "{refused}");
    assert_eq!(get(Client::new(&[]).connect(proxyd.address(), "default.test").unwrap(), "/").text(), "ok");
    // HTTP/2 is neither chosen nor begun by prior knowledge where it is switched off.
    let listen = format!("server: {{listen: [{{address: '127.0.0.1:0', protocols: [http1], tls: {{{own}}}}}]}}\n");
    let proxyd = Start::in_home(&copied(&home), &format!("{listen}{forward}")).leave("server.listen").run();
    assert!(Client::new(&["h2"]).connect(proxyd.address(), "default.test").is_err());
    let secure = Client::new(&["h2", "http/1.1"]).connect(proxyd.address(), "default.test").unwrap();
    assert_eq!(secure.alpn.as_deref(), Some("http/1.1"));
    assert_eq!(get(secure, "/").text(), "ok");
}

/// What a client with this certificate meets: the answer, or none.
fn asks(proxyd: &Proxyd, pair: Option<&Pair>, request: &Request) -> Option<Response> {
    let client = pair.map_or_else(|| Client::new(&[]), |pair| Client::showing(&[], pair));
    let secure = client.connect(proxyd.address(), "default.test").ok()?;
    let mut wire = Wire::over(secure.plain);
    // TLS 1.3 tells a client last that it may not come in.
    if !wire.try_send(request.bytes()) {
        return None;
    }
    wire.try_response("GET")
}

#[test]
fn clients_are_known_by_their_certificates() {
    let (home, ..) = home();
    let clients = Authority::new("clients");
    home.write("clients.pem", clients.pem());
    let billing = clients.signs_also("billing", &["billing.internal"], &["spiffe://example.org/billing"]);
    let stranger = clients.signs("stranger", &[]);
    let forged = Authority::new("clients").signs("billing", &["billing.internal"]);
    let upstream = Upstream::echo();
    let routes = |upstream: &Upstream| {
        let target = upstream.url();
        format!(
            "routes:\n  - {{name: billing, path: /billing, target: '{target}', access: {{certificates: [billing]}}}}\n  \
             - {{name: spiffe, path: /spiffe, target: '{target}', access: {{certificates: ['spiffe://example.org/*']}}}}\n  \
             - {{name: dns, path: /dns, target: '{target}', access: {{certificates: ['*.internal']}}}}\n  \
             - {{name: any, path: /any, target: '{target}', access: {{certificates: ['*']}}}}\n  \
             - {{name: open, path: /, target: '{target}'}}\n"
        )
    };
    let own = certificates(&["default"]);
    let required = serve(&home, &format!("{own}, client_ca: clients.pem"), &routes(&upstream));
    let plain = Request::get("/");
    assert!(asks(&required, None, &plain).is_none(), "no certificate");
    assert!(asks(&required, Some(&forged), &plain).is_none(), "one of another authority of the same name");
    assert_eq!(asks(&required, Some(&billing), &plain).unwrap().status, 200);
    assert!(required.metric("proxyd_connection_errors_total", &["kind=\"tls_handshake\""]) >= 2.0);
    let optional = serve(&home, &format!("{own}, client_ca: clients.pem, client_auth: optional"), &routes(&upstream));
    assert!(asks(&optional, Some(&forged), &plain).is_none(), "a bad certificate is worse than none");
    for (path, with, without, of_stranger) in [
        ("/", 200, 200, 200),
        ("/billing", 200, 403, 403),
        ("/spiffe", 200, 403, 403),
        ("/dns", 200, 403, 403),
        ("/any", 200, 403, 200),
    ] {
        let request = Request::get(path);
        assert_eq!(asks(&optional, Some(&billing), &request).unwrap().status, with, "{path}");
        assert_eq!(asks(&optional, None, &request).unwrap().status, without, "{path}");
        assert_eq!(asks(&optional, Some(&stranger), &request).unwrap().status, of_stranger, "{path}");
    }
    // Whatever a client says of its certificate, an upstream hears of the verified one only.
    let lies = Request::get("/lies")
        .header("X-Forwarded-Client-Cert", "Subject=root")
        .header("x-forwarded-client-cert", "Subject=root")
        .header("Client-Cert", ":cm9vdA==:")
        .header("Client-Cert-Chain", ":cm9vdA==:");
    let heard = |answer: Response| answer.json()["headers"].clone();
    let lines = |headers: &serde_json::Value, name: &str| {
        let all = headers.as_array().unwrap().iter().filter(|line| line[0] == name);
        all.map(|line| line[1].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let without = heard(asks(&optional, None, &lies).unwrap());
    for name in ["x-forwarded-client-cert", "client-cert", "client-cert-chain"] {
        assert!(lines(&without, name).is_empty(), "{without}");
    }
    let with = heard(asks(&optional, Some(&billing), &lies).unwrap());
    let told = lines(&with, "x-forwarded-client-cert");
    assert_eq!(told.len(), 1, "{with}");
    assert!(told[0].starts_with("Hash=") && told[0].contains(";Subject=\"CN=billing\""), "{told:?}");
    assert!(told[0].ends_with(";DNS=\"billing.internal\";URI=\"spiffe://example.org/billing\""), "{told:?}");
    assert!(lines(&with, "client-cert").is_empty(), "{with}");
    let rows = optional.audit(&json!({"path": "/lies"}), 2);
    let mut principals: Vec<_> = rows.iter().map(|row| row["principal"].as_str().unwrap_or_default()).collect();
    principals.sort_unstable();
    assert_eq!(principals, ["", "billing"], "{rows:#?}");
}

#[test]
fn a_session_is_resumed_whichever_worker_it_meets() {
    // RFC 8446 section 2.2.
    let (home, ..) = home();
    let upstream = Upstream::saying("ok");
    let listen = format!(
        "server: {{workers: 2, listen: [{{address: '127.0.0.1:0', tls: {{{}}}}}]}}\n",
        certificates(&["default"])
    );
    let yaml = format!("{listen}{}", forward_all(upstream.address()));
    let proxyd = Start::in_home(&copied(&home), &yaml).leave("server.listen").run();
    for client in [Client::new(&[]), Client::tls12(&[])] {
        let first = client.connect(proxyd.address(), "default.test").unwrap();
        assert!(!first.resumed);
        assert_eq!(get(first, "/").text(), "ok");
        // Held open, so that the next ones meet the other worker too.
        let mut held = Vec::new();
        for number in 0..8 {
            let next = client.connect(proxyd.address(), "default.test").unwrap();
            assert!(next.resumed, "{number}");
            let mut wire = Wire::over(next.plain);
            assert_eq!(Request::get("/").send_on(&mut wire).text(), "ok");
            held.push(wire);
        }
    }
    assert!(proxyd.metric("proxyd_tls_handshakes_total", &["version=\"1.3 resumed\""]) >= 8.0);
    // And after a reload.
    let client = Client::new(&[]);
    assert_eq!(get(client.connect(proxyd.address(), "default.test").unwrap(), "/").text(), "ok");
    proxyd.reload_with(&format!("{yaml}body_limit: 1KiB\n"));
    assert!(client.connect(proxyd.address(), "default.test").unwrap().resumed);
}

#[test]
fn a_session_with_a_client_certificate_is_never_resumed() {
    let (home, ..) = home();
    let clients = Authority::new("clients");
    home.write("clients.pem", clients.pem());
    let upstream = Upstream::saying("ok");
    let own = format!("{}, client_ca: clients.pem", certificates(&["default"]));
    let proxyd = serve(&home, &own, &forward_all(upstream.address()));
    let client = Client::showing(&[], &clients.signs("billing", &[]));
    for _ in 0..3 {
        let secure = client.connect(proxyd.address(), "default.test").unwrap();
        assert!(!secure.resumed);
        assert_eq!(get(secure, "/").text(), "ok");
    }
}

#[test]
fn clear_text_is_told_where_it_is() {
    let (home, ..) = home();
    let upstream = Upstream::echo();
    // Two listeners on port 0 would be one to the config.
    let secure_port = tests::upstream::nobody();
    let listen = format!(
        "server: {{listen: [{{address: '127.0.0.1:0', https_redirect: 8443}}, {{address: '{secure_port}', tls: {{{}}}}}], \
         timeouts: {{handshake: 400ms}}}}\n",
        certificates(&["default"])
    );
    let yaml = format!("{listen}security_headers: on\n{}", forward_all(upstream.address()));
    let proxyd = Start::in_home(&copied(&home), &yaml).leave("server.listen").run();
    let redirected = Request::get("/a?b=c").host("example.org:80").send(proxyd.address());
    assert_eq!((redirected.status, redirected.header("location")), (308, Some("https://example.org:8443/a?b=c")));
    let mut client = Http2::connect(proxyd.address());
    assert_eq!(client.get(1, "/a").header("location"), Some("https://proxy.test:8443/a"));
    assert_eq!(upstream.requests(), 0);
    let refused = Request::get("/").send(secure_port);
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("tls_expected"), "{}", refused.text());
    // Neither a client that says nothing nor one that stops within its greeting is waited for.
    for bytes in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut silent = Wire::connect(secure_port);
        silent.send(bytes);
        let began = Instant::now();
        assert!(silent.closes_within(PATIENCE));
        assert!(began.elapsed() > Duration::from_millis(300), "{bytes:?}");
    }
    let count = |kind: &str| proxyd.metric("proxyd_connection_errors_total", &[&format!("kind=\"{kind}\"")]);
    eventually("all of it is counted", || {
        (count("tls_handshake_timeout") >= 2.0 && count("tls_expected") >= 1.0).then_some(())
    });
    let rows = proxyd.audit(&json!({"outcome": "tls_handshake_timeout"}), 2);
    assert_eq!(rows[0]["status"], 0, "{}", rows[0]);
    let answer = get(Client::new(&[]).connect(secure_port, "default.test").unwrap(), "/");
    assert!(answer.header("strict-transport-security").is_some(), "{answer:?}");
    assert!(answer.text().contains("[\"x-forwarded-proto\",\"https\"]"), "{}", answer.text());
}

#[test]
fn bytes_pass_in_tls_in_any_amount() {
    let (home, ..) = home();
    let upstream = Upstream::scripted(|conn| {
        while let Some(request) = conn.request() {
            conn.answer(200, &[], &request.body);
        }
    });
    let proxyd = serve(&home, &certificates(&["default"]), &forward_all(upstream.address()));
    for size in [0, 1, 16_384, 100_000, 2_000_000] {
        let body: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        let secure = Client::new(&[]).connect(proxyd.address(), "default.test").unwrap();
        let mut wire = Wire::over(secure.plain);
        let request = Request::post("/", body.clone());
        let answer = request.send_on(&mut wire);
        assert!(answer.whole && answer.body == body, "{size}: {}", answer.body.len());
        assert_eq!(request.send_on(&mut wire).body.len(), size, "the connection goes on");
    }
}
