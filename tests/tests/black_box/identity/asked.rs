//! Somebody else is asked who it is: the issuer of an opaque token, or a service that decides about each request.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tests::token::in_seconds;
use tests::{Proxyd, Request, Response, Upstream, eventually};

use super::combining::{outcome, seen, value};

/// Longer than any `timeout` below.
const TOO_LONG: Duration = Duration::from_secs(2);

/// An issuer (RFC 7662) that knows a few tokens by what they are called.
fn issuer() -> Upstream {
    // RFC 6749 section 2.3.1.
    let ours = format!("Basic {}", STANDARD.encode("gate%3Away:s%26cret"));
    Upstream::scripted(move |conn| {
        while let Some(request) = conn.request() {
            let form = String::from_utf8_lossy(&request.body).into_owned();
            let token = form.split('&').find_map(|pair| pair.strip_prefix("token=")).unwrap_or_default();
            let is_ours = request.method == "POST" && request.headers.get("authorization") == Some(&ours);
            let (status, body) = if is_ours { answer(token) } else { (401, "{}".to_owned()) };
            if !conn.answer(status, &[("Content-Type", "application/json")], body.as_bytes()) {
                return;
            }
        }
    })
}

fn answer(token: &str) -> (u16, String) {
    let mut good = json!({
        "active": true, "iss": "https://id.example", "aud": ["api"], "sub": "alice", "roles": ["user"], "scope": "read write",
    });
    let mut with = |name: &str, value: Value| {
        good[name] = value;
        good.to_string()
    };
    match token {
        "good" => (200, good.to_string()),
        "slowly" => {
            std::thread::sleep(Duration::from_millis(300));
            (200, good.to_string())
        }
        "expired" => (200, with("exp", json!(in_seconds(-100)))),
        "later" => (200, with("nbf", json!(in_seconds(1000)))),
        "foreign" => (200, with("iss", json!("https://evil.example"))),
        "elsewhere" => (200, with("aud", json!("other"))),
        "nobody" => (200, with("sub", json!(""))),
        "text" => (200, "active".to_owned()),
        "truth" => (200, with("active", json!("true"))),
        "broken" => (500, good.to_string()),
        "away" => (302, good.to_string()),
        "late" => {
            std::thread::sleep(TOO_LONG);
            (200, good.to_string())
        }
        _ => (200, json!({"active": false}).to_string()),
    }
}

fn introspecting(issuer: &Upstream, upstream: &Upstream, more: &str) -> Proxyd {
    Proxyd::start(&format!(
        "identity:\n  introspection: {{url: '{}/introspect', client_id: 'gate:way', client_secret: 's&cret', timeout: 1s, \
         issuer: 'https://id.example', audience: api{more}}}\n  send: {{user: x-user, roles: x-roles, scopes: x-scopes}}\n\
         auth: introspection\nroutes:\n  - {{path: /, target: '{}'}}\n",
        issuer.url(),
        upstream.url()
    ))
}

fn bearer(token: &str) -> Request {
    Request::get("/").header("Authorization", &format!("Bearer {token}"))
}

#[test]
fn an_opaque_token_is_what_its_issuer_says() {
    let (issuer, upstream) = (issuer(), Upstream::echo());
    let proxyd = introspecting(&issuer, &upstream, "");
    assert_eq!(outcome(&proxyd.get("/")), "401 auth_required");
    assert_eq!(issuer.requests(), 0);
    for (token, expected) in [
        ("unknown", "401 token_inactive"),
        ("truth", "401 token_inactive"),
        ("expired", "401 token_expired"),
        ("later", "401 token_not_yet_valid"),
        ("foreign", "401 token_issuer"),
        ("elsewhere", "401 token_audience"),
        ("nobody", "401 token_claims"),
        ("text", "503 auth_unavailable"),
        ("broken", "503 auth_unavailable"),
        ("away", "503 auth_unavailable"),
        ("late", "503 auth_unavailable"),
        ("good", "200"),
    ] {
        assert_eq!(outcome(&bearer(token).send(proxyd.address())), expected, "{token}");
    }
    let refused = bearer("unknown").send(proxyd.address());
    assert_eq!(refused.header("www-authenticate"), Some("Bearer realm=\"proxyd\", error=\"invalid_token\""));
    let told = seen(&bearer("good").header("X-User", "root").header("X_Roles", "admin").send(proxyd.address()));
    assert!(!told.to_string().contains("root") && !told.to_string().contains("admin"), "{told}");
    for (name, expected) in [("x-user", "alice"), ("x-roles", "user"), ("x-scopes", "read write")] {
        assert_eq!(value(&told, name), [expected], "{name}");
    }
}

