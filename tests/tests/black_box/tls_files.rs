//! Certificates that change while proxyd runs: by themselves, by a reload, and under load.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tests::config::forward_all;
use tests::tls::{Authority, Client, Pair};
use tests::{Http2, Proxyd, Request, Upstream, Wire, until};

use super::tls::{certificates, home, serve};

/// Within which changed files are taken up.
const NOTICED: Duration = Duration::from_secs(12);

fn shows(address: SocketAddr, pair: &Pair) -> bool {
    Client::new(&[]).connect(address, "default.test").is_ok_and(|secure| secure.shows(pair))
}

#[test]
fn changed_files_are_taken_up_without_a_reload() {
    let (home, authority, old) = home();
    let upstream = Upstream::saying("ok");
    let proxyd = serve(&home, &certificates(&["default"]), &forward_all(upstream.address()));
    let mut held = Http2::client(Client::new(&["h2"]).connect(proxyd.address(), "default.test").unwrap().plain);
    assert_eq!(held.get(1, "/").text(), "ok");
    assert!(shows(proxyd.address(), &old));
    let status = proxyd.status();
    let facts = &status["certificates"][0];
    assert_eq!(facts["names"], json!(["default.test"]), "{status}");
    assert!(facts["days_left"].as_i64() > Some(1000) && facts.get("problem").is_none(), "{status}");
    let generation = proxyd.generation();
    let new = authority.signs("default", &["default.test", "new.test"]);
    new.write(proxyd.home(), "default");
    until("the new certificate is shown", NOTICED, || shows(proxyd.address(), &new).then_some(()));
    assert_eq!(proxyd.status()["certificates"][0]["names"], json!(["default.test", "new.test"]));
    assert_eq!(proxyd.metric("proxyd_certificate_reloads_total", &["outcome=\"done\""]).to_bits(), 1_f64.to_bits());
    assert_eq!(held.get(3, "/").text(), "ok", "whoever is there stays");
    // A key that is not that of its certificate, and then no certificate at all: what was there stays.
    for (name, cert) in
        [("a pair that is none", authority.signs("x", &["default.test"]).cert), ("no PEM", "hello".to_owned())]
    {
        let before = proxyd.metric("proxyd_certificate_reloads_total", &["outcome=\"unreadable\""]);
        Pair { cert, ..new.clone() }.write(proxyd.home(), "default");
        until("it is seen", NOTICED, || {
            let now = proxyd.metric("proxyd_certificate_reloads_total", &["outcome=\"unreadable\""]);
            (now > before).then_some(())
        });
        assert!(shows(proxyd.address(), &new), "{name}");
        let problem = proxyd.status()["certificates"][0]["problem"].clone();
        assert!(problem.as_str().is_some_and(|text| text.contains("default.")), "{name}: {problem}");
        proxyd.ctl(&["status"]).exits(0).says(&["default.crt"]);
    }
    // A plain reload names them, and changes nothing.
    let error = proxyd.try_ask("reload", &json!({})).unwrap_err();
    assert!(error.to_string().contains("default.crt"), "{error}");
    assert_eq!(proxyd.generation(), generation);
    let newest = authority.signs("default", &["default.test"]);
    newest.write(proxyd.home(), "default");
    until("what can be used is taken up", NOTICED, || shows(proxyd.address(), &newest).then_some(()));
    assert!(proxyd.status()["certificates"][0].get("problem").is_none());
    let actions = proxyd.audit(&json!({"kind": "actions"}), 6);
    let of_files: Vec<_> = actions.iter().filter(|row| row["command"] == "certificates").collect();
    assert!(of_files.len() >= 4, "two taken up, two refused: {actions:#?}");
    assert!(of_files.iter().any(|row| row["outcome"] != "done"), "{of_files:#?}");
}

