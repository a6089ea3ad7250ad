//! What people type who have not read the page: each is refused once, with what to write in its place.

use super::load_text;

/// One error, and its hint has this in it.
#[track_caller]
fn check(text: &str, hint: &str) {
    let problems = load_text(text).expect_err("this config must be refused");
    let errors: Vec<_> =
        problems.0.iter().filter(|problem| problem.severity == crate::config::Severity::Error).collect();
    let [error] = &*errors else { panic!("{} errors: {}", errors.len(), problems.render(false)) };
    let found = error.hint.as_deref().unwrap_or_default();
    assert!(found.contains(hint), "{text}: {found:?} has no {hint:?}");
}

#[test]
fn methods() {
    check("rate_limit: {requests_per_minute: 60, methods: '*'}", "leave `methods` out");
    check("rate_limit: {requests_per_minute: 60, methods: [GET, '*']}", "leave `methods` out");
    check("routes: [{path: /, methods: '*', respond: {}}]", "leave `methods` out");
    check("identity: {api_key: on}\nauth: {any_of: api_key, methods: {'*': {roles: a}}}", "beside `methods`");
}
