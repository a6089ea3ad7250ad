//! Keys, tokens, users and bans through every door: what is made is listed, holds over a restart, and is on record without its
//! secrets.

use std::process::Stdio;

use serde_json::{Value, json};
use tests::{Home, Proxyd, Ran, Request, Response, Start};

const CONFIG: &str = "admin: {auth: {tokens: [{name: ci, token: operator-token-4711, role: operator}, \
                      {name: eyes, token: reader-token-4711, role: reader}]}}\n\
                      routes:\n  - {name: all, path: /, respond: {status: 200}}\n";

/// Asks the admin listener with a token.
fn admin(proxyd: &Proxyd, token: &str, request: Request) -> Response {
    proxyd.admin_send(&request.header("authorization", &format!("Bearer {token}-token-4711")))
}

fn operator(proxyd: &Proxyd, request: Request) -> Response {
    admin(proxyd, "operator", request)
}

fn put(target: &str, body: String) -> Request {
    Request::new("PUT", target).body(body)
}

fn delete(target: &str) -> Request {
    Request::new("DELETE", target)
}

/// Runs `proxyctl` with this on its standard input.
fn ctl_with(proxyd: &Proxyd, args: &[&str], input: &str) -> Ran {
    let home = proxyd.home();
    home.write("input", input);
    let mut command = tests::ctl::command(home.path(), args);
    command.env("PROXYD_SOCKET", proxyd.socket()).stdin(Stdio::from(std::fs::File::open(home.file("input")).unwrap()));
    tests::ctl::finish(&mut command)
}

/// Every action that is on record, as text.
fn record(proxyd: &Proxyd) -> (Vec<Value>, String) {
    let rows = proxyd.audit(&json!({ "kind": "actions", "last": 1000 }), 1);
    let text = rows.iter().map(Value::to_string).collect();
    (rows, text)
}

