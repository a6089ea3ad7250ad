//! What is said of endpoints while the daemon runs: set, registered, renewed, over; through every door, over restarts and
//! upgrades, on record.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use tests::{Home, Proxyd, Request, Start, eventually};

const USERS: &str = "upstreams: {users: {endpoints: [http://127.0.0.1:8001, http://127.0.0.1:8002]}}\n\
                     routes: [{path: /, upstream: users}]\n";

/// The endpoints of `users`: address and what `field` says.
fn told(proxyd: &Proxyd, field: &str) -> Vec<(String, Value)> {
    let lines = proxyd.stream("upstreams", &json!({ "name": "users" }));
    let endpoints = lines[0]["endpoints"].as_array().expect("endpoints").clone();
    let told = endpoints.iter().map(|one| (one["address"].as_str().unwrap().to_owned(), one[field].clone()));
    told.collect()
}

fn states(proxyd: &Proxyd) -> Vec<Value> {
    told(proxyd, "state").into_iter().map(|(_, state)| state).collect()
}

#[test]
fn what_is_set_holds_over_reloads_restarts_and_upgrades() {
    let proxyd = Proxyd::start(USERS);
    proxyd.ctl(&["upstreams", "drain", "users", "127.0.0.1:8001"]).exits(0).says(&["drain", "was ready"]);
    proxyd.ctl(&["upstreams", "weight", "users", "http://127.0.0.1:8002", "7"]).exits(0).says(&["weight 7"]);
    proxyd.ctl(&["upstreams", "register", "users", "127.0.0.1:8003", "--ttl", "1h"]).exits(0).says(&["registered"]);
    let all = || vec![json!("drain"), json!("ready"), json!("ready")];
    assert_eq!(states(&proxyd), all());
    let mode = std::fs::metadata(proxyd.home().file("data/registry.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    proxyd.reload_with(&USERS.replace("path: /", "path: /x"));
    assert_eq!(states(&proxyd), all());
    let home = proxyd.kill_nine();
    let mut proxyd = Start::in_home(&home, USERS).run();
    assert_eq!(states(&proxyd), all());
    proxyd.ask("upgrade", &json!({}));
    proxyd.follow();
    assert_eq!(states(&proxyd), all());

    // The new process writes where the old one did.
    proxyd.ctl(&["upstreams", "down", "users", "127.0.0.1:8002"]).exits(0).says(&["down, weight 7"]);
    assert!(proxyd.home().read("data/registry.json").contains("down"));
    assert_eq!(states(&proxyd), [json!("drain"), json!("down"), json!("ready")]);
    let weights: Vec<Value> = told(&proxyd, "weight").into_iter().map(|(_, weight)| weight).collect();
    assert_eq!(weights, [1, 7, 1]);
    let origins: Vec<Value> = told(&proxyd, "origin").into_iter().map(|(_, origin)| origin).collect();
    assert_eq!(origins, ["file", "file", "registered"]);
    proxyd.ctl(&["upstreams", "ready", "users", "127.0.0.1:8001"]).exits(0);
    proxyd.ctl(&["upstreams", "deregister", "users", "127.0.0.1:8003"]).exits(0).says(&["deregistered"]);
    assert_eq!(states(&proxyd), [json!("ready"), json!("down")]);

    let rows = proxyd.audit(&json!({ "kind": "actions", "last": 2 }), 2);
    assert_eq!(rows[0]["command"], "upstreams_set");
    let expected = json!({ "before": { "state": "drain", "weight": 1 }, "after": { "state": "ready", "weight": 1 } });
    assert_eq!(serde_json::from_str::<Value>(rows[0]["changes"].as_str().unwrap()).unwrap(), expected);
    assert_eq!(rows[1]["command"], "upstreams_deregister");
}

#[test]
fn an_instance_registers_itself_and_goes_when_it_falls_silent() {
    let text =
        format!("admin: {{auth: {{tokens: [{{name: users, token: registrar-4711, role: registrar}}]}}}}\n{USERS}");
    let proxyd = Start::new(&text).run();
    let send = |method: &str, path: &str, body: &str| {
        let request = Request::new(method, path).header("Authorization", "Bearer registrar-4711");
        proxyd.admin_send(&if body.is_empty() { request } else { request.body(body) })
    };
    let (all, one) = ("/admin/upstreams/users/endpoints", "/admin/upstreams/users/endpoints/%5B::1%5D:8003");
    let body = r#"{"endpoint":"http://[::1]:8003","ttl":"2s"}"#;
    let first = send("POST", all, body);
    assert_eq!((first.status, &first.json()["renewed"]), (200, &json!(false)), "{}", first.text());
    assert_eq!(send("POST", all, body).json()["renewed"], true);
    // No operator: neither may it set anything, nor stop the daemon.
    assert_eq!(send("PUT", one, r#"{"state":"down"}"#).status, 403);
    assert_eq!(send("POST", "/admin/shutdown", "").status, 403);
    assert_eq!(send("GET", "/admin/upstreams?name=users", "").status, 200);
    assert_eq!(send("POST", all, r#"{"endpoint":"127.0.0.1:8001"}"#).status, 400);
    assert_eq!(send("POST", "/admin/upstreams/usres/endpoints", body).status, 404);

    eventually("its time is over", || (told(&proxyd, "state").len() == 2).then_some(()));
    let gone = eventually("it is on record", || {
        let rows = proxyd.stream("audit", &json!({ "kind": "actions", "last": 1 }));
        rows.into_iter().find(|row| row["command"] == "upstreams_deregister")
    });
    assert_eq!((&gone["door"], &gone["actor"]), (&json!("start"), &json!("proxyd (time to live is over)")));
    let rows = proxyd.stream("audit", &json!({ "kind": "actions", "last": 100 }));
    let done = |row: &&Value| row["command"] == "upstreams_register" && row["outcome"] == "done";
    assert_eq!(rows.iter().filter(done).count(), 1, "renewals leave no row: {rows:#?}");

    assert_eq!(send("POST", all, body).json()["renewed"], false);
    assert_eq!(send("DELETE", one, "").status, 200);
    assert_eq!(send("DELETE", one, "").status, 404);
}

#[test]
fn a_broken_registry_keeps_nobody_from_starting() {
    let home = Home::default();
    std::fs::create_dir(home.file("data")).unwrap();
    home.write("data/registry.json", "{\"version\":1,");
    let proxyd = Start::in_home(&home, USERS).run();
    assert_eq!(states(&proxyd), ["ready", "ready"]);
    assert_eq!(home.read("data/registry.json.broken"), "{\"version\":1,");
    assert!(proxyd.output().contains("registry.json"), "{}", proxyd.output());
    let refused = proxyd.ctl(&["upstreams", "drain", "user", "127.0.0.1:8001"]);
    refused.exits(1).says(&["did you mean `users`?"]);
    proxyd.ctl(&["upstreams", "drain", "users", "127.0.0.1:9"]).exits(1).says(&["127.0.0.1:8001, 127.0.0.1:8002"]);
    proxyd.ctl(&["upstreams", "drain", "users", "https://127.0.0.1:8001"]).exits(2).says(&["are `http://`"]);
    proxyd.ctl(&["upstreams", "deregister", "users", "127.0.0.1:8001"]).exits(1).says(&["stands in the config"]);
    proxyd.ctl(&["upstreams", "users", "drain", "users", "h:1"]).exits(2);
}