#[test]
fn a_reload_with_files_that_cannot_be_used_names_the_place() {
    let (home, authority, pair) = home();
    let upstream = Upstream::saying("ok");
    let proxyd = serve(&home, &certificates(&["default"]), &forward_all(upstream.address()));
    authority.signs("other", &["other.test"]).write(proxyd.home(), "other");
    proxyd.home().write("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let forward = forward_all(upstream.address());
    let yaml = |tls: &str| format!("server:\n  listen:\n    - address: 127.0.0.1:0\n      tls:\n{tls}\n{forward}");
    let generation = proxyd.generation();
    for (tls, words) in [
        (
            "        certificates:\n          - {cert: default.crt, key: other.key}",
            &["config.yaml:6", "certificates"][..],
        ),
        (
            "        certificates:\n          - {cert: default.crt, key: default.key}\n          - {cert: none.crt, key: other.key}",
            &["config.yaml:7", "none.crt"],
        ),
        (
            "        certificates: [{cert: default.crt, key: default.key}]\n        client_ca: broken.pem",
            &["config.yaml:6", "broken.pem"],
        ),
        ("        certificates: [{cert: default.key, key: default.crt}]", &["config.yaml:5", "default.key"]),
    ] {
        proxyd.write_config(&yaml(tls));
        let error = proxyd.try_ask("reload", &json!({})).expect_err(tls).to_string();
        for word in words {
            assert!(error.contains(word), "{word}: {error}");
        }
        assert_eq!(proxyd.generation(), generation);
        assert!(shows(proxyd.address(), &pair));
    }
    let refused = proxyd.ctl(&["validate", "--check-files", "config.yaml"]);
    assert_ne!(refused.code, Some(0), "{refused:?}");
    refused.says(&["default.key"]);
}

#[test]
fn authorities_that_change_are_taken_up_too() {
    let (home, ..) = home();
    let (before, after) = (Authority::new("before"), Authority::new("after"));
    home.write("clients.pem", before.pem());
    let upstream = Upstream::saying("ok");
    let own = format!("{}, client_ca: clients.pem", certificates(&["default"]));
    let proxyd = serve(&home, &own, &forward_all(upstream.address()));
    let comes_in = |client: &Client| {
        let mut wire = Wire::over(client.connect(proxyd.address(), "default.test").ok()?.plain);
        wire.try_send(Request::get("/").bytes());
        wire.try_response("GET").map(|answer| answer.text())
    };
    let (old, new) = (Client::showing(&[], &before.signs("old", &[])), Client::showing(&[], &after.signs("new", &[])));
    assert_eq!((comes_in(&old).as_deref(), comes_in(&new)), (Some("ok"), None));
    proxyd.home().write("clients.pem", after.pem());
    until("the new authority is believed", NOTICED, || comes_in(&new));
    assert_eq!(comes_in(&old), None, "and the old one no more");
}

/// Clients that keep their connections and count what fails, until told to stop.
struct Busy {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    threads: Vec<std::thread::JoinHandle<Vec<String>>>,
}

impl Busy {
    fn start(address: SocketAddr, count: usize) -> Self {
        let (stop, served) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let threads = (0..count).map(|number| {
            let (stop, served) = (Arc::clone(&stop), Arc::clone(&served));
            std::thread::spawn(move || {
                let mut failed = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let one = if number % 2 == 0 { keep_alive } else { streams };
                    if let Err(error) = one(address, &stop, &served) {
                        failed.push(error);
                        std::thread::sleep(Duration::from_millis(20));
                    }
                }
                failed
            })
        });
        Self { threads: threads.collect(), stop, served }
    }

    /// At least so many more are served.
    fn goes_on(&self, requests: usize) {
        let before = self.served.load(Ordering::SeqCst);
        until("requests are served", Duration::from_secs(30), || {
            (self.served.load(Ordering::SeqCst) >= before + requests).then_some(())
        });
    }

    fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    }
}

