//! People who log in with a browser, by a stand-in for GitHub: sent there, taken back, let in, and out again.

use std::net::SocketAddr;
use std::time::Instant;

use serde_json::{Value, json};
use tests::{Proxyd, Redis, Request, Response, Upstream, eventually, github};

use super::super::websocket::{repeater, repeats};
use super::tunnels::{ends, open};

const ACME: &str = "{organisations: [acme]}";

fn yaml(github: &Upstream, upstream: &Upstream, session: &str, allow: &str) -> String {
    let (id, secret) = github::CLIENT;
    let url = github.url();
    format!(
        "identity:\n  login:\n    github: {{kind: github, client_id: {id}, client_secret: {secret}, allow: {allow}, roles: [member], \
         authorize_url: '{url}/login/oauth/authorize', token_url: '{url}/login/oauth/access_token', api_url: '{url}'}}\n  \
         session: {session}\n  send: {{user: x-user, roles: x-roles, claims: {{x-email: email}}}}\n\
         routes:\n  - {{path: /open, respond: {{status: 200}}}}\n  - {{path: /, target: '{}', auth: login.github}}\n",
        upstream.url()
    )
}

#[test]
fn a_login_that_fails_is_told_with_its_request() {
    let (github, upstream) = (Upstream::echo(), Upstream::echo());
    let proxyd = Proxyd::start(&yaml(&github, &upstream, "{}", ACME));
    let page = "/.proxyd/login/github/callback?state=none&code=none";
    let answer = Request::get(page).header("X-Request-ID", "the-one-in-question").send(proxyd.address());
    assert_eq!(answer.status, 400, "{}", answer.text());
    let told = "\"request_id\":\"the-one-in-question\",\"why\":\"no such login is under way\"";
    eventually("the log says why", || proxyd.output().contains(told).then_some(()));
}

/// Somebody with a browser.
#[derive(Clone, Default)]
pub(super) struct Person {
    pub cookies: Vec<(String, String)>,
}

impl Person {
    pub(super) fn request(&self, method: &str, target: &str) -> Request {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = Request::new(method, target).header("Accept", "text/html,*/*;q=0.8");
        if cookies.is_empty() { request } else { request.header("Cookie", &cookies.join("; ")) }
    }

