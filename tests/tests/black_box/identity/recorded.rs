//! The record says by what somebody was recognised, beside who it was.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tests::token::{SECRET, hs256};
use tests::{Proxyd, Request, Upstream, eventually};

use super::combining::HASH;

fn start(upstream: &Upstream) -> Proxyd {
    let url = upstream.url();
    Proxyd::start(&format!(
        "identity:\n  jwt: {{main: {{keys: {{secret: '{SECRET}'}}}}}}\n  api_key: {{}}\n  \
         basic: {{users: [{{user: alice, password_hash: '{HASH}'}}]}}\nroutes:\n  \
         - {{path: /open, target: '{url}'}}\n  \
         - {{path: /both, target: '{url}', auth: {{all_of: [jwt.main, api_key]}}}}\n  \
         - {{path: /any, target: '{url}', auth: [jwt.main, api_key, basic]}}\n"
    ))
}

/// Path, principal and credential of each row, oldest first.
fn told(rows: &[Value]) -> Vec<[&str; 3]> {
    rows.iter().map(|row| ["path", "principal", "credential"].map(|name| row[name].as_str().unwrap())).collect()
}

#[test]
fn a_row_says_by_what_somebody_was_recognised() {
    let upstream = Upstream::echo();
    let proxyd = start(&upstream);
    let key = proxyd.ask("keys_create", &json!({"name": "ci"}));
    let (key, prefix) = (key["key"].as_str().unwrap(), key["prefix"].as_str().unwrap());
    let token = format!("Bearer {}", hs256("alice", &json!({})));
    let password = format!("Basic {}", STANDARD.encode("alice:correct horse"));
    let ask = |path: &str, headers: &[(&str, &str)], status: u16| {
        let request = headers.iter().fold(Request::get(path), |request, (name, value)| request.header(name, value));
        assert_eq!(request.send(proxyd.address()).status, status, "{path} {headers:?}");
    };
    ask("/any/token", &[("Authorization", &token)], 200);
    ask("/any/key", &[("X-API-Key", key)], 200);
    ask("/any/password", &[("Authorization", &password)], 200);
    ask("/both", &[("Authorization", &token), ("X-API-Key", key)], 200);
    ask("/open", &[("Authorization", &token)], 200);
    ask("/any/nobody", &[], 401);
    ask("/any/wrong", &[("X-API-Key", "pk_00000000_wrong")], 401);

    let by_key = format!("api_key {prefix}");
    let by_both = format!("jwt.main, {by_key}");
    let rows = proxyd.audit(&json!({"kind": "requests"}), 7);
    let mut found = told(&rows);
    found.sort_unstable();
    let mut expected = [
        ["/any/token", "alice", "jwt.main"],
        ["/any/key", "ci", &by_key],
        ["/any/password", "alice", "basic"],
        ["/both", "alice", &by_both],
        ["/open", "", ""],
        ["/any/nobody", "", ""],
        ["/any/wrong", "", ""],
    ];
    expected.sort_unstable();
    assert_eq!(found, expected);

    let check = |filter: Value, expected: &[&str]| {
        let rows = proxyd.stream("audit", &filter);
        let mut paths: Vec<_> = told(&rows).into_iter().map(|[path, ..]| path).collect();
        paths.sort_unstable();
        assert_eq!(paths, expected, "{filter}");
    };
    check(json!({"principal": "alice"}), &["/any/password", "/any/token", "/both"]);
    check(json!({"principal": "alice", "credential": "basic"}), &["/any/password"]);
    check(json!({"principal": "al"}), &[]);
    check(json!({"credential": prefix}), &["/any/key", "/both"]);
    check(json!({"credential": "nothing"}), &[]);
    assert_eq!(proxyd.ask("audit_verify", &json!({}))["intact"], true);

    let rows = proxyd.ctl(&["audit", "--credential", prefix, "--output", "csv"]);
    rows.exits(0).says(&[&format!(",ci,{by_key},")]);
    let wanted = format!("\"credential\":\"{by_key}\"");
    eventually("the line of a key", || proxyd.home().read("access.log").contains(&wanted).then_some(()));
    assert!(!proxyd.home().read("access.log").contains(key));
}
