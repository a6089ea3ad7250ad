//! Changing the config of a running daemon: every door, refusals, generations, what lives on.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::{Proxyd, Request, Start, Upstream, Wire, eventually};

use super::websocket;

fn saying(body: &str) -> String {
    format!("routes:\n  - {{name: all, path: /, respond: {{body: {body}}}}}\n")
}

const BROKEN: &str = "routes:\n  - {path: /, respond: {status: 200}, nonsense: 1}\n  - {path: /x}\n";

#[test]
fn all_doors_reload_alike() {
    let proxyd = Proxyd::start(&saying("zero"));
    assert_eq!(proxyd.generation(), 1);

    proxyd.write_config(&saying("socket"));
    let told = proxyd.ask("reload", &json!({}));
    assert_eq!((&told["generation"], &told["applied"], &told["audited"]), (&json!(2), &json!(true), &json!(true)));
    assert_eq!(told["changes"]["routes"]["changed"], json!(["all"]));
    assert_eq!(proxyd.get("/").text(), "socket");

    proxyd.write_config(&saying("ctl"));
    proxyd.ctl(&["reload"]).exits(0).says(&["3", "all"]);
    assert_eq!(proxyd.get("/").text(), "ctl");

    proxyd.write_config(&saying("http"));
    let told = proxyd.admin_send(&Request::post("/admin/reload", ""));
    assert_eq!((told.status, &told.json()["generation"]), (200, &json!(4)), "{}", told.text());
    assert_eq!(proxyd.get("/").text(), "http");

    proxyd.write_config(&saying("signal"));
    proxyd.signal(Signal::SIGHUP);
    eventually("the signal is obeyed", || (proxyd.generation() == 5).then_some(()));
    assert_eq!(proxyd.get("/").text(), "signal");
    let last = proxyd.status()["last_reload"].clone();
    assert_eq!((&last["door"], &last["outcome"]), (&json!("signal"), &json!("done")));

    // A signal has no reply that its row would have to come before.
    let doors = eventually("the signal is on record", || {
        let rows = proxyd.stream("audit", &json!({"kind": "actions"}));
        let doors: Vec<Value> = rows.iter().map(|row| row["door"].clone()).filter(|door| door != "start").collect();
        (doors.len() == 4).then_some(doors)
    });
    assert_eq!(doors, ["socket", "socket", "http", "signal"]);
}

#[test]
fn the_same_again_makes_no_generation() {
    let proxyd = Proxyd::start(&saying("same"));
    let told = proxyd.ask("reload", &json!({}));
    assert_eq!((&told["generation"], &told["applied"]), (&json!(1), &json!(false)));
    assert_eq!(proxyd.generation(), 1);
}

#[test]
fn a_bad_config_changes_nothing_and_says_everything() {
    let proxyd = Proxyd::start(&saying("good"));
    proxyd.write_config(BROKEN);
    let error = proxyd.try_ask("reload", &json!({})).unwrap_err();
    assert_eq!(error["code"], "config_invalid");
    assert_eq!(error["problems"].as_array().map(Vec::len), Some(2), "{error}");
    let http = proxyd.admin_send(&Request::post("/admin/reload", ""));
    assert_eq!((http.status, http.error_code().as_str()), (422, "config_invalid"));
    proxyd.ctl(&["reload"]).exits(1).says(&["config.yaml:2", "nonsense", "config.yaml:3"]);
    proxyd.signal(Signal::SIGHUP);
    eventually("the signal's result is visible", || {
        let last = proxyd.status()["last_reload"].clone();
        (last["door"] == "signal" && last["outcome"] == "config_invalid").then_some(())
    });
    assert_eq!((proxyd.generation(), proxyd.get("/").text().as_str()), (1, "good"));
    // The start of the daemon has its row too, and the signal's may still be on its way.
    let refused = eventually("each refusal is recorded", || {
        let rows = proxyd.audit(&json!({"kind": "actions"}), 4);
        let refused: Vec<Value> = rows.into_iter().filter(|row| row["outcome"] == "config_invalid").collect();
        (refused.len() == 4).then_some(refused)
    });
    assert_eq!(refused[0]["generation_before"], refused[0]["generation_after"]);

    proxyd.reload_with(&saying("mended"));
    assert_eq!(proxyd.get("/").text(), "mended");
}

#[test]
fn a_dry_run_says_and_does_not() {
    let proxyd = Proxyd::start(&saying("one"));
    proxyd.write_config(&format!("{}  - {{name: more, path: /more, respond: {{status: 204}}}}\n", saying("two")));
    let told = proxyd.ask("reload", &json!({"dry_run": true}));
    assert_eq!((&told["dry_run"], &told["applied"], &told["generation"]), (&json!(true), &json!(false), &json!(2)));
    assert_eq!(told["changes"]["routes"], json!({"added": ["more"], "changed": ["all"], "removed": []}));
    proxyd.ctl(&["reload", "--dry-run"]).exits(0).says(&["more"]);
    assert_eq!((proxyd.generation(), proxyd.get("/").text().as_str()), (1, "one"));
}

