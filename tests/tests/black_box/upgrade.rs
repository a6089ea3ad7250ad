//! Upgrades: another process takes over, nobody notices, and where it does not start the old one goes on.

use std::collections::HashSet;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};
use tests::config::forward_all;
use tests::http2::get_fields;
use tests::load::{Load, Tally};
use tests::tls::Client;
use tests::{Home, Http2, PATIENCE, Proxyd, Request, Start, Upstream, Wire, binaries, eventually};

use super::{tls, websocket};

pub(super) const PLAIN: &str = "routes:\n  - {path: /, respond: {status: 200}}\n";

/// Clients that send one request a connection, as fast as they can.
struct Strangers {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<(usize, Vec<String>)>,
}

impl Strangers {
    fn start(proxyd: &Proxyd, target: &str) -> Self {
        let (stop, address, target) = (Arc::<AtomicBool>::default(), proxyd.address(), target.to_owned());
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut answered, mut failed) = (0, Vec::new());
            while !stopped.load(Ordering::SeqCst) {
                let Ok(stream) = std::net::TcpStream::connect(address) else {
                    failed.push("cannot connect".to_owned());
                    continue;
                };
                let mut wire = Wire::over(stream);
                let request = Request::get(&target).header("Connection", "close");
                match wire.try_send(request.bytes()).then(|| wire.try_response("GET")).flatten() {
                    Some(response) if response.status == 200 && response.whole => answered += 1,
                    Some(response) => failed.push(format!("{} {}", response.status, response.text())),
                    None => failed.push("no answer".to_owned()),
                }
            }
            (answered, failed)
        });
        Self { stop, thread }
    }

    fn stop(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        let (answered, failed) = self.thread.join().expect("a client does not panic");
        assert!(failed.is_empty(), "{} of {answered} failed, such as {:?}", failed.len(), failed.first());
        answered
    }
}

pub(super) fn all_answered(tally: &Tally) {
    assert!(tally.failed.is_empty(), "{} failed, such as {:?}", tally.failed.len(), tally.failed.first());
    assert_eq!(tally.statuses.keys().collect::<Vec<_>>(), [&200], "{:?}", tally.statuses);
}

/// Rows of this path, and how many different requests they are of.
pub(super) fn rows(proxyd: &Proxyd, path: &str) -> (usize, usize) {
    let (mut rows, mut seen, mut before) = (0, HashSet::new(), Value::Null);
    loop {
        let mut query = json!({"path": path, "last": 10_000});
        if !before.is_null() {
            query["before"] = before;
        }
        let page = proxyd.stream("audit", &query);
        let Some(first) = page.first() else { return (rows, seen.len()) };
        before = first["seq"].clone();
        rows += page.len();
        seen.extend(page.iter().filter_map(|row| row["request_id"].as_str().map(str::to_owned)));
    }
}

pub(super) fn is_intact(proxyd: &Proxyd) {
    let verified = proxyd.ask("audit_verify", &json!({}));
    assert_eq!((&verified["intact"], &verified["gaps"]), (&json!(true), &json!([])), "{verified}");
}

pub(super) fn actions(proxyd: &Proxyd) -> Vec<(String, String)> {
    let rows = proxyd.stream("audit", &json!({"kind": "actions", "last": 100}));
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    rows.iter().map(|row| (text(row, "command"), text(row, "outcome"))).collect()
}

pub(super) fn action(command: &str, outcome: &str) -> (String, String) {
    (command.to_owned(), outcome.to_owned())
}

/// The binary under a path of its own, so that another can be put there.
pub(super) fn own_binary(home: &Home) -> PathBuf {
    let path = home.file("bin-proxyd");
    let built = binaries::path("proxyd");
    if std::fs::hard_link(&built, &path).is_err() {
        std::fs::copy(&built, &path).expect("a file can be copied");
    }
    path
}

pub(super) fn replace(binary: &Path, text: &str) {
    let new = binary.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(&new, binary).unwrap();
}

/// Takes two seconds for each answer.
fn slow() -> Upstream {
    Upstream::scripted(|conn| {
        while conn.request().is_some() {
            std::thread::sleep(Duration::from_secs(2));
            conn.answer(200, &[], b"whole");
        }
    })
}

