//! Routes and limits that look at what no client can send, and guards that a doubled slash leads past.

use crate::config::{Input, References, load};

const SEND: &str = "server: {listen: 127.0.0.1:8000}\nidentity: {api_key: on, send: {user: x-user}, forward: {url: 'http://127.0.0.1:1/', copy: x-plan}}\n\
    auth: [api_key, forward]\n";

/// The warnings of a config that is good, without where they stand.
#[track_caller]
fn check(text: &str, expected: &[(&str, &str)]) {
    let checked = load(&Input::text("config.yaml", text), &References::Refuse);
    let checked = checked.unwrap_or_else(|problems| panic!("{}", problems.render(false)));
    let told: Vec<_> = checked.warnings.iter().map(|one| (&*one.path, &*one.message)).collect();
    assert_eq!(told.len(), expected.len(), "{text}: {told:?}");
    for ((path, message), (place, part)) in told.iter().zip(expected) {
        assert!(path == place && message.contains(part), "{text}: {path}: {message}");
    }
}

#[test]
fn what_looks_at_a_header_that_is_stripped_is_told() {
    let route =
        |keys: &str| format!("{SEND}routes: [{{path: /a, respond: {{}}, {keys}}}, {{path: /, respond: {{}}}}]\n");
    let vain = "no request can match this route: the header";
    check(&route("headers: {x-user: ann}"), &[("routes[0].headers", vain)]);
    check(&route("headers: {X_Plan: {present: true}}"), &[("routes[0].headers", vain)]);
    check(&route("headers: {x-other: ann, x-user: {present: false}}"), &[]);
    let limit = |by: &str| format!("rate_limit: {{limits: [{{requests: 1, per: 1m}}], by: {by}}}");
    let none = "this limit finds none to count by: the header";
    check(&route(&limit("{header: x-plan}")), &[("routes[0].rate_limit", none)]);
    check(&route(&limit("[user, {header: x-plan}]")), &[]);
    check(&format!("{}{}\n", route("name: a"), limit("{header: x_user}")), &[("rate_limit", none)]);
}

#[test]
fn a_guard_that_a_doubled_slash_leads_past_is_told() {
    let routes = |server: &str, admin: &str, open: &str| {
        format!(
            "server: {{listen: 127.0.0.1:8000{server}}}\nidentity: {{api_key: on}}\nupstreams: {{u: {{endpoints: ['http://127.0.0.1:1']}}}}\n\
             routes:\n  - {{name: admin, path: /admin, {admin}}}\n  - {{name: rest, {open}}}\n"
        )
    };
    let guarded = "upstream: u, auth: api_key";
    let past = &[("routes[0]", "`//admin` is not under this route, but takes the route `rest`")];
    check(&routes("", guarded, "path: /, upstream: u"), past);
    check(&routes("", guarded, "path: /, upstream: u, auth: {any_of: api_key, optional: true}"), past);
    check(&routes("", "hosts: [a.org], upstream: u, auth: api_key", "upstream: u"), past);
    for (server, admin, open) in [
        (", merge_slashes: true", guarded, "upstream: u"),
        ("", guarded, "upstream: u, auth: {any_of: api_key, roles: [user]}"),
        ("", guarded, "target: 'http://127.0.0.1:2'"),
        ("", guarded, "respond: {}"),
        ("", guarded, "path: /open, upstream: u"),
        ("", "hosts: [a.org], upstream: u, auth: api_key", "hosts: [b.org], upstream: u"),
        ("", "upstream: u, auth: {any_of: api_key, optional: true}", "upstream: u"),
    ] {
        check(&routes(server, admin, open), &[]);
    }
}
