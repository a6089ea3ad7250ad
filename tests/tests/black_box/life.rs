//! Start and stop: what a start says, what a stop waits for, what ends a start.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;
use tests::config::forward_all;
use tests::{Home, PATIENCE, Proxyd, Request, Start, Upstream, Wire, eventually};

const PLAIN: &str = "routes:\n  - {path: /, respond: {status: 200}}\n";

fn slow(milliseconds: u64) -> Upstream {
    Upstream::scripted(move |conn| {
        while conn.request().is_some() {
            std::thread::sleep(Duration::from_millis(milliseconds));
            conn.answer(200, &[], b"whole");
        }
    })
}

#[test]
fn a_stop_lets_requests_finish_and_writes_their_rows() {
    let upstream = slow(600);
    let mut proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut idle = Wire::connect(proxyd.address());
    assert_eq!(Request::get("/warm").send_on(&mut idle).status, 200);
    let mut wires: Vec<Wire> = (0..5).map(|_| Wire::connect(proxyd.address())).collect();
    for wire in &mut wires {
        wire.send(Request::get("/draining").bytes());
    }
    eventually("all are upstream", || (upstream.requests() == 6).then_some(()));
    proxyd.signal(Signal::SIGTERM);
    assert!(idle.closes_within(PATIENCE), "an idle connection is let go");
    for wire in &mut wires {
        let response = wire.response("GET");
        assert_eq!((response.text().as_str(), response.whole), ("whole", true));
    }
    assert!(proxyd.wait_exit(PATIENCE).success(), "{}", proxyd.output());
    let home = proxyd.home().clone();
    let proxyd = Start::in_home(&home, PLAIN).run();
    assert_eq!(proxyd.stream("audit", &json!({"path": "/draining"})).len(), 5);
    assert_eq!(proxyd.ask("audit_verify", &json!({}))["gaps"], json!([]), "a clean stop leaves no gap");
}

#[test]
fn a_second_signal_stops_now() {
    let upstream = slow(30_000);
    let mut proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut wire = Wire::connect(proxyd.address());
    wire.send(Request::get("/").bytes());
    eventually("it is upstream", || (upstream.requests() == 1).then_some(()));
    let begun = Instant::now();
    proxyd.signal(Signal::SIGTERM);
    eventually("it drains", || {
        let page = std::net::TcpStream::connect(proxyd.address());
        page.is_err().then_some(())
    });
    proxyd.signal(Signal::SIGTERM);
    proxyd.wait_exit(Duration::from_secs(10));
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[test]
fn a_drain_has_its_time() {
    let upstream = slow(30_000);
    let mut proxyd =
        Proxyd::start(&format!("server: {{timeouts: {{drain: 500ms}}}}\n{}", forward_all(upstream.address())));
    let mut wire = Wire::connect(proxyd.address());
    wire.send(Request::get("/").bytes());
    eventually("it is upstream", || (upstream.requests() == 1).then_some(()));
    proxyd.signal(Signal::SIGINT);
    proxyd.wait_exit(Duration::from_secs(10));
}

#[test]
fn what_ends_a_start_is_said() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let check = |start: Start, words: &[&str]| {
        let ran = start.ends();
        assert_eq!(ran.code, Some(1), "{ran:?}");
        ran.says(words);
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    };
    check(Start::new(PLAIN).set("server.listen", &address), &[&address, "in use"]);
    check(Start::new(PLAIN).set("admin.listen", &address), &[&address, "in use"]);
    check(Start::new(PLAIN).set("server.listen", "192.0.2.1:80"), &["192.0.2.1:80"]);
    check(Start::new(PLAIN).config("missing.yaml"), &["missing.yaml"]);
    check(Start::new(PLAIN).set("server.listne", "x"), &["listne", "listen"]);
    check(Start::new("routes: [").leave("server.listen"), &["config.yaml:1"]);
    check(Start::new(PLAIN).set("admin.socket", "/nowhere/at/all/proxyd.sock"), &["/nowhere/at/all"]);
    check(Start::new(PLAIN).set("log.access", "/nowhere/at/all/access.log"), &["/nowhere/at/all/access.log"]);
    let home = Home::default();
    home.write("file", "");
    let under_a_file = home.file("file/data").display().to_string();
    check(Start::in_home(&home, PLAIN).set("server.state_dir", &under_a_file), &[&under_a_file]);
}

#[test]
fn wrong_usage_is_told() {
    let ran = Start::new(PLAIN).only_args(&["--fly"]).ends();
    assert_eq!(ran.code, Some(2), "{ran:?}");
    ran.says(&["--fly"]);
    let help = Start::new(PLAIN).only_args(&["--help"]).ends();
    assert_eq!(help.code, Some(0));
    help.says(&["--config", "--set", "--env", "--demo"]);
    let version = Start::new(PLAIN).only_args(&["--version"]).ends();
    assert_eq!(version.code, Some(0));
    version.says(&["proxyd 0.1.0"]);
}

#[test]
fn a_start_says_where_it_listens() {
    let proxyd = Proxyd::start(PLAIN);
    let home = proxyd.stop();
    assert!(home.read("stderr.log").contains("127.0.0.1:"), "{}", home.read("stderr.log"));
}

#[test]
fn the_config_beside_it_is_found() {
    let home = Home::default();
    home.write(
        "config.yaml",
        "server: {listen: '127.0.0.1:0', state_dir: ./data}\nadmin: {listen: off, socket: ./proxyd.sock}\nlog: {access: off}\nroutes:\n  - {path: /, respond: {body: found}}\n",
    );
    let text = home.read("config.yaml");
    let proxyd = Start::in_home(&home, &text).only_args(&[]).run();
    assert_eq!(proxyd.get("/").text(), "found");
}

#[test]
fn the_demo_answers_with_the_repository_s_own_config() {
    // Its backends have the ports that the example's targets name: one demo at a time on a machine.
    eventually("the demo's ports are free", || {
        [8001, 8002].iter().all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).then_some(())
    });
    let text = std::fs::read_to_string(tests::binaries::repository().join("config.yaml")).expect("config.yaml");
    let proxyd = Start::new(&text).args(&["--demo"]).run();
    let routes = proxyd.stream("routes", &json!({}));
    assert!(routes.iter().any(|route| route["action"].as_str().is_some_and(|action| action.starts_with("respond"))));
    let response = proxyd.get("/api/hello");
    assert_eq!(response.status, 200, "{}", response.text());
    let rows = proxyd.audit(&json!({"path": "/api/hello"}), 1);
    assert_eq!(rows[0]["outcome"], "served");
    assert_eq!(proxyd.get("/auth/hello").status, 200);
}