#[test]
fn under_load_nothing_fails_and_each_request_is_on_record_once() {
    let upstream = Upstream::saying("hello");
    let mut proxyd = Proxyd::start(&format!("server: {{workers: 3}}\n{}", forward_all(upstream.address())));
    let (address, admin) = (proxyd.address(), proxyd.admin());
    let load = Load::start(address, "/kept", 4, "kept");
    let strangers = Strangers::start(&proxyd, "/stranger");
    // Fewer workers, then more, and as many again: no queue may be forgotten.
    for workers in [1, 4, 4] {
        std::thread::sleep(Duration::from_millis(300));
        proxyd.write_config(&format!("server: {{workers: {workers}}}\n{}", forward_all(upstream.address())));
        let told = proxyd.ctl(&["upgrade", "--output", "json"]);
        told.exits(0);
        let before = proxyd.follow();
        let told = told.json();
        assert_eq!(told["pid_before"], before.as_raw(), "{told}");
        assert_eq!(told["pid"], proxyd.pid().as_raw(), "{told}");
        assert_eq!(told["audited"], true, "{told}");
        assert_eq!((proxyd.address(), proxyd.admin()), (address, admin), "the listeners are the same");
        assert_eq!(proxyd.status()["workers"], workers);
        proxyd.wait_gone(before, PATIENCE);
    }
    std::thread::sleep(Duration::from_millis(300));
    let (tally, strangers) = (load.stop(), strangers.stop());
    all_answered(&tally);
    assert!(tally.answered() > 20 && strangers > 20, "{} and {strangers}", tally.answered());
    let home = proxyd.stop();
    let proxyd = Start::in_home(&home, PLAIN).run();
    is_intact(&proxyd);
    assert_eq!(rows(&proxyd, "/kept"), (tally.answered(), tally.answered()));
    assert_eq!(rows(&proxyd, "/stranger"), (strangers, strangers));
    let done = actions(&proxyd);
    assert_eq!(done.iter().filter(|row| **row == action("upgrade", "begun")).count(), 3, "{done:?}");
    assert_eq!(done.iter().filter(|row| **row == action("start", "done")).count(), 5, "{done:?}");
    assert_eq!(done.iter().filter(|row| **row == action("stop", "done")).count(), 4, "{done:?}");
}