#[test]
fn another_file_may_be_named_over_the_socket_only() {
    let proxyd = Proxyd::start(&saying("one"));
    let other = proxyd.home().write("other.yaml", &saying("other"));
    let path = other.display().to_string();
    let refused = proxyd.admin_send(&Request::post("/admin/reload", json!({"config": path}).to_string()));
    assert_eq!((refused.status, refused.error_code().as_str()), (403, "not_permitted"));
    proxyd.ask("reload", &json!({"config": path}));
    assert_eq!(proxyd.get("/").text(), "other");
}

#[test]
fn listeners_come_and_go() {
    let free = || tests::upstream::nobody();
    let (a, b, c) = (free(), free(), free());
    let text = |list: &[std::net::SocketAddr]| {
        let list: Vec<String> = list.iter().map(|address| format!("'{address}'")).collect();
        format!("server: {{listen: [{}]}}\n{}", list.join(", "), saying("here"))
    };
    let proxyd = Start::new(&text(&[a, b])).leave("server.listen").run();
    let mut kept = Wire::connect(a);
    assert_eq!(Request::get("/").send_on(&mut kept).text(), "here");
    assert_eq!(Request::get("/").send(b).text(), "here");

    let told = proxyd.reload_with(&text(&[a, c]));
    assert_eq!(told["changes"]["listeners"]["added"], json!([c.to_string()]), "{told}");
    assert_eq!(told["changes"]["listeners"]["removed"], json!([b.to_string()]), "{told}");
    assert_eq!(Request::get("/").send(c).text(), "here");
    eventually("the removed listener is closed", || std::net::TcpStream::connect(b).is_err().then_some(()));
    assert_eq!(Request::get("/").send_on(&mut kept).text(), "here", "a listener that stays keeps its connections");

    // One that cannot be opened refuses the whole reload.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_address = taken.local_addr().unwrap();
    proxyd.write_config(&text(&[a, c, taken_address]));
    let error = proxyd.try_ask("reload", &json!({})).unwrap_err();
    assert!(error["message"].as_str().is_some_and(|text| text.contains(&taken_address.to_string())), "{error}");
    assert_eq!(proxyd.generation(), 2);
}

#[test]
fn what_is_under_way_is_finished_under_the_old_config() {
    let upstream = Upstream::scripted(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
        conn.wire.some();
    });
    let slow = Upstream::scripted(|conn| {
        conn.request();
        std::thread::sleep(Duration::from_millis(500));
        conn.answer(200, &[], b"slow but whole");
    });
    let sockets = websocket::repeater();
    let text = format!(
        "routes:\n  - {{path: /stream, target: '{}'}}\n  - {{path: /slow, target: '{}'}}\n  - {{path: /socket, target: '{}'}}\n",
        upstream.url(),
        slow.url(),
        sockets.url()
    );
    let proxyd = Proxyd::start(&text);
    let mut socket = websocket::open(&proxyd);
    websocket::repeats(&mut socket, "before");
    let mut stream = Wire::connect(proxyd.address());
    stream.send(Request::get("/stream").bytes());
    stream.head().expect("a response");
    let mut waiting = Wire::connect(proxyd.address());
    waiting.send(Request::get("/slow").bytes());
    eventually("it is upstream", || (slow.requests() == 1).then_some(()));

    for number in 0..10 {
        proxyd.reload_with(&saying(&format!("number-{number}")));
        websocket::repeats(&mut socket, "still here");
    }
    assert_eq!(waiting.response("GET").text(), "slow but whole");
    assert!(String::from_utf8_lossy(&stream.some()).contains("first"));
    assert!(!stream.closes_within(Duration::from_millis(100)), "the stream was cut");
    assert_eq!(proxyd.get("/").text(), "number-9");
}

