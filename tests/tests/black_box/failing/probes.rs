//! Probes: what they ask, what makes an endpoint well, and what follows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tests::tls::{Authority, Server};
use tests::upstream::{Conn, nobody};
use tests::{Home, Http2, Proxyd, Request, Start, Upstream, Wire, eventually};

use super::{Door, Moody, PROBED, becomes, endpoint, said, told, upstream, users};

/// One upstream for each case, `u0` and so on; all in one daemon.
fn many(cases: &[(String, String)]) -> String {
    let mut yaml = "upstreams:\n".to_owned();
    for (number, (url, keys)) in cases.iter().enumerate() {
        let more = format!("panic_below: off, probe: {{initial: unknown, interval: 10s, timeout: 5s, {keys}}}");
        yaml.push_str(&upstream(&format!("u{number}"), std::slice::from_ref(url), &more));
    }
    yaml.push_str("routes:\n");
    for number in 0..cases.len() {
        yaml.push_str(&format!("  - {{name: r{number}, path: /u{number}, upstream: u{number}}}\n"));
    }
    yaml
}

/// Waits for the first result of an upstream's only endpoint.
#[track_caller]
fn first_result(proxyd: &Proxyd, name: &str) -> Value {
    eventually(&format!("a result for {name}"), || {
        let line = told(proxyd, name)["endpoints"][0].clone();
        (line["state"] != "unknown").then_some(line)
    })
}

/// What a probe asks, what it is answered, and what it then says.
type Case = (&'static str, fn(&mut Conn), &'static str);

