//! Keys, revoked tokens, accounts, bans and who uses most.

use serde_json::{Value, json};
use shared::config::Secret;
use shared::control::{
    BansAddArgs, BansLiftArgs, Command, KeysCreateArgs, KeysRevokeArgs, KeysRotateArgs, LimitsTopArgs, Nothing,
    TokensRevokeArgs, UsersAddArgs, UsersPasswordArgs, UsersRemoveArgs, UsersSetArgs,
};

use super::check;

const THEN: &str = "2026-11-22T12:00:00Z";
const SOON: &str = "2026-11-25T12:30:00Z";

#[test]
fn keys() {
    let key = |name: &str, more: Value| {
        let mut key = json!({ "id": "00112233aabbccdd", "name": name, "prefix": "pk_3f9a01bc", "user": null, "roles": [],
            "scopes": [], "limit": null, "created": THEN, "expires": null, "revoked": null, "used": null,
            "state": "active", "by": "root (uid 0, pid 7)" });
        key.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        key
    };
    let full = json!({ "user": "ada", "roles": ["agent", "user"], "scopes": ["builds:read", "builds:write"],
        "limit": "100/1m", "expires": SOON, "used": THEN });
    let rotating = json!({ "state": "rotating", "earlier_until": SOON });
    let revoked = json!({ "state": "revoked", "revoked": THEN, "expires": THEN });
    let lines = vec![key("ci", full), key("dash\u{1b}", rotating), key("old", revoked)];
    check("keys", &Command::Keys(Nothing {}), lines);
    check("keys_quiet", &Command::Keys(Nothing {}), vec![key("ci", json!({}))]);
    check("keys_none", &Command::Keys(Nothing {}), vec![]);
}

#[test]
fn keys_made() {
    let facts = |prefix: &str| json!({ "id": "00112233aabbccdd", "name": "ci", "prefix": prefix });
    let made = |before: Value, more: Value| {
        let mut made = json!({ "id": "00112233aabbccdd", "name": "ci", "prefix": "pk_3f9a01bc",
            "key": format!("pk_3f9a01bc_{}", "x".repeat(43)), "user": null, "roles": [], "scopes": [], "limit": null,
            "created": THEN, "expires": null, "changes": { "before": before, "after": facts("pk_3f9a01bc") },
            "audited": true });
        made.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        made
    };
    let full = json!({ "user": "ada", "roles": ["agent"], "scopes": ["a", "b"], "limit": "100/1m", "expires": SOON });
    let create = Command::KeysCreate(KeysCreateArgs::default());
    check("keys_create", &create, vec![made(Value::Null, full)]);
    let rotate = Command::KeysRotate(KeysRotateArgs::default());
    let before = || facts("pk_00000000");
    check("keys_rotate", &rotate, vec![made(before(), json!({}))]);
    check("keys_rotate_overlap", &rotate, vec![made(before(), json!({ "earlier_until": SOON }))]);
    let revoked = json!({ "id": "00112233aabbccdd", "name": "ci", "prefix": "pk_3f9a01bc",
        "changes": { "before": facts("pk_3f9a01bc"), "after": null }, "audited": true });
    check("keys_revoke", &Command::KeysRevoke(KeysRevokeArgs::default()), vec![revoked]);
}

#[test]
fn tokens() {
    let line = |provider: &str| {
        json!({ "provider": provider, "jti": "5f2b9c1e-0000", "expires": SOON, "revoked": THEN,
            "by": "root (uid 0, pid 7)", "idle": provider == "jwt.gone" })
    };
    check("tokens", &Command::Tokens(Nothing {}), vec![line("*"), line("jwt.main"), line("jwt.gone")]);
    let revoked = |provider: &str, kept: bool| {
        json!({ "provider": provider, "jti": "5f2b9c1e", "expires": SOON, "kept": kept,
            "changes": { "before": null, "after": null }, "audited": true })
    };
    let revoke = Command::TokensRevoke(TokensRevokeArgs::default());
    check("tokens_revoke", &revoke, vec![revoked("*", true), revoked("jwt.main", false)]);
}

#[test]
fn users() {
    let line = |name: &str, email: Value, verified: bool, disabled: bool, login: Value| {
        json!({ "id": "00112233aabbccdd", "name": name, "email": email, "roles": ["admin", "user"], "verified": verified,
            "disabled": disabled, "has_password": true, "created": THEN, "login": login })
    };
    let mut bare = line("bob", Value::Null, false, false, Value::Null);
    bare["has_password"] = json!(false);
    let lines = vec![
        line("ada", json!("ada@example.com"), true, false, json!(THEN)),
        line("eve", json!("eve@example.com"), false, true, Value::Null),
        bare,
    ];
    check("users", &Command::Users(Nothing {}), lines);
    let facts = |roles: &[&str], disabled: bool| json!({ "email": "ada@example.com", "roles": roles, "verified": true, "disabled": disabled, "has_password": true });
    let changed = |before: Value, after: Value| {
        json!({ "id": "00112233aabbccdd", "name": "ada", "changes": { "before": before, "after": after },
            "audited": true })
    };
    let mut shown = String::new();
    for (command, before, after) in [
        (Command::UsersAdd(UsersAddArgs::default()), Value::Null, facts(&["admin", "user"], false)),
        (Command::UsersSet(UsersSetArgs::default()), facts(&["admin"], false), facts(&[], true)),
        (
            Command::UsersPassword(UsersPasswordArgs { name: "ada".into(), password: Secret::new("x") }),
            facts(&[], false),
            facts(&[], false),
        ),
        (Command::UsersRemove(UsersRemoveArgs::default()), facts(&[], false), Value::Null),
    ] {
        shown += &super::rows(&command, vec![changed(before, after)], &super::look()).unwrap();
    }
    insta::assert_snapshot!("users_changed", shown);
}

#[test]
fn bans() {
    let line = |network: &str, reason: &str, by: &str, holds: bool| json!({ "network": network, "until": SOON, "since": THEN, "reason": reason, "times": 2, "by": by, "holds": holds });
    let lines = vec![
        line("203.0.113.7", "auth_invalid", "proxyd", false),
        line("2001:db8::/48", "probes for logins\u{202e}", "root (uid 0, pid 7)", true),
    ];
    check("bans", &Command::Bans(Nothing {}), lines);
    check("bans_none", &Command::Bans(Nothing {}), vec![]);
    let mut over = line("203.0.113.7", "password_wrong", "proxyd", false);
    over["remembered"] = true.into();
    check("bans_remembered", &Command::Bans(Nothing {}), vec![over]);
    let changed = |after: Value| json!({ "network": "203.0.113.7", "changes": { "before": null, "after": after }, "audited": true });
    let banned = changed(json!({ "until": SOON, "reason": "probes" }));
    check("bans_add", &Command::BansAdd(BansAddArgs::default()), vec![banned]);
    let mut spared = changed(json!({ "until": SOON, "reason": "operator" }));
    spared["spared"] = "server.trusted_proxies".into();
    check("bans_add_spared", &Command::BansAdd(BansAddArgs::default()), vec![spared]);
    check("bans_lift", &Command::BansLift(BansLiftArgs::default()), vec![changed(Value::Null)]);
}

#[test]
fn limits_top() {
    let line = |key: &str, used: u64| {
        json!({ "rule": "default", "scope": "top level", "key": key, "used": used, "limit": "100/1m",
            "remaining": 100 - used, "resets_in": 61 })
    };
    let top = Command::LimitsTop(LimitsTopArgs::default());
    check("limits_top", &top, vec![line("10.1.2.3", 100), line("user ada", 7)]);
    check("limits_top_none", &top, vec![]);
}