    pub(super) fn send(&mut self, request: &Request, address: SocketAddr) -> Response {
        let response = request.send(address);
        for cookie in response.headers.all("set-cookie") {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(known, _)| known != name);
            if !cookie.contains("Max-Age=0;") {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        response
    }

    pub(super) fn go(&mut self, proxyd: &Proxyd, target: &str) -> Response {
        self.send(&self.request("GET", target), proxyd.address())
    }

    /// Asks for a page, and goes wherever that leads until the provider sends them back. The callback.
    fn sent_back(&mut self, proxyd: &Proxyd, github: &Upstream, page: &str) -> String {
        let challenge = self.go(proxyd, page);
        assert_eq!(challenge.status, 302, "{}", challenge.text());
        let begun = self.go(proxyd, challenge.header("location").unwrap());
        let there = begun.header("location").unwrap().strip_prefix(&github.url()).unwrap().to_owned();
        let back = Request::get(&there).send(github.address());
        let back = back.header("location").unwrap();
        back.strip_prefix("http://proxy.test").unwrap_or_else(|| panic!("{back}")).to_owned()
    }

    /// The same to its end.
    pub(super) fn log_in(&mut self, proxyd: &Proxyd, github: &Upstream, page: &str) -> Response {
        let callback = self.sent_back(proxyd, github, page);
        self.go(proxyd, &callback)
    }
}

fn sent(response: &Response, name: &str) -> Option<String> {
    let headers = response.json()["headers"].clone();
    let line = headers.as_array()?.iter().find(|line| line[0].as_str().unwrap().eq_ignore_ascii_case(name))?.clone();
    Some(line[1].as_str()?.to_owned())
}

#[test]
fn somebody_logs_in_comes_back_to_where_they_were_and_logs_out() {
    let (github, upstream) = (github::start(), Upstream::echo());
    let proxyd = Proxyd::start(&yaml(&github, &upstream, "{after_logout: /open}", ACME));
    let mut person = Person::default();
    // A script is told, not sent away.
    for headers in [&[][..], &[("X-Requested-With", "XMLHttpRequest")], &[("Sec-Fetch-Mode", "cors")]] {
        let accept = if headers.is_empty() { "application/json" } else { "text/html" };
        let request = headers
            .iter()
            .fold(Request::get("/deep").header("Accept", accept), |request, (name, value)| request.header(name, value));
        let response = request.send(proxyd.address());
        assert_eq!((response.status, response.header("location")), (401, None), "{headers:?}");
    }
    let entered = person.log_in(&proxyd, &github, "/deep/link?a=b&c=%2F");
    assert_eq!((entered.status, entered.header("location")), (302, Some("/deep/link?a=b&c=%2F")), "{}", entered.text());
    assert_eq!(entered.header("cache-control"), Some("no-store"));
    assert_eq!(person.cookies.len(), 1, "{:?}", person.cookies);
    person.cookies.push(("theme".to_owned(), "dark".to_owned()));
    let page = person
        .request("GET", "/deep/link?a=b")
        .header("X-User", "admin")
        .header("X_Email", "a@b")
        .send(proxyd.address());
    assert_eq!(page.status, 200);
    let told = ["x-user", "x-roles", "x-email", "x_email", "cookie"].map(|name| sent(&page, name));
    let expected = [Some("octocat"), Some("member"), Some("octocat@acme.example"), None, Some("theme=dark")];
    assert_eq!(told.each_ref().map(Option::as_deref), expected, "{}", page.text());
    let who = person.go(&proxyd, "/.proxyd/session").json();
    assert_eq!(
        (&who["user"], &who["email"], &who["provider"]),
        (&json!("octocat"), &json!("octocat@acme.example"), &json!("login.github"))
    );
    let rows = proxyd.audit(&json!({ "kind": "requests", "path": "/.proxyd/login/github/callback" }), 1);
    assert_eq!((&rows[0]["principal"], &rows[0]["status"]), (&json!("octocat"), &json!(302)));
    assert!((proxyd.metric("proxyd_logins_total", &["outcome=\"succeeded\""]) - 1.0).abs() < 0.1);

    // Another site cannot log them out; they can.
    let kept = person.clone();
    let refused =
        person.request("POST", "/.proxyd/logout").header("Origin", "https://evil.example").send(proxyd.address());
    assert_eq!(refused.status, 403);
    let asked = person.go(&proxyd, "/.proxyd/logout");
    assert!(asked.status == 200 && asked.text().contains("<form method=\"post\""), "{}", asked.text());
    let request = person.request("POST", "/.proxyd/logout").header("Origin", "http://proxy.test");
    let out = person.send(&request, proxyd.address());
    assert_eq!((out.status, out.header("location")), (303, Some("/open")));
    assert_eq!(person.go(&proxyd, "/deep").status, 302);
    assert_eq!(kept.clone().go(&proxyd, "/deep").status, 302, "a copy of the cookie is no good either");
    // Nor after a restart.
    let proxyd = tests::Start::in_home(&proxyd.stop(), &yaml(&github, &upstream, "{}", ACME)).run();
    assert_eq!(kept.clone().go(&proxyd, "/deep").status, 302);
    assert_eq!(person.log_in(&proxyd, &github, "/").status, 302);
}

#[test]
fn a_login_ends_on_a_route_of_any_host_priority_and_condition() {
    for keys in
        ["hosts: [proxy.test]", "priority: 1", "hosts: ['*.test'], priority: 5, headers: {accept: {present: true}}"]
    {
        let (github, upstream) = (github::start(), Upstream::echo());
        let text = yaml(&github, &upstream, "{}", ACME);
        let proxyd = Proxyd::start(&text.replace("{path: /, target", &format!("{{{keys}, path: /, target")));
        let mut person = Person::default();
        let entered = person.log_in(&proxyd, &github, "/deep");
        assert_eq!((entered.status, entered.header("location")), (302, Some("/deep")), "{keys}: {}", entered.text());
        assert_eq!(person.go(&proxyd, "/deep").status, 200, "{keys}");
        let told = proxyd.ctl(&["explain", "GET", "http://proxy.test/.proxyd/session"]);
        assert!(told.stdout.contains("loses to identity-login: its pages are on this path"), "{}", told.stdout);
        let listed = proxyd.ctl(&["routes"]);
        let first = listed.stdout.lines().nth(1).unwrap_or_default();
        assert!(first.contains("identity-login"), "{}", listed.stdout);
        assert!(
            listed.stdout.lines().any(|line| line.contains("auth") && line.contains("body_limit")),
            "{}",
            listed.stdout
        );
    }
}

#[test]
fn our_keys_and_accounts_are_served_whatever_routes_there_are() {
    let upstream = Upstream::echo();
    let proxyd = Proxyd::start(&format!(
        "identity: {{accounts: {{algorithm: EdDSA}}}}\nroutes: [{{hosts: [proxy.test], path: /, priority: 1, auth: accounts, target: '{}'}}]\n",
        upstream.url()
    ));
    let keys = proxyd.get("/.well-known/proxyd/jwks.json");
    assert_eq!((keys.status, keys.json()["keys"].as_array().map(Vec::len)), (200, Some(1)), "{}", keys.text());
    let refused = Request::new("POST", "/api/auth/login").header("Content-Type", "application/json").body("{}");
    assert_ne!(refused.send(proxyd.address()).status, 401);
    assert_eq!(proxyd.get("/other").status, 401);
}

#[test]
fn a_logout_ends_the_tunnels_of_its_session() {
    for store in ["cookie", "local"] {
        let (github, upstream) = (github::start(), repeater());
        let proxyd = Proxyd::start(&yaml(&github, &upstream, &format!("{{store: {store}}}"), ACME));
        let (mut one, mut other) = (Person::default(), Person::default());
        let begin = |person: &mut Person| {
            assert_eq!(person.log_in(&proxyd, &github, "/").status, 302);
            let cookies: Vec<_> = person.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            open(&proxyd, "/socket", &[("cookie", &cookies.join("; "))])
        };
        let (mut ended, mut stays) = (begin(&mut one), begin(&mut other));
        let since = Instant::now();
        let request = one.request("POST", "/.proxyd/logout").header("Origin", "http://proxy.test");
        assert_eq!(one.send(&request, proxyd.address()).status, 303, "{store}");
        ends(&mut ended, since);
        repeats(&mut stays, "goes on");
    }
}

#[test]
fn nobody_gets_in_by_a_callback_that_is_not_theirs_or_is_over() {
    let (github, upstream) = (github::start(), Upstream::echo());
    let proxyd = Proxyd::start(&yaml(&github, &upstream, "{}", ACME));
    let refused = |response: Response| {
        assert_eq!(response.status, 400, "{}", response.text());
        assert!(response.text().contains("login_state_invalid"), "{}", response.text());
    };
    let mut victim = Person::default();
    let callback = victim.sent_back(&proxyd, &github, "/");
    // An attacker's callback, in the victim's browser, and the other way round.
    refused(Person::default().go(&proxyd, &callback));
    let mut attacker = Person::default();
    let theirs = attacker.sent_back(&proxyd, &github, "/");
    refused(victim.clone().go(&proxyd, &theirs));
    let before = victim.clone();
    refused(victim.send(&victim.request("GET", &callback).host("evil.example"), proxyd.address()));
    assert_eq!(victim.go(&proxyd, &callback).status, 302);
    refused(before.clone().go(&proxyd, &callback));
    refused(victim.go(&proxyd, &callback));
    // A link cannot lead away.
    for to in ["//evil.example", "https://evil.example", "/%5cevil.example", "/%252f%252fevil.example"] {
        let mut person = Person::default();
        let begun = person.go(&proxyd, &format!("/.proxyd/login/github?to={to}"));
        let there = begun.header("location").unwrap().strip_prefix(&github.url()).unwrap().to_owned();
        let back = Request::get(&there).send(github.address()).header("location").unwrap().to_owned();
        let entered = person.go(&proxyd, back.strip_prefix("http://proxy.test").unwrap());
        assert_eq!((entered.status, entered.header("location")), (302, Some("/")), "{to}");
    }
    let row =
        proxyd.audit(&json!({ "kind": "requests", "path": "/.proxyd/login/github/callback", "status": "400" }), 1);
    assert_eq!(row[0]["outcome"], "login_state_invalid");
}

#[test]
fn whoever_is_not_allowed_stays_outside_and_a_provider_that_is_down_lets_nobody_in() {
    let (github, upstream) = (github::start(), Upstream::echo());
    let proxyd = Proxyd::start(&yaml(&github, &upstream, "{}", "{domains: [elsewhere.example]}"));
    let mut person = Person::default();
    let refused = person.log_in(&proxyd, &github, "/");
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("login_refused") && !refused.text().contains("octocat"), "{}", refused.text());
    assert!(person.cookies.is_empty(), "{:?}", person.cookies);
    let allowed = yaml(&github, &upstream, "{}", "{domains: [acme.example]}");
    proxyd.reload_with(&allowed);
    let callback = person.sent_back(&proxyd, &github, "/");
    let there = format!("{}/login/oauth/access_token", github.url());
    proxyd.reload_with(&allowed.replace(&there, &format!("http://{}/", tests::upstream::nobody())));
    let down = person.go(&proxyd, &callback);
    assert_eq!(down.status, 503, "{}", down.text());
    assert!(down.text().contains("auth_unavailable"), "{}", down.text());
    assert_eq!(person.go(&proxyd, "/").status, 302, "nobody is logged in");
}