#[test]
fn what_began_before_ends_well_after() {
    let upstream = Upstream::scripted(|conn| {
        while let Some(request) = conn.request_head() {
            if request.target.starts_with("/socket") {
                // Bytes there and back, whatever they are.
                conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
                while let [byte] = *conn.wire.exactly(1) {
                    conn.send([byte]);
                }
                return;
            }
            std::thread::sleep(Duration::from_millis(1500));
            conn.answer(200, &[], b"whole");
        }
    });
    let mut proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut tunnel = Wire::connect(proxyd.address());
    tunnel.send("GET /socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
    assert!(tunnel.head().unwrap().contains(" 101 "));
    let mut slow = Wire::connect(proxyd.address());
    slow.send(Request::get("/slow").bytes());
    eventually("both are upstream", || (upstream.requests() == 2).then_some(()));
    let told = proxyd.ask("upgrade", &json!({}));
    assert_eq!((&told["in_flight"], &told["connections"]), (&json!(2), &json!(2)), "{told}");
    let before = proxyd.follow();
    tunnel.send("t");
    assert_eq!(tunnel.exactly(1), b"t");
    let response = slow.response("GET");
    assert_eq!((response.text().as_str(), response.whole), ("whole", true));
    assert!(response.headers.has("connection", "close"));
    tunnel.send("u");
    assert_eq!(tunnel.exactly(1), b"u");
    assert!(kill(before, None).is_ok(), "the old process lives as long as the tunnel");
    drop(tunnel);
    proxyd.wait_gone(before, PATIENCE);
    assert_eq!(proxyd.audit(&json!({"path": "/slow"}), 1).len(), 1);
    assert_eq!(proxyd.audit(&json!({"path": "/socket"}), 1).len(), 1);
    is_intact(&proxyd);
}

#[test]
fn an_idle_connection_may_ask_once_more() {
    let mut proxyd = Proxyd::start(PLAIN);
    let (mut used, mut unused) = (Wire::connect(proxyd.address()), Wire::connect(proxyd.address()));
    assert_eq!(Request::get("/first").send_on(&mut used).status, 200);
    // Its connection is accepted when this one's request, which came later, is answered.
    assert_eq!(proxyd.get("/").status, 200);
    proxyd.ask("upgrade", &json!({}));
    let before = proxyd.follow();
    // Longer than it takes to close what is to be closed at once.
    std::thread::sleep(Duration::from_millis(300));
    for wire in [&mut used, &mut unused] {
        let response = Request::get("/last").send_on(wire);
        assert_eq!(response.status, 200);
        assert!(response.headers.has("connection", "close"), "the next one goes to the new process");
    }
    proxyd.wait_gone(before, PATIENCE);
    assert_eq!(proxyd.audit(&json!({"path": "/last"}), 2).len(), 2);
}

#[test]
fn over_tls_and_http2_what_is_under_way_ends_and_the_rest_goes_to_the_new() {
    let upstream = Upstream::scripted(|conn| {
        while let Some(request) = conn.request() {
            if request.target == "/slow" {
                std::thread::sleep(Duration::from_millis(1500));
            }
            conn.answer(200, &[], b"whole");
        }
    });
    let (home, ..) = tls::home();
    let mut proxyd = tls::serve(&home, &tls::certificates(&["default"]), &forward_all(upstream.address()));
    let connect = |alpn: &[&str], proxyd: &Proxyd| {
        Client::new(alpn).connect(proxyd.address(), "default.test").expect("a greeting").plain
    };
    let mut client = Http2::client(connect(&["h2"], &proxyd));
    client.head(1, &get_fields("/slow"), true);
    let mut kept = Wire::over(connect(&["http/1.1"], &proxyd));
    assert_eq!(Request::get("/kept").send_on(&mut kept).status, 200);
    eventually("both are upstream", || (upstream.requests() == 2).then_some(()));
    proxyd.ask("upgrade", &json!({}));
    let before = proxyd.follow();
    assert!(client.until(|all| !all.goaways.is_empty()), "no further requests are taken: {client:?}");
    let other = Http2::client(connect(&["h2"], &proxyd)).get(1, "/other");
    assert_eq!((other.status(), other.text().as_str()), (200, "whole"));
    let last = Request::get("/kept").send_on(&mut kept);
    assert_eq!((last.status, last.headers.has("connection", "close")), (200, true));
    let slow = client.whole(1);
    assert_eq!((slow.status(), slow.text().as_str()), (200, "whole"), "{client:?}");
    proxyd.wait_gone(before, PATIENCE);
    assert_eq!(proxyd.audit(&json!({"kind": "requests"}), 4).len(), 4);
    is_intact(&proxyd);
}

#[test]
fn a_websocket_lives_through_two_upgrades_of_the_daemon() {
    let upstream = websocket::repeater();
    let mut proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut first = websocket::open(&proxyd);
    websocket::repeats(&mut first, "one");
    proxyd.ask("upgrade", &json!({}));
    proxyd.follow();
    let mut second = websocket::open(&proxyd);
    proxyd.ask("upgrade", &json!({}));
    proxyd.follow();
    for socket in [&mut first, &mut second] {
        websocket::repeats(socket, "two");
    }
    // The middle process is heir and predecessor at once: what the first one still records comes through it.
    drop((first, second));
    assert_eq!(proxyd.audit(&json!({"path": "/socket"}), 2).len(), 2);
    is_intact(&proxyd);
}

#[test]
fn a_websocket_is_told_goodbye_when_the_time_is_nearly_up() {
    let upstream = websocket::repeater();
    let config = format!("server: {{timeouts: {{drain: 4s}}}}\n{}", forward_all(upstream.address()));
    let mut proxyd = Proxyd::start(&config);
    let mut socket = websocket::open(&proxyd);
    let begun = Instant::now();
    proxyd.ask("upgrade", &json!({}));
    let before = proxyd.follow();
    websocket::repeats(&mut socket, "still here");
    let told = socket.read().expect("a last word");
    assert!(matches!(told, tungstenite::Message::Close(Some(_))), "{told:?}");
    assert!(begun.elapsed() > Duration::from_millis(1500), "{:?}", begun.elapsed());
    while socket.read().is_ok() {}
    proxyd.wait_gone(before, PATIENCE);
}

#[test]
fn a_signal_does_the_same() {
    let mut proxyd = Proxyd::start(PLAIN);
    proxyd.get("/before");
    for _ in 0..2 {
        proxyd.signal(Signal::SIGUSR2);
        let before = proxyd.follow();
        proxyd.wait_gone(before, PATIENCE);
    }
    assert_eq!(proxyd.get("/after").status, 200);
    let done = proxyd.audit(&json!({"kind": "actions", "last": 100}), 5);
    let upgrade = done.iter().find(|row| row["command"] == "upgrade").expect("a row");
    assert_eq!((&upgrade["door"], &upgrade["actor"]), (&json!("signal"), &json!("signal SIGUSR2")));
    let home = proxyd.stop();
    assert!(!home.file("proxyd.sock").exists(), "the last one takes the socket's file along");
}

#[test]
fn the_service_manager_is_told_who_serves() {
    let home = Home::default();
    let manager = UnixDatagram::bind(home.file("notify")).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    // The next message that is no sign of life.
    let hear = || loop {
        let mut text = vec![0; 1024];
        let bytes = manager.recv(&mut text).expect("a message in time");
        let text = String::from_utf8_lossy(&text[..bytes]).into_owned();
        if !text.contains("WATCHDOG=1") {
            return text;
        }
    };
    let start = Start::in_home(&home, PLAIN).env("NOTIFY_SOCKET", &home.file("notify").display().to_string());
    // Whose watchdog it is is said of a process that is not ours: only the one that takes over has one.
    let mut proxyd = start.env("WATCHDOG_USEC", "300000").env("WATCHDOG_PID", "1").run();
    assert_eq!(hear(), "READY=1\n");
    proxyd.ask("upgrade", &json!({}));
    let before = proxyd.follow();
    assert_eq!(hear(), format!("MAINPID={}\nREADY=1\n", proxyd.pid()));
    proxyd.wait_gone(before, PATIENCE);
    let mut text = vec![0; 1024];
    let bytes = manager.recv(&mut text).expect("a sign of life in time");
    assert_eq!(&text[..bytes], b"WATCHDOG=1\n");
    proxyd.stop();
    assert_eq!(hear(), "STOPPING=1\n", "only the one that serves says that the service stops");
}

#[test]
fn a_start_that_is_no_upgrade_says_so() {
    let check = |protocol: &str, words: &[&str]| {
        let ran = Start::new(PLAIN).env("PROXYD_UPGRADE", protocol).ends();
        assert_eq!(ran.code, Some(1), "{ran:?}");
        ran.says(words);
    };
    check("1", &["PROXYD_UPGRADE", "no process to take over from"]);
    check("9", &["PROXYD_UPGRADE", "this version speaks 1"]);
}

#[test]
fn over_http_it_takes_an_operator() {
    let mut proxyd = Proxyd::start(PLAIN);
    let refused = proxyd.admin_send(&Request::new("POST", "/admin/upgrade"));
    assert_eq!(refused.status, 403, "{}", refused.text());
    let token = "{name: ci, token: tested-tested-tested, role: operator}";
    proxyd.reload_with(&format!("admin: {{auth: {{tokens: [{token}]}}}}\n{PLAIN}"));
    let request = Request::new("POST", "/admin/upgrade").header("Authorization", "Bearer tested-tested-tested");
    let told = proxyd.admin_send(&request);
    assert_eq!(told.status, 200, "{}", told.text());
    let before = proxyd.follow();
    assert_eq!(told.json()["pid"], proxyd.pid().as_raw());
    proxyd.wait_gone(before, PATIENCE);
}

#[test]
fn what_the_new_config_has_differently_is_so() {
    let home = Home::default();
    let mut proxyd = Start::in_home(&home, PLAIN).run();
    let old_traffic = proxyd.address();
    let config = "server: {listen: ['127.0.0.1:0', '127.0.0.2:0']}\nroutes:\n  - {path: /, respond: {body: new}}\n";
    // `--set` of the harness wins over the file, as it does for the new process: the file's own listeners do not count.
    proxyd.write_config(config);
    proxyd.ask("upgrade", &json!({}));
    let before = proxyd.follow();
    proxyd.wait_gone(before, PATIENCE);
    assert_eq!((proxyd.address(), proxyd.get("/").text().as_str()), (old_traffic, "new"));
    assert_eq!(proxyd.generation(), 2);
    // A reload there works as ever.
    let told = proxyd.reload_with(PLAIN);
    assert_eq!(told["generation"], 3, "{told}");
}

#[test]
fn a_control_socket_that_moves_leaves_nothing_behind() {
    let home = Home::default();
    let config = |name: &str| format!("admin: {{socket: {}}}\n{PLAIN}", home.file(name).display());
    let proxyd = Start::in_home(&home, &config("proxyd.sock")).leave("admin.socket").run();
    let before = proxyd.pid();
    proxyd.write_config(&config("moved.sock"));
    let told = proxyd.ask("upgrade", &json!({}));
    assert!(!home.file("proxyd.sock").exists());
    let status = tests::Control::connect(&home.file("moved.sock")).try_ask("status", &json!({})).unwrap();
    assert_eq!((&status["pid"], &told["pid_before"]), (&told["pid"], &json!(before.as_raw())));
    let pid = nix::unistd::Pid::from_raw(i32::try_from(told["pid"].as_i64().unwrap()).unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    eventually("it stops", || (!home.file("moved.sock").exists()).then_some(()));
}

#[test]
fn a_new_process_that_dies_leaves_its_store_to_the_old() {
    let upstream = slow();
    let mut proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut slow = Wire::connect(proxyd.address());
    slow.send(Request::get("/slow").bytes());
    eventually("it is upstream", || (upstream.requests() == 1).then_some(()));
    proxyd.ask("upgrade", &json!({}));
    let before = proxyd.follow();
    proxyd.signal(Signal::SIGKILL);
    assert_eq!(slow.response("GET").text(), "whole");
    proxyd.wait_gone(before, PATIENCE);
    let home = proxyd.home().clone();
    let proxyd = Start::in_home(&home, PLAIN).run();
    // Gaps are told whatever is asked for.
    let kinds = proxyd.stream("audit", &json!({"path": "/slow"}));
    assert_eq!(kinds.iter().map(|row| row["kind"].as_str().unwrap()).collect::<Vec<_>>(), ["gap", "request"]);
    let verified = proxyd.ask("audit_verify", &json!({}));
    assert_eq!(verified["intact"], true, "{verified}");
    assert_eq!(verified["gaps"].as_array().map(Vec::len), Some(1), "it ended uncleanly, and that is said: {verified}");
}

#[test]
fn a_listener_that_is_gone_from_the_config_is_closed_after_its_queue() {
    let home = Home::default();
    let one = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let two = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = |listen: &str| format!("server: {{listen: [{listen}]}}\n{PLAIN}");
    let both = config(&format!("'{one}', '{two}'"));
    let mut proxyd = Start::in_home(&home, &both).leave("server.listen").run();
    assert_eq!(Request::get("/").send(two).status, 200);
    proxyd.write_config(&config(&format!("'{one}'")));
    proxyd.ask("upgrade", &json!({}));
    let before = proxyd.follow();
    proxyd.wait_gone(before, PATIENCE);
    assert_eq!(Request::get("/").send(one).status, 200);
    assert!(std::net::TcpStream::connect(two).is_err());
    // And back, by a reload of the process that took over.
    proxyd.reload_with(&both);
    assert_eq!(Request::get("/").send(two).status, 200);
    proxyd.reload_with(&config(&format!("'{two}'")));
    assert!(std::net::TcpStream::connect(one).is_err());
}

#[test]
fn a_stop_of_the_new_waits_for_the_rows_of_the_old() {
    let upstream = slow();
    let mut proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut slow = Wire::connect(proxyd.address());
    slow.send(Request::get("/slow").bytes());
    eventually("it is upstream", || (upstream.requests() == 1).then_some(()));
    proxyd.ask("upgrade", &json!({}));
    let before = proxyd.follow();
    // As service managers do: to all of them.
    kill(before, Signal::SIGTERM).unwrap();
    let home = proxyd.home().clone();
    let stopping = std::thread::spawn(move || proxyd.stop());
    assert_eq!(slow.response("GET").text(), "whole");
    stopping.join().unwrap();
    let proxyd = Start::in_home(&home, PLAIN).run();
    assert_eq!(proxyd.stream("audit", &json!({"path": "/slow"})).len(), 1);
    is_intact(&proxyd);
}