#[test]
fn an_answer_stands_for_a_while_and_one_question_serves_all() {
    let (issuer, upstream) = (issuer(), Upstream::echo());
    let proxyd = introspecting(&issuer, &upstream, ", cache: 1m");
    let ask = |token: &str| outcome(&bearer(token).send(proxyd.address()));
    for _ in 0..3 {
        assert_eq!((ask("good"), ask("unknown")), ("200".to_owned(), "401 token_inactive".to_owned()));
    }
    assert_eq!(issuer.requests(), 2);
    // Several at once, over all workers.
    std::thread::scope(|scope| {
        let several: Vec<_> = (0..8).map(|_| scope.spawn(|| ask("slowly"))).collect();
        assert!(several.into_iter().all(|one| one.join().unwrap() == "200"));
    });
    assert_eq!(issuer.requests(), 3);
    // What could not be found out is not remembered.
    assert_eq!((ask("broken"), ask("broken")), ("503 auth_unavailable".to_owned(), "503 auth_unavailable".to_owned()));
    assert_eq!(issuer.requests(), 5);

    let always = introspecting(&issuer, &upstream, ", cache: 0s");
    for _ in 0..3 {
        assert_eq!(outcome(&bearer("good").send(always.address())), "200");
    }
    assert_eq!(issuer.requests(), 8);
}

/// A service that decides by the token.
fn decider() -> Upstream {
    Upstream::scripted(|conn| {
        while let Some(request) = conn.request() {
            let token = request.headers.get("authorization").unwrap_or_default().to_owned();
            let (status, headers, body): (u16, &[(&str, &str)], &str) = match &*token {
                "good" => (
                    204,
                    &[
                        ("X-User", "alice"),
                        ("X-Roles", "user, auditor"),
                        ("X-Scopes", "read write"),
                        ("X-Plan", "gold"),
                        ("X-Hidden", "hidden"),
                        ("Set-Cookie", "visit=1"),
                    ],
                    "",
                ),
                "two" => (204, &[("X-User", "alice"), ("X-User", "bob")], ""),
                "umlaut" => (204, &[("X-User", "jürgen"), ("X-Roles", "user"), ("X-Roles", "auditor")], ""),
                "page" => (302, &[("Location", "https://id.example/login"), ("X-Hidden", "hidden")], ""),
                "no" => (403, &[("Content-Type", "text/plain"), ("X-Hidden", "hidden")], "not you"),
                "broken" => (500, &[("X-User", "alice")], ""),
                "late" => {
                    std::thread::sleep(TOO_LONG);
                    (204, &[("X-User", "alice")], "")
                }
                _ => (401, &[("WWW-Authenticate", "Ticket")], ""),
            };
            if !conn.answer(status, headers, body.as_bytes()) {
                return;
            }
        }
    })
}

fn forwarding(decider: &str, upstream: &Upstream) -> Proxyd {
    Proxyd::start(&format!(
        "identity:\n  forward: {{url: '{}/verify?a=b', timeout: 1s, copy: x-plan, copy_back: set-cookie}}\n  \
         send: {{user: x-who, roles: x-roles}}\nauth: forward\nroutes:\n  - {{path: /open, target: '{url}', auth: off}}\n  \
         - {{path: /admin, target: '{url}', auth: {{any_of: forward, roles: [admin]}}}}\n  \
         - {{path: /kept, target: '{url}', auth: {{any_of: forward, forward_credentials: false}}}}\n  - {{path: /, target: '{url}'}}\n",
        decider,
        url = upstream.url()
    ))
}

