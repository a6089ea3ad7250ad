//! Addresses that earn refusals are kept out, and those through which everybody comes are not.

use serde_json::json;
use tests::{Proxyd, Request, Response, Wire, eventually};

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

#[test]
fn a_ban_is_told_where_it_is_earned_and_wherever_one_asks() {
    let proxyd = started("trusted_proxies: [127.0.0.1]");
    for _ in 0..3 {
        check(&proxyd, "/nothing", "203.0.113.7", 404);
    }
    let said = eventually("the log says it", || {
        let said = proxyd.output();
        said.contains("an address has earned a ban").then_some(said)
    });
    let line = said.lines().find(|line| line.contains("an address has earned a ban")).unwrap();
    assert!(line.contains("203.0.113.7") && line.contains("route_not_found") && line.contains("3600"), "{line}");
    let explained = proxyd.ctl(&["explain", "GET", "http://x/known", "--from", "203.0.113.7"]);
    explained.exits(0).says(&["403", "banned", "route_not_found"]);
    let other = proxyd.ctl(&["explain", "GET", "http://x/known", "--from", "203.0.113.8"]);
    assert!(!other.exits(0).stdout.contains("banned"), "{}", other.stdout);
    // One that holds nobody off is said to do so.
    proxyd.ctl(&["bans", "add", "127.0.0.1"]).exits(0).says(&["keeps nobody out", "trusted"]);
    let spared = proxyd.ctl(&["explain", "GET", "http://x/known", "--from", "127.0.0.1"]);
    assert!(!spared.exits(0).stdout.contains("banned"), "{}", spared.stdout);
}

#[test]
fn a_ban_that_is_over_is_told_as_remembered() {
    let proxyd = Proxyd::start(
        "server: {trusted_proxies: []}\nbans: {refusals: 2, for: 1s, on: [route_not_found]}\n\
         routes:\n  - {path: /known, respond: {status: 200}}\n",
    );
    for _ in 0..2 {
        check(&proxyd, "/nothing", "", 404);
    }
    eventually("it is over", || (ask(&proxyd, "/known", "").status == 200).then_some(()));
    let bans = proxyd.ctl(&["bans"]);
    bans.exits(0).says(&["nobody is banned", "127.0.0.1", "remembered"]);
}
