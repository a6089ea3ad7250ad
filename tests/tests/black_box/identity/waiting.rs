//! Several who may recognise, of whom one has to ask somebody first: who waits for that, and what is known afterwards.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tests::token::EdKey;
use tests::{Request, Start, Upstream, eventually};

use super::combining::{HASH, outcome, seen, value};

/// Longer than any answer takes that nobody waits for, shorter than the `timeout` of keys below.
const SOON: Duration = Duration::from_secs(5);

/// An issuer whose keys are there once, and then for a long time not.
fn stalling(keys: &str) -> (Upstream, Arc<AtomicBool>) {
    let stalls = Arc::new(AtomicBool::new(false));
    let (keys, is_stalling) = (keys.to_owned(), Arc::clone(&stalls));
    let issuer = Upstream::scripted(move |conn| {
        while conn.request().is_some() {
            while is_stalling.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
            }
            if !conn.answer(200, &[("content-type", "application/json")], keys.as_bytes()) {
                return;
            }
        }
    });
    (issuer, stalls)
}

/// Two issuers, the first of which stalls; what it is asked once that began, and how a token of the second fares.
#[track_caller]
fn check(issuer_of_a: &str, fetches: usize) {
    let (key, other) = (EdKey::new("one"), EdKey::new("two"));
    let (issuer, stalls) = stalling(&json!({"keys": [key.jwk()]}).to_string());
    let upstream = Upstream::echo();
    let start = Start::new(&format!(
        "identity:\n  jwt:\n    a: {{keys: {{jwks_url: '{}/jwks', refresh_floor: 1s, timeout: 20s}}{issuer_of_a}}}\n    \
         b: {{keys: {{jwks_file: b.json}}, issuer: b}}\n  send: {{user: x-user, provider: x-provider}}\n\
         auth: {{any_of: [jwt.a, jwt.b]}}\nroutes:\n  - {{path: /, target: '{}'}}\n",
        issuer.url(),
        upstream.url()
    ));
    start.home().write("b.json", &json!({"keys": [other.jwk()]}).to_string());
    let proxyd = start.run();
    let ask =
        |token: &str| Request::get("/").header("Authorization", &format!("Bearer {token}")).send(proxyd.address());
    let of_a = key.token("alice", &json!({"iss": "a"}));
    eventually("the keys of a", || (outcome(&ask(&of_a)) == "200").then_some(()));
    stalls.store(true, Ordering::Relaxed);
    std::thread::sleep(Duration::from_millis(1100));
    let before = issuer.requests();
    let of_b = other.token("bob", &json!({"iss": "b"}));
    for _ in 0..2 {
        let began = Instant::now();
        let told = seen(&ask(&of_b));
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        assert_eq!((value(&told, "x-user"), value(&told, "x-provider")), (vec!["bob".into()], vec!["jwt.b".into()]));
    }
    // Nor do they wait whose keys are there.
    assert_eq!(value(&seen(&ask(&of_a)), "x-user"), ["alice"]);
    let fetched = || (issuer.requests() - before >= fetches).then_some(());
    eventually("what it is asked for its keys", fetched);
    assert_eq!(issuer.requests() - before, fetches);
    stalls.store(false, Ordering::Relaxed);
}

#[test]
fn a_token_of_another_issuer_wakes_nobody() {
    check(", issuer: a", 0);
}

#[test]
fn a_token_that_the_next_one_knows_does_not_wait_for_keys() {
    check("", 1);
}

#[test]
fn what_was_known_before_somebody_was_asked_is_asked_once_more() {
    let waited = Arc::new(Barrier::new(2));
    let decider = {
        let waited = Arc::clone(&waited);
        Upstream::scripted(move |conn| {
            while let Some(request) = conn.request() {
                if request.headers.get("cookie").is_some() {
                    waited.wait();
                }
                if !conn.answer(204, &[("X-User", "alice")], b"") {
                    return;
                }
            }
        })
    };
    let upstream = Upstream::echo();
    let start = Start::new(&format!(
        "identity: {{basic: {{users_file: users}}, forward: {{url: '{}/', timeout: 30s}}, send: {{user: x-user}}}}\n\
         auth: {{all_of: [basic, forward]}}\nroutes:\n  - {{path: /, target: '{}'}}\n",
        decider.url(),
        upstream.url()
    ));
    start.home().write("users", &format!("ada:{HASH}\n"));
    let proxyd = start.run();
    let basic = format!("Basic {}", STANDARD.encode("ada:correct horse"));
    let ask = || Request::get("/").header("Authorization", &basic);
    let slowly = |between: &dyn Fn()| {
        // Its password is known now.
        assert_eq!(outcome(&ask().send(proxyd.address())), "200");
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| outcome(&ask().header("Cookie", "slowly=1").send(proxyd.address())));
            between();
            // By then it is time to look at the file of users again.
            std::thread::sleep(Duration::from_millis(2100));
            waited.wait();
            asking.join().unwrap()
        })
    };
    assert_eq!(slowly(&|| ()), "200");
    let removed = slowly(&|| drop(proxyd.home().write("users", &format!("bob:{HASH}\n"))));
    assert_eq!(removed, "401 password_wrong");
}