fn ticket(token: &str, target: &str, proxyd: &Proxyd) -> Response {
    Request::get(target).header("Authorization", token).send(proxyd.address())
}

#[test]
fn a_service_decides_about_each_request() {
    let (decider, upstream) = (decider(), Upstream::echo());
    let proxyd = forwarding(&decider.url(), &upstream);
    let refused = ticket("unknown", "/", &proxyd);
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Ticket")));
    let page = ticket("page", "/", &proxyd);
    assert_eq!((page.status, page.header("location")), (302, Some("https://id.example/login")));
    assert_eq!(page.header("x-hidden"), None);
    let no = ticket("no", "/", &proxyd);
    assert_eq!((no.status, no.text(), no.header("x-hidden")), (403, "not you".to_owned(), None));
    for token in ["broken", "late"] {
        assert_eq!(outcome(&ticket(token, "/", &proxyd)), "503 auth_unavailable", "{token}");
    }
    assert_eq!(outcome(&ticket("good", "/admin", &proxyd)), "403 role_missing");
    assert_eq!(upstream.requests(), 0);

    let before = decider.requests();
    for _ in 0..3 {
        assert_eq!(ticket("good", "/", &proxyd).status, 200);
    }
    assert_eq!(decider.requests() - before, 3, "each request asks");
    assert_eq!(ticket("good", "/open", &proxyd).status, 200);
    assert_eq!(decider.requests() - before, 3);
    // Two credentials are none, and nobody is asked.
    let doubled =
        Request::get("/").header("Authorization", "good").header("authorization", "no").send(proxyd.address());
    assert_eq!(outcome(&doubled), "400 credentials_ambiguous", "there is no challenge that a 401 could name");
    assert_eq!(decider.requests() - before, 3);
    // A name that cannot be read is not none.
    assert_eq!(outcome(&ticket("two", "/", &proxyd)), "503 auth_unavailable");
    let told = seen(&ticket("umlaut", "/", &proxyd));
    assert_eq!(
        (value(&told, "x-who"), value(&told, "x-roles")),
        (vec!["jürgen".to_owned()], vec!["user,auditor".to_owned()])
    );
    // What the service has judged may stay here.
    let kept = Request::get("/kept").header("Authorization", "good").header("Cookie", "a=b").header("X-Other", "c");
    let told = seen(&kept.send(proxyd.address()));
    assert_eq!(value(&told, "x-other"), ["c"]);
    assert!(value(&told, "authorization").is_empty() && value(&told, "cookie").is_empty(), "{told}");
    // Where nobody answers, nobody comes in.
    let alone = forwarding(&format!("http://{}", tests::upstream::nobody()), &upstream);
    assert_eq!(outcome(&ticket("good", "/", &alone)), "503 auth_unavailable");
    assert_eq!(ticket("good", "/open", &alone).status, 200);
}

#[test]
fn who_does_not_answer_is_told_of_with_the_reason() {
    let check = |proxyd: &Proxyd, provider: &str, bad: &dyn Fn(&str) -> Response, reasons: [(&str, &str); 2]| {
        for (token, reason) in reasons {
            let told = format!("\"provider\":\"{provider}\",\"why\":\"{reason}");
            eventually("it is told why", || {
                let outcome = outcome(&bad(token));
                assert_eq!(outcome, "503 auth_unavailable");
                proxyd.output().contains(&told).then_some(())
            });
        }
        let rows = proxyd.audit(&json!({"last": 1, "kind": "requests"}), 1);
        assert_eq!(
            (&rows[0]["outcome"], &rows[0]["credential"]),
            (&json!("auth_unavailable"), &json!(provider)),
            "{rows:?}"
        );
        eventually("it is well again", || {
            assert_eq!(outcome(&bad("good")), "200");
            proxyd.output().contains("it answers as it should again").then_some(())
        });
    };
    let (issuer, decider, upstream) = (issuer(), decider(), Upstream::echo());
    let proxyd = introspecting(&issuer, &upstream, ", cache: 0s");
    let reasons = [("broken", "the answer has status 500"), ("late", "no answer within 1s")];
    check(&proxyd, "introspection", &|token| bearer(token).send(proxyd.address()), reasons);
    assert!(!proxyd.output().contains("s&cret"));
    let proxyd = forwarding(&decider.url(), &upstream);
    let reasons = [("two", "of the answer the header x-user cannot be read"), ("broken", "the answer has status 500")];
    check(&proxyd, "forward", &|token| ticket(token, "/", &proxyd), reasons);
}

