//! What a running daemon tells: access log, slow requests, metrics, health.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::config::forward_all;
use tests::upstream::nobody;
use tests::{Home, Proxyd, Request, Start, Upstream, Wire, eventually};

/// The access log's lines so far that hold this.
fn logged(home: &Home, what: &str) -> Vec<Value> {
    let text = home.read("access.log");
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .filter(|line| line.contains(what))
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("not JSON ({error}): {line}")))
        .collect()
}

#[test]
fn the_access_log_has_a_line_for_each_request() {
    let upstream = Upstream::saying("hello");
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    Request::get("/logged?x=1&token=geheim")
        .host("log.example")
        .header("X-Request-ID", "log-1")
        .header("User-Agent", "quo\"ted \\ agent")
        .send(proxyd.address());
    proxyd.get("/other");
    let line = eventually("the line is written", || logged(proxyd.home(), "log-1").pop());
    for (field, expected) in [
        ("client", json!("127.0.0.1")),
        ("method", json!("GET")),
        ("host", json!("log.example")),
        ("path", json!("/logged")),
        ("route", json!("all")),
        ("status", json!(200)),
        ("user_agent", json!("quo\"ted \\ agent")),
        ("bytes_out", json!(5)),
        ("request_id", json!("log-1")),
    ] {
        assert_eq!(line[field], expected, "{field}: {line}");
    }
    assert!(!line.to_string().contains("geheim"), "{line}");
    assert_eq!(logged(proxyd.home(), "log-1").len(), 1);
}

#[test]
fn the_access_log_may_be_text_or_off() {
    let upstream = Upstream::saying("hello");
    let proxyd = Proxyd::start(&format!("log: {{format: text}}\n{}", forward_all(upstream.address())));
    proxyd.get("/as-text");
    let home = proxyd.home().clone();
    eventually("the line is written", || home.read("access.log").contains("/as-text").then_some(()));
    assert!(!home.read("access.log").starts_with('{'));
    let proxyd = Start::new(&forward_all(upstream.address())).set("log.access", "off").run();
    proxyd.get("/unseen");
    let home = proxyd.stop();
    assert!(!home.read("stdout.log").contains("/unseen") && home.read("access.log").is_empty());
}

#[test]
fn a_log_file_is_reopened_on_a_signal() {
    let upstream = Upstream::saying("hello");
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    proxyd.get("/before");
    eventually("the line is written", || logged(proxyd.home(), "/before").pop());
    std::fs::rename(proxyd.home().file("access.log"), proxyd.home().file("access.log.1")).unwrap();
    proxyd.signal(Signal::SIGUSR1);
    eventually("a new file is opened", || proxyd.home().file("access.log").exists().then_some(()));
    proxyd.get("/after");
    eventually("it is written to", || logged(proxyd.home(), "/after").pop());
    assert!(!proxyd.home().read("access.log.1").contains("/after"));
}

#[test]
fn a_slow_request_is_told_on_its_own() {
    let upstream = Upstream::scripted(|conn| {
        while let Some(request) = conn.request() {
            if request.target == "/slow" {
                std::thread::sleep(Duration::from_millis(150));
            }
            conn.answer(200, &[], b"hello");
        }
    });
    let proxyd = Proxyd::start(&format!("log: {{slow_request: 100ms}}\n{}", forward_all(upstream.address())));
    proxyd.get("/quick");
    proxyd.get("/slow");
    let told = || format!("{}{}", proxyd.home().read("stderr.log"), proxyd.home().read("stdout.log"));
    eventually("it is told", || {
        told().lines().any(|line| line.contains("slow") && line.contains("/slow")).then_some(())
    });
    assert!(!told().lines().any(|line| line.contains("slow request") && line.contains("/quick")), "{}", told());
}

#[test]
fn metrics_move_with_the_traffic() {
    let upstream = Upstream::saying("hello");
    let proxyd = Proxyd::start(&format!(
        "upstreams: {{u: {{endpoints: ['{}']}}}}\nrate_limit: {{name: lim, limits: [{{requests: 6, per: 1h}}]}}\nroutes:\n  - {{name: all, path: /m, upstream: u}}\n  - {{name: dead, path: /dead, target: 'http://{}'}}\n",
        upstream.url(),
        nobody()
    ));
    for _ in 0..4 {
        assert_eq!(proxyd.get("/m").status, 200);
    }
    assert_eq!(proxyd.get("/dead").status, 502);
    assert_eq!(proxyd.get("/nowhere").status, 404);
    assert_eq!(proxyd.get("/m").status, 429);
    let page = proxyd.admin_get("/metrics");
    assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")), "{:?}", page.headers);
    let page = page.text();
    for line in page.lines() {
        assert!(line.starts_with('#') || line.rsplit(' ').next().is_some_and(|n| n.parse::<f64>().is_ok()), "{line}");
        assert!(line.starts_with("# ") || line.starts_with("proxyd_") || line.starts_with("process_"), "{line}");
    }
    let has = |name: &str| assert!(page.lines().any(|line| line.starts_with(name)), "{name} is missing:\n{page}");
    for name in [
        "proxyd_requests_total",
        "proxyd_request_duration_seconds_bucket",
        "proxyd_upstream_response_seconds_bucket",
        "proxyd_rejections_total",
        "proxyd_build_info",
        "proxyd_generation",
    ] {
        has(name);
    }
    eventually("the requests are counted", || {
        (proxyd.metric("proxyd_requests_total", &["route=\"all\""]) >= 4.0).then_some(())
    });
    assert!(proxyd.metric("proxyd_rejections_total", &["rate_limited"]) >= 1.0);
    assert!(proxyd.metric("proxyd_rejections_total", &["route_not_found"]) >= 1.0);
    assert!((proxyd.metric("proxyd_generation", &[]) - 1.0).abs() < f64::EPSILON);
    proxyd.write_config("routes: 7\n");
    proxyd.try_ask("reload", &json!({})).unwrap_err();
    assert!(proxyd.metric("proxyd_config_reloads_total", &["config_invalid"]) >= 1.0);
}