#[test]
fn generations_are_kept_and_can_be_rolled_back_to() {
    let proxyd = Proxyd::start(&saying("one"));
    proxyd.reload_with(&saying("two"));
    proxyd.reload_with(&saying("three"));
    let lines = proxyd.stream("history", &json!({}));
    let numbers: Vec<u64> = lines.iter().filter_map(|line| line["generation"].as_u64()).collect();
    assert!(numbers == [1, 2, 3] || numbers == [3, 2, 1], "{numbers:?}");
    let current: Vec<&Value> = lines.iter().filter(|line| line["current"] == true).collect();
    assert_eq!((current.len(), &current[0]["generation"]), (1, &json!(3)));
    assert!(lines.iter().all(|line| line["hash"].as_str().is_some_and(|hash| hash.len() == 64)), "{lines:#?}");
    let one = proxyd.stream("history", &json!({"generation": 1}));
    assert!(one[0]["sources"].to_string().contains("body: one"), "{one:#?}");

    let told = proxyd.ask("rollback", &json!({"generation": 1}));
    assert_eq!(told["generation"], 4);
    assert_eq!(proxyd.get("/").text(), "one");
    assert_eq!(proxyd.status()["drift"], true, "the files still say three");
    assert!(proxyd.home().read("config.yaml").contains("three"));

    let told = proxyd.ask("reload", &json!({}));
    assert_eq!(told["overrode_drift"], true, "{told}");
    assert_eq!((proxyd.get("/").text().as_str(), &proxyd.status()["drift"]), ("three", &json!(false)));

    proxyd.ask("rollback", &json!({"generation": 2, "write": true}));
    assert!(proxyd.home().read("config.yaml").contains("two"));
    assert_eq!(proxyd.status()["drift"], false);
    let error = proxyd.try_ask("rollback", &json!({"generation": 99})).unwrap_err();
    assert_eq!(error["code"], "not_found");
    proxyd.ctl(&["history"]).exits(0).says(&["rollback", "socket"]);
    proxyd.ctl(&["rollback", "3"]).exits(0);
    assert_eq!(proxyd.get("/").text(), "three");
}

#[test]
fn generations_outlive_the_daemon() {
    let proxyd = Proxyd::start(&saying("one"));
    proxyd.reload_with(&saying("two"));
    let home = proxyd.stop();
    let proxyd = Start::in_home(&home, &saying("two")).run();
    let before = proxyd.generation();
    assert!(before >= 2, "numbers are never used twice: {before}");
    proxyd.ask("rollback", &json!({"generation": 1}));
    assert_eq!(proxyd.get("/").text(), "one");
    let mode = std::fs::metadata(home.file("data")).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "what is kept is the owner's: {mode:o}");
}

#[test]
fn a_touched_file_is_drift() {
    let proxyd = Proxyd::start(&saying("one"));
    assert_eq!(proxyd.status()["drift"], false);
    proxyd.write_config(&saying("edited"));
    assert_eq!(proxyd.status()["drift"], true);
}

#[test]
fn what_needs_a_restart_is_refused_by_name() {
    let proxyd = Start::new(&saying("one")).run();
    for (text, field) in [("server: {workers: 7}\n", "server.workers"), ("audit: {path: ./elsewhere}\n", "audit.path")]
    {
        proxyd.write_config(&format!("{text}{}", saying("two")));
        let error = proxyd.try_ask("reload", &json!({})).unwrap_err();
        assert_eq!(error["code"], "restart_required", "{error}");
        assert!(error["message"].as_str().unwrap().contains(field), "{error}");
    }
    assert_eq!((proxyd.generation(), proxyd.get("/").text().as_str()), (1, "one"));
}

#[test]
fn pools_outlive_a_reload() {
    let upstream = Upstream::echo();
    let text = |extra: &str| {
        format!(
            "server: {{workers: 1}}\nupstreams:\n  u: {{endpoints: ['{}']}}\nroutes:\n  - {{path: /, upstream: u}}\n{extra}",
            upstream.url()
        )
    };
    let proxyd = Proxyd::start(&text(""));
    assert_eq!(proxyd.get("/").json()["connection"], 0);
    let told = proxyd.reload_with(&text("  - {path: /more, respond: {status: 200}}\n"));
    assert!(told["changes"]["upstreams"]["changed"].as_array().is_some_and(Vec::is_empty), "{told}");
    assert_eq!(proxyd.get("/").json()["connection"], 0, "the connection is reused");
    let lines = proxyd.stream("upstreams", &json!({}));
    assert_eq!(lines[0]["endpoints"][0]["requests"], 2, "counts go on: {lines:#?}");
    proxyd.ctl(&["upstreams"]).exits(0).says(&["u", &upstream.address().to_string()]);
}

#[test]
fn a_reload_may_move_the_traffic() {
    let (one, two) = (Upstream::saying("1"), Upstream::saying("2"));
    let text = |url: String| format!("routes:\n  - {{name: all, path: /, target: '{url}'}}\n");
    let proxyd = Proxyd::start(&text(one.url()));
    let mut wire = Wire::connect(proxyd.address());
    assert_eq!(Request::get("/").send_on(&mut wire).text(), "1");
    proxyd.reload_with(&text(two.url()));
    assert_eq!(Request::get("/").send_on(&mut wire).text(), "2", "an open connection sees the new config");
    eventually("the old upstream's idle connection is closed", || (one.closed() == 1).then_some(()));
}