#[test]
fn a_service_is_told_of_the_request_and_tells_of_it() {
    let (decider, upstream) = (decider(), Upstream::echo());
    let proxyd = forwarding(&decider.url(), &upstream);
    let request = Request::post("/deep/link?a=%20b", "a body")
        .header("Authorization", "good")
        .header("Cookie", "a=b")
        .header("X-Other", "other")
        .header("X-Forwarded-For", "6.6.6.6")
        .header("X-Forwarded-Method", "HEAD");
    let forged = ["X-Plan", "x_plan", "X_PLAN", "x-who", "X_Who", "x.plan"];
    let request = forged.iter().fold(request, |request, name| request.header(name, "forged"));
    let answer = request.send(proxyd.address());
    assert_eq!(answer.headers.all("set-cookie"), ["visit=1"]);
    let told = seen(&answer);
    assert!(!told.to_string().contains("forged") && !told.to_string().contains("hidden"), "{told}");
    for (name, expected) in [("x-plan", "gold"), ("x-who", "alice"), ("x-roles", "user,auditor")] {
        assert_eq!(value(&told, name), [expected], "{name}");
    }
    // Without being asked, too: nobody says what only the service may.
    let open = forged.iter().fold(Request::get("/open"), |request, name| request.header(name, "forged"));
    assert!(!seen(&open.send(proxyd.address())).to_string().contains("forged"));

    let head = decider.heads().remove(0).to_ascii_lowercase();
    assert!(head.starts_with("get /verify?a=b http/1.1\r\n"), "{head}");
    for line in [
        "authorization: good",
        "cookie: a=b",
        "x-forwarded-method: post",
        "x-forwarded-proto: http",
        "x-forwarded-uri: /deep/link?a=%20b",
        "x-forwarded-for: 127.0.0.1",
    ] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{line}: {head}");
    }
    for part in ["x-other", "6.6.6.6", "forged", "content-length", "transfer-encoding", ": head"] {
        assert!(!head.contains(part), "{part}: {head}");
    }
}

#[test]
fn a_key_that_is_revoked_while_somebody_is_asked_opens_no_more() {
    let (asked, revoked) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let decider = {
        let (asked, revoked) = (Arc::clone(&asked), Arc::clone(&revoked));
        Upstream::scripted(move |conn| {
            while conn.request().is_some() {
                asked.wait();
                revoked.wait();
                if !conn.answer(204, &[("X-User", "alice")], b"") {
                    return;
                }
            }
        })
    };
    let upstream = Upstream::echo();
    let proxyd = Proxyd::start(&format!(
        "identity: {{api_key: {{}}, forward: {{url: '{}/', timeout: 30s}}}}\nauth: {{all_of: [api_key, forward]}}\n\
         routes:\n  - {{path: /, target: '{}'}}\n",
        decider.url(),
        upstream.url()
    ));
    let key = proxyd.ask("keys_create", &json!({"name": "ci"}))["key"].as_str().unwrap().to_owned();
    let ask = |between: &dyn Fn()| {
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| outcome(&Request::get("/").header("X-API-Key", &key).send(proxyd.address())));
            asked.wait();
            between();
            revoked.wait();
            asking.join().unwrap()
        })
    };
    assert_eq!(ask(&|| ()), "200");
    let revoke = || drop(proxyd.ask("keys_revoke", &json!({"key": "ci"})));
    assert_eq!(ask(&revoke), "401 key_revoked");
    assert_eq!(upstream.requests(), 1);
}