#[test]
fn sessions_are_kept_here_over_a_restart_or_in_a_redis_for_several_proxies() {
    let (github, upstream) = (github::start(), Upstream::echo());
    let local = yaml(&github, &upstream, "{store: local}", ACME);
    let proxyd = Proxyd::start(&local);
    let mut person = Person::default();
    person.log_in(&proxyd, &github, "/");
    assert_eq!(person.cookies[0].1.len(), 43, "{:?}", person.cookies);
    let proxyd = tests::Start::in_home(&proxyd.stop(), &local).run();
    assert_eq!(person.go(&proxyd, "/").status, 200);

    let redis = Redis::start();
    let shared = format!(
        "redis: {{url: '{}', timeout: 2s, connect_timeout: 2s}}\n{}",
        redis.url(),
        yaml(&github, &upstream, "{store: redis, secrets: ['0123456789abcdef0123456789abcdef']}", ACME)
    );
    let (one, two) = (Proxyd::start(&shared), Proxyd::start(&shared));
    let mut person = Person::default();
    person.log_in(&one, &github, "/");
    assert_eq!((person.go(&one, "/").status, person.go(&two, "/").status), (200, 200));
    let who: Value = person.go(&two, "/.proxyd/session").json();
    assert_eq!(who["user"], "octocat");
    let request = person.request("POST", "/.proxyd/logout").header("Origin", "http://proxy.test");
    let kept = person.clone();
    assert_eq!(person.send(&request, two.address()).status, 303);
    assert_eq!(kept.clone().go(&two, "/").status, 302);
    eventually("the logout is known to the other proxy", || (kept.clone().go(&one, "/").status == 302).then_some(()));
    person.log_in(&one, &github, "/");
    drop(redis);
    eventually("the store is gone", || (person.clone().go(&two, "/").status == 503).then_some(()));
}