/// One connection of HTTP/1.1, until it is told to be the last request.
fn keep_alive(address: SocketAddr, stop: &AtomicBool, served: &AtomicUsize) -> Result<(), String> {
    let secure = Client::new(&["http/1.1"]).connect(address, "default.test")?;
    let mut wire = Wire::over(secure.plain.try_clone().unwrap());
    for _ in 0..20 {
        if stop.load(Ordering::SeqCst) {
            return Ok(());
        }
        if !wire.try_send(Request::get("/").bytes()) {
            return Err(format!("HTTP/1.1: the connection is gone: {:?}", secure.broke()));
        }
        let response = wire.try_response("GET").ok_or_else(|| format!("HTTP/1.1: no answer: {:?}", secure.broke()))?;
        if response.status != 200 || !response.whole {
            return Err(format!("HTTP/1.1: {response:?}"));
        }
        served.fetch_add(1, Ordering::SeqCst);
        if response.headers.has("connection", "close") {
            return Ok(());
        }
    }
    Ok(())
}

/// One connection of HTTP/2, until it is told to go.
fn streams(address: SocketAddr, stop: &AtomicBool, served: &AtomicUsize) -> Result<(), String> {
    let secure = Client::new(&["h2"]).connect(address, "default.test")?;
    let mut client = Http2::client(secure.plain.try_clone().unwrap());
    for number in 0..20 {
        if stop.load(Ordering::SeqCst) || client.goaways.iter().any(|last| last.0 <= 2 * number) {
            return Ok(());
        }
        let answer = client.get(2 * number + 1, "/");
        if answer.text() != "ok" {
            // Above the last stream that GOAWAY names it may be asked again (RFC 9113 section 6.8).
            if client.goaways.iter().any(|last| last.0 < 2 * number + 1) {
                return Ok(());
            }
            return Err(format!("HTTP/2: {answer:?} {client:?} {:?}", secure.broke()));
        }
        served.fetch_add(1, Ordering::SeqCst);
    }
    Ok(())
}

#[test]
fn certificates_and_listeners_change_under_load() {
    let (home, authority, _) = home();
    let upstream = Upstream::saying("ok");
    let first = tests::upstream::nobody();
    let second = tests::upstream::nobody();
    let third = tests::upstream::nobody();
    let yaml = |addresses: &[SocketAddr]| {
        let own = certificates(&["default"]);
        let listeners: Vec<String> =
            addresses.iter().map(|address| format!("{{address: '{address}', tls: {{{own}}}}}")).collect();
        format!("server: {{workers: 2, listen: [{}]}}\n{}", listeners.join(", "), forward_all(upstream.address()))
    };
    let home = tests::tls::copied(&home);
    let proxyd: Proxyd = tests::Start::in_home(&home, &yaml(&[first])).leave("server.listen").run();
    let busy = Busy::start(first, 4);
    busy.goes_on(10);
    let began = Instant::now();
    for round in 0..4 {
        authority.signs("default", &["default.test", &format!("round{round}.test")]).write(&home, "default");
        let with = if round % 2 == 0 { second } else { third };
        proxyd.reload_with(&yaml(&[first, with]));
        assert_eq!(
            proxyd.status()["certificates"][0]["names"][1],
            json!(format!("round{round}.test")),
            "a reload reads the files again"
        );
        let on_new = Busy::start(with, 1);
        on_new.goes_on(3);
        let failed = on_new.stop();
        assert!(failed.is_empty(), "{failed:#?}");
        busy.goes_on(10);
        proxyd.reload_with(&yaml(&[first]));
        until("the listener is gone", Duration::from_secs(10), || {
            std::net::TcpStream::connect(with).is_err().then_some(())
        });
        busy.goes_on(10);
    }
    let failed = busy.stop();
    assert!(
        failed.is_empty(),
        "{} failed in {:?}: {:#?}",
        failed.len(),
        began.elapsed(),
        &failed[..failed.len().min(5)]
    );
}