/// Fails where a file of the home holds one of these texts.
fn keeps_none_of(home: &Home, secrets: &[&str]) {
    let mut folders = vec![home.path().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() && path.file_name().is_none_or(|name| name != "input") {
                let bytes = std::fs::read(&path).unwrap_or_default();
                for secret in secrets {
                    let held = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                    assert!(!held, "{} holds a secret", path.display());
                }
            }
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

#[test]
fn keys_are_made_listed_rotated_and_revoked() {
    let proxyd = Start::new(CONFIG).run();
    let args = json!({ "name": "one", "scopes": ["a:read", "b"], "roles": ["agent"], "user": "ada", "expires": "30d",
        "limit": "100/m" });
    let one = proxyd.ask("keys_create", &args);
    assert_eq!((&one["name"], &one["limit"], &one["user"]), (&json!("one"), &json!("100/1m"), &json!("ada")), "{one}");
    assert_eq!(one["audited"], true);
    let key = text(&one["key"]).to_owned();
    assert_eq!(key.len(), "pk_".len() + 8 + 1 + 43, "{key}");
    assert!(key.starts_with(text(&one["prefix"])));

    let two = operator(&proxyd, Request::post("/admin/keys", json!({ "name": "two" }).to_string()));
    assert_eq!(two.status, 200, "{}", two.text());
    let two = two.json();
    let three = proxyd.ctl(&["keys", "create", "--name", "three", "--scopes", "x,y", "--output", "json"]);
    let three = three.exits(0).json();
    assert_eq!(three["scopes"], json!(["x", "y"]));
    let four = proxyd.ctl(&["keys", "create", "--name", "four"]);
    four.exits(0).says(&["pk_", "shown this once", "note: nothing looks for keys yet"]);
    assert!(text(&two["note"]).contains("identity: {api_key: on}"), "{two}");

    // What does not go.
    for (args, code) in [
        (json!({ "name": "ONE" }), "conflict"),
        (json!({ "name": "" }), "invalid_arguments"),
        (json!({ "name": "pk_abcdefgh" }), "invalid_arguments"),
        (json!({ "name": "x", "limit": "many" }), "invalid_arguments"),
        (json!({ "name": "x", "expires": "2001-01-01T00:00:00Z" }), "invalid_arguments"),
        (json!({ "name": "x", "roles": ["a,b"] }), "invalid_arguments"),
    ] {
        let error = proxyd.try_ask("keys_create", &args).unwrap_err();
        assert_eq!(error["code"], code, "{args}: {error}");
    }
    let again = operator(&proxyd, Request::post("/admin/keys", json!({ "name": "two" }).to_string()));
    assert_eq!((again.status, &again.json()["error"]["code"]), (409, &json!("conflict")));
    proxyd.ctl(&["keys", "create", "--name", "two"]).exits(1).says(&["two"]);
    proxyd.ctl(&["keys", "revoke", "nobody"]).exits(1).says(&["nobody"]);
    let refused = admin(&proxyd, "reader", Request::post("/admin/keys", json!({ "name": "x" }).to_string()));
    assert_eq!(refused.status, 403);

    // Lists say no more than the prefix.
    let listed = proxyd.stream("keys", &json!({}));
    let names: Vec<&str> = listed.iter().map(|line| text(&line["name"])).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    assert!(listed.iter().all(|line| line["state"] == "active" && line.get("key").is_none()), "{listed:?}");
    let over_http = admin(&proxyd, "reader", Request::get("/admin/keys"));
    assert!(over_http.text().contains(text(&two["prefix"])) && !over_http.text().contains(text(&two["key"])));
    proxyd.ctl(&["keys"]).exits(0).says(&["three", text(&three["prefix"]), "100/1m", "never"]);

    // Another secret, and for a while two.
    let place = format!("/admin/keys/{}/rotate", text(&two["id"]));
    let rotated = operator(&proxyd, Request::post(&place, json!({ "overlap": "1h" }).to_string()));
    assert_eq!(rotated.status, 200, "{}", rotated.text());
    let rotated = rotated.json();
    assert_eq!(rotated["id"], two["id"]);
    assert!(rotated["key"] != two["key"] && rotated["earlier_until"].is_string(), "{rotated}");
    // Two are good at a time: who rotates sooner is told which one has ended.
    let place = format!("/admin/keys/{}/rotate", text(&three["id"]));
    let rotate = || operator(&proxyd, Request::post(&place, json!({ "overlap": "1h" }).to_string())).json();
    assert_eq!(rotate()["earlier_ended"], Value::Null);
    assert_eq!(rotate()["earlier_ended"], three["prefix"]);
    proxyd.ctl(&["keys", "rotate", "three"]).exits(0).says(&["shown this once", "good no longer"]);
    let states = |proxyd: &Proxyd| -> Vec<(String, String)> {
        let line = |line: &Value| (text(&line["name"]).to_owned(), text(&line["state"]).to_owned());
        let mut lines: Vec<_> = proxyd.stream("keys", &json!({})).iter().map(line).collect();
        lines.sort();
        lines
    };
    // A whole key that was pasted is understood, and kept from the record.
    proxyd.ctl(&["keys", "revoke", &key]).exits(0).says(&["one", "revoked"]);
    let gone = operator(&proxyd, delete("/admin/keys/four"));
    assert_eq!((gone.status, &gone.json()["changes"]["after"]), (200, &Value::Null), "{}", gone.text());
    let error = proxyd.try_ask("keys_rotate", &json!({ "key": one["id"] })).unwrap_err();
    assert_eq!(error["code"], "conflict", "{error}");
    let expected = [("four", "revoked"), ("one", "revoked"), ("three", "active"), ("two", "rotating")];
    let expected = expected.map(|(name, state)| (name.to_owned(), state.to_owned()));
    assert_eq!(states(&proxyd), expected);

    let (rows, record) = record(&proxyd);
    let secrets = [&key, text(&two["key"]), text(&three["key"]), text(&rotated["key"])];
    for secret in secrets {
        assert!(!record.contains(secret), "{record}");
        let hidden = secret.get(11..).unwrap();
        assert!(!record.contains(hidden), "{record}");
    }
    let made = rows.iter().find(|row| row["command"] == "keys_create" && row["outcome"] == "done").unwrap();
    assert!(text(&made["changes"]).contains(text(&one["prefix"])), "{made}");
    assert!(text(&made["arguments"]).contains("a:read"), "{made}");
    let revoked = rows.iter().find(|row| row["command"] == "keys_revoke" && row["outcome"] == "done").unwrap();
    assert!(text(&revoked["arguments"]).contains("masked"), "{revoked}");
    assert!(rows.iter().any(|row| row["command"] == "keys_create" && row["outcome"] == "conflict"));

    let home = proxyd.stop();
    keeps_none_of(&home, &secrets.map(|secret| secret.get(11..).unwrap()));
    let proxyd = Start::in_home(&home, CONFIG).run();
    assert_eq!(states(&proxyd), expected);
}

#[test]
fn bans_hold_over_a_restart_until_they_are_lifted() {
    let proxyd = Start::new(CONFIG).run();
    let ban = proxyd.ask("bans_add", &json!({ "network": "203.0.113.7", "for": "1h", "reason": "probes" }));
    assert_eq!((&ban["network"], &ban["changes"]["before"]), (&json!("203.0.113.7"), &Value::Null), "{ban}");
    proxyd.ctl(&["bans", "add", "2001:db8::/48"]).exits(0).says(&["2001:db8::/48 is banned until"]);
    let body = json!({ "network": "198.51.100.0/24", "for": "2d" }).to_string();
    assert_eq!(operator(&proxyd, Request::post("/admin/bans", body.clone())).status, 200);
    assert_eq!(admin(&proxyd, "reader", Request::post("/admin/bans", body)).status, 403);
    for (args, code) in [
        (json!({ "network": "nowhere" }), "invalid_arguments"),
        (json!({ "network": "10.0.0.1/8" }), "invalid_arguments"),
        (json!({ "network": "0.0.0.0/0" }), "invalid_arguments"),
        (json!({ "network": "10.0.0.1", "for": "soon" }), "invalid_arguments"),
        (json!({ "network": "10.0.0.1", "for": "366d" }), "invalid_arguments"),
        (json!({ "network": "10.0.0.1", "reason": "x".repeat(201) }), "invalid_arguments"),
    ] {
        let error = proxyd.try_ask("bans_add", &args).unwrap_err();
        assert_eq!(error["code"], code, "{args}: {error}");
    }
    let networks = |proxyd: &Proxyd| -> Vec<String> {
        let mut all: Vec<_> =
            proxyd.stream("bans", &json!({})).iter().map(|line| text(&line["network"]).to_owned()).collect();
        all.sort();
        all
    };
    let all = ["198.51.100.0/24", "2001:db8::/48", "203.0.113.7"];
    assert_eq!(networks(&proxyd), all);

    let home = proxyd.stop();
    let proxyd = Start::in_home(&home, CONFIG).run();
    assert_eq!(networks(&proxyd), all);
    proxyd.ctl(&["bans"]).exits(0).says(&["203.0.113.7", "probes", "operator"]);
    let lifted = operator(&proxyd, delete("/admin/bans/198.51.100.0%2F24"));
    assert_eq!((lifted.status, &lifted.json()["network"]), (200, &json!("198.51.100.0/24")), "{}", lifted.text());
    proxyd.ctl(&["bans", "lift", "203.0.113.7"]).exits(0).says(&["203.0.113.7 is banned no longer"]);
    proxyd.ctl(&["bans", "lift", "203.0.113.7"]).exits(1).says(&["not banned"]);
    // An address in it is not the network, which is told.
    let around = "2001:db8::1 is refused by 2001:db8::/48: `proxyctl bans lift 2001:db8::/48`";
    proxyd.ctl(&["bans", "lift", "2001:db8::1"]).exits(1).says(&[around]);
    proxyd.ctl(&["bans", "lift", "2001:db9::1"]).exits(1).says(&["not banned"]);
    assert_eq!(networks(&proxyd), ["2001:db8::/48"]);

    let home = proxyd.stop();
    let proxyd = Start::in_home(&home, CONFIG).run();
    assert_eq!(networks(&proxyd), ["2001:db8::/48"]);
    let (rows, _) = record(&proxyd);
    let lifts: Vec<&Value> = rows.iter().filter(|row| row["command"] == "bans_lift").collect();
    assert_eq!(lifts.len(), 5, "{lifts:?}");
    assert!(lifts.iter().any(|row| text(&row["changes"]).contains("probes")), "{lifts:?}");
}

#[test]
fn users_are_added_changed_and_removed_and_their_passwords_are_nowhere() {
    let proxyd = Start::new(CONFIG).run();
    let added = ctl_with(
        &proxyd,
        &["users", "add", "Ada", "--email", "ada@example.com", "--roles", "admin,user", "--password-stdin"],
        "correct horse battery\n",
    );
    added.exits(0).says(&["user Ada is added", "roles admin user"]);
    let body = json!({ "name": "bob", "password": "another long secret" }).to_string();
    let bob = operator(&proxyd, Request::post("/admin/users", body));
    assert_eq!((bob.status, &bob.json()["changes"]["after"]["has_password"]), (200, &json!(true)), "{}", bob.text());
    proxyd.ctl(&["users", "add", "eve", "--no-password"]).exits(0).says(&["no password", "note: nobody can log in"]);
    proxyd.ctl(&["users", "add", "ivy"]).exits(2).says(&["--password-stdin"]);

    for (command, args, code) in [
        ("users_add", json!({ "name": "ADA" }), "conflict"),
        ("users_add", json!({ "name": "x", "email": "ADA@example.com" }), "conflict"),
        ("users_add", json!({ "name": "x", "email": "nowhere" }), "invalid_arguments"),
        ("users_add", json!({ "name": "a,b" }), "invalid_arguments"),
        ("users_add", json!({ "name": "-dash" }), "invalid_arguments"),
        ("users_add", json!({ "name": "\u{430}nn" }), "invalid_arguments"),
        ("users_add", json!({ "name": "x", "verified": true }), "invalid_arguments"),
        ("users_add", json!({ "name": "x", "password": "short" }), "invalid_arguments"),
        ("users_add", json!({ "name": "x", "password": "x".repeat(1025) }), "invalid_arguments"),
        ("users_set", json!({ "name": "bob" }), "invalid_arguments"),
        ("users_set", json!({ "name": "nobody", "disabled": true }), "not_found"),
        ("users_set", json!({ "name": "bob", "email": "ada@example.com" }), "conflict"),
        ("users_password", json!({ "name": "nobody", "password": "yet another secret" }), "not_found"),
        ("users_remove", json!({ "name": "nobody" }), "not_found"),
    ] {
        let error = proxyd.try_ask(command, &args).unwrap_err();
        assert_eq!(error["code"], code, "{command} {args}: {error}");
    }

    let place = "/admin/users/ada%40example.com";
    let set = operator(&proxyd, put(place, json!({ "roles": ["user"], "verified": true }).to_string()));
    assert_eq!(set.status, 200, "{}", set.text());
    let changes = &set.json()["changes"];
    assert_eq!(changes["before"]["roles"], json!(["admin", "user"]), "{changes}");
    assert_eq!((&changes["after"]["roles"], &changes["after"]["verified"]), (&json!(["user"]), &json!(true)));
    proxyd.ctl(&["users", "set", "bob", "--disable"]).exits(0).says(&["disabled"]);
    let new = json!({ "password": "a third long secret" }).to_string();
    assert_eq!(operator(&proxyd, put("/admin/users/bob/password", new)).status, 200);
    ctl_with(&proxyd, &["users", "password", "eve", "--password-stdin"], "a fourth long secret\n").exits(0);
    proxyd.ctl(&["users", "remove", "eve"]).exits(0).says(&["user eve is removed"]);
    assert_eq!(operator(&proxyd, delete("/admin/users/eve")).status, 404);

    let listed = proxyd.stream("users", &json!({}));
    let names: Vec<&str> = listed.iter().map(|line| text(&line["name"])).collect();
    assert_eq!(names, ["Ada", "bob"]);
    assert_eq!((&listed[0]["verified"], &listed[1]["disabled"]), (&json!(true), &json!(true)));
    assert_eq!(admin(&proxyd, "reader", Request::get("/admin/users")).status, 200);
    assert_eq!(admin(&proxyd, "reader", delete("/admin/users/bob")).status, 403);

    let secrets = ["correct horse battery", "another long secret", "a third long secret", "a fourth long secret"];
    let (rows, record) = record(&proxyd);
    for secret in secrets.iter().chain(&["$argon2", "yet another secret"]) {
        assert!(!record.contains(secret), "{record}");
    }
    let of = |command: &str| rows.iter().filter(|row| row["command"] == command).count();
    assert_eq!((of("users_add"), of("users_set"), of("users_password"), of("users_remove")), (12, 5, 3, 4));
    let added = rows.iter().find(|row| row["command"] == "users_add" && row["outcome"] == "done").unwrap();
    assert!(text(&added["arguments"]).contains("present, masked, 21 bytes"), "{added}");
    let output = proxyd.output();
    assert!(secrets.iter().all(|secret| !output.contains(secret)), "{output}");

    let home = proxyd.stop();
    keeps_none_of(&home, &secrets);
    let proxyd = Start::in_home(&home, CONFIG).run();
    assert_eq!(proxyd.stream("users", &json!({})).len(), 2);
}

#[test]
fn tokens_are_revoked_by_themselves_or_by_their_id() {
    let proxyd = Start::new(CONFIG).run();
    // {"alg":"none"} . {"jti":"5f2b","exp":32503680000} . a signature that is none
    let token = "eyJhbGciOiJub25lIn0.eyJqdGkiOiI1ZjJiIiwiZXhwIjozMjUwMzY4MDAwMH0.not-a-signature";
    ctl_with(&proxyd, &["tokens", "revoke", "-"], token).exits(0).says(&["token 5f2b is revoked"]);
    let body = json!({ "jti": "9c1e", "expires": "12h" }).to_string();
    let revoked = operator(&proxyd, Request::post("/admin/tokens/revoke", body.clone()));
    assert_eq!((revoked.status, &revoked.json()["provider"]), (200, &json!("*")), "{}", revoked.text());
    assert_eq!(admin(&proxyd, "reader", Request::post("/admin/tokens/revoke", body)).status, 403);
    for (args, code) in [
        (json!({}), "invalid_arguments"),
        (json!({ "token": token, "jti": "x" }), "invalid_arguments"),
        (json!({ "token": "opaque-secret" }), "invalid_arguments"),
        (json!({ "jti": token }), "invalid_arguments"),
        (json!({ "jti": "" }), "invalid_arguments"),
        (json!({ "jti": "x", "provider": "jwt.nobody" }), "not_found"),
        (json!({ "jti": "x", "expires": "0s" }), "invalid_arguments"),
    ] {
        let error = proxyd.try_ask("tokens_revoke", &args).unwrap_err();
        assert_eq!(error["code"], code, "{args}: {error}");
        assert!(!error.to_string().contains("not-a-signature"), "{error}");
    }
    let ids = |proxyd: &Proxyd| -> Vec<String> {
        let mut all: Vec<_> =
            proxyd.stream("tokens", &json!({})).iter().map(|line| text(&line["jti"]).to_owned()).collect();
        all.sort();
        all
    };
    assert_eq!(ids(&proxyd), ["5f2b", "9c1e"]);
    proxyd.ctl(&["tokens", "list"]).exits(0).says(&["whoever's", "9c1e"]);
    let (rows, record) = record(&proxyd);
    assert!(!record.contains("not-a-signature") && !record.contains("opaque-secret"), "{record}");
    assert!(rows.iter().any(|row| text(&row["changes"]).contains("5f2b")), "{record}");
    let home = proxyd.stop();
    keeps_none_of(&home, &["not-a-signature"]);
    let proxyd = Start::in_home(&home, CONFIG).run();
    assert_eq!(ids(&proxyd), ["5f2b", "9c1e"]);
}

#[test]
fn without_credentials_nobody_reads_accounts() {
    let proxyd = Proxyd::start("routes:\n  - {name: all, path: /, respond: {status: 200}}\n");
    for (path, status) in [
        ("/admin/keys", 200),
        ("/admin/tokens", 200),
        ("/admin/bans", 200),
        ("/admin/limits/top", 200),
        ("/admin/users", 403),
    ] {
        let answer = proxyd.admin_get(path);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }
    let refused = proxyd.admin_send(&Request::post("/admin/keys", json!({ "name": "x" }).to_string()));
    assert_eq!(refused.status, 403);
}

#[test]
fn the_busiest_keys_of_a_limit_are_told() {
    let proxyd = Proxyd::start(
        "routes:\n  - {name: all, path: /, respond: {status: 200}, rate_limit: {requests_per_minute: 10}}\n",
    );
    proxyd.ctl(&["limits", "top"]).exits(0).says(&["nobody has used"]);
    for _ in 0..3 {
        assert_eq!(proxyd.get("/").status, 200);
    }
    let top = proxyd.stream("limits_top", &json!({}));
    assert_eq!(top.len(), 1, "{top:?}");
    assert_eq!((&top[0]["used"], &top[0]["remaining"], &top[0]["limit"]), (&json!(3), &json!(7), &json!("10/1m")));
    proxyd.ctl(&["limits", "top", "--last", "1"]).exits(0).says(&["127.0.0.1", "10/1m"]);
    proxyd.ctl(&["limits", "show", "127.0.0.1"]).exits(0).says(&["7"]);
    for (args, code) in [(json!({ "rule": "none" }), "not_found"), (json!({ "last": 0 }), "invalid_arguments")] {
        assert_eq!(proxyd.try_ask("limits_top", &args).unwrap_err()["code"], code, "{args}");
    }
}
