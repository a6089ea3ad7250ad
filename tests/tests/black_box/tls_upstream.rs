//! TLS with upstreams: whom proxyd believes, and who it says it is.

use serde_json::json;
use tests::tls::{Authority, Pair, Server, copied};
use tests::{Home, Proxyd, Start, Upstream, Wire};

/// An upstream in TLS that says for which name it was asked, and by whom.
fn secure(server: Server) -> Upstream {
    Upstream::scripted(move |conn| {
        let Ok(secure) = server.accept(conn.wire.stream().try_clone().unwrap()) else { return };
        let said = format!("asked for {:?}, certificates: {}", secure.asked, secure.chain.len());
        conn.wire = Wire::over(secure.plain);
        while conn.request().is_some() {
            conn.answer(200, &[], said.as_bytes());
        }
    })
}

fn to(home: &Home, upstream: &Upstream, host: &str, tls: &str) -> Proxyd {
    let port = upstream.address().port();
    let yaml = format!(
        "upstreams:\n  up: {{endpoints: ['https://{host}:{port}'], tls: {{{tls}}}}}\n\
         routes:\n  - {{name: all, path: /, upstream: up}}\n"
    );
    Start::in_home(&copied(home), &yaml).run()
}

struct Case {
    name: &'static str,
    /// What the upstream shows.
    pair: Pair,
    host: &'static str,
    tls: &'static str,
    /// What is answered; none: 502 `upstream_tls`.
    says: Option<&'static str>,
}

#[test]
fn an_endpoint_must_prove_who_it_is() {
    // RFC 9525 section 6.
    let (home, ours, theirs) = (Home::default(), Authority::new("ours"), Authority::new("theirs"));
    home.write("ours.pem", ours.pem());
    home.write("theirs.pem", theirs.pem());
    let local = || ours.signs("up", &["localhost"]);
    let case = |name, pair, host, tls, says| Case { name, pair, host, tls, says };
    for case in [
        case("its name", local(), "localhost", "ca: ours.pem", Some("asked for Some(\"localhost\")")),
        case("its address", ours.signs("up", &["127.0.0.1"]), "127.0.0.1", "ca: ours.pem", Some("asked for None")),
        case("another name", ours.signs("up", &["other.test"]), "localhost", "ca: ours.pem", None),
        case(
            "its name as its common name alone",
            ours.signs("localhost", &["other.test"]),
            "localhost",
            "ca: ours.pem",
            None,
        ),
        case("another authority", local(), "localhost", "ca: theirs.pem", None),
        case("no authority that the system knows", local(), "localhost", "", None),
        case(
            "another name, which is asked for",
            ours.signs("up", &["api.test"]),
            "127.0.0.1",
            "ca: ours.pem, server_name: api.test",
            Some("asked for Some(\"api.test\")"),
        ),
        case("its name, and another is asked for", local(), "localhost", "ca: ours.pem, server_name: api.test", None),
        case(
            "a wildcard",
            ours.signs("up", &["*.up.test"]),
            "127.0.0.1",
            "ca: ours.pem, server_name: api.up.test",
            Some("api.up.test"),
        ),
        case(
            "anybody",
            theirs.signs("up", &["other.test"]),
            "localhost",
            "verify: false",
            Some("asked for Some(\"localhost\")"),
        ),
    ] {
        let upstream = secure(Server::new(&case.pair, &[]));
        let proxyd = to(&home, &upstream, case.host, case.tls);
        let answer = proxyd.get("/");
        if let Some(says) = case.says {
            assert!(answer.status == 200 && answer.text().contains(says), "{}: {}", case.name, answer.text());
            continue;
        }
        assert_eq!((answer.status, answer.error_code().as_str()), (502, "upstream_tls"), "{}", case.name);
        let rows = proxyd.audit(&json!({"outcome": "upstream_tls"}), 1);
        assert_eq!(rows[0]["status"], 502);
        assert!(proxyd.metric("proxyd_upstream_failures_total", &["kind=\"tls\""]) >= 1.0, "{}", case.name);
        assert_eq!(upstream.requests(), 0);
    }
}

#[test]
fn an_endpoint_may_ask_who_we_are() {
    let (home, ours) = (Home::default(), Authority::new("ours"));
    home.write("ca.pem", ours.pem());
    ours.signs("proxyd", &["proxyd.test"]).write(&home, "proxyd");
    Authority::new("others").signs("proxyd", &["proxyd.test"]).write(&home, "other");
    let upstream = secure(Server::asking(&ours.signs("up", &["localhost"]), &[], &ours));
    let says = to(&home, &upstream, "localhost", "ca: ca.pem, cert: proxyd.crt, key: proxyd.key").get("/").text();
    assert!(says.ends_with("certificates: 1"), "{says}");
    for tls in ["ca: ca.pem", "ca: ca.pem, cert: other.crt, key: other.key"] {
        let answer = to(&home, &upstream, "localhost", tls).get("/");
        assert_eq!(answer.status, 502, "{tls}: {}", answer.text());
    }
}

#[test]
fn a_connection_in_tls_is_used_again() {
    let (home, ours) = (Home::default(), Authority::new("ours"));
    home.write("ca.pem", ours.pem());
    let upstream = secure(Server::new(&ours.signs("up", &["localhost"]), &["http/1.1"]));
    let proxyd = to(&home, &upstream, "localhost", "ca: ca.pem");
    let workers = proxyd.metric("proxyd_workers", &[]) as usize;
    for _ in 0..20 {
        assert_eq!(proxyd.get("/").status, 200);
    }
    assert!(upstream.connections() <= workers, "{} connections, {workers} workers", upstream.connections());
}

#[test]
fn what_breaks_off_without_a_goodbye_is_not_whole() {
    // RFC 9112 section 9.8: an answer that ends with its connection must end as TLS ends.
    let (home, ours) = (Home::default(), Authority::new("ours"));
    home.write("ca.pem", ours.pem());
    for goodbye in [true, false] {
        let server = Server::new(&ours.signs("up", &["localhost"]), &[]);
        let upstream = Upstream::scripted(move |conn| {
            let raw = conn.wire.stream().try_clone().unwrap();
            let Ok(secure) = server.accept(raw.try_clone().unwrap()) else { return };
            let mut wire = Wire::over(secure.plain);
            wire.head();
            wire.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\na beginning");
            std::thread::sleep(std::time::Duration::from_millis(100));
            if goodbye {
                drop(wire);
                std::thread::sleep(std::time::Duration::from_millis(200));
            } else {
                raw.shutdown(std::net::Shutdown::Both).unwrap();
            }
        });
        let answer = to(&home, &upstream, "localhost", "ca: ca.pem").get("/");
        assert_eq!(answer.text(), "a beginning");
        assert_eq!(answer.whole, goodbye);
    }
}
