//! The PROXY protocol, from whoever stands before proxyd and to whoever stands behind.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;
use tests::tls::{Authority, Client, Server, copied};
use tests::{Http2, PATIENCE, Proxyd, Request, Start, Upstream, Wire, eventually};

/// Version 2 (section 2.2): TCP over IPv4 from 192.0.2.7:4711 to 192.0.2.1:443.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc0\0\x02\x01\x12\x67\x01\xbb";
const V1: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n";

fn behind(kind: &str, trusted: &str, upstream: &Upstream, more: &str) -> Proxyd {
    let yaml = format!(
        "server: {{listen: [{{address: '127.0.0.1:0', proxy_protocol: {kind}}}], trusted_proxies: [{trusted}], \
         timeouts: {{handshake: 400ms}}{more}}}\n\
         access: {{deny: 198.51.100.0/24}}\n\
         routes:\n  - {{name: all, path: /, target: 'http://{}'}}\n",
        upstream.address()
    );
    Start::new(&yaml).leave("server.listen").run()
}

/// What the upstream hears of where the client is; none where the connection is closed unanswered.
fn heard(proxyd: &Proxyd, header: &[u8]) -> Option<String> {
    let mut wire = Wire::connect(proxyd.address());
    wire.try_send([header, &Request::get("/").bytes()].concat());
    let answer = wire.try_response("GET")?;
    if answer.status != 200 {
        return Some(answer.status.to_string());
    }
    let headers = answer.json()["headers"].clone();
    let line = headers.as_array().unwrap().iter().find(|line| line[0] == "x-forwarded-for").cloned();
    line.map(|line| line[1].as_str().unwrap().to_owned())
}

/// Section, header, and what is heard with v1, v2 and any of them.
type Row<'a> = (&'a str, &'a [u8], [Option<&'a str>; 3]);

