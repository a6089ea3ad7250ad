//! Addresses that earn refusals are kept out, and those through which everybody comes are not.

use serde_json::json;
use tests::{Proxyd, Request, Response, Wire};

/// Three requests for nothing are too many.
fn started(server: &str) -> Proxyd {
    Proxyd::start(&format!(
        "server: {{health_path: /health, {server}}}\n\
         bans: {{refusals: 3, for: 1h, on: [route_not_found, request_malformed]}}\n\
         routes:\n  - {{path: /known, respond: {{status: 200}}}}\n"
    ))
}

fn ask(proxyd: &Proxyd, path: &str, client: &str) -> Response {
    let request = Request::get(path).header("Accept", "application/json");
    let request = if client.is_empty() { request } else { request.header("X-Forwarded-For", client) };
    request.send(proxyd.address())
}

#[track_caller]
fn check(proxyd: &Proxyd, path: &str, client: &str, status: u16) {
    let answer = ask(proxyd, path, client);
    assert_eq!(answer.status, status, "{path} for {client}: {}", answer.text());
}

#[test]
fn a_client_is_banned_and_the_balancer_is_not() {
    let proxyd = started("trusted_proxies: [127.0.0.1]");
    for _ in 0..3 {
        check(&proxyd, "/nothing", "203.0.113.7", 404);
    }
    check(&proxyd, "/known", "203.0.113.7", 403);
    check(&proxyd, "/known", "203.0.113.8", 200);
    // The balancer's own requests, and what it sends that is none.
    for _ in 0..9 {
        check(&proxyd, "/nothing", "", 404);
        let mut wire = Wire::connect(proxyd.address());
        wire.send("nonsense\r\n\r\n");
        assert_eq!(wire.response("GET").status, 400);
    }
    check(&proxyd, "/known", "", 200);
    // Not by an operator's word either: all would be shut out.
    proxyd.ctl(&["bans", "add", "127.0.0.1"]).exits(0);
    check(&proxyd, "/known", "", 200);
    let lines = proxyd.stream("bans", &json!({}));
    let holds = |network: &str| lines.iter().find(|line| line["network"] == network).map(|line| &line["holds"]);
    assert_eq!((holds("203.0.113.7"), holds("127.0.0.1")), (Some(&json!(true)), Some(&json!(false))));
    assert_eq!(proxyd.metric("proxyd_bans", &[]) as u64, 2);
}

#[test]
fn who_is_banned_still_learns_that_we_are_well() {
    let proxyd = started("trusted_proxies: []");
    for _ in 0..3 {
        check(&proxyd, "/nothing", "", 404);
    }
    check(&proxyd, "/known", "", 403);
    check(&proxyd, "/health", "", 200);
}
