//! What operators are told of upstreams that fail.

use serde_json::json;
use tests::{Proxyd, Request, Upstream, eventually};

use super::retries::gone;
use super::{Moody, PROBED, endpoint, one_worker, said, told, upstream, users};

/// An endpoint that is well, its probes say, and fails whatever else comes.
fn failing() -> Upstream {
    Upstream::scripted(|conn| {
        while let Some(request) = conn.request() {
            conn.answer(if request.target == "/health" { 200 } else { 503 }, &[], b"no");
        }
    })
}

#[test]
fn each_endpoint_is_told_in_full() {
    let (one, two) = (Upstream::saying("a"), failing());
    let urls = [one.url(), two.url()];
    let proxyd =
        one_worker(&users(&urls, &format!("{PROBED}, breaker: {{min_requests: 1000000}}, retry: {{budget: off}}")));
    let line = eventually("what was of late", || {
        said(&proxyd, "/", 4);
        let line = endpoint(&proxyd, 0);
        (line["rate"].as_f64() > Some(0.0) && line["latency"].is_object() && line["probe"].is_object()).then_some(line)
    });
    assert_eq!(line["address"], one.address().to_string());
    for (field, value) in [
        ("state", json!("ready")),
        ("breaker", json!("closed")),
        ("origin", json!("file")),
        ("backup", json!(false)),
        ("weight", json!(1)),
        ("in_flight", json!(0)),
        ("ejections", json!(0)),
        ("failures", json!(0)),
    ] {
        assert_eq!(line[field], value, "{field}: {line:#}");
    }
    let latency = &line["latency"];
    assert!(latency["p50_us"].as_u64() <= latency["p90_us"].as_u64(), "{line:#}");
    assert!(latency["p90_us"].as_u64() <= latency["p99_us"].as_u64(), "{line:#}");
    assert!(line["requests"].as_u64() >= Some(2), "{line:#}");
    assert_eq!((&line["probe"]["ok"], &line["probe"]["text"]), (&json!(true), &json!("well")));
    assert_eq!(line["errors"], 0.0);
    // The other one has failed whatever came.
    let failed = eventually("its failures", || Some(endpoint(&proxyd, 1)).filter(|line| line["errors"].is_number()));
    assert_eq!(failed["errors"], 100.0, "{failed:#}");
    assert!(failed["retries"].as_u64() > Some(0), "{failed:#}");
    let all = told(&proxyd, "users");
    assert_eq!(
        (&all["balance"], &all["tier"], &all["panic"], &all["waiting"]),
        (&json!("round_robin"), &json!("primary"), &json!(false), &json!(0))
    );
    proxyd.ctl(&["upstreams", "users"]).exits(0).says(&["users", "ready", &one.address().to_string()]);
    let json = proxyd.ctl(&["upstreams", "users", "--output", "json"]).exits(0).stdout.clone();
    assert!(json.contains("p99_us"), "{json}");
    assert!(proxyd.ctl(&["upstreams", "nothing-like-it"]).exits(0).stdout.lines().count() <= 1);
}

#[test]
fn the_metrics_page_tells_how_endpoints_stand() {
    let mood = Moody::new("a");
    let more =
        format!("{PROBED}, panic_below: off, breaker: {{min_requests: 2, open_for: 1h}}, in_flight: {{total: 10}}");
    let proxyd = Proxyd::start(&users(&[mood.upstream.url()], &more));
    let address = format!("endpoint=\"{}\"", mood.upstream.address());
    let is = |name: &str, labels: &[&str]| proxyd.metric(name, labels) > 0.5;
    assert!(is("proxyd_endpoint_state", &[&address, "state=\"ready\""]));
    assert!(is("proxyd_upstream_endpoints_used", &["upstream=\"users\""]));
    said(&proxyd, "/", 3);
    assert!(proxyd.metric("proxyd_upstream_requests_total", &[&address]) > 2.5);
    assert!(!is("proxyd_upstream_queue", &[]) && !is("proxyd_upstream_panic", &[]));
    eventually("a probe is counted", || {
        is("proxyd_endpoint_probes_total", &[&address, "outcome=\"passed\""]).then_some(())
    });
    mood.says(500);
    said(&proxyd, "/", 6);
    eventually("it is told", || is("proxyd_endpoint_breaker_opened_total", &[&address]).then_some(()));
    assert!(!is("proxyd_upstream_endpoints_used", &["upstream=\"users\""]));
    assert!(!is("proxyd_endpoint_state", &[&address, "state=\"ready\""]));
    // One state at a time.
    let states = proxyd.metric("proxyd_endpoint_state", &[&address]);
    assert!((0.9..1.1).contains(&states), "{states}");
    assert!(proxyd.metric("proxyd_upstream_errors_total", &[&address]) > 1.5);
}

#[test]
fn explanations_and_the_config_say_what_holds() {
    let (good, spare) = (Upstream::saying("a"), Upstream::saying("s"));
    let yaml = format!(
        "upstreams:\n{}{}routes:\n  - name: all\n    path: /\n    upstream: users\n    retry: {{attempts: 3}}\n    \
         fallback: {{upstream: spare}}\n    mirror: {{upstream: spare, percent: 10%}}\n    \
         fault: {{headers: {{x-fault: '1'}}, abort: {{status: 503, percent: 5%}}}}\n",
        upstream(
            "users",
            &[good.url(), gone()],
            "balance: {hash: {by: {header: x-user}}}, breaker: {}, in_flight: {total: 7}"
        ),
        upstream("spare", &[spare.url()], ""),
    );
    let proxyd = Proxyd::start(&yaml);
    let explained = proxyd.ctl(&["explain", "GET", "http://proxy.test/x", "-H", "x-user: ann", "-H", "x-fault: 1"]);
    explained.exits(0).says(&["users", "spare", "x-user", "10%", "503", "5%", "3"]);
    assert_eq!((good.requests(), spare.requests()), (0, 0), "nothing is sent");
    proxyd.ctl(&["config", "show"]).exits(0).says(&["attempts", "in_flight", "x-user", "fallback", "mirror", "fault"]);
}

#[test]
fn a_reload_says_which_upstream_changed_and_keeps_the_rest() {
    let (one, two) = (Moody::new("a"), Upstream::saying("b"));
    let yaml = |more: &str| {
        format!(
            "upstreams:\n{}{}routes: [{{name: all, path: /, upstream: users}}, {{name: b, path: /b, upstream: other}}]\n",
            upstream("users", &[one.upstream.url()], more),
            upstream("other", &[two.url()], ""),
        )
    };
    let proxyd = one_worker(&yaml("breaker: {min_requests: 2, open_for: 1h}"));
    one.says(500);
    for _ in 0..2 {
        proxyd.get("/");
    }
    assert_eq!(proxyd.get("/b").text(), "b");
    let (connections, open) = (two.connections(), endpoint(&proxyd, 0));
    assert_eq!(open["state"], "open");
    let report = proxyd.reload_with(&yaml("breaker: {min_requests: 2, open_for: 1h}, retry: {}"));
    let text = report.to_string();
    assert!(text.contains("users") && !text.contains("other"), "{report:#}");
    assert_eq!(endpoint(&proxyd, 0)["since"], open["since"]);
    assert_eq!(Request::get("/b").send(proxyd.address()).text(), "b");
    assert_eq!(two.connections(), connections, "its connections serve on");
    let unchanged = proxyd.reload_with(&yaml("breaker: {min_requests: 2, open_for: 1h}, retry: {}"));
    assert!(!unchanged.to_string().contains("\"users\""), "{unchanged:#}");
}
