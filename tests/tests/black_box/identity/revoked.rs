//! Tokens that are revoked: at once, over a restart, and on every proxy of one Redis.

use rusqlite::Connection;
use serde_json::json;
use tests::token::{SECRET, hs256};
use tests::{Proxyd, Redis, Request, Start, eventually};

fn config(more: &str) -> String {
    format!(
        "{more}\nauth: jwt.main\nroutes:\n  - {{path: /, respond: {{status: 200, body: in}}}}\n\
         identity:\n  jwt: {{main: {{keys: {{secret: '{SECRET}'}}}}}}\n"
    )
}

fn ask(proxyd: &Proxyd, token: &str) -> String {
    let answer = Request::get("/").header("Authorization", &format!("Bearer {token}")).send(proxyd.address());
    if answer.status == 200 { "in".to_owned() } else { answer.error_code() }
}

#[test]
fn a_revoked_token_is_refused_at_once_and_after_a_restart() {
    let proxyd = Proxyd::start(&config(""));
    let (token, other) = (hs256("alice", &json!({"jti": "one"})), hs256("alice", &json!({"jti": "two"})));
    assert_eq!((ask(&proxyd, &token), ask(&proxyd, &other)), ("in".to_owned(), "in".to_owned()));
    let revoked = proxyd.ctl(&["tokens", "revoke", &token]);
    revoked.exits(0);
    assert_eq!((ask(&proxyd, &token), ask(&proxyd, &other)), ("token_revoked".to_owned(), "in".to_owned()));
    // It is named by its id, never shown.
    let rows = proxyd.audit(&json!({"last": 10, "kind": "actions"}), 1);
    assert!(!json!(rows).to_string().contains(&token), "{rows:?}");
    let home = proxyd.stop();
    let proxyd = Start::in_home(&home, &config("")).run();
    assert_eq!((ask(&proxyd, &token), ask(&proxyd, &other)), ("token_revoked".to_owned(), "in".to_owned()));
}

#[test]
fn who_renames_a_provider_is_told_what_was_revoked_for_it() {
    let proxyd = Proxyd::start(&config(""));
    let token = hs256("alice", &json!({"jti": "one"}));
    proxyd.ask("tokens_revoke", &json!({"jti": "one", "provider": "jwt.main"}));
    proxyd.ask("tokens_revoke", &json!({"jti": "two", "provider": "*"}));
    assert_eq!(ask(&proxyd, &token), "token_revoked");
    let told = proxyd.reload_with(&config("").replace("main", "other"));
    let unused = |told: &serde_json::Value| -> Vec<String> {
        let of_it = told["warnings"].as_array().unwrap().iter().filter(|warning| warning["code"] == "unused");
        of_it.map(|warning| warning["message"].as_str().unwrap().to_owned()).collect()
    };
    let messages = unused(&told);
    assert!(messages.len() == 1 && messages[0].contains("jwt.main") && messages[0].contains("(1)"), "{told}");
    let rows = proxyd.stream("tokens", &json!({}));
    let is_idle = |jti: &str| rows.iter().find(|row| row["jti"] == jti).map(|row| row["idle"].clone());
    assert_eq!([is_idle("one"), is_idle("two")], [Some(json!(true)), Some(json!(false))], "{rows:?}");
    proxyd.ctl(&["tokens"]).exits(0).says(&["jwt.main (not configured)"]);
    // One that is gone already is not told again.
    let again = proxyd.reload_with(&config("").replace("main", "third"));
    assert!(unused(&again).is_empty(), "{again}");
}

#[test]
fn a_disk_that_takes_nothing_opens_no_door() {
    let proxyd = Proxyd::start(&config(""));
    let token = hs256("alice", &json!({"jti": "one"}));
    assert_eq!(ask(&proxyd, &token), "in");
    let other = Connection::open(proxyd.home().file("data/identity.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let revoked = std::thread::scope(|scope| {
        let revoked = scope.spawn(|| proxyd.ask("tokens_revoke", &json!({"token": token})));
        // Before the disk has said anything.
        eventually("it is refused", || (ask(&proxyd, &token) == "token_revoked").then_some(()));
        revoked.join().unwrap()
    });
    assert_eq!((&revoked["jti"], &revoked["kept"]), (&json!("one"), &json!(false)), "{revoked}");
    assert_eq!(ask(&proxyd, &token), "token_revoked");
    assert_eq!(proxyd.stream("tokens", &json!({})).len(), 1);
    other.execute_batch("ROLLBACK").unwrap();
    let home = proxyd.stop();
    let proxyd = Start::in_home(&home, &config("")).run();
    assert_eq!(ask(&proxyd, &token), "token_revoked", "it was written once the disk took it");
}

#[test]
fn a_token_that_can_not_be_revoked_is_not_taken() {
    let proxyd = Proxyd::start(&config(""));
    for (jti, expected) in
        [("", "token_claims"), (" a", "token_claims"), ("a\n", "token_claims"), (&*"x".repeat(257), "token_claims")]
    {
        assert_eq!(ask(&proxyd, &hs256("alice", &json!({ "jti": jti }))), expected, "{jti:?}");
        assert!(proxyd.try_ask("tokens_revoke", &json!({ "jti": jti })).is_err(), "{jti:?}");
    }
    let longest = "x".repeat(256);
    let token = hs256("alice", &json!({ "jti": longest }));
    assert_eq!(ask(&proxyd, &token), "in");
    proxyd.ask("tokens_revoke", &json!({ "jti": longest }));
    assert_eq!(ask(&proxyd, &token), "token_revoked");
}

#[test]
fn what_one_proxy_revokes_the_others_of_its_redis_refuse() {
    let mut redis = Redis::start();
    let yaml = |redis: &Redis| {
        let shared = format!("redis: {{url: '{}', timeout: 2s, connect_timeout: 2s, open_for: 100ms}}", redis.url());
        config(&shared) + "  revocations: redis\n"
    };
    let (one, two) = (Proxyd::start(&yaml(&redis)), Proxyd::start(&yaml(&redis)));
    let token = |jti: &str| hs256("alice", &json!({"jti": jti, "exp": tests::token::in_seconds(600)}));
    assert_eq!(ask(&two, &token("a")), "in");
    let refused = |proxyd: &Proxyd, jti: &str| {
        eventually("the others hear of it", || (ask(proxyd, &token(jti)) == "token_revoked").then_some(()));
    };
    one.ask("tokens_revoke", &json!({"token": token("a")}));
    assert_eq!(ask(&one, &token("a")), "token_revoked");
    refused(&two, "a");
    // The store goes, with all it knew: what each proxy knows holds, and is told again.
    redis.end();
    assert_eq!((ask(&one, &token("a")), ask(&two, &token("a"))), ("token_revoked".into(), "token_revoked".into()));
    two.ask("tokens_revoke", &json!({"jti": "b"}));
    assert_eq!((ask(&one, &token("b")), ask(&two, &token("b"))), ("in".into(), "token_revoked".into()));
    redis.run();
    refused(&one, "b");
    let late = Proxyd::start(&yaml(&redis));
    refused(&late, "a");
    refused(&late, "b");
    assert_eq!(ask(&late, &token("c")), "in");
}