#[test]
fn well_is_who_answers_as_expected() {
    fn status(conn: &mut Conn, status: u16, body: &[u8]) {
        while conn.request().is_some() {
            conn.answer(status, &[], body);
        }
    }
    fn text(conn: &mut Conn) {
        status(conn, 200, b"all systems nominal");
    }
    fn head(conn: &mut Conn) {
        while let Some(request) = conn.request() {
            let allowed = request.method == "HEAD";
            conn.send(format!("HTTP/1.1 {} X\r\nContent-Length: 1000\r\n\r\n", if allowed { 200 } else { 405 }));
        }
    }
    fn late(conn: &mut Conn) {
        conn.request();
        let mut body = vec![b'x'; 64 * 1024];
        body.extend(b"nominal");
        conn.answer(200, &[], &body);
    }
    let cases: [Case; 17] = [
        ("path: /", |conn| status(conn, 200, b""), "well"),
        ("path: /", |conn| status(conn, 302, b""), "well"),
        ("path: /", |conn| status(conn, 404, b""), "status 404"),
        ("expect: 404", |conn| status(conn, 404, b""), "well"),
        ("expect: [200, 418-420]", |conn| status(conn, 419, b""), "well"),
        ("expect: [200, 418-420]", |conn| status(conn, 204, b""), "status 204"),
        ("body: nominal", text, "well"),
        ("body: Nominal", text, "the text is not in the answer"),
        ("body: nominal", late, "the text is not in the answer"),
        ("method: HEAD", head, "well"),
        ("method: GET", head, "status 405"),
        ("path: /", |conn| drop(conn.request()), "the connection broke before an answer"),
        (
            "path: /",
            |conn| {
                conn.request();
                conn.send("SSH-2.0-OpenSSH\r\n\r\n");
            },
            "the answer is not HTTP",
        ),
        ("timeout: 100ms", |conn| drop(conn.wire.rest()), "no answer in time"),
        (
            "timeout: 100ms",
            |conn| {
                conn.request();
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
                conn.wire.rest();
            },
            "no answer in time",
        ),
        ("kind: tcp", |conn| drop(conn.wire.rest()), "well"),
        (
            "path: /",
            |conn| {
                conn.request();
                conn.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
            },
            "well",
        ),
    ];
    let upstreams: Vec<Upstream> = cases.iter().map(|(_, script, _)| Upstream::scripted(*script)).collect();
    let mut listed: Vec<(String, String)> =
        cases.iter().zip(&upstreams).map(|((keys, _, _), upstream)| (upstream.url(), (*keys).to_owned())).collect();
    let mut expected: Vec<&str> = cases.iter().map(|(_, _, says)| *says).collect();
    // Nobody there; and another port than the one that is served.
    listed.push((format!("http://{}", nobody()), "kind: tcp".to_owned()));
    expected.push("the connection was refused");
    listed.push((upstreams[2].url(), format!("port: {}", upstreams[0].address().port())));
    expected.push("well");
    // A time that is written twice is an error.
    let yaml = many(&listed).replace("timeout: 5s, timeout: 100ms", "timeout: 100ms");
    let proxyd = Proxyd::start(&yaml);
    let mut wrong = Vec::new();
    for (number, says) in expected.iter().enumerate() {
        let line = first_result(&proxyd, &format!("u{number}"));
        let well = *says == "well";
        let is_so = line["probe"]["ok"] == well
            && line["probe"]["text"] == *says
            && line["state"] == if well { "ready" } else { "unhealthy" }
            && (well || line["why"] == *says)
            && line["probe"]["at"].is_string();
        if !is_so {
            wrong.push(format!("{:?}: {line:#}", listed[number]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Probes are nobody's requests.
    assert_eq!(proxyd.get("/u2/marker").error_code(), "upstream_unavailable");
    proxyd.audit(&json!({ "path": "/u2/marker" }), 1);
    let mut rows = proxyd.stream("audit", &json!({ "last": 1000 }));
    rows.retain(|row| row["kind"] == "request");
    assert_eq!(rows.len(), 1, "{rows:#?}");
    eventually("the access log", || proxyd.home().read("access.log").contains("/u2/marker").then_some(()));
    assert_eq!(proxyd.home().read("access.log").lines().count(), 1);
    let counted =
        |outcome: &str| proxyd.metric("proxyd_endpoint_probes_total", &[&format!("outcome=\"{outcome}\"")]) as usize;
    assert!(counted("passed") >= 8 && counted("failed") >= 8, "{} {}", counted("passed"), counted("failed"));
}

#[test]
fn they_ask_for_what_is_configured() {
    let upstream = Upstream::saying("ok");
    let keys = "path: '/health?deep=1', host: internal.test, headers: {x-probe: 'yes', user-agent: mine}, method: HEAD";
    let plain = Upstream::saying("ok");
    let listed = [(upstream.url(), keys.to_owned()), (plain.url(), "path: /up".to_owned())];
    let _proxyd = Proxyd::start(&many(&listed));
    let head = eventually("a probe", || upstream.heads().first().cloned());
    assert!(head.starts_with("HEAD /health?deep=1 HTTP/1.1\r\n"), "{head}");
    let lower = head.to_lowercase();
    for line in ["host: internal.test\r\n", "x-probe: yes\r\n", "user-agent: mine\r\n"] {
        assert_eq!(lower.matches(line).count(), 1, "{line}: {head}");
    }
    assert_eq!(lower.matches("user-agent").count(), 1, "{head}");
    let head = eventually("a probe", || plain.heads().first().cloned());
    assert!(head.starts_with("GET /up HTTP/1.1\r\n"), "{head}");
    assert!(head.to_lowercase().contains(&format!("host: {}\r\n", plain.address())), "{head}");
    assert!(head.to_lowercase().contains("user-agent: proxyd-probe\r\n"), "{head}");
}

#[test]
fn they_speak_as_requests_do() {
    let (home, authority) = (Home::default(), Authority::new("ours"));
    home.write("ca.pem", authority.pem());
    let server = Server::new(&authority.signs("up", &["127.0.0.1"]), &[]);
    let secure = Upstream::scripted(move |conn| {
        let Ok(secure) = server.accept(conn.wire.stream().try_clone().unwrap()) else { return };
        conn.wire = Wire::over(secure.plain);
        while conn.request().is_some() {
            conn.answer(200, &[], b"in TLS");
        }
    });
    let plain = Upstream::saying("in clear");
    let streams = Upstream::scripted(|conn| {
        let stream = conn.wire.stream().try_clone().expect("a socket can be shared");
        let Some(mut server) = Http2::server(stream, &[]) else { return };
        let mut next = 1;
        while server.until(|all| all.messages.get(&next).is_some_and(|message| message.ended)) {
            let fields = server.message(next).blocks[0].clone();
            let is_probe = fields.iter().any(|(name, value)| name == ":path" && value == "/health");
            server.head(next, &[(":status", if is_probe { "200" } else { "201" })], false);
            server.data(next, "in streams", true);
            next += 2;
        }
    });
    let probe =
        "panic_below: off, probe: {initial: unknown, interval: 10s, timeout: 5s, path: /health, expect: 200, body: in}";
    let tcp = probe.replace(", path: /health, expect: 200, body: in", ", kind: tcp");
    let as_tls = plain.url().replace("http:", "https:");
    let yaml = format!(
        "upstreams:\n{}{}{}{}routes: [{{name: all, path: /, upstream: streams}}, {{name: b, path: /b, upstream: secure}}, \
         {{name: c, path: /c, upstream: clear}}, {{name: d, path: /d, upstream: tcp}}]\n",
        upstream("secure", &[secure.url().replace("http:", "https:")], &format!("tls: {{ca: ca.pem}}, {probe}")),
        upstream(
            "clear",
            std::slice::from_ref(&as_tls),
            &format!("tls: {{ca: ca.pem}}, {}", probe.replace("5s", "300ms"))
        ),
        upstream("tcp", &[as_tls], &format!("tls: {{ca: ca.pem}}, {tcp}")),
        upstream("streams", &[streams.url()], &format!("protocol: http2, {probe}")),
    );
    let proxyd = Start::in_home(&home, &yaml).run();
    for (name, state) in [("secure", "ready"), ("clear", "unhealthy"), ("tcp", "ready"), ("streams", "ready")] {
        let line = first_result(&proxyd, name);
        assert_eq!(line["state"], state, "{name}: {line:#}");
    }
    assert_eq!(proxyd.get("/").status, 201);
}

#[test]
fn the_first_request_waits_for_the_first_result() {
    let door = Door::default();
    let opens = door.clone();
    let slow = Upstream::scripted(move |conn| {
        while let Some(request) = conn.request() {
            if request.target == "/health" {
                opens.pass();
            }
            conn.answer(200, &[], b"a");
        }
    });
    let more = "timeouts: {connect: 20s}, probe: {path: /health, initial: unknown, interval: 20s, timeout: 20s}";
    let proxyd = Proxyd::start(&users(&[slow.url()], more));
    let mut early = Wire::connect(proxyd.address());
    early.send(Request::get("/early").bytes());
    eventually("it is asked", || (slow.requests() == 1).then_some(()));
    let line = endpoint(&proxyd, 0);
    assert_eq!((&line["state"], &line["why"]), (&json!("unknown"), &json!("no probe was answered yet")));
    assert!(slow.heads().iter().all(|head| !head.contains("/early")));
    door.open();
    assert_eq!(early.response("GET").text(), "a");
    // No longer than a connection may take.
    let closed = Upstream::scripted(|conn| drop(conn.wire.rest()));
    let more = "timeouts: {connect: 100ms}, probe: {initial: unknown, interval: 20s, timeout: 20s}";
    let proxyd = Proxyd::start(&users(&[closed.url()], more));
    assert_eq!(proxyd.get("/").error_code(), "upstream_unavailable");
    assert_eq!(endpoint(&proxyd, 0)["requests"], 0);
}

#[test]
fn results_in_a_row_change_the_verdict() {
    // One that is down is asked often; the first result decides, then two good ones in a row are needed.
    let asked = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&asked);
    let turns = Upstream::scripted(move |conn| {
        while conn.request().is_some() {
            let turn = counts.fetch_add(1, Ordering::SeqCst);
            conn.answer(if [1, 3, 4].contains(&turn) { 200 } else { 500 }, &[], b"");
        }
    });
    let more = "panic_below: off, probe: {initial: unknown, interval: 1h, timeout: 10s, down_interval: 10ms, healthy_after: 2}";
    let proxyd = Proxyd::start(&users(&[turns.url()], more));
    becomes(&proxyd, 0, "ready");
    assert_eq!(asked.load(Ordering::SeqCst), 5);
    // Three bad ones in a row are needed, each after its pause.
    let mood = Moody::new("a");
    let more =
        "probe: {interval: 50ms, timeout: 50ms, down_interval: 10s, unhealthy_after: 3, jitter: 0%}, panic_below: off";
    mood.says(500);
    let proxyd = Proxyd::start(&users(&[mood.upstream.url()], more));
    becomes(&proxyd, 0, "unhealthy");
    let failed = proxyd.metric("proxyd_endpoint_probes_total", &["outcome=\"failed\""]);
    assert!((2.9..3.1).contains(&failed), "{failed}: then it is asked seldom");
    assert!(proxyd.output().contains("an endpoint is not well"), "{}", proxyd.output());
}

#[test]
fn verdicts_outlive_reloads_and_go_with_their_probe() {
    let (one, two) = (Moody::new("a"), Moody::new("b"));
    let urls = [one.upstream.url(), two.upstream.url()];
    let proxyd = Proxyd::start(&users(&urls, PROBED));
    one.says(500);
    let before = becomes(&proxyd, 0, "unhealthy");
    assert_eq!(said(&proxyd, "/", 4), "bbbb");
    // Of something else; of the same upstream; of the probe itself: what was known stays until something else is.
    for more in [
        format!("{PROBED}, timeouts: {{connect: 2s}}"),
        PROBED.replace("down_interval: 20ms", "down_interval: 30ms"),
        PROBED.replace("healthy_after: 1", "healthy_after: 1, initial: unknown"),
    ] {
        proxyd.reload_with(&users(&urls, &more));
        assert_eq!(said(&proxyd, "/", 4), "bbbb", "{more}");
        let line = endpoint(&proxyd, 0);
        assert_eq!((&line["state"], &line["since"]), (&json!("unhealthy"), &before["since"]), "{more}");
    }
    one.says(200);
    becomes(&proxyd, 0, "ready");
    one.says(500);
    becomes(&proxyd, 0, "unhealthy");
    proxyd.reload_with(&users(&urls, ""));
    let line = becomes(&proxyd, 0, "ready");
    assert_eq!(line["probe"], json!(null));
    assert!(said(&proxyd, "/", 4).contains('a'));
    let asked = one.upstream.requests() + two.upstream.requests();
    // Nobody asks any more, but for what was on its way.
    std::thread::sleep(Duration::from_millis(600));
    assert!(one.upstream.requests() + two.upstream.requests() <= asked + 1);
}

#[test]
fn they_begin_as_connections_do() {
    // With the PROXY protocol an endpoint takes nothing that begins otherwise.
    let strict = Upstream::scripted(|conn| {
        let line = conn.wire.exactly(6);
        if line != b"PROXY " {
            return;
        }
        while conn.wire.exactly(1) != b"\n" {}
        while conn.request().is_some() {
            conn.answer(200, &[], b"a");
        }
    });
    let more = "proxy_protocol: v1, panic_below: off, probe: {initial: unknown, interval: 10s, timeout: 5s}";
    let proxyd = Proxyd::start(&users(&[strict.url()], more));
    assert_eq!(first_result(&proxyd, "users")["state"], "ready");
    assert_eq!(proxyd.get("/").text(), "a");
}

#[test]
fn an_endpoint_that_comes_later_waits_for_its_result_and_holds_up_nobody() {
    let (good, silent) = (Upstream::saying("a"), Upstream::scripted(|conn| drop(conn.wire.rest())));
    let more = "probe: {path: /health, initial: unknown, interval: 20s, timeout: 20s}";
    let proxyd = Proxyd::start(&users(&[good.url()], more));
    assert_eq!(proxyd.get("/").text(), "a");
    let register = json!({"upstream": "users", "endpoint": silent.address().to_string()});
    proxyd.ask("upstreams_register", &register);
    assert_eq!(endpoint(&proxyd, 1)["state"], "unknown");
    assert_eq!(said(&proxyd, "/", 10), "aaaaaaaaaa");
    // A probe that is new to an endpoint that serves takes nothing away before it says so.
    let proxyd = Proxyd::start(&users(&[silent.url(), good.url()], ""));
    proxyd.reload_with(&users(&[silent.url(), good.url()], more));
    assert_eq!(endpoint(&proxyd, 0)["state"], "ready");
}