#[test]
fn labels_are_bounded_whatever_clients_send() {
    let proxyd = Proxyd::start("routes:\n  - {name: one, path: /, respond: {status: 200}}\n");
    let mut wire = Wire::connect(proxyd.address());
    for number in 0..200 {
        Request::new(&format!("M{number}"), &format!("/{number}")).host(&format!("h{number}")).send_on(&mut wire);
    }
    let page = proxyd.admin_get("/metrics").text();
    assert!(!page.contains("M150") && !page.contains("h150"), "a client's words became labels");
}

#[test]
fn health_is_told_on_the_admin_listener() {
    let proxyd = Proxyd::start("routes:\n  - {path: /, respond: {status: 204}}\n");
    for path in ["/health", "/health/", "/health/live", "/health/ready"] {
        assert_eq!(proxyd.admin_get(path).status, 200, "{path}");
    }
    let info = proxyd.admin_get("/health/info").json();
    assert_eq!((&info["name"], &info["generation"]), (&json!("proxyd"), &json!(1)), "{info}");
    assert!(info["version"].is_string() && info["uptime"].is_number(), "{info}");
}

#[test]
fn health_is_told_on_traffic_listeners_where_that_is_wished() {
    let proxyd = Proxyd::start("server: {health_path: /-/health}\nroutes:\n  - {path: /, respond: {status: 204}}\n");
    assert_eq!(proxyd.get("/-/health").status, 200);
    assert_eq!(proxyd.get("/health").status, 204);
}

#[test]
fn readiness_turns_red_while_draining() {
    let upstream = Upstream::scripted(|conn| {
        conn.request();
        std::thread::sleep(Duration::from_millis(1500));
        conn.answer(200, &[], b"done");
    });
    let proxyd = Proxyd::start(&forward_all(upstream.address()));
    let mut wire = Wire::connect(proxyd.address());
    wire.send(Request::get("/").bytes());
    eventually("it is upstream", || (upstream.requests() == 1).then_some(()));
    proxyd.signal(Signal::SIGTERM);
    eventually("readiness is red", || (proxyd.admin_get("/health/ready").status == 503).then_some(()));
    assert_eq!(proxyd.admin_get("/health/live").status, 200);
    assert_eq!(wire.response("GET").text(), "done");
}

#[test]
fn an_audit_store_that_cannot_be_written_is_seen() {
    if nix::unistd::geteuid().is_root() {
        // Nothing is unwritable for root but what is no folder.
        let home = Home::default();
        home.write("data", "a file where a folder should be");
        let ran = Start::in_home(&home, "routes: []").ends();
        assert_eq!(ran.code, Some(1), "{ran:?}");
        ran.says(&["data"]);
    } else {
        use std::os::unix::fs::PermissionsExt;
        let home = Home::default();
        std::fs::create_dir(home.file("data")).unwrap();
        std::fs::set_permissions(home.file("data"), std::fs::Permissions::from_mode(0o500)).unwrap();
        let ran = Start::in_home(&home, "routes: []").ends();
        assert_eq!(ran.code, Some(1), "{ran:?}");
        ran.says(&["data", "ermission"]);
    }
}

#[test]
fn few_connections_that_stay_are_spread_over_the_workers() {
    let upstream = Upstream::saying("hello");
    let proxyd = Start::new(&forward_all(upstream.address())).set("server.workers", "4").run();
    let mut clients: Vec<Wire> = (0..16).map(|_| Wire::connect(proxyd.address())).collect();
    for client in &mut clients {
        assert_eq!(Request::get("/").send_on(client).status, 200);
    }
    // Those of the harness, which asks until the daemon serves, may not yet be gone.
    let even = || {
        let of = |worker: usize| proxyd.metric("proxyd_worker_connections", &[&format!("worker=\"{worker}\"")]);
        let counts: Vec<f64> = (0..4).map(of).collect();
        (counts.iter().sum::<f64>() >= 16.0 && counts.iter().all(|count| (3.0..=6.0).contains(count))).then_some(counts)
    };
    eventually("each of four workers has about four of sixteen connections", even);
}