#[test]
fn a_header_says_who_the_client_is() {
    let upstream = Upstream::echo();
    let ipv6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n";
    let ipv6_v2 = [
        &b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24"[..],
        &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7],
        &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        b"\x12\x67\x01\xbb",
    ]
    .concat();
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    // With a TLV behind the addresses (section 2.2.7), which nobody looks at.
    let with_more =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x11\xc0\0\x02\x07\xc0\0\x02\x01\x12\x67\x01\xbb\xee\0\x02hi".to_vec();
    let long = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 100], b"\r\n".to_vec()].concat();
    let table: &[Row] = &[
        ("2.1", V1, [Some("192.0.2.7"), None, Some("192.0.2.7")]),
        ("2.1", ipv6, [Some("2001:db8::7"), None, Some("2001:db8::7")]),
        ("2.1", b"PROXY UNKNOWN\r\n", [Some("127.0.0.1"), None, Some("127.0.0.1")]),
        ("2.1", b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", [Some("127.0.0.1"), None, Some("127.0.0.1")]),
        ("2.2", V2, [None, Some("192.0.2.7"), Some("192.0.2.7")]),
        ("2.2", &ipv6_v2, [None, Some("2001:db8::7"), Some("2001:db8::7")]),
        ("2.2", local, [None, Some("127.0.0.1"), Some("127.0.0.1")]),
        ("2.2.7", &with_more, [None, Some("192.0.2.7"), Some("192.0.2.7")]),
        ("2", b"", [None, None, None]),
        ("2.1", b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 99999\r\n", [None, None, None]),
        ("2.1", b"PROXY TCP4 192.0.2.7 192.0.2.1 4711\r\n", [None, None, None]),
        ("2.1", b"PROXY TCP4 2001:db8::7 192.0.2.1 4711 443\r\n", [None, None, None]),
        ("2.1", b"PROXY  TCP4 192.0.2.7 192.0.2.1 4711 443\r\n", [None, None, None]),
        ("2.1", b"PROXY TCP4 192.0.2.007 192.0.2.1 4711 443\r\n", [None, None, None]),
        ("2.1", b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\n", [None, None, None]),
        ("2.1", b"proxy TCP4 192.0.2.7 192.0.2.1 4711 443\r\n", [None, None, None]),
        ("2.1", &long, [None, None, None]),
        ("2.2", b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c\xc0\0\x02\x07\xc0\0\x02\x01\x12\x67\x01\xbb", [None, None, None]),
        ("2.2", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x04\xc0\0\x02\x07", [None, None, None]),
        ("2.2", b"\r\n\r\n\0\r\nQUIT\n\x2f\x11\0\x0c\xc0\0\x02\x07\xc0\0\x02\x01\x12\x67\x01\xbb", [None, None, None]),
        // One is enough: a second one is no request.
        ("2", &[V1, V1].concat(), [Some("400"), None, Some("400")]),
    ];
    let mut wrong = Vec::new();
    for (column, kind) in ["v1", "v2", "any"].into_iter().enumerate() {
        let proxyd = behind(kind, "127.0.0.1", &upstream, "");
        for (section, header, expected) in table {
            let found = heard(&proxyd, header);
            if found.as_deref() != expected[column] {
                wrong.push(format!(
                    "{section}, {kind}: {} heard {found:?}, not {:?}",
                    header.escape_ascii(),
                    expected[column]
                ));
            }
        }
        assert!(proxyd.metric("proxyd_connection_errors_total", &["kind=\"proxy_header\""]) >= 9.0, "{kind}");
        assert!(!proxyd.audit(&json!({"outcome": "proxy_header"}), 1).is_empty());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn policies_and_records_know_the_client_of_the_header() {
    let upstream = Upstream::echo();
    let proxyd = behind("any", "127.0.0.1", &upstream, ", limits: {connections_per_address: 2}");
    assert_eq!(heard(&proxyd, b"PROXY TCP4 198.51.100.9 192.0.2.1 4711 443\r\n").as_deref(), Some("403"));
    assert_eq!(heard(&proxyd, V2).as_deref(), Some("192.0.2.7"));
    let rows = proxyd.audit(&json!({}), 2);
    let mut clients: Vec<&str> = rows.iter().filter_map(|row| row["client"].as_str()).collect();
    clients.sort_unstable();
    assert_eq!(clients, ["192.0.2.7", "198.51.100.9"], "{rows:#?}");
    // Bounds are those of that client, too.
    let mut held: Vec<Wire> = Vec::new();
    for _ in 0..2 {
        let mut wire = Wire::connect(proxyd.address());
        wire.send([V1, &Request::get("/").bytes()].concat());
        assert_eq!(wire.response("GET").status, 200);
        held.push(wire);
    }
    assert_eq!(heard(&proxyd, V1), None, "a third connection of one client");
    assert_eq!(heard(&proxyd, b"PROXY TCP4 192.0.2.8 192.0.2.1 4711 443\r\n").as_deref(), Some("192.0.2.8"));
    assert!(proxyd.metric("proxyd_connections_refused_total", &["reason=\"address_limit\""]) >= 1.0);
    drop(held);
    eventually("its connections have ended", || heard(&proxyd, V1));
}

#[test]
fn a_header_in_pieces_comes_in_time_or_not_at_all() {
    let upstream = Upstream::echo();
    let proxyd = behind("any", "127.0.0.1", &upstream, "");
    for header in [V1, V2] {
        let mut wire = Wire::connect(proxyd.address());
        let bytes = [header, &Request::get("/").bytes()].concat();
        for byte in &bytes[..header.len() + 5] {
            wire.send([*byte]);
            std::thread::sleep(Duration::from_millis(2));
        }
        wire.send(&bytes[header.len() + 5..]);
        assert_eq!(wire.response("GET").status, 200);
        // And no more of it.
        let mut slow = Wire::connect(proxyd.address());
        slow.send(&header[..header.len() - 1]);
        let began = Instant::now();
        assert!(slow.closes_within(PATIENCE));
        assert!(began.elapsed() > Duration::from_millis(250), "{:?}", began.elapsed());
    }
    assert!(proxyd.metric("proxyd_connection_errors_total", &["kind=\"proxy_header_timeout\""]) >= 2.0);
    let other = behind("any", "192.0.2.0/24", &upstream, "");
    let before = upstream.requests();
    assert_eq!(heard(&other, V1), None, "from somebody whose word is not taken");
    assert_eq!(heard(&other, b""), None);
    assert_eq!(upstream.requests(), before);
    assert!(other.metric("proxyd_connection_errors_total", &["kind=\"proxy_header_untrusted\""]) >= 2.0);
}

#[test]
fn a_header_stands_before_tls_and_before_http2() {
    let upstream = Upstream::echo();
    let home = tests::Home::default();
    let pair = Authority::new("servers").signs("default", &["default.test"]);
    pair.write(&home, "default");
    let yaml = format!(
        "server: {{listen: [{{address: '127.0.0.1:0', proxy_protocol: v2, tls: {{certificates: [{{cert: default.crt, key: default.key}}]}}}}], \
         trusted_proxies: [127.0.0.1]}}\nroutes:\n  - {{name: all, path: /, target: 'http://{}'}}\n",
        upstream.address()
    );
    let proxyd = Start::in_home(&copied(&home), &yaml).leave("server.listen").run();
    let mut stream = TcpStream::connect(proxyd.address()).unwrap();
    std::io::Write::write_all(&mut stream, V2).unwrap();
    let secure = Client::new(&["h2"]).over(stream, "default.test").unwrap();
    let text = Http2::client(secure.plain).get(1, "/").text();
    assert!(text.contains("[\"x-forwarded-for\",\"192.0.2.7\"]"), "{text}");
    assert!(Client::new(&[]).connect(proxyd.address(), "default.test").is_err(), "TLS without a header");
    let clear = behind("v2", "127.0.0.1", &upstream, "");
    let mut stream = TcpStream::connect(clear.address()).unwrap();
    std::io::Write::write_all(&mut stream, V2).unwrap();
    let text = Http2::client(stream).get(1, "/").text();
    assert!(text.contains("[\"x-forwarded-for\",\"192.0.2.7\"]"), "{text}");
}

/// An upstream that reads a PROXY header of so many bytes, or to the end of a line, and answers with it.
fn tells_header(tls: Option<Server>) -> Upstream {
    Upstream::scripted(move |conn| {
        let mut header = conn.wire.exactly(8);
        let rest = if header.starts_with(b"PROXY") {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                line.extend(conn.wire.exactly(1));
            }
            line
        } else {
            let fixed = conn.wire.exactly(8);
            let length = usize::from(u16::from_be_bytes([fixed[6], fixed[7]]));
            [fixed, conn.wire.exactly(length)].concat()
        };
        header.extend(rest);
        if let Some(server) = &tls {
            // What is behind the header is TLS's own.
            let stream = conn.wire.stream().try_clone().unwrap();
            let Ok(secure) = server.accept(stream) else { return };
            conn.wire = Wire::over(secure.plain);
        }
        while conn.request().is_some() {
            conn.answer(200, &[], header.escape_ascii().to_string().as_bytes());
        }
    })
}

#[test]
fn an_upstream_is_told_who_the_client_is() {
    let home = tests::Home::default();
    let authority = Authority::new("ours");
    home.write("ca.pem", authority.pem());
    let pair = authority.signs("up", &["localhost"]);
    for (version, tls) in [("v1", false), ("v2", false), ("v1", true)] {
        let upstream = tells_header(None);
        let upstream = if tls { tells_header_byte_for_byte(&pair) } else { upstream };
        let (scheme, more) = if tls { ("https", ", tls: {ca: ca.pem}") } else { ("http", "") };
        let yaml = format!(
            "server: {{workers: 1, trusted_proxies: [127.0.0.1]}}\nupstreams:\n  up: {{endpoints: ['{scheme}://localhost:{}'], \
             proxy_protocol: {version}{more}}}\nroutes:\n  - {{name: all, path: /, upstream: up}}\n",
            upstream.address().port()
        );
        let proxyd = Start::in_home(&copied(&home), &yaml).run();
        let mut wire = Wire::connect(proxyd.address());
        let port = wire.stream().local_addr().unwrap().port();
        let ours: SocketAddr = proxyd.address();
        let expected = if version == "v1" {
            format!("PROXY TCP4 127.0.0.1 127.0.0.1 {port} {}\r\n", ours.port()).into_bytes()
        } else {
            let addresses = [127, 0, 0, 1, 127, 0, 0, 1];
            [&V2[..16], &addresses, &port.to_be_bytes(), &ours.port().to_be_bytes()].concat()
        };
        let said = Request::get("/").send_on(&mut wire).text();
        assert_eq!(said, expected.escape_ascii().to_string(), "{version}, TLS: {tls}");
        // A connection names one client, and serves no other.
        assert_ne!(Request::get("/").send(proxyd.address()).text(), said, "{version}");
        assert_eq!(upstream.connections(), 2);
        // Whom a trusted proxy names, that is the client.
        let named = Request::get("/").header("X-Forwarded-For", "192.0.2.7").send(proxyd.address()).text();
        let part = if version == "v1" { "192.0.2.7" } else { "\\xc0\\x00\\x02\\x07" };
        assert!(named.contains(part), "{version}: {named}");
    }
}

/// The same before TLS: not one byte more is read than the header has.
fn tells_header_byte_for_byte(pair: &tests::tls::Pair) -> Upstream {
    let server = Server::new(pair, &[]);
    Upstream::scripted(move |conn| {
        let mut stream = conn.wire.stream().try_clone().unwrap();
        let mut header = Vec::new();
        while !header.ends_with(b"\r\n") {
            let mut byte = [0];
            if std::io::Read::read_exact(&mut stream, &mut byte).is_err() {
                return;
            }
            header.extend(byte);
        }
        let Ok(secure) = server.accept(stream) else { return };
        conn.wire = Wire::over(secure.plain);
        while conn.request().is_some() {
            conn.answer(200, &[], header.escape_ascii().to_string().as_bytes());
        }
    })
}
