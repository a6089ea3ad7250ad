//! Times of a client of HTTP/2, and what is told of its requests: to operators, in the record.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::config::forward_all;
use tests::http2::{code, get_fields, post_fields};
use tests::{Http2, Proxyd, Upstream};

fn serve(upstream: &Upstream, timeouts: &str) -> Proxyd {
    Proxyd::start(&format!("server: {{timeouts: {{{timeouts}}}}}\n{}", forward_all(upstream.address())))
}

#[test]
fn an_idle_connection_is_told_that_it_ends() {
    // RFC 9113 section 9.1.
    let upstream = Upstream::scripted(|conn| {
        while let Some(request) = conn.request() {
            if request.target == "/slow" {
                std::thread::sleep(Duration::from_millis(900));
            }
            conn.answer(200, &[], b"ok");
        }
    });
    let proxyd = serve(&upstream, "keep_alive: 400ms");
    let mut client = Http2::connect(proxyd.address());
    // A request under way is no idleness.
    assert_eq!(client.get(1, "/slow").text(), "ok");
    for number in 1..4 {
        std::thread::sleep(Duration::from_millis(250));
        assert_eq!(client.get(2 * number + 1, "/").text(), "ok");
    }
    let idle = Instant::now();
    client.rest();
    assert_eq!(client.goaways.last(), Some(&(7, code::NO_ERROR)), "{client:?}");
    assert!(
        idle.elapsed() > Duration::from_millis(300) && idle.elapsed() < Duration::from_secs(8),
        "{:?}",
        idle.elapsed()
    );
}

#[test]
fn a_connection_that_asks_nothing_ends() {
    let upstream = Upstream::saying("ok");
    let proxyd = serve(&upstream, "request_headers: 300ms");
    let mut client = Http2::connect(proxyd.address());
    let began = Instant::now();
    client.rest();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(proxyd.metric("proxyd_connection_errors_total", &["kind=\"idle\""]) >= 1.0);
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let upstream = Upstream::echo();
    let proxyd = serve(&upstream, "request_body: 300ms");
    let mut client = Http2::connect(proxyd.address());
    client.head(1, &post_fields("/"), false);
    client.data(1, "half", false);
    let message = client.whole(1);
    assert_eq!(message.status(), 408, "{message:?}");
    assert!(message.text().contains("body_timeout"), "{}", message.text());
    assert_eq!(client.get(3, "/").status(), 200, "the connection goes on");
    // Slow, but not too slow.
    client.head(5, &post_fields("/"), false);
    for _ in 0..6 {
        client.data(5, "x", false);
        client.read_for(Duration::from_millis(150));
    }
    client.data(5, "x", true);
    assert!(client.whole(5).text().contains("\"body_bytes\":7"));
}

#[test]
fn requests_are_on_record_as_what_they_were() {
    let upstream = Upstream::echo();
    let proxyd = Proxyd::start(&format!("routes:\n  - {{name: all, path: /known, target: '{}'}}\n", upstream.url()));
    let mut client = Http2::connect(proxyd.address());
    client.head(
        1,
        &[&post_fields("/known?a=b")[..], &[("x-request-id", "from-the-client"), ("user-agent", "raw")]].concat(),
        false,
    );
    client.data(1, "body", true);
    let answer = client.whole(1);
    assert_eq!(answer.header("x-request-id"), Some("from-the-client"));
    assert_eq!(client.get(3, "/unknown").status(), 404);
    client.head(
        5,
        &[(":method", "GET"), (":scheme", "http"), (":authority", "h"), (":path", "/known"), ("x-a", " b")],
        true,
    );
    assert_eq!(client.whole(5).status(), 400);
    let row = proxyd.audit(&json!({"path": "/known"}), 1)[0].clone();
    let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
    assert_eq!(text("protocol"), "HTTP/2", "{row}");
    assert_eq!(
        (text("method"), text("host"), text("user_agent")),
        ("POST".into(), "proxy.test".into(), "raw".into()),
        "{row}"
    );
    assert_eq!(
        (text("request_id"), text("outcome"), text("scheme")),
        ("from-the-client".into(), "served".into(), "http".into()),
        "{row}"
    );
    assert_eq!(
        (row["bytes_in"].as_u64(), row["bytes_out"].as_u64()),
        (Some(4), Some(answer.body.len() as u64)),
        "{row}"
    );
    let all = proxyd.audit(&json!({"kind": "requests"}), 3);
    let mut outcomes: Vec<_> = all.iter().map(|row| row["outcome"].as_str().unwrap().to_owned()).collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["request_malformed", "route_not_found", "served"]);
    assert!(all.iter().all(|row| row["protocol"] == "HTTP/2"), "{all:#?}");
    assert!(proxyd.metric("proxyd_connections_by_protocol_total", &["protocol=\"http2\""]) >= 1.0);
    assert!(proxyd.home().read("access.log").contains("HTTP/2"));
}

#[test]
fn a_total_time_ends_what_is_still_under_way() {
    let upstream = Upstream::scripted(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\na beginning");
        conn.wire.rest();
    });
    let proxyd = Proxyd::start(&format!(
        "routes:\n  - {{name: all, path: /, target: '{}', timeouts: {{total: 400ms}}}}\n",
        upstream.url()
    ));
    let mut client = Http2::connect(proxyd.address());
    client.head(1, &get_fields("/"), true);
    let message = client.whole(1);
    assert!(!message.ended && message.reset == Some(code::CANCEL), "{message:?}");
    assert_eq!(message.text(), "a beginning");
}
